"""Scalar quantization: the best evenly spaced levels of a normal variable, and how many bits a dimension gets."""

from __future__ import annotations

import numpy as np

from binrag.types import Float64, Int64

STEPS = (1.596, 0.996, 0.586, 0.335, 0.188, 0.104, 0.0569, 0.0308)
"""Best uniform steps for a standard normal variable in 2, 4, … 256 levels (J. Max, 1960, table II)."""


def allocated_bits(variances: Float64, n_bits: int) -> Int64:
    """Deal out bits: each goes to the dimension of the largest variance left, which falls to a quarter by it.

    (SQUASH, arXiv 2502.01528.) No dimension gets more than eight.

    Parameters
    ----------
    variances : float64 (dim,)
        Not negative.
    n_bits : int
        Of more than 8 dim, 8 dim are dealt.

    Returns
    -------
    int64 (dim,)
        Bits a dimension; they sum to `n_bits`, or to 8 dim if that is less.
    """
    left = variances.astype(np.float64)
    widths = np.zeros(len(left), dtype=np.int64)
    for _ in range(min(n_bits, len(STEPS) * len(left))):
        widest = int(left.argmax())
        widths[widest] += 1
        left[widest] = left[widest] / 4 if widths[widest] < len(STEPS) else -1
    return widths
