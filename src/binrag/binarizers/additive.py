"""Additive codes: every byte picks a codeword, and the codewords add up; the best codes that binrag fits.

x̂ = μ + K^−½ (Wᵀ b + Σ_p Pₚᵀ cₚ[byte_p]), in the query-weighted space K^½ (x − μ) of `fitting.QuerySpace`. A linear
decoder is the special case in which a byte's codewords are sums of its bits' weights. *Nested* codes begin with a plane
of signs b that the Hamming scan compares, and bytes code what it leaves. *Compact* codes are bytes only; their values
are numbered so that a linear function of the bits comes close to the codewords, and weight planes scan that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

import numpy as np

from binrag.binarizers.codebooks import Codebooks
from binrag.binarizers.codes import (
    as_bytes,
    check_dim,
    from_bytes,
    linear_tables,
    offset_of,
    pack_bits,
    rescale_factors,
)
from binrag.binarizers.decoder import Bits, row_sums, row_times, signed
from binrag.binarizers.fitting import QuerySpace, checked_code_bytes, checked_rows, least_squares, sample
from binrag.binarizers.itq import ItqBinarizer
from binrag.binarizers.labels import linear_labels
from binrag.binarizers.planes import weight_planes
from binrag.errors import InvalidInput
from binrag.registry import register
from binrag.types import Codes, Float32, Int64, Progress, Query, UInt8

Shape = Literal["nested", "compact"]

MAX_ROWS = 65_536
"""Rows that codebooks are fitted to; more are sampled."""

RANK = 16
"""Rank of a codebook, up to 64 of them; half of it for more."""

N_AMORTIZED = 3
"""Last rounds of a fit, in which rows are coded from scratch."""

SWEEPS = 4
"""Passes over the codebooks when a row is coded, at most."""


class SignPlane(NamedTuple):
    """A plane of bits for the Hamming scan, with a map for documents and one for queries.

    Bit j of a document is ``x · documents[:, j] >= document_thresholds[j]``, and so for queries; x is not centred.
    """

    documents: Float32
    """(dim, n_bits)"""
    document_thresholds: Float32
    """(n_bits,)"""
    queries: Float32
    """(dim, n_bits)"""
    query_thresholds: Float32
    """(n_bits,)"""

    @classmethod
    def fit(cls, vectors: Float32, n_bits: int, seed: int) -> SignPlane:
        """Take the signs of iterative quantization."""
        itq = ItqBinarizer.fit(vectors, code_bytes=n_bits // 8 + 2, seed=seed)
        return cls(itq.rotation, itq.mean @ itq.rotation, itq.rotation, itq.mean @ itq.rotation)

    def bits(self, vectors: Float32) -> Bits:
        """Return the documents' bits (n, n_bits)."""
        from binrag.kernels.project import project

        return project(vectors, self.documents) >= self.document_thresholds


class AdditiveBinarizer:
    """Additive codes in a query-weighted space, nested behind a plane of signs or compact.

    Make one with `fit`. Parameters are kept in half precision.

    Parameters
    ----------
    space : QuerySpace
        μ, K^½ and K^−½.
    books : Codebooks
        One codebook a byte.
    predictor : float32 (dim, n_codebooks rank)
        Where the choice of codewords starts; see `Codebooks.predictor`.
    weights : float32 (n_scanned, dim)
        W, the decoder of the scanned bits: of the plane in nested codes; in compact ones, a linear approximation of the
        first bytes, which only the scan uses.
    plane : SignPlane, optional
        The plane of nested codes.
    """

    component_id: ClassVar[str] = "additive"

    def __init__(
        self,
        space: QuerySpace,
        books: Codebooks,
        predictor: Float32,
        weights: Float32,
        plane: SignPlane | None = None,
    ) -> None:
        self.space = QuerySpace(space.mean, _half(space.root), _half(space.inverse))
        self.books = Codebooks(_half(books.bases), _half(books.codewords))
        self.predictor = _half(predictor)
        self.weights = _half(weights)
        self.plane = None if plane is None else SignPlane(*(_half(part) for part in plane))
        self.dim = len(space.mean)
        self.n_words = len(weights) // 64
        n_bytes = len(books.bases)
        self.n_rest = n_bytes if plane else n_bytes - 8 * self.n_words
        self.n_bits = 64 * self.n_words + 8 * self.n_rest
        self._coder: tuple[Callable[[Float32, Float32, UInt8], None], Float32] | None = None

    @property
    def code_bytes(self) -> int:
        """Bytes a row in memory, its rescale factor counted."""
        return 8 * self.n_words + self.n_rest + 2

    @property
    def shape(self) -> Shape:
        """``"nested"`` or ``"compact"``."""
        return "compact" if self.plane is None else "nested"

    def transform(self, vectors: Float32) -> Codes:
        """Code vectors, float32 (n, dim), finite and not zero.

        Raises
        ------
        DimensionMismatch
            If the vectors have another dimension.
        InvalidVector
            If a rescale factor does not fit a float16.
        """
        from binrag.kernels.project import project

        check_dim(vectors.shape[1], self.dim)
        rows = project(vectors - self.space.mean, self.space.root)
        decoded: Float32 = np.zeros_like(rows)
        if self.plane is not None:
            bits = self.plane.bits(vectors)
            decoded = project(signed(bits), self.weights)
        if self._coder is None:
            self._coder = self.books.chooser(SWEEPS), np.ascontiguousarray(self.books.flat.T)
        choose, bases = self._coder
        codes = np.zeros((len(rows), len(self.books.bases)), dtype=np.uint8)
        left = rows - decoded
        choose(project(left, bases), project(left, self.predictor), codes)
        decoded += project(self.books.chosen_codewords(codes), self.books.flat)
        rescale = rescale_factors(row_sums(rows**2), row_sums(rows * decoded))
        if self.plane is not None:
            return Codes(pack_bits(bits), codes, rescale)
        words = np.ascontiguousarray(codes[:, : 8 * self.n_words]).view("<u8").astype(np.uint64, copy=False)
        return Codes(words, np.ascontiguousarray(codes[:, 8 * self.n_words :]), rescale)

    def query(self, vector: Float32) -> Query:
        """Prepare a query, float32 (dim,), finite and not zero.

        Raises
        ------
        DimensionMismatch
            If the vector has another dimension.
        """
        check_dim(len(vector), self.dim)
        turned = row_times(vector, self.space.inverse)
        n_codebooks, rank = self.books.bases.shape[:2]
        projected = (self.books.flat @ turned).reshape(n_codebooks, 1, rank)
        tables: Float32 = np.asarray(projected @ self.books.codewords, dtype=np.float32)[:, 0]
        weights: Float32 = self.weights @ turned
        offset = offset_of(vector, self.space.mean)
        if self.plane is None:
            planes, scales = weight_planes(weights)
            return Query(vector, planes, tables, offset, scales)
        bits = row_times(vector, self.plane.queries) >= self.plane.query_thresholds
        joined = np.concatenate([linear_tables(weights), tables], dtype=np.float32)
        return Query(vector, pack_bits(bits[None]), joined, offset)

    def get_config(self) -> dict[str, Any]:
        """Return shapes and parameters, in half precision but for the mean."""
        arrays = {
            "root": self.space.root,
            "inverse": self.space.inverse,
            "bases": self.books.bases,
            "codewords": self.books.codewords,
            "predictor": self.predictor,
            "weights": self.weights,
        }
        return {
            "dim": self.dim,
            "n_codebooks": len(self.books.bases),
            "rank": self.books.bases.shape[1],
            "n_scanned": len(self.weights),
            "mean": as_bytes(self.space.mean),
            "plane": None if self.plane is None else [as_bytes(part, "<f2") for part in self.plane],
            **{name: as_bytes(array, "<f2") for name, array in arrays.items()},
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `get_config`."""
        dim, n_codebooks, rank, n_scanned = (config[name] for name in ("dim", "n_codebooks", "rank", "n_scanned"))

        def half(name: str, *shape: int) -> Float32:
            return from_bytes(config[name], shape, "<f2")

        space = QuerySpace(from_bytes(config["mean"], dim), half("root", dim, dim), half("inverse", dim, dim))
        books = Codebooks(half("bases", n_codebooks, rank, dim), half("codewords", n_codebooks, rank, 256))
        plane = None
        if config["plane"] is not None:
            shapes: list[tuple[int, ...]] = [(dim, n_scanned), (n_scanned,)] * 2
            plane = SignPlane(*(from_bytes(d, s, "<f2") for d, s in zip(config["plane"], shapes, strict=True)))
        predictor = half("predictor", dim, n_codebooks * rank)
        return cls(space, books, predictor, half("weights", n_scanned, dim), plane)

    @classmethod
    def fit(
        cls,
        vectors: Float32,
        *,
        code_bytes: int,
        queries: Float32 | None = None,
        seed: int = 0,
        progress: Progress = None,
        shape: Shape = "nested",
        plane: SignPlane | None = None,
        start: AdditiveBinarizer | None = None,
        rank: int | None = None,
        n_rounds: int = 20,
    ) -> Self:
        """Fit codebooks to vectors, by turns with the codes.

        Parameters
        ----------
        vectors : float32 (n, dim)
            At least 4 dim rows, of 64 dimensions or more; 65,536 of them are used.
        code_bytes : int
            Bytes a row, the rescale factor counted: 1/16 to 1 byte a dimension; for nested codes, more than a plane of
            64 ⌊dim / 64⌋ bits and the factor take.
        queries : float32 (n, dim), optional
            Queries like those to come; rows stand in.
        seed : int
            Draws the first codewords.
        progress : callable, optional
            Called with the rounds done and their number.
        shape : "nested" or "compact"
        plane : SignPlane, optional
            The plane of nested codes; by default that of `start`, or of iterative quantization.
        start : AdditiveBinarizer, optional
            One of the same shape and bytes, fitted to other vectors, to be adapted to these.
        rank : int, optional
            Rank of a codebook.
        n_rounds : int
            Rounds of refitting.

        Raises
        ------
        TrainingError, InvalidVector, InvalidInput, DimensionMismatch
            As `fitting.checked_rows` and `checked_code_bytes`.
        """
        dim = checked_rows(vectors, 4 * vectors.shape[-1]).shape[1]
        n_bytes = checked_code_bytes(code_bytes, dim)
        if shape not in get_args(Shape):
            raise InvalidInput(f"shape is {shape!r}, expected one of {', '.join(get_args(Shape))}")
        n_plane = 8 * (dim // 64) if shape == "nested" else 0
        if n_bytes <= n_plane:
            raise InvalidInput(
                f"code_bytes is {code_bytes}, nested codes of {dim} dimensions take {n_plane + 3} or more; give more, "
                'or take shape="compact"'
            )
        if start is not None and (start.dim, start.code_bytes, start.shape) != (dim, code_bytes, shape):
            raise InvalidInput(
                f"start codes {start.dim} dimensions in {start.code_bytes} {start.shape} bytes, expected {dim} "
                f"dimensions in {code_bytes} {shape} bytes"
            )
        vectors = vectors[sample(len(vectors), MAX_ROWS, seed)]
        space = QuerySpace.fit(vectors, queries, seed=seed)
        rows = space.rows(vectors)
        rank = rank or (RANK if n_bytes - n_plane <= 64 else RANK // 2)
        if shape == "nested":
            plane = plane or (start.plane if start else None) or SignPlane.fit(vectors, 8 * n_plane, seed)
            signs = signed(plane.bits(vectors))
            weights = least_squares(signs, rows)
        else:
            plane, signs, weights = None, *(np.zeros(size, dtype=np.float32) for size in ((len(rows), 0), (0, dim)))
        if start is None:
            books, codes = Codebooks.start(rows - signs @ weights, n_bytes - n_plane, rank, seed)
        else:
            books, codes = start.books.turned(start.space.inverse @ space.root), start.code_values(vectors)
        weights, codes = _refined(rows, signs, weights, books, codes, n_rounds, progress)
        predictor = books.predictor(rows - signs @ weights, codes)
        if plane is None:
            order, labels = _labelled(books, codes)
            books, predictor = books.reordered(order, labels), _columns_of(predictor, order)
            weights = _scan_weights(codes, rows, order[: n_bytes // 8 * 8], labels)
        return cls(space, books, predictor, weights, plane)

    def code_values(self, vectors: Float32) -> UInt8:
        """Return the codebooks' bytes of vectors, uint8 (n, n_codebooks)."""
        codes = self.transform(vectors)
        if self.plane is not None:
            return codes.rest
        return np.concatenate([codes.words.astype("<u8").view(np.uint8), codes.rest], axis=1)


def _refined(
    rows: Float32, signs: Float32, weights: Float32, books: Codebooks, codes: UInt8, n_rounds: int, progress: Progress
) -> tuple[Float32, UInt8]:
    """Refit codebooks in place, and the decoder of the signs, by turns with the codes."""
    for i in range(n_rounds):
        residuals = rows - signs @ weights - books.decode(codes)
        books.refit(residuals, codes)
        if signs.shape[1]:
            weights = weights + least_squares(signs, residuals)
        left = rows - signs @ weights
        is_last = i >= n_rounds - N_AMORTIZED  # fit to the codes that rows get from scratch
        if is_last:
            codes = books.choose(left, predictor=books.predictor(left, codes), sweeps=SWEEPS)
        else:
            codes = books.choose(left, codes, sweeps=SWEEPS)
        if callable(progress):
            progress(i + 1, n_rounds)
    books.refit(rows - signs @ weights - books.decode(codes), codes)
    return weights, codes


def _labelled(books: Codebooks, codes: UInt8) -> tuple[Int64, UInt8]:
    """Order codebooks by what they tell, most first, and number their codewords for the scan.

    Returns
    -------
    order : int64 (n_codebooks,)
    labels : uint8 (n_codebooks, 256)
        The new value of each old one, by old codebook.
    """
    counts = np.stack([np.bincount(column, minlength=256) for column in codes.T]).astype(np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    centred = books.codewords - (books.codewords * shares[:, None]).sum(axis=2, keepdims=True)
    order = np.argsort(-(centred**2 * shares[:, None]).sum(axis=(1, 2)), kind="stable")
    return order, np.stack([linear_labels(book.T, share) for book, share in zip(centred, shares, strict=True)])


def _scan_weights(codes: UInt8, rows: Float32, order: Int64, labels: UInt8) -> Float32:
    """Fit W to the bits of the scanned bytes; a constant takes what codewords have in common."""
    values = np.stack([labels[source][codes[:, source]] for source in order], axis=1)
    signs = signed(np.unpackbits(values, axis=1, bitorder="little") > 0)
    signs = np.concatenate([signs, np.ones((len(rows), 1), dtype=np.float32)], axis=1)
    return least_squares(signs, rows)[:-1]


def _columns_of(predictor: Float32, order: Int64) -> Float32:
    return predictor.reshape(len(predictor), len(order), -1)[:, order].reshape(predictor.shape)


def _half(array: Float32) -> Float32:
    """Round to half precision, as the file keeps it."""
    return np.asarray(array).astype(np.float16).astype(np.float32)


register(AdditiveBinarizer)
