"""The exhaustive index: every live row is looked at. The default, and the oracle of every other index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from binrag.threads import in_threads
from binrag.types import GROUP, Candidates, Codes, CodeShape, Float16, Int64, Query, UInt8, UInt64

TILE = 64
"""Queries that are compared with codes while these are near the processor, at most."""

TILE_CANDIDATES = 1_000_000
"""Candidates that such queries ask for together, at most, if they are more than one: a candidate takes 80 bytes."""

RANGE = 65_536
"""Rows that are worth a thread of their own."""

_GROWTH = 1.5


def group_words(words: UInt64, by_tables: bool = False) -> UInt64:
    """Interleave row-major words for the scan.

    Parameters
    ----------
    words : uint64 (n, n_words)
        Codes, one row after another.
    by_tables : bool
        Whether to interleave the words' bytes, for the scan by tables.

    Returns
    -------
    uint64 (ceil(n / 16), n_words, 16)
        ``result[r // 16, w, r % 16] == words[r, w]``; by tables, it is the memory of uint8 (ceil(n / 16), 8 n_words,
        16) with byte p of row r at ``[r // 16, p, r % 16]``. Lanes past the last row are zero.
    """
    n, n_words = words.shape
    n_groups = -(-n // GROUP)
    padded = np.zeros((n_groups * GROUP, n_words), dtype=np.uint64)
    padded[:n] = words
    parts = row_bytes(padded) if by_tables else padded
    grouped = np.ascontiguousarray(parts.reshape(n_groups, GROUP, parts.shape[1]).transpose(0, 2, 1))
    return grouped.view(np.uint64).reshape(n_groups, n_words, GROUP)


def row_bytes(words: UInt64) -> UInt8:
    """Return the bytes of row-major words, lowest first: uint8 (n, 8 n_words)."""
    return np.ascontiguousarray(words, dtype="<u8").view(np.uint8).reshape(len(words), 8 * words.shape[1])


def bytes_of(words: UInt64, by_tables: bool) -> UInt8:
    """Return grouped words' bytes, uint8 (n_groups, n_words, 8, 16): byte 8 w + b of row r.

    It is at ``[r // 16, w, b, r % 16]``. This is a view, and needs a little-endian machine.
    """
    n_groups, n_words, _ = words.shape
    if by_tables:
        return words.view(np.uint8).reshape(n_groups, n_words, 8, GROUP)
    return words.view(np.uint8).reshape(n_groups, n_words, GROUP, 8).transpose(0, 1, 3, 2)


@dataclass(frozen=True, slots=True, eq=False)
class FlatIndex:
    """An immutable view of the first `n_rows` of append-only arrays.

    Rows past `n_rows` may be written by a newer view that shares the arrays; this one never reads them.

    Attributes
    ----------
    shape : CodeShape
        What the codes consist of.
    words : uint64 (capacity / 16, n_words, 16)
        Grouped codes; see `group_words`.
    rest : uint8 (capacity, n_rest)
        Further bytes of the codes, one row after another.
    rescale : float16 (capacity,)
        Rescale factors, or nothing, float16 (0,), where words hold their places.
    live : uint64 (≥ ceil(n_rows / 64),)
        Bit ``r % 64`` of word ``r // 64`` says whether row r holds a document. Never changed in place.
    n_rows : int
        Rows in view, dead ones included.
    """

    shape: CodeShape
    words: UInt64
    rest: UInt8
    rescale: Float16
    live: UInt64
    n_rows: int

    @classmethod
    def empty(cls, shape: CodeShape, n_rows: int = 0) -> FlatIndex:
        """Return an index without rows, with room for `n_rows`."""
        n_groups = -(-n_rows // GROUP)
        return cls(
            shape=shape,
            words=np.zeros((n_groups, shape.n_words, GROUP), dtype=np.uint64),
            rest=np.zeros((n_groups * GROUP, shape.n_rest), dtype=np.uint8),
            rescale=np.zeros(n_groups * GROUP if shape.n_rescale else 0, dtype=np.float16),
            live=np.zeros(0, dtype=np.uint64),
            n_rows=0,
        )

    @classmethod
    def from_codes(cls, codes: Codes, by_tables: bool = False) -> FlatIndex:
        """Build an index in which every row lives, of codes that are scanned by tables or by the Hamming distance."""
        n = len(codes)
        live = np.full(-(-n // 64), 2**64 - 1, dtype=np.uint64)
        n_rescale = 0 if codes.rescale is None else codes.rescale.itemsize
        shape = CodeShape(codes.words.shape[1], codes.rest.shape[1], n_rescale, by_tables)
        return cls.empty(shape, n).extended(n, live, tail=(0, codes))

    def extended(
        self,
        n_rows: int,
        live: UInt64,
        blocks: Iterable[tuple[int, UInt64, UInt8, Float16 | None]] = (),
        tail: tuple[int, Codes] | None = None,
    ) -> FlatIndex:
        """Return a view of more rows that shares this one's arrays where they have room.

        A row's code never changes, so writing a row that is already in view again changes nothing.

        Parameters
        ----------
        n_rows : int
            Rows in the new view.
        live : uint64 (≥ ceil(n_rows / 64),)
            The new liveness bitmap.
        blocks : iterable of (first_row, grouped words, rest, rescale)
            Codes of whole groups; `first_row` is a multiple of 16.
        tail : (first_row, Codes), optional
            Codes of any further rows, one row after another.
        """
        words, rest, rescale = self._with_room(n_rows)
        for first_row, block_words, block_rest, block_rescale in blocks:
            group, rows = first_row // GROUP, slice(first_row, first_row + len(block_rest))
            words[group : group + len(block_words)] = block_words
            rest[rows] = block_rest
            if block_rescale is not None:
                rescale[rows] = block_rescale
        if tail is not None:
            first, codes = tail
            rows_of_tail, rows = np.arange(first, first + len(codes)), slice(first, first + len(codes))
            grouped = bytes_of(words, self.shape.by_tables)
            in_words = row_bytes(codes.words).reshape(len(codes), self.shape.n_words, 8)
            grouped[rows_of_tail // GROUP, :, :, rows_of_tail % GROUP] = in_words
            rest[rows] = codes.rest
            if codes.rescale is not None:
                rescale[rows] = codes.rescale
        return FlatIndex(self.shape, words, rest, rescale, live, n_rows)

    def _with_room(self, n_rows: int) -> tuple[UInt64, UInt8, Float16]:
        n_groups = -(-n_rows // GROUP)
        if n_groups <= len(self.words):
            return self.words, self.rest, self.rescale
        if self.n_rows:
            n_groups = max(n_groups, int(len(self.words) * _GROWTH))
        larger = FlatIndex.empty(self.shape, n_groups * GROUP)
        used = -(-self.n_rows // GROUP)
        larger.words[:used] = self.words[:used]
        larger.rest[: self.n_rows] = self.rest[: self.n_rows]
        if self.shape.n_rescale:
            larger.rescale[: self.n_rows] = self.rescale[: self.n_rows]
        return larger.words, larger.rest, larger.rescale

    @property
    def codes(self) -> UInt8:
        """The words' bytes, uint8 (capacity / 16, n_words, 8, 16); see `bytes_of`."""
        return bytes_of(self.words, self.shape.by_tables)

    def codes_of(self, rows: Int64) -> Codes:
        """Return the codes of some rows, int64 (n,), one after another."""
        words = np.ascontiguousarray(self.codes[rows // GROUP, :, :, rows % GROUP]).reshape(len(rows), -1)
        rescale = self.rescale[rows] if self.shape.n_rescale else None
        return Codes(words.view("<u8").astype(np.uint64, copy=False), self.rest[rows], rescale)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in view: codes, rescale factors and liveness."""
        n_groups = -(-self.n_rows // GROUP)
        return int(n_groups * GROUP * self.shape.code_bytes + self.live.nbytes)

    def retrieve(
        self, query: Query, n_candidates: int, allowed: UInt64 | None = None, *, n_threads: int = 1
    ) -> Candidates:
        """Return the live, allowed rows nearest to the query.

        Parameters
        ----------
        query : Query
            Words are compared with its words by the Hamming distance, or their halves of bytes cost what its tables
            say.
        n_candidates : int
            How many rows to return at most.
        allowed : uint64 (≥ ceil(n_rows / 64),), optional
            Bitmap of rows that may be returned.
        n_threads : int
            How many threads share the work, at most; the answer is the same.

        Returns
        -------
        Candidates
            min(n_candidates, allowed rows) rows; the score is minus the distance, an integer.
        """
        return self.retrieve_batch([query], n_candidates, allowed, n_threads=n_threads)[0]

    def retrieve_batch(
        self, queries: Sequence[Query], n_candidates: int, allowed: UInt64 | None = None, *, n_threads: int = 1
    ) -> list[Candidates]:
        """Return what `retrieve` does for each query; codes are read from memory once for a number of them."""
        n = min(n_candidates, self.n_rows)
        if n == 0 or not queries:
            return [Candidates(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64)) for _ in queries]
        n_bitmap_words = -(-self.n_rows // 64)
        bitmap = self.live if allowed is None else self.live[:n_bitmap_words] & allowed[:n_bitmap_words]
        size = min(TILE, -(-len(queries) // n_threads), max(1, TILE_CANDIDATES // n))
        tiles = [queries[first : first + size] for first in range(0, len(queries), size)]
        n_ranges = max(1, min(n_threads // len(tiles), self.n_rows // RANGE))
        edges = [-(-self.n_rows * i // n_ranges // 64) * 64 for i in range(n_ranges)] + [self.n_rows]
        scans = [partial(self._scan, tile, n, bitmap, *edge) for tile in tiles for edge in pairwise(edges)]
        parts = in_threads(scans, n_threads)
        if n_ranges == 1:
            return [found for tile in parts for found in tile]
        by_tile = [parts[first : first + n_ranges] for first in range(0, len(parts), n_ranges)]
        return [_joined(found).top(n) for tile in by_tile for found in zip(*tile, strict=True)]

    def _scan(self, queries: Sequence[Query], n: int, bitmap: UInt64, first: int, stop: int) -> list[Candidates]:
        """Return the best n among the rows from `first` up to `stop`, for each query."""
        from binrag.kernels.scan import scan_kernel  # compiled code loads at the first search

        n_words = self.shape.n_words
        codes: UInt8 | UInt64
        asked: Any = np.stack([query.costs if self.shape.by_tables else query.words for query in queries])  # type: ignore[misc]
        if self.shape.by_tables:
            codes = bytes_of(self.words, True).reshape(len(self.words), 8 * n_words, GROUP)
            farthest = int(asked.max(axis=3).sum(axis=(1, 2), dtype=np.int64).max())
        else:
            codes, farthest = self.words, 64 * n_words
        counts = np.empty((len(queries), farthest + 2), dtype=np.int64)
        scratch = np.empty((2, len(queries), 4 * n), dtype=np.int64)
        out = np.empty((2, len(queries), n), dtype=np.int64)
        found = np.empty(len(queries), dtype=np.int64)
        scan_kernel(n_words)(
            codes, first, stop, asked, bitmap, n, counts, scratch[0], scratch[1], out[0], out[1], found
        )
        return [
            Candidates(rows[:own], -distances[:own].astype(np.float64))
            for rows, distances, own in zip(*out, found.tolist(), strict=True)
        ]


def _joined(parts: Sequence[Candidates]) -> Candidates:
    rows, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "scores"))
    return Candidates.ordered(rows, scores)
