"""Which of the candidates to show, so that they don't all say the same."""

from __future__ import annotations

import numpy as np

from binrag.types import Float32, Float64, Int64


def mmr(scores: Float64, vectors: Float32, k: int, diversity: float) -> Int64:
    """Choose candidates by maximal marginal relevance (Carbonell and Goldstein 1998), greedily.

    The first is the one with the best score. Each further one has the largest ``(1 − diversity) · score − diversity ·
    max ⟨x, y⟩`` over the chosen y; of equal ones the first is taken. ``1 − diversity`` is their λ.

    Parameters
    ----------
    scores : float64 (n,)
        Similarities to the query, best first.
    vectors : float32 (n, dim)
        The candidates' vectors, on the scale of the scores: of unit length where these are cosines.
    k : int
        How many to choose.
    diversity : float
        In [0, 1]; 0 is the order of the scores.

    Returns
    -------
    int64 (min(k, n),)
        Places among the candidates, in the order chosen.
    """
    n = len(scores)
    similarities = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    redundancy = np.full(n, -np.inf)
    left, chosen = np.ones(n, dtype=bool), list[int]()
    best = 0
    while len(chosen) < min(k, n):
        chosen.append(best)
        left[best] = False
        redundancy = np.maximum(redundancy, similarities[best])
        gains = (1 - diversity) * scores - diversity * redundancy
        best = int(np.argmax(np.where(left, gains, -np.inf)))
    return np.array(chosen, dtype=np.int64)
