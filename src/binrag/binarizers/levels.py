"""Codes of a few bits a dimension: uniform odd levels, which are linear in their bits, and Lloyd–Max levels.

Both code y = R (x − μ), with R a random rotation or nothing. Training-free but for the mean and a deviation, or the
levels, a dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from binrag.binarizers.codes import as_bytes, from_bytes, integer_of
from binrag.binarizers.decoder import Bits, LinearDecoder, row_sums
from binrag.binarizers.fitting import checked_code_bytes, checked_rows, sample, uniform_codes
from binrag.binarizers.rotation import Flips, flips_from, flips_record, random_flips, rotate
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.scalars import STEPS
from binrag.types import Float32, Float64, Int64, Progress

MAX_ROWS = 20_000
"""Rows that Lloyd–Max levels are fitted to; more are sampled."""


class LevelDecoder(LinearDecoder):
    """Uniform odd levels of coordinates: û = step / 2 · (2 c − (2^B − 1)) for the code c of B bits.

    A subclass says what the coordinates are. In the signs b of the bits of c, û = step / 2 · Σ_k 2^k b_k.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    steps : float32 (n_coded,)
        Distance of neighbouring levels, of the first coordinates; the others have no bits.
    owners, shifts : int64 (n_bits,)
        Bit j of a row is bit ``shifts[j]`` of the code of coordinate ``owners[j]``.
    n_words : int
        Words that are scanned.
    nested : bool
        Whether by Hamming distance.
    """

    def __init__(
        self, mean: Float32, steps: Float32, owners: Int64, shifts: Int64, n_words: int, *, nested: bool
    ) -> None:
        super().__init__(mean, len(owners), n_words, nested=nested)
        self.steps = steps
        self.owners = owners
        self.shifts = shifts
        self.widths = np.bincount(owners, minlength=len(steps))
        fits = len(self.widths) == len(steps) <= len(mean) and self.widths.max() <= 16
        if not fits or (shifts >= self.widths[owners]).any():
            raise InvalidInput(f"{len(owners)} bits do not fit the {len(steps)} coordinates that they are of")

    def _coordinates(self, centred: Float32) -> Float32:
        """Return the coordinates y of rows, float32 (n, dim), those with bits first."""
        raise NotImplementedError

    def _query_coordinates(self, vector: Float32) -> Float32:
        """Return what the coordinates with bits weigh for a query, float32 (n_coded,)."""
        raise NotImplementedError

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        y = self._coordinates(centred)
        coded = y[:, : len(self.steps)]
        scaled = np.divide(coded, self.steps, out=np.zeros_like(coded), where=self.steps > 0)
        codes = uniform_codes(scaled, self.widths)
        levels = (2 * codes - ((1 << self.widths) - 1)) * (self.steps / np.float32(2))
        bits = (codes[:, self.owners] >> self.shifts) & 1 > 0
        return bits, row_sums(y**2), row_sums(coded * levels)

    def _weights(self, vector: Float32) -> Float32:
        weights = self._query_coordinates(vector) * self.steps / np.float32(2)
        return np.asarray(weights[self.owners] * (1 << self.shifts).astype(np.float32))


class LevelsBinarizer(LevelDecoder):
    """One to four bits a dimension, after a random rotation or none, in uniform odd levels.

    Planes follow each other, the most significant first: the signs of all dimensions, and of them the words, scanned by
    Hamming distance.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    steps : float32 (dim,)
        Distance of neighbouring levels.
    n_planes : int
        Bits a dimension.
    flips : int8 (4, dim), optional
        The rotation, as of `RotatedSignBinarizer`.
    """

    component_id: ClassVar[str] = "levels"

    def __init__(self, mean: Float32, steps: Float32, n_planes: int, flips: Flips | None = None) -> None:
        dim = len(mean)
        owners = np.tile(np.arange(dim), n_planes)
        super().__init__(mean, steps, owners, np.repeat(np.arange(n_planes)[::-1], dim), dim // 64, nested=True)
        self.n_planes = n_planes
        self.flips = flips

    def _coordinates(self, centred: Float32) -> Float32:
        return rotate(centred, self.flips)

    def _signs(self, centred: Float32) -> Bits:
        return np.asarray(rotate(centred, self.flips)[:, : 64 * self.shape.n_words] >= 0)

    def _query_coordinates(self, vector: Float32) -> Float32:
        return np.asarray(rotate(vector[None], self.flips)[0])

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the steps, the planes and the rotation."""
        own = {"steps": as_bytes(self.steps), "n_planes": self.n_planes, "flips": flips_record(self.flips)}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        flips = flips_from(config["flips"], dim)
        return cls(
            from_bytes(config["mean"], dim), from_bytes(config["steps"], dim), integer_of(config, "n_planes", 8), flips
        )

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
        rotated: bool = True,
    ) -> Self:
        """Take the mean and the deviations of rows.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 dim rows.
        code_bytes : int
            2 and dim / 8 for each of one to four bits a dimension.
        queries, progress
            Not needed: this is in closed form.
        seed : int
            Draws the rotation.
        rotated : bool
            Whether there is one.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput
            As `fitting.checked_rows`; for another `code_bytes`.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        n_planes = _bits_a_dimension(code_bytes, dim, (1, 2, 3, 4))
        mean, y, flips = _centred_and_rotated(vectors, seed, rotated)
        return cls(mean, (y.std(axis=0, dtype=np.float64) * STEPS[n_planes - 1]).astype(np.float32), n_planes, flips)


class LloydMaxBinarizer(LinearDecoder):
    """One, two, four or eight bits a dimension, in the levels of least squared error, after a rotation or none.

    Levels that are not evenly spaced are not linear in their bits, so bytes hold whole dimensions, of which tables by
    byte are exact. The words are the first bytes, scanned by tables of their halves, which are exact up to four bits.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    levels : float32 (dim, 2^B)
        Ascending; the thresholds are half-way between neighbours.
    flips : int8 (4, dim), optional
        The rotation, as of `RotatedSignBinarizer`.
    """

    component_id: ClassVar[str] = "lloyd-max"

    def __init__(self, mean: Float32, levels: Float32, flips: Flips | None = None) -> None:
        self.levels = levels
        self.flips = flips
        self.width = levels.shape[1].bit_length() - 1
        super().__init__(mean, len(mean) * self.width, len(mean) * self.width // 64, nested=False)

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        y = rotate(centred, self.flips)
        codes = np.zeros(y.shape, dtype=np.int64)
        for lower, upper in zip(self.levels.T[:-1], self.levels.T[1:], strict=True):
            codes += y > (lower + upper) / 2
        levels = self.levels[np.arange(self.dim), codes]
        bits = (codes[:, :, None] >> np.arange(self.width) & 1 > 0).reshape(len(y), self.n_bits)
        return bits, row_sums(y**2), row_sums(y * levels)

    def _weights(self, vector: Float32) -> Float32:
        """Return the coordinates of the query: levels that are not evenly spaced have no weight a bit."""
        return np.asarray(rotate(vector[None], self.flips)[0])

    def _tables(self, vector: Float32, weights: Float32) -> Float32:
        a_byte = 8 // self.width
        values = np.zeros((8 * self.shape.n_words + self.shape.n_rest, a_byte, self.levels.shape[1]), dtype=np.float32)
        values.reshape(-1, self.levels.shape[1])[: self.dim] = weights[:, None] * self.levels
        tables = np.zeros((len(values), 256), dtype=np.float32)
        for i in range(a_byte):
            tables += values[:, i, np.arange(256) >> self.width * i & (self.levels.shape[1] - 1)]
        return tables

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the levels and the rotation."""
        return {**super().get_config(), "levels": as_bytes(self.levels), "flips": flips_record(self.flips)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        width = integer_of(config, "n_bits") // dim
        if width not in (1, 2, 4, 8):
            raise InvalidInput(f"a dimension has {width} bits, expected 1, 2, 4 or 8")
        levels = from_bytes(config["levels"], (dim, 1 << width))
        return cls(from_bytes(config["mean"], dim), levels, flips_from(config["flips"], dim))

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
        rotated: bool = True,
    ) -> Self:
        """Fit the levels of every dimension; the parameters and errors are those of `LevelsBinarizer.fit`.

        Of the rows at most 20,000 are used; a dimension takes 1, 2, 4 or 8 bits.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        width = _bits_a_dimension(code_bytes, dim, (1, 2, 4, 8))
        chosen = vectors[sample(len(vectors), MAX_ROWS, seed)]
        mean, y, flips = _centred_and_rotated(chosen, seed, rotated)
        return cls(mean, np.stack([lloyd_max(column, 1 << width) for column in y.T]), flips)


def lloyd_max(values: Float32, n_levels: int, n_rounds: int = 50) -> Float32:
    """Return the levels of least squared error for values, ascending (S. Lloyd, 1957; J. Max, 1960).

    By turns: thresholds half-way between levels, levels at the mean of their cell. An empty cell keeps its level.
    """
    ordered = np.sort(values).astype(np.float64)
    sums = np.concatenate(([0], np.cumsum(ordered)))
    levels = ordered[((np.arange(n_levels) + 0.5) * len(ordered) / n_levels).astype(np.int64)]
    for _ in range(n_rounds):
        inner = np.searchsorted(ordered, (levels[1:] + levels[:-1]) / 2, side="right")
        edges = np.concatenate(([0], inner, [len(ordered)]))
        counts = np.diff(edges)
        levels = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), levels)
    return levels.astype(np.float32)


def _centred_and_rotated(vectors: Float32, seed: int, with_rotation: bool) -> tuple[Float32, Float32, Flips | None]:
    """Return the mean of rows, R (x − μ), and the flips that are R."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    flips = random_flips(len(mean), seed) if with_rotation else None
    return mean, rotate(vectors - mean, flips), flips


def _bits_a_dimension(code_bytes: int, dim: int, choices: tuple[int, ...]) -> int:
    """Return for how many bits a dimension, out of `choices`, a code takes these bytes."""
    sizes = {2 + -(-dim * width // 8): width for width in choices}
    checked_code_bytes(code_bytes, dim)
    if code_bytes not in sizes:
        known = ", ".join(map(str, sizes))
        raise InvalidInput(f"code_bytes is {code_bytes}, whole bits of {dim} dimensions take one of {known}")
    return sizes[code_bytes]


register(LevelsBinarizer)
register(LloydMaxBinarizer)
