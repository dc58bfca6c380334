"""binrag's scans, by Hamming distance and by tables, beside FAISS `IndexBinaryFlat`: `python -m benchmarks.scan`.

One thread each, in turn within one run; the figures are ratios of medians. First one query at a time, then many at
once; and binrag's own scan with two threads, and with a filter that allows few rows. Rows are codes of real or
clustered vectors, repeated with one bit in sixteen flipped. The tables say of each half byte in how many bits it
differs from the query's, so all sides must return the same distances.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.datasets import load
from benchmarks.embeddings import cached_encoder
from binrag.binarizers import SignBinarizer
from binrag.errors import BinragError, InvalidInput, MissingDependency
from binrag.indexes import FlatIndex
from binrag.types import Codes, Float32, Int64, Query, UInt8, UInt64

CLUSTERS, PER_CLUSTER, SPREAD = 1000, 20, 0.7
N_WARM = 5
ALLOWED = 0.001
"""Share of rows that the filter allows."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over the queries of one setting, milliseconds a query.

    `ratio` and `tables_ratio` are FAISS's median by binrag's, by Hamming distance and by tables; the spreads are the
    10 % and 90 % quantiles; `reading_ms` is what NumPy takes to sum up binrag's codes.
    """

    rows: int
    bits: int
    k: int
    queries: int
    binrag_ms: float
    faiss_ms: float
    ratio: float
    binrag_spread: tuple[float, float]
    faiss_spread: tuple[float, float]
    tables_ms: float
    tables_ratio: float
    tables_spread: tuple[float, float]
    reading_ms: float


@dataclass(frozen=True, slots=True)
class BatchTiming:
    """Medians over the batches of one setting, milliseconds a query.

    `ratio` and `tables_ratio` are FAISS's median by binrag's; `batch_threads` and `query_threads` are how much faster
    two threads are than one, on a batch and on one query; `filtered` and `tables_filtered` are what one query costs if
    a filter allows 0.1 % of the rows, by what it costs without.
    """

    rows: int
    bits: int
    k: int
    n_queries: int
    binrag_ms: float
    tables_ms: float
    faiss_ms: float
    ratio: float
    tables_ratio: float
    batch_threads: float
    query_threads: float
    filtered: float
    tables_filtered: float


def vectors_to_repeat(data: Path | None, bits: int, rng: np.random.Generator) -> tuple[Float32, Float32]:
    """Return documents and queries, float32 (n, bits): embeddings, or seeded clustered ones.

    Embeddings of another dimension than `bits` go through a random projection.
    """
    if data is None:
        centres = rng.standard_normal((CLUSTERS, bits), dtype=np.float32)
        noise = rng.standard_normal((CLUSTERS * PER_CLUSTER, bits), dtype=np.float32)
        rows = np.repeat(centres, PER_CLUSTER, axis=0) + SPREAD * noise
        queries = centres + SPREAD * rng.standard_normal(centres.shape, dtype=np.float32)
        return rows, queries
    dataset = load(data, encode=cached_encoder(None))
    if dataset.dim == bits:
        return dataset.corpus, dataset.query_vectors
    projection = rng.standard_normal((dataset.dim, bits), dtype=np.float32)
    return dataset.corpus @ projection, dataset.query_vectors @ projection


def noisy_copies(words: UInt64, n_rows: int, bits: int, rng: np.random.Generator) -> UInt64:
    """Repeat codes up to `n_rows`, each bit flipped with probability 1/16, uint64 (n_rows, n_words)."""
    repeated = np.resize(words, (n_rows, words.shape[1]))
    flips = rng.integers(0, 2**64, size=repeated.shape, dtype=np.uint64)
    for _ in range(3):
        flips &= rng.integers(0, 2**64, size=repeated.shape, dtype=np.uint64)
    if bits % 64:
        flips[:, -1] &= np.uint64((1 << (bits % 64)) - 1)
    return repeated ^ flips


class Contest:
    """Both indexes over the same codes, and the queries for them.

    Parameters
    ----------
    words : uint64 (n_rows, n_words)
        The codes.
    bits : int
        Bits of a code, which may not fill its words.
    queries : list of Query
        What is searched for, in turn.
    """

    def __init__(self, words: UInt64, bits: int, queries: list[Query]) -> None:
        self.faiss = _faiss()
        self.bits = bits
        self.words = words
        self.queries = queries
        self.by_tables = [replace(query, words=None, costs=differing_bits(query.words)) for query in queries]
        self.packed = [query.words.astype("<u8").view(np.uint8)[None] for query in queries]
        rescale = np.ones(len(words), dtype=np.float16)
        codes = Codes(words, np.zeros((len(words), 0), np.uint8), rescale)
        self.binrag_index, self.tables_index = (FlatIndex.from_codes(codes, by_tables) for by_tables in (False, True))
        self.faiss_index = self.faiss.IndexBinaryFlat(64 * words.shape[1])
        self.faiss_index.add(np.ascontiguousarray(words.astype("<u8").view(np.uint8)))

    def binrag(self, i: int, k: int) -> Int64:
        """Return the rows that binrag finds for query `i`."""
        return self.binrag_index.retrieve(self.queries[i], k).rows

    def tables(self, i: int, k: int) -> Int64:
        """Return the rows that binrag finds for query `i` by tables."""
        return self.tables_index.retrieve(self.by_tables[i], k).rows

    def peer(self, i: int, k: int) -> Int64:
        """Return the rows that FAISS finds for query `i`."""
        rows: Int64 = self.faiss_index.search(self.packed[i], k)[1][0]
        return rows

    def distances(self, i: int, rows: Int64) -> Int64:
        """Return the sorted Hamming distances of rows to query `i`."""
        xor = self.words[rows] ^ self.queries[i].words
        return np.sort(np.bitwise_count(xor).sum(axis=1, dtype=np.int64))

    def time(self, k: int, repeats: int) -> tuple[list[float], list[float], list[float]]:
        """Ask all sides `repeats` queries in turn: by Hamming distance, by tables, FAISS; return their milliseconds.

        Raises
        ------
        RuntimeError
            Two of them returned different distances.
        """
        milliseconds: tuple[list[float], list[float], list[float]] = ([], [], [])
        for repeat in range(-N_WARM, repeats):
            i = repeat % len(self.queries)
            found: list[Int64] = [np.empty(0, np.int64)] * 3
            for turn in range(3):
                side = (turn + repeat) % 3
                search = (self.binrag, self.tables, self.peer)[side]
                start = time.perf_counter()
                found[side] = search(i, k)
                if repeat >= 0:
                    milliseconds[side].append(1e3 * (time.perf_counter() - start))
            *ours, theirs = (self.distances(i, rows) for rows in found)
            for own in ours:
                if not np.array_equal(own, theirs):
                    raise RuntimeError(f"query {i}, k = {k}: binrag's distances {own}, FAISS's {theirs}")
        return milliseconds

    def time_batches(self, k: int, n_queries: int, repeats: int) -> dict[str, float]:
        """Return the median milliseconds of what `BatchTiming` compares, all in turn.

        Raises
        ------
        RuntimeError
            Two of them returned different distances.
        """
        queries, by_tables = self.queries[:n_queries], self.by_tables[:n_queries]
        packed = np.concatenate(self.packed[:n_queries])
        draw = np.random.default_rng(1)
        allowed = np.packbits(draw.random(-(-len(self.words) // 64) * 64) < ALLOWED, bitorder="little").view("<u8")
        words, tables = self.binrag_index, self.tables_index
        calls: dict[str, Callable[[], Any]] = {
            "words": lambda: words.retrieve_batch(queries, k),
            "words, two threads": lambda: words.retrieve_batch(queries, k, n_threads=2),
            "tables": lambda: tables.retrieve_batch(by_tables, k),
            "faiss": lambda: self.faiss_index.search(packed, k)[1],
            "one": lambda: words.retrieve(queries[0], k),
            "one, two threads": lambda: words.retrieve(queries[0], k, n_threads=2),
            "one, filtered": lambda: words.retrieve(queries[0], k, allowed),
            "one, tables": lambda: tables.retrieve(by_tables[0], k),
            "one, tables, filtered": lambda: tables.retrieve(by_tables[0], k, allowed),
        }
        milliseconds: dict[str, list[float]] = {name: [] for name in calls}
        for repeat in range(-1, repeats):
            found = {}
            for name, call in calls.items():
                start = time.perf_counter()
                found[name] = call()
                if repeat >= 0:
                    milliseconds[name].append(1e3 * (time.perf_counter() - start))
            for i, theirs in enumerate(found["faiss"]):
                expected = self.distances(i, theirs)
                for name in ("words", "words, two threads", "tables"):
                    if not np.array_equal(self.distances(i, found[name][i].rows), expected):
                        raise RuntimeError(f"query {i}, k = {k}: other distances of {name!r} than FAISS's")
        return {name: float(np.median(own)) for name, own in milliseconds.items()}

    def reading(self, repeats: int = 20) -> float:
        """Return the median milliseconds of reading binrag's codes once, with a FAISS search before each time."""
        milliseconds = []
        for _ in range(repeats):
            self.peer(0, 1)
            start = time.perf_counter()
            self.binrag_index.words.sum()
            milliseconds.append(1e3 * (time.perf_counter() - start))
        return float(np.median(milliseconds))


def contest_of(n_rows: int, bits: int, n_queries: int, data: Path | None) -> Contest:
    """Return the contest over `n_rows` codes of `bits` bits."""
    rng = np.random.default_rng(0)
    rows, query_rows = vectors_to_repeat(data, bits, rng)
    binarizer = SignBinarizer(bits)
    words = noisy_copies(binarizer.transform(rows).words, n_rows, bits, rng)
    return Contest(words, bits, [binarizer.query(row) for row in query_rows[:n_queries]])


def measure(contest: Contest, ks: Sequence[int], repeats: int) -> list[Timing]:
    """Time all sides, once for each k."""
    n_rows, bits = len(contest.words), contest.bits
    timings = []
    reading = contest.reading()
    for k in ks:
        sides = contest.time(k, repeats)
        ours, tables, theirs = (float(np.median(side)) for side in sides)
        spread, of_tables, of_theirs = (tuple(np.quantile(side, [0.1, 0.9]).tolist()) for side in sides)
        by_words = (ours, theirs, theirs / ours, spread, of_theirs)
        timings.append(Timing(n_rows, bits, k, repeats, *by_words, tables, theirs / tables, of_tables, reading))
    return timings


def measure_batches(contest: Contest, ks: Sequence[int], n_queries: int, repeats: int) -> list[BatchTiming]:
    """Time batches, threads and filters, once for each k."""
    n_rows, n_queries = len(contest.words), min(n_queries, len(contest.queries))
    timings = []
    for k in ks:
        ms = contest.time_batches(k, n_queries, repeats)
        timings.append(
            BatchTiming(
                n_rows,
                contest.bits,
                k,
                n_queries,
                *(ms[name] / n_queries for name in ("words", "tables", "faiss")),
                ratio=ms["faiss"] / ms["words"],
                tables_ratio=ms["faiss"] / ms["tables"],
                batch_threads=ms["words"] / ms["words, two threads"],
                query_threads=ms["one"] / ms["one, two threads"],
                filtered=ms["one, filtered"] / ms["one"],
                tables_filtered=ms["one, tables, filtered"] / ms["one, tables"],
            )
        )
    return timings


def differing_bits(words: UInt64) -> UInt8:
    """Return the costs that count the bits in which a code differs from words, uint8 (2, 8 n_words, 16)."""
    data = words.astype("<u8").view(np.uint8)
    halves = np.stack((data & 15, data >> 4))
    return np.bitwise_count(halves[:, :, None] ^ np.arange(16, dtype=np.uint8))


def timing_table(timings: Sequence[Timing]) -> str:
    """Return the timings as a Markdown table."""
    header = [
        "rows × bits",
        "k",
        "binrag, ms",
        "10–90 %",
        "FAISS, ms",
        "10–90 %",
        "FAISS ÷ binrag",
        "by tables, ms",
        "10–90 %",
        "FAISS ÷ tables",
        "reading the codes, ms",
    ]
    return report.table(
        header,
        [
            (
                f"{t.rows:,} × {t.bits:,}",
                str(t.k),
                report.number(t.binrag_ms, 2),
                "–".join(report.number(value, 2) for value in t.binrag_spread),
                report.number(t.faiss_ms, 2),
                "–".join(report.number(value, 2) for value in t.faiss_spread),
                report.number(t.ratio, 2),
                report.number(t.tables_ms, 2),
                "–".join(report.number(value, 2) for value in t.tables_spread),
                report.number(t.tables_ratio, 2),
                report.number(t.reading_ms, 2),
            )
            for t in timings
        ],
    )


def batch_table(timings: Sequence[BatchTiming]) -> str:
    """Return the timings of batches, threads and filters as a Markdown table."""
    header = [
        "rows × bits",
        "k",
        "queries at once",
        "binrag, ms a query",
        "by tables, ms",
        "FAISS, ms",
        "FAISS ÷ binrag",
        "FAISS ÷ tables",
        "two threads, batch",
        "two threads, one query",
        "0.1 % allowed",
        "the same by tables",
    ]
    return report.table(
        header,
        [
            (
                f"{t.rows:,} × {t.bits:,}",
                str(t.k),
                str(t.n_queries),
                *(report.number(value, 2) for value in (t.binrag_ms, t.tables_ms, t.faiss_ms, t.ratio, t.tables_ratio)),
                *(f"{report.number(value, 2)} ×" for value in (t.batch_threads, t.query_threads)),
                *(f"{report.number(100 * value, 1)} %" for value in (t.filtered, t.tables_filtered)),
            )
            for t in timings
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder in BEIR layout whose embeddings are used")
    parser.add_argument("--rows", type=int, default=1_000_000, help="codes to scan (default: %(default)s)")
    parser.add_argument("--bits", type=int, nargs="+", default=[384, 1024], help="default: %(default)s")
    parser.add_argument("--k", type=int, nargs="+", default=[10, 800], help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=100, help="timed queries (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="queries at once, 0: no batches (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment: dict[str, Any] = report.environment("benchmarks.scan", arguments)
    try:
        smallest = min(options.rows, options.repeats, *options.k, *options.bits)
        if smallest < 1 or max(options.k) > options.rows or options.batch < 0:
            raise InvalidInput(f"expected rows ≥ k ≥ 1, repeats ≥ 1, bits ≥ 1 and batch ≥ 0, got {vars(options)}")
        _faiss()
        print(report.environment_line(environment), end="\n\n")
        timings: list[Timing] = []
        batches: list[BatchTiming] = []
        for bits in options.bits:
            print(f"{options.rows:,} × {bits:,} bits", file=sys.stderr)
            contest = contest_of(options.rows, bits, max(options.repeats, options.batch), options.data)
            timings += measure(contest, options.k, options.repeats)
            if options.batch:
                batches += measure_batches(contest, options.k, options.batch, max(3, options.repeats // 10))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(timing_table(timings))
    if batches:
        print(f"\n{batch_table(batches)}")
    if options.json:
        report.write_json(options.json, environment, [asdict(timing) for timing in [*timings, *batches]])
    return 0


def _faiss() -> Any:
    """Return FAISS, set to one thread."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        raise MissingDependency("this benchmark compares with FAISS: pip install faiss-cpu") from None
    faiss.omp_set_num_threads(1)
    return faiss


if __name__ == "__main__":
    raise SystemExit(main())
