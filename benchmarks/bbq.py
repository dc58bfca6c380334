"""Optimised scalar quantization, by which Lucene codes vectors to 1, 2 or 4 bits a dimension ("BBQ").

Each row has its own interval [a, b], cut into 2^bits levels. It starts from the interval that suits a normal
distribution and is improved by turns, levels and then interval, for the loss (1 − λ) ⟨x, e⟩² / ‖x‖² + λ ‖e‖² with
e = x − x̂, which counts errors along the row more (as arXiv 1908.10396 argues).
"""

from __future__ import annotations

import numpy as np

from binrag.types import Float32, Float64

CORRECTION_BYTES = 14
"""Kept with a row: both ends of its interval and its product with the centre as float32, the levels' sum as int16."""

_LAMBDA = 0.1
_ROUNDS = 5
_HALF_WIDTH = {1: 0.798, 2: 1.493, 4: 2.514, 8: 3.922}
"""By bits: half the starting interval, in standard deviations."""


def bbq_code(rows: Float32, bits: int) -> Float32:
    """Return rows after coding and decoding, float32 (n, dim); each row is coded by itself.

    Parameters
    ----------
    rows : float32 (n, dim)
        Centred vectors.
    bits : int
        1, 2, 4 or 8 bits a dimension.
    """
    x = rows.astype(np.float64)
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    mean, spread = x.mean(axis=1, keepdims=True), _HALF_WIDTH[bits] * x.std(axis=1, keepdims=True)
    a, b = np.clip(mean - spread, low, high), np.clip(mean + spread, low, high)
    decoded, share = _quantized(x, a, b, bits)
    loss = _loss(x, decoded)
    active = np.ones(len(x), dtype=bool)
    for _ in range(_ROUNDS):
        new_a, new_b, is_solved = _best_interval(x, share)
        new_decoded, new_share = _quantized(x, new_a, new_b, bits)
        new_loss = _loss(x, new_decoded)
        active &= is_solved & (new_loss <= loss)
        a[active], b[active] = new_a[active], new_b[active]
        decoded[active], share[active], loss[active] = new_decoded[active], new_share[active], new_loss[active]
    return decoded.astype(np.float32)


def _quantized(x: Float64, a: Float64, b: Float64, bits: int) -> tuple[Float64, Float64]:
    """Return the decoded rows, and each level's place between `a` (0) and `b` (1)."""
    width = np.where(b > a, b - a, 1.0)
    n_steps = 2**bits - 1
    share = np.floor((np.clip(x, a, b) - a) / width * n_steps + 0.5) / n_steps
    return a + (b - a) * share, share


def _loss(x: Float64, decoded: Float64) -> Float64:
    error = x - decoded
    along = (x * error).sum(axis=1)
    norms2 = np.maximum((x * x).sum(axis=1), np.finfo(np.float64).tiny)
    loss: Float64 = (1 - _LAMBDA) * along**2 / norms2 + _LAMBDA * (error * error).sum(axis=1)
    return loss


def _best_interval(x: Float64, share: Float64) -> tuple[Float64, Float64, np.ndarray]:
    """Return the interval of least loss for given levels, by its 2 × 2 normal equations, and where they had one."""
    rest = 1 - share
    scale = (1 - _LAMBDA) / np.maximum((x * x).sum(axis=1), np.finfo(np.float64).tiny)
    ax, bx = (x * rest).sum(axis=1), (x * share).sum(axis=1)
    m0 = scale * ax * ax + _LAMBDA * (rest * rest).sum(axis=1)
    m1 = scale * ax * bx + _LAMBDA * (rest * share).sum(axis=1)
    m2 = scale * bx * bx + _LAMBDA * (share * share).sum(axis=1)
    det = m0 * m2 - m1 * m1
    is_solved = det != 0
    det[~is_solved] = 1
    a, b = (m2 * ax - m1 * bx) / det, (m0 * bx - m1 * ax) / det
    return a[:, None], b[:, None], is_solved
