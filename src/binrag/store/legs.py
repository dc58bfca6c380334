"""The legs of a search, in one commit's state: from a query to the best rows by its vector, and by its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from binrag import pipeline
from binrag.indexes import FlatIndex
from binrag.ranking.rescore import rescore_codes, rescore_vectors
from binrag.storage import Reading
from binrag.storage.vectors import decode_vectors
from binrag.store.space import VectorSpace
from binrag.threads import in_threads
from binrag.types import Candidates, Float32, Float64, Int64, KeepVectors, UInt64

if TYPE_CHECKING:  # few programs search by words
    from binrag.lexical import LexicalIndex, Matches, Tail

N_FUSED = 100
"""Rows of each leg that are fused, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """How far a search looks.

    Attributes
    ----------
    n_best : int
        Rows to return, at least, where there are so many.
    n_candidates : int or None
        Rows that the scan hands on; None is as many as were measured to be enough.
    n_threads : int
        Threads that share the scan, at most.
    allowed : uint64 (≥ ceil(n_rows / 64),) or None
        Bitmap of rows that may be found.
    """

    n_best: int
    n_candidates: int | None
    n_threads: int
    allowed: UInt64 | None


@dataclass(frozen=True, slots=True, eq=False)
class DenseLeg:
    """Rows by their vectors.

    Attributes
    ----------
    reading : Reading
        A transaction.
    space, index : VectorSpace, FlatIndex
        What its commit holds.
    keep : "int8", "float16" or "none"
        What the last candidates are scored by.
    """

    reading: Reading
    space: VectorSpace
    index: FlatIndex
    keep: KeepVectors

    def found(self, queries: Sequence[Float32], reach: Reach) -> list[Candidates]:
        """Return each query's best rows; a query is float32 (dim,), or (n_tokens, dim) in a store of token vectors.

        Raises
        ------
        DimensionMismatch
            If a query's dimension is not the store's.
        """
        return self._by_vectors(queries, reach) if self.space.tokens is None else self._by_tokens(queries, reach)

    def _by_vectors(self, vectors: Sequence[Float32], reach: Reach) -> list[Candidates]:
        space, index = self.space, self.index
        for vector in vectors:
            space.check_dim(vector[None])
        queries = in_threads([partial(space.query, vector) for vector in vectors], reach.n_threads)
        n_candidates = max(reach.n_candidates or pipeline.default_candidates(index, reach.n_best), reach.n_best)
        found = pipeline.retrieve_batch(index, queries, n_candidates, reach.allowed, n_threads=reach.n_threads)
        if self.keep == "none":
            return found
        n_reads = pipeline.default_reads(reach.n_best, space.binarizer.n_bits / space.dim)
        return [pipeline.rescore(own, query, n_reads, self._kept) for own, query in zip(found, queries, strict=True)]

    def _by_tokens(self, matrices: Sequence[Float32], reach: Reach) -> list[Candidates]:
        tokens = self.space.tokens
        assert tokens is not None
        for matrix in matrices:
            tokens.check_dim(matrix)
        prepared = in_threads([partial(tokens.query, matrix) for matrix in matrices], reach.n_threads)
        queries = [self.space.query(query.fde) for query in prepared]
        n_reads = pipeline.default_token_reads(reach.n_best)
        n_candidates = max(reach.n_candidates or pipeline.SCANNED_PER_READ * n_reads, reach.n_best)
        found = pipeline.retrieve_batch(self.index, queries, n_candidates, reach.allowed, n_threads=reach.n_threads)
        rows = [own.rows[:n_reads] for own in found]
        blobs = [self.reading.vectors(own.tolist()) for own in rows]
        arguments = zip(blobs, prepared, rows, strict=True)
        return in_threads([partial(tokens.rescored, *own) for own in arguments], reach.n_threads)

    def scores(self, vector: Float32, rows: Int64) -> Float64:
        """Return the scores of some rows, in their order: float64 (n,)."""
        if not len(rows):
            return np.zeros(0)
        if self.space.tokens is not None:
            blobs = self.reading.vectors(rows.tolist())
            found = self.space.tokens.rescored(blobs, self.space.tokens.query(vector), rows)
        elif self.keep == "none":
            index, query = self.index, self.space.query(vector)
            found = rescore_codes(index.codes, index.rest, index.rescale, query, rows)
        else:
            found = rescore_vectors(self._kept(rows.tolist()), self.space.query(vector), rows)
        order = np.argsort(found.rows)
        scores = np.empty(len(rows), dtype=np.float64)
        scores[np.argsort(rows)] = found.scores[order]
        return scores

    def vectors_of(self, rows: Int64) -> Float32:
        """Return rows' kept vectors, or else what their codes stand for, on the scale of the scores."""
        if self.space.tokens is not None:
            return self.space.tokens.directions(self.reading.vectors(rows.tolist()))
        if self.keep == "none":
            return pipeline.decode(self.space.binarizer, self.index.codes_of(rows))
        return self._kept(rows.tolist())

    def _kept(self, rows: Sequence[int]) -> Float32:
        return decode_vectors(self.reading.vectors(rows), self.keep, self.space.dim)


@dataclass(frozen=True, slots=True, eq=False)
class LexicalLeg:
    """Rows by their words.

    Attributes
    ----------
    index, tail : LexicalIndex, Tail
        What the commit holds.
    allowed : uint64 (≥ ceil(n_rows / 64),)
        Bitmap of rows that may be found.
    """

    index: LexicalIndex
    tail: Tail
    allowed: UInt64

    def found(self, text: str, n_best: int) -> Matches:
        """Return the best rows of those that hold words of a text; there may be none."""
        return self.index.retrieve(self.index.tokenizer.words(text), n_best, self.allowed, self.tail)

    def coverage(self, text: str, rows: Int64) -> Float64:
        """Return how much of a text's words some rows hold."""
        return self.index.coverage(self.index.tokenizer.words(text), rows, self.tail)


def fused(
    leg: DenseLeg, words: LexicalLeg, text: str, vector: Any, dense: Candidates, lexical: Candidates
) -> Candidates:
    """Return the rows of both legs in one order; see `binrag.ranking.fusion.by_coverage`."""
    from binrag.ranking.fusion import WEIGHT, by_coverage, spread, union

    rows = union(dense, lexical)
    is_known = np.isin(rows, dense.rows)
    scores = np.empty(len(rows), dtype=np.float64)
    order = np.argsort(dense.rows)
    scores[is_known] = dense.scores[order]
    scores[~is_known] = leg.scores(vector, rows[~is_known])
    weight = WEIGHT if leg.space.vector_similarity == "cosine" else WEIGHT * spread(dense)
    coverage = words.coverage(text, rows)
    return by_coverage(dense, lexical, rows, scores, coverage, weight=weight).candidates
