"""Weighted sums over the bits of chosen rows: a float query against binary codes.

Weights are integers, so a sum is exact and does not depend on the order of its terms.
"""

from __future__ import annotations

from typing import Any

from binrag.kernels.jit import jit


@jit
def fill_byte_tables(weights: Any, tables: Any) -> None:
    """Tabulate the signed sum of eight weights for each value of a byte.

    weights : int32 (8 n_bytes,), zero for padding bits
    tables : int32 (n_bytes, 256); ``tables[p, v] = Σ_j ±weights[8 p + j]``, plus where bit j of v is set
    """
    for p in range(tables.shape[0]):
        total = 0
        for j in range(8):
            total += weights[8 * p + j]
        tables[p, 0] = -total
        for j in range(8):
            for v in range(1 << j):
                tables[p, v + (1 << j)] = tables[p, v] + 2 * weights[8 * p + j]


@jit
def weighted_sums(words: Any, rows: Any, tables: Any, sums: Any) -> None:
    """Sum the tables over the codes of the given rows.

    words : uint64 (n_groups, n_words, 16)
    rows : int64 (n,)
    tables : int32 (8 n_words, 256)
    sums : int64 (n,), filled
    """
    n_words = words.shape[1]
    for i in range(rows.shape[0]):
        group = rows[i] // 16
        lane = rows[i] % 16
        total = 0
        for w in range(n_words):
            word = words[group, w, lane]
            for b in range(8):
                total += tables[8 * w + b, (word >> (8 * b)) & 255]
        sums[i] = total
