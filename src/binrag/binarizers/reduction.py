"""Fewer dimensions before any bit is set: two linear maps, one for rows and one for queries.

LeanVec's sphering (arXiv 2410.22347): of all maps A, B to d dimensions, the least Σ (⟨Aᵀq, Bᵀy⟩ − ⟨q, y⟩)² over queries
and centred rows is reached by A = K^−½ P and B = K^½ P, K the second moment of the queries and P the first d principal
axes of K^½ y. That is the space of `QuerySpace`, cut off after d axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from binrag.binarizers.codes import as_bytes, check_dim, from_bytes, offset_of
from binrag.binarizers.fitting import QUERY_SHARE, QuerySpace, checked_rows, principal_axes
from binrag.errors import InvalidInput
from binrag.protocols import Binarizer
from binrag.registry import binarizer_from_record, record_of, register
from binrag.types import Codes, Float32, Query


@register
class ReducedBinarizer:
    """Vectors of fewer dimensions, coded by another binarizer; for long vectors.

    ⟨q, x⟩ ≈ ⟨Aᵀq, Bᵀ(x − μ)⟩ + ⟨q, μ⟩.

    Parameters
    ----------
    mean : float32 (dim,)
        μ.
    query_map, row_map : float32 (dim, n_dims)
        A and B.
    inner : Binarizer
        Codes Bᵀ(x − μ).

    Raises
    ------
    InvalidInput
        If the shapes don't fit each other, or the inner binarizer.
    """

    component_id: ClassVar[str] = "reduced"

    def __init__(self, mean: Float32, query_map: Float32, row_map: Float32, inner: Binarizer) -> None:
        shape = (len(mean), inner.dim)
        if query_map.shape != shape or row_map.shape != shape:
            raise InvalidInput(
                f"the maps have shapes {query_map.shape} and {row_map.shape}, expected {shape} twice: to the "
                f"{inner.dim} dimensions of the binarizer {inner.component_id!r}"
            )
        self.mean = mean
        self.query_map = query_map
        self.row_map = row_map
        self.inner = inner
        self.dim = len(mean)
        self.n_bits, self.shape = inner.n_bits, inner.shape
        self.code_bytes = inner.code_bytes

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        inner_fit: Callable[[Float32, Float32 | None], Binarizer],
        n_dims: int,
        queries: Float32 | None = None,
        *,
        alpha: float = QUERY_SHARE,
    ) -> ReducedBinarizer:
        """Fit the maps, then a binarizer to the reduced vectors.

        Parameters
        ----------
        vectors : float32 (n, dim)
            Rows like those to be coded, more than `n_dims` of them.
        inner_fit : callable
            ``inner_fit(rows, queries)`` makes the binarizer of reduced rows, float32 (n, n_dims), for reduced
            queries, float32 (n_queries, n_dims), or None if none were given.
        n_dims : int
            Dimensions to keep, 1 to dim.
        queries : float32 (n_queries, dim), optional
            Queries like those to come; without them all directions count alike, and the axes are the principal
            ones: rows in the place of queries cost more than they bring.
        alpha : float
            How much the directions of queries count, against all directions alike, below 1.

        Raises
        ------
        InvalidInput
            If `n_dims` is out of range.
        TrainingError
            If there are too few rows.
        """
        rows = checked_rows(vectors, n_dims + 1)
        if not 1 <= n_dims <= rows.shape[1]:
            raise InvalidInput(f"n_dims is {n_dims}, vectors of {rows.shape[1]} dimensions reduce to 1 to as many")
        space = QuerySpace.fit(rows, queries, alpha=0.0 if queries is None else alpha)
        axes = principal_axes(space.rows(rows))[1][:, :n_dims]
        query_map, row_map = space.inverse @ axes, space.root @ axes
        reduced_queries = None if queries is None else queries @ query_map
        return cls(space.mean, query_map, row_map, inner_fit((rows - space.mean) @ row_map, reduced_queries))

    def transform(self, vectors: Float32) -> Codes:
        """Code vectors, float32 (n, dim), finite and not zero.

        Raises
        ------
        DimensionMismatch
            If the vectors have another dimension.
        InvalidVector
            What the inner binarizer refuses.
        """
        from binrag.kernels.project import project

        check_dim(vectors.shape[1], self.dim)
        return self.inner.transform(project(vectors - self.mean, self.row_map))

    def query(self, vector: Float32) -> Query:
        """Prepare a query, float32 (dim,), finite and not zero; ``Query.vector`` is the vector as it came.

        Raises
        ------
        DimensionMismatch
            If the vector has another dimension.
        """
        from binrag.kernels.project import project

        check_dim(len(vector), self.dim)
        reduced = self.inner.query(project(vector[None], self.query_map)[0])
        offset = offset_of(vector, self.mean)
        return replace(reduced, vector=vector, offset=reduced.offset + offset)

    def get_config(self) -> dict[str, Any]:
        """Return the mean, the maps and the inner binarizer's record."""
        return {
            "mean": as_bytes(self.mean),
            "query_map": as_bytes(self.query_map),
            "row_map": as_bytes(self.row_map),
            "inner": record_of(self.inner),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ReducedBinarizer:
        """Rebuild from `get_config`."""
        inner = binarizer_from_record(config["inner"])
        mean = from_bytes(config["mean"])
        query_map, row_map = (from_bytes(config[name], (len(mean), inner.dim)) for name in ("query_map", "row_map"))
        return cls(mean, query_map, row_map, inner)
