"""From query vectors to hits, in one commit's state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from binrag import pipeline
from binrag.errors import InvalidInput
from binrag.filters import Filter
from binrag.indexes import FlatIndex
from binrag.ranking.diversify import mmr
from binrag.storage import Reading
from binrag.storage.vectors import decode_vectors
from binrag.store.batches import checked_texts
from binrag.store.handle import Handle
from binrag.store.snapshot import Snapshot
from binrag.store.space import VectorSpace, checked_vectors
from binrag.store.tokens import checked_query
from binrag.threads import in_threads
from binrag.types import Candidates, Float32, Hit, KeepVectors, Mmr, UInt64


@dataclass(frozen=True, slots=True)
class Selection:
    """Which documents may be hits: those of a tenant, of all with None, that match, and have one of the ids."""

    tenant: str | None
    where: Filter | None = None
    ids: Sequence[str] | None = None

    def rows(self, handle: Handle, reading: Reading, snapshot: Snapshot) -> UInt64 | None:
        """Return a bitmap of the rows, as `hits_of` takes it."""
        if snapshot.index is None:
            return None
        allowed = handle.columns.allowed(reading, snapshot.index.live, self.tenant, self.where)
        if self.ids is None:
            return allowed
        assert self.tenant is not None
        named = np.zeros(-(-snapshot.index.n_rows // 64), dtype=np.uint64)
        rows = np.fromiter(reading.rows_by_id(self.tenant, self.ids), dtype=np.int64)
        np.bitwise_or.at(named, rows // 64, np.uint64(1) << (rows % 64).astype(np.uint64))
        return named if allowed is None else named & allowed


def search_batch(
    handle: Handle, queries: Any, k: int, n_candidates: int | None, selection: Selection, diversity: Mmr | None = None
) -> list[list[Hit]]:
    """Search for several queries in the same commit's state; see `Store.search_batch`."""
    vectors = _query_vectors(handle, queries)
    with handle.view() as (reading, snapshot):
        allowed = selection.rows(handle, reading, snapshot)
        found: list[list[Hit]] = []
        left = iter(vectors)
        while tile := list(islice(left, pipeline.TILE * handle.n_threads)):
            found += hits_of(
                reading, snapshot, tile, k, n_candidates, handle.keep, handle.n_threads, allowed, diversity
            )
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
    dim = space.vector_dim if space else handle.settings.dim
    if is_text:
        handle.encoder.check(record, space)
    if handle.settings.late_interaction is not None:
        similarity = space.vector_similarity if space else handle.encoder.similarity
        if is_text:
            return handle.encoder.encode_token_queries(checked_texts("queries", listed), similarity, dim)
        return [checked_query(matrix, similarity, dim) for matrix in listed]
    if is_text:
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
    diversity: Mmr | None = None,
) -> list[list[Hit]]:
    """Return each query's hits, best first.

    Parameters
    ----------
    reading : Reading
        A transaction.
    snapshot : Snapshot
        What its commit holds.
    vectors : sequence of float32 (dim,), or (n_tokens, dim) in a store of token vectors
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
    diversity : Mmr, optional
        How hits are chosen among more of them.

    Raises
    ------
    DimensionMismatch
        If a vector's dimension is not the store's.
    """
    space, index = snapshot.space, snapshot.index
    if index is None or space is None:
        return [[] for _ in vectors]
    n_best = k if diversity is None else diversity.pool_of(k)
    if space.tokens is not None:
        found = _by_tokens(reading, space, index, vectors, n_best, n_candidates, n_threads, allowed)
    else:
        found = _by_vectors(reading, space, index, vectors, n_best, n_candidates, n_threads, allowed, keep)
    if diversity is not None:
        found = [
            _diversified(reading, snapshot, candidates.top(n_best), k, keep, diversity.diversity)
            for candidates in found
        ]
    return [_hits(reading, candidates.top(k)) for candidates in found]


def _by_vectors(
    reading: Reading,
    space: VectorSpace,
    index: FlatIndex,
    vectors: Sequence[Float32],
    n_best: int,
    n_candidates: int | None,
    n_threads: int,
    allowed: UInt64 | None,
    keep: KeepVectors,
) -> list[Candidates]:
    """Return each query's best rows by one vector a document, at least `n_best` where there are so many."""
    for vector in vectors:
        space.check_dim(vector[None])
    queries = in_threads([partial(space.query, vector) for vector in vectors], n_threads)
    n_candidates = max(n_candidates or pipeline.default_candidates(index, n_best), n_best)
    found = pipeline.retrieve_batch(index, queries, n_candidates, allowed, n_threads=n_threads)
    if keep == "none":
        return found

    def read(rows: Sequence[int]) -> Float32:
        return decode_vectors(reading.vectors(rows), keep, space.dim)

    n_reads = pipeline.default_reads(n_best, space.binarizer.n_bits / space.dim)
    return [pipeline.rescore(own, query, n_reads, read) for own, query in zip(found, queries, strict=True)]


def _by_tokens(
    reading: Reading,
    space: VectorSpace,
    index: FlatIndex,
    matrices: Sequence[Float32],
    n_best: int,
    n_candidates: int | None,
    n_threads: int,
    allowed: UInt64 | None,
) -> list[Candidates]:
    """Return each query's best rows by MaxSim, at least `n_best` where there are so many."""
    tokens = space.tokens
    assert tokens is not None
    for matrix in matrices:
        tokens.check_dim(matrix)
    prepared = in_threads([partial(tokens.query, matrix) for matrix in matrices], n_threads)
    queries = [space.query(query.fde) for query in prepared]
    n_reads = pipeline.default_token_reads(n_best)
    n_candidates = max(n_candidates or pipeline.SCANNED_PER_READ * n_reads, n_best)
    found = pipeline.retrieve_batch(index, queries, n_candidates, allowed, n_threads=n_threads)
    rows = [own.rows[:n_reads] for own in found]
    blobs = [reading.vectors(own.tolist()) for own in rows]
    return in_threads(
        [partial(tokens.rescored, *arguments) for arguments in zip(blobs, prepared, rows, strict=True)], n_threads
    )


def _diversified(
    reading: Reading, snapshot: Snapshot, pool: Candidates, k: int, keep: KeepVectors, diversity: float
) -> Candidates:
    """Choose k of the candidates, by their kept vectors, or else by what their codes stand for."""
    space, index = snapshot.space, snapshot.index
    assert space is not None and index is not None
    if space.tokens is not None:
        vectors = space.tokens.vectors(reading.vectors(pool.rows.tolist()))
    elif keep == "none":
        vectors = pipeline.decode(space.binarizer, index.codes_of(pool.rows))
    else:
        vectors = decode_vectors(reading.vectors(pool.rows.tolist()), keep, space.dim)
    chosen = mmr(pool.scores, vectors, k, diversity)
    return Candidates(pool.rows[chosen], pool.scores[chosen])


def _hits(reading: Reading, best: Candidates) -> list[Hit]:
    documents = reading.documents_by_row(best.rows.tolist())
    scored = zip(documents, best.scores.tolist(), strict=True)
    return [Hit(document.id, score, document.text, document.metadata, document.tenant) for document, score in scored]
