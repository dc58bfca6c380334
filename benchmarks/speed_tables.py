"""What `benchmarks.speed` prints and draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.speed_measure import main_point
from binrag.errors import MissingDependency

Record = dict[str, Any]

GOOD = 0.95
NOTE = (
    f"The fastest setting of each with recall@10 ≥ {GOOD}, else the one with the best recall. p50 and p95 are of "
    "single queries, contenders in turn within one run; the last column is p50 by that of binrag's first row. Recall "
    "counts answers as similar as the exact tenth. A batch is one call, or one query after another where there is no "
    "call for many. Opening does not count imports. The first query is the first one of the opened process, files are "
    "in the page cache; binrag's loads its compiled kernels. Memory is resident after the queries, mapped files as far "
    "as they were read, and in brackets what of it was not there after the imports. Builds use all cores."
)


def cells(records: Iterable[Record]) -> dict[tuple[int, int, int], list[Record]]:
    """Return the records of each cell: rows, dimension, threads."""
    found: dict[tuple[int, int, int], list[Record]] = {}
    for record in records:
        found.setdefault((record["rows"], record["dim"], record["threads"]), []).append(record)
    return found


def chosen(records: Sequence[Record]) -> list[tuple[Record, Record | None]]:
    """Return for each line of a cell the record and the point that stand for it; no point where none was measured."""
    found: list[tuple[Record, Record | None]] = []
    for line in dict.fromkeys(record["line"] for record in records):
        own = [record for record in records if record["line"] == line]
        points = [{**point, "of": i} for i, record in enumerate(own) for point in record.get("points", ())]
        if points:
            best = main_point(points, GOOD)
            found.append((own[best["of"]], best))
        else:
            found.append((own[0], None))
    return found


def main_table(records: Sequence[Record]) -> str:
    """Return a cell's table: a row for each line, what was left out or failed with its reason."""
    header = [
        "contender",
        "setting",
        "returns",
        "build, s",
        "open, ms",
        "first query, ms",
        "p50, ms",
        "p95, ms",
        "queries/s in a batch",
        "recall@10",
        "memory, MB",
        "disk, MB",
        "p50 ÷ binrag's",
    ]
    rows = []
    for record, point in chosen(records):
        if point is None:
            reason = f"failed: {record['error']}" if "error" in record else record.get("left_out", "")
            rows.append((record["line"], one_line(reason), record["returns"], *["–"] * (len(header) - 3)))
            continue
        reference = record["reference_ms"]
        rows.append(
            (
                record["line"],
                "; ".join(filter(None, (record["setting"], point["label"] if point["point"] else ""))),
                record["returns"],
                report.number(record["build_s"], 1),
                report.number(record["open_ms"], 1),
                report.number(record["first_ms"], 1),
                report.number(point["p50_ms"], 2),
                report.number(point["p95_ms"], 2),
                report.number(point["batch_rate"], 0),
                report.number(point["recall"], 3),
                f"{megabytes(record['used_bytes'])} ({megabytes(record['used_bytes'], record['loaded_bytes'])})",
                megabytes(record["disk_bytes"]),
                report.number(point["p50_ms"] / reference if reference else None, 2),
            )
        )
    return report.table(header, rows)


def points_table(records: Sequence[Record]) -> str:
    """Return all settings that were measured in a cell."""
    header = ["contender", "setting", "p50, ms", "p95, ms", "queries/s in a batch", "recall@10", "queries rated"]
    rows = [
        (
            record["contender"],
            point["label"],
            report.number(point["p50_ms"], 2),
            report.number(point["p95_ms"], 2),
            report.number(point["batch_rate"], 0),
            report.number(point["recall"], 3),
            str(point["rated_queries"]),
        )
        for record in records
        for point in record.get("points", ())
    ]
    return report.table(header, rows)


def one_line(text: str) -> str:
    """Return a message fit for a cell of a table."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"


def megabytes(n_bytes: int | None, less: int | None = 0) -> str:
    """Return bytes, less some others, as MB."""
    return "–" if n_bytes is None or less is None else report.number((n_bytes - less) / 1e6, 0)


def plot_all(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw latency against recall for each cell, and latency against rows; return the files.

    Raises
    ------
    MissingDependency
        matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for (rows, dim, threads), own in cells(records).items():
        path = folder / f"recall-{rows}x{dim}-{threads}.png"
        title = f"{rows:,} rows of {dim:,} dimensions, threads: {threads}"
        lines = {}
        for line in dict.fromkeys(record["line"] for record in own):
            points = [point for record in own if record["line"] == line for point in record.get("points", ())]
            lines[line] = sorted((point["recall"], point["p50_ms"]) for point in points)
        _plot(lines, ours(own), path, title, "share of float32's top 10 found", log_x=False)
        written.append(path)
    for dim, threads in dict.fromkeys((record["dim"], record["threads"]) for record in records):
        own = [record for record in records if (record["dim"], record["threads"]) == (dim, threads)]
        growth: dict[str, list[tuple[float, float]]] = {}
        for (rows, _, _), cell in sorted(cells(own).items()):
            for record, point in chosen(cell):
                if point is not None:
                    growth.setdefault(record["line"], []).append((rows, point["p50_ms"]))
        path = folder / f"rows-{dim}-{threads}.png"
        title = f"{dim:,} dimensions, threads: {threads}; settings as in the tables"
        _plot(growth, ours(own), path, title, "rows", log_x=True)
        written.append(path)
    return written


def ours(records: Iterable[Record]) -> set[str]:
    """Return binrag's lines."""
    return {record["line"] for record in records if record["is_ours"]}


def _plot(
    lines: dict[str, list[tuple[float, float]]], own: set[str], path: Path, title: str, x: str, *, log_x: bool
) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("a plot needs matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    for number, (line, points) in enumerate(lines.items()):
        if points:
            style, width = ("-", 2.0) if line in own else ("--", 1.0)
            colour = f"C{number % 10}"
            marker = "o" if line in own else "sv^D*Px"[number % 7]
            axes.plot(*zip(*points, strict=True), style, color=colour, linewidth=width, marker=marker, label=line)
    axes.set_yscale("log")
    if log_x:
        axes.set_xscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel("milliseconds a query, median")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if any(lines.values()):
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0)
    figure.savefig(path, dpi=150)
