"""Which of the candidates to show, so that they don't all say the same."""

from __future__ import annotations

import heapq

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


def coverage(scores: Float64, vectors: Float32, k: int, diversity: float) -> Int64:
    """Choose candidates that between them stand for all of them (facility location), greedily.

    They are to make ``(1 − diversity) / k · Σ score + diversity · Σ_v w_v max similarity(v, s)`` large, over the chosen
    s: every candidate v counts as far as one of them is like it, and the more the better it fits the query, w being the
    softmax of the scores (Raja and Vats, arXiv 2507.19715). Similarities are cosines, 0 at least, so that what one more
    adds never grows as others are chosen: greedy choice comes to 1 − 1/e of the best there is, and a gain that was
    computed before is a bound now, so that few are computed again.

    Parameters
    ----------
    scores : float64 (n,)
        Similarities to the query, best first.
    vectors : float32 (n, dim)
        The candidates' vectors.
    k : int
        How many to choose.
    diversity : float
        In [0, 1]; 0 is the order of the scores.

    Returns
    -------
    int64 (min(k, n),)
        Places among the candidates, ascending: a choice stands for the others as a whole, and has no order of its own.
        Of equal gains the first is taken.
    """
    n = len(scores)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1)
    similarities = np.maximum(unit @ unit.T, 0)
    weights = np.exp(scores - scores.max(initial=-np.inf)) if n else scores
    weights = diversity * weights / weights.sum()
    covered = np.zeros(n)

    def gain(place: int) -> float:
        added = weights @ np.maximum(similarities[place] - covered, 0)
        return float((1 - diversity) / k * scores[place] + added)

    heap = [(-gain(place), place, 0) for place in range(n)]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < k:
        _, place, known_at = heapq.heappop(heap)
        if known_at < len(chosen):
            heapq.heappush(heap, (-gain(place), place, len(chosen)))
            continue
        chosen.append(place)
        covered = np.maximum(covered, similarities[place])
    return np.array(sorted(chosen), dtype=np.int64)
