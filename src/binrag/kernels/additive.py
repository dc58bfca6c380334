"""Additive codes: every half byte picks one of 16 codewords, and the codewords of a row add up.

Half 0 of a byte is its low four bits, half 1 its high ones. Codeword v of half h of byte p has the number
32 p + 16 h + v. The squared error of a row y is ‖y‖² + Σ_a base_a + ½ Σ_{a ≠ b} gram_ab over the chosen numbers a, b,
with base_a = ‖c_a‖² − 2 ⟨y, c_a⟩ and gram_ab = 2 ⟨c_a, c_b⟩. Choosing goes by integers in proportion to these, so that
sums are exact: a row's code depends neither on the processor nor on the rows beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from binrag.kernels.jit import jit

HALF = 16
"""Codewords of half a byte: the lanes of a vector."""

_ROWS = 16
_FARTHEST = np.float32(2**24)


class _Vectors:
    """Vector instructions over arrays that a kernel was given: 16 numbers at a time."""

    word, place = ir.IntType(64), ir.IntType(32)
    integers, shorts, floats = (ir.VectorType(kind, HALF) for kind in (place, ir.IntType(16), ir.FloatType()))

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.builder = builder
        self.arrays = [
            context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]

    def number(self, value: int) -> Any:
        return ir.Constant(self.word, value)

    def address(self, array: int, *indices: Any) -> Any:
        """Point to an element of a contiguous array, by indices that are not negative."""
        offset = self.number(0)
        sizes = cgutils.unpack_tuple(self.builder, self.arrays[array].shape)  # type: ignore[no-untyped-call]
        for index, size in zip(indices, sizes, strict=True):
            offset = self.builder.add(self.builder.mul(offset, size), index)
        return self.builder.gep(self.arrays[array].data, [offset])

    def widened(self, address: Any) -> Any:
        """Load 16 int16 as int32."""
        loaded = self.builder.load(self.builder.bitcast(address, self.shorts.as_pointer()))
        loaded.align = 2
        return self.builder.sext(loaded, self.integers)

    def in_all_lanes(self, value: Any, kind: Any) -> Any:
        single = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(self.place, 0))
        return self.builder.shuffle_vector(
            single, ir.Constant(kind, ir.Undefined), ir.Constant(self.integers, [0] * HALF)
        )

    def least(self, values: Any) -> tuple[Any, Any]:
        """Return the least of 16 int32, at most 2^26 in magnitude, and the first lane that has it, both int64."""
        keys = self.builder.shl(values, ir.Constant(self.integers, [4] * HALF))
        keys = self.builder.or_(keys, ir.Constant(self.integers, list(range(HALF))))
        reduce: Any = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            self.builder.module, ir.FunctionType(self.place, [self.integers]), f"llvm.vector.reduce.smin.v{HALF}i32"
        )
        key = self.builder.sext(self.builder.call(reduce, [keys]), self.word)
        return self.builder.ashr(key, self.number(4)), self.builder.and_(key, self.number(15))


def _best_value(typing_context: Any, sums: Any, i: Any, gram: Any, p: Any, value: Any) -> Any:
    """Return the best value of byte p of row i, the others as they are; the present one if none is better."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        _, row, _, byte, old = v.arrays
        first = builder.mul(byte, v.number(2 * HALF))
        second = builder.add(first, v.number(HALF))
        old_low, old_high = builder.and_(old, v.number(15)), builder.lshr(old, v.number(4))
        own_rows = builder.add(first, old_low), builder.add(second, old_high)
        halves = []
        for start in (first, second):  # what each codeword of this half costs, without those of the byte as it is
            costs = builder.load(builder.bitcast(v.address(0, row, start), v.integers.as_pointer()))
            costs.align = 4
            for own in own_rows:
                costs = builder.sub(costs, v.widened(v.address(2, own, start)))
            halves.append(costs)
        low, high = halves
        least = None
        for w in range(HALF):
            crossed = v.widened(v.address(2, builder.add(second, v.number(w)), first))
            own = v.in_all_lanes(builder.extract_element(high, ir.Constant(v.place, w)), v.integers)
            costs = builder.add(crossed, own)
            least = costs if least is None else builder.select(builder.icmp_signed("<", costs, least), costs, least)
        total, best = v.least(builder.add(low, least))
        now = builder.sext(builder.load(v.address(2, own_rows[1], own_rows[0])), v.word)
        for half, place in ((low, old_low), (high, old_high)):
            now = builder.add(now, builder.sext(builder.extract_element(half, place), v.word))
        _, other = v.least(builder.add(high, v.widened(v.address(2, builder.add(first, best), second))))
        found = builder.or_(best, builder.shl(other, v.number(4)))
        return builder.select(builder.icmp_signed("<", total, now), found, old)

    return types.int64(sums, types.int64, gram, types.int64, types.int64), codegen


_best: Any = intrinsic(_best_value)
"""``_best(sums, i, gram, p, value) -> int64``; arrays as in `choose`, contiguous, indices int64 and not negative."""


def _fill_costs(typing_context: Any, rows: Any, i: Any, p: Any, starts: Any, half: Any, costs: Any) -> Any:
    """Add −2 ⟨z, a⟩ to costs, float32 (16,), for the 16 columns a of ``starts[p, half]``; z is ``rows[i, p]``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        _, row, byte, _, which, _ = v.arrays
        size = cgutils.unpack_tuple(builder, v.arrays[0].shape)[2]  # type: ignore[no-untyped-call]
        place = builder.bitcast(v.address(5, v.number(0)), v.floats.as_pointer())
        total = cgutils.alloca_once(builder, v.floats)  # type: ignore[no-untyped-call]
        loaded = builder.load(place)
        loaded.align = 4
        builder.store(loaded, total)
        with cgutils.for_range(builder, size, intp=v.word) as loop:
            value = builder.fmul(builder.load(v.address(0, row, byte, loop.index)), ir.Constant(ir.FloatType(), -2.0))
            column = builder.load(
                builder.bitcast(v.address(3, byte, which, loop.index, v.number(0)), v.floats.as_pointer())
            )
            column.align = 4
            product = builder.fmul(v.in_all_lanes(value, v.floats), column)
            builder.store(builder.fadd(builder.load(total), product), total)
        builder.store(builder.load(total), place).align = 4
        return context.get_dummy_value()

    return types.none(rows, types.int64, types.int64, starts, types.int64, costs), codegen


_add_products: Any = intrinsic(_fill_costs)


@jit
def product_codes(rows: Any, starts: Any, norms: Any, products: Any, codes: Any) -> None:
    """Code groups of coordinates one by one, each byte in two turns: the nearest codeword, and the nearest to the rest.

    rows : float32 (n, n_bytes, size)
    starts : float32 (n_bytes, 2, size, 16), codewords of groups, a column each
    norms : float32 (n_bytes, 2, 16), ‖a‖² of each
    products : float32 (n_bytes, 16, 16), 2 ⟨a_v, b_w⟩ at [p, v, w]
    codes : uint8 (n, n_bytes), filled with v + 16 w; the least of equals
    """
    n, n_bytes = codes.shape
    low, high = np.empty(HALF, dtype=np.float32), np.empty(HALF, dtype=np.float32)
    for i in range(n):
        for p in range(n_bytes):
            for v in range(HALF):
                low[v] = norms[p, 0, v]
            _add_products(rows, i, p, starts, 0, low)
            best = 0
            for v in range(1, HALF):
                if low[v] < low[best]:
                    best = v
            for w in range(HALF):
                high[w] = norms[p, 1, w] + products[p, best, w]
            _add_products(rows, i, p, starts, 1, high)
            other = 0
            for w in range(1, HALF):
                if high[w] < high[other]:
                    other = w
            codes[i, p] = best + HALF * other


@jit
def _numbers(byte: Any, p: int) -> Any:
    """Return the numbers of the two codewords that byte p has."""
    low = 2 * HALF * p + (np.int64(byte) & 15)
    return low, 2 * HALF * p + HALF + (np.int64(byte) >> 4)


@jit
def choose(base: Any, gram: Any, codes: Any, sweeps: int) -> None:
    """Improve codes byte by byte, in passes over all bytes, until none changes.

    A byte takes the best of its 256 values, the others as they are: of equals the one of the least low half, then of
    the least high half; it keeps its value if no other is better.

    base : float32 (n, 32 n_bytes), rounded here; beyond ±2^24, as of rows much longer than codewords, it is ±2^24
    gram : int16 (32 n_bytes, 32 n_bytes), symmetric
    codes : uint8 (n, n_bytes), where to start; filled
    sweeps : passes at most
    """
    n, n_bytes = codes.shape
    width = gram.shape[0]
    sums = np.empty((_ROWS, width), dtype=np.int32)  # base_a + Σ_b gram_ab over the row's numbers b
    kept = np.empty(_ROWS, dtype=np.int64)  # how many bytes in turn, up to now, kept their values
    for first in range(0, n, _ROWS):  # rows of the gram matrix serve all rows of a block while they are near
        n_rows = min(_ROWS, n - first)
        for i in range(n_rows):
            for t in range(width):
                sums[i, t] = np.int32(np.rint(max(-_FARTHEST, min(_FARTHEST, base[first + i, t]))))
        for p in range(0, n_bytes, 2):  # two bytes at once; the last of an odd number counts once
            q = min(p + 1, n_bytes - 1)
            weight = np.int32(q - p)
            for i in range(n_rows):
                a, b = _numbers(codes[first + i, p], p)
                c, d = _numbers(codes[first + i, q], q)
                for t in range(width):
                    second = np.int32(gram[c, t]) + np.int32(gram[d, t])
                    sums[i, t] += np.int32(gram[a, t]) + np.int32(gram[b, t]) + weight * second
        kept[:] = 0
        for _ in range(sweeps):
            for p in range(n_bytes):
                for i in range(n_rows):
                    if kept[i] == n_bytes:
                        continue
                    old = np.int64(codes[first + i, p])
                    new = _best(sums, i, gram, p, old)
                    if new == old:
                        kept[i] += 1
                        continue
                    kept[i] = 1
                    codes[first + i, p] = new
                    a, b = _numbers(new, p)
                    c, d = _numbers(old, p)
                    for t in range(width):
                        gained = np.int32(gram[a, t]) + np.int32(gram[b, t])
                        sums[i, t] += gained - np.int32(gram[c, t]) - np.int32(gram[d, t])
            if kept[:n_rows].min() == n_bytes:
                break


@jit
def subtract_codewords(rows: Any, codes: Any, codewords: Any) -> None:
    """Subtract from each row its codewords, in place, byte by byte.

    rows : float32 (n, dim)
    codes : uint8 (n, n_bytes)
    codewords : float32 (32 n_bytes, dim)
    """
    for i in range(rows.shape[0]):
        for p in range(codes.shape[1]):
            byte = np.int64(codes[i, p])
            low, high = codewords[2 * HALF * p + (byte & 15)], codewords[2 * HALF * p + HALF + (byte >> 4)]
            for d in range(rows.shape[1]):
                rows[i, d] -= low[d] + high[d]


@jit
def count_codewords(rows: Any, codes: Any, counts: Any, sums: Any) -> None:
    """Count how often two codewords meet in a row, and sum the rows of each: the normal equations of codewords.

    rows : float32 (n, dim)
    codes : uint8 (n, n_bytes)
    counts : float32 (32 n_bytes, 32 n_bytes), added to
    sums : float32 (32 n_bytes, dim), added to
    """
    n, n_bytes = codes.shape
    numbers = np.empty(2 * n_bytes, dtype=np.int64)
    for i in range(n):
        for p in range(n_bytes):
            byte = np.int64(codes[i, p])
            numbers[2 * p] = 2 * HALF * p + (byte & 15)
            numbers[2 * p + 1] = 2 * HALF * p + HALF + (byte >> 4)
        for a in numbers:
            for b in numbers:
                counts[a, b] += np.float32(1)
            for d in range(rows.shape[1]):
                sums[a, d] += rows[i, d]
