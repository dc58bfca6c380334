"""One ranking of two legs': rows found by their vectors (dense) and rows found by their words (lexical)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from binrag.errors import InvalidInput
from binrag.types import Candidates, Float64, Int64

Scale = Literal["min-max", "z"]

RANK_CONSTANT = 60
WEIGHT = 0.2
EXPONENT = 3.0
"""Defaults of `by_coverage`; `docs/hybrid.md` says where they are from."""


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Rows of two legs in one order: fused score descending, row ascending.

    Attributes
    ----------
    candidates : Candidates
        The rows with their fused scores.
    ranks : int64 (n, 2)
        Each row's place in the dense and in the lexical leg, from 1; 0 where the leg did not find it.
    scores : float64 (n, 2)
        Each row's scores by the two legs; NaN where one is not known.
    """

    candidates: Candidates
    ranks: Int64
    scores: Float64

    def top(self, k: int) -> Fused:
        """Return the first `k`."""
        return Fused(self.candidates.top(k), self.ranks[:k], self.scores[:k])


def by_ranks(
    dense: Candidates,
    lexical: Candidates,
    weights: Sequence[float] = (1.0, 1.0),
    rank_constant: float = RANK_CONSTANT,
) -> Fused:
    """Fuse by reciprocal ranks (Cormack, Clarke and Büttcher 2009): Σ weight / (rank_constant + rank).

    Parameters
    ----------
    dense, lexical : Candidates
        The two legs.
    weights : sequence of float
        Of the dense and the lexical leg.
    rank_constant : float
        Above zero: the larger, the less the first places count for themselves.

    Returns
    -------
    Fused
        All rows of either leg.

    Raises
    ------
    InvalidInput
        A weight is negative, all are zero, or the constant is not above zero.
    """
    _check_weights(weights)
    if not 0 < rank_constant < math.inf:
        raise InvalidInput(f"rank_constant is {rank_constant!r}, expected a number above 0")
    rows, ranks, scores = _union(dense, lexical)
    shares = np.where(ranks > 0, np.asarray(weights, dtype=np.float64) / (rank_constant + ranks), 0.0)
    return _ordered(rows, shares.sum(axis=1), ranks, scores)


def by_scores(
    dense: Candidates,
    lexical: Candidates,
    weights: Sequence[float] = (0.5, 0.5),
    scale: Scale = "min-max",
) -> Fused:
    """Fuse by the weighted sum of the legs' scores, each leg's brought to one scale.

    A row that a leg did not find counts there as the leg's last.

    Parameters
    ----------
    dense, lexical : Candidates
        The two legs.
    weights : sequence of float
        Of the dense and the lexical leg.
    scale : "min-max" or "z"
        From 0, the leg's lowest score, to 1, its highest; or by mean and standard deviation. Where all scores of a leg
        are the same, they count as 1, or as 0.

    Returns
    -------
    Fused
        All rows of either leg.

    Raises
    ------
    InvalidInput
        A weight is negative, all are zero, or the scale is another.
    """
    _check_weights(weights)
    if scale not in ("min-max", "z"):
        raise InvalidInput(f"the scale is {scale!r}, expected 'min-max' or 'z'")
    rows, ranks, scores = _union(dense, lexical)
    fused = np.zeros(len(rows), dtype=np.float64)
    for leg, (weight, candidates) in enumerate(zip(weights, (dense, lexical), strict=True)):
        if len(candidates.rows):
            scaled = _scaled(candidates.scores, scale)
            found, places = ranks[:, leg] > 0, ranks[:, leg] - 1
            last = 0.0 if scale == "min-max" else scaled.min()
            fused += weight * np.where(found, scaled[np.maximum(places, 0)], last)
    return _ordered(rows, fused, ranks, scores)


def by_coverage(
    dense: Candidates,
    lexical: Candidates,
    rows: Int64,
    dense_scores: Float64,
    coverage: Float64,
    *,
    weight: float = WEIGHT,
    exponent: float = EXPONENT,
) -> Fused:
    """Fuse by dense score + weight · coverage ** exponent: a row is raised as far as it holds the query's words.

    The score of a row does not depend on what else was found. Where a query's words are common, or few of them are in
    any row, the dense order stays; a row that holds all of them gains `weight`.

    Parameters
    ----------
    dense, lexical : Candidates
        The two legs.
    rows : int64 (n,)
        All rows of either leg, each once, ascending: `union`.
    dense_scores : float64 (n,)
        Their dense scores; for rows that the lexical leg alone found, the caller computes them.
    coverage : float64 (n,)
        How much of the query they hold, in [0, 1]: `LexicalIndex.coverage`.
    weight : float
        In units of the dense score, at least 0; the default is for cosines. `spread` gives a unit for other scores.
    exponent : float
        Above zero: the larger, the less a part of the words counts.

    Returns
    -------
    Fused
        All rows.

    Raises
    ------
    InvalidInput
        The weight is negative or the exponent not above zero.
    """
    if not 0 <= weight < math.inf or not 0 < exponent < math.inf:
        raise InvalidInput(f"weight is {weight!r} and exponent {exponent!r}, expected at least 0, and above 0")
    own, ranks, scores = _union(dense, lexical)
    if not np.array_equal(own, rows) or not len(rows) == len(dense_scores) == len(coverage):
        raise ValueError(
            f"got {len(rows)} rows, {len(dense_scores)} dense scores and {len(coverage)} coverages, expected those of "
            f"the {len(own)} rows of either leg, ascending"
        )
    scores[:, 0] = dense_scores
    return _ordered(rows, dense_scores + weight * coverage**exponent, ranks, scores)


def union(dense: Candidates, lexical: Candidates) -> Int64:
    """Return the rows of either leg, each once, ascending: int64 (n,)."""
    return np.union1d(dense.rows, lexical.rows)


def spread(dense: Candidates, n: int = 100) -> float:
    """Return by how much the best of a leg's first n rows is ahead of their last: a unit for scores without a scale."""
    scores = dense.scores[:n]
    return float(scores[0] - scores[-1]) if len(scores) else 0.0


def _union(dense: Candidates, lexical: Candidates) -> tuple[Int64, Int64, Float64]:
    """Return the rows of either leg, ascending, their ranks, and their scores."""
    rows = union(dense, lexical)
    ranks = np.zeros((len(rows), 2), dtype=np.int64)
    scores = np.full((len(rows), 2), np.nan)
    for leg, candidates in enumerate((dense, lexical)):
        places = np.searchsorted(rows, candidates.rows)
        ranks[places, leg] = np.arange(1, len(places) + 1)
        scores[places, leg] = candidates.scores
    return rows, ranks, scores


def _ordered(rows: Int64, fused: Float64, ranks: Int64, scores: Float64) -> Fused:
    order = np.lexsort((rows, -fused))
    return Fused(Candidates(rows[order], fused[order]), ranks[order], scores[order])


def _scaled(scores: Float64, scale: Scale) -> Float64:
    low, spread = (scores.min(), np.ptp(scores)) if scale == "min-max" else (scores.mean(), scores.std())
    if spread == 0:
        return np.full_like(scores, 1.0 if scale == "min-max" else 0.0)
    return np.asarray((scores - low) / spread)


def _check_weights(weights: Sequence[float]) -> None:
    if len(weights) != 2 or not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise InvalidInput(f"the weights are {list(weights)!r}, expected two numbers of at least 0, not both 0")
