"""Search by words: the scores of rows, the best of them, and how the rows of words are checked and merged."""

from __future__ import annotations

from typing import Any

import numpy as np

from binrag.kernels.jit import jit


@jit
def add_scores(starts: Any, stops: Any, weights: Any, rows: Any, counts: Any, kinds: Any, norms: Any, out: Any) -> None:
    """Add weight · count / (norm + count) to the rows of some stretches, one stretch after another.

    Each is rounded to float32 before it is added.

    starts, stops : int64 (n,)
        Stretches of `rows` and `counts`.
    weights : float64 (n,)
        Of each stretch.
    rows : int32 (n_postings,), below ``len(kinds)``
    counts : uint16 (n_postings,)
    kinds : uint32 (n_rows,), below ``len(norms)``
        Which of the norms is that of a row.
    norms : float64 (n_kinds,), ≥ 0
        Few, and so in the processor's cache.
    out : float32 (≥ n_rows,), added to
    """
    for i in range(starts.shape[0]):
        weight = weights[i]
        for j in range(starts[i], stops[i]):
            row, count = np.uint32(rows[j]), np.float64(counts[j])
            out[row] += np.float32(weight * (count / (norms[kinds[row]] + count)))


@jit
def best_rows(scores: Any, allowed: Any, out_rows: Any, out_scores: Any) -> int:
    """Write the allowed rows with the best scores above zero, in no order; return how many there are.

    A heap whose root is the last of the order (score descending, row ascending). Rows come in ascending order, so
    that a later one with the root's score comes after it.

    scores : float32 (n_rows,)
    allowed : uint64 (≥ ceil(n_rows / 64),), bit r % 64 of word r // 64 is row r
    out_rows : int64 (k,), k ≥ 1
    out_scores : float32 (k,)
    """
    k, n = out_rows.shape[0], 0
    least = np.float32(0)
    for first in range(0, scores.shape[0], 64):
        stop, any_above = min(first + 64, scores.shape[0]), False
        for row in range(first, stop):  # no branch: the compiler looks at several at once
            any_above |= scores[row] > least
        if not any_above:
            continue
        for row in range(first, stop):
            score = scores[row]
            if not score > least or (allowed[row >> 6] >> np.uint64(row & 63)) & np.uint64(1) == 0:
                continue
            if n < k:
                place = n
                n += 1
                while place > 0:
                    parent = (place - 1) >> 1
                    if out_scores[parent] < score:
                        break
                    out_scores[place], out_rows[place] = out_scores[parent], out_rows[parent]
                    place = parent
            else:
                place = 0
                while 2 * place + 1 < k:
                    child = 2 * place + 1
                    if child + 1 < k and is_later(out_scores, out_rows, child + 1, child):
                        child += 1
                    if not out_scores[child] < score:
                        break
                    out_scores[place], out_rows[place] = out_scores[child], out_rows[child]
                    place = child
            out_scores[place], out_rows[place] = score, row
            if n == k:
                least = out_scores[0]
    return n


@jit
def is_later(scores: Any, rows: Any, a: int, b: int) -> bool:
    """Say whether place a comes after place b in the order (score descending, row ascending)."""
    return bool(scores[a] < scores[b] or (scores[a] == scores[b] and rows[a] > rows[b]))


@jit
def ascends(text: Any, ends: Any) -> bool:
    """Say whether the words in a text, each up to its end, ascend byte by byte without two that are equal.

    text : uint8 (n_bytes,)
    ends : int64 (n_words,), ascending, the last at most n_bytes
    """
    for i in range(1, ends.shape[0]):
        a, b = (ends[i - 2] if i > 1 else 0), ends[i - 1]
        middle, stop = b, ends[i]
        while a < middle and b < stop and text[a] == text[b]:
            a += 1
            b += 1
        if b == stop or (a < middle and text[a] > text[b]):
            return False
    return True


@jit
def postings_fit(indptr: Any, rows: Any, counts: Any, left: Any) -> bool:
    """Say whether the rows of each stretch ascend and lie in range, and no count is 0; subtract counts from `left`.

    indptr : int64 (n + 1,), ascending, the last at most ``len(rows)``
    rows : int32 (n_postings,)
    counts : uint16 (n_postings,)
    left : int64 (n_rows,)
    """
    for i in range(indptr.shape[0] - 1):
        last = -1
        for j in range(indptr[i], indptr[i + 1]):
            if not last < rows[j] < left.shape[0] or counts[j] == 0:
                return False
            last = rows[j]
            left[last] -= counts[j]
    return True


@jit
def count_kept(indptr: Any, rows: Any, new_rows: Any, places: Any, sizes: Any) -> None:
    """Add to `sizes` how many of the rows of each stretch have a new number.

    indptr : int64 (n + 1,)
    rows : int32 (n_postings,), below ``len(new_rows)``
    new_rows : int64 (n_rows,), −1 for none
    places : int64 (n,)
        Where in `sizes` each stretch counts.
    sizes : int64 (n_words,), added to
    """
    for i in range(places.shape[0]):
        n = 0
        for j in range(indptr[i], indptr[i + 1]):
            if new_rows[rows[j]] >= 0:
                n += 1
        sizes[places[i]] += n


@jit
def move_kept(
    indptr: Any, rows: Any, counts: Any, new_rows: Any, places: Any, cursors: Any, out_rows: Any, out_counts: Any
) -> None:
    """Write the new numbers of the rows of each stretch, those that have one, and their counts.

    indptr, rows, counts, new_rows, places
        As for `count_kept`; counts : uint16 (n_postings,).
    cursors : int64 (n_words,)
        Where the next posting of each word goes; moved on.
    out_rows, out_counts : int32, uint16 (n,)
    """
    for i in range(places.shape[0]):
        at = cursors[places[i]]
        for j in range(indptr[i], indptr[i + 1]):
            row = new_rows[rows[j]]
            if row >= 0:
                out_rows[at], out_counts[at] = row, counts[j]
                at += 1
        cursors[places[i]] = at


@jit
def sort_postings(indptr: Any, rows: Any, counts: Any) -> None:
    """Sort the rows of each stretch, and their counts with them; in place.

    indptr : int64 (n + 1,)
    rows : int32 (n_postings,), ≥ 0
    counts : uint16 (n_postings,)
    """
    for i in range(indptr.shape[0] - 1):
        start, stop = indptr[i], indptr[i + 1]
        ascend = True
        for j in range(start + 1, stop):
            ascend = ascend and rows[j - 1] < rows[j]
        if not ascend:
            keys = rows[start:stop].astype(np.int64) << 16 | counts[start:stop].astype(np.int64)
            keys.sort()
            rows[start:stop] = keys >> 16
            counts[start:stop] = keys & 0xFFFF
