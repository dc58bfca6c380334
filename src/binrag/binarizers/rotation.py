"""A random rotation in O(dim log dim) a vector, for coordinates that carry unequal shares of the information.

It is four rounds of random sign flips and a fast Walsh–Hadamard transform over a power of two of the coordinates: the
first ones, then the last ones, in turn. It is orthogonal at every dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from binrag.types import Float32

Flips = np.ndarray[Any, np.dtype[np.int8]]


def rotated(vectors: Float32, flips: Flips) -> Float32:
    """Rotate vectors, float32 (n, dim), by sign flips, int8 (4, dim), −1 or 1."""
    dim = flips.shape[1]
    width = 1 << (dim.bit_length() - 1)
    found = vectors.astype(np.float32)
    for i, flip in enumerate(flips):
        found *= flip
        part = found[:, :width] if i % 2 == 0 else found[:, dim - width :]
        part[:] = _hadamard(part)
    return found


def _hadamard(rows: Float32) -> Float32:
    """Apply the orthonormal Walsh–Hadamard transform to rows, float32 (n, a power of two)."""
    n, width = rows.shape
    step = 1
    while step < width:
        pairs = rows.reshape(n, width // (2 * step), 2, step)
        rows = np.stack((pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]), axis=2)
        rows = rows.reshape(n, width)
        step *= 2
    return rows / np.float32(np.sqrt(width))
