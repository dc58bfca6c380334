"""Dictionaries: the distinct values of a column and the codes that stand for them; several can be made one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from binrag.filters import texts
from binrag.filters.kinds import MARKS, NUMBERS, Kind, keyed
from binrag.filters.texts import Texts
from binrag.types import Int64

Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Bools: TypeAlias = npt.NDArray[np.bool_]
Values: TypeAlias = "npt.NDArray[np.int64] | npt.NDArray[np.float64] | Texts | Lists | list[Any]"

_EXACT = 2**53
_GROUPS: Final = (NUMBERS, *((kind,) for kind in Kind if kind not in (*MARKS, *NUMBERS)))
_N_RESERVED: Final = 1 + len(MARKS)


@dataclass(frozen=True, slots=True)
class Entry:
    """The distinct values of one kind; they have consecutive codes.

    Attributes
    ----------
    kind : Kind
        Their kind.
    first : int
        Code of the first.
    values : int64 (n,), float64 (n,), Texts, Lists or list
        The values: ticks of datetimes and dates, strings in UTF-8. Of a mark, one None.
    """

    kind: Kind
    first: int
    values: Values


@dataclass(frozen=True)
class Dictionary:
    """Distinct values and their codes, from 1 on; 0 is no value.

    In one that `united` made, the marks' codes are the numbers of their kinds, used or not; one entry, under
    `Kind.INT`, has all numbers, int64, float64 or a list if neither holds them exactly; values of a kind are sorted.

    Attributes
    ----------
    entries : dict of Kind to Entry
        The values by their kind.
    n_codes : int
        How many codes there are, 0 included.
    """

    entries: dict[Kind, Entry]
    n_codes: int

    def code_of(self, value: object) -> int | None:
        """Return the code of a value, or None; of a dictionary that `united` made."""
        kind, key = keyed(value)
        if kind is Kind.NULL:
            return int(kind)
        entry = self.entries.get(kind)
        if entry is None or kind is Kind.DICT:
            return None
        if isinstance(entry.values, Lists):
            codes = [entry.values.items.code_of(item) for item in key]
            if None in codes:
                return None
            key = np.array(codes, ">u4").tobytes()
        ordered, place = _Ordered(entry.values), place_of(entry.values, key)
        return entry.first + place if place < len(ordered) and ordered[place] == key else None


@dataclass(frozen=True)
class Lists:
    """Lists, as codes of their items.

    Attributes
    ----------
    codes : integers (n_items,)
        The codes of all items.
    ends : int64 (n,)
        Where each list ends.
    items : Dictionary
        What codes stand for.
    """

    codes: Integers
    ends: Int64
    items: Dictionary

    @cached_property
    def owners(self) -> Integers:
        """The list of each item."""
        return np.repeat(np.arange(len(self.ends), dtype=np.uint32), np.diff(self.ends, prepend=0))

    def __len__(self) -> int:
        return len(self.ends)

    def with_item(self, value: object) -> Bools:
        """Return which of them have a value as an item, bool (n,)."""
        found, code = np.zeros(len(self.ends), np.bool_), self.items.code_of(value)
        if code is not None:
            found[self.owners[self.codes == code]] = True
        return found


class _Ordered(Sequence[Any]):
    """Sorted values as plain Python ones, which compare exactly; lists as bytes of their items' codes."""

    def __init__(self, values: Values) -> None:
        self._values = cast(Any, values)
        self._ends = memoryview(cast(Any, values.ends)) if isinstance(values, (Texts, Lists)) else None

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, place: Any) -> Any:
        if self._ends is None:
            value = self._values[place]
            return value.item() if isinstance(value, np.generic) else value
        own = slice(self._ends[place - 1] if place else 0, self._ends[place])
        if isinstance(self._values, Texts):
            return self._values.data[own]
        return self._values.codes[own].astype(">u4").tobytes()


def place_of(values: Values, key: Any, is_right: bool = False) -> int:
    """Return where a key is among sorted values: before those that equal it, or after them."""
    if isinstance(values, np.ndarray) and (
        isinstance(key, float) if values.dtype.kind == "f" else isinstance(key, int) and -(2**63) <= key < 2**63
    ):
        return int(np.searchsorted(values, values.dtype.type(key), side="right" if is_right else "left"))
    return (bisect_right if is_right else bisect_left)(_Ordered(values), key)


def united(dictionaries: Sequence[Dictionary]) -> tuple[Dictionary, list[npt.NDArray[np.uint32]]]:
    """Return one dictionary of several, and for each a table from its codes to the new ones."""
    tables = [np.zeros(own.n_codes, np.uint32) for own in dictionaries]
    for own, table in zip(dictionaries, tables, strict=True):
        for kind, entry in own.entries.items():
            if kind in MARKS:
                table[entry.first] = kind
    entries = {kind: Entry(kind, int(kind), [None]) for kind in MARKS}
    code = _N_RESERVED
    for group in _GROUPS:
        found = [
            (table, own.entries[kind])
            for own, table in zip(dictionaries, tables, strict=True)
            for kind in group
            if kind in own.entries
        ]
        if not found:
            continue
        values, places = _distinct([entry.values for _, entry in found])
        done = 0
        for table, entry in found:
            n = len(entry.values)
            table[entry.first : entry.first + n] = places[done : done + n] + code
            done += n
        entries[group[0]] = Entry(group[0], code, values)
        code += len(values)
    return Dictionary(entries, code), tables


def fitting(n_codes: int) -> type[np.unsignedinteger[Any]]:
    """Return the least type that holds so many codes."""
    return np.uint8 if n_codes <= 1 << 8 else np.uint16 if n_codes <= 1 << 16 else np.uint32


def _distinct(parts: Sequence[Values]) -> tuple[Values, Integers]:
    """Return the distinct values of one kind, sorted, and the place of each value of the parts among them."""
    if isinstance(parts[0], Texts):
        return texts.distinct(cast(Sequence[Texts], parts))
    if isinstance(parts[0], Lists):
        return _distinct_lists(cast(Sequence[Lists], parts))
    arrays = _arrays(parts)
    if arrays is not None:
        values, places = np.unique(np.concatenate(arrays), return_inverse=True)
        return values, places
    every: list[Any] = []
    for part in parts:
        every += part.tolist() if isinstance(part, np.ndarray) else cast(list[Any], part)
    distinct = sorted(set(every))
    place = {value: i for i, value in enumerate(distinct)}
    return distinct, np.fromiter(map(place.__getitem__, every), np.uint32, len(every))


def _distinct_lists(parts: Sequence[Lists]) -> tuple[Lists, Integers]:
    """Return the same for lists; their order is that of their items' codes."""
    items, tables = united([part.items for part in parts])
    packed = [
        Texts(table[part.codes].astype(">u4").tobytes(), 4 * part.ends)
        for part, table in zip(parts, tables, strict=True)
    ]
    values, places = texts.distinct(packed)
    return Lists(np.frombuffer(values.data, ">u4").astype(fitting(items.n_codes)), values.ends // 4, items), places


def _arrays(parts: Sequence[Values]) -> list[npt.NDArray[Any]] | None:
    """Return numbers as arrays of one type that holds all of them exactly; None if there is none."""
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) < len(parts):
        return None
    if len({array.dtype for array in arrays}) < 2:
        return arrays
    if any(array.dtype.kind == "i" and (array.max() > _EXACT or array.min() < -_EXACT) for array in arrays):
        return None
    return [array.astype(np.float64) for array in arrays]
