"""The exhaustive index: every live row is looked at. The default, and the oracle of every other index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from binrag.types import GROUP, Candidates, Codes, Float16, Query, UInt8, UInt64

_GROWTH = 1.5


def group_words(words: UInt64) -> UInt64:
    """Interleave row-major words for the scan.

    Parameters
    ----------
    words : uint64 (n, n_words)
        Codes, one row after another.

    Returns
    -------
    uint64 (ceil(n / 16), n_words, 16)
        ``result[r // 16, w, r % 16] == words[r, w]``; lanes past the last row are zero.
    """
    n, n_words = words.shape
    n_groups = -(-n // GROUP)
    padded = np.zeros((n_groups * GROUP, n_words), dtype=np.uint64)
    padded[:n] = words
    return np.ascontiguousarray(padded.reshape(n_groups, GROUP, n_words).transpose(0, 2, 1))


@dataclass(frozen=True, slots=True, eq=False)
class FlatIndex:
    """An immutable view of the first `n_rows` of append-only arrays.

    Rows past `n_rows` may be written by a newer view that shares the arrays; this one never reads them.

    Attributes
    ----------
    words : uint64 (capacity / 16, n_words, 16)
        Grouped codes.
    rest : uint8 (capacity, n_rest)
        Further bytes of the codes, one row after another.
    rescale : float16 (capacity,)
        Rescale factors.
    live : uint64 (≥ ceil(n_rows / 64),)
        Bit ``r % 64`` of word ``r // 64`` says whether row r holds a document. Never changed in place.
    n_rows : int
        Rows in view, dead ones included.
    """

    words: UInt64
    rest: UInt8
    rescale: Float16
    live: UInt64
    n_rows: int

    @classmethod
    def empty(cls, n_words: int, n_rest: int = 0, n_rows: int = 0) -> FlatIndex:
        """Return an index without rows, with room for `n_rows`."""
        n_groups = -(-n_rows // GROUP)
        return cls(
            words=np.zeros((n_groups, n_words, GROUP), dtype=np.uint64),
            rest=np.zeros((n_groups * GROUP, n_rest), dtype=np.uint8),
            rescale=np.zeros(n_groups * GROUP, dtype=np.float16),
            live=np.zeros(0, dtype=np.uint64),
            n_rows=0,
        )

    @classmethod
    def from_codes(cls, codes: Codes) -> FlatIndex:
        """Build an index in which every row lives."""
        n = len(codes)
        live = np.full(-(-n // 64), 2**64 - 1, dtype=np.uint64)
        block = (0, group_words(codes.words), codes.rest, codes.rescale)
        return cls.empty(codes.words.shape[1], codes.rest.shape[1], n).extended(n, live, [block])

    def extended(
        self,
        n_rows: int,
        live: UInt64,
        blocks: Iterable[tuple[int, UInt64, UInt8, Float16]] = (),
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
            group, rows = first_row // GROUP, slice(first_row, first_row + len(block_rescale))
            words[group : group + len(block_words)] = block_words
            rest[rows], rescale[rows] = block_rest, block_rescale
        if tail is not None:
            rows_of_tail = np.arange(tail[0], tail[0] + len(tail[1]))
            words[rows_of_tail // GROUP, :, rows_of_tail % GROUP] = tail[1].words
            rest[rows_of_tail], rescale[rows_of_tail] = tail[1].rest, tail[1].rescale
        return FlatIndex(words, rest, rescale, live, n_rows)

    def _with_room(self, n_rows: int) -> tuple[UInt64, UInt8, Float16]:
        n_groups = -(-n_rows // GROUP)
        if n_groups <= len(self.words):
            return self.words, self.rest, self.rescale
        if self.n_rows:
            n_groups = max(n_groups, int(len(self.words) * _GROWTH))
        larger = FlatIndex.empty(self.words.shape[1], self.rest.shape[1], n_groups * GROUP)
        used = -(-self.n_rows // GROUP)
        larger.words[:used] = self.words[:used]
        larger.rest[: self.n_rows] = self.rest[: self.n_rows]
        larger.rescale[: self.n_rows] = self.rescale[: self.n_rows]
        return larger.words, larger.rest, larger.rescale

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in view: codes, rescale factors and liveness."""
        n_groups = -(-self.n_rows // GROUP)
        per_row = 8 * self.words.shape[1] + self.rest.shape[1] + self.rescale.itemsize
        return int(n_groups * GROUP * per_row + self.live.nbytes)

    def retrieve(self, query: Query, n_candidates: int, allowed: UInt64 | None = None) -> Candidates:
        """Return the live, allowed rows nearest to the query.

        Parameters
        ----------
        query : Query
            Without `scales`, words are compared by the Hamming distance to its plane; with them, by the weighted
            distance to its planes.
        n_candidates : int
            How many rows to return at most.
        allowed : uint64 (≥ ceil(n_rows / 64),), optional
            Bitmap of rows that may be returned.

        Returns
        -------
        Candidates
            min(n_candidates, allowed rows) rows; the score is minus the distance, an integer.
        """
        n = min(n_candidates, self.n_rows)
        if n == 0:
            return Candidates(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64))
        from binrag.kernels.scan import scan_kernel  # compiled code loads at the first search

        n_words, n_planes = self.words.shape[1], 0 if query.scales is None else len(query.planes)
        scales = np.ones(n_words, np.int64) if query.scales is None else query.scales.astype(np.int64)
        farthest = 64 * ((1 << max(n_planes, 1)) - 1) * int(scales.sum())
        n_bitmap_words = -(-self.n_rows // 64)
        bitmap = self.live if allowed is None else self.live[:n_bitmap_words] & allowed[:n_bitmap_words]
        counts = np.empty(farthest + 2, dtype=np.int64)
        scratch = np.empty((2, 4 * n), dtype=np.int64)
        out = np.empty((2, n), dtype=np.int64)
        found = scan_kernel(n_words, n_planes)(
            self.words, self.n_rows, query.planes, scales, bitmap, n, counts, scratch[0], scratch[1], out[0], out[1]
        )
        return Candidates(out[0, :found], -out[1, :found].astype(np.float64))
