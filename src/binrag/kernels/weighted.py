"""Sums over the bytes of chosen rows' codes: a float query against binary codes.

Table entries are integers, so a sum is exact and does not depend on the order of its terms.
"""

from __future__ import annotations

from typing import Any

from binrag.kernels.jit import jit


@jit
def table_sums(codes: Any, rest: Any, rows: Any, tables: Any, sums: Any) -> None:
    """Sum the tables' entries for the bytes of the given rows' codes.

    codes : uint8 (n_groups, n_words, 8, 16), of any strides
    rest : uint8 (≥ n_rows, n_rest)
    rows : int64 (n,)
    tables : int16 (8 n_words + n_rest, 256); entry v of table p is for value v of byte p: those of the words, lowest
        first, then the rest
    sums : int64 (n,), filled
    """
    n_words, n_rest = codes.shape[1], rest.shape[1]
    for i in range(rows.shape[0]):
        row = rows[i]
        total = 0
        for w in range(n_words):
            for b in range(8):
                total += tables[8 * w + b, codes[row // 16, w, b, row % 16]]
        for p in range(n_rest):
            total += tables[8 * n_words + p, rest[row, p]]
        sums[i] = total
