"""One ranking of two legs': rows found by their vectors (dense) and rows found by their words (lexical)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from binrag.types import Candidates, Float64, IdfCoverage, Int64, ReciprocalRank, WeightedSum

WEIGHT = 0.2
"""What all of a query's words add to a cosine by default; `docs/hybrid.md` says where it is from."""


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


def by_ranks(dense: Candidates, lexical: Candidates, fusion: ReciprocalRank) -> Fused:
    """Fuse by reciprocal ranks (Cormack, Clarke and Büttcher 2009): Σ weight / (rank_constant + rank).

    Parameters
    ----------
    dense, lexical : Candidates
        The two legs.
    fusion : ReciprocalRank
        The constants.

    Returns
    -------
    Fused
        All rows of either leg.
    """
    rows, ranks, scores = _union(dense, lexical)
    shares = np.where(ranks > 0, np.array(fusion.weights) / (fusion.rank_constant + ranks), 0.0)
    return _ordered(rows, shares.sum(axis=1), ranks, scores)


def by_scores(dense: Candidates, lexical: Candidates, fusion: WeightedSum) -> Fused:
    """Fuse by the weighted sum of the legs' scores, each leg's brought to one scale.

    A row that a leg did not find counts there as the leg's last. Where all scores of a leg are the same, they count as
    1 by "min-max", and as 0 by "z".

    Parameters
    ----------
    dense, lexical : Candidates
        The two legs.
    fusion : WeightedSum
        Weights and scale.

    Returns
    -------
    Fused
        All rows of either leg.
    """
    rows, ranks, scores = _union(dense, lexical)
    fused = np.zeros(len(rows), dtype=np.float64)
    for leg, (weight, candidates) in enumerate(zip(fusion.weights, (dense, lexical), strict=True)):
        if len(candidates.rows):
            scaled = _scaled(candidates.scores, fusion.scale)
            found, places = ranks[:, leg] > 0, ranks[:, leg] - 1
            last = 0.0 if fusion.scale == "min-max" else scaled.min()
            fused += weight * np.where(found, scaled[np.maximum(places, 0)], last)
    return _ordered(rows, fused, ranks, scores)


def by_coverage(
    dense: Candidates,
    lexical: Candidates,
    rows: Int64,
    dense_scores: Float64,
    coverage: Float64,
    fusion: IdfCoverage,
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
    fusion : IdfCoverage
        Weight and exponent; without a weight, that for cosines.

    Returns
    -------
    Fused
        All rows.
    """
    own, ranks, scores = _union(dense, lexical)
    if not np.array_equal(own, rows) or not len(rows) == len(dense_scores) == len(coverage):
        raise ValueError(
            f"got {len(rows)} rows, {len(dense_scores)} dense scores and {len(coverage)} coverages, expected those of "
            f"the {len(own)} rows of either leg, ascending"
        )
    scores[:, 0] = dense_scores
    weight = WEIGHT if fusion.weight is None else fusion.weight
    return _ordered(rows, dense_scores + weight * coverage**fusion.exponent, ranks, scores)


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


def _scaled(scores: Float64, scale: str) -> Float64:
    low, spread = (scores.min(), np.ptp(scores)) if scale == "min-max" else (scores.mean(), scores.std())
    if spread == 0:
        return np.full_like(scores, 1.0 if scale == "min-max" else 0.0)
    return np.asarray((scores - low) / spread)
