"""Retrieve and rescore: from a query to the best candidates, before any document is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from binrag.indexes import FlatIndex
from binrag.indexes.flat import TILE
from binrag.protocols import Binarizer
from binrag.ranking.rescore import rescore_codes, rescore_vectors
from binrag.threads import in_threads
from binrag.types import Candidates, Codes, Float32, Query, UInt64

__all__ = [
    "TILE",
    "decode",
    "default_candidates",
    "default_reads",
    "default_token_reads",
    "rescore",
    "retrieve",
    "retrieve_batch",
]

MIN_READS = 100
FINE_BITS = 2
MIN_TOKEN_READS = 200
SCANNED_PER_READ = 4
"""Rows that the scan hands on, to be ordered by all bits of their code, for each whose token codes are read."""


def default_candidates(index: FlatIndex, k: int) -> int:
    """How many rows the scan hands on for k hits.

    In the text embeddings measured so many hold 0.999 of float32's best k by tables, and of signs 0.998 of its best ten
    (`docs/performance.md`). It need not grow with the rows: where they are more, the best are as much farther ahead.
    """
    return 10 * k + 150 if index.shape.by_tables else max(800, 20 * k)


def default_reads(k: int, bits: float) -> int:
    """How many kept vectors are read from disk for k hits, by the bits that codes have for a dimension.

    In the text embeddings measured these hold 0.998 of float32's best k by codes of two bits; by one bit 0.99 of the
    best ten (`docs/performance.md`).
    """
    return 20 + 5 * k // 2 if bits >= FINE_BITS else max(MIN_READS, 3 * k)


def default_token_reads(k: int) -> int:
    """How many documents' token codes are read from disk for k hits (`docs/multi-vector.md`)."""
    return max(MIN_TOKEN_READS, 5 * k)


def retrieve(index: FlatIndex, query: Query, n_candidates: int) -> Candidates:
    """Find candidates by a scan and order them by the float query over their codes.

    Parameters
    ----------
    index : FlatIndex
        The codes.
    query : Query
        The query.
    n_candidates : int
        Rows that the scan hands on.

    Returns
    -------
    Candidates
        min(n_candidates, live rows) rows with estimated similarities, best first.
    """
    return retrieve_batch(index, [query], n_candidates)[0]


def retrieve_batch(
    index: FlatIndex,
    queries: Sequence[Query],
    n_candidates: int,
    allowed: UInt64 | None = None,
    *,
    n_threads: int = 1,
) -> list[Candidates]:
    """Return what `retrieve` does for each query, of allowed rows, whatever the number of threads."""
    nearest = index.retrieve_batch(queries, n_candidates, allowed, n_threads=n_threads)
    rescored = [
        partial(rescore_codes, index.codes, index.rest, index.rescale, query, found.rows)
        for query, found in zip(queries, nearest, strict=True)
    ]
    return in_threads(rescored, n_threads)


def decode(binarizer: Binarizer, codes: Codes) -> Float32:
    """Return the vectors that codes stand for, float32 (n, dim), coordinate by coordinate: each is a query's score."""
    found = np.zeros((len(codes), binarizer.dim), dtype=np.float32)
    if not len(codes):
        return found
    index = FlatIndex.from_codes(codes, binarizer.shape.by_tables)
    rows = np.arange(len(codes))
    for j, axis in enumerate(np.eye(binarizer.dim, dtype=np.float32)):
        scored = rescore_codes(index.codes, index.rest, index.rescale, binarizer.query(axis), rows)
        found[scored.rows, j] = scored.scores
    return found


def rescore(candidates: Candidates, query: Query, n_reads: int, read: Callable[[Sequence[int]], Float32]) -> Candidates:
    """Score the first candidates by their kept vectors.

    Parameters
    ----------
    candidates : Candidates
        Best first.
    query : Query
        The query.
    n_reads : int
        How many of them to read.
    read : callable
        Rows to kept vectors, float32 (n, dim).

    Returns
    -------
    Candidates
        The candidates read, best first.
    """
    rows = candidates.rows[:n_reads]
    return rescore_vectors(read(rows.tolist()), query, rows)
