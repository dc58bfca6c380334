"""The comparison of a group's codes by tables: every half byte of a row costs what a table of 16 entries says.

``codes[group, byte, lane]`` holds byte p of 16 rows side by side, so one instruction that permutes bytes looks 16 rows
up at once (André, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015). A processor without such an
instruction gets the same sums from a loop.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import register_jitable

LANES = 16

PERMUTES = {
    64: ("avx512bw", "llvm.x86.avx512.pshuf.b.512"),
    32: ("avx2", "llvm.x86.avx2.pshuf.b"),
    16: ("ssse3", "llvm.x86.ssse3.pshuf.b.128"),
}
"""Bytes of a vector: the x86 feature that permutes them within each 16, and LLVM's name for it."""

NEON = "llvm.aarch64.neon.tbl1.v16i8"
"""The same for 16 bytes on 64-bit ARM, where every processor has it."""


def is_arm(triple: str) -> bool:
    """Whether a target is 64-bit ARM."""
    return triple.startswith(("aarch64", "arm64"))


def permute_name(triple: str, width: int) -> str:
    """Return LLVM's name for the permutation of a target's vectors of `width` bytes."""
    return NEON if is_arm(triple) else PERMUTES[width][1]


def vector_bytes() -> int:
    """Return the widest vector whose bytes are permuted by what numba compiles; 0 if none."""
    if is_arm(llvmlite.binding.get_process_triple()):
        return LANES
    features: dict[str, bool] = llvmlite.binding.get_host_cpu_features()
    settings: Any = config
    if settings.CPU_NAME or settings.CPU_FEATURES is not None:  # numba compiles for another processor
        asked = (settings.CPU_FEATURES or "").split(",")
        features = {name[1:]: name.startswith("+") for name in asked if name}
    if not settings.ENABLE_AVX:  # numba compiles without it, for some processors on its own account
        features = {name: has and not name.startswith("avx") for name, has in features.items()}
    return next((width for width, (feature, _) in PERMUTES.items() if features.get(feature)), 0)


@register_jitable
def _one_sum(codes: Any, group: Any, costs: Any, lane: Any) -> Any:
    total = np.uint64(0)
    for p in range(codes.shape[1]):
        value = codes[group, p, lane]
        total += np.uint64(costs[0, p, value & 15]) + np.uint64(costs[1, p, value >> 4])
    return total


def _sums_by_loop(codes: Any, group: Any, costs: Any, sums: Any, n_words: Any, width: Any) -> Any:
    for lane in range(LANES):
        sums[lane] = _one_sum(codes, group, costs, lane)


def _below_by_loop(codes: Any, group: Any, costs: Any, limit: Any, n_words: Any, width: Any) -> Any:
    mask = np.uint64(0)
    for lane in range(LANES):
        if _one_sum(codes, group, costs, lane) < limit:
            mask |= np.uint64(1) << np.uint64(lane)
    return mask


def _sums_by_row(builder: Any, even: Any, odd: Any) -> Any:
    """Fold sums of the same rows: of vectors of int16, one for even rows and one for odd ones, to 16 by row."""
    places = ir.VectorType(ir.IntType(32), LANES // 2)
    sums = []
    for part in (even, odd):
        total = None
        for first in range(0, part.type.count, LANES // 2):
            lanes = ir.Constant(places, list(range(first, first + LANES // 2)))
            own = builder.shuffle_vector(part, ir.Constant(part.type, ir.Undefined), lanes)
            total = own if total is None else builder.add(total, own)
        sums.append(total)
    order = [row // 2 + LANES // 2 * (row % 2) for row in range(LANES)]
    return builder.shuffle_vector(*sums, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order))


def _sums(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the sums of a group's rows, a vector of 16 int16 by row; the intrinsics' fourth argument is not read."""
    size, vector_size = 8 * signature.args[4].literal_value, signature.args[5].literal_value
    word, byte, short = ir.IntType(64), ir.IntType(8), ir.IntType(16)
    vector = ir.VectorType(byte, vector_size)
    pairs = ir.VectorType(short, vector_size // 2)
    permute: Any = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, ir.FunctionType(vector, [vector, vector]), permute_name(builder.module.triple, vector_size)
    )

    def data(i: int) -> Any:
        return context.make_array(signature.args[i])(context, builder, arguments[i]).data

    def constant(kind: Any, value: int) -> Any:
        return ir.Constant(kind, [value] * kind.count)

    def loaded(address: Any, offset: int) -> Any:
        pointer = builder.gep(address, [ir.Constant(word, offset)])
        found = builder.load(builder.bitcast(pointer, vector.as_pointer()))
        found.align = 1
        return found

    start = builder.gep(data(0), [builder.mul(arguments[1], ir.Constant(word, LANES * size))])
    tables = data(2)
    low_bits, high_byte = constant(vector, 15), constant(pairs, 8)
    whole, odd = constant(pairs, 0), constant(pairs, 0)  # sums of both bytes of a pair, shifted or not
    for first in range(0, LANES * size, vector_size):
        row_bytes = loaded(start, first)
        low = builder.and_(row_bytes, low_bits)
        shifted = builder.bitcast(builder.lshr(builder.bitcast(row_bytes, pairs), constant(pairs, 4)), vector)
        high = builder.and_(shifted, low_bits)
        cost = builder.add(
            builder.call(permute, [loaded(tables, first), low]),
            builder.call(permute, [loaded(tables, LANES * size + first), high]),
        )
        cost = builder.bitcast(cost, pairs)
        whole = builder.add(whole, cost)
        odd = builder.add(odd, builder.lshr(cost, high_byte))
    even = builder.sub(whole, builder.shl(odd, high_byte))
    return _sums_by_row(builder, even, odd)


def nearer_by_tables(codes: Any, group: Any, costs: Any, limit: Any, n_words: Any, width: Any) -> Any:
    """Return signature and code of the comparison of a group's sums with a limit, for an intrinsic.

    The mask's bit i says that the sum of row i of the group is below the limit, at most 65,535. `codes` uint8
    (n_groups, 8 n_words, 16) and `costs` uint8 (2, 8 n_words, 16) are contiguous. The two costs of a byte add up to 255
    at most, and those of a row to 65,534. `n_words` and `width` are constants: width is the bytes of a vector, which
    holds width / 16 bytes of 16 rows each; 0 is a loop.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[5].literal_value == 0:
            return context.compile_internal(builder, _below_by_loop, signature, arguments)
        in_order = _sums(context, builder, signature, arguments)
        word, short = ir.IntType(64), ir.IntType(16)
        one_lane = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        undefined = ir.Constant(ir.VectorType(short, LANES), ir.Undefined)
        bound = builder.insert_element(undefined, builder.trunc(arguments[3], short), ir.Constant(ir.IntType(32), 0))
        below = builder.icmp_unsigned("<", in_order, builder.shuffle_vector(bound, undefined, one_lane))
        return builder.zext(builder.bitcast(below, ir.IntType(LANES)), word)

    return types.uint64(codes, types.int64, costs, types.uint64, n_words, width), codegen


def fill_by_tables(codes: Any, group: Any, costs: Any, sums: Any, n_words: Any, width: Any) -> Any:
    """Return signature and code that fill in a group's sums, uint16 (16,); all else as in `nearer_by_tables`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[5].literal_value == 0:
            return context.compile_internal(builder, _sums_by_loop, signature, arguments)
        in_order = _sums(context, builder, signature, arguments)
        place = context.make_array(signature.args[3])(context, builder, arguments[3]).data
        builder.store(in_order, builder.bitcast(place, in_order.type.as_pointer())).align = 2
        return context.get_dummy_value()

    return types.none(codes, types.int64, costs, sums, n_words, width), codegen
