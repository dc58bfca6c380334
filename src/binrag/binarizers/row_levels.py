"""One or two bits a coordinate, neither centred nor rotated, in levels that a row scales for itself.

For vectors that are compared by the inner product as they are, with nothing to fit codes to: fixed dimensional
encodings and token vectors. The query stays a float vector, so that a coordinate of zero adds nothing, whatever the
codes have there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from binrag.binarizers.codes import integer_of
from binrag.binarizers.decoder import Bits, LinearDecoder, row_sums, signed
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.types import Float32, Float64, UInt8


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

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    component_id: ClassVar[str] = "row-levels"
    MAX_DIM: ClassVar[int] = 4096

    def __init__(self, dim: int, n_planes: int = 1) -> None:
        if not 1 <= dim <= self.MAX_DIM:
            raise InvalidInput(
                f"the dimension is {dim}, this binarizer codes vectors of 1 to {self.MAX_DIM} dimensions"
            )
        if n_planes not in (1, 2):
            raise InvalidInput(f"n_planes is {n_planes!r}, expected 1 or 2")
        super().__init__(np.zeros(dim, np.float32), n_planes * dim, -(-dim // 64), nested=False)
        self.n_planes = n_planes

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        is_positive = centred > 0
        squares = row_sums(centred**2)
        if self.n_planes == 1:
            return is_positive, squares, row_sums(np.abs(centred))
        steps = np.sqrt(squares / self.dim).astype(np.float32)[:, None]
        is_upper = (np.abs(centred) > steps) == is_positive
        levels = 2 * signed(is_positive) + signed(is_upper)
        return np.concatenate([is_positive, is_upper], axis=1), squares, row_sums(centred * levels)

    def weights(self, vectors: Float32) -> Float32:
        """Return what the bits of a code weigh for queries, float32 (n, dim): float32 (n, n_bits)."""
        return vectors if self.n_planes == 1 else np.concatenate([2 * vectors, vectors], axis=1)

    def levels(self, codes: UInt8) -> Float32:
        """Return the levels of codes, uint8 (n, n_bytes), that factors are multiplied with: float32 (n, dim)."""
        bits = signed(np.unpackbits(codes, axis=1, count=self.n_bits, bitorder="little") > 0)
        return bits if self.n_planes == 1 else 2 * bits[:, : self.dim] + bits[:, self.dim :]

    def _weights(self, vector: Float32) -> Float32:
        return np.asarray(self.weights(vector[None])[0])

    def get_config(self) -> dict[str, Any]:
        """Return the dimension and the bits a coordinate."""
        return {"dim": self.dim, "n_planes": self.n_planes}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        return cls(integer_of(config, "dim"), integer_of(config, "n_planes"))


register(RowLevelsBinarizer)
