"""A code's curve, recall against bytes a row, and whether another code lies above it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.metrics import interval, resampled_means
from binrag.types import Float64


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one code at one size kept of one set's rankings; the mean over seeds where it has several.

    Attributes
    ----------
    data : str
        Name of the set.
    fitted_on : str
        Name of the set whose rows it was fitted to, or ``"own"``.
    is_ours : bool
        Whether it is binrag's.
    family, name : str
        Which code; a family's sizes are the points of one curve.
    variant : str
        Space and rescaling of a peer; of binrag's, ``"nested"`` or ``"compact"``.
    seeds : int
        Runs averaged.
    row_bytes : float
        Bytes a row in memory, everything counted but the model.
    model_bytes : int
        Bytes of the model.
    n_rows : int
        Rows of the set.
    fit_seconds, rows_a_second : float
        Time to fit; rows coded in a second by one thread.
    recall_10, recall_100 : float64 (n_queries,)
        Share of float32's exact top 10 (100) in the top 10 (100) by the float query over all codes.
    ndcg_10 : float64 (n_queries,)
        nDCG@10 of the same ranking.
    float_ndcg_10 : float64 (n_queries,)
        nDCG@10 of float32's.
    two_stage_10 : float64 (n_queries,) or None
        As `recall_10`, by scan and rescoring.
    plane_100 : float64 (n_queries,) or None
        Share of the exact top 10 in the top 100 by the scan alone.
    """

    data: str
    fitted_on: str
    is_ours: bool
    family: str
    name: str
    variant: str
    seeds: int
    row_bytes: float
    model_bytes: int
    n_rows: int
    fit_seconds: float
    rows_a_second: float
    recall_10: Float64
    recall_100: Float64
    ndcg_10: Float64
    float_ndcg_10: Float64
    two_stage_10: Float64 | None = None
    plane_100: Float64 | None = None

    @property
    def curve(self) -> tuple[str, str]:
        """Family and variant: what the curve is of."""
        return self.family, self.variant


Point = tuple[float, Float64]
"""Bytes a row, and a measure of each query."""


def frontier(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other one of at most their bytes equals or beats in the mean, fewest bytes first."""
    best: list[Point] = []
    for n_bytes, values in sorted(points, key=lambda point: (point[0], -point[1].mean())):
        if not best or values.mean() > best[-1][1].mean():
            best.append((n_bytes, values))
    return best


def interpolated(points: Sequence[Point], n_bytes: float) -> Float64 | None:
    """Return a curve's measure of each query at a number of bytes, float64 (n_queries,).

    The curve runs through the points of the frontier, straight over the logarithm of bytes. Past its last point it
    stays: a code that needs fewer bytes fits in more. Before its first there is none, hence None.
    """
    best = frontier(points)
    if not best or n_bytes < best[0][0]:
        return None
    after = next((i for i, point in enumerate(best) if point[0] >= n_bytes), len(best) - 1)
    right_bytes, right = best[after]
    if right_bytes <= n_bytes or after == 0:
        return right
    left_bytes, left = best[after - 1]
    share = np.log(n_bytes / left_bytes) / np.log(right_bytes / left_bytes)
    between: Float64 = (1 - share) * left + share * right
    return between


@dataclass(frozen=True, slots=True)
class Lead:
    """How far a code lies above another one's curve at its own bytes.

    Attributes
    ----------
    family, variant : str
        Whose curve.
    value : float
        Its mean recall@10 at our bytes.
    difference : float
        Ours minus that.
    interval : (float, float)
        Its 95 % paired bootstrap interval over the queries.
    """

    family: str
    variant: str
    value: float
    difference: float
    interval: tuple[float, float]

    @property
    def is_ahead(self) -> bool:
        """Whether the lower end of the interval is above zero."""
        return self.interval[0] > 0


def leads(ours: Measured, others: Iterable[Measured]) -> list[Lead]:
    """Compare a code with all curves of a set, strongest first.

    Parameters
    ----------
    ours : Measured
        The code.
    others : iterable of Measured
        Peers on the same set, fitted on the same one; curves that begin above our bytes are left out.
    """
    curves: dict[tuple[str, str], list[Point]] = {}
    for other in others:
        if (other.data, other.fitted_on) == (ours.data, ours.fitted_on):
            curves.setdefault(other.curve, []).append((other.row_bytes, other.recall_10))
    found = []
    for (family, variant), points in curves.items():
        theirs = interpolated(points, ours.row_bytes)
        if theirs is not None:
            difference = ours.recall_10 - theirs
            bounds = interval(resampled_means(difference))
            found.append(Lead(family, variant, float(theirs.mean()), float(difference.mean()), bounds))
    return sorted(found, key=lambda lead: lead.difference)
