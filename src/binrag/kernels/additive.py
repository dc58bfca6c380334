"""Additive codes: codewords of low rank, chosen codebook by codebook, each against what the others leave.

A row y is approximated by a sum of codewords, one of 256 from every codebook p: ŷ = Σ_p Pₚᵀ cₚ, where Pₚ (rank, dim)
has orthonormal rows. Everything a choice needs are the projections zₚ = Pₚ (y − ŷ) and the products Pₚ Pₒᵀ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from binrag.kernels.jit import jit

_LANES = 16
_BLOCKS = 256 // _LANES


def _fill_least(
    typing_context: Any, norms: Any, codebooks: Any, targets: Any, p: Any, costs: Any, blocks: Any, rank: Any
) -> Any:
    """Find the least of norms[p, v] − 2 Σ_k targets[k] codebooks[p, k, v] in each of 16 lanes, v = 16 block + lane.

    Fills costs, float32 (16,), and blocks, int32 (16,); the first block wins ties. Each product and sum is rounded.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), _LANES)
        places = ir.VectorType(ir.IntType(32), _LANES)
        first_lane = ir.Constant(places, [0] * _LANES)
        n = signature.args[6].literal_value

        def data(i: int) -> Any:
            return context.make_array(signature.args[i])(context, builder, arguments[i]).data

        def in_all_lanes(value: Any, kind: Any) -> Any:
            single = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), first_lane)

        def lanes_at(address: Any, offset: Any) -> Any:
            loaded = builder.load(builder.bitcast(builder.gep(address, [offset]), vector.as_pointer()))
            loaded.align = 4
            return loaded

        own_norms = builder.gep(data(0), [builder.mul(arguments[3], ir.Constant(word, 256))])
        own = builder.gep(data(1), [builder.mul(arguments[3], ir.Constant(word, 256 * n))])
        minus_two = ir.Constant(ir.FloatType(), -2.0)
        factors = []
        for k in range(n):
            target = builder.load(builder.gep(data(2), [ir.Constant(word, k)]))
            factors.append(in_all_lanes(builder.fmul(target, minus_two), vector))
        least, best = cgutils.alloca_once(builder, vector), cgutils.alloca_once(builder, places)  # type: ignore[no-untyped-call]
        builder.store(ir.Constant(vector, [float("inf")] * _LANES), least)
        builder.store(first_lane, best)
        with cgutils.for_range(builder, ir.Constant(word, _BLOCKS), intp=word) as loop:
            start = builder.mul(loop.index, ir.Constant(word, _LANES))
            cost = lanes_at(own_norms, start)
            for k, factor in enumerate(factors):
                codewords = lanes_at(own, builder.add(start, ir.Constant(word, 256 * k)))
                cost = builder.fadd(cost, builder.fmul(factor, codewords))
            is_less = builder.fcmp_ordered("<", cost, builder.load(least))
            builder.store(builder.select(is_less, cost, builder.load(least)), least)
            block = in_all_lanes(builder.trunc(loop.index, ir.IntType(32)), places)
            builder.store(builder.select(is_less, block, builder.load(best)), best)
        builder.store(builder.load(least), builder.bitcast(data(4), vector.as_pointer())).align = 4
        builder.store(builder.load(best), builder.bitcast(data(5), places.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.none(norms, codebooks, targets, types.int64, costs, blocks, rank), codegen


_least_in_lanes: Any = intrinsic(prefer_literal=True)(_fill_least)


@cache
def codeword_kernel(rank: int) -> Callable[..., None]:
    """Return the kernel that chooses codewords of a rank: iterated conditional modes, until none changes.

    The kernel is ``choose(z, starts, codebooks, products, norms, codes, sweeps)``. Where starts are given, each
    codebook begins with the codeword nearest to its start. Then one codebook after another takes the codeword nearest
    to what the others leave of the row:

    z : float32 (n, n_codebooks rank), Pₚ y of each row; ends as Pₚ (y − ŷ)
    starts : float32 (n, n_codebooks rank), or (0, …): `codes` hold where to start
    codebooks : float32 (n_codebooks, rank, 256)
    products : float32 (n_codebooks, rank, n_codebooks rank), the rows of Pₚ times all rows of all P
    norms : float32 (n_codebooks, 256), ‖c‖² of every codeword
    codes : uint8 (n, n_codebooks), filled
    sweeps : how many at most
    """

    @jit
    def nearest(norms: Any, codebooks: Any, targets: Any, p: int, costs: Any, blocks: Any) -> Any:
        _least_in_lanes(norms, codebooks, targets, p, costs, blocks, rank)
        least, best = costs[0], _LANES * np.int64(blocks[0])
        for lane in range(1, _LANES):
            place = _LANES * np.int64(blocks[lane]) + lane
            if costs[lane] < least or (costs[lane] == least and place < best):
                least, best = costs[lane], place
        return best

    @jit
    def subtract(row: Any, codewords: Any, products: Any, p: int) -> None:
        for j in range(row.shape[0]):
            total = row[j]
            for k in range(rank):
                total -= codewords[k] * products[p, k, j]
            row[j] = total

    @jit
    def choose(z: Any, starts: Any, codebooks: Any, products: Any, norms: Any, codes: Any, sweeps: int) -> None:
        n_codebooks = codebooks.shape[0]
        targets = np.empty(rank, dtype=np.float32)
        costs = np.empty(_LANES, dtype=np.float32)
        blocks = np.empty(_LANES, dtype=np.int32)
        for i in range(codes.shape[0]):
            for p in range(n_codebooks):
                if starts.shape[0] > 0:
                    for k in range(rank):
                        targets[k] = starts[i, p * rank + k]
                    codes[i, p] = nearest(norms, codebooks, targets, p, costs, blocks)
                for k in range(rank):
                    targets[k] = codebooks[p, k, codes[i, p]]
                subtract(z[i], targets, products, p)
            for _ in range(sweeps):
                changed = False
                for p in range(n_codebooks):
                    old = np.int64(codes[i, p])
                    for k in range(rank):
                        targets[k] = z[i, p * rank + k] + codebooks[p, k, old]
                    best = nearest(norms, codebooks, targets, p, costs, blocks)
                    if best == old:
                        continue
                    changed = True
                    codes[i, p] = best
                    for k in range(rank):
                        targets[k] = codebooks[p, k, best] - codebooks[p, k, old]
                    subtract(z[i], targets, products, p)
                if not changed:
                    break

    return choose


@jit
def class_sums(rows: Any, codes: Any, sums: Any, counts: Any) -> None:
    """Sum the rows of each code.

    rows : float32 (n, dim)
    codes : uint8 (n,)
    sums : float32 (256, dim), added to
    counts : int64 (256,), added to
    """
    for i in range(rows.shape[0]):
        code = codes[i]
        counts[code] += 1
        for j in range(rows.shape[1]):
            sums[code, j] += rows[i, j]


@jit
def add_by_class(rows: Any, codes: Any, values: Any) -> None:
    """Add to each row the values of its code, in place.

    rows : float32 (n, dim)
    codes : uint8 (n,)
    values : float32 (256, dim)
    """
    for i in range(rows.shape[0]):
        code = codes[i]
        for j in range(rows.shape[1]):
            rows[i, j] += values[code, j]
