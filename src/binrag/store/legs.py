"""The legs of a search, in one commit's state: from a query to the best rows by its vector, and by its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from binrag import pipeline
from binrag.errors import UnsupportedMode
from binrag.indexes import FlatIndex
from binrag.ranking.rescore import rescore_codes, rescore_vectors
from binrag.storage import Reading
from binrag.storage.vectors import decode_vectors
from binrag.store.space import VectorSpace
from binrag.threads import in_threads
from binrag.types import (
    Candidates,
    Float32,
    Float64,
    Fusion,
    Hit,
    IdfCoverage,
    Int64,
    KeepVectors,
    LegScore,
    Query,
    ReciprocalRank,
    UInt64,
    WeightedSum,
)

if TYPE_CHECKING:  # few programs search by words, or by token vectors
    from binrag.lexical import LexicalIndex, Tail
    from binrag.ranking.fusion import Fused
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

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the most that a score can be; None for inner products."""
        return (-1.0, 1.0) if self.space.vector_similarity == "cosine" else None

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
        Bitmap of rows that may be found, all of them live.
    """

    index: LexicalIndex
    tail: Tail
    allowed: UInt64

    def check_texts(self, live: UInt64) -> None:
        """Refuse to look for words where documents live and none that counts has any.

        Raises
        ------
        UnsupportedMode
        """
        if not self.index.weighting.n_counted and not self.tail.lengths.any() and live.any():
            raise UnsupportedMode(
                "no document of the store has a text with words, so that nothing can be found by words; add documents "
                "with texts, or leave legs out to search by vectors alone"
            )

    def found(self, words: Sequence[str], n_best: int) -> Candidates:
        """Return the best rows of those that hold some of the words; there may be none."""
        return self.index.retrieve(words, n_best, self.allowed, self.tail)

    def bounds(self, words: Sequence[str]) -> tuple[float, float]:
        """Return what a score can be for a query: up to the weights of its words, each as often as it is there."""
        most = sum(float(self.index.idf(word, self.tail)) for word in words)
        return 0.0, most or 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What a search found for one query, best first.

    Attributes
    ----------
    candidates : Candidates
        The rows and their scores.
    bounds : (float, float) or None
        The least and the most that a score can be; None where there is no such thing.
    legs : dict of (int64 (n,), float64 (n,))
        By leg, each row's rank from 1, 0 where it did not find it; and its score, NaN where that is not known.
    """

    candidates: Candidates
    bounds: tuple[float, float] | None
    legs: dict[str, tuple[Int64, Float64]]

    @classmethod
    def of_leg(cls, name: str, candidates: Candidates, bounds: tuple[float, float] | None) -> Ranking:
        """Return what one leg found."""
        ranks = np.arange(1, len(candidates.rows) + 1)
        return cls(candidates, bounds, {name: (ranks, candidates.scores)})

    def top(self, n: int) -> Ranking:
        """Return the first `n`."""
        legs = {name: (ranks[:n], scores[:n]) for name, (ranks, scores) in self.legs.items()}
        return Ranking(self.candidates.top(n), self.bounds, legs)

    def hits(self, reading: Reading, explain: bool) -> list[Hit]:
        """Return the documents as hits, with what each leg says of them if asked to explain."""
        documents = reading.documents_by_row(self.candidates.rows.tolist())
        scores = self.candidates.scores
        relevances: list[float] | list[None] = [None] * len(scores)
        if self.bounds is not None:
            low, high = self.bounds
            relevances = np.clip((scores - low) / (high - low), 0, 1).tolist()
        hits = []
        for place, document in enumerate(documents):
            legs = self._said_of(place) if explain else None
            score, relevance = float(scores[place]), relevances[place]
            hits.append(Hit(document.id, score, document.text, document.metadata, document.tenant, relevance, legs))
        return hits

    def _said_of(self, place: int) -> dict[str, LegScore]:
        said = {}
        for name, (ranks, scores) in self.legs.items():
            rank, score = int(ranks[place]), float(scores[place])
            said[name] = LegScore(rank or None, None if math.isnan(score) else score)
        return said


@dataclass(frozen=True, slots=True, eq=False)
class BothLegs:
    """Rows by their vectors and by their words, in one order.

    Attributes
    ----------
    dense, lexical : DenseLeg, LexicalLeg
        The legs.
    fusion : Fusion
        How they are brought together.
    """

    dense: DenseLeg
    lexical: LexicalLeg
    fusion: Fusion

    def fused(self, words: Sequence[str], query: DenseQuery, dense: Candidates, lexical: Candidates) -> Ranking:
        """Return the rows of both legs for a query and its words."""
        fused, bounds = self._fused(words, query, dense, lexical)
        legs = {name: (fused.ranks[:, i], fused.scores[:, i]) for i, name in enumerate(("dense", "lexical"))}
        return Ranking(fused.candidates, bounds, legs)

    def _fused(
        self, words: Sequence[str], query: DenseQuery, dense: Candidates, lexical: Candidates
    ) -> tuple[Fused, tuple[float, float] | None]:
        from binrag.ranking import fusion

        how = self.fusion
        if isinstance(how, ReciprocalRank):
            return fusion.by_ranks(dense, lexical, how), (0.0, sum(how.weights) / (1 + how.rank_constant))
        if isinstance(how, WeightedSum):
            bounds = (0.0, sum(how.weights)) if how.scale == "min-max" else None
            return fusion.by_scores(dense, lexical, how), bounds
        assert isinstance(how, IdfCoverage)
        weight = how.weight
        if weight is None:
            weight = fusion.WEIGHT if self.dense.bounds else fusion.spread(dense)
        rows = fusion.union(dense, lexical)
        is_known = np.isin(rows, dense.rows)
        scores = np.empty(len(rows), dtype=np.float64)
        scores[is_known] = dense.scores[np.argsort(dense.rows)]
        scores[~is_known] = self.dense.scores(query, rows[~is_known])
        coverage = self.lexical.index.coverage(words, rows, self.lexical.tail)
        found = fusion.by_coverage(dense, lexical, rows, scores, coverage, replace(how, weight=weight))
        bounds = self.dense.bounds
        return found, bounds and (bounds[0], bounds[1] + weight)
