"""Query weights in a few bits: what a scan by popcount compares a compact code with.

With u = Σ_i 2^i U_i, U_i ∈ {−1, +1}, a word of b ∈ {−1, +1}^64 has Σ_j u_j b_j = Σ_i 2^i (64 − 2 popcount(b ^ U_i)), so
weights s · u, with u odd and one scale s a word, need one xor and one popcount a plane and word.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from binrag.binarizers.codes import pack_bits
from binrag.types import Float64, Int32, Int64, UInt64

MAX_DISTANCE = 65_535
"""The largest distance that the weighted scan counts to."""

_CLIPS = np.linspace(1, 0.2, 9)


def weight_planes(weights: npt.NDArray[np.floating], n_planes: int = 4) -> tuple[UInt64, Int32]:
    """Quantize a query's weights to odd levels, with one integer scale a word.

    A word's step is the one of a few (its largest weight at the top level, or clipped) that has the least squared
    error; the steps then become integers in proportion, as fine as the largest distance lets them be.

    Parameters
    ----------
    weights : float (64 n_words,)
        One weight a bit of the words; 0 for bits that are not used.
    n_planes : int
        Bits a weight, P.

    Returns
    -------
    planes : uint64 (P, n_words)
        Bit j of ``planes[i, w]`` is U_i of weight 64 w + j: set for 1, clear for −1.
    scales : int32 (n_words,)
        ``Σ_w 64 (2^P − 1) scales[w] <= 65535``; 0 where a word's weights are too small to count.
    """
    words = np.asarray(weights, dtype=np.float64).reshape(-1, 64)
    top = (1 << n_planes) - 1
    steps = _CLIPS[:, None] * np.abs(words).max(axis=1) / top
    errors = ((words - steps[..., None] * _odd(words, steps, top)) ** 2).sum(axis=2)
    best = steps[errors.argmin(axis=0), np.arange(len(words))]
    scales = _in_proportion(best, MAX_DISTANCE // (64 * top))
    unit = best.sum() / max(1, scales.sum())
    levels = (_odd(words, unit * scales, top) + top) // 2
    planes = [pack_bits((levels.astype(np.int64) >> i) & 1 > 0).T for i in range(n_planes)]
    return np.concatenate(planes), scales.astype(np.int32)


def _odd(words: Float64, steps: Float64, top: int) -> Float64:
    """Return the odd numbers from −top to top that are nearest to words / steps; steps (…, n_words)."""
    steps = np.where(steps > 0, steps, 1)[..., None]
    return np.asarray(np.clip(2 * np.floor(words / (2 * steps)) + 1, -top, top))


def _in_proportion(shares: Float64, total: int) -> Int64:
    """Return integers that sum to `total` and are within 1 of proportion, all 0 if the shares are."""
    if not shares.any():
        return np.zeros(len(shares), dtype=np.int64)
    exact = shares * (total / shares.sum())
    whole: Int64 = np.floor(exact).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: total - whole.sum()]] += 1
    return whole
