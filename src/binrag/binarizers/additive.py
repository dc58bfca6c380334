"""Additive codes: every half byte picks a codeword, and the codewords add up; the best codes that binrag fits.

x̂ = μ + K^−½ A Σ_p (c_p,0[low half of byte p] + c_p,1[high half]), in the query-weighted space Aᵀ K^½ (x − μ) of
`fitting.QuerySpace`, turned to principal axes A. Half a byte has 16 codewords, so tables of 16 entries score a code,
and the scan looks them up by permuting bytes. Codes are in stages: each codes what the stages before it leave, and the
first one is what the scan reads. Scores of codes of few bytes are by a map of the query (`query_map`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from binrag.binarizers.codebooks import Stage, fitted_stage, grouped_axes, half
from binrag.binarizers.codes import as_bytes, check_dim, exact_factors, from_bytes, integer_of, offset_of
from binrag.binarizers.costs import scan_costs
from binrag.binarizers.decoder import row_sums, row_times
from binrag.binarizers.fitting import QUERY_SHARE, QuerySpace, checked_code_bytes, checked_rows, sample
from binrag.binarizers.query_map import MAX_DIM, N_EPOCHS, N_ROWS, Rivals, fitted_map
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.types import Codes, CodeShape, Float32, Float64, Progress, Query, UInt8

MAX_ROWS = 65_536
"""Rows that codebooks are fitted to; more are sampled."""

N_ROUNDS = 6
"""Rounds of refitting a stage."""

RIDGE = 300.0
"""Rows' worth by which a round draws a codeword to what it was."""

_CHUNK = 4096
_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Axes:
    """Where codes are fitted: y = (x − μ) · forward, ⟨q, x − μ⟩ = ⟨q · backward, y⟩.

    Attributes
    ----------
    mean : float32 (dim,)
    forward, backward : float32 (dim, dim)
        K^½ A and K^−½ A; forward · backwardᵀ is the identity.
    """

    mean: Float32
    forward: Float32
    backward: Float32

    @classmethod
    def fit(cls, vectors: Float32, queries: Float32 | None, n_bytes: int, seed: int, query_share: float) -> Axes:
        """Fit the query-weighted space, and in it the principal axes of the rows, grouped for a stage of some bytes."""
        space = QuerySpace.fit(vectors, queries, alpha=query_share, seed=seed)
        axes = grouped_axes(space.rows(vectors), n_bytes)
        return cls(space.mean, half(space.root @ axes), half(space.inverse @ axes))


class AdditiveBinarizer:
    """Additive codes in query-weighted space, in one stage or more, scanned by tables.

    Make one with `fit`. Parameters are kept in half precision. The words hold the first bytes and, last, the place of
    the rescale factor in a table; the rest holds the other bytes.

    Parameters
    ----------
    axes : Axes
        Where codes are fitted.
    stages : sequence of Stage
        One at least.
    ranges : float32 (n_stages, 2)
        The least and the largest rescale factor of the codes of the first stage alone, the first two, ….
    maps : sequence of (float32 (dim, dim) or None)
        M of the same codes, which ⟨M q · backward, ŷ⟩ is scored by; None is the identity.
    """

    component_id: ClassVar[str] = "additive"

    def __init__(self, axes: Axes, stages: Sequence[Stage], ranges: Float32, maps: Sequence[Float32 | None]) -> None:
        self.axes = axes
        self.stages = tuple(stages)
        self.ranges = ranges
        self.maps = tuple(maps)
        self._row_map = _of_rows(maps[-1])
        self._query_map = axes.backward if self._row_map is None else axes.backward @ self._row_map
        self.dim = len(axes.mean)
        n_bytes = sum(stage.n_bytes for stage in stages)
        n_words = scanned_words(n_bytes + 1, self.dim)
        self.shape = CodeShape(n_words, n_bytes + 1 - 8 * n_words, n_rescale=0, by_tables=True)
        self.code_bytes = self.shape.code_bytes
        self.n_bits = 8 * self.code_bytes
        low, high = self.ranges[-1].astype(np.float64)
        steps = (high / low) ** (np.arange(255) / 254)
        self.factors = np.concatenate(([0.0], low * steps)).astype(np.float32)

    def transform(self, vectors: Float32) -> Codes:
        """Code vectors, float32 (n, dim), finite and not zero.

        Raises
        ------
        DimensionMismatch
            If the vectors have another dimension.
        """
        check_dim(vectors.shape[1], self.dim)
        n_scanned = 8 * self.shape.n_words
        words = np.empty((len(vectors), n_scanned), dtype=np.uint8)
        rest = np.empty((len(vectors), self.shape.n_rest), dtype=np.uint8)
        for first in range(0, len(vectors), _CHUNK):
            part = slice(first, first + _CHUNK)
            codes, factors = self._code(vectors[part])
            words[part, :-1], rest[part] = codes[:, : n_scanned - 1], codes[:, n_scanned - 1 :]
            words[part, -1] = self._places(factors)
        return Codes(words.view("<u8").astype(np.uint64, copy=False), rest, None)

    def _code(self, vectors: Float32) -> tuple[UInt8, Float64]:
        """Return the bytes of all stages side by side, and rescale factors."""
        from binrag.kernels.project import project

        rows = project(vectors - self.axes.mean, self.axes.forward)
        left = rows.copy()
        codes = []
        for stage in self.stages:
            codes.append(stage.code(left))
            stage.subtract(left, codes[-1])
        return np.concatenate(codes, axis=1), _factors(rows, left, self._row_map)

    def _places(self, factors: Float64) -> UInt8:
        """Return the places of the nearest factors in the table, by their ratios; 0 holds what is not positive."""
        edges = np.sqrt(self.factors[1:-1].astype(np.float64) * self.factors[2:].astype(np.float64))
        places = 1 + np.searchsorted(edges, factors)
        return np.where(factors > 0, places, 0).astype(np.uint8)

    def query(self, vector: Float32) -> Query:
        """Prepare a query, float32 (dim,), finite and not zero.

        Raises
        ------
        DimensionMismatch
            If the vector has another dimension.
        """
        from binrag.kernels.project import dots

        check_dim(len(vector), self.dim)
        turned = row_times(vector, self._query_map)
        halves = np.concatenate([dots(stage.codewords, turned) for stage in self.stages]).reshape(-1, 2, 1, 16)
        tables: Float32 = (halves[:, 1].transpose(0, 2, 1) + halves[:, 0]).reshape(-1, 256)
        n_scanned = 8 * self.shape.n_words
        place = np.zeros((1, 256), dtype=np.float32)
        tables = np.concatenate((tables[: n_scanned - 1], place, tables[n_scanned - 1 :]))
        offset = offset_of(vector, self.axes.mean)
        return Query(vector, None, tables, offset, scan_costs(tables[:n_scanned]), self.factors)

    def prefix(self, code_bytes: int) -> AdditiveBinarizer:
        """Return the binarizer of the first stages: its codes are this one's, cut short, but for the rescale factor.

        Raises
        ------
        InvalidInput
            If no number of stages takes as many bytes.
        """
        sizes = np.cumsum([stage.n_bytes for stage in self.stages]) + 1
        if code_bytes not in sizes:
            known = ", ".join(map(str, sizes))
            raise InvalidInput(f"code_bytes is {code_bytes}, the first stages take one of {known}")
        n_stages = int(np.searchsorted(sizes, code_bytes)) + 1
        first = slice(n_stages)
        return AdditiveBinarizer(self.axes, self.stages[first], self.ranges[first], self.maps[first])

    def get_config(self) -> dict[str, Any]:
        """Return the axes, the stages, the ranges and the maps."""
        return {
            "dim": self.dim,
            "mean": as_bytes(self.axes.mean),
            "forward": as_bytes(self.axes.forward, "<f2"),
            "backward": as_bytes(self.axes.backward, "<f2"),
            "stages": [stage.get_config() for stage in self.stages],
            "ranges": as_bytes(self.ranges),
            "maps": [None if one is None else as_bytes(one, "<f2") for one in self.maps],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        turns = (from_bytes(config[name], (dim, dim), "<f2") for name in ("forward", "backward"))
        stages = [Stage.from_config(stage, dim) for stage in config["stages"]]
        axes = Axes(from_bytes(config["mean"], dim), *turns)
        maps = [None if one is None else from_bytes(one, (dim, dim), "<f2") for one in config["maps"]]
        ranges = from_bytes(config["ranges"], (len(stages), 2))
        if dim < 64 or sum(stage.n_bytes for stage in stages) < 7 or len(maps) != len(stages):
            raise InvalidInput(f"{len(stages)} stages and {len(maps)} maps are not those of {dim} dimensions")
        if (ranges[:, 0] <= 0).any() or (ranges[:, 1] < ranges[:, 0]).any():
            raise InvalidInput(f"the rescale factors have the ranges {ranges.tolist()}, expected positive ones")
        return cls(axes, stages, ranges, maps)

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
        start: AdditiveBinarizer | None = None,
        n_rounds: int = N_ROUNDS,
        refit_decoder: bool = True,
        query_share: float = QUERY_SHARE,
    ) -> Self:
        """Fit codebooks to vectors, by turns with the codes, stage by stage.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 dim rows, of 64 dimensions or more; 65,536 of them are used.
        code_bytes : int
            Bytes a row, the rescale factor counted: 1/16 to 1 byte a dimension.
        queries : float32 (n, dim), optional
            Queries like those to come; rows stand in.
        seed : int
            Draws the first codewords.
        progress : callable, optional
            Called with the rounds done, epochs of maps counted, and their number.
        start : AdditiveBinarizer, optional
            One of the same bytes, fitted to other vectors, to be adapted to these.
        n_rounds : int
            Rounds of refitting a stage.
        refit_decoder : bool
            Whether codes decode to codewords that are the best for these rows' codes: a little nearer to these rows,
            a little farther from others.
        query_share : float
            How much the directions of queries count, against all directions alike; see `fitting.QuerySpace`. Less of it
            suits vectors of other subjects better.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput, DimensionMismatch
            As `fitting.checked_rows` and `checked_code_bytes`.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        checked_code_bytes(code_bytes, dim)
        sizes = stage_sizes(code_bytes, dim)
        if start is not None and (start.dim, start.code_bytes) != (dim, code_bytes):
            raise InvalidInput(
                f"start codes {start.dim} dimensions in {start.code_bytes} bytes, expected {dim} dimensions in "
                f"{code_bytes} bytes"
            )
        vectors = vectors[sample(len(vectors), MAX_ROWS, seed)]
        axes = Axes.fit(vectors, queries, sizes[0], seed, query_share)
        rows: Float32 = np.asarray((vectors - axes.mean) @ axes.forward, dtype=np.float32)
        mapped = [dim <= MAX_DIM and size <= dim // 4 for size in (np.cumsum(sizes) + 1).tolist()]
        n_done, n_turns = 0, n_rounds * len(sizes) + N_EPOCHS * sum(mapped)

        def report() -> None:
            nonlocal n_done
            n_done += 1
            if callable(progress):
                progress(n_done, n_turns)

        left, stages, ranges = rows.copy(), [], []
        maps: list[Float32 | None] = []
        rivals = Rivals.find(rows, _as_queries(vectors, queries, seed) @ axes.backward) if any(mapped) else None
        for i, n_bytes in enumerate(sizes):
            if start is None:
                first = Stage.start(left, n_bytes, seed + i, are_grouped=i == 0)
            else:
                turn = start.axes.backward.T @ axes.forward
                first = start.stages[i].turned(turn, axes.backward.T @ start.axes.forward)
            stage, codes = fitted_stage(left, first, n_rounds, RIDGE, report, refit_decoder=refit_decoder)
            stages.append(stage)
            stage.subtract(left, codes)
            one = half(fitted_map(rows, rows - left, rivals, seed, report)) if rivals and mapped[i] else None
            maps.append(one)
            factors = _factors(rows, left, _of_rows(one))
            positive = factors[factors > 0]
            ranges.append((positive.min() / _MARGIN, positive.max() * _MARGIN) if len(positive) else (1.0, 2.0))
        return cls(axes, stages, np.array(ranges, dtype=np.float32), maps)


def _of_rows(query_map: Float32 | None) -> Float32 | None:
    """Return Mᵀ, contiguous, which rows and queries are multiplied by, one in each row."""
    return None if query_map is None else np.ascontiguousarray(query_map.T)


def _factors(rows: Float32, left: Float32, row_map: Float32 | None) -> Float64:
    """Return f = ‖y‖² / ⟨M y, ŷ⟩ of rows, where what ŷ leaves of them is given, and Mᵀ."""
    from binrag.kernels.project import project

    norms2 = row_sums(rows**2)
    if row_map is None:
        return exact_factors(norms2, norms2 - row_sums(rows * left))
    return exact_factors(norms2, row_sums(project(rows, row_map) * (rows - left)))


def _as_queries(vectors: Float32, queries: Float32 | None, seed: int) -> Float32:
    """Return queries, and rows that serve as such."""
    some = vectors[sample(len(vectors), N_ROWS, seed)]
    return some if queries is None or len(queries) == 0 else np.concatenate((queries, some))


def scanned_words(code_bytes: int, dim: int) -> int:
    """Return the words that are scanned: as many as a plane of signs takes, if there are as many."""
    return min(code_bytes // 8, dim // 64)


def stage_sizes(code_bytes: int, dim: int) -> list[int]:
    """Return the code's bytes by stage: the first has what is scanned, the others up to a byte for 8 dimensions."""
    first = 8 * scanned_words(code_bytes, dim) - 1
    others = code_bytes - 1 - first
    if others < dim // 32:  # too few to be worth a stage
        return [first + others]
    n_stages = -(-others // (dim // 8))
    return [first] + [others * (i + 1) // n_stages - others * i // n_stages for i in range(n_stages)]


register(AdditiveBinarizer)
