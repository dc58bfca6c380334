"""Stages of additive codes: two codebooks of 16 codewords a byte, how they are fitted, and how rows choose from them.

A row is approximated by a sum of codewords, one from each codebook (additive quantization, Babenko and Lempitsky, CVPR
2014), chosen by local search (Martinez et al., ECCV 2016 and 2018), here by whole bytes. A further stage codes what the
stages before it leave (residual quantization).

The search finds worse codes for a row that starts anew than those that fitting arrives at, turn by turn. So codes
decode to codewords of their own, the best for the codes that the search does find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from binrag.binarizers.codes import as_bytes, from_bytes, integer_of
from binrag.binarizers.fitting import principal_axes, sample
from binrag.errors import InvalidInput
from binrag.threads import in_threads, n_processors
from binrag.types import Float32, Float64, UInt8

SWEEPS = 8
"""Passes over the bytes of a stage when a row is coded, at most."""

ROUND_SWEEPS = 2
"""The same in a round of refitting: better codes there suit the rows fitted to, and no search finds them again."""

MAX_GROUP = 8
"""Coordinates of a byte, at most, where choosing starts."""

K_MEANS_ROWS = 20_000
K_MEANS_ROUNDS = 12
_CHUNK = 1024
_GRAM_MAX = 32767


@dataclass(slots=True, eq=False)
class Stage:
    """Two codebooks a byte, by which codes are chosen; what codes decode to; and where choosing starts.

    Attributes
    ----------
    rotation : float32 (dim, n_bytes size) or None
        To coordinates of which byte p has those from p size on; None: rows have them so.
    starts : float32 (n_bytes, 2, size, 16)
        Codewords of groups of coordinates, a column each: choosing starts with the pair nearest to a group.
    choosing : float32 (32 n_bytes, dim)
        Codewords that a code is chosen from: v of half h of byte p is row 32 p + 16 h + v.
    codewords : float32 (32 n_bytes, dim)
        Codewords that a code decodes to.
    """

    rotation: Float32 | None
    starts: Float32
    choosing: Float32
    codewords: Float32
    _coder: tuple[Any, ...] | None = field(default=None, init=False, repr=False)

    @property
    def n_bytes(self) -> int:
        """Bytes of a code."""
        return len(self.starts)

    @classmethod
    def start(cls, rows: Float32, n_bytes: int, seed: int, *, are_grouped: bool = False) -> Stage:
        """Quantize groups of coordinates, each in two turns of k-means with 16 means.

        Parameters
        ----------
        rows : float32 (n, dim)
        n_bytes : int
            Up to dim.
        seed : int
            Draws the first means.
        are_grouped : bool
            Whether the rows' coordinates are those of `grouped_axes`; if not, they are turned to them.
        """
        dim = rows.shape[1]
        size = _group_size(n_bytes, dim)
        some = rows[sample(len(rows), K_MEANS_ROWS, seed)]
        axes = np.eye(dim, dtype=np.float32) if are_grouped else grouped_axes(rows, n_bytes)
        rotation = np.ascontiguousarray(axes[:, : n_bytes * size])
        projected = (some @ rotation).reshape(len(some), n_bytes, size)
        starts = np.empty((n_bytes, 2, size, 16), dtype=np.float32)
        codewords = np.empty((n_bytes, 2, 16, dim), dtype=np.float32)
        draw = np.random.Generator(np.random.PCG64(seed))
        for p in range(n_bytes):
            left, own = projected[:, p], rotation[:, p * size : (p + 1) * size]
            for side in range(2):
                means, left = _k_means(left, draw)
                starts[p, side], codewords[p, side] = means.T, means @ own.T
        flat: Float32 = codewords.reshape(-1, dim)
        return cls(None if are_grouped else rotation, starts, flat, flat)

    def start_codes(self, rows: Float32) -> UInt8:
        """Return where choosing starts, uint8 (n, n_bytes), for rows, float32 (n, dim)."""
        from binrag.kernels.additive import product_codes
        from binrag.kernels.project import project

        n_bytes, _, size, _ = self.starts.shape
        norms = (self.starts**2).sum(axis=2)
        products = 2 * (self.starts[:, 0].transpose(0, 2, 1) @ self.starts[:, 1])
        turned = rows[:, : n_bytes * size] if self.rotation is None else project(rows, self.rotation)
        groups = np.ascontiguousarray(turned).reshape(len(rows), n_bytes, size)
        codes = np.empty((len(rows), n_bytes), dtype=np.uint8)
        product_codes(groups, self.starts, norms, products, codes)
        return codes

    def code(self, rows: Float32) -> UInt8:
        """Return codes, uint8 (n, n_bytes), of rows, float32 (n, dim); a row's does not depend on its neighbours."""
        from binrag.kernels.additive import choose
        from binrag.kernels.project import project

        gram, weights, norms = self._integers()
        codes = np.empty((len(rows), self.n_bytes), dtype=np.uint8)
        for first in range(0, len(rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            codes[part] = self.start_codes(rows[part])
            base = project(rows[part], weights)
            choose(np.subtract(norms, base, out=base), gram, codes[part], SWEEPS)
        return codes

    def improved(self, rows: Float32, codes: UInt8) -> UInt8:
        """Return codes that start from others; fitting only, where rounding decides nothing."""
        from binrag.kernels.additive import choose

        gram, weights, norms = self._integers()
        codes = codes.copy()

        def work(part: slice) -> None:
            choose(norms - rows[part] @ weights, gram, codes[part], ROUND_SWEEPS)

        _in_threads(work, (slice(first, first + _CHUNK) for first in range(0, len(rows), _CHUNK)))
        return codes

    def code_in_threads(self, rows: Float32) -> UInt8:
        """Return what `code` does, part by part."""
        self._integers()  # once, before threads share it
        return np.concatenate(_in_threads(lambda part: self.code(rows[part]), _parts(len(rows))))

    def _integers(self) -> tuple[Any, ...]:
        """Return what choosing needs, in units of which the largest product of codewords has 32,767."""
        if self._coder is None:
            from binrag.kernels.project import project

            products = project(self.choosing, np.ascontiguousarray(self.choosing.T))
            unit = max(float(np.abs(products).max()), 1e-30) * 2 / _GRAM_MAX
            gram = np.rint(products * (2 / unit)).astype(np.int16)
            weights = np.ascontiguousarray(self.choosing.T * np.float32(2 / unit))
            norms = np.diagonal(products) / np.float32(unit)
            self._coder = gram, weights, norms
        return self._coder

    def subtract(self, rows: Float32, codes: UInt8) -> None:
        """Subtract from rows, float32 (n, dim), what their codes decode to, in place."""
        from binrag.kernels.additive import subtract_codewords

        subtract_codewords(rows, codes, self.codewords)

    def chosen_by(self, codewords: Float32) -> Stage:
        """Return the stage with other codewords, in as many steps as a byte has, to choose from and to decode to."""
        codewords = _from_steps(*_to_steps(codewords))
        return Stage(self.rotation, self.starts, codewords, codewords)

    def decoded_by(self, codewords: Float32) -> Stage:
        """Return the stage with other codewords, in half precision, to decode to; codes stay what they are."""
        stage = Stage(self.rotation, self.starts, self.choosing, half(codewords))
        stage._coder = self._coder
        return stage

    def turned(self, forward: Float32, backward: Float32) -> Stage:
        """Return the stage for rows y · forward, where this one is for y; float32 (dim, dim), backward its inverse."""
        _, _, size, _ = self.starts.shape
        rotation = backward[:, : self.n_bytes * size] if self.rotation is None else backward @ self.rotation
        return Stage(rotation, self.starts, self.choosing @ forward, self.codewords @ forward)

    def get_config(self) -> dict[str, Any]:
        """Return the number of bytes and the arrays: in half precision, those that choosing is by in steps.

        None stands for codewords that are the same ones.
        """
        steps, sizes = _to_steps(self.choosing)
        return {
            "n_bytes": self.n_bytes,
            "rotation": None if self.rotation is None else as_bytes(self.rotation, "<f2"),
            "starts": as_bytes(self.starts, "<f2"),
            "choosing": as_bytes(steps, "i1"),
            "step_sizes": as_bytes(sizes),
            "codewords": None if self.codewords is self.choosing else as_bytes(self.codewords, "<f2"),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], dim: int) -> Stage:
        """Rebuild from `get_config`."""
        n_bytes = integer_of(config, "n_bytes")
        rotation = None if config["rotation"] is None else from_bytes(config["rotation"], (dim, -1), "<f2")
        starts = from_bytes(config["starts"], (n_bytes, 2, -1, 16), "<f2")
        shape = (32 * n_bytes, dim)
        choosing = _from_steps(from_bytes(config["choosing"], shape, "i1"), from_bytes(config["step_sizes"], dim))
        codewords = choosing if config["codewords"] is None else from_bytes(config["codewords"], shape, "<f2")
        n_turned = n_bytes * starts.shape[2]
        if n_turned > dim or (rotation is not None and rotation.shape[1] != n_turned):
            raise InvalidInput(f"the first codewords of a stage, {starts.shape}, do not fit {dim} dimensions")
        return cls(rotation, starts, choosing, codewords)


def fitted_stage(
    rows: Float32,
    stage: Stage,
    n_rounds: int,
    ridge: float,
    report: Callable[[], None] = lambda: None,
    *,
    refit_decoder: bool = True,
) -> tuple[Stage, UInt8]:
    """Refit a stage to rows, float32 (n, dim), and return it with their codes.

    The codewords that codes are chosen from are refitted by turns with the codes, which go on from turn to turn; at
    last, with `refit_decoder`, those that they decode to, to the codes that rows get anew.
    """
    rotation = None if stage.rotation is None else half(stage.rotation)
    stage = Stage(rotation, half(stage.starts), stage.choosing, stage.choosing)
    codes = stage.improved(rows, stage.start_codes(rows))
    for _ in range(n_rounds):
        codewords = refitted(rows, codes, stage.choosing, ridge)
        stage = Stage(rotation, stage.starts, codewords, codewords)
        codes = stage.improved(rows, codes)
        report()
    stage = stage.chosen_by(refitted(rows, codes, stage.choosing, ridge))
    codes = stage.code_in_threads(rows)
    if refit_decoder:
        stage = stage.decoded_by(refitted(rows, codes, stage.choosing, ridge))
    return stage, codes


def refitted(rows: Float32, codes: UInt8, codewords: Float32, ridge: float) -> Float32:
    """Return the codewords that decode codes best, by least squares, float32 (32 n_bytes, dim).

    Parameters
    ----------
    rows : float32 (n, dim)
    codes : uint8 (n, n_bytes)
    codewords : float32 (32 n_bytes, dim)
        What they were.
    ridge : float
        How many rows' worth a codeword is drawn to what it was.
    """
    from binrag.kernels.additive import count_codewords

    n_codewords, dim = codewords.shape

    def work(part: slice) -> tuple[Float32, Float32]:
        counts, sums = np.zeros((n_codewords, n_codewords), np.float32), np.zeros((n_codewords, dim), np.float32)
        count_codewords(rows[part], codes[part], counts, sums)
        return counts, sums

    found = _in_threads(work, _parts(len(rows)))
    counts, sums = (np.asarray(np.sum(parts, axis=0, dtype=np.float64)) for parts in zip(*found, strict=True))
    counts[np.diag_indices(n_codewords)] += ridge
    return np.linalg.solve(counts, sums + ridge * codewords).astype(np.float32)


def _to_steps(codewords: Float32) -> tuple[Any, Float32]:
    """Return codewords in whole steps of their coordinates, int8 (n, dim), and the sizes of steps, float32 (dim,).

    Sizes have 8 significant bits, so that products with steps are exact, and steps taken again are the same.
    """
    fractions, exponents = np.frexp(np.abs(codewords).max(axis=0) / np.float32(127))
    sizes = np.ldexp(np.rint(fractions * np.float32(256)), exponents - 8).astype(np.float32)
    steps = np.rint(codewords / np.where(sizes > 0, sizes, np.float32(1)))
    return np.clip(steps, -127, 127).astype(np.int8), sizes


def _from_steps(steps: Any, sizes: Float32) -> Float32:
    return np.asarray(steps * sizes, dtype=np.float32)


def _k_means(rows: Float32, draw: np.random.Generator) -> tuple[Float32, Float32]:
    """Return 16 means of rows, float32 (16, size), and the rows less the nearest."""
    means = rows[draw.choice(len(rows), 16, replace=len(rows) < 16)].copy()
    nearest = _nearest(rows, means)
    for _ in range(K_MEANS_ROUNDS):
        members = (nearest == np.arange(16)[:, None]).astype(np.float32)
        counts = members.sum(axis=1, keepdims=True)
        means = np.where(counts > 0, members @ rows / np.maximum(counts, 1), means)  # one without rows stays
        nearest = _nearest(rows, means)
    return means, rows - means[nearest]


def _nearest(rows: Float32, means: Float32) -> Any:
    return ((means**2).sum(axis=1) - 2 * rows @ means.T).argmin(axis=1)


def half(array: Float32) -> Float32:
    """Return an array rounded to half precision, float32."""
    return array.astype(np.float16).astype(np.float32)


def _group_size(n_bytes: int, dim: int) -> int:
    return min(MAX_GROUP, dim // n_bytes)


def grouped_axes(rows: Float32, n_bytes: int) -> Float32:
    """Return the principal axes of rows in an order that suits a stage, float32 (dim, dim): a column each.

    Groups of them, one a byte, have equal products of variances, as eigenvalue allocation (optimized product
    quantization, Ge et al., CVPR 2013) makes them; the axes of least variance, which have no group, come last.
    """
    variances, axes = principal_axes(rows)
    groups = _balanced_groups(variances, n_bytes, _group_size(n_bytes, len(axes)))
    dealt = [axis for group in groups for axis in group]
    return np.asarray(axes[:, dealt + [axis for axis in range(len(axes)) if axis not in set(dealt)]])


def _balanced_groups(variances: Float64, n_groups: int, size: int) -> list[list[int]]:
    """Deal the first axes to groups of `size`: the next to the group of the smallest product of variances."""
    groups: list[list[int]] = [[] for _ in range(n_groups)]
    logs = np.log(np.maximum(variances[: n_groups * size], 1e-30))
    totals = np.zeros(n_groups)
    for axis, log in enumerate(logs - logs[-1] + 1e-3):
        group = min((g for g in range(n_groups) if len(groups[g]) < size), key=lambda g: (totals[g], g))
        groups[group].append(axis)
        totals[group] += log
    return groups


def _n_threads() -> int:
    return min(8, n_processors())


def _parts(n: int) -> Iterator[slice]:
    k = _n_threads()
    return (slice(n * i // k, n * (i + 1) // k) for i in range(k))


def _in_threads(work: Callable[[slice], Any], parts: Iterable[slice]) -> list[Any]:
    return in_threads([partial(work, part) for part in parts], _n_threads())
