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
from numba.extending import intrinsic, overload

from binrag.kernels.bits import LANES, any_bit, nearer_by_words, one_distance, popcount
from binrag.kernels.jit import jit
from binrag.kernels.tables import nearer_by_tables, one_sum, vector_bytes
from binrag.kernels.topk import dropped, lowered, ordered

GROUPS = 256
"""Groups of one stretch; a stretch without an allowed row is skipped."""


def _nearer(typing_context: Any, codes: Any, group: Any, query: Any, limit: Any, n_words: Any, width: Any) -> Any:
    """Tell which rows of a group are nearer than the limit, bit by bit; the codes' type chooses how."""
    by = nearer_by_words if codes.dtype == types.uint64 else nearer_by_tables
    return by(codes, group, query, limit, n_words, width)


nearer_rows: Any = intrinsic(prefer_literal=True)(_nearer)


def _distance(codes: Any, group: Any, lane: Any, query: Any) -> Any:
    """Return one row's distance."""
    raise NotImplementedError


@overload(_distance)
def _choose_distance(codes: Any, group: Any, lane: Any, query: Any) -> Any:
    return one_distance if codes.dtype == types.uint64 else one_sum


@cache
def scan_kernel(n_words: int, width: int | None = None) -> Callable[..., int]:
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
        ``scan(codes, n_rows, query, allowed, k, counts, rows, distances, out_rows, out_distances) -> n``:

        codes : uint64 (≥ ceil(n_rows / 16), n_words, 16) or uint8 (≥ ceil(n_rows / 16), 8 n_words, 16)
        query : uint64 (n_words,), or uint8 (2, 8 n_words, 16)
            The distance of a row is the Hamming distance to the words, or Σ_p query[0, p, low half of byte p] +
            query[1, p, high half of byte p]; the two entries of one byte add up to 255 at most, all to 65,535.
        allowed : uint64 (≥ ceil(n_rows / 64),), bit r % 64 of word r // 64 is row r
        k : ≥ 1
        counts : int64 (m + 2,), scratch; m is the largest possible distance, at most 65,534 for tables
        rows, distances : int64 (≥ 4 k,), scratch
        out_rows, out_distances : int64 (≥ k,), filled with the best n ≤ k by (distance, row)
    """
    vector = vector_bytes() if width is None else width

    @jit
    def scan(codes: Any, n_rows: int, query: Any, allowed: Any, k: int, counts: Any, *buffers: Any) -> int:
        rows, distances, out_rows, out_distances = buffers
        counts[:] = 0
        threshold = counts.shape[0] - 1
        n_within = 0
        n = 0
        n_groups = (n_rows + LANES - 1) // LANES
        for first in range(0, n_groups, GROUPS):
            last = min(first + GROUPS, n_groups)
            if not any_bit(allowed, first * LANES, min(last * LANES, n_rows)):
                continue
            group = first
            while group < last:
                nearer = np.uint64(0)
                while group < last:  # writes nothing, so that the query stays in registers
                    nearer = nearer_rows(codes, group, query, np.uint64(threshold), n_words, vector)
                    if nearer != 0:
                        break
                    group += 1
                while nearer != 0:
                    row = group * LANES + np.int64(popcount((nearer & -nearer) - np.uint64(1)))
                    nearer &= nearer - np.uint64(1)
                    if row >= n_rows or (allowed[row >> 6] >> np.uint64(row & 63)) & np.uint64(1) == 0:
                        continue
                    d = _distance(codes, group, row % LANES, query)
                    if d >= threshold:  # it was lowered by another row of the group
                        continue
                    if n == rows.shape[0]:
                        n = dropped(rows, distances, n, threshold)
                    rows[n] = row
                    distances[n] = d
                    n += 1
                    counts[d] += 1
                    threshold, n_within = lowered(counts, threshold, n_within + 1, k)
                group += 1
        return ordered(rows, distances, n, threshold, k, counts, out_rows, out_distances)

    return scan
