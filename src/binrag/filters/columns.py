"""A column: the values of all rows under one path, as codes into a sorted dictionary.

A column is a few segments, the oldest and largest first. A later one replaces what earlier ones say of its rows. An
update adds a segment and merges the last ones while they are of a size, so that it costs by the rows it brings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.errors import CorruptStore
from binrag.filters.blobs import Piece, pack_columns, paths_of, unpack_column
from binrag.filters.dictionaries import Dictionary, Integers, fitting, united
from binrag.filters.kinds import MARKS, Kind

_GROWTH = 8
"""A segment is merged into the one before it once that has no more than so many times its rows."""

_FEW_CODES = 256
_FEW_ROWS = 65536


@dataclass(frozen=True)
class Segment:
    """The codes of some rows.

    Attributes
    ----------
    ranges : tuple of (start, stop)
        The rows, ascending.
    codes : uint8, uint16 or uint32 (n,)
        The code of each of the rows' values.
    dictionary : Dictionary
        What codes stand for.
    marks : frozenset of Kind
        The marks that rows may have.
    """

    ranges: tuple[tuple[int, int], ...]
    codes: Integers
    dictionary: Dictionary
    marks: frozenset[Kind]

    @cached_property
    def postings(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]] | None:
        """The places of rows, sorted by their code, uint32 (n,), and where each code's begin, int64 (n_codes + 1,).

        None where comparing all codes takes no longer: for few codes, a byte each, and for few rows.
        """
        if self.dictionary.n_codes <= _FEW_CODES or len(self.codes) <= _FEW_ROWS:
            return None
        low, high = (self.codes & 0xFFFF).astype(np.uint16), (self.codes >> 16).astype(np.uint16)
        order = np.argsort(low, kind="stable")  # of 16 bits, a radix sort
        if self.codes.itemsize > 2:
            order = order[np.argsort(high[order], kind="stable")]
        begins = np.zeros(self.dictionary.n_codes + 1, np.int64)
        np.cumsum(np.bincount(self.codes, minlength=self.dictionary.n_codes), out=begins[1:])
        return order.astype(np.uint32), begins


@dataclass(frozen=True, slots=True)
class Column:
    """All rows' values under one dotted path; immutable.

    Attributes
    ----------
    path : str
        The path.
    n_rows : int
        Rows in view. A row that no piece covered has no value.
    segments : tuple of Segment
        The values, the oldest first.
    """

    path: str
    n_rows: int = 0
    segments: tuple[Segment, ...] = ()

    @classmethod
    def empty(cls, path: str) -> Column:
        """Return the column of no rows.

        Parameters
        ----------
        path : str
            The path.
        """
        return cls(path)

    def updated(self, n_rows: int, pieces: Iterable[tuple[int, bytes]]) -> Column:
        """Return the column after pieces were written.

        Parameters
        ----------
        n_rows : int
            Rows in view from now on.
        pieces : iterable of (int, bytes)
            First row, and what `pack_columns` made of it and the rows after it. A later piece replaces what is known
            of its rows.

        Returns
        -------
        Column
            A new one, which shares what did not change.

        Raises
        ------
        CorruptStore
            A blob is damaged.
        """
        new = [
            (first, unpack_column(blob, self.path, f"the metadata of the rows from {first:,} on"))
            for first, blob in pieces
        ]
        if not new:
            return Column(self.path, n_rows, self.segments)
        segments = [*self.segments, _merged([_of_piece(first, piece) for first, piece in new], is_oldest=False)]
        while len(segments) > 1 and len(segments[-2].codes) <= _GROWTH * len(segments[-1].codes):
            newer, older = segments.pop(), segments.pop()
            segments.append(newer if _covers(newer, older) else _merged([older, newer], is_oldest=not segments))
        return Column(self.path, n_rows, tuple(segments))


def unlike_rows(blob: bytes, rows: Sequence[Mapping[str, Any] | None], place: str) -> list[int]:
    """Return the rows whose values in a blob are not those of their metadata.

    Parameters
    ----------
    blob : bytes
        What `pack_columns` made of these rows, or the first of them, or of what they were.
    rows : sequence of dict or None
        Metadata; None for rows that may have any values.
    place : str
        Whose blob it is, for the message.

    Raises
    ------
    CorruptStore
        The blob is damaged, or of more rows.
    """
    own = pack_columns(rows)
    if own == blob:
        return []
    is_unlike = np.zeros(len(rows), np.bool_)
    for path in sorted({*paths_of(blob, place), *paths_of(own, place)}):
        stored, expected = unpack_column(blob, path, place), unpack_column(own, path, place)
        if len(stored.codes) > len(rows):
            raise CorruptStore(f"{place} holds {len(stored.codes)} rows, expected at most {len(rows)}")
        _, (table, own_table) = united([stored.dictionary, expected.dictionary])
        n = len(stored.codes)
        is_unlike[:n] |= table[stored.codes] != own_table[expected.codes[:n]]
    return [row for row in np.flatnonzero(is_unlike).tolist() if rows[row] is not None]


def _of_piece(first: int, piece: Piece) -> Segment:
    """Return a piece as a segment whose dictionary has its own codes, for `_merged` only."""
    marks = frozenset(kind for kind in MARKS if kind in piece.dictionary.entries)
    ranges = ((first, first + len(piece.codes)),) if len(piece.codes) else ()
    return Segment(ranges, piece.codes, piece.dictionary, marks)


def _covers(newer: Segment, older: Segment) -> bool:
    """Say whether nothing is left of the older segment; one range in another is all that occurs often."""
    return any(
        start <= older.ranges[0][0] and older.ranges[-1][1] <= stop for start, stop in newer.ranges if older.ranges
    )


def _merged(segments: Sequence[Segment], is_oldest: bool) -> Segment:
    """Return one segment of several, later ones replacing what earlier ones say of their rows.

    Parameters
    ----------
    segments : sequence of Segment
        The oldest first.
    is_oldest : bool
        Whether nothing is older, so that rows between them may be covered too, as having no value.
    """
    dictionary, tables = united([segment.dictionary for segment in segments])
    marks = frozenset().union(*(segment.marks for segment in segments))
    ranges = [one for segment in segments for one in segment.ranges]
    dtype = fitting(dictionary.n_codes)
    if not ranges:
        return Segment((), np.zeros(0, dtype), dictionary, marks)
    low = 0 if is_oldest else min(start for start, _ in ranges)
    span: Integers = np.zeros(max(stop for _, stop in ranges) - low, dtype)
    covered = np.full(len(span), is_oldest)
    for segment, table in zip(segments, tables, strict=True):
        codes, done = table.astype(dtype)[segment.codes], 0
        for start, stop in segment.ranges:
            span[start - low : stop - low] = codes[done : done + stop - start]
            covered[start - low : stop - low] = True
            done += stop - start
    if covered.all():
        return Segment(((low, low + len(span)),), span, dictionary, marks)
    edges = np.flatnonzero(np.diff(covered, prepend=False, append=False)) + low
    return Segment(tuple(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)), span[covered], dictionary, marks)
