"""The Hamming scan over grouped words, one compiled kernel a word count.

``words[group, word, lane]`` interleaves 16 rows, so that the lanes of one word are neighbours in memory. The
loop over words is unrolled, the loop over lanes becomes vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from binrag.kernels.bits import popcount
from binrag.kernels.jit import jit
from binrag.kernels.topk import dropped, lowered, ordered

LANES = 16
GROUPS = 256
"""Groups of one stretch; a stretch without an allowed row is skipped."""


@cache
def scan_kernel(n_words: int) -> Callable[..., int]:
    """Return the scan for codes of `n_words` words.

    The kernel is ``scan(words, n_rows, query, allowed, k, counts, rows, distances, out_rows,
    out_distances) -> n``:

    words : uint64 (≥ ceil(n_rows / 16), n_words, 16)
    query : uint64 (n_words,)
    allowed : uint64 (≥ ceil(n_rows / 64),), bit r % 64 of word r // 64 is row r
    k : ≥ 1
    counts : int64 (64 n_words + 2,), scratch
    rows, distances : int64 (≥ 4 k,), scratch
    out_rows, out_distances : int64 (≥ k,), filled with the best n ≤ k by (distance, row)
    """

    @jit
    def scan(
        words: Any,
        n_rows: int,
        query: Any,
        allowed: Any,
        k: int,
        counts: Any,
        rows: Any,
        distances: Any,
        out_rows: Any,
        out_distances: Any,
    ) -> int:
        counts[:] = 0
        lanes = np.empty(LANES, dtype=np.int64)
        threshold = 64 * n_words + 1
        n_within = 0
        n = 0
        n_groups = (n_rows + LANES - 1) // LANES
        n_allowed_words = (n_rows + 63) // 64
        for first in range(0, n_groups, GROUPS):
            last = min(first + GROUPS, n_groups)
            any_allowed = np.uint64(0)
            for i in range(first // 4, min((last + 3) // 4, n_allowed_words)):
                any_allowed |= allowed[i]
            if any_allowed == 0:
                continue
            for group in range(first, last):
                nearest = np.uint64(64 * n_words)
                for lane in range(LANES):
                    distance = np.uint64(0)
                    for w in range(n_words):
                        distance += popcount(words[group, w, lane] ^ query[w])
                    nearest = min(nearest, distance)
                if np.int64(nearest) >= threshold:
                    continue
                for lane in range(LANES):
                    distance = np.uint64(0)
                    for w in range(n_words):
                        distance += popcount(words[group, w, lane] ^ query[w])
                    lanes[lane] = np.int64(distance)
                for lane in range(min(LANES, n_rows - group * LANES)):
                    d = lanes[lane]
                    row = group * LANES + lane
                    if d >= threshold or (allowed[row >> 6] >> np.uint64(row & 63)) & np.uint64(1) == 0:
                        continue
                    if n == rows.shape[0]:
                        n = dropped(rows, distances, n, threshold)
                    rows[n] = row
                    distances[n] = d
                    n += 1
                    counts[d] += 1
                    n_within += 1
                    threshold, n_within = lowered(counts, threshold, n_within, k)
        return ordered(rows, distances, n, threshold, k, counts, out_rows, out_distances)

    return scan
