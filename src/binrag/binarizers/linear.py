"""Linear-decoder codes: x̂ = W b + μ, with W and the bits fitted to each other in query-weighted space.

By turns: W by least squares from the codes, the codes by coordinate descent on ‖y − W b‖². Every other linear code
(rotation and sign, odd levels, principal axes with variable bits) is one such W, and where this starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np

from binrag.binarizers.codes import as_bytes, from_bytes, integer_of
from binrag.binarizers.decoder import Bits, LinearDecoder, row_sums, row_times, signed
from binrag.binarizers.fitting import (
    QuerySpace,
    checked_code_bytes,
    checked_rows,
    least_squares,
    principal_axes,
    sample,
    uniform_codes,
)
from binrag.binarizers.itq import ItqBinarizer
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.scalars import STEPS, allocated_bits
from binrag.types import Float32, Float64, Progress

MAX_ROWS = 50_000
"""Rows that codes are fitted to; more are sampled."""

N_SWEEPS = 12
"""Sweeps of coordinate descent at most; it rarely takes as many."""


class LinearBinarizer(LinearDecoder):
    """Codes whose bits were chosen together for the decoder's sake.

    Shape "compact": all bits are free, in the order of ‖W_j‖, and scanned by tables. Shape "nested": the words
    hold ITQ signs, fit for the Hamming scan, and the rest holds bits fitted to what the signs leave.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    root : float32 (dim, dim)
        K^½, to the fitted space y = K^½ (x − μ).
    weights : float32 (dim, n_bits)
        K^−½ W: a query's weights are ⟨q, weights⟩, and W = root · weights.
    rotation : float32 (dim, n_signs), optional
        The first bits are the signs of the projections on its columns; none for the compact shape.
    """

    component_id: ClassVar[str] = "linear"

    def __init__(self, mean: Float32, root: Float32, weights: Float32, rotation: Float32 | None = None) -> None:
        n_bits = weights.shape[1]
        n_words = n_bits // 64 if rotation is None else rotation.shape[1] // 64
        super().__init__(mean, n_bits, n_words, nested=rotation is not None)
        self.root = root
        self.weights = weights
        self.rotation = rotation
        self._decoder: tuple[Float32, Float32] | None = None

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        from binrag.kernels.project import project

        if self._decoder is None:
            decoder = project(self.root, self.weights)
            self._decoder = decoder, project(np.ascontiguousarray(decoder.T), decoder)
        decoder, gram = self._decoder
        rows = project(centred, self.root)
        products = project(rows, decoder)
        signs = signed(self._signs(centred))
        n_signs = signs.shape[1]
        left = products[:, n_signs:] - project(signs, gram[:n_signs, n_signs:])
        chosen = np.hstack((signs, _chosen(left, gram[n_signs:, n_signs:])))
        return chosen > 0, row_sums(rows**2), row_sums(chosen * products)

    def _signs(self, centred: Float32) -> Bits:
        from binrag.kernels.project import project

        if self.rotation is None:
            return np.zeros((len(centred), 0), dtype=bool)
        return project(centred, self.rotation) > 0

    def _weights(self, vector: Float32) -> Float32:
        return row_times(vector, self.weights)

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the space, the weights and, if nested, the rotation."""
        rotation = None if self.rotation is None else as_bytes(self.rotation)
        own = {"root": as_bytes(self.root), "weights": as_bytes(self.weights), "rotation": rotation}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        mean, root = from_bytes(config["mean"], dim), from_bytes(config["root"], (dim, dim))
        rotation = None if config["rotation"] is None else from_bytes(config["rotation"]).reshape(dim, -1)
        n_signs = 0 if rotation is None else rotation.shape[1]
        if n_signs % 64 or n_signs > config["n_bits"]:
            raise InvalidInput(f"of {config['n_bits']} bits {n_signs} are signs, expected a multiple of 64")
        return cls(mean, root, from_bytes(config["weights"], (dim, integer_of(config, "n_bits"))), rotation)

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
        shape: Literal["compact", "nested"] = "compact",
        n_rounds: int = 20,
        n_turns: int = 50,
    ) -> Self:
        """Fit W and the codes by turns.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 rows a dimension, and as many as bits; 50,000 of them are used.
        code_bytes : int
            1/16 to 1 byte a dimension, and 2; nested codes take more than a bit a dimension.
        queries : float32 (n_queries, dim), optional
            Queries like those to come; rows stand in.
        seed : int
            Draws the rows, and the first rotation of the signs.
        progress : callable, optional
            Called with the rounds done and their number.
        shape : "compact" or "nested"
            See the class.
        n_rounds : int
            Turns.
        n_turns : int
            Turns of the ITQ rotation; nested codes only.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput, DimensionMismatch
            As `fitting.checked_rows`, `checked_code_bytes` and `QuerySpace.fit`.
        """
        if shape not in ("compact", "nested"):
            raise InvalidInput(f"shape is {shape!r}, expected 'compact' or 'nested'")
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        n_bits = 8 * checked_code_bytes(code_bytes, dim)
        checked_rows(vectors, n_bits)
        space = QuerySpace.fit(vectors, queries, seed=seed)
        chosen = vectors[sample(len(vectors), MAX_ROWS, seed)]
        rows = space.rows(chosen)
        rotation, signs = None, np.zeros((len(rows), 0), dtype=np.float32)
        if shape == "nested":
            n_signs = 64 * (dim // 64)
            if n_bits <= n_signs:
                raise InvalidInput(
                    f"code_bytes is {code_bytes}, nested codes of {dim} dimensions take over {n_signs // 8 + 2}"
                )
            options = {"code_bytes": n_signs // 8 + 2, "seed": seed, "n_iterations": n_turns}
            rotation = ItqBinarizer.fit(chosen, **options).rotation
            signs = signed((chosen - space.mean) @ rotation > 0)
        decoder = fitted_decoder(rows, signs, n_bits, n_rounds, progress)
        return cls(space.mean, space.root, space.inverse @ decoder.T, rotation)


def fitted_decoder(rows: Float32, signs: Float32, n_bits: int, n_rounds: int, progress: Progress = None) -> Float32:
    """Fit a decoder and the codes of rows to each other.

    Parameters
    ----------
    rows : float32 (n, dim)
        y.
    signs : float32 (n, n_signs)
        Bits that are given, −1 or 1.
    n_bits : int
        Bits in all.
    n_rounds : int
        Turns.
    progress : callable, optional
        Called with the rounds done and their number.

    Returns
    -------
    float32 (n_bits, dim)
        One row a bit, the given ones first, the others in the order of their length, longest first. Of all rounds,
        the one whose codes came nearest to the rows: codes are chosen anew each round, so a round may lose.
    """
    n_signs = signs.shape[1]
    left = rows - signs @ least_squares(signs, rows)
    decoder = least_squares(np.hstack((signs, _level_bits(left, n_bits - n_signs))), rows)
    best, least = decoder, np.inf
    for i in range(n_rounds):
        given, free = decoder[:n_signs], decoder[n_signs:]
        free[:] = free[np.argsort(-np.linalg.norm(free, axis=1), kind="stable")]
        left = rows - signs @ given
        bits = _chosen(left @ free.T, free @ free.T)
        error = float(((left - bits @ free) ** 2).sum(dtype=np.float64))
        if error < least:
            best, least = decoder, error
        decoder = least_squares(np.hstack((signs, bits)), rows)
        if callable(progress):
            progress(i + 1, n_rounds)
    return best


def _chosen(products: Float32, gram: Float32) -> Float32:
    """Choose bits by coordinate descent: −1 and 1, float32 (n, m), from W y (n, m) and W Wᵀ (m, m)."""
    from binrag.kernels.descent import descend

    bits = np.empty_like(products)
    descend(np.ascontiguousarray(products), np.ascontiguousarray(gram), N_SWEEPS, np.empty_like(gram[0]), bits)
    return bits


def _level_bits(rows: Float32, n_bits: int) -> Float32:
    """Return the bits of odd levels on principal axes, float32 (n, n_bits): a start."""
    variances, axes = principal_axes(rows)
    widths = allocated_bits(variances, n_bits)
    steps = np.sqrt(variances) * np.array((1, *STEPS))[widths]
    used = widths > 0
    codes = uniform_codes((rows @ axes[:, used]) / steps[used], widths[used])
    return np.concatenate([signed((codes[:, [d]] >> np.arange(w)) & 1 > 0) for d, w in enumerate(widths[used])], axis=1)


register(LinearBinarizer)
