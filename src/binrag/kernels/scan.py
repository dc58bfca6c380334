"""The scan over grouped words, by Hamming or weighted distance: one compiled kernel a word and plane count.

``words[group, word, lane]`` interleaves 16 rows, so that the lanes of one word are neighbours in memory and a group
is compared by vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from binrag.kernels.bits import LANES, any_bit, distance_of, lanes_nearer, popcount
from binrag.kernels.jit import jit
from binrag.kernels.topk import dropped, lowered, ordered

GROUPS = 256
"""Groups of one stretch; a stretch without an allowed row is skipped."""


@cache
def scan_kernel(n_words: int, n_planes: int = 0) -> Callable[..., int]:
    """Return the scan for codes of `n_words` words and queries of `n_planes` planes; 0: one plane, plain Hamming.

    The kernel is ``scan(words, n_rows, planes, scales, allowed, k, counts, rows, distances, out_rows,
    out_distances) -> n``:

    words : uint64 (≥ ceil(n_rows / 16), n_words, 16)
    planes : uint64 (max(n_planes, 1), n_words)
    scales : int64 (n_words,), 0 or more; not read for plain Hamming. The distance of a row is
        Σ_w scales[w] Σ_i 2^i popcount(word_w ^ planes[i, w])
    allowed : uint64 (≥ ceil(n_rows / 64),), bit r % 64 of word r // 64 is row r
    k : ≥ 1
    counts : int64 (m + 2,), scratch; m is the largest possible distance
    rows, distances : int64 (≥ 4 k,), scratch
    out_rows, out_distances : int64 (≥ k,), filled with the best n ≤ k by (distance, row)
    """

    @jit
    def scan(
        words: Any, n_rows: int, planes: Any, scales: Any, allowed: Any, k: int, counts: Any, *buffers: Any
    ) -> int:
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
                    nearer = lanes_nearer(words, group, planes, scales, np.uint64(threshold), n_words, n_planes)
                    if nearer != 0:
                        break
                    group += 1
                while nearer != 0:
                    row = group * LANES + np.int64(popcount((nearer & -nearer) - np.uint64(1)))
                    nearer &= nearer - np.uint64(1)
                    if row >= n_rows or (allowed[row >> 6] >> np.uint64(row & 63)) & np.uint64(1) == 0:
                        continue
                    d = distance_of(words, group, row % LANES, planes, scales, n_planes)
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
