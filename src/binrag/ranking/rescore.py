"""Finer scores for candidates: the float query against their codes, then against their kept vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from binrag.types import GROUP, Candidates, Float16, Float32, Int64, Query, UInt8

_LEVELS = 32767


def integer_tables(tables: Float32) -> tuple[npt.NDArray[np.int16], float]:
    """Round tables to 16 bits, so that sums over a code's bytes are exact whatever their order.

    Parameters
    ----------
    tables : float32 (n_bytes, 256)
        A query's.

    Returns
    -------
    integers : int16 (n_bytes, 256)
        ``rint(tables / step)``.
    step : float
        The size of one level, the same for all tables: the largest magnitude over 32,767 (1 if all are zero).
    """
    step = float(np.abs(tables).max()) / _LEVELS or 1.0
    return np.rint(tables.astype(np.float64) / step).astype(np.int16), step


def rescore_codes(codes: UInt8, rest: UInt8, rescale: Float16, query: Query, rows: Int64) -> Candidates:
    """Score rows by the float query over their codes: f · Σ_p tables[p, byte_p] + ⟨q, μ⟩.

    Parameters
    ----------
    codes : uint8 (n_groups, n_words, 8, 16)
        Bytes of the words: byte 8 w + b of row r at ``[r // 16, w, b, r % 16]``.
    rest : uint8 (capacity, n_rest)
        Further bytes of the codes, by row.
    rescale : float16 (capacity,)
        Rescale factors f, by row; not read where the query has factors, in which the words' last byte is a place.
    query : Query
        Its tables are rounded to 16 bits (`integer_tables`).
    rows : int64 (n,)
        The rows to score.

    Returns
    -------
    Candidates
        All n rows, best first.
    """
    from binrag.kernels.weighted import table_sums

    integers, step = integer_tables(query.tables)
    sums = np.empty(len(rows), dtype=np.int64)
    table_sums(codes, rest, rows, integers, sums)
    factors = factors_of(codes, rescale, query, rows)
    scores = factors.astype(np.float64) * (sums * step) + query.offset
    return Candidates.ordered(rows, scores)


def factors_of(codes: UInt8, rescale: Float16, query: Query, rows: Int64) -> npt.NDArray[np.floating]:
    """Return the rescale factors of rows, float (n,); the parameters are those of `rescore_codes`."""
    if query.factors is None:
        return rescale[rows]
    return np.asarray(query.factors[codes[rows // GROUP, -1, -1, rows % GROUP]])


def rescore_vectors(vectors: Float32, query: Query, rows: Int64) -> Candidates:
    """Score rows by their kept vectors: the inner product with the query.

    Parameters
    ----------
    vectors : float32 (n, dim)
        The rows' vectors.
    query : Query
        Its `vector` is used.
    rows : int64 (n,)
        The rows.

    Returns
    -------
    Candidates
        All n rows, best first. Each score is summed over its own row in float64, so it does not depend on
        what else is scored.
    """
    scores = (vectors.astype(np.float64) * query.vector.astype(np.float64)).sum(axis=1)
    return Candidates.ordered(rows, scores)
