"""From query vectors to hits, in one commit's state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from binrag import pipeline
from binrag.storage import Reading
from binrag.storage.vectors import decode_vectors
from binrag.store.snapshot import Snapshot
from binrag.threads import in_threads
from binrag.types import Candidates, Float32, Hit, KeepVectors


def hits_of(
    reading: Reading,
    snapshot: Snapshot,
    vectors: Sequence[Float32],
    k: int,
    n_candidates: int | None,
    keep: KeepVectors,
    n_threads: int,
) -> list[list[Hit]]:
    """Return each query's hits, best first.

    Parameters
    ----------
    reading : Reading
        A transaction.
    snapshot : Snapshot
        What its commit holds.
    vectors : sequence of float32 (dim,)
        The queries.
    k : int
        Hits a query, at most.
    n_candidates : int or None
        Rows that the scan hands on; None is `pipeline.default_candidates`.
    keep : "int8", "float16" or "none"
        What the last candidates are scored by.
    n_threads : int
        Threads that share the scan, at most.

    Raises
    ------
    DimensionMismatch
        If a vector's dimension is not the store's.
    """
    space, index = snapshot.space, snapshot.index
    if index is None or space is None:
        return [[] for _ in vectors]
    for vector in vectors:
        space.check_dim(vector[None])
    dim = space.dim
    queries = in_threads([partial(space.query, vector) for vector in vectors], n_threads)
    n_candidates = n_candidates or pipeline.default_candidates(index, k)
    found = pipeline.retrieve_batch(index, queries, n_candidates, n_threads=n_threads)
    if keep != "none":

        def read(rows: Sequence[int]) -> Float32:
            return decode_vectors(reading.vectors(rows), keep, dim)

        n_reads = pipeline.default_reads(k, space.binarizer.n_bits / dim)
        found = [
            pipeline.rescore(candidates, query, n_reads, read) for candidates, query in zip(found, queries, strict=True)
        ]
    return [_hits(reading, candidates.top(k)) for candidates in found]


def _hits(reading: Reading, best: Candidates) -> list[Hit]:
    documents = reading.documents_by_row(best.rows.tolist())
    scored = zip(documents, best.scores.tolist(), strict=True)
    return [Hit(document.id, score, document.text, document.metadata) for document, score in scored]
