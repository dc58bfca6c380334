"""The legs of a search, in one commit's state: from a query to the best rows by its vector, and by its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from binrag import pipeline
from binrag.indexes import FlatIndex
from binrag.ranking.rescore import rescore_codes, rescore_vectors
from binrag.storage import Reading
from binrag.storage.vectors import decode_vectors
from binrag.store.space import VectorSpace
from binrag.threads import in_threads
from binrag.types import Candidates, Float32, Float64, Int64, KeepVectors, Query, UInt64

if TYPE_CHECKING:  # few programs search by words, or by token vectors
    from binrag.lexical import LexicalIndex, Tail
    from binrag.store.tokens import PreparedTokens

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
class DenseQuery:
    """A query, ready to be scanned for; with its tokens in a store of token vectors."""

    scan: Query
    tokens: PreparedTokens | None = None


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

    def prepared(self, queries: Sequence[Float32], n_threads: int) -> list[DenseQuery]:
        """Prepare queries, float32 (dim,), or (n_tokens, dim) in a store of token vectors.

        Raises
        ------
        DimensionMismatch
            If a query's dimension is not the store's.
        """
        for query in queries:
            if self.space.tokens is None:
                self.space.check_dim(query[None])
            else:
                self.space.tokens.check_dim(query)
        return in_threads([partial(self._prepared, query) for query in queries], n_threads)

    def _prepared(self, query: Float32) -> DenseQuery:
        if self.space.tokens is None:
            return DenseQuery(self.space.query(query))
        tokens = self.space.tokens.query(query)
        return DenseQuery(self.space.query(tokens.fde), tokens)

    def found(self, queries: Sequence[DenseQuery], reach: Reach) -> list[Candidates]:
        """Return each query's best rows."""
        n_best, space = reach.n_best, self.space
        if space.tokens is None:
            n_reads = pipeline.default_reads(n_best, space.binarizer.n_bits / space.dim)
            n_candidates = reach.n_candidates or pipeline.default_candidates(self.index, n_best)
        else:
            n_reads = pipeline.default_token_reads(n_best)
            n_candidates = reach.n_candidates or pipeline.SCANNED_PER_READ * n_reads
        scans = [query.scan for query in queries]
        n_candidates = max(n_candidates, n_best)
        found = pipeline.retrieve_batch(self.index, scans, n_candidates, reach.allowed, n_threads=reach.n_threads)
        if space.tokens is None and self.keep == "none":
            return found
        firsts = zip(queries, (own.rows[:n_reads] for own in found), strict=True)
        return in_threads([self._rescoring(query, rows) for query, rows in firsts], reach.n_threads)

    def scores(self, query: DenseQuery, rows: Int64) -> Float64:
        """Return the scores of some rows, each once and ascending, in their order: float64 (n,)."""
        if not len(rows):
            return np.zeros(0)
        found = self._rescoring(query, rows)()
        return found.scores[np.argsort(found.rows)]

    def _rescoring(self, query: DenseQuery, rows: Int64) -> Callable[[], Candidates]:
        """Read what rows are scored by, here, and return what scores them, in any thread."""
        if self.space.tokens is not None:
            assert query.tokens is not None
            return partial(self.space.tokens.rescored, self.reading.vectors(rows.tolist()), query.tokens, rows)
        if self.keep != "none":
            return partial(rescore_vectors, self._kept(rows.tolist()), query.scan, rows)
        return partial(rescore_codes, self.index.codes, self.index.rest, self.index.rescale, query.scan, rows)

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

    def found(self, words: Sequence[str], n_best: int) -> Candidates:
        """Return the best rows of those that hold some of the words; there may be none."""
        return self.index.retrieve(words, n_best, self.allowed, self.tail)


def fused(
    leg: DenseLeg,
    lexical_leg: LexicalLeg,
    words: Sequence[str],
    query: DenseQuery,
    dense: Candidates,
    lexical: Candidates,
) -> Candidates:
    """Return the rows of both legs in one order; see `binrag.ranking.fusion.by_coverage`."""
    from binrag.ranking.fusion import WEIGHT, by_coverage, spread, union

    rows = union(dense, lexical)
    is_known = np.isin(rows, dense.rows)
    scores = np.empty(len(rows), dtype=np.float64)
    order = np.argsort(dense.rows)
    scores[is_known] = dense.scores[order]
    scores[~is_known] = leg.scores(query, rows[~is_known])
    weight = WEIGHT if leg.space.vector_similarity == "cosine" else WEIGHT * spread(dense)
    coverage = lexical_leg.index.coverage(words, rows, lexical_leg.tail)
    return by_coverage(dense, lexical, rows, scores, coverage, weight=weight).candidates
