"""What fitting shares: rows that are fit to be learned from, the space in which errors count, and its axes.

Only fitting comes here, so products may go through BLAS: their last digits decide nothing that a file promises.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from binrag.errors import DimensionMismatch, InvalidInput, InvalidVector, TrainingError
from binrag.types import Float32, Float64, Int64

QUERY_SHARE = 0.5
"""α of `QuerySpace`: how much the directions of queries count, against all directions alike."""

N_STAND_INS = 2000
"""Rows that stand in for queries where none are known."""

MIN_DIM = 64
"""Below this many dimensions a code has no word to scan."""


def checked_rows(vectors: Float32, least: int) -> Float32:
    """Return the rows to fit on, as they are.

    Parameters
    ----------
    vectors : float32 (n, dim)
        What to check.
    least : int
        How many rows this fit needs.

    Raises
    ------
    InvalidVector
        If the array has no two axes, or holds NaN or an infinity.
    InvalidInput
        If the dimension is below 64.
    TrainingError
        If there are too few rows, or they are all the same.
    """
    if np.ndim(vectors) != 2:
        raise InvalidVector(f"the vectors have shape {np.shape(vectors)}, expected (n, dim)")
    n, dim = vectors.shape
    if dim < MIN_DIM:
        raise InvalidInput(f"the dimension is {dim}, fitted codes need {MIN_DIM} or more; use sign codes")
    if n < least:
        raise TrainingError(f"{n} rows are too few to fit on, {least} are needed; add rows, or use sign codes")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise InvalidVector(f"row {int(finite.argmin())} of the vectors holds NaN or an infinity")
    if (vectors == vectors[0]).all():
        raise TrainingError(f"all {n} rows are equal, there is nothing to fit; add rows that differ")
    return vectors


def checked_code_bytes(code_bytes: int, dim: int) -> int:
    """Return the bytes of a code without its rescale factor.

    Raises
    ------
    InvalidInput
        If a code does not get 1/16 to 1 byte a dimension, and a word at least.
    """
    least, most = max(8, -(-dim // 16)) + 2, dim + 2
    if not least <= code_bytes <= most:
        raise InvalidInput(f"code_bytes is {code_bytes}, vectors of {dim} dimensions take {least} to {most}")
    return code_bytes - 2


@dataclass(frozen=True, slots=True)
class QuerySpace:
    """The space y = K^½ (x − μ), in which the squared error of a row is what it costs the queries.

    K = (1 − α) I / dim + α · mean(q qᵀ) / mean ‖q‖², so ‖K^½ (x − x̂)‖² is the expected squared error of ⟨q, x̂⟩, for
    queries like those given with probability α, and of all directions otherwise (the idea of LeanVec's sphering,
    arXiv 2312.16335). ⟨q, x − μ⟩ = ⟨K^−½ q, y⟩.

    Attributes
    ----------
    mean : float32 (dim,)
        μ.
    root, inverse : float32 (dim, dim)
        K^½ and K^−½, both symmetric.
    """

    mean: Float32
    root: Float32
    inverse: Float32

    @classmethod
    def fit(
        cls, vectors: Float32, queries: Float32 | None = None, *, alpha: float = QUERY_SHARE, seed: int = 0
    ) -> QuerySpace:
        """Fit to rows and queries.

        Parameters
        ----------
        vectors : float32 (n, dim)
            Rows, already checked.
        queries : float32 (n_queries, dim), optional
            Queries like those to come; without them rows stand in.
        alpha : float
            0: all directions count alike, to below 1.
        seed : int
            Chooses the rows that stand in.

        Raises
        ------
        DimensionMismatch
            If the queries' dimension is not that of the rows.
        InvalidVector
            If a query holds NaN or an infinity, or all are zero.
        """
        dim = vectors.shape[1]
        queries = stand_in_queries(vectors, seed) if queries is None or len(queries) == 0 else queries
        if queries.ndim != 2 or queries.shape[1] != dim:
            raise DimensionMismatch(f"the queries have shape {queries.shape}, expected (n, {dim})")
        doubles = queries.astype(np.float64)
        moments = doubles.T @ doubles
        if not np.isfinite(moments).all() or np.trace(moments) == 0:
            raise InvalidVector("the queries hold NaN or infinities, or are all zero")
        k = alpha * moments / np.trace(moments) + (1 - alpha) * np.eye(dim) / dim
        values, axes = np.linalg.eigh(k)
        root = (axes * np.sqrt(values)) @ axes.T
        inverse = (axes / np.sqrt(values)) @ axes.T
        mean = vectors.mean(axis=0, dtype=np.float64)
        return cls(mean.astype(np.float32), root.astype(np.float32), inverse.astype(np.float32))

    def rows(self, vectors: Float32) -> Float32:
        """Return y of rows, float32 (n, dim)."""
        return np.asarray((vectors - self.mean) @ self.root, dtype=np.float32)


def stand_in_queries(vectors: Float32, seed: int = 0) -> Float32:
    """Return up to 2,000 of the rows, drawn without repeating, to stand in for queries: float32 (n, dim)."""
    return vectors[sample(len(vectors), N_STAND_INS, seed)]


def sample(n: int, most: int, seed: int) -> Int64:
    """Return the numbers of up to `most` of n rows, in ascending order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.Generator(np.random.PCG64(seed)).choice(n, most, replace=False))


def principal_axes(rows: Float32) -> tuple[Float64, Float32]:
    """Return variances, largest first, and the principal axes of rows.

    Parameters
    ----------
    rows : float32 (n, dim)
        Centred here.

    Returns
    -------
    variances : float64 (dim,)
        Not negative.
    axes : float32 (dim, dim)
        Columns of unit length; the component of largest magnitude is positive.
    """
    centred = (rows - rows.mean(axis=0, dtype=np.float64)).astype(np.float32)
    values, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(rows))
    axes = axes[:, ::-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))] < 0, -1, 1)
    return np.maximum(values[::-1], 0), axes.astype(np.float32)


def uniform_codes(scaled: npt.NDArray[np.floating], widths: Int64) -> Int64:
    """Return codes of uniform odd levels: code c of width B stands for the odd number 2 c − (2^B − 1), times step / 2.

    Parameters
    ----------
    scaled : float (n, dim)
        Coordinates divided by their step.
    widths : int64 (dim,)
        Bits a dimension, B.

    Returns
    -------
    int64 (n, dim)
        Codes, 0 to 2^B − 1.
    """
    n_levels = 1 << widths
    return np.asarray(np.clip(np.floor(scaled) + n_levels // 2, 0, n_levels - 1), dtype=np.int64)


def least_squares(signs: Float32, rows: Float32, ridge: float = 1e-3) -> Float32:
    """Return the decoder W that minimises Σ ‖y − Wᵀ b‖² + ridge · n ‖W‖².

    Parameters
    ----------
    signs : float32 (n, n_bits)
        b, −1 or 1.
    rows : float32 (n, dim)
        y.
    ridge : float
        Positive, so that equal bits are no trouble.

    Returns
    -------
    float32 (n_bits, dim)
        One row a bit.
    """
    moments = (signs.T @ signs).astype(np.float64)
    moments[np.diag_indices_from(moments)] += ridge * len(signs)
    return np.linalg.solve(moments, (signs.T @ rows).astype(np.float64)).astype(np.float32)
