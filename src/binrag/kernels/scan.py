"""The scan of grouped codes, by Hamming distance or by tables: one compiled kernel a word count and kind.

``words[group, word, lane]`` interleaves 16 rows, so that the lanes of one word are neighbours in memory and a group
is compared by vector instructions. For tables it is ``codes[group, byte, lane]``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from binrag.kernels.bits import LANES, count_bits, fill_by_words, nearer_by_words, popcount, prefetch
from binrag.kernels.jit import jit
from binrag.kernels.tables import fill_by_tables, nearer_by_tables, vector_bytes
from binrag.kernels.topk import dropped, lowered, ordered

STRETCH = 2**18
"""Bytes of codes, about, that one query after another is compared with, while they are near the processor."""

SPARSE = 32
"""In a stretch of which fewer than one row in so many is allowed, groups without an allowed row are passed over."""


def _nearer(typing_context: Any, codes: Any, group: Any, query: Any, limit: Any, n_words: Any, width: Any) -> Any:
    """Tell which rows of a group are nearer than the limit, bit by bit; the codes' type chooses how."""
    by = nearer_by_words if codes.dtype == types.uint64 else nearer_by_tables
    return by(codes, group, query, limit, n_words, width)


nearer_rows: Any = intrinsic(prefer_literal=True)(_nearer)


def _fill(typing_context: Any, codes: Any, group: Any, query: Any, distances: Any, n_words: Any, width: Any) -> Any:
    """Fill in the distances of a group's rows, uint16 (16,); the codes' type chooses how."""
    by = fill_by_words if codes.dtype == types.uint64 else fill_by_tables
    return by(codes, group, query, distances, n_words, width)


fill_distances: Any = intrinsic(prefer_literal=True)(_fill)


@jit
def passed_over(allowed: Any, group: int) -> int:
    """Return a group if it has an allowed row, else a later one; none between them has."""
    bits = allowed[group >> 2] >> np.uint64((group & 3) * LANES)
    if bits == 0:
        return (group | 3) + 1
    return group + 1 if bits & np.uint64(0xFFFF) == 0 else group


@jit
def ask_for(codes: Any, start: int, last: int, allowed: Any) -> None:
    """Prefetch the groups that have an allowed row; they are far between, where memory is not read ahead by itself."""
    group = start
    while group < last:
        found = passed_over(allowed, group)
        if found == group:
            prefetch(codes, group)
            found += 1
        group = found


@jit
def admitted(
    group: int,
    stop: int,
    of_lanes: Any,
    allowed: Any,
    k: int,
    nearer: Any,
    threshold: int,
    n_within: int,
    n: int,
    counts: Any,
    rows: Any,
    distances: Any,
) -> Any:
    """Admit a group's nearer, allowed rows to those of a query; return the threshold, the rows within it, and all."""
    while nearer != 0:
        row = group * LANES + np.int64(popcount((nearer & -nearer) - np.uint64(1)))
        nearer &= nearer - np.uint64(1)
        if row >= stop or (allowed[row >> 6] >> np.uint64(row & 63)) & np.uint64(1) == 0:
            continue
        d = np.int64(of_lanes[row % LANES])
        if d >= threshold:  # it was lowered by another row of the group
            continue
        if n == rows.shape[0]:
            n = dropped(rows, distances, n, threshold)
        rows[n] = row
        distances[n] = d
        n += 1
        counts[d] += 1
        threshold, n_within = lowered(counts, threshold, n_within + 1, k)
    return threshold, n_within, n


@cache
def scan_kernel(n_words: int, width: int | None = None) -> Callable[..., None]:
    """Return the scan for codes of `n_words` words.

    Parameters
    ----------
    n_words : int
        Words of a code that are scanned.
    width : int, optional
        Bytes of the vectors that tables are looked up with, 0 for a loop; the widest this processor has by default.

    Returns
    -------
    callable
        ``scan(codes, first, stop, queries, allowed, k, counts, rows, distances, out_rows, out_distances, found)``, for
        the rows from `first`, a multiple of 64, up to `stop`:

        codes : uint64 (≥ ceil(stop / 16), n_words, 16) or uint8 (≥ ceil(stop / 16), 8 n_words, 16)
        queries : uint64 (n_queries, n_words), or uint8 (n_queries, 2, 8 n_words, 16)
            The distance of a row is the Hamming distance to a query's words, or Σ_p queries[i, 0, p, low half of byte
            p] + queries[i, 1, p, high half of byte p]; the two entries of one byte add up to 255 at most, all to
            65,535.
        allowed : uint64 (≥ ceil(stop / 64),), bit r % 64 of word r // 64 is row r
        k : ≥ 1
        counts : int64 (n_queries, m + 2), scratch; m is the largest possible distance, at most 65,534 for tables
        rows, distances : int64 (n_queries, ≥ 4 k), scratch
        out_rows, out_distances : int64 (n_queries, ≥ k), filled with each query's best by (distance, row)
        found : int64 (n_queries,), filled with how many these are, ≤ k
    """
    vector = vector_bytes() if width is None else width
    n_groups = max(1, STRETCH // (8 * LANES * LANES * n_words)) * LANES

    @jit
    def scan(codes: Any, first: int, stop: int, queries: Any, allowed: Any, k: int, counts: Any, *buffers: Any) -> None:
        rows, distances, out_rows, out_distances, found = buffers
        n_queries = queries.shape[0]
        counts[:] = 0
        thresholds = np.full(n_queries, counts.shape[1] - 1)
        within, held = np.zeros(n_queries, np.int64), np.zeros(n_queries, np.int64)
        of_lanes = np.empty(LANES, np.uint16)
        stop_group = (stop + LANES - 1) // LANES
        for start in range(first // LANES, stop_group, n_groups):
            last = min(start + n_groups, stop_group)
            n_allowed = count_bits(allowed, start * LANES, min(last * LANES, stop))
            if n_allowed == 0:
                continue
            is_sparse = SPARSE * n_allowed < LANES * (last - start)
            if is_sparse:
                ask_for(codes, start, last, allowed)
            for i in range(n_queries):
                query, own = queries[i], (counts[i], rows[i], distances[i])
                threshold, n_within, n = thresholds[i], within[i], held[i]
                group = start
                while group < last:
                    nearer = np.uint64(0)
                    while group < last:  # writes nothing, so that the query stays in registers
                        if is_sparse:
                            later = passed_over(allowed, group)
                            if later != group:
                                group = later
                                continue
                        nearer = nearer_rows(codes, group, query, np.uint64(threshold), n_words, vector)
                        if nearer != 0:
                            break
                        group += 1
                    if nearer != 0:
                        fill_distances(codes, group, query, of_lanes, n_words, vector)
                        threshold, n_within, n = admitted(
                            group, stop, of_lanes, allowed, k, nearer, threshold, n_within, n, *own
                        )
                    group += 1
                thresholds[i], within[i], held[i] = threshold, n_within, n
        for i in range(n_queries):
            found[i] = ordered(
                rows[i], distances[i], held[i], thresholds[i], k, counts[i], out_rows[i], out_distances[i]
            )

    return scan
