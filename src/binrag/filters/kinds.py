"""The kinds of values: which compare with each other, and under which key they are found in a column."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

MAX_BYTES = 128
"""Bytes of msgpack up to which a value is kept in a column."""


class Kind(IntEnum):
    """Kinds of values as blobs number them; the marks come first, which stand for a value that is not kept."""

    NULL = 1
    LONG_STR = 2
    LONG_BYTES = 3
    LONG_LIST = 4
    DICT = 5
    INT = 6
    FLOAT = 7
    BIG_INT = 8
    STR = 9
    BYTES = 10
    NAIVE = 11
    AWARE = 12
    DATE = 13
    LIST = 14


MARKS: Final = (Kind.NULL, Kind.LONG_STR, Kind.LONG_BYTES, Kind.LONG_LIST, Kind.DICT)
NUMBERS: Final = (Kind.INT, Kind.FLOAT, Kind.BIG_INT)

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_IS_DICT = object()


def keyed(value: Any) -> tuple[Kind, Any]:
    """Return the kind of a value, and a key by which values of the kind are equal and ordered as in Python.

    Text is in UTF-8, whose bytes have the order of its characters; datetimes and dates are ticks.

    All numbers are `Kind.INT` here, as they compare with each other. None and dicts have no key.
    """
    if isinstance(value, str):
        return Kind.STR, value.encode()
    if isinstance(value, (int, float)):
        return Kind.INT, value
    if value is None:
        return Kind.NULL, None
    if isinstance(value, bytes):
        return Kind.BYTES, value
    if isinstance(value, datetime):
        offset = value.utcoffset()
        ticks = (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND
        return (Kind.NAIVE, ticks) if offset is None else (Kind.AWARE, ticks - offset // _MICROSECOND)
    if isinstance(value, date):
        return Kind.DATE, value.toordinal()
    if isinstance(value, (list, tuple)):
        return Kind.LIST, frozen(value)
    return Kind.DICT, None


def frozen(value: Any) -> Any:
    """Return a hashable form of a value; two are equal where the values are."""
    if isinstance(value, (list, tuple)):
        return tuple(map(frozen, value))
    if isinstance(value, Mapping):
        return (_IS_DICT, frozenset((key, frozen(item)) for key, item in value.items()))
    return value
