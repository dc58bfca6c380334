"""The cold tier: how a kept vector is written."""

from __future__ import annotations

import numpy as np

from binrag.errors import CorruptStore
from binrag.types import Float32, KeepVectors, UInt8

_LEVELS = np.float32(127)


def encode_vectors(vectors: Float32, keep: KeepVectors) -> UInt8:
    """Encode vectors for disk, one blob a row.

    Parameters
    ----------
    vectors : float32 (n, dim)
        Finite, not zero.
    keep : "int8" or "float16"
        int8: a float32 scale, max|x| / 127, then one signed byte a dimension. float16: a float32 scale, max|x|,
        then x / scale, two bytes a dimension.

    Returns
    -------
    uint8 (n, 4 + dim) or (n, 4 + 2 dim)
    """
    n, dim = vectors.shape
    peaks = np.maximum(vectors.max(axis=1, initial=0), -vectors.min(axis=1, initial=0))
    scales = (peaks / _LEVELS if keep == "int8" else peaks).astype("<f4")
    levels = vectors / scales[:, None]
    blobs = np.empty((n, width_of(keep, dim)), dtype=np.uint8)
    blobs[:, :4] = scales[:, None].view(np.uint8)
    data = np.rint(levels, out=levels).astype(np.int8) if keep == "int8" else levels.astype("<f2")
    blobs[:, 4:] = data.view(np.uint8)
    return blobs


def width_of(keep: KeepVectors, dim: int) -> int:
    """Return the bytes of one kept vector."""
    return 4 + (dim if keep == "int8" else 2 * dim)


def decode_vectors(blobs: list[bytes], keep: KeepVectors, dim: int) -> Float32:
    """Decode what `encode_vectors` wrote: float32 (n, dim)."""
    width = width_of(keep, dim)
    if not {width}.issuperset(map(len, blobs)):
        raise CorruptStore(f"a kept vector does not have the {width} bytes of {keep} in {dim} dimensions")
    raw = np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(blobs), width)
    scales = np.ascontiguousarray(raw[:, :4]).view("<f4")
    levels = np.ascontiguousarray(raw[:, 4:]).view(np.int8 if keep == "int8" else "<f2")
    return np.asarray(levels.astype(np.float32) * scales, dtype=np.float32)
