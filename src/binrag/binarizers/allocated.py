"""Principal axes with as many bits each as their variance earns, in uniform odd levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from binrag.binarizers.codes import as_bytes, from_bytes, integer_of
from binrag.binarizers.decoder import row_times
from binrag.binarizers.fitting import (
    QuerySpace,
    checked_code_bytes,
    checked_rows,
    principal_axes,
)
from binrag.binarizers.levels import LevelDecoder
from binrag.registry import register
from binrag.scalars import STEPS, allocated_bits
from binrag.types import Float32, Int64, Progress


class AllocatedBinarizer(LevelDecoder):
    """Bits dealt out to the principal axes of query-weighted space: the next bit where the largest variance is left.

    A bit divides the variance that is left by four (SQUASH, arXiv 2502.01528). The bits are in the order of their
    weights, heaviest first, and scanned by tables.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    forward : float32 (dim, dim)
        K^½ V: to the coordinates y of the principal axes V.
    backward : float32 (dim, n_coded)
        K^−½ V, for queries, of the axes that have bits.
    steps : float32 (n_coded,)
        Distance of neighbouring levels.
    owners, shifts : int64 (n_bits,)
        Bit j of a row is bit ``shifts[j]`` of the code of axis ``owners[j]``.
    """

    component_id: ClassVar[str] = "allocated"

    def __init__(
        self, mean: Float32, forward: Float32, backward: Float32, steps: Float32, owners: Int64, shifts: Int64
    ) -> None:
        super().__init__(mean, steps, owners, shifts, len(owners) // 64, nested=False)
        self.forward = forward
        self.backward = backward

    def _coordinates(self, centred: Float32) -> Float32:
        from binrag.kernels.project import project

        return project(centred, self.forward)

    def _query_coordinates(self, vector: Float32) -> Float32:
        return row_times(vector, self.backward)

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the space with its axes, the steps and the places of the bits."""
        floats = {name: as_bytes(getattr(self, name)) for name in ("forward", "backward", "steps")}
        places = {"owners": as_bytes(self.owners, "<u2"), "shifts": as_bytes(self.shifts, "<u1")}
        return {**super().get_config(), **floats, **places}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim, n_bits = integer_of(config, "dim"), integer_of(config, "n_bits")
        mean, forward = from_bytes(config["mean"], dim), from_bytes(config["forward"], (dim, dim))
        steps = from_bytes(config["steps"])
        owners = from_bytes(config["owners"], n_bits, "<u2").astype(np.int64)
        shifts = from_bytes(config["shifts"], n_bits, "<u1").astype(np.int64)
        return cls(mean, forward, from_bytes(config["backward"], (dim, len(steps))), steps, owners, shifts)

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
        """Find the axes and deal out the bits.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 dim rows.
        code_bytes : int
            1/16 to 1 byte a dimension, and 2.
        queries : float32 (n_queries, dim), optional
            Queries like those to come; rows stand in.
        seed : int
            Chooses the rows that stand in.
        progress
            Not needed: this is in closed form.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput, DimensionMismatch
            As `fitting.checked_rows`, `checked_code_bytes` and `QuerySpace.fit`.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        n_bits = 8 * checked_code_bytes(code_bytes, dim)
        space = QuerySpace.fit(vectors, queries, seed=seed)
        variances, axes = principal_axes(space.rows(vectors))
        widths = allocated_bits(variances, n_bits)
        widths = widths[widths > 0]  # variances descend, so the axes with bits are the first
        steps = np.sqrt(variances[: len(widths)]) * np.array(STEPS)[widths - 1]
        owners = np.repeat(np.arange(len(widths)), widths)
        shifts = np.concatenate([np.arange(width) for width in widths])
        order = np.argsort(-steps[owners] * 2.0**shifts, kind="stable")
        backward = (space.inverse @ axes)[:, : len(widths)]
        places = (owners[order], shifts[order])
        return cls(space.mean, space.root @ axes, backward, steps.astype(np.float32), *places)


register(AllocatedBinarizer)
