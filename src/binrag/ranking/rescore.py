"""Finer scores for candidates: the float query against their codes, then against their kept vectors."""

from __future__ import annotations

import numpy as np

from binrag.types import Candidates, Float16, Float32, Int64, Query, UInt64

_WEIGHT_LEVELS = 32767


def integer_weights(weights: Float32, n_words: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int32]], float]:
    """Round weights to 16 bits, so that sums over bits are exact whatever their order.

    Parameters
    ----------
    weights : float32 (n_bits,)
        One weight a bit, not all zero.
    n_words : int
        Words of a code; the result is padded with zeros to 64 bits a word.

    Returns
    -------
    integers : int32 (64 n_words,)
        ``rint(weights / step)``, at most 32,767 in magnitude.
    step : float
        The size of one level.
    """
    step = float(np.abs(weights).max()) / _WEIGHT_LEVELS
    integers = np.zeros(64 * n_words, dtype=np.int32)
    integers[: len(weights)] = np.rint(weights.astype(np.float64) / step)
    return integers, step


def rescore_codes(words: UInt64, rescale: Float16, query: Query, rows: Int64) -> Candidates:
    """Score rows by the float query over their codes: f · Σ_j b_j (Wᵀq)_j + ⟨q, μ⟩.

    Parameters
    ----------
    words : uint64 (n_groups, n_words, 16)
        Grouped codes.
    rescale : float16 (capacity,)
        Rescale factors f, by row.
    query : Query
        Its weights are rounded to 16 bits (`integer_weights`).
    rows : int64 (n,)
        The rows to score.

    Returns
    -------
    Candidates
        All n rows, best first.
    """
    from binrag.kernels.weighted import fill_byte_tables, weighted_sums

    n_words = words.shape[1]
    integers, step = integer_weights(query.weights, n_words)
    tables = np.empty((8 * n_words, 256), dtype=np.int32)
    fill_byte_tables(integers, tables)
    sums = np.empty(len(rows), dtype=np.int64)
    weighted_sums(words, rows, tables, sums)
    scores = rescale[rows].astype(np.float64) * (sums * step) + query.offset
    return Candidates.ordered(rows, scores)


def rescore_vectors(vectors: Float32, query: Query, rows: Int64) -> Candidates:
    """Score rows by their kept vectors: the inner product with the query.

    Parameters
    ----------
    vectors : float32 (n, dim)
        The rows' vectors.
    query : Query
        Its `vector` is used.
    rows : int64 (n,)
        The rows.

    Returns
    -------
    Candidates
        All n rows, best first. Each score is summed over its own row in float64, so it does not depend on
        what else is scored.
    """
    scores = (vectors.astype(np.float64) * query.vector.astype(np.float64)).sum(axis=1)
    return Candidates.ordered(rows, scores)
