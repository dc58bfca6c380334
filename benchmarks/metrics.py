"""Measures of rankings: trec_eval's, agreement with exact search, and bootstrap intervals of ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from binrag.errors import MissingDependency
from binrag.types import Float64, Int64

N_RESAMPLES = 2000


class Judged(NamedTuple):
    """Measures of each query, float64 (n_queries,), in the order of the queries."""

    ndcg: Float64
    """nDCG@10 with linear gain, as trec_eval's ndcg_cut_10."""
    mrr: Float64
    """Reciprocal rank of the first relevant document, 0 if none was returned."""


def judge(
    qrels: dict[str, dict[str, int]],
    query_ids: Sequence[str],
    doc_ids: Sequence[str],
    rankings: Sequence[Int64],
) -> Judged:
    """Measure rankings against judgments with pytrec_eval.

    Parameters
    ----------
    qrels : dict
        Query id to document id to grade.
    query_ids : sequence of str
        One id a ranking.
    doc_ids : sequence of str
        Ids by row.
    rankings : sequence of int64 (k,)
        Rows, best first. Their order counts, ties of the scores behind it don't.

    Raises
    ------
    MissingDependency
        pytrec_eval is not installed.
    """
    try:
        import pytrec_eval
    except ImportError:
        raise MissingDependency("the retrieval measures need pytrec_eval: pip install pytrec_eval-terrier") from None
    run = {
        query_id: {doc_ids[row]: float(len(rows) - rank) for rank, row in enumerate(rows.tolist())}
        for query_id, rows in zip(query_ids, rankings, strict=True)
    }
    results = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recip_rank"}).evaluate(run)

    def column(measure: str) -> Float64:
        return np.array([results.get(query_id, {}).get(measure, 0.0) for query_id in query_ids], np.float64)

    return Judged(column("ndcg_cut_10"), column("recip_rank"))


def recall(rankings: Sequence[Int64], exact: Sequence[Int64], k: int) -> Float64:
    """Return for each query the share of the exact top `k` that is in the ranking's top `k`.

    Parameters
    ----------
    rankings, exact : sequence of int64 (n,)
        Rows, best first; `exact` has at least `k` of them, or all there are.
    k : int
        How many count.
    """
    return np.array(
        [np.isin(truth[:k], rows[:k]).sum() / min(k, len(truth)) for rows, truth in zip(rankings, exact, strict=True)],
        np.float64,
    )


def resampled_ratios(values: Float64, reference: Float64, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Float64:
    """Return mean(values) / mean(reference) for resamples of the queries, float64 (n_resamples,).

    The bootstrap is paired: each resample draws the same queries, with replacement, for both sides.

    Parameters
    ----------
    values, reference : float64 (n_queries,)
        A measure of each query, for the case and for what it is compared with.
    n_resamples, seed : int
        How many resamples, and the generator's seed.
    """
    if values.shape != reference.shape or values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected two equally long, non-empty arrays, got {values.shape}, {reference.shape}")
    n = len(values)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=n_resamples)
    return (counts @ values) / (counts @ reference)


def resampled_means(values: Float64, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Float64:
    """Return the mean of each resample of the queries, float64 (n_resamples,).

    Of differences between two sides, query by query, this is the paired bootstrap.

    Parameters
    ----------
    values : float64 (n_queries,)
        A measure, or a difference of two, of each query.
    n_resamples, seed : int
        How many resamples, and the generator's seed.
    """
    return resampled_ratios(values, np.ones_like(values), n_resamples, seed)


def interval(resamples: Float64, share: float = 0.95) -> tuple[float, float]:
    """Return the central interval that holds `share` of the resamples."""
    low, high = np.quantile(resamples, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
