"""msgpack records, metadata rules, and checksums. Bytes in and out; nothing here opens anything."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

import msgpack
import numpy as np
import xxhash

from binrag.errors import CorruptStore, InvalidMetadata
from binrag.types import Int64, Metadata, UInt8

_DATETIME = 1
_DATE = 2
_MAX_DEPTH = 64
_INTEGER = b"i\x08\0\0\0\0\0\0\0"
_KINDS: dict[str, tuple[Any, ...]] = {
    "meta": (str, bytes),
    "documents": (int, str, str, str | None, bytes | None),
    "vectors": (int, bytes),
    "sample": (int, bytes),
    "tail": (int, bytes, bytes, bytes),
    "blocks": (str, int, int, int, bytes),
    "ledger": (str, str, str, str | None, int),
}
"""What a checksum of a table's row covers: SQLite takes any kind of value in any column."""

_frame = struct.Struct("<cq").pack
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def checksum(*fields: str | bytes | int | None) -> int:
    """Return the xxh3-64 of the fields, each framed by kind and length, as a signed 64-bit integer."""
    framed = b""
    for value in fields:
        if value is None:
            framed += b"n"
        elif isinstance(value, int):
            framed += _INTEGER + value.to_bytes(8, "little", signed=True)
        else:
            kind, data = (b"s", value.encode()) if isinstance(value, str) else (b"b", value)
            framed += _frame(kind, len(data)) + data
    unsigned = xxhash.xxh3_64_intdigest(framed)
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def checksums(rows: Int64, blobs: UInt8) -> list[int]:
    """Return the checksum of (row, blob) for rows int64 (n,) and blobs uint8 (n, width)."""
    n, width = blobs.shape
    frame = _frame(b"b", width)
    framed = np.empty((n, len(_INTEGER) + 8 + len(frame) + width), dtype=np.uint8)
    integer, numbers, header, data = np.split(framed, np.cumsum([len(_INTEGER), 8, len(frame)]), axis=1)
    integer[:] = np.frombuffer(_INTEGER, dtype=np.uint8)
    numbers[:] = rows.astype("<i8").view(np.uint8).reshape(n, 8)
    header[:] = np.frombuffer(frame, dtype=np.uint8)
    data[:] = blobs
    view, size = memoryview(framed.tobytes()), framed.shape[1]
    digests = [xxhash.xxh3_64_intdigest(view[i : i + size]) for i in range(0, n * size, size)]
    return list(np.array(digests, dtype=np.uint64).view(np.int64).tolist())


def check(expected: int, table: str, place: str, *fields: str | bytes | int | None) -> None:
    """Raise `CorruptStore`, naming the place, if fields are not of the table's kinds, or their checksum is another."""
    if not all(map(isinstance, fields, _KINDS[table])) or checksum(*fields) != expected:
        raise CorruptStore(f"checksum mismatch in {place}: the file was damaged; restore it from a backup")


def check_vectors(rows: Sequence[int], blobs: Sequence[bytes], expected: Sequence[int]) -> None:
    """Do what `check` does for some of the kept vectors; those of one size are checked all at once."""
    if set(map(type, blobs)) == {bytes} and len(set(map(len, blobs))) == 1:
        matrix = np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(blobs), -1)
        if checksums(np.array(rows, dtype=np.int64), matrix) == list(expected):
            return
    for row, blob, sum_ in zip(rows, blobs, expected, strict=True):
        check(sum_, "vectors", f"vector of row {row}", row, blob)


def pack(value: Any) -> bytes:
    """Pack msgpack types, datetimes and dates."""
    return bytes(msgpack.packb(value, use_bin_type=True, default=_pack_extension))


def unpack(data: bytes, place: str) -> Any:
    """Unpack what `pack` made; anything else is a `CorruptStore` that names the place."""
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_unpack_extension)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException, RecursionError, MemoryError) as error:
        raise CorruptStore(f"{place} is not a valid record: {error}") from error


def _pack_extension(value: Any) -> msgpack.ExtType:
    if isinstance(value, datetime):
        return msgpack.ExtType(_DATETIME, value.isoformat().encode())
    if isinstance(value, date):
        return msgpack.ExtType(_DATE, value.isoformat().encode())
    raise TypeError(f"cannot pack {type(value).__name__}")


def _unpack_extension(code: int, data: bytes) -> datetime | date:
    if code == _DATETIME:
        return datetime.fromisoformat(data.decode())
    if code == _DATE:
        return date.fromisoformat(data.decode())
    raise ValueError(f"unknown extension type {code}")


def pack_metadata(metadata: Metadata | None, place: str) -> bytes | None:
    """Check metadata and pack it.

    Parameters
    ----------
    metadata : dict or None
        Keys are strings; values are None, bool, int of 64 bits, finite float, str, bytes, datetime, date, and
        lists, tuples and dicts of these. NumPy scalars are stored as the Python value they hold.
    place : str
        Whose metadata this is, for the message.

    Returns
    -------
    bytes or None
        ``None`` for no metadata or an empty dict.

    Raises
    ------
    InvalidMetadata
        Names the path of the offending key.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise InvalidMetadata(f"metadata of {place} is {_named(metadata)}, expected a dict with string keys")
    if not metadata:
        return None
    return pack(_plain(metadata, f"metadata of {place}", ()))


def _plain(value: Any, place: str, path: tuple[str | int, ...]) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        value = value.item()
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, date):
        return _checked_date(value, place, path)
    if isinstance(value, str):
        return _checked_text(value, place, path)
    if isinstance(value, (int, float)):
        return _checked_number(value, place, path)
    if len(path) >= _MAX_DEPTH:
        raise InvalidMetadata(f"{place}: {_shown(path)} is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {_checked_key(k, place, path): _plain(v, place, (*path, k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, place, (*path, i)) for i, item in enumerate(value)]
    raise InvalidMetadata(
        f"{place}: {_shown(path)} is {_named(value)}, which cannot be stored; expected None, bool, int, float, "
        "str, bytes, datetime, date, or lists and dicts of these"
    )


def _checked_key(key: Any, place: str, path: tuple[str | int, ...]) -> str:
    if not isinstance(key, str):
        where = f" in {_shown(path)}" if path else ""
        raise InvalidMetadata(f"{place}: the key {key!r}{where} is {_named(key)}, expected str")
    return str(_checked_text(key, place, (*path, key)))


def _checked_text(value: str, place: str, path: tuple[str | int, ...]) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidMetadata(f"{place}: {_shown(path)} is not valid Unicode text: {error}") from None
    return str(value)


def _checked_date(value: date, place: str, path: tuple[str | int, ...]) -> date:
    kind = datetime if isinstance(value, datetime) else date
    try:
        return kind.fromisoformat(value.isoformat())
    except ValueError:
        raise InvalidMetadata(f"{place}: {_shown(path)} is {value!r}, which is no date; use None instead") from None


def _checked_number(value: int | float, place: str, path: tuple[str | int, ...]) -> int | float:
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise InvalidMetadata(
                f"{place}: {_shown(path)} is the integer {value}, which needs more than 64 bits; store it as str"
            )
        return int(value)
    if not math.isfinite(value):
        raise InvalidMetadata(f"{place}: {_shown(path)} is {value}, expected a finite number; use None instead")
    return float(value)


def _shown(path: Iterable[str | int]) -> str:
    """Write a path as one would index it: ``author.tags[2]``."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            shown += f".{step}" if shown else str(step)
    return ascii(shown) if not shown.isprintable() else shown


def _named(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
