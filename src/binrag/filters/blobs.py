"""One block's metadata as columns: a blob that holds, for every path, the distinct values and a code a row.

The layout is in ``docs/file-format.md``, part ``metadata``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgpack
import numpy as np

from binrag.errors import CorruptStore
from binrag.filters.dictionaries import Dictionary, Entry, Integers, Lists, Values, fitting
from binrag.filters.kinds import MARKS, MAX_BYTES, Kind, keyed
from binrag.filters.predicate import flattened
from binrag.filters.texts import Texts
from binrag.filters.tree import MAX_DEPTH
from binrag.types import BLOCK

_TICKS = (Kind.NAIVE, Kind.AWARE, Kind.DATE)
_INTEGERS = (Kind.INT, *_TICKS)
_TEXTS = (Kind.STR, Kind.BYTES)
_WIDTHS = (1, 2, 4, 8)
_ITEM = 40
"""Bytes of msgpack that None, a number, a datetime or a date in a list takes at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One path's values in consecutive rows.

    Attributes
    ----------
    codes : integers (n_rows,)
        The code of each row's value; 0: none.
    dictionary : Dictionary
        What codes stand for; no value has two, but equal numbers of two kinds may.
    """

    codes: Integers
    dictionary: Dictionary


_DAMAGE = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)
"""What bytes that are no blob make of the code that reads them."""


def pack_columns(rows: Sequence[Mapping[str, Any] | None]) -> bytes:
    """Pack the metadata of consecutive rows, column by column.

    Parameters
    ----------
    rows : sequence of dict or None
        Metadata as records hold it, at most 4,096; None for a row without.

    Returns
    -------
    bytes
        The blob. The same rows make the same bytes.
    """
    if len(rows) > BLOCK:
        raise ValueError(f"got {len(rows)} rows, expected at most {BLOCK}")
    columns: dict[str, tuple[list[int], list[Any]]] = {}
    for row, metadata in enumerate(rows):
        if not metadata:
            continue
        for path, value in (metadata if _is_flat(metadata) else flattened(metadata)).items():
            column = columns.get(path)
            if column is None:
                column = columns[path] = ([], [])
            column[0].append(row)
            column[1].append(value)
    return _packed([len(rows), {path: _pack_column(len(rows), *columns[path]) for path in sorted(columns)}])


def paths_of(blob: bytes, place: str) -> list[str]:
    """Return the paths of a blob's columns.

    Raises
    ------
    CorruptStore
        It is no blob of columns; names the place.
    """
    try:
        return list(_columns(blob)[1])
    except _DAMAGE as error:
        raise CorruptStore(f"{place} is damaged ({error}); restore the file from a backup") from error


def unpack_column(blob: bytes, path: str, place: str) -> Piece:
    """Read one path's values from a blob.

    Parameters
    ----------
    blob : bytes
        What `pack_columns` returned.
    path : str
        The path.
    place : str
        Whose metadata it is, for the message.

    Returns
    -------
    Piece
        The values of all its rows.

    Raises
    ------
    CorruptStore
        The blob is not as `pack_columns` writes it.
    """
    try:
        n_rows, column = _found(blob, path)
        if column is None:
            return Piece(np.zeros(n_rows, np.uint8), Dictionary({}, 1))
        return _read_column(n_rows, column)
    except _DAMAGE as error:
        raise CorruptStore(
            f"{place}: the column {path!r} is damaged ({error}); restore the file from a backup"
        ) from error


def is_long(value: str | bytes | list[Any] | tuple[Any, ...]) -> bool:
    """Say whether a value is too long to be kept in a column."""
    if isinstance(value, (list, tuple)):
        return _most(value) > MAX_BYTES and (len(value) >= MAX_BYTES or len(_packed(value)) > MAX_BYTES)
    n = len(value)
    if isinstance(value, str) and MAX_BYTES // 4 <= n <= MAX_BYTES:
        n = len(value.encode())
    return n > MAX_BYTES - 2


def _most(values: list[Any] | tuple[Any, ...]) -> int:
    """Return how many bytes of msgpack a list takes at most, quickly; above `MAX_BYTES` it has to be packed."""
    if set(map(type, values)) == {str}:
        return 3 + 5 * len(values) + 4 * sum(map(len, values))
    most = 3
    for value in values:
        if isinstance(value, (str, bytes)):
            most += 4 * len(value) + 5
        elif isinstance(value, (dict, list, tuple)):
            return MAX_BYTES + 1
        else:
            most += _ITEM
    return most


def _is_flat(metadata: Mapping[str, Any]) -> bool:
    """Say whether the paths of metadata are its keys: no dict, and no list with one."""
    for value in metadata.values():
        kind = type(value)
        if kind is dict or ((kind is list or kind is tuple) and dict in set(map(type, value))):
            return False
    return True


def _pack_column(n_rows: int, rows: list[int], values: list[Any]) -> bytes:
    entries, codes, n_codes = _coded(values)
    packed = None if n_codes == 2 else codes.tobytes()
    if len(rows) == n_rows:
        return _packed([None, entries, packed])
    if 2 * len(rows) + len(packed or b"") < n_rows * codes.itemsize:
        return _packed([np.array(rows, dtype="<u2").tobytes(), entries, packed])
    dense = np.zeros(n_rows, codes.dtype)
    dense[rows] = codes
    return _packed([None, entries, dense.tobytes()])


def _coded(values: list[Any]) -> tuple[list[Any], Integers, int]:
    """Return the entries of the distinct values, the code of each value, and how many codes there are."""
    numbers, distinct = _numbered(values)
    kinds = _by_kind(distinct)
    entries, places, code = [], np.zeros(len(distinct), np.uint32), 1
    for kind in sorted(kinds):
        own = kinds[kind]
        count = 1 if kind in MARKS else len(own)
        places[own] = np.arange(code, code + count)
        entries.append([int(kind), count, _pack_values(kind, [distinct[number] for number in own])])
        code += count
    return entries, places[numbers].astype(_little(code)), code


def _little(n_codes: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Return the type of codes, little-endian."""
    return np.dtype(fitting(n_codes)).newbyteorder("<")


def _numbered(values: list[Any]) -> tuple[list[int], list[Any]]:
    """Return a number for each value, counted from 0 in the order of their first appearance, and the distinct values.

    Dicts count as one value, as a column only says that they are there.
    """
    known: dict[Any, int] = {}
    try:
        return [known.setdefault(value, len(known)) for value in values], list(known)
    except TypeError:  # a list or dict among them
        known.clear()
    distinct: list[Any] = []
    numbers = []
    for value in values:
        try:
            number = known.setdefault(tuple(value) if type(value) is list else value, len(distinct))
        except TypeError:
            number = known.setdefault(_hashable(value), len(distinct))
        if number == len(distinct):
            distinct.append(value)
        numbers.append(number)
    return numbers, distinct


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return dict
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    return value


def _by_kind(values: list[Any]) -> dict[Kind, list[int]]:
    """Return the places of the values of each kind; where all are short text or numbers, that is quickly said."""
    types, every = set(map(type, values)), list(range(len(values)))
    if types == {str} and max(map(len, values)) < MAX_BYTES // 4:
        return {Kind.STR: every}
    if types == {list} and not any(map(is_long, values)):
        return {Kind.LIST: every}
    if types == {float}:
        return {Kind.FLOAT: every}
    if types == {int} and _is_narrow(min(values)) and _is_narrow(max(values)):
        return {Kind.INT: every}
    kinds: dict[Kind, list[int]] = {}
    for place, value in enumerate(values):
        kinds.setdefault(_stored_kind(value), []).append(place)
    return kinds


def _is_narrow(value: int) -> bool:
    return -(2**63) <= value < 2**63


def _stored_kind(value: Any) -> Kind:
    kind = keyed(value)[0] if not isinstance(value, (list, tuple)) else Kind.LIST
    if kind is Kind.STR:
        return Kind.LONG_STR if is_long(value) else Kind.STR
    if kind is Kind.BYTES:
        return Kind.LONG_BYTES if is_long(value) else Kind.BYTES
    if kind is Kind.LIST:
        return Kind.LONG_LIST if is_long(value) else Kind.LIST
    if kind is Kind.INT and isinstance(value, float):
        return Kind.FLOAT
    return Kind.BIG_INT if kind is Kind.INT and not _is_narrow(value) else kind


def _pack_values(kind: Kind, values: list[Any]) -> Any:
    if kind in MARKS:
        return None
    if kind is Kind.FLOAT:
        return np.array(values, dtype="<f8").tobytes()
    if kind in _INTEGERS:
        integers = [keyed(value)[1] for value in values] if kind in _TICKS else list(map(int, values))
        width = _width(min(integers), max(integers))
        return np.array(integers, dtype=f"<i{width}").tobytes()
    if kind in _TEXTS:
        texts = [value.encode() for value in values] if kind is Kind.STR else values
        return bytes(map(len, texts)) + b"".join(texts)
    if kind is Kind.LIST:
        entries, codes, _ = _coded([item for value in values for item in value])
        return [bytes(map(len, values)), entries, codes.tobytes()]
    return values


def _width(low: int, high: int) -> int:
    return next(width for width in _WIDTHS if -(1 << (8 * width - 1)) <= low and high < 1 << (8 * width - 1))


def _columns(blob: bytes) -> tuple[int, dict[str, Any]]:
    """Return how many rows a blob holds, and its columns by path."""
    record = msgpack.unpackb(blob, raw=False, strict_map_key=True)
    if not isinstance(record, list) or len(record) != 2 or not isinstance(record[1], dict):
        raise ValueError("expected rows and columns")
    n_rows, columns = record
    if type(n_rows) is not int or not 0 <= n_rows <= BLOCK:
        raise ValueError(f"it says it has {n_rows!r} rows")
    return n_rows, columns


def _found(blob: bytes, path: str) -> tuple[int, bytes | None]:
    """Return how many rows a blob holds, and the bytes of one column, or None."""
    n_rows, columns = _columns(blob)
    column = columns.get(path)
    if column is not None and not isinstance(column, bytes):
        raise ValueError("expected bytes")
    return n_rows, column


def _read_column(n_rows: int, column: bytes) -> Piece:
    record = msgpack.unpackb(column, raw=False, strict_map_key=True)
    if not isinstance(record, list) or len(record) != 3:
        raise ValueError("expected rows, values and codes")
    rows, entries, codes = record
    n = n_rows if rows is None else len(rows) // 2
    dictionary = _read_entries(entries, n)
    own: Integers = np.ones(n, np.uint8) if codes is None else _read_codes(dictionary, codes)
    if len(own) != n or (codes is None and dictionary.n_codes != 2):
        raise ValueError("too many codes or too few")
    if rows is None:
        return Piece(own, dictionary)
    places = np.frombuffer(rows, "<u2")
    if n and (places[-1] >= n_rows or np.any(places[1:] <= places[:-1])):
        raise ValueError("a row is out of range or out of order")
    dense = np.zeros(n_rows, own.dtype)
    dense[places] = own
    return Piece(dense, dictionary)


def _read_codes(dictionary: Dictionary, codes: bytes) -> Integers:
    own = np.frombuffer(codes, _little(dictionary.n_codes))
    if len(own) and int(own.max()) >= dictionary.n_codes:
        raise ValueError("a code is out of range")
    return own


def _read_entries(packed: Any, n: int, level: int = 0) -> Dictionary:
    """Read what codes of `n` values stand for."""
    if level > MAX_DEPTH:
        raise ValueError("lists are nested too deep")
    entries: dict[Kind, Entry] = {}
    code, last = 1, 0
    for number, count, values in packed:
        kind = Kind(number)
        if kind <= last:
            raise ValueError("the kinds are out of order")
        if type(count) is not int or not 1 <= count <= n - code + 1:
            raise ValueError(f"{count!r} values of {n}")
        entries[kind] = Entry(kind, code, _read_values(kind, count, values, level))
        code, last = code + count, kind
    return Dictionary(entries, code)


def _read_values(kind: Kind, count: int, values: Any, level: int) -> Values:
    if kind in MARKS:
        if count != 1 or values is not None:
            raise ValueError("a mark with values")
        return [None]
    if kind is Kind.FLOAT:
        floats = np.frombuffer(values, "<f8").astype(np.float64)
        if len(floats) != count or not np.isfinite(floats).all():
            raise ValueError("a float that is not finite, or too many or too few")
        return floats
    if kind in _INTEGERS:
        width, rest = divmod(len(values), count)
        if rest or width not in _WIDTHS:
            raise ValueError("integers of no known width")
        return np.frombuffer(values, f"<i{width}").astype(np.int64)
    if kind in _TEXTS:
        return _read_texts(kind, count, values)
    if kind is Kind.LIST:
        return _read_lists(count, values, level)
    if type(values) is not list or len(values) != count or not all(type(value) is int for value in values):
        raise ValueError(f"expected {count} integers")
    return values


def _read_texts(kind: Kind, count: int, values: bytes) -> Texts:
    ends, data = np.cumsum(np.frombuffer(values[:count], np.uint8), dtype=np.int64), values[count:]
    if len(ends) != count or ends[-1] != len(data):
        raise ValueError("the lengths of strings do not add up")
    if kind is Kind.STR:
        data.decode()
        starts = ends[:-1][ends[:-1] < len(data)]
        if np.any(np.frombuffer(data, np.uint8)[starts] & 0xC0 == 0x80):
            raise ValueError("a string ends within a character")
    return Texts(data, ends)


def _read_lists(count: int, values: Any, level: int) -> Lists:
    lengths, entries, codes = values
    ends = np.cumsum(np.frombuffer(lengths, np.uint8), dtype=np.int64)
    if len(ends) != count:
        raise ValueError(f"{len(ends)} lists, expected {count}")
    items = _read_entries(entries, int(ends[-1]), level + 1)
    own = _read_codes(items, codes)
    if len(own) != ends[-1] or (len(own) and not own.min()):
        raise ValueError("the items of lists do not add up")
    return Lists(own, ends, items)


def _packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=True, default=_extension))


def _extension(value: date) -> msgpack.ExtType:
    """Return a datetime or date as records have it, whose length decides what is long."""
    return msgpack.ExtType(1 if isinstance(value, datetime) else 2, value.isoformat().encode())
