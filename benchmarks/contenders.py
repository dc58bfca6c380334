"""The peers: what else turns vectors into short codes, each fitted, coded and ranked the way it is meant to be.

A peer whose codes can be decoded is ranked by the inner product of the float query with the decoded rows: no better
scan of these codes exists. The others (RaBitQ, turbovec, BBQ) rank by their own estimators.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from benchmarks.bbq import CORRECTION_BYTES, bbq_code
from benchmarks.spaces import ranking
from binrag.errors import MissingDependency
from binrag.types import Float32, Int64


class Model(Protocol):
    """A fitted peer.

    Attributes
    ----------
    row_bytes : float
        Bytes that a row needs in memory, everything counted.
    model_bytes : int
        Bytes of the model: rotations, codebooks and the like.
    """

    row_bytes: float
    model_bytes: int

    def encode(self, rows: Float32) -> Any:
        """Code rows float32 (n, dim)."""

    def decode(self, coded: Any) -> Float32 | None:
        """Return the rows that the codes stand for, float32 (n, dim); None if only `rank` can read them."""

    def rank(self, coded: Any, queries: Float32, k: int) -> Int64:
        """Return for each query the best rows, int64 (n_queries, k)."""


class Decoding:
    """What models share whose codes can be decoded."""

    def decode(self, coded: Any) -> Float32 | None:
        """Return the decoded rows."""
        raise NotImplementedError

    def rank(self, coded: Any, queries: Float32, k: int) -> Int64:
        """Rank by inner products with the decoded rows."""
        decoded = self.decode(coded)
        assert decoded is not None
        return ranking(queries, decoded, k)


class FloatModel(Decoding):
    """Float32 vectors themselves."""

    def __init__(self, dim: int) -> None:
        self.row_bytes = 4.0 * dim
        self.model_bytes = 0

    def encode(self, rows: Float32) -> Float32:
        """Return the rows."""
        return rows

    def decode(self, coded: Float32) -> Float32:
        """Return the rows."""
        return coded


class Int8Model(Decoding):
    """Eight bits a dimension with one float32 scale a row."""

    def __init__(self, dim: int) -> None:
        self.row_bytes = dim + 4.0
        self.model_bytes = 0

    def encode(self, rows: Float32) -> tuple[Any, Float32]:
        """Return int8 (n, dim) and float32 (n, 1)."""
        scales = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / np.float32(127), np.finfo(np.float32).tiny)
        return np.rint(rows / scales).astype(np.int8), scales

    def decode(self, coded: tuple[Any, Float32]) -> Float32:
        """Return numbers times scales."""
        numbers, scales = coded
        return numbers.astype(np.float32) * scales


class FaissModel(Decoding):
    """A trained FAISS index, used as a codec."""

    def __init__(self, index: Any, row_bytes: float | None = None) -> None:
        self.index = index
        self.row_bytes = float(index.sa_code_size()) if row_bytes is None else row_bytes
        self.model_bytes = len(faiss().serialize_index(index))

    def encode(self, rows: Float32) -> Any:
        """Return uint8 (n, code_size)."""
        return self.index.sa_encode(np.ascontiguousarray(rows))

    def decode(self, coded: Any) -> Float32 | None:
        """Return the decoded rows."""
        decoded: Float32 = self.index.sa_decode(coded)
        return decoded


class FaissSearch(FaissModel):
    """A trained FAISS index that is asked itself."""

    def encode(self, rows: Float32) -> Any:
        """Return a copy of the index that holds the rows."""
        index = faiss().clone_index(self.index)
        index.add(np.ascontiguousarray(rows))
        return index

    def decode(self, coded: Any) -> None:
        """Return None."""
        return

    def rank(self, coded: Any, queries: Float32, k: int) -> Int64:
        """Search the index."""
        rows: Int64 = coded.search(np.ascontiguousarray(queries), min(k, coded.ntotal))[1]
        return rows


class TurbovecModel:
    """turbovec: rotation, Lloyd–Max levels of `bits` bits, per-coordinate calibration, one scale a row.

    Its format holds packed codes and a float32 scale a row; vectors of any length are kept as directions.
    """

    def __init__(self, rows: Float32, seed: int, *, bits: int) -> None:
        dim = rows.shape[1]
        self.bits = bits
        self.row_bytes = dim * bits / 8 + 4
        self.model_bytes = 8 * dim
        draw = np.random.default_rng(seed).choice(len(rows), min(4096, len(rows)), replace=False)
        self.sample = np.ascontiguousarray(rows[draw])

    def encode(self, rows: Float32) -> Any:
        """Return an index that was calibrated on the sample and holds the rows."""
        index = _module("turbovec", "turbovec").TurboQuantIndex(dim=rows.shape[1], bit_width=self.bits)
        index.calibrate(self.sample)
        index.add(np.ascontiguousarray(rows))
        return index

    def decode(self, coded: Any) -> None:
        """Return None: the index gives no vectors back."""
        return

    def rank(self, coded: Any, queries: Float32, k: int) -> Int64:
        """Search the index."""
        _, rows = coded.search(np.ascontiguousarray(queries), min(k, len(coded)))
        return np.asarray(rows, dtype=np.int64)


class BbqModel:
    """Lucene's "better binary quantization": `bits` bits a dimension about the mean, in an interval a row.

    Queries have `query_bits`. See `benchmarks.bbq`.
    """

    def __init__(self, rows: Float32, seed: int, *, bits: int, query_bits: int) -> None:
        self.mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.bits, self.query_bits = bits, query_bits
        self.row_bytes = rows.shape[1] * bits / 8 + CORRECTION_BYTES
        self.model_bytes = self.mean.nbytes

    def encode(self, rows: Float32) -> tuple[Float32, Float32]:
        """Return the coded residuals, and the products of rows and centre that are kept as they are."""
        return bbq_code(rows - self.mean, self.bits), rows @ self.mean

    def decode(self, coded: Any) -> None:
        """Return None: rows are read with their corrections."""
        return

    def rank(self, coded: tuple[Float32, Float32], queries: Float32, k: int) -> Int64:
        """Rank by ⟨q̂ − c, x̂ − c⟩ + ⟨x, c⟩, queries coded too."""
        return ranking(bbq_code(queries - self.mean, self.query_bits), coded[0], k, bias=coded[1])


Fit = Callable[[Float32, int], Model]


@dataclass(frozen=True, slots=True)
class Contender:
    """A peer at one size.

    Attributes
    ----------
    family : str
        What its sizes have in common; one curve of the plot.
    name : str
        The setting.
    fit : callable
        ``fit(rows, seed)``: float32 (n, dim) to a model.
    is_random : bool
        Whether another seed gives other codes.
    is_slow : bool
        Whether fitting 50,000 rows takes minutes; such have a number of seeds of their own.
    """

    family: str
    name: str
    fit: Fit
    is_random: bool = False
    is_slow: bool = False


def faiss() -> Any:
    """Return FAISS, set to one thread."""
    module = _module("faiss", "faiss-cpu")
    module.omp_set_num_threads(1)
    return module


def shuffled(rows: Float32, seed: int) -> Float32:
    """Return rows in another order for each seed but 0: where k-means and the like start from."""
    order = np.random.default_rng(seed).permutation(len(rows)) if seed else slice(None)
    return np.ascontiguousarray(rows[order])


def factory(rows: Float32, seed: int, *, key: str) -> FaissModel:
    """Train the index that FAISS's factory makes of `key`."""
    index = faiss().index_factory(rows.shape[1], key, faiss().METRIC_INNER_PRODUCT)
    index.train(shuffled(rows, seed))
    return FaissModel(index)


def scalar(rows: Float32, seed: int, *, key: str) -> FaissModel:
    """Train a scalar quantizer behind `key`; each dimension's range leaves out its outermost values."""
    lib = faiss()
    index = lib.index_factory(rows.shape[1], key, lib.METRIC_INNER_PRODUCT)
    quantizer = lib.downcast_index(index.index) if isinstance(index, lib.IndexPreTransform) else index
    quantizer.sq.rangestat, quantizer.sq.rangestat_arg = lib.ScalarQuantizer.RS_quantiles, 0.005
    index.train(np.ascontiguousarray(rows))
    return FaissModel(index)


def rabitq(rows: Float32, seed: int, *, bits: int, dim: int | None = None) -> FaissSearch:
    """Train RaBitQ behind a random rotation, or one of the first `dim` principal components."""
    lib = faiss()
    n_in = rows.shape[1]
    n_out = dim or n_in
    quantizer = lib.IndexRaBitQ(n_out, lib.METRIC_INNER_PRODUCT, bits)
    quantizer.qb = _RABITQ_QUERY_BITS
    rotation = lib.RandomRotationMatrix(n_out, n_out)
    rotation.init(seed + 1)
    index = lib.IndexPreTransform(rotation, quantizer)
    if n_out < n_in:
        index.prepend_transform(lib.PCAMatrix(n_in, n_out))
    index.train(np.ascontiguousarray(rows))
    return FaissSearch(index)


def residual(rows: Float32, seed: int, *, n: int, beam: int = 1, coding_beam: int = 8) -> FaissModel:
    """Train a residual quantizer of `n` bytes with a narrow beam; rows are coded with a wider one."""
    lib = faiss()
    index = lib.IndexResidualQuantizer(rows.shape[1], n, 8, lib.METRIC_INNER_PRODUCT)
    index.rq.max_beam_size = beam
    index.rq.use_beam_LUT = int(n <= _MOST_BYTES_IN_TABLES)
    index.train(shuffled(rows, seed))
    index.rq.max_beam_size = coding_beam
    return FaissModel(index)


def local_search(rows: Float32, seed: int, *, n: int, splits: int = 1, iterations: int = 10) -> FaissModel:
    """Train a local search quantizer of `n` bytes over `splits` equal parts of the dimensions, iterations capped."""
    lib = faiss()
    dim = rows.shape[1]
    if splits == 1:
        index = lib.IndexLocalSearchQuantizer(dim, n, 8, lib.METRIC_INNER_PRODUCT)
        parts = [index.lsq]
    else:
        index = lib.IndexProductLocalSearchQuantizer(dim, splits, n // splits, 8, lib.METRIC_INNER_PRODUCT)
        parts = [lib.downcast_AdditiveQuantizer(index.plsq.subquantizer(i)) for i in range(splits)]
    for part in parts:
        part.train_iters = iterations
        part.train_ils_iters = 4
        part.encode_ils_iters = 8
    index.train(shuffled(rows, seed))
    return FaissModel(index)


def _float(rows: Float32, seed: int) -> Model:
    return FloatModel(rows.shape[1])


def _int8(rows: Float32, seed: int) -> Model:
    return Int8Model(rows.shape[1])


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingDependency(f"this contender needs the package {package}: pip install {package}") from None


SIZES = (48, 64, 96, 128, 192)
"""Bytes a row at which contenders of free size are run."""

_MOST_BYTES_IN_TABLES = 96
"""A residual quantizer's tables of products of code vectors grow with the square of its bytes: 2.4 GB at 96."""

_RABITQ_QUERY_BITS = 8
"""They rank as float queries do, to the third digit, and a hundred times as fast."""

_SLOW = {"is_random": True, "is_slow": True}


def contenders(dim: int) -> list[Contender]:
    """Return the table of peers for vectors of `dim` dimensions, quick ones first.

    Products of the dimensions and whole bytes must come out even: for 384 dimensions every row of the table is there.
    """
    table = [Contender("float32", "float32", _float), Contender("int8", "int8", _int8)]
    table += [Contender("SQ", f"SQ{bits}", partial(scalar, key=f"SQ{bits}")) for bits in (4, 6, 8)]
    for size in SIZES:
        for bits in (4, 6, 8):
            name = f"PCA{8 * size // bits},SQ{bits}"
            if 8 * size // bits < dim:
                table.append(Contender("PCA + SQ", name, partial(scalar, key=name)))
    for bits in (1, 2, 3, 4):
        table.append(Contender("RaBitQ", f"RaBitQ{bits}", partial(rabitq, bits=bits), is_random=True))
    for size, bits in ((48, 1), (96, 2), (192, 4)):
        kept = 8 * (size - (8 if bits == 1 else 20)) // bits
        if kept < dim:
            fit = partial(rabitq, bits=bits, dim=kept)
            table.append(Contender("PCA + RaBitQ", f"PCA{kept},RaBitQ{bits}", fit, is_random=True))
    for bits in (1, 2, 4):
        table.append(Contender("BBQ", f"BBQ{bits}", partial(BbqModel, bits=bits, query_bits=max(bits, 4))))
    if dim % 8 == 0:
        table += [Contender("turbovec", f"turbovec{bits}", partial(TurbovecModel, bits=bits)) for bits in (2, 3, 4)]
    sizes = [n for n in (32, *SIZES) if dim % n == 0]
    table += [Contender("PQ", f"PQ{n}", partial(factory, key=f"PQ{n}x8np"), **_SLOW) for n in sizes]
    return table + _slow_contenders(dim)


def _slow_contenders(dim: int) -> list[Contender]:
    """Return the peers that take minutes to hours to fit; two bytes below the summary's sizes, for the rescale."""
    table = []
    for n in (46, 94, 190):
        for family, width in (("OPQ", dim // n * n), ("OPQ reduced", dim // (2 * n) * n)):
            if width:
                fit = partial(factory, key=f"OPQ{n}_{width},PQ{n}x8np")
                table.append(Contender(family, f"OPQ{n}_{width}", fit, **_SLOW))
        table.append(Contender("RQ", f"RQ{n}", partial(residual, n=n), **_SLOW))
    table.append(Contender("LSQ", "LSQ46", partial(local_search, n=46), **_SLOW))
    for n, splits in ((96, 4), (192, 8)):
        if dim % splits == 0:
            fit = partial(local_search, n=n, splits=splits)
            table.append(Contender("LSQ", f"PLSQ{splits}x{n // splits}", fit, **_SLOW))
    return table
