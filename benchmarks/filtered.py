"""Searches with a filter or in a tenant beside searches of everything: `python -m benchmarks.filtered`.

A store of synthetic rows, in one thread. For each kind of condition every query is asked in three ways in turn: of all
documents; with a condition that was not asked before; and with the same one again, whose rows are known then. A
thousand tenants take turns in adding, 16 rows each, so that one's lie far apart until the store is compacted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.filters import timed
from binrag import ALL_TENANTS, Contains, Eq, Exists, Filter, Ge, In, Lt, Ne, Not, Store, TextMatch
from binrag.errors import BinragError, InvalidInput
from binrag.types import Float32

DIM = 384
N_TENANTS = 1000
N_LANGUAGES = 10
RUN = 16
"""Rows that a tenant adds at once."""
K = 10


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians of milliseconds a search.

    `scan_share` is the time of the scan alone ÷ that of a scan of everything right before it, which leaves nothing of
    it in the processor's caches; `again_share` is the same of the scan once more.
    """

    condition: str
    matching: int
    everything_ms: float
    first_ms: float
    new_ms: float
    known_ms: float
    scan_share: float | None = None
    again_share: float | None = None

    @property
    def ratio(self) -> float:
        """A search with a new condition ÷ one of everything."""
        return self.new_ms / self.everything_ms


def conditions(n: int, draw: np.random.Generator) -> dict[str, Callable[[], Filter]]:
    """Return what makes conditions, another at each call, by kind; `n` is the number of rows."""

    def number() -> int:
        return int(draw.integers(n))

    return {
        "number = 1 of all": lambda: Eq("number", number()),
        "number ≥": lambda: Ge("number", number()),
        "number in 0.1 %": lambda: Ge("number", first := number()) & Lt("number", first + n // 1000),
        "number in 100": lambda: In("number", [number() for _ in range(100)]),
        "number is there": lambda: Exists("number") & Not(Eq("number", number())),
        "language =, 1 of 10": lambda: Eq("language", f"l{draw.integers(N_LANGUAGES)}") & Ne("number", number()),
        "language ≠, 1 of 10": lambda: Ne("language", f"l{draw.integers(N_LANGUAGES)}") & Ne("number", number()),
        "name =, 1 of all": lambda: Eq("name", f"document {number()}"),
        "name <": lambda: Lt("name", f"document {number()}"),
        "tags contain, 1 of 100": lambda: Contains("tags", f"t{draw.integers(100)}") & Ne("number", number()),
        "name has a text": lambda: TextMatch("name", f"{draw.integers(1000)}"),
    }


def fill(store: Store, n: int, draw: np.random.Generator) -> None:
    """Add rows for all tenants in turn."""
    at_once = N_TENANTS * RUN
    base = draw.standard_normal((at_once, DIM), dtype=np.float32)
    numbers = draw.permutation(n)
    for first in range(0, n, at_once):
        some = [int(number) for number in numbers[first : first + at_once]]
        # of other lengths and directions, at the cost of a copy
        vectors = np.roll(base, first // at_once, axis=1)
        metadata = [
            {
                "number": number,
                "language": f"l{number % N_LANGUAGES}",
                "name": f"document {number}",
                "tags": [f"t{number % 100}", f"t{number // 100 % 100}"],
            }
            for number in some
        ]
        with store.transaction():
            for i in range(0, len(some), RUN):
                own = slice(i, i + RUN)
                store.add(
                    vectors=vectors[own][: len(some) - i],
                    metadata=metadata[own],
                    tenant=f"tenant {i // RUN}",
                    progress=False,
                )
        print(f"\r{min(first + at_once, n):,} rows", end="", file=sys.stderr)
    print(file=sys.stderr)


def measure(store: Store, name: str, make: Callable[[], Filter], queries: Float32) -> Timing:
    """Time one kind of condition."""
    first = make()
    first_ms, _ = timed(lambda: store.search(queries[0], K, where=first, tenant=ALL_TENANTS))
    times: list[tuple[float, float, float]] = []
    for query in queries:
        where = make()
        everything, _ = timed(lambda query=query: store.search(query, K, tenant=ALL_TENANTS))  # type: ignore[misc]
        asked = [
            timed(lambda query=query, where=where: store.search(query, K, where=where, tenant=ALL_TENANTS))  # type: ignore[misc]
            for _ in range(2)
        ]
        times.append((everything, asked[0][0], asked[1][0]))
    everything, new, known = np.median(np.array(times), axis=0).tolist()
    return Timing(name, store.count(where=first, tenant=ALL_TENANTS), everything, first_ms, new, known)


def measure_tenants(store: Store, name: str, queries: Float32) -> Timing:
    """Time searches in tenants, and their scans."""
    store.search(queries[0], K, tenant=ALL_TENANTS)
    first_ms, _ = timed(lambda: store.search(queries[0], K, tenant="tenant 0"))
    times, scans = [], []
    for i, query in enumerate(queries):
        tenant = f"tenant {1 + i % (N_TENANTS - 1)}"
        everything, _ = timed(lambda query=query: store.search(query, K, tenant=ALL_TENANTS))  # type: ignore[misc]
        asked = [
            timed(lambda query=query, tenant=tenant: store.search(query, K, tenant=tenant))[0]  # type: ignore[misc]
            for _ in range(2)
        ]
        times.append((everything, *asked))
        scans.append(_scans(store, query, tenant))
    everything, new, known = np.median(np.array(times), axis=0).tolist()
    whole, own, again = np.median(np.array(scans), axis=0).tolist()
    n = store.count(tenant="tenant 1")
    return Timing(name, n, everything, first_ms, new, known, own / whole, again / whole)


def _scans(store: Store, query: Float32, tenant: str) -> tuple[float, float, float]:
    """Return the milliseconds of a scan of everything, of one of a tenant's rows, and of the same again."""
    with store._handle.view() as (reading, snapshot):
        space, index = snapshot.space, snapshot.index
        if space is None or index is None:
            raise InvalidInput("the store is empty")
        allowed = store._handle.columns.allowed(reading, index.live, tenant, None)
        asked = space.query(query)
        whole, _ = timed(lambda: index.retrieve(asked, 800))
        own, again = (timed(lambda: index.retrieve(asked, 800, allowed))[0] for _ in range(2))
    return whole, own, again


def table(timings: Sequence[Timing]) -> str:
    """Return all figures as a Markdown table."""
    header = [
        "condition",
        "documents that match",
        "all documents, ms",
        "its key's first, ms",
        "new, ms",
        "÷ all",
        "known, ms",
    ]
    rows = [
        (
            timing.condition,
            f"{timing.matching:,}",
            report.number(timing.everything_ms, 2),
            report.number(timing.first_ms, 0),
            report.number(timing.new_ms, 2),
            report.number(timing.ratio, 2),
            report.number(timing.known_ms, 2),
        )
        for timing in timings
    ]
    return report.table(header, rows)


def scan_lines(timings: Sequence[Timing]) -> str:
    """Return what scans of tenants take, a line each."""
    shares = [timing for timing in timings if timing.scan_share is not None]
    return "".join(
        f"\n{t.condition}: its scan takes {t.scan_share:.1%} of one of everything, and {t.again_share:.1%} once more."
        for t in shares
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filtered", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--queries", type=int, default=40, help="of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment: dict[str, Any] = report.environment("benchmarks.filtered", arguments)
    timings: list[Timing] = []
    try:
        if options.rows < N_TENANTS or options.queries < 1:
            raise InvalidInput(f"expected rows ≥ {N_TENANTS:,} and queries ≥ 1, got {vars(options)}")
        draw = np.random.default_rng(options.seed)
        queries = draw.standard_normal((options.queries, DIM), dtype=np.float32)
        with (
            tempfile.TemporaryDirectory(prefix="binrag-filtered-") as folder,
            Store.open(Path(folder) / "filtered.binrag", "x", binarizer="sign", durability="os", n_threads=1) as store,
        ):
            fill(store, options.rows, draw)
            store.search(queries[0], K, tenant=ALL_TENANTS)
            for name, make in conditions(options.rows, draw).items():
                timings.append(measure(store, name, make, queries))
            timings.append(measure_tenants(store, "tenant, 1 of 1,000, rows apart", queries))
            store.compact(progress=False)
            timings.append(measure_tenants(store, "tenant, 1 of 1,000, compacted", queries))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = f"{report.environment_line(environment)}\n\n{table(timings)}\n{scan_lines(timings)}\n"
    print(text, end="")
    if options.json:
        report.write_json(options.json, environment, [asdict(timing) for timing in timings])
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
