"""The measures of cases on data sets, and their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.cases import SEEDS
from benchmarks.metrics import interval
from binrag.types import Float64

CASE_COLUMNS = (
    "case",
    "nDCG@10",
    "MRR@10",
    "nDCG@10 ÷ float [95 %]",
    "recall@10",
    "recall@100",
    "bytes a row in memory",
    "on disk",
    "cold reads a query",
    "ms a query, one thread",
)


@dataclass(frozen=True, slots=True)
class Result:
    """The measures of one case on one data set."""

    data: str
    case: str
    ndcg_at_10: float
    mrr_at_10: float
    ndcg_ratio: float
    ndcg_ratio_interval: tuple[float, float]
    recall_at_10: float
    recall_at_100: float
    hot_bytes_a_row: float
    disk_bytes_a_row: float | None
    cold_reads_a_query: int | None
    milliseconds_a_query: float
    resamples: Float64 = field(repr=False)


def ratio_text(ratio: float, bounds: tuple[float, float]) -> str:
    """Return a ratio with its interval as text."""
    return f"{ratio:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def case_table(results: Sequence[Result]) -> str:
    """Return the table of all measures for one data set."""
    return report.table(
        CASE_COLUMNS,
        [
            (
                result.case,
                report.number(result.ndcg_at_10, 4),
                report.number(result.mrr_at_10, 4),
                ratio_text(result.ndcg_ratio, result.ndcg_ratio_interval),
                report.number(result.recall_at_10),
                report.number(result.recall_at_100),
                report.number(result.hot_bytes_a_row, 1),
                report.number(result.disk_bytes_a_row, 0),
                report.number(result.cold_reads_a_query, 0),
                report.number(result.milliseconds_a_query, 2),
            )
            for result in results
        ],
    )


def means(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the means over data sets, a case each; the sets' queries are resampled independently."""
    rows = []
    for case in dict.fromkeys(result.case for result in results):
        own = [result for result in results if result.case == case]
        rows.append(
            {
                "case": case,
                "ndcg_ratio": float(np.mean([result.ndcg_ratio for result in own])),
                "ndcg_ratio_interval": interval(np.mean([result.resamples for result in own], axis=0)),
                "recall_at_10": float(np.mean([result.recall_at_10 for result in own])),
                "recall_at_100": float(np.mean([result.recall_at_100 for result in own])),
            }
        )
    return rows


def mean_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of `means`."""
    return report.table(
        ["case", "nDCG@10 ÷ float [95 %]", "recall@10", "recall@100"],
        [
            (
                row["case"],
                ratio_text(row["ndcg_ratio"], row["ndcg_ratio_interval"]),
                report.number(row["recall_at_10"]),
                report.number(row["recall_at_100"]),
            )
            for row in rows
        ],
    )


def variant_table(results: Sequence[Result]) -> str:
    """Return nDCG@10 ÷ float by variant and data set; rotations as mean [min, max] over their seeds."""
    names = list(dict.fromkeys(result.data for result in results))
    ratio = {(result.case, result.data): result.ndcg_ratio for result in results}

    def row(case: str) -> list[float]:
        found = [ratio[case, name] for name in names]
        return [*found, float(np.mean(found))]

    seeds = np.array([row(f"rotated, seed {seed}") for seed in SEEDS])
    rows = [[case, *(report.number(value) for value in row(case))] for case in ("plain", "centred")]
    spread = [f"{s.mean():.3f} [{s.min():.3f}, {s.max():.3f}]" for s in seeds.T]
    rows.append([f"rotated, mean [min, max] of {len(seeds)} seeds", *spread])
    return report.table(["variant", *names, "mean"], rows)
