"""From query vectors to hits, in one commit's state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from binrag import pipeline
from binrag.errors import InvalidInput
from binrag.filters import Filter
from binrag.storage import Reading
from binrag.storage.vectors import decode_vectors
from binrag.store.batches import checked_texts
from binrag.store.handle import Handle
from binrag.store.snapshot import Snapshot
from binrag.store.space import checked_vectors
from binrag.threads import in_threads
from binrag.types import Candidates, Float32, Hit, KeepVectors, UInt64


def search_batch(
    handle: Handle, queries: Any, k: int, n_candidates: int | None, tenant: str | None, where: Filter | None
) -> list[list[Hit]]:
    """Search for several queries in the same commit's state; see `Store.search_batch`."""
    vectors = _query_vectors(handle, queries)
    with handle.view() as (reading, snapshot):
        allowed = None
        if snapshot.index is not None:
            allowed = handle.columns.allowed(reading, snapshot.index.live, tenant, where)
        found: list[list[Hit]] = []
        left = iter(vectors)
        while tile := list(islice(left, pipeline.TILE * handle.n_threads)):
            found += hits_of(reading, snapshot, tile, k, n_candidates, handle.keep, handle.n_threads, allowed)
        return found


def _query_vectors(handle: Handle, queries: Any) -> Iterable[Float32]:
    if isinstance(queries, str) or not isinstance(queries, Iterable):
        raise InvalidInput(f"queries is {queries!r}, expected a list of texts or vectors; search takes one")
    listed = queries if isinstance(queries, np.ndarray) and queries.dtype.kind == "f" else list(queries)
    if len(listed) == 0:
        return []
    is_text = isinstance(listed[0], str)
    space, record = handle.snapshot.space, None
    if space is None or (is_text and not handle.encoder.is_checked):
        with handle.view() as (reading, snapshot):
            space, record = snapshot.space, reading.get("encoder")
    dim = space.dim if space else handle.settings.dim
    if is_text:
        handle.encoder.check(record, space)
        return handle.encoder.encode_queries(checked_texts("queries", listed), dim)
    return checked_vectors(listed, dim, lambda i: f"query vector {i}" if len(listed) > 1 else "the query vector")


def hits_of(
    reading: Reading,
    snapshot: Snapshot,
    vectors: Sequence[Float32],
    k: int,
    n_candidates: int | None,
    keep: KeepVectors,
    n_threads: int,
    allowed: UInt64 | None = None,
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
    allowed : uint64 (≥ ceil(n_rows / 64),), optional
        Bitmap of rows that may be hits.

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
    found = pipeline.retrieve_batch(index, queries, n_candidates, allowed, n_threads=n_threads)
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
    return [Hit(document.id, score, document.text, document.metadata, document.tenant) for document, score in scored]
