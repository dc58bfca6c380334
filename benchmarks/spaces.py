"""Where codes are fitted: the vectors as they are, centred, or weighted by where queries look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from binrag.types import Float32, Int64

SpaceName = Literal["plain", "centred", "weighted"]
SPACES: tuple[SpaceName, ...] = ("plain", "centred", "weighted")
ALPHA = 0.5
"""Share of the queries' second moment in the weighting; the rest is the identity's."""

_BLOCK = 128


@dataclass(frozen=True, slots=True)
class Space:
    """A linear change of coordinates for rows, and the one for queries that keeps inner products.

    ⟨query(q), row(x)⟩ = ⟨q, x⟩ − ⟨q, mean⟩: the ranking of a query stays as it is.

    Attributes
    ----------
    mean : float32 (dim,)
        Subtracted from rows.
    forward, backward : float32 (dim, dim) or None
        K^½ for rows and K^−½ for queries; None for the identity.
    """

    mean: Float32
    forward: Float32 | None = None
    backward: Float32 | None = None

    def row(self, rows: Float32) -> Float32:
        """Return rows float32 (n, dim) in this space."""
        centred: Float32 = rows - self.mean
        if self.forward is not None:
            centred = centred @ self.forward
        return centred

    def query(self, queries: Float32) -> Float32:
        """Return queries float32 (n, dim) in this space."""
        return queries if self.backward is None else queries @ self.backward

    @property
    def model_bytes(self) -> int:
        """Bytes of what a row's code needs to be read: the mean and K^−½, as float32."""
        mean = self.mean.nbytes if self.mean.any() else 0
        return mean + (0 if self.backward is None else self.backward.nbytes)


def space(name: SpaceName, rows: Float32, queries: Float32 | None, alpha: float = ALPHA) -> Space:
    """Fit a space.

    With K = (1 − α) I / dim + α · mean(q qᵀ), an error e of a row costs eᵀ K e on average over the queries, which is
    the squared error of the row taken to K^½ (the sphering of LeanVec, arXiv 2312.16335).

    Parameters
    ----------
    name : str
        ``"plain"``: nothing is changed. ``"centred"``: the rows' mean is subtracted. ``"weighted"``: also K^½.
    rows : float32 (n, dim)
        What the mean is taken of.
    queries : float32 (n_queries, dim), optional
        For K. Default: the rows stand in.
    alpha : float
        Share of the queries in K, below 1.
    """
    dim = rows.shape[1]
    if name == "plain":
        return Space(np.zeros(dim, np.float32))
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    if name == "centred":
        return Space(mean)
    seen = (rows if queries is None else queries).astype(np.float64)
    weight = (1 - alpha) * np.eye(dim) / dim + alpha * (seen.T @ seen) / len(seen)
    values, vectors = np.linalg.eigh(weight)
    forward = (vectors * np.sqrt(values)) @ vectors.T
    backward = (vectors / np.sqrt(values)) @ vectors.T
    return Space(mean, forward.astype(np.float32), backward.astype(np.float32))


def rescaled(rows: Float32, decoded: Float32) -> Float32:
    """Return decoded rows times binrag's rescale factor ‖y‖² / ⟨y, ŷ⟩, rounded to float16; 0 where ⟨y, ŷ⟩ ≤ 0."""
    products = np.einsum("ij,ij->i", rows, decoded, dtype=np.float64)
    norms2 = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    factors = np.divide(norms2, products, out=np.zeros_like(norms2), where=products > 0)
    scaled: Float32 = decoded * factors.astype(np.float16).astype(np.float32)[:, None]
    return scaled


def top_rows(scores: Float32, k: int) -> Int64:
    """Return the best `k` columns of each row of scores, int64 (n, k): score descending, column ascending."""
    k = min(k, scores.shape[1])
    part = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(scores, part, axis=1), axis=1, kind="stable")
    return np.take_along_axis(part, order, axis=1)


def ranking(queries: Float32, rows: Float32, k: int, bias: Float32 | None = None) -> Int64:
    """Return for each query the rows of largest inner product, int64 (n_queries, k), best first.

    Parameters
    ----------
    queries, rows : float32 (n, dim)
        Both in the same space.
    k : int
        How many.
    bias : float32 (n_rows,), optional
        Added to the products.
    """
    found = []
    for start in range(0, len(queries), _BLOCK):
        scores = queries[start : start + _BLOCK] @ rows.T
        found.append(top_rows(scores if bias is None else scores + bias, k))
    return np.concatenate(found)
