"""Codes of the token vectors of documents: what each differs from the document's mean by, rotated, in one or two bits.

The tokens of a text are much alike, so that they lie nearer to their mean than to the origin (residuals, as in
ColBERTv2, arXiv 2112.01488), and models put a few coordinates far above the others, which a rotation spreads (as in
RaBitQ, arXiv 2405.12497).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from binrag.binarizers.codes import check_dim
from binrag.binarizers.rotation import Flips, rotated
from binrag.binarizers.row_levels import RowLevelsBinarizer
from binrag.types import Float32, TokenCodes, TokenVectors

_LEVELS = np.float32(127)


class TokenBinarizer:
    """Token vectors to codes, and queries to what these are compared with.

    x̂ = μ + Rᵀ ŷ for y = R (x − μ): μ is the mean of the document's tokens, a signed byte a dimension, R a rotation, and
    ŷ what a `RowLevelsBinarizer` makes of y.

    Parameters
    ----------
    dim : int
        Dimension of the token vectors, 1 to 4,096.
    n_planes : int
        Bits a dimension, 1 or 2.
    seed : int
        Draws the rotation.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    def __init__(self, dim: int, n_planes: int = 1, seed: int = 0) -> None:
        self.residuals = RowLevelsBinarizer(dim, n_planes)
        self.dim = dim
        self._seed = seed

    @property
    def token_bytes(self) -> int:
        """Bytes of a token's code, its rescale factor counted."""
        return self.residuals.code_bytes

    @cached_property
    def rotation(self) -> Float32:
        """R, float32 (dim, dim), for rows of vectors: x R."""
        words = np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=(0,))).random_raw(-(-4 * self.dim // 64))
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=4 * self.dim, bitorder="little")
        flips: Flips = (2 * bits.astype(np.int8) - 1).reshape(4, self.dim)
        return rotated(np.eye(self.dim, dtype=np.float32), flips)

    def transform(self, tokens: TokenVectors) -> TokenCodes:
        """Code the token vectors of documents; a document's codes do not depend on the others.

        Raises
        ------
        DimensionMismatch
            If they have another dimension.
        """
        check_dim(tokens.dim, self.dim)
        scales, levels = _means(tokens)
        counts = np.diff(tokens.offsets)
        means = np.repeat(levels * scales[:, None], counts, axis=0)
        codes = self.residuals.transform(self._rotated(tokens.vectors - means))
        return TokenCodes.of(codes, tokens.offsets, scales, levels.astype(np.int8))

    def weights(self, token_vectors: Float32) -> Float32:
        """Return what the bits of a code weigh for a query's tokens, float32 (n_tokens, dim): (n_tokens, n_bits)."""
        check_dim(token_vectors.shape[1], self.dim)
        return self.residuals.weights(self._rotated(token_vectors))

    def decode(self, codes: TokenCodes) -> TokenVectors:
        """Return the token vectors that codes stand for."""
        means = codes.means * codes.scales[:, None]
        residuals = self.residuals.levels(codes.codes) * codes.rescale.astype(np.float32)[:, None]
        vectors = residuals @ self.rotation.T + np.repeat(means, np.diff(codes.offsets), axis=0)
        return TokenVectors(np.ascontiguousarray(vectors, dtype=np.float32), codes.offsets)

    def _rotated(self, vectors: Float32) -> Float32:
        from binrag.kernels.project import project

        found: Float32 = project(vectors, self.rotation)
        return found


def _means(tokens: TokenVectors) -> tuple[Float32, Float32]:
    """Return each document's mean as a scale, float32 (n,), and levels −127 to 127, float32 (n, dim)."""
    counts = np.diff(tokens.offsets)
    sums = np.zeros((len(tokens), tokens.dim), dtype=np.float64)
    has_some = counts > 0
    if has_some.any():
        sums[has_some] = np.add.reduceat(tokens.vectors, tokens.offsets[:-1][has_some], axis=0, dtype=np.float64)
    means = sums / np.maximum(counts, 1)[:, None]
    scales = (np.abs(means).max(axis=1, initial=0) / _LEVELS).astype(np.float32)
    return scales, np.rint(means / np.where(scales > 0, scales, 1)[:, None]).astype(np.float32)
