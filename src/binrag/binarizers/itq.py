"""Sign codes with fitted thresholds or a fitted rotation, and a fitted linear decoder for float queries.

Thresholds at the median make every bit as likely one as zero; decorrelated coordinates make bits independent: together
the most that a sign plane can tell (maximally informative binarization, arXiv 2601.11557).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from binrag.binarizers.codes import as_bytes, from_bytes, integer_of
from binrag.binarizers.decoder import Bits, LinearDecoder, row_sums, row_times, signed
from binrag.binarizers.fitting import checked_code_bytes, checked_rows, least_squares, principal_axes, sample
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.types import Float32, Float64, Progress

MAX_ROWS = 50_000
"""Rows that a rotation is fitted to; more are sampled."""


class MedianSignBinarizer(LinearDecoder):
    """One bit a dimension: whether the coordinate is above the median of the fitted rows.

    Scanned by Hamming distance.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    thresholds : float32 (dim,)
        The medians, less the mean.
    decoder : float32 (dim, n_bits)
        W, fitted by least squares.
    """

    component_id: ClassVar[str] = "median-sign"

    def __init__(self, mean: Float32, thresholds: Float32, decoder: Float32) -> None:
        super().__init__(mean, len(mean), -(-len(mean) // 64), nested=True)
        self.thresholds = thresholds
        self.decoder = decoder

    def _signs(self, centred: Float32) -> Bits:
        return centred > self.thresholds

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        from binrag.kernels.project import project

        bits = self._signs(centred)
        return bits, row_sums(centred**2), row_sums(signed(bits) * project(centred, self.decoder))

    def _weights(self, vector: Float32) -> Float32:
        return row_times(vector, self.decoder)

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the thresholds and the decoder."""
        return {**super().get_config(), "thresholds": as_bytes(self.thresholds), "decoder": as_bytes(self.decoder)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        decoder = from_bytes(config["decoder"], (dim, dim))
        return cls(from_bytes(config["mean"], dim), from_bytes(config["thresholds"], dim), decoder)

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
    ) -> Self:
        """Take the medians of rows and fit the decoder.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 dim rows.
        code_bytes : int
            8 ceil(dim / 64) + 2: there is one bit a dimension.
        queries, seed, progress
            Not needed: medians are in closed form.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput
            As `fitting.checked_rows`; for another `code_bytes`.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        if code_bytes != 8 * -(-dim // 64) + 2:
            raise InvalidInput(f"code_bytes is {code_bytes}, one bit a dimension takes {8 * -(-dim // 64) + 2}")
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = vectors - mean
        thresholds = np.median(centred, axis=0)
        return cls(mean, thresholds, least_squares(signed(centred > thresholds), centred).T.copy())


class ItqBinarizer(LinearDecoder):
    """Signs after the rotation of the principal axes that brings rows closest to their signs.

    Iterative quantization (Gong and Lazebnik, CVPR 2011): with V the rows on their principal axes, B = sign(V R) and R
    the orthogonal matrix nearest to VᵀB, by turns. Scanned by Hamming distance.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    rotation : float32 (dim, n_bits)
        Principal axes times R, orthonormal columns; bits are signs of the projections on them.
    decoder : float32 (dim, n_bits)
        W, fitted by least squares.
    """

    component_id: ClassVar[str] = "itq"

    def __init__(self, mean: Float32, rotation: Float32, decoder: Float32) -> None:
        n_bits = rotation.shape[1]
        super().__init__(mean, n_bits, -(-n_bits // 64), nested=True)
        self.rotation = rotation
        self.decoder = decoder

    def _signs(self, centred: Float32) -> Bits:
        from binrag.kernels.project import project

        return project(centred, self.rotation) > 0

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        from binrag.kernels.project import project

        bits = self._signs(centred)
        return bits, row_sums(centred**2), row_sums(signed(bits) * project(centred, self.decoder))

    def _weights(self, vector: Float32) -> Float32:
        return row_times(vector, self.decoder)

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the rotation and the decoder."""
        return {**super().get_config(), "rotation": as_bytes(self.rotation), "decoder": as_bytes(self.decoder)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        matrices = (from_bytes(config[name], (dim, integer_of(config, "n_bits"))) for name in ("rotation", "decoder"))
        return cls(from_bytes(config["mean"], dim), *matrices)

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
        n_iterations: int = 50,
    ) -> Self:
        """Fit the rotation and the decoder.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 dim rows; 50,000 of them are used.
        code_bytes : int
            2 and 8 a word, with 64 bits each, up to one bit a dimension.
        queries
            Not needed: the Hamming scan has no weights to fit to them.
        seed : int
            Draws the first rotation, and the rows.
        progress : callable, optional
            Called with the iterations done and their number.
        n_iterations : int
            Turns.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput
            As `fitting.checked_rows` and `checked_code_bytes`; for a `code_bytes` that is no number of words.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        n_words, odd_bytes = divmod(checked_code_bytes(code_bytes, dim), 8)
        if odd_bytes or n_words > -(-dim // 64):
            sizes = ", ".join(str(8 * n + 2) for n in range(1, -(-dim // 64) + 1))
            raise InvalidInput(f"code_bytes is {code_bytes}, ITQ codes of {dim} dimensions take one of {sizes}")
        n_bits = min(64 * n_words, dim)
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = vectors[sample(len(vectors), MAX_ROWS, seed)] - mean
        rotation = itq_axes(centred, n_bits, np.random.Generator(np.random.PCG64(seed)), n_iterations, progress)
        return cls(mean, rotation, least_squares(signed(centred @ rotation > 0), centred).T.copy())


def itq_axes(
    rows: Float32, n_bits: int, draw: np.random.Generator, n_iterations: int = 30, progress: Progress = None
) -> Float32:
    """Return the leading principal axes of rows, turned to bring rows near their signs (Gong and Lazebnik, CVPR 2011).

    Parameters
    ----------
    rows : float32 (n, dim)
        Centred.
    n_bits : int
        At most dim.
    draw : Generator
        Draws the first turn.
    n_iterations : int
        Turns.
    progress : callable, optional
        Called with the turns done and their number.

    Returns
    -------
    float32 (dim, n_bits)
        Orthonormal columns.
    """
    axes = principal_axes(rows)[1][:, :n_bits]
    placed = rows @ axes
    turn = np.linalg.qr(draw.standard_normal((n_bits, n_bits)))[0].astype(np.float32)
    for i in range(n_iterations):
        left, _, right = np.linalg.svd(placed.T @ signed(placed @ turn >= 0))
        turn = left @ right
        if callable(progress):
            progress(i + 1, n_iterations)
    return np.asarray(axes @ turn, dtype=np.float32)


register(MedianSignBinarizer)
register(ItqBinarizer)
