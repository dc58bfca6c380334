"""Matrix products by the calling thread alone: a row's result does not depend on the rows beside it.

BLAS chooses its order of summation by the shape of the whole product, so a row alone may round otherwise than the same
row in a batch, and a bit may flip. Here every sum starts at 0 and goes over d in ascending order, each product added
unrounded and each sum rounded to float32 (a fused multiply-add): the same numbers on every machine. For one vector BLAS
would start threads too, which on a busy machine wait for one another many times as long as the product takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from binrag.kernels.jit import jit

_ROWS = 6
_COLUMNS = 16


def _fused(builder: Any, vector: Any) -> Any:
    """Return LLVM's fused multiply-add of vectors of 16 float32."""
    kind = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{_COLUMNS}f32")  # type: ignore[no-untyped-call]


def _fill_tile(typing_context: Any, x: Any, w: Any, out: Any, row: Any, column: Any, n_rows: Any) -> Any:
    """Fill 16 columns of a few rows of the product, with the sums in vector registers."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), _COLUMNS)
        first_lane = ir.Constant(ir.VectorType(ir.IntType(32), _COLUMNS), [0] * _COLUMNS)
        undefined = ir.Constant(vector, ir.Undefined)
        arrays = [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in range(3)]
        depth, width = cgutils.unpack_tuple(builder, arrays[1].shape)  # type: ignore[no-untyped-call]
        rows = [builder.add(arguments[3], ir.Constant(word, i)) for i in range(signature.args[5].literal_value)]

        def place(array: int, i: Any, j: Any, row_length: Any) -> Any:
            return builder.gep(arrays[array].data, [builder.add(builder.mul(i, row_length), j)])

        add_product = _fused(builder, vector)
        zero = ir.Constant(vector, [0.0] * _COLUMNS)
        sums = [cgutils.alloca_once(builder, vector) for _ in rows]  # type: ignore[no-untyped-call]
        for total in sums:
            builder.store(zero, total)
        with cgutils.for_range(builder, depth, intp=word) as loop:
            address = place(1, loop.index, arguments[4], width)
            factors = builder.load(builder.bitcast(address, vector.as_pointer()))
            factors.align = 4
            for i, total in zip(rows, sums, strict=True):
                value = builder.load(place(0, i, loop.index, depth))
                value = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
                in_all_lanes = builder.shuffle_vector(value, undefined, first_lane)
                builder.store(builder.call(add_product, [in_all_lanes, factors, builder.load(total)]), total)
        for i, total in zip(rows, sums, strict=True):
            address = place(2, i, arguments[4], width)
            builder.store(builder.load(total), builder.bitcast(address, vector.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.none(x, w, out, types.int64, types.int64, n_rows), codegen


def _sum_lanes(typing_context: Any, matrix: Any, row: Any, vector: Any) -> Any:
    """Return ⟨row, vector⟩ over the dimensions in whole vectors of 16, each lane summed by itself, then by halves."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes, word = ir.VectorType(ir.FloatType(), _COLUMNS), ir.IntType(64)
        rows, own = (context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2))
        _, depth = cgutils.unpack_tuple(builder, rows.shape)  # type: ignore[no-untyped-call]
        start = builder.gep(rows.data, [builder.mul(arguments[1], depth)])

        def loaded(address: Any, offset: Any) -> Any:
            found = builder.load(builder.bitcast(builder.gep(address, [offset]), lanes.as_pointer()))
            found.align = 4
            return found

        add_product = _fused(builder, lanes)
        total = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * _COLUMNS))  # type: ignore[no-untyped-call]
        n_whole = builder.udiv(depth, ir.Constant(word, _COLUMNS))
        with cgutils.for_range(builder, n_whole, intp=word) as loop:
            offset = builder.mul(loop.index, ir.Constant(word, _COLUMNS))
            product = builder.call(add_product, [loaded(start, offset), loaded(own.data, offset), builder.load(total)])
            builder.store(product, total)
        sums, undefined = builder.load(total), ir.Constant(lanes, ir.Undefined)
        half = _COLUMNS // 2
        while half:
            others = ir.Constant(
                ir.VectorType(ir.IntType(32), _COLUMNS), [(i + half) % _COLUMNS for i in range(_COLUMNS)]
            )
            sums = builder.fadd(sums, builder.shuffle_vector(sums, undefined, others))
            half //= 2
        return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))

    return types.float32(matrix, types.int64, vector), codegen


_tile: Any = intrinsic(prefer_literal=True)(_fill_tile)
_dot: Any = intrinsic(_sum_lanes)


@jit
def _products(x: Any, w: Any, out: Any) -> None:
    n, m = out.shape
    blocked = n - n % _ROWS
    for start in range(0, m, _COLUMNS):
        column = min(start, m - _COLUMNS)  # the last tile may repeat columns, to the same values
        for row in range(0, blocked, _ROWS):
            _tile(x, w, out, row, column, _ROWS)
        for row in range(blocked, n):
            _tile(x, w, out, row, column, 1)


def project(x: npt.NDArray[np.float32], w: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Multiply rows by a matrix, each row as if it were alone.

    Parameters
    ----------
    x : float32 (n, d)
    w : float32 (d, m)

    Returns
    -------
    float32 (n, m)
        ``x @ w``, summed over d in ascending order in float32.

    Raises
    ------
    ValueError
        If the dimensions differ.
    """
    if x.shape[1] != w.shape[0]:  # compiled code reads unchecked
        raise ValueError(f"rows have {x.shape[1]} dimensions, the matrix is for {w.shape[0]}")
    m = w.shape[1]
    if m < _COLUMNS:
        w = np.pad(w, ((0, 0), (0, _COLUMNS - m)))
    out = np.empty((len(x), w.shape[1]), dtype=np.float32)
    _products(np.ascontiguousarray(x, dtype=np.float32), np.ascontiguousarray(w, dtype=np.float32), out)
    return out[:, :m]


@jit
def _fill_dots(matrix: Any, vector: Any, out: Any) -> None:
    depth = len(vector)
    for i in range(len(out)):
        total = _dot(matrix, i, vector)
        for d in range(depth - depth % _COLUMNS, depth):
            total += matrix[i, d] * vector[d]
        out[i] = total


def dots(matrix: npt.NDArray[np.float32], vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Multiply a matrix by one vector.

    Parameters
    ----------
    matrix : float32 (m, d)
    vector : float32 (d,)

    Returns
    -------
    float32 (m,)
        ``matrix @ vector``, summed in float32 in an order that is the same everywhere.

    Raises
    ------
    ValueError
        If the dimensions differ.
    """
    if matrix.shape[1] != len(vector):
        raise ValueError(f"the vector has {len(vector)} dimensions, the matrix is for {matrix.shape[1]}")
    out = np.empty(len(matrix), dtype=np.float32)
    _fill_dots(np.ascontiguousarray(matrix, dtype=np.float32), np.ascontiguousarray(vector, dtype=np.float32), out)
    return out
