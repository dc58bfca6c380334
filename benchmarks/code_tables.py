"""Tables of `benchmarks.codes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.curves import Measured, leads
from benchmarks.metrics import interval, resampled_ratios
from benchmarks.results import ratio_text

TARGETS = ((48, "compact"), (96, "nested"), (96, "compact"), (192, "nested"))
"""Bytes a row and shape: what the summary has a row for."""

_COLUMNS = (
    "code",
    "space or shape",
    "bytes a row",
    "model bytes a row",
    "recall@10",
    "recall@100",
    "scan, then rescore",
    "scan alone, @100",
    "nDCG@10 ÷ float [95 %]",
    "rows/s coded",
    "fit, s",
    "seeds",
)


def figures(measured: Measured) -> dict[str, Any]:
    """Return a code's figures as numbers, for the JSON file."""
    ratios = resampled_ratios(measured.ndcg_10, measured.float_ndcg_10)
    return {
        "data": measured.data,
        "fitted_on": measured.fitted_on,
        "is_ours": measured.is_ours,
        "family": measured.family,
        "name": measured.name,
        "variant": measured.variant,
        "seeds": measured.seeds,
        "row_bytes": measured.row_bytes,
        "model_bytes": measured.model_bytes,
        "model_bytes_a_row": measured.model_bytes / measured.n_rows,
        "fit_seconds": measured.fit_seconds,
        "rows_a_second": measured.rows_a_second,
        "recall_at_10": float(measured.recall_10.mean()),
        "recall_at_100": float(measured.recall_100.mean()),
        "two_stage_recall_at_10": _mean(measured.two_stage_10),
        "scan_top10_in_100": _mean(measured.plane_100),
        "ndcg_at_10": float(measured.ndcg_10.mean()),
        "ndcg_ratio": float(measured.ndcg_10.mean() / measured.float_ndcg_10.mean()),
        "ndcg_ratio_interval": interval(ratios),
    }


def set_table(found: Sequence[Measured]) -> str:
    """Return the table of all codes on one set, by bytes a row."""
    rows = []
    for measured in sorted(found, key=lambda m: (m.row_bytes, -m.recall_10.mean())):
        row = figures(measured)
        rows.append(
            (
                f"**{measured.name}**" if measured.is_ours else measured.name,
                measured.variant or "–",
                report.number(measured.row_bytes, 0),
                report.number(row["model_bytes_a_row"], 1),
                report.number(row["recall_at_10"], 4),
                report.number(row["recall_at_100"], 4),
                report.number(row["two_stage_recall_at_10"], 4),
                report.number(row["scan_top10_in_100"], 4),
                ratio_text(row["ndcg_ratio"], row["ndcg_ratio_interval"]),
                report.number(measured.rows_a_second, 0),
                report.number(measured.fit_seconds, 1),
                str(measured.seeds),
            )
        )
    return report.table(_COLUMNS, rows)


def targets(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return each set's comparison of binrag's codes of the `TARGETS` with the strongest peer's curve."""
    rows = []
    for size, shape in TARGETS:
        for ours in found:
            if not (ours.is_ours and ours.variant == shape and ours.row_bytes == size):
                continue
            others = [other for other in found if not other.is_ours]
            row: dict[str, Any] = {
                "size": size,
                "shape": shape,
                "data": ours.data,
                "fitted_on": ours.fitted_on,
                "code": ours.name,
                "seeds": ours.seeds,
                "recall_at_10": float(ours.recall_10.mean()),
                "two_stage_recall_at_10": _mean(ours.two_stage_10),
                "scan_top10_in_100": _mean(ours.plane_100),
                "strongest": None,
            }
            compared = leads(ours, others)
            if compared:
                lead = compared[0]
                row["strongest"] = {
                    "family": lead.family,
                    "variant": lead.variant,
                    "recall_at_10": lead.value,
                    "difference": lead.difference,
                    "interval": lead.interval,
                    "is_ahead_of_all": all(lead.is_ahead for lead in compared),
                }
            rows.append(row)
    return rows


def target_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of `targets`."""
    header = (
        "bytes a row",
        "set",
        "fitted on",
        "code",
        "recall@10",
        "scan, then rescore",
        "scan alone, @100",
        "strongest peer at these bytes",
        "its recall@10",
        "difference [95 %]",
        "ahead of all",
    )
    lines = []
    for row in rows:
        strongest = row["strongest"]
        theirs = ["–"] * 4
        if strongest:
            low, high = strongest["interval"]
            theirs = [
                f"{strongest['family']}, {strongest['variant']}",
                report.number(strongest["recall_at_10"], 4),
                f"{strongest['difference']:+.4f} [{low:+.4f}, {high:+.4f}]",
                "yes" if strongest["is_ahead_of_all"] else "no",
            ]
        lines.append(
            (
                f"{row['size']} {row['shape']}",
                row["data"],
                row["fitted_on"],
                row["code"],
                report.number(row["recall_at_10"], 4),
                report.number(row["two_stage_recall_at_10"], 4),
                report.number(row["scan_top10_in_100"], 4),
                *theirs,
            )
        )
    return report.table(header, lines)


def means(found: Sequence[Measured], fitted_on: str) -> list[dict[str, Any]]:
    """Return the means over the sets that codes were not fitted on, or that they were (``"own"``).

    The sets' queries are resampled independently; codes that lack one of the sets are left out.
    """
    names = list(dict.fromkeys(m.data for m in found if m.data != fitted_on and m.fitted_on == fitted_on))
    rows = []
    codes: dict[tuple[str, str], list[Measured]] = {}
    for measured in found:
        if measured.fitted_on == fitted_on and measured.data != fitted_on:
            codes.setdefault((measured.name, measured.variant), []).append(measured)
    for own in codes.values():
        if [m.data for m in own] != names:
            continue
        ratios = [float(m.ndcg_10.mean() / m.float_ndcg_10.mean()) for m in own]
        resamples = [resampled_ratios(m.ndcg_10, m.float_ndcg_10, seed=i) for i, m in enumerate(own)]
        rows.append(
            {
                "name": own[0].name,
                "variant": own[0].variant,
                "is_ours": own[0].is_ours,
                "fitted_on": fitted_on,
                "sets": names,
                "row_bytes": own[0].row_bytes,
                "recall_at_10": float(np.mean([m.recall_10.mean() for m in own])),
                "recall_at_100": float(np.mean([m.recall_100.mean() for m in own])),
                "ndcg_ratio": float(np.mean(ratios)),
                "ndcg_ratio_interval": interval(np.mean(resamples, axis=0)),
                "ndcg_ratios": dict(zip(names, ratios, strict=True)),
            }
        )
    return sorted(rows, key=lambda row: (row["row_bytes"], -row["recall_at_10"]))


def mean_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of `means`."""
    sets = rows[0]["sets"]
    header = ("code", "space or shape", "bytes a row", "recall@10", "recall@100", "nDCG@10 ÷ float [95 %]", *sets)
    return report.table(
        header,
        [
            (
                f"**{row['name']}**" if row["is_ours"] else row["name"],
                row["variant"] or "–",
                report.number(row["row_bytes"], 0),
                report.number(row["recall_at_10"], 4),
                report.number(row["recall_at_100"], 4),
                ratio_text(row["ndcg_ratio"], row["ndcg_ratio_interval"]),
                *(report.number(row["ndcg_ratios"][name]) for name in sets),
            )
            for row in rows
        ],
    )


def _mean(values: Any) -> float | None:
    return None if values is None else float(values.mean())
