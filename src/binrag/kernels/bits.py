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
_LINE = 64


def _popcount(typing_context: Any, word: Any) -> Any:
    """Count the set bits of a uint64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), codegen


popcount: Any = intrinsic(_popcount)
"""``popcount(word: uint64) -> uint64``, inside compiled code only."""


def _prefetch(typing_context: Any, array: Any, group: Any) -> Any:
    """Ask for the memory of one entry of the first axis of a contiguous array, before it is needed."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        found = context.make_array(kind)(context, builder, arguments[0])
        word, number = ir.IntType(64), ir.IntType(32)
        start = builder.ptrtoint(found.data, word)
        n_bytes = cgutils.unpack_tuple(builder, found.strides)[0]  # type: ignore[no-untyped-call]
        start = builder.add(start, builder.mul(arguments[1], n_bytes))
        pointer = ir.IntType(8).as_pointer()
        ask: Any = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer], ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        )
        with cgutils.for_range_slice(builder, ir.Constant(word, 0), n_bytes, ir.Constant(word, _LINE), intp=word) as (
            at,
            _,
        ):
            place = builder.inttoptr(builder.add(start, at), pointer)
            builder.call(ask, [place, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.none(array, types.int64), codegen


prefetch: Any = intrinsic(_prefetch)
"""``prefetch(array, i)``: the processor may read ``array[i]`` ahead; nothing depends on it."""


def _distances(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Emit the distances of a group's rows, two vectors of 8 int64; the intrinsics' fourth argument is not read."""
    word, lanes = ir.IntType(64), ir.VectorType(ir.IntType(64), _VECTOR)

    def data(i: int) -> Any:
        return context.make_array(signature.args[i])(context, builder, arguments[i]).data

    size = signature.args[4].literal_value
    popcounts: Any = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(lanes, [lanes]), f"llvm.ctpop.v{_VECTOR}i64"
    )
    start = builder.gep(data(0), [builder.mul(arguments[1], ir.Constant(word, LANES * size))])
    distances = [ir.Constant(lanes, [0] * _VECTOR) for _ in range(0, LANES, _VECTOR)]
    for w in range(size):
        query_word = _in_all_lanes(builder, builder.load(builder.gep(data(2), [ir.Constant(word, w)])))
        for i in range(len(distances)):
            address = builder.gep(start, [ir.Constant(word, LANES * w + _VECTOR * i)])
            row_words = builder.load(builder.bitcast(address, lanes.as_pointer()))
            row_words.align = 8
            part = builder.call(popcounts, [builder.xor(row_words, query_word)])
            distances[i] = builder.add(distances[i], part)
    return distances


def _in_all_lanes(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(ir.VectorType(ir.IntType(64), _VECTOR), ir.Undefined)
    vector = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    first_lane = ir.Constant(ir.VectorType(ir.IntType(32), _VECTOR), [0] * _VECTOR)
    return builder.shuffle_vector(vector, undefined, first_lane)


def nearer_by_words(words: Any, group: Any, query: Any, limit: Any, n_words: Any, width: Any) -> Any:
    """Return signature and code of the comparison of a group's Hamming distances with a limit, for an intrinsic.

    The mask's bit i says that row i of the group has a distance to the query below the limit. Arrays are contiguous:
    `words` uint64 (n_groups, n_words, 16), `query` uint64 (n_words,). `n_words` is a constant; `width` is not read.
    Words are loaded in the order they have in memory, eight lanes at a time: memory is fastest so.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        limits = _in_all_lanes(builder, arguments[3])
        mask = ir.Constant(word, 0)
        for i, distance in enumerate(_distances(context, builder, signature, arguments)):
            nearer = builder.icmp_unsigned("<", distance, limits)
            bits = builder.zext(builder.bitcast(nearer, ir.IntType(_VECTOR)), word)
            mask = builder.or_(mask, builder.shl(bits, ir.Constant(word, _VECTOR * i)))
        return mask

    return types.uint64(words, types.int64, query, types.uint64, n_words, width), codegen


def fill_by_words(words: Any, group: Any, query: Any, distances: Any, n_words: Any, width: Any) -> Any:
    """Return signature and code that fill in a group's distances, uint16 (16,); all else as in `nearer_by_words`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shorts = ir.VectorType(ir.IntType(16), _VECTOR)
        place = context.make_array(signature.args[3])(context, builder, arguments[3]).data
        for i, distance in enumerate(_distances(context, builder, signature, arguments)):
            address = builder.gep(place, [ir.Constant(ir.IntType(64), _VECTOR * i)])
            address = builder.bitcast(address, shorts.as_pointer())
            builder.store(builder.trunc(distance, shorts), address).align = 2
        return context.get_dummy_value()

    return types.none(words, types.int64, query, distances, n_words, width), codegen


@jit
def count_bits(bitmap: Any, first: int, stop: int) -> Any:
    """Return how many bits are set in the words that cover bits `first` to `stop`; `first` is a multiple of 64.

    bitmap : uint64 (≥ ceil(stop / 64),)
    """
    total = np.int64(0)
    for i in range(first // 64, (stop + 63) // 64):
        total += np.int64(popcount(bitmap[i]))
    return total
