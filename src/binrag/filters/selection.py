"""Which rows a filter allows, from columns: a bitmap.

Every condition is settled once for the codes of a column, and then for the rows by their codes. Where a value is too
long to be kept in a column, a row may stay open; the bitmaps of what surely and of what possibly matches are carried
up the tree, and only rows that are open at its root are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from binrag.filters import tree
from binrag.filters.blobs import is_long
from binrag.filters.columns import Column, Segment
from binrag.filters.dictionaries import Bools, Dictionary, Integers, Lists, place_of
from binrag.filters.kinds import MARKS, Kind, keyed
from binrag.filters.predicate import ORDERED, matches
from binrag.filters.texts import Texts
from binrag.filters.tree import And, Filter, Leaf, Not, Or
from binrag.types import UInt64

_FETCHED = 4096
"""Rows fetched at once."""

_MAX_SPANS = 8
"""Runs of codes up to which rows are compared with their ends; beyond, codes are looked up one by one."""

_CHUNK = 65536
_FEW = 8
"""A condition that allows at most one row in so many is settled by postings."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The codes of a dictionary that a condition allows.

    Attributes
    ----------
    spans : list of (start, stop)
        Runs of codes, ascending.
    mask : bool (n_codes,) or None
        A flag a code; takes the place of the spans.
    """

    spans: Sequence[tuple[int, int]] = ()
    mask: Bools | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The rows that surely match, and those that possibly do; the same array where no row is open."""

    sure: UInt64
    possible: UInt64

    def combined(self, other: Bounds, combine: Callable[[UInt64, UInt64], UInt64]) -> Bounds:
        """Combine with another by "and" or "or"."""
        sure = combine(self.sure, other.sure)
        if self.sure is self.possible and other.sure is other.possible:
            return Bounds(sure, sure)
        return Bounds(sure, combine(self.possible, other.possible))

    def inverted(self, n_rows: int) -> Bounds:
        """Return the bounds of the opposite."""
        sure = _inverted(self.possible, n_rows)
        return Bounds(sure, sure if self.sure is self.possible else _inverted(self.sure, n_rows))


def select(
    filter: Filter,
    n_rows: int,
    column_of: Callable[[str], Column],
    fetch: Callable[[Sequence[int]], list[Mapping[str, Any]]],
    live: UInt64 | None = None,
) -> UInt64:
    """Return the rows that a filter allows.

    Parameters
    ----------
    filter : Filter
        The condition.
    n_rows : int
        Rows to decide about.
    column_of : callable
        Returns the column of a path.
    fetch : callable
        Returns the metadata of given rows, in their order; asked where a value is too long for a column and decides.
    live : uint64 (ceil(n_rows / 64),), optional
        The rows to ask `fetch` about, as bits; by default all.

    Returns
    -------
    uint64 (ceil(n_rows / 64),)
        Bit ``r % 64`` of word ``r // 64``: row r matches. Bits past the last row are zero; those of rows that are not
        live have no meaning.
    """
    bounds = _bounds(filter, n_rows, column_of)
    if bounds.sure is bounds.possible:
        return bounds.sure
    is_open = bounds.possible & ~bounds.sure
    if live is not None:
        is_open &= live
    rows = np.flatnonzero(np.unpackbits(is_open.astype("<u8").view(np.uint8), bitorder="little"))
    if not len(rows):
        return bounds.sure
    chosen = np.zeros(n_rows, np.bool_)
    for start in range(0, len(rows), _FETCHED):
        asked = rows[start : start + _FETCHED].tolist()
        chosen[asked] = [matches(filter, metadata) for metadata in fetch(asked)]
    return bounds.sure | _bitmap(chosen)


def _bounds(filter: Filter, n_rows: int, column_of: Callable[[str], Column]) -> Bounds:
    if isinstance(filter, (And, Or)):
        if not filter.filters:
            words = _bitmap(np.full(n_rows, isinstance(filter, And)))
            return Bounds(words, words)
        combine = np.bitwise_and if isinstance(filter, And) else np.bitwise_or
        bounds = _bounds(filter.filters[0], n_rows, column_of)
        for child in filter.filters[1:]:
            bounds = bounds.combined(_bounds(child, n_rows, column_of), combine)
        return bounds
    if isinstance(filter, Not):
        return _bounds(filter.filter, n_rows, column_of).inverted(n_rows)
    if isinstance(filter, tree.Ne):
        return _bounds(tree.Eq(filter.path, filter.value), n_rows, column_of).inverted(n_rows)
    if isinstance(filter, tree.NotIn):
        return _bounds(tree.In(filter.path, filter.values), n_rows, column_of).inverted(n_rows)
    if isinstance(filter, Leaf):
        return _of_leaf(filter, n_rows, column_of(filter.path))
    raise TypeError(f"no operator of binrag: {filter!r}")


def _of_leaf(leaf: Leaf, n_rows: int, column: Column) -> Bounds:
    """Return the rows of a column that a condition allows, as bounds."""
    open_marks, segments = _open_marks(leaf), column.segments
    if len(segments) == 1 and segments[0].ranges == ((0, n_rows),) and not open_marks & segments[0].marks:
        words = _bitmap(_chosen(leaf, segments[0]))
        return Bounds(words, words)
    sure = np.full(n_rows, isinstance(leaf, tree.IsEmpty))
    possible = sure.copy() if any(open_marks & segment.marks for segment in segments) else None
    for segment in segments:
        chosen, marks = _chosen(leaf, segment), open_marks & segment.marks
        _overlay(sure, segment, chosen)
        if possible is not None:
            is_open = _rows_of(segment, _of_codes(marks))
            _overlay(possible, segment, chosen | is_open)
    words = _bitmap(sure)
    return Bounds(words, words if possible is None else _bitmap(possible))


def _chosen(leaf: Leaf, segment: Segment) -> Bools:
    return _rows_of(segment, _CHOICES[type(leaf)](leaf, segment.dictionary))


def _overlay(rows: Bools, segment: Segment, own: Bools) -> None:
    """Write a segment's flags over those of all rows."""
    done = 0
    for start, stop in segment.ranges:
        rows[start:stop] = own[done : done + max(0, min(stop, len(rows)) - start)]
        done += stop - start


def _open_marks(leaf: Leaf) -> frozenset[Kind]:
    """Return the marks whose rows a condition can't be settled for without their values."""
    if isinstance(leaf, tree.Eq):
        return _equal_marks([leaf.value])
    if isinstance(leaf, tree.In):
        return _equal_marks(leaf.values)
    if isinstance(leaf, (tree.Lt, tree.Le, tree.Gt, tree.Ge)):
        return frozenset(_LONG[kind] for kind in [keyed(leaf.value)[0]] if kind in _LONG and kind in ORDERED)
    if isinstance(leaf, tree.Contains):
        return _container_marks(leaf.value)
    if isinstance(leaf, tree.Any):
        return frozenset().union(*map(_container_marks, leaf.values))
    if isinstance(leaf, tree.All) and leaf.values:
        return frozenset(MARKS).intersection(*map(_container_marks, leaf.values))
    return frozenset([Kind.LONG_STR]) if isinstance(leaf, tree.TextMatch) else frozenset()


def _equal_marks(values: Iterable[object]) -> frozenset[Kind]:
    """Return the marks under which one of the values may be; a short list may equal a long one, by 1 == 1.0."""
    return frozenset(
        _LONG[kind]
        for value in values
        for kind in [keyed(value)[0]]
        if kind is Kind.LIST or (isinstance(value, (str, bytes)) and is_long(value))
    )


def _container_marks(item: object) -> frozenset[Kind]:
    """Return the marks of values that may contain an item."""
    if isinstance(item, str):
        return frozenset({Kind.LONG_LIST, Kind.LONG_STR, Kind.DICT})
    return frozenset({Kind.LONG_LIST, Kind.LONG_BYTES} if isinstance(item, (bytes, int)) else {Kind.LONG_LIST})


def _of_equal(leaf: tree.Eq, dictionary: Dictionary) -> Choice:
    return _of_codes([] if leaf.value is None else [dictionary.code_of(leaf.value)])


def _of_in(leaf: tree.In, dictionary: Dictionary) -> Choice:
    return _of_codes(dictionary.code_of(value) for value in leaf.values if value is not None)


def _of_comparison(leaf: tree.Valued, dictionary: Dictionary) -> Choice:
    kind, key = keyed(leaf.value)
    entry = dictionary.entries.get(kind)
    if kind not in ORDERED or entry is None:
        return Choice()
    is_upper, is_right = isinstance(leaf, (tree.Lt, tree.Le)), isinstance(leaf, (tree.Le, tree.Gt))
    place = place_of(entry.values, key, is_right)
    start, stop = (0, place) if is_upper else (place, len(entry.values))
    return Choice([(entry.first + start, entry.first + stop)] if start < stop else [])


def _of_contains(leaf: tree.Contains, dictionary: Dictionary) -> Choice:
    return Choice(mask=_containing(leaf.value, dictionary))


def _of_any(leaf: tree.Any, dictionary: Dictionary) -> Choice:
    mask = np.zeros(dictionary.n_codes, np.bool_)
    for value in leaf.values:
        mask |= _containing(value, dictionary)
    return Choice(mask=mask)


def _of_all(leaf: tree.All, dictionary: Dictionary) -> Choice:
    mask = np.ones(dictionary.n_codes, np.bool_)
    mask[[0, Kind.NULL]] = False
    for value in leaf.values:
        mask &= _containing(value, dictionary)
    return Choice(mask=mask)


def _of_text(leaf: tree.TextMatch, dictionary: Dictionary) -> Choice:
    entry = dictionary.entries.get(Kind.STR)
    if entry is None:
        return Choice()
    values = cast(Texts, entry.values)
    mask = np.zeros(dictionary.n_codes, np.bool_)
    mask[entry.first : entry.first + len(values)] = (
        values.with_lower(leaf.text.lower()) if leaf.ignore_case else values.with_part(leaf.text.encode())
    )
    return Choice(mask=mask)


def _of_empty(leaf: tree.IsEmpty, dictionary: Dictionary) -> Choice:
    return _of_codes([0, Kind.NULL, dictionary.code_of(""), dictionary.code_of(())])


def _of_exists(leaf: tree.Exists, dictionary: Dictionary) -> Choice:
    return Choice([(1, dictionary.n_codes)])


_CHOICES: Final[dict[type[Leaf], Callable[[Any, Dictionary], Choice]]] = {
    tree.Eq: _of_equal,
    tree.In: _of_in,
    **dict.fromkeys((tree.Lt, tree.Le, tree.Gt, tree.Ge), _of_comparison),
    tree.Contains: _of_contains,
    tree.Any: _of_any,
    tree.All: _of_all,
    tree.TextMatch: _of_text,
    tree.IsEmpty: _of_empty,
    tree.Exists: _of_exists,
}

_LONG: Final = {Kind.STR: Kind.LONG_STR, Kind.BYTES: Kind.LONG_BYTES, Kind.LIST: Kind.LONG_LIST}


def _of_codes(codes: Iterable[int | None]) -> Choice:
    spans: list[tuple[int, int]] = []
    for code in sorted({int(code) for code in codes if code is not None}):
        if spans and spans[-1][1] == code:
            spans[-1] = (spans[-1][0], code + 1)
        else:
            spans.append((code, code + 1))
    return Choice(spans)


def _containing(item: object, dictionary: Dictionary) -> Bools:
    """Return which codes stand for a value that contains an item."""
    mask = np.zeros(dictionary.n_codes, np.bool_)
    lists = dictionary.entries.get(Kind.LIST)
    if lists is not None:
        mask[lists.first : lists.first + len(lists.values)] = cast(Lists, lists.values).with_item(item)
    part = _part(item)
    entry = None if part is None else dictionary.entries.get(Kind.STR if isinstance(item, str) else Kind.BYTES)
    if part is not None and entry is not None:
        mask[entry.first : entry.first + len(entry.values)] = cast(Texts, entry.values).with_part(part)
    return mask


def _part(item: object) -> bytes | None:
    """Return the bytes of the strings that contain an item, or None if it is part of no string."""
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, int):
        return bytes([item]) if 0 <= item < 256 else None
    return item if isinstance(item, bytes) else None


def _rows_of(segment: Segment, choice: Choice) -> Bools:
    """Return which rows of a segment have one of the chosen codes, bool (n,)."""
    codes, mask, spans = segment.codes, choice.mask, choice.spans
    few = _few_rows(segment, choice)
    if few is not None:
        rows = np.zeros(len(codes), np.bool_)
        rows[few] = True
        return rows
    if mask is None and len(spans) <= _MAX_SPANS:
        rows = _between(segment, *spans[0]) if spans else np.zeros(len(codes), np.bool_)
        for span in spans[1:]:
            rows |= _between(segment, *span)
        return rows
    if mask is None:
        mask = np.zeros(segment.dictionary.n_codes, np.bool_)
        for start, stop in spans:
            mask[start:stop] = True
    rows = np.empty(len(codes), np.bool_)
    for start in range(0, len(codes), _CHUNK):
        np.take(mask, codes[start : start + _CHUNK], out=rows[start : start + _CHUNK], mode="clip")
    return rows


def _few_rows(segment: Segment, choice: Choice) -> Integers | None:
    """Return the places of the rows with one of the chosen codes; None if they are not few, or quickly compared."""
    if segment.postings is None:
        return None
    order, begins = segment.postings
    if choice.mask is None:
        spans = np.array(choice.spans, np.int64).reshape(-1, 2)
        starts, stops = begins[spans[:, 0]], begins[spans[:, 1]]
    else:
        chosen = np.flatnonzero(choice.mask)
        starts, stops = begins[chosen], begins[chosen + 1]
    n = stops - starts
    total = int(n.sum())
    if total * _FEW > len(segment.codes):
        return None
    return order[np.repeat(starts - (np.cumsum(n) - n), n) + np.arange(total)]


def _between(segment: Segment, start: int, stop: int) -> Bools:
    """Return which rows have a code from start to stop - 1."""
    codes, kind = segment.codes, segment.codes.dtype.type
    if stop - start == 1:
        return cast(Bools, codes == kind(start))
    if stop >= segment.dictionary.n_codes:
        return codes >= kind(start)
    if start == 0:
        return codes < kind(stop)
    return (codes - kind(start)) < kind(stop - start)  # unsigned: what is less than start wraps around


def _bitmap(rows: Bools) -> UInt64:
    words = np.zeros(-(-len(rows) // 64), "<u8")
    words.view(np.uint8)[: -(-len(rows) // 8)] = np.packbits(rows, bitorder="little")
    return words.astype(np.uint64, copy=False)


def _inverted(words: UInt64, n_rows: int) -> UInt64:
    inverted = ~words
    if n_rows % 64:
        inverted[-1] &= np.uint64((1 << n_rows % 64) - 1)
    return inverted
