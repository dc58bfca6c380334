"""Scores by words: sums over the rows of each word, and the best of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from binrag.kernels.jit import jit


@jit
def add_scores(starts: Any, stops: Any, rows: Any, scores: Any, out: Any) -> None:
    """Add the scores of some stretches to those of their rows, one stretch after another.

    starts, stops : int64 (n,)
        Stretches of `rows` and `scores`.
    rows : int32 (n_postings,), below ``len(out)``
    scores : float32 (n_postings,)
    out : float32 (n_rows,), added to
    """
    for i in range(starts.shape[0]):
        for j in range(starts[i], stops[i]):
            out[rows[j]] += scores[j]


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
    for row in range(scores.shape[0]):
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
def postings_fit(indptr: Any, rows: Any, n_rows: int) -> bool:
    """Say whether the rows of each stretch ascend, and lie in range.

    indptr : int64 (n + 1,), ascending, the last at most ``len(rows)``
    """
    for i in range(indptr.shape[0] - 1):
        last = -1
        for j in range(indptr[i], indptr[i + 1]):
            if not last < rows[j] < n_rows:
                return False
            last = rows[j]
    return True
