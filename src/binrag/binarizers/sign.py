"""Training-free codes: the sign of every coordinate, optionally after centring and a seeded rotation.

In the terms of the code family x̂ = f · W b + μ: y = R (x − μ), b = sign(y), W = Rᵀ, and f = ‖y‖² / ‖y‖₁, which makes
⟨x, x̂ − μ⟩ exact for a row with itself (RaBitQ, arXiv 2405.12497, gives the estimator).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from binrag.binarizers.codes import (
    as_bytes,
    from_bytes,
    integer_of,
    linear_tables,
    offset_of,
    pack_bits,
    rescale_factors,
)
from binrag.binarizers.rotation import Flips, random_flips, rotate
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.types import Codes, CodeShape, Float32, Query

MAX_DIM = 4096


class SignBinarizer:
    """One bit a dimension: whether the coordinate is above zero.

    The bits are those of sentence-transformers' ``ubinary`` precision, in another order within a byte.

    Parameters
    ----------
    dim : int
        Dimension of the vectors, 1 to 4,096.
    mean : float32 (dim,), optional
        Subtracted before taking signs.

    Raises
    ------
    InvalidInput
        If the dimension is out of range, or the mean's shape is not ``(dim,)``.
    """

    component_id: ClassVar[str] = "sign"

    def __init__(self, dim: int, *, mean: Float32 | None = None) -> None:
        if not 1 <= dim <= MAX_DIM:
            raise InvalidInput(f"the dimension is {dim}, binrag codes vectors of 1 to {MAX_DIM} dimensions")
        if mean is not None and np.shape(mean) != (dim,):
            raise InvalidInput(f"the mean has shape {np.shape(mean)}, expected ({dim},)")
        self.dim = dim
        self.n_bits = dim
        self.shape = CodeShape(-(-dim // 64))
        self.code_bytes = self.shape.code_bytes
        self.mean = None if mean is None else np.asarray(mean, dtype=np.float32)

    def _project(self, vectors: Float32) -> Float32:
        """Apply R to the rows; the identity here."""
        return vectors

    def transform(self, vectors: Float32) -> Codes:
        """Code vectors.

        Parameters
        ----------
        vectors : float32 (n, dim)
            Finite and not zero.

        Returns
        -------
        Codes
            ``words`` uint64 (n, ceil(dim / 64)), no rest, and ``rescale`` float16 (n,). A row that equals the mean
            gets the rescale factor 0.

        Raises
        ------
        InvalidVector
            If a rescale factor does not fit a float16: the vector's norm is out of range.
        """
        projected = self._project(vectors if self.mean is None else vectors - self.mean)
        squares = np.einsum("ij,ij->i", projected, projected, dtype=np.float64)
        rescale = rescale_factors(squares, np.abs(projected).sum(axis=1, dtype=np.float64))
        return Codes(pack_bits(projected > 0), np.zeros((len(vectors), 0), dtype=np.uint8), rescale)

    def query(self, vector: Float32) -> Query:
        """Prepare a query.

        Parameters
        ----------
        vector : float32 (dim,)
            Finite and not zero.

        Returns
        -------
        Query
            The weights of the bits are R q. The words for the scan are sign(R q) of the uncentred query: that is the
            code nearest to the weights.
        """
        weights = self._project(vector[None])[0]
        offset = 0.0 if self.mean is None else offset_of(vector, self.mean)
        return Query(vector, pack_bits(weights[None] > 0)[0], linear_tables(weights, 8 * self.shape.n_words), offset)

    def get_config(self) -> dict[str, Any]:
        """Return the dimension and the mean."""
        return {"dim": self.dim, "mean": None if self.mean is None else as_bytes(self.mean)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SignBinarizer:
        """Rebuild from `get_config`."""
        return cls(integer_of(config, "dim"), mean=_floats(config["mean"]))


def _floats(data: bytes | None) -> Float32 | None:
    return None if data is None else from_bytes(data)


class RotatedSignBinarizer(SignBinarizer):
    """Signs after a random rotation, for vectors whose own coordinates carry little sign information.

    The rotation is that of `binrag.binarizers.rotation`.

    Parameters
    ----------
    dim : int
        Dimension of the vectors, 1 to 4,096.
    mean : float32 (dim,), optional
        Subtracted before the rotation.
    seed : int
        Draws the sign flips.
    flips : int8 (4, dim), optional
        The sign flips themselves, −1 or 1; they are what the file keeps.
    """

    component_id: ClassVar[str] = "rotated-sign"

    def __init__(
        self,
        dim: int,
        *,
        mean: Float32 | None = None,
        seed: int = 0,
        flips: Flips | None = None,
    ) -> None:
        super().__init__(dim, mean=mean)
        if flips is None:
            flips = random_flips(dim, seed)
        self.flips = flips

    def _project(self, vectors: Float32) -> Float32:
        return rotate(vectors, self.flips)

    def get_config(self) -> dict[str, Any]:
        """Return the dimension, the mean and the sign flips."""
        return {**super().get_config(), "flips": np.packbits(self.flips > 0).tobytes()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RotatedSignBinarizer:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        bits = np.unpackbits(np.frombuffer(config["flips"], dtype=np.uint8), count=4 * dim)
        flips = (2 * bits.reshape(4, dim).astype(np.int8) - 1).astype(np.int8)
        return cls(dim, mean=_floats(config["mean"]), flips=flips)


register(SignBinarizer)
register(RotatedSignBinarizer)
