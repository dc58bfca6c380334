"""One or two bits a coordinate, not centred, in levels that a row scales for itself.

For vectors that are compared by the inner product as they are, with nothing to fit codes to: fixed dimensional
encodings, whose coordinates are alike and whose queries have zeros, which add nothing as long as nothing is rotated;
and, rotated, token vectors, whose coordinates are not alike. The query stays a float vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from binrag.binarizers.codes import integer_of
from binrag.binarizers.decoder import Bits, LinearDecoder, row_sums, signed
from binrag.binarizers.rotation import Flips, flips_from, flips_record, random_flips, rotate
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.types import Float16, Float32, Float64, UInt8


class RowLevelsBinarizer(LinearDecoder):
    """The signs of coordinates; with a second bit, also whether they are large.

    With one bit x̂ = f b. With two x̂ = f (2 b₀ + b₁), the levels −3, −1, 1 and 3: a coordinate is large if its magnitude
    is above the row's root mean square. The rescale factor f makes ⟨x, x̂⟩ = ‖x‖² and brings the row's scale back. Words
    hold the signs, and what they leave room for; they are scanned by tables.

    Parameters
    ----------
    dim : int
        Dimension of the vectors, 1 to 4,096.
    n_planes : int
        Bits a coordinate, 1 or 2.
    flips : int8 (4, dim), optional
        The rotation that the coordinates are taken after, as of `binrag.binarizers.rotation`; they are what the file
        keeps.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    component_id: ClassVar[str] = "row-levels"
    MAX_DIM: ClassVar[int] = 4096

    def __init__(self, dim: int, n_planes: int = 1, *, flips: Flips | None = None) -> None:
        if not 1 <= dim <= self.MAX_DIM:
            raise InvalidInput(
                f"the dimension is {dim}, this binarizer codes vectors of 1 to {self.MAX_DIM} dimensions"
            )
        if n_planes not in (1, 2):
            raise InvalidInput(f"n_planes is {n_planes!r}, expected 1 or 2")
        super().__init__(np.zeros(dim, np.float32), n_planes * dim, -(-dim // 64), nested=False)
        self.n_planes = n_planes
        self.flips = flips

    @classmethod
    def rotated(cls, dim: int, n_planes: int = 1, *, seed: int = 0) -> Self:
        """Return a binarizer with a random rotation, drawn from the seed."""
        return cls(dim, n_planes, flips=random_flips(dim, seed))

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        y = rotate(centred, self.flips)
        is_positive = y > 0
        squares = row_sums(y**2)
        if self.n_planes == 1:
            return is_positive, squares, row_sums(np.abs(y))
        steps = np.sqrt(squares / self.dim).astype(np.float32)[:, None]
        is_upper = (np.abs(y) > steps) == is_positive
        levels = 2 * signed(is_positive) + signed(is_upper)
        return np.concatenate([is_positive, is_upper], axis=1), squares, row_sums(y * levels)

    def weights(self, vectors: Float32) -> Float32:
        """Return what the bits of a code weigh for queries, float32 (n, dim): float32 (n, n_bits)."""
        y = rotate(vectors, self.flips)
        return y if self.n_planes == 1 else np.concatenate([2 * y, y], axis=1)

    def decode(self, codes: UInt8, rescale: Float16) -> Float32:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        codes : uint8 (n, n_bytes)
            Their words, little-endian, then the rest.
        rescale : float16 (n,)

        Returns
        -------
        float32 (n, dim)
        """
        bits = signed(np.unpackbits(codes, axis=1, count=self.n_bits, bitorder="little") > 0)
        levels = bits if self.n_planes == 1 else 2 * bits[:, : self.dim] + bits[:, self.dim :]
        found: Float32 = levels * rescale.astype(np.float32)[:, None]
        return found if self.flips is None else found @ rotate(np.eye(self.dim, dtype=np.float32), self.flips).T

    def _weights(self, vector: Float32) -> Float32:
        return np.asarray(self.weights(vector[None])[0])

    def get_config(self) -> dict[str, Any]:
        """Return the dimension, the bits a coordinate and the rotation."""
        return {"dim": self.dim, "n_planes": self.n_planes, "flips": flips_record(self.flips)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        return cls(dim, integer_of(config, "n_planes"), flips=flips_from(config["flips"], dim))


register(RowLevelsBinarizer)
