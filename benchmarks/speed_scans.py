"""The scan alone, and how it grows with the rows: `python -m benchmarks.speed --scan-only ROWS`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import report
from benchmarks.scan import differing_bits, noisy_copies, vectors_to_repeat
from binrag.binarizers import SignBinarizer
from binrag.indexes import FlatIndex
from binrag.types import Codes, Query

N_WARM = 3


@dataclass(frozen=True, slots=True)
class Growth:
    """Median milliseconds of one scan over a tenth of the rows and over all, in turn, in one thread."""

    scan: str
    bits: int
    k: int
    rows: int
    tenth_ms: float
    all_ms: float
    ratio: float


def measure_growth(rows: int, bits: int, k: int, repeats: int) -> list[Growth]:
    """Time the scan by Hamming distance, then by tables, over signs of clustered vectors with flipped bits."""
    rng = np.random.default_rng(0)
    vectors, query_vectors = vectors_to_repeat(None, bits, rng)
    binarizer = SignBinarizer(bits)
    words = noisy_copies(binarizer.transform(vectors).words, rows, bits, rng)
    by_words = [binarizer.query(vector) for vector in query_vectors[:repeats]]
    found = []
    for scan, by_tables in (("Hamming distance", False), ("tables", True)):
        queries = by_words
        if by_tables:
            queries = [replace(query, words=None, costs=differing_bits(query.words)) for query in by_words]
        indexes = []
        for n in (rows // 10, rows):
            codes = Codes(words[:n], np.zeros((n, 0), np.uint8), np.ones(n, np.float16))
            indexes.append(FlatIndex.from_codes(codes, by_tables))
        tenth_ms, all_ms = _time_in_turn(indexes, queries, k, repeats)
        found.append(Growth(scan, bits, k, rows, tenth_ms, all_ms, all_ms / tenth_ms))
    return found


def growth_table(found: Sequence[Growth]) -> str:
    """Return the timings as a Markdown table."""
    header = ["scan", "bits", "k", "rows", "a tenth of them, ms", "all, ms", "ratio"]
    return report.table(
        header,
        [
            (
                growth.scan,
                f"{growth.bits:,}",
                str(growth.k),
                f"{growth.rows:,}",
                report.number(growth.tenth_ms, 3),
                report.number(growth.all_ms, 3),
                report.number(growth.ratio, 2),
            )
            for growth in found
        ],
    )


def _time_in_turn(indexes: Sequence[FlatIndex], queries: Sequence[Query], k: int, repeats: int) -> list[float]:
    milliseconds: list[list[float]] = [[] for _ in indexes]
    for repeat in range(-N_WARM, repeats):
        for own, index in zip(milliseconds, indexes, strict=True):
            start = time.perf_counter()
            index.retrieve(queries[repeat % len(queries)], k)
            if repeat >= 0:
                own.append(1e3 * (time.perf_counter() - start))
    return [float(np.median(own)) for own in milliseconds]
