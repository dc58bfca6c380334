"""The rotation by sign flips and Walsh–Hadamard transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from binrag.kernels.jit import jit


@jit
def _add_and_subtract(x: Any, y: Any) -> None:
    """Add up and subtract neighbours; as many times as the length has bits, this is the transform, unscaled."""
    half = len(x) // 2
    sums, differences = y[:half], y[half:]
    for j in range(half):
        sums[j] = x[2 * j] + x[2 * j + 1]
        differences[j] = x[2 * j] - x[2 * j + 1]


@jit
def rotate_rows(rows: Any, flips: Any, width: int, root: Any) -> None:
    """Rotate rows in place: by turns flip signs, and transform the first `width` coordinates or the last.

    Additions and divisions are those of the definition, each rounded to float32: the same numbers everywhere.

    rows : float32 (n, dim), contiguous
    flips : float32 (n_rounds, dim), -1 or 1
    width : a power of two, at most dim
    root : float32, the square root of the width
    """
    dim = rows.shape[1]
    x, y = np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(rows.shape[0]):
        for turn in range(flips.shape[0]):
            row, flip = rows[i], flips[turn]
            for j in range(dim):
                row[j] *= flip[j]
            part = row[:width] if turn % 2 == 0 else row[dim - width :]
            x[:] = part
            n = width
            while n > 1:
                _add_and_subtract(x, y)
                x, y = y, x
                n //= 2
            for j in range(width):
                part[j] = x[j] / root
