"""The k smallest of small integers in one pass, by counting: no heap, exact ties.

Between the calls these hold:

* ``counts[d]`` is how many rows were admitted at distance d;
* ``threshold`` is the k-th smallest distance admitted, or one more than the largest possible while fewer
  than k rows are in. Rows come in ascending order, so a later row at the threshold loses its tie: only
  distances below it are admitted;
* fewer than 2 k of the admitted rows are at or below the threshold.
"""

from __future__ import annotations

from typing import Any

from binrag.kernels.jit import jit


@jit
def lowered(counts: Any, threshold: int, n_within: int, k: int) -> Any:
    """Return the threshold, and the rows within it, after one more row was counted."""
    while n_within - counts[threshold] >= k:
        n_within -= counts[threshold]
        threshold -= 1
    return threshold, n_within


@jit
def dropped(rows: Any, distances: Any, n: int, threshold: int) -> int:
    """Drop the rows beyond the threshold in place, keeping their order; return how many stay."""
    kept = 0
    for i in range(n):
        if distances[i] <= threshold:
            rows[kept] = rows[i]
            distances[kept] = distances[i]
            kept += 1
    return kept


@jit
def ordered(
    rows: Any, distances: Any, n: int, threshold: int, k: int, counts: Any, out_rows: Any, out_distances: Any
) -> int:
    """Write the best k in the order (distance, row) and return how many there are.

    `rows` ascend; `counts` has one slot more than the threshold needs and is overwritten.
    """
    counts[: threshold + 1] = 0
    for i in range(n):
        if distances[i] <= threshold:
            counts[distances[i]] += 1
    start = 0
    for d in range(threshold + 1):
        at_d = counts[d]
        counts[d] = start
        start += at_d
    for i in range(n):
        d = distances[i]
        if d <= threshold:
            place = counts[d]
            counts[d] += 1
            if place < k:
                out_rows[place] = rows[i]
                out_distances[place] = d
    return min(start, k)
