"""Recurrent codes: binarize, reconstruct, binarize what is left, and again (BEBR, arXiv 2302.08714).

With y = x − μ and ŷ_0 = 0: b_i = sgn(f_i(y − ŷ_i)), ŷ_{i+1} = ŷ_i + D_iᵀ b_i, where sgn(z) is 1 for z ≥ 0, else −1.
BEBR has planes of one width, of weights 1, ½, …; here they may differ in width, so that narrow later planes go to the
directions where most is left. The code is scored by one linear decoder for the bits of all planes.
`binrag.binarizers.training` trains these; nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from binrag.binarizers.codes import as_bytes, from_bytes, integer_of
from binrag.binarizers.decoder import Bits, LinearDecoder, row_sums, row_times, signed
from binrag.binarizers.fitting import (
    QuerySpace,
    checked_code_bytes,
    checked_rows,
    least_squares,
    sample,
)
from binrag.binarizers.itq import itq_axes
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.types import Float32, Float64, Progress

MAX_ROWS = 50_000
"""Rows that decoders are fitted to; more are sampled."""

N_TURNED = 10_000
"""Rows, of those, that axes are turned for."""


@dataclass(frozen=True, slots=True)
class SignMap:
    """What a plane takes the signs of: f(v) = v A + c + relu(v U + d) V.

    Attributes
    ----------
    linear : float32 (dim, n_bits)
        A.
    offsets : float32 (n_bits,)
        c.
    inner : float32 (dim, n_hidden)
        U; a batch normalization is folded into it. 0 wide where the map is linear.
    inner_offsets : float32 (n_hidden,)
        d.
    outer : float32 (n_hidden, n_bits)
        V.
    """

    linear: Float32
    offsets: Float32
    inner: Float32
    inner_offsets: Float32
    outer: Float32

    def __call__(self, rows: Float32) -> Float32:
        """Return f of rows, float32 (n, n_bits); a row's values do not depend on its neighbours."""
        from binrag.kernels.project import project

        values = project(rows, self.linear)
        if self.inner.shape[1]:
            hidden = np.maximum(project(rows, self.inner) + self.inner_offsets, np.float32(0))
            values += project(hidden, self.outer)
        return values + self.offsets

    @classmethod
    def affine(cls, linear: Float32, offsets: Float32 | None = None) -> SignMap:
        """Make a map without a hidden layer."""
        dim, n_bits = linear.shape
        zeros = np.zeros(n_bits, np.float32) if offsets is None else offsets
        return cls(linear, zeros, np.zeros((dim, 0), np.float32), zeros[:0], np.zeros((0, n_bits), np.float32))

    def widened(self, n_hidden: int, draw: np.random.Generator) -> SignMap:
        """Return the same map with a hidden layer that adds nothing yet (Xavier-normal inside, zeros outside)."""
        dim, n_bits = self.linear.shape
        inner = (draw.standard_normal((dim, n_hidden)) * np.sqrt(2 / (dim + n_hidden))).astype(np.float32)
        outer, inner_offsets = np.zeros((n_hidden, n_bits), np.float32), np.zeros(n_hidden, np.float32)
        return replace(self, inner=inner, inner_offsets=inner_offsets, outer=outer)

    def to_config(self) -> list[Any]:
        """Return the widths and the arrays, as bytes."""
        arrays = (self.linear, self.offsets, self.inner, self.inner_offsets, self.outer)
        return [list(self.linear.shape), self.inner.shape[1], *map(as_bytes, arrays)]

    @classmethod
    def from_config(cls, config: Sequence[Any]) -> SignMap:
        """Rebuild from `to_config`."""
        (dim, n_bits), n_hidden, *data = config
        shapes: list[tuple[int, ...]] = [(dim, n_bits), (n_bits,), (dim, n_hidden), (n_hidden,), (n_hidden, n_bits)]
        return cls(*(from_bytes(part, shape) for part, shape in zip(data, shapes, strict=True)))


class RecurrentBinarizer(LinearDecoder):
    """Planes of signs, each of what the planes before it leave, with a linear decoder for all of them.

    Nested if plane 0 has 64 ⌊dim / 64⌋ bits: the words hold plane 0, which is scanned by Hamming distance with the
    signs of a map of the query, and the rest holds the other planes. Else compact, and scanned by tables.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    metric : float32 (dim, dim)
        K of `QuerySpace`: the rescale factor is yᵀ K y / yᵀ K ŷ.
    maps : sequence of SignMap
        f_0, f_1, …
    steps : sequence of float32 (n_bits of plane i, dim)
        D_0, D_1, …
    decoder : float32 (n_bits, dim)
        W: a code decodes to Wᵀ b + μ.
    query_map : SignMap
        What the Hamming scan takes the signs of, of q − μ.

    Raises
    ------
    InvalidInput
        If the shapes do not fit each other.
    """

    component_id: ClassVar[str] = "recurrent"

    def __init__(
        self,
        mean: Float32,
        metric: Float32,
        maps: Sequence[SignMap],
        steps: Sequence[Float32],
        decoder: Float32,
        query_map: SignMap,
    ) -> None:
        dim, widths = len(mean), [len(sign_map.offsets) for sign_map in maps]
        shapes = [array.shape for array in (*steps, decoder)]
        expected = [(width, dim) for width in (*widths, sum(widths))]
        if not widths or shapes != expected or len(query_map.offsets) != widths[0]:
            raise InvalidInput(
                f"steps and decoder of shapes {shapes} and a query map of {len(query_map.offsets)} bits do not fit "
                f"planes of {widths} bits, which take {expected} and the first width"
            )
        turned = [sign_map.linear.shape[0] for sign_map in (*maps, query_map)]
        if metric.shape != (dim, dim) or min(widths) < 1 or set(turned) != {dim}:
            raise InvalidInput(f"a metric {metric.shape} and maps of {turned} dimensions do not fit {dim} dimensions")
        nested = widths[0] == scan_bits(dim)
        super().__init__(mean, sum(widths), (widths[0] if nested else sum(widths)) // 64, nested=nested)
        self.metric = metric
        self.maps = tuple(maps)
        self.steps = tuple(steps)
        self.decoder = decoder
        self._columns = np.ascontiguousarray(decoder.T)
        self.query_map = query_map

    @property
    def n_planes(self) -> int:
        """Planes of a code."""
        return len(self.maps)

    def prefix(self, n_planes: int) -> RecurrentBinarizer:
        """Return the binarizer of the first planes: its codes are the first bits of this one's.

        Raises
        ------
        InvalidInput
            If there are not as many planes.
        """
        if not 1 <= n_planes <= self.n_planes:
            raise InvalidInput(f"a prefix of {n_planes} planes was asked for, there are {self.n_planes}")
        maps, steps = self.maps[:n_planes], self.steps[:n_planes]
        decoder = self.decoder if n_planes == self.n_planes else np.concatenate(steps)
        return RecurrentBinarizer(self.mean, self.metric, maps, steps, decoder, self.query_map)

    def bits(self, centred: Float32) -> Bits:
        """Return the bits of x − μ, float32 (n, dim): bool (n, n_bits)."""
        from binrag.kernels.project import project

        left, planes = centred, []
        for sign_map, step in zip(self.maps, self.steps, strict=True):
            planes.append(sign_map(left) >= 0)
            left = left - project(signed(planes[-1]), step)
        return np.hstack(planes)

    def _code(self, centred: Float32) -> tuple[Bits, Float64, Float64]:
        from binrag.kernels.project import project

        bits, weighted = self.bits(centred), project(centred, self.metric)
        decoded = project(signed(bits), self.decoder)
        return bits, row_sums(weighted * centred), row_sums(weighted * decoded)

    def _weights(self, vector: Float32) -> Float32:
        return row_times(vector, self._columns)

    def _signs(self, centred: Float32) -> Bits:
        return self.query_map(centred) >= 0

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the metric, the maps, the steps and the decoder."""
        own = {
            "metric": as_bytes(self.metric),
            "maps": [sign_map.to_config() for sign_map in self.maps],
            "steps": [as_bytes(step) for step in self.steps],
            "decoder": as_bytes(self.decoder),
            "query_map": self.query_map.to_config(),
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim = integer_of(config, "dim")
        maps = [SignMap.from_config(part) for part in config["maps"]]
        steps = [from_bytes(data, (-1, dim)) for data in config["steps"]]
        mean, metric, decoder = (from_bytes(config[name]) for name in ("mean", "metric", "decoder"))
        query_map = SignMap.from_config(config["query_map"])
        return cls(mean, metric.reshape(dim, dim), maps, steps, decoder.reshape(-1, dim), query_map)

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
        n_hidden: int = 0,
    ) -> Self:
        """Fit in closed form, plane by plane: signs along turned principal axes of what is left.

        A plane that is not scanned takes the axes where most is left in query-weighted space. Decoders are fitted by
        least squares. That is what training starts from.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 rows a dimension, and as many as bits; 50,000 of them are used.
        code_bytes : int
            1/16 to 1 byte a dimension, and 2. From a word for every 64 dimensions on the code is nested. The bits that
            are not for the scan are shared by planes of up to a quarter as many bits as dimensions.
        queries : float32 (n_queries, dim), optional
            Queries like those to come; rows stand in.
        seed : int
            Draws the rows, the first rotations and the hidden layers.
        progress : callable, optional
            Called with the planes done and their number.
        n_hidden : int
            Width of a hidden layer in each map, which does nothing until it is trained; 0 for linear maps.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput, DimensionMismatch
            As `fitting.checked_rows`, `checked_code_bytes` and `QuerySpace.fit`.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        widths = plane_widths(8 * checked_code_bytes(code_bytes, dim), dim)
        checked_rows(vectors, sum(widths))
        space = QuerySpace.fit(vectors, queries, seed=seed)
        rows = vectors[sample(len(vectors), MAX_ROWS, seed)] - space.mean
        draw = np.random.Generator(np.random.PCG64(seed))
        left = rows
        maps: list[SignMap] = []
        steps: list[Float32] = []
        planes: list[Float32] = []
        for width in widths:
            turned: Float32 = left[sample(len(left), N_TURNED, seed)]
            if width == scan_bits(dim):
                linear = itq_axes(turned, width, draw)
            else:
                linear = np.matmul(space.root, itq_axes(np.matmul(turned, space.root), width, draw))
            linear = linear / np.maximum((left @ linear).std(axis=0), np.finfo(np.float32).tiny)
            planes.append(signed(left @ linear >= 0))
            maps.append(SignMap.affine(linear).widened(n_hidden, draw))
            steps.append(least_squares(planes[-1], left))
            left = left - planes[-1] @ steps[-1]
            if callable(progress):
                progress(len(maps), len(widths))
        decoder = least_squares(np.hstack(planes), rows)
        return cls(space.mean, space.root @ space.root, maps, steps, decoder, query_map=maps[0])


def scan_bits(dim: int) -> int:
    """Return the bits of a plane that is scanned by Hamming distance."""
    return 64 * (dim // 64)


def plane_widths(n_bits: int, dim: int) -> list[int]:
    """Return the bits of each plane, multiples of 8: one to scan if there is room, the others about alike."""
    scanned = scan_bits(dim)
    first = [scanned] if n_bits >= scanned else []
    n_bytes = (n_bits - sum(first)) // 8
    n_planes = -(-8 * n_bytes // (scanned // 4))
    return first + [8 * (n_bytes // n_planes + (i < n_bytes % n_planes)) for i in range(n_planes)]


register(RecurrentBinarizer)
