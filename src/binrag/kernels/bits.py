"""Bits of 64-bit words: popcounts through LLVM's ``ctpop``, and bitmaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from binrag.kernels.jit import jit

LANES = 16
"""Rows of one group."""

_VECTOR = 8


def _popcount(typing_context: Any, word: Any) -> Any:
    """Count the set bits of a uint64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen


popcount: Any = intrinsic(_popcount)
"""``popcount(word: uint64) -> uint64``, inside compiled code only."""


def _lanes_nearer(
    typing_context: Any, words: Any, group: Any, planes: Any, scales: Any, limit: Any, n_words: Any, n_planes: Any
) -> Any:
    """Compare a group's distances with a limit, in vector instructions of our own.

    Words are loaded in the order they have in memory, eight lanes at a time: memory is fastest so.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, lanes = ir.IntType(64), ir.VectorType(ir.IntType(64), _VECTOR)
        first_lane = ir.Constant(ir.VectorType(ir.IntType(32), _VECTOR), [0] * _VECTOR)
        undefined = ir.Constant(lanes, ir.Undefined)

        def in_all_lanes(value: Any) -> Any:
            vector = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(vector, undefined, first_lane)

        def data(i: int) -> Any:
            return context.make_array(signature.args[i])(context, builder, arguments[i]).data

        def item(i: int, index: int) -> Any:
            return builder.load(builder.gep(data(i), [ir.Constant(word, index)]))

        def times(value: Any, factor: int) -> Any:
            return builder.mul(value, ir.Constant(lanes, [factor] * _VECTOR))

        n_words, n_planes = (signature.args[i].literal_value for i in (5, 6))
        popcounts: Any = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(lanes, [lanes]), f"llvm.ctpop.v{_VECTOR}i64"
        )
        start = builder.gep(data(0), [builder.mul(arguments[1], ir.Constant(word, LANES * n_words))])
        distances = [ir.Constant(lanes, [0] * _VECTOR) for _ in range(0, LANES, _VECTOR)]
        for w in range(n_words):
            query_words = [in_all_lanes(item(2, n_words * i + w)) for i in range(max(n_planes, 1))]
            scale = in_all_lanes(builder.and_(item(3, w), ir.Constant(word, 0xFFFF))) if n_planes else None
            for i in range(len(distances)):
                address = builder.gep(start, [ir.Constant(word, LANES * w + _VECTOR * i)])
                row_words = builder.load(builder.bitcast(address, lanes.as_pointer()))
                row_words.align = 8
                part = ir.Constant(lanes, [0] * _VECTOR)
                for query_word in reversed(query_words):
                    part = builder.add(times(part, 2), builder.call(popcounts, [builder.xor(row_words, query_word)]))
                if scale is not None:
                    part = builder.mul(part, scale)
                distances[i] = builder.add(distances[i], part)
        mask = ir.Constant(word, 0)
        for i, distance in enumerate(distances):
            nearer = builder.icmp_unsigned("<", distance, in_all_lanes(arguments[4]))
            bits = builder.zext(builder.bitcast(nearer, ir.IntType(_VECTOR)), word)
            mask = builder.or_(mask, builder.shl(bits, ir.Constant(word, _VECTOR * i)))
        return mask

    return types.uint64(words, types.int64, planes, scales, types.uint64, n_words, n_planes), codegen


lanes_nearer: Any = intrinsic(prefer_literal=True)(_lanes_nearer)
"""``lanes_nearer(words, group, planes, scales, limit, n_words, n_planes) -> uint64``: bit i says that row i of the
group is nearer than the limit. Arrays are contiguous: `words` uint64 (n_groups, n_words, 16), `planes` uint64
(≥ 1, n_words), `scales` int64 (n_words,), each 0 to 65,535. `n_words` and `n_planes` are constants; 0 planes: the
distance is the Hamming distance to the first, and scales are not read."""


@jit
def distance_of(words: Any, group: Any, lane: Any, planes: Any, scales: Any, n_planes: int) -> Any:
    """Return one row's distance, as `lanes_nearer` has it."""
    total = np.int64(0)
    for w in range(words.shape[1]):
        word = words[group, w, lane]
        if n_planes == 0:
            total += np.int64(popcount(word ^ planes[0, w]))
        for i in range(n_planes):
            total += (np.int64(popcount(word ^ planes[i, w])) << i) * scales[w]
    return total


@jit
def any_bit(bitmap: Any, first: int, stop: int) -> bool:
    """Return whether any word that covers bits `first` to `stop` is not zero; `first` is a multiple of 64.

    bitmap : uint64 (≥ ceil(stop / 64),)
    """
    for i in range(first // 64, (stop + 63) // 64):  # noqa: SIM110
        if bitmap[i] != 0:
            return True
    return False
