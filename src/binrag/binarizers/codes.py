"""What binarizers share: bits to words, rescale factors, byte tables, and arrays in their configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.errors import DimensionMismatch, InvalidInput, InvalidVector
from binrag.types import Float16, Float32, Float64, UInt64


def pack_bits(bits: npt.NDArray[np.bool_]) -> UInt64:
    """Pack booleans (n, n_bits) into uint64 (n, ceil(n_bits / 64)), lowest bit first, padded with zeros."""
    n, n_bits = bits.shape
    packed = np.zeros((n, -(-n_bits // 64) * 8), dtype=np.uint8)
    packed[:, : -(-n_bits // 8)] = np.packbits(bits, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def exact_factors(norms2: Float64, products: Float64) -> Float64:
    """Return f = ‖y‖² / ⟨y, ŷ⟩, which makes ⟨y, f ŷ⟩ = ‖y‖² (RaBitQ, arXiv 2405.12497, gives the estimator).

    Parameters
    ----------
    norms2 : float64 (n,)
        ‖y‖² of each row, y = x − μ in the fitted space.
    products : float64 (n,)
        ⟨y, ŷ⟩ of each row with what its code decodes to. Where it is not positive, f is 0.
    """
    return np.divide(norms2, products, out=np.zeros_like(norms2), where=products > 0)


def rescale_factors(norms2: Float64, products: Float64) -> Float16:
    """Return `exact_factors`, rounded to half precision.

    Raises
    ------
    InvalidVector
        If a factor does not fit a float16: the vector's norm is out of range.
    """
    factors = exact_factors(norms2, products)
    limits = np.finfo(np.float16)
    out_of_range = (factors > float(limits.max)) | ((factors > 0) & (factors < float(limits.tiny)))
    if out_of_range.any():
        row = int(out_of_range.argmax())
        raise InvalidVector(
            f"vector {row} has norm {np.sqrt(norms2[row]):.3g}, too {'large' if factors[row] > 1 else 'small'} for a "
            "float16 rescale factor; scale the vectors, for instance to unit length"
        )
    return factors.astype(np.float16)


def check_dim(dim: int, expected: int) -> None:
    """Raise `DimensionMismatch` if a vector's dimension is not the one that a binarizer codes."""
    if dim != expected:
        raise DimensionMismatch(f"the vector has {dim} dimensions, this binarizer codes {expected}")


def offset_of(vector: Float32, mean: Float32) -> float:
    """Return ⟨q, μ⟩, summed in double precision."""
    return float((vector.astype(np.float64) * mean.astype(np.float64)).sum())


def linear_tables(weights: npt.NDArray[np.floating[Any]], n_bytes: int | None = None) -> Float32:
    """Tabulate the signed sum of eight weights for each value of a byte.

    Parameters
    ----------
    weights : float (n_bits,)
        Wᵀ q of a linear decoder, one weight a bit.
    n_bytes : int, optional
        Bytes of a code, ceil(n_bits / 8) if not given.

    Returns
    -------
    float32 (n_bytes, 256)
        ``tables[p, v] = Σ_j ±weights[8 p + j]``, plus where bit j of v is set. Padding bits weigh nothing.
    """
    n_bytes = n_bytes or -(-len(weights) // 8)
    padded = np.zeros((n_bytes, 8, 1))
    padded.reshape(-1)[: len(weights)] = weights
    tables = np.empty((n_bytes, 256))
    tables[:, :1] = -padded.sum(axis=1)
    for j in range(8):
        tables[:, 1 << j : 2 << j] = tables[:, : 1 << j] + 2 * padded[:, j]
    return tables.astype(np.float32)


def integer_of(config: Mapping[str, Any], name: str, largest: int = 2**16) -> int:
    """Return a number of a config, 1 to `largest`: a dimension, or so many bits or bytes.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    value = config[name]
    if type(value) is not int or not 1 <= value <= largest:
        raise InvalidInput(f"{name} of the binarizer is {value!r:.50}, expected an integer, 1 to {largest}")
    return value


def as_bytes(array: npt.NDArray[Any], dtype: str = "<f4") -> bytes:
    """Return an array's values, as a little-endian `dtype`, as bytes for a config."""
    return np.asarray(array).astype(dtype).tobytes()


def from_bytes(data: bytes, shape: int | tuple[int, ...] = -1, dtype: str = "<f4") -> npt.NDArray[Any]:
    """Return the array that `as_bytes` made, in this machine's byte order; float16 comes as float32.

    Raises
    ------
    ValueError
        If the bytes are not those of an array of this shape.
    InvalidInput
        If a number is not finite.
    """
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInput(f"an array {array.shape} of the binarizer holds numbers that are not finite")
    return array.astype(
        np.float32 if array.dtype.kind == "f" and array.itemsize == 2 else array.dtype.newbyteorder("=")
    )
