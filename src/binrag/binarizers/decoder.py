"""What codes with a linear decoder share, x̂ = W b + μ: from bits to words and rest, from weights to a query."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from binrag.binarizers.codes import as_bytes, check_dim, linear_tables, offset_of, pack_bits, rescale_factors
from binrag.binarizers.costs import scan_costs
from binrag.types import Codes, CodeShape, Float32, Float64, Query

Bits = npt.NDArray[np.bool_]


class LinearDecoder:
    """Codes of centred vectors that one weight a bit scores; a subclass chooses the bits and the weights.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    n_bits : int
        Bits of a code.
    n_words : int
        Words that are scanned; they hold the first bits, and the rest the others.
    nested : bool
        Whether the words are fit for the Hamming scan: they are compared with the words of x − μ at x = q, which finds
        more than the signs of the weights. If not, they are scanned by tables.
    """

    component_id: ClassVar[str]

    def __init__(self, mean: Float32, n_bits: int, n_words: int, *, nested: bool) -> None:
        self.mean = mean
        self.dim = len(mean)
        self.n_bits = n_bits
        self.shape = CodeShape(n_words, max(0, -(-(n_bits - 64 * n_words) // 8)), by_tables=not nested)
        self.nested = nested

    @property
    def code_bytes(self) -> int:
        """Bytes a row in memory, its rescale factor counted."""
        return self.shape.code_bytes

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        """Return bits (n, n_bits), ‖y‖² (n,) and ⟨y, ŷ⟩ (n,) of x − μ, float32 (n, dim)."""
        raise NotImplementedError

    def _signs(self, centred: Float32) -> Bits:
        """Return the bits that the Hamming scan compares, (n, ≤ 64 n_words); nested codes only."""
        raise NotImplementedError

    def _weights(self, vector: Float32) -> Float32:
        """Return Wᵀ q, float32 (n_bits,)."""
        raise NotImplementedError

    def _tables(self, vector: Float32, weights: Float32) -> Float32:
        """Return what the bytes of a code add to ⟨q, x̂ − μ⟩, float32 (8 n_words + n_rest, 256)."""
        return linear_tables(weights, 8 * self.shape.n_words + self.shape.n_rest)

    def transform(self, vectors: Float32) -> Codes:
        """Code vectors.

        Parameters
        ----------
        vectors : float32 (n, dim)
            Finite and not zero.

        Returns
        -------
        Codes
            A row that equals the mean, or whose code points away from it, gets the rescale factor 0.

        Raises
        ------
        DimensionMismatch
            If the vectors have another dimension.
        InvalidVector
            If a rescale factor does not fit a float16.
        """
        check_dim(vectors.shape[1], self.dim)
        bits, norms2, products = self._code(vectors - self.mean)
        n_scanned = 64 * self.shape.n_words
        rest = np.packbits(bits[:, n_scanned:], axis=1, bitorder="little")
        return Codes(pack_bits(bits[:, :n_scanned]), rest, rescale_factors(norms2, products))

    def query(self, vector: Float32) -> Query:
        """Prepare a query, float32 (dim,), finite and not zero.

        Raises
        ------
        DimensionMismatch
            If the vector has another dimension.
        """
        check_dim(len(vector), self.dim)
        weights = self._weights(vector)
        offset = offset_of(vector, self.mean)
        tables = self._tables(vector, weights)
        if self.nested:
            return Query(vector, pack_bits(self._signs((vector - self.mean)[None]))[0], tables, offset)
        return Query(vector, None, tables, offset, scan_costs(tables[: 8 * self.shape.n_words]))

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs; a subclass adds its own."""
        return {"dim": self.dim, "n_bits": self.n_bits, "mean": as_bytes(self.mean)}


def row_times(vector: Float32, matrix: Float32) -> Float32:
    """Return one row's `project`, float32 (m,)."""
    from binrag.kernels.project import project

    product: Float32 = project(vector[None], matrix)[0]
    return product


def signed(bits: Bits) -> Float32:
    """Return −1 and 1 for False and True, float32."""
    return np.where(bits, np.float32(1), np.float32(-1))


def row_sums(products: npt.NDArray[np.floating]) -> Float64:
    """Sum the rows in double precision, float64 (n,); a row's sum does not depend on its neighbours."""
    return np.asarray(products.astype(np.float64).sum(axis=1))
