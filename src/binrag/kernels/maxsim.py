"""MaxSim of a float query's tokens with the codes of documents' tokens, by tables of half bytes.

A table holds what the value of half a byte adds for each of 32 query tokens, side by side, so that one vector addition
serves all of them. Entries are 16-bit integers whose sums fit 16 bits: exact, whatever their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from binrag.kernels.jit import jit

QUERY_TOKENS = 32
"""Query tokens that are summed for at once."""


def _fill_sums(typing_context: Any, codes: Any, token: Any, tables: Any, sums: Any) -> Any:
    """Fill in one code's sums, int16 (32,), over its half bytes; arrays are contiguous."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, vector = ir.IntType(64), ir.VectorType(ir.IntType(16), QUERY_TOKENS)
        arrays = [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 3)]
        n_bytes = cgutils.unpack_tuple(builder, arrays[0].shape)[1]  # type: ignore[no-untyped-call]
        start = builder.gep(arrays[0].data, [builder.mul(arguments[1], n_bytes)])

        def entries(half: Any, value: Any) -> Any:
            place = builder.mul(builder.add(builder.mul(half, ir.Constant(word, 16)), value), ir.Constant(word, 32))
            found = builder.load(builder.bitcast(builder.gep(arrays[1].data, [place]), vector.as_pointer()))
            found.align = 2
            return found

        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0] * QUERY_TOKENS))  # type: ignore[no-untyped-call]
        with cgutils.for_range(builder, n_bytes, intp=word) as loop:
            value = builder.zext(builder.load(builder.gep(start, [loop.index])), word)
            half = builder.shl(loop.index, ir.Constant(word, 1))
            low = entries(half, builder.and_(value, ir.Constant(word, 15)))
            high = entries(builder.add(half, ir.Constant(word, 1)), builder.lshr(value, ir.Constant(word, 4)))
            builder.store(builder.add(builder.load(total), builder.add(low, high)), total)
        builder.store(builder.load(total), builder.bitcast(arrays[2].data, vector.as_pointer())).align = 2
        return context.get_dummy_value()

    return types.none(codes, types.int64, tables, sums), codegen


fill_sums: Any = intrinsic(_fill_sums)


@jit
def add_maxsim(codes: Any, factors: Any, offsets: Any, tables: Any, n_tokens: int, step: float, scores: Any) -> None:
    """Add, for up to 32 query tokens, what each is most like among a document's tokens; −∞ if that has none.

    codes : uint8 (n_codes, n_bytes), contiguous
    factors : float32 (n_codes,), rescale factors
    offsets : int64 (n + 1,); tokens of document i are codes offsets[i] up to offsets[i + 1]
    tables : int16 (n_bytes, 2, 16, 32), contiguous: what each value of the low half of byte p, then of the high half,
        adds for each query token; no code's sum exceeds 16 bits
    n_tokens : query tokens, ≥ 1; what tables hold for more is not read
    step : > 0, the size of one unit of the tables
    scores : float64 (n,), added to
    """
    best, sums = np.empty(QUERY_TOKENS, np.float32), np.empty(QUERY_TOKENS, np.int16)
    for i in range(scores.shape[0]):
        best[:] = -np.inf
        for token in range(offsets[i], offsets[i + 1]):
            fill_sums(codes, token, tables, sums)
            factor = factors[token]
            for j in range(QUERY_TOKENS):
                product = factor * np.float32(sums[j])
                best[j] = product if product > best[j] else best[j]
        total = 0.0
        for j in range(n_tokens):
            total += best[j]
        scores[i] += total * step
