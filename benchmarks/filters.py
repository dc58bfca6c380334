"""What filters cost before the scan: `python -m benchmarks.filters`.

Synthetic metadata, one key at a time, from few to a million distinct values. Blocks of 4,096 rows are packed as a store
packs them and merged into a column at the first use; then each condition is asked again and again. All bitmaps are
compared with the plain predicate on the first rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from binrag import All, And, Contains, Eq, Exists, Filter, Ge, In, IsEmpty, Lt, Ne, TextMatch  # fmt: skip
from binrag import Any as AnyOf
from binrag.errors import BinragError, InvalidInput
from binrag.filters import Column, matches, pack_columns, select
from binrag.types import BLOCK, Metadata, UInt64

CHECKED = 10_000
"""Rows for which the bitmap is compared with the plain predicate."""


@dataclass(frozen=True, slots=True)
class ColumnTiming:
    """One key's metadata: what writing and first reading it cost.

    `rows_a_second` is how fast blocks are packed, `bytes_a_row` how long they get; `merge_ms` is what merging all
    blocks takes at the first use, `update_ms` what taking in one rewritten block takes later.
    """

    name: str
    rows: int
    n_distinct: int
    rows_a_second: float
    bytes_a_row: float
    merge_ms: float
    update_ms: float


@dataclass(frozen=True, slots=True)
class Timing:
    """One condition: how many rows match, and milliseconds of the first time and the median and worst of later ones."""

    name: str
    condition: str
    matching: int
    first_ms: float
    warm_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True)
class Case:
    """A key's values, a row each (None: the key is not there), and the conditions asked about them."""

    name: str
    values: list[Any]
    conditions: dict[str, Filter]


def cases(n: int, seed: int = 0) -> Iterable[Case]:
    """Return the columns, one at a time, `n` rows each."""
    draw = np.random.default_rng(seed)

    def picked(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in draw.integers(0, len(values), n).tolist()]

    low, high = n // 4, n // 4 + max(1, n // 1000)
    many = list(range(0, n, max(1, n // 100)))
    yield Case(
        "10 strings", picked([f"lang-{i}" for i in range(10)]), _on_strings("lang-3", "lang-5", ["lang-1", "lang-8"])
    )
    tenants = [f"tenant-{i:03d}" for i in range(1000)]
    yield Case("1,000 strings", picked(tenants), _on_strings(tenants[7], tenants[500], tenants[::10]))
    yield Case(
        "distinct integers", draw.permutation(n).tolist(), {**_on_numbers(n // 2, low, high), "In 100": In("k", many)}
    )
    yield Case("distinct floats", draw.random(n).tolist(), _on_numbers(0.5, 0.25, 0.251))
    names = [f"doc-{i:09d}" for i in range(n)]
    shuffled = [names[i] for i in draw.permutation(n).tolist()]
    yield Case("distinct strings", shuffled, _on_strings(names[n // 3], names[n // 2], [names[i] for i in many]))
    tags = [f"tag-{i}" for i in range(100)]
    lists = [[tags[i] for i in draw.choice(100, 3, replace=False)] for _ in range(100)]
    yield Case("100 lists of 3 tags", picked(lists), _on_lists(lists[0]))
    lists = [[tags[j] for j in row] for row in draw.integers(0, 100, (n, 3)).tolist()]
    yield Case("random lists of 3 tags", lists, _on_lists(lists[0]))
    rare = [1 if row % 1000 == 0 else None for row in range(n)]
    yield Case("in 0.1 % of the rows", rare, {"Exists": Exists("k"), "Eq": Eq("k", 1), "IsEmpty": IsEmpty("k")})


def _on_strings(value: str, middle: str, several: list[str]) -> dict[str, Filter]:
    return {
        "Eq": Eq("k", value),
        "Ne": Ne("k", value),
        f"In {len(several)}": In("k", several),
        "Lt": Lt("k", middle),
        "Exists": Exists("k"),
        "TextMatch": TextMatch("k", value[-3:]),
        "TextMatch, any case": TextMatch("k", value[-3:].upper(), ignore_case=True),
    }


def _on_numbers(middle: float, low: float, high: float) -> dict[str, Filter]:
    return {
        "Eq": Eq("k", middle),
        "Ne": Ne("k", middle),
        "Lt": Lt("k", middle),
        "Ge and Lt": And(Ge("k", low), Lt("k", high)),
        "Exists": Exists("k"),
    }


def _on_lists(value: list[str]) -> dict[str, Filter]:
    return {
        "Contains": Contains("k", value[0]),
        "Any": AnyOf("k", value[:2]),
        "All": All("k", value[:2]),
        "Eq": Eq("k", value),
    }


def measure(case: Case, repeats: int) -> tuple[ColumnTiming, list[Timing]]:
    """Time one column and its conditions.

    Raises
    ------
    RuntimeError
        A bitmap is not what the plain predicate says.
    """
    rows: list[Metadata] = [{} if value is None else {"k": value} for value in case.values]
    packing, pieces = timed(lambda: [(i, pack_columns(rows[i : i + BLOCK])) for i in range(0, len(rows), BLOCK)])
    merging, column = timed(lambda: Column.empty("k").updated(len(rows), pieces))
    updating = float(np.median([timed(lambda: column.updated(len(rows), pieces[-1:]))[0] for _ in range(repeats)]))
    n_distinct = len({str(value) for value in case.values if value is not None})
    size = sum(len(blob) for _, blob in pieces) / len(rows)
    written = ColumnTiming(case.name, len(rows), n_distinct, 1e3 * len(rows) / packing, size, merging, updating)
    timings = []
    for name, condition in case.conditions.items():
        asked = [timed(lambda node=condition: _selected(node, column, rows)) for _ in range(1 + repeats)]  # type: ignore[misc]
        first, *warm = (milliseconds for milliseconds, _ in asked)
        words = asked[-1][1]
        _check(condition, words, rows)
        n_matching = int(np.bitwise_count(words).sum())
        timings.append(Timing(case.name, name, n_matching, first, float(np.median(warm)), max(warm)))
    return written, timings


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the milliseconds that a call takes, and its result."""
    start = time.perf_counter()
    result = call()
    return 1e3 * (time.perf_counter() - start), result


def _selected(condition: Filter, column: Column, rows: list[Metadata]) -> UInt64:
    return select(condition, len(rows), lambda path: column, lambda asked: [rows[row] for row in asked])


def _check(condition: Filter, words: UInt64, rows: list[Metadata]) -> None:
    flags = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    for row, metadata in enumerate(rows[:CHECKED]):
        if flags[row] != matches(condition, metadata):
            raise RuntimeError(f"{condition!r} selects {metadata!r}: {bool(flags[row])}")


def column_table(timings: Sequence[ColumnTiming]) -> str:
    """Return what columns cost as a Markdown table."""
    header = [
        "values",
        "rows",
        "distinct",
        "packed, rows a second",
        "bytes a row",
        "first use, ms",
        "one block more, ms",
    ]
    return report.table(
        header,
        [
            (
                t.name,
                f"{t.rows:,}",
                f"{t.n_distinct:,}",
                report.number(t.rows_a_second, 0),
                report.number(t.bytes_a_row, 2),
                report.number(t.merge_ms, 0),
                report.number(t.update_ms, 2),
            )
            for t in timings
        ],
    )


def timing_table(timings: Sequence[Timing]) -> str:
    """Return what conditions cost as a Markdown table."""
    header = ["values", "condition", "rows that match", "first, ms", "then, ms", "worst, ms"]
    return report.table(
        header,
        [
            (
                t.name,
                t.condition,
                f"{t.matching:,}",
                report.number(t.first_ms, 2),
                report.number(t.warm_ms, 2),
                report.number(t.worst_ms, 2),
            )
            for t in timings
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument(
        "--repeats", type=int, default=20, help="times each condition is asked again (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment: dict[str, Any] = report.environment("benchmarks.filters", arguments)
    columns: list[ColumnTiming] = []
    timings: list[Timing] = []
    try:
        if options.rows < 1 or options.repeats < 1:
            raise InvalidInput(f"expected rows ≥ 1 and repeats ≥ 1, got {vars(options)}")
        for case in cases(options.rows, options.seed):
            print(case.name, file=sys.stderr)
            written, own = measure(case, options.repeats)
            columns.append(written)
            timings += own
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = f"{report.environment_line(environment)}\n\n{column_table(columns)}\n\n{timing_table(timings)}\n"
    print(text, end="")
    if options.json:
        report.write_json(options.json, environment, [asdict(timing) for timing in [*columns, *timings]])
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
