"""One block's metadata as columns: a blob that holds, for every path, the distinct values and a code a row.

The layout is in ``docs/file-format.md``, part ``metadata``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

import msgpack
import numpy as np
import numpy.typing as npt

from binrag.errors import CorruptStore
from binrag.filters.kinds import MARKS, MAX_BYTES, Kind, frozen, keyed
from binrag.filters.predicate import flattened
from binrag.filters.texts import Texts
from binrag.types import BLOCK

Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Values: TypeAlias = "npt.NDArray[np.int64] | npt.NDArray[np.float64] | Texts | list[Any]"

_TICKS = (Kind.NAIVE, Kind.AWARE, Kind.DATE)
_INTEGERS = (Kind.INT, *_TICKS)
_TEXTS = (Kind.STR, Kind.BYTES)
_ITEMS: dict[Kind, type] = {Kind.BIG_INT: int, Kind.LIST: list}
_DATETIME, _DATE = 1, 2
_WIDTHS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Entry:
    """The distinct values of one kind; they have consecutive codes.

    Attributes
    ----------
    kind : Kind
        Their kind.
    first : int
        Code of the first.
    values : int64 (n,), float64 (n,), Texts or list
        The values: ticks of datetimes and dates, strings in UTF-8, `frozen` lists. Of a mark, one None.
    """

    kind: Kind
    first: int
    values: Values


@dataclass(frozen=True, slots=True)
class Piece:
    """One path's values in consecutive rows.

    Attributes
    ----------
    codes : integers (n_rows,)
        The code of each row's value; 0: none.
    entries : tuple of Entry
        What codes stand for, from 1 on.
    n_codes : int
        How many codes there are, that of no value included.
    """

    codes: Integers
    entries: tuple[Entry, ...]
    n_codes: int


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
            return Piece(np.zeros(n_rows, np.uint8), (), 1)
        return _read_column(n_rows, column)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptStore(
            f"{place}: the column {path!r} is damaged ({error}); restore the file from a backup"
        ) from error


def is_long(value: str | bytes | list[Any] | tuple[Any, ...]) -> bool:
    """Say whether a value is too long to be kept in a column."""
    if isinstance(value, (list, tuple)):
        return len(value) >= MAX_BYTES or len(_packed(value)) > MAX_BYTES
    n = len(value)
    if isinstance(value, str) and MAX_BYTES // 4 <= n <= MAX_BYTES:
        n = len(value.encode())
    return n > MAX_BYTES - 2


def _is_flat(metadata: Mapping[str, Any]) -> bool:
    """Say whether the paths of metadata are its keys: no dict, and no list with one."""
    for value in metadata.values():
        kind = type(value)
        if kind is dict or ((kind is list or kind is tuple) and any(type(item) is dict for item in value)):
            return False
    return True


def _pack_column(n_rows: int, rows: list[int], values: list[Any]) -> bytes:
    numbers, distinct = _numbered(values)
    kinds = _by_kind(distinct)
    entries, places, code = [], np.zeros(len(distinct), np.uint16), 1
    for kind in sorted(kinds):
        own = kinds[kind]
        places[own] = code if kind in MARKS else np.arange(code, code + len(own))
        count = 1 if kind in MARKS else len(own)
        entries.append([int(kind), count, _pack_values(kind, [distinct[number] for number in own])])
        code += count
    dtype = np.dtype(np.uint8 if code <= 256 else "<u2")
    codes = places[numbers].astype(dtype)
    packed = None if code == 2 else codes.tobytes()
    if len(rows) == n_rows:
        return _packed([None, entries, packed])
    if 2 * len(rows) + len(packed or b"") < n_rows * dtype.itemsize:
        return _packed([np.array(rows, dtype="<u2").tobytes(), entries, packed])
    dense = np.zeros(n_rows, dtype)
    dense[rows] = codes
    return _packed([None, entries, dense.tobytes()])


def _numbered(values: list[Any]) -> tuple[list[int], list[Any]]:
    """Return a number for each value, counted from 0 in the order of their first appearance, and the distinct values.

    Lists are the same only where their bytes are.
    """
    known: dict[Any, int] = {}
    try:
        return [known.setdefault(value, len(known)) for value in values], list(known)
    except TypeError:  # a list or dict among them
        known.clear()
    distinct: list[Any] = []
    numbers = []
    for value in values:
        key = (_packed(value),) if isinstance(value, (list, tuple)) else value if not isinstance(value, dict) else dict
        number = known.setdefault(key, len(distinct))
        if number == len(distinct):
            distinct.append(value)
        numbers.append(number)
    return numbers, distinct


def _by_kind(values: list[Any]) -> dict[Kind, list[int]]:
    """Return the places of the values of each kind; where all are short text or numbers, that is quickly said."""
    types, every = set(map(type, values)), list(range(len(values)))
    if types == {str} and max(map(len, values)) < MAX_BYTES // 4:
        return {Kind.STR: every}
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
    return values


def _width(low: int, high: int) -> int:
    return next(width for width in _WIDTHS if -(1 << (8 * width - 1)) <= low and high < 1 << (8 * width - 1))


def _found(blob: bytes, path: str) -> tuple[int, bytes | None]:
    """Return how many rows a blob holds, and the bytes of one column, or None."""
    record = msgpack.unpackb(blob, raw=False, strict_map_key=True)
    if not isinstance(record, list) or len(record) != 2 or not isinstance(record[1], dict):
        raise ValueError("expected rows and columns")
    n_rows, columns = record
    if type(n_rows) is not int or not 0 <= n_rows <= BLOCK:
        raise ValueError(f"it says it has {n_rows!r} rows")
    column = columns.get(path)
    if column is not None and not isinstance(column, bytes):
        raise ValueError("expected bytes")
    return n_rows, column


def _read_column(n_rows: int, column: bytes) -> Piece:
    record = msgpack.unpackb(column, raw=False, strict_map_key=True, ext_hook=_unpack_extension)
    if not isinstance(record, list) or len(record) != 3:
        raise ValueError("expected rows, values and codes")
    rows, kinds, codes = record
    entries, n_codes = _read_entries(kinds, n_rows)
    present = n_rows if rows is None else len(rows) // 2
    own: Integers
    if codes is None:
        if n_codes != 2:
            raise ValueError("the codes are not there")
        own = np.ones(present, np.uint8)
    else:
        own = np.frombuffer(codes, np.uint8 if n_codes <= 256 else "<u2")
    if len(own) != present or (present and int(own.max()) >= n_codes):
        raise ValueError("a code is out of range, or there are too many or too few")
    if rows is None:
        return Piece(own, entries, n_codes)
    places = np.frombuffer(rows, "<u2")
    if present and (places[-1] >= n_rows or np.any(places[1:] <= places[:-1])):
        raise ValueError("a row is out of range or out of order")
    dense = np.zeros(n_rows, own.dtype)
    dense[places] = own
    return Piece(dense, entries, n_codes)


def _read_entries(kinds: Any, n_rows: int) -> tuple[tuple[Entry, ...], int]:
    entries: list[Entry] = []
    code = 1
    for number, count, values in kinds:
        kind = Kind(number)
        if entries and kind <= entries[-1].kind:
            raise ValueError("the kinds are out of order")
        if type(count) is not int or not 1 <= count <= n_rows - code + 1:
            raise ValueError(f"{count!r} values of {n_rows} rows")
        entries.append(Entry(kind, code, _read_values(kind, count, values)))
        code += count
    return tuple(entries), code


def _read_values(kind: Kind, count: int, values: Any) -> Values:
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
    if type(values) is not list or len(values) != count or not all(type(v) is _ITEMS[kind] for v in values):
        raise ValueError(f"expected {count} values of the kind {kind.name}")
    return [frozen(value) for value in values] if kind is Kind.LIST else values


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


def _packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=True, default=_pack_extension))


def _pack_extension(value: Any) -> msgpack.ExtType:
    if isinstance(value, datetime):
        return msgpack.ExtType(_DATETIME, value.isoformat().encode())
    if isinstance(value, date):
        return msgpack.ExtType(_DATE, value.isoformat().encode())
    raise TypeError(f"cannot pack {type(value).__name__}")


def _unpack_extension(code: int, data: bytes) -> datetime | date:
    kinds: dict[int, type[date]] = {_DATETIME: datetime, _DATE: date}
    if code not in kinds:
        raise ValueError(f"unknown extension type {code}")
    return kinds[code].fromisoformat(data.decode())
