"""A random rotation that takes few bits to keep, and O(dim log dim) a row.

Four rounds of random sign flips and an orthonormal Walsh–Hadamard transform over a power of two of the coordinates: the
first ones, then the last ones, in turn. It is orthogonal at every dimension. A file keeps the sign flips.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from binrag.binarizers.codes import as_bytes, from_bytes
from binrag.types import Float32

Flips = npt.NDArray[np.int8]


def random_flips(dim: int, seed: int) -> Flips:
    """Draw the sign flips of a rotation, −1 or 1: int8 (4, dim)."""
    draw = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, size=(4, dim))
    return (2 * draw - 1).astype(np.int8)


def rotate(rows: Float32, flips: Flips | None) -> Float32:
    """Return rows R x, float32 (n, dim), each as if it were alone; the rows themselves without flips."""
    if flips is None:
        return rows
    from binrag.kernels.hadamard import rotate_rows

    dim = rows.shape[1]
    width = 1 << (dim.bit_length() - 1)
    found = np.array(rows, dtype=np.float32)
    rotate_rows(found, flips.astype(np.float32), width, np.float32(np.sqrt(width)))
    return found


def flips_record(flips: Flips | None) -> bytes | None:
    """Return what a file keeps of sign flips."""
    return None if flips is None else as_bytes(flips, "<i1")


def flips_from(data: bytes | None, dim: int) -> Flips | None:
    """Read `flips_record`."""
    return None if data is None else from_bytes(data, (4, dim), "<i1")
