"""Records: what goes in comes out, what cannot is refused by name, and checksums see every change."""

import math
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from binrag.errors import CorruptStore, InvalidMetadata
from binrag.storage.records import check, check_vectors, checksum, pack, pack_metadata, unpack


def round_trip(value):
    packed = pack_metadata({"key": value}, "'x'")
    return unpack(packed, "a record")["key"]


class Level(IntEnum):
    HIGH = 3


class Text(str):
    pass


class Stamp(datetime):
    """Shaped like pandas' timestamps."""


OFFSET = timezone(timedelta(hours=5, minutes=45))
SAME = [
    None,
    True,
    False,
    0,
    -1,
    2**64 - 1,
    -(2**63),
    0.1,
    -0.0,
    5e-324,
    1.7e308,
    "",
    "naïve 日本語 🙂 \0 end",
    b"",
    b"\0\xff",
    [],
    {},
    [1, [2, [3, None]]],
    {"a": {"b": [{"c": date(2020, 2, 29)}]}},
    date.min,
    date.max,
    datetime.min,
    datetime.max,
    datetime(2024, 5, 6, 7, 8, 9, 123456),
    datetime(2024, 5, 6, tzinfo=UTC),
    datetime(2024, 5, 6, 7, 8, tzinfo=OFFSET),
]


@pytest.mark.parametrize("value", SAME, ids=repr)
def test_values_come_back_as_they_were(value):
    again = round_trip(value)
    assert again == value
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    if isinstance(value, datetime):
        assert again.utcoffset() == value.utcoffset()


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, (2,)), [1, [2]]),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.float32(0.5), 0.5),
        (np.float64(0.25), 0.25),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (np.bytes_(b"s"), b"s"),
        (Stamp(2024, 5, 6, 7), datetime(2024, 5, 6, 7)),
        (Level.HIGH, 3),
        (Text("t"), "t"),
        (OrderedDict(a=1), {"a": 1}),
        ([np.float32(1), (np.int8(2),)], [1.0, [2]]),
    ],
    ids=repr,
)
def test_what_resembles_a_plain_value_is_stored_as_it(value, stored):
    again = round_trip(value)
    assert again == stored
    assert type(again) is type(stored)


class Unset(datetime):
    """Shaped like pandas' NaT: a datetime that is no time."""

    def isoformat(self, *arguments, **options):
        return "NaT"


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


def circular():
    value = []
    value.append(value)
    return value


REFUSED = [
    (math.nan, "nan.*expected a finite number"),
    (-math.inf, "-inf.*expected a finite number"),
    (np.float32("nan"), "nan.*finite"),
    ({1, 2}, "a set, which cannot be stored; expected None, bool"),
    (frozenset(), "a frozenset"),
    (object(), "an object"),
    (1j, "a complex"),
    (np.complex64(1j), "a complex"),
    (Decimal("1.5"), "a Decimal"),
    (time(1), "a time"),
    (timedelta(1), "a timedelta"),
    (np.timedelta64(1, "s"), "timedelta"),
    (np.timedelta64(1, "ns"), "timedelta"),
    (np.datetime64("2024-05-06T07:08:09.123456789"), "datetime64"),
    (np.datetime64("2024-05-06"), "datetime64"),
    (np.datetime64("NaT"), "datetime64"),
    (Unset(2024, 1, 1), "is no date; use None instead"),
    (bytearray(b"x"), "a bytearray"),
    (np.zeros(3), "a ndarray|an? .*ndarray"),
    (2**64, "the integer 18446744073709551616, which needs more than 64 bits"),
    (-(2**63) - 1, "more than 64 bits"),
    ("\ud800", "not valid Unicode"),
    (nested(70), "nested more than 64 levels"),
    (circular(), "nested more than 64 levels"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=lambda value: repr(value).partition(" at 0x")[0][:40])
def test_what_cannot_be_stored_is_refused(value, message):
    with pytest.raises(InvalidMetadata, match=message) as error:
        pack_metadata({"key": value}, "'doc'")
    assert "'doc'" in str(error.value)
    assert "key" in str(error.value)


@pytest.mark.parametrize(
    ("metadata", "place"),
    [
        ({"author": {"tags": ["a", "b", {1, 2}]}}, "author.tags[2]"),
        ({"a": [[{"b": (0, math.nan)}]]}, "a[0][0].b[1]"),
        ({"line\nbreak": object()}, "line\\nbreak"),
    ],
)
def test_the_path_of_the_key_is_named(metadata, place):
    with pytest.raises(InvalidMetadata) as error:
        pack_metadata(metadata, "'doc'")
    assert place in str(error.value)


@pytest.mark.parametrize("key", [1, None, b"k", ("a",), 1.5])
def test_keys_are_strings(key):
    with pytest.raises(InvalidMetadata, match=r"key .* in outer.* expected str"):
        pack_metadata({"outer": {key: 1}}, "'doc'")


@pytest.mark.parametrize("metadata", [5, "text", ["a"], [("a", 1)]])
def test_metadata_is_a_dict(metadata):
    with pytest.raises(InvalidMetadata, match=r"'doc' is an? (int|str|list), expected a dict"):
        pack_metadata(metadata, "'doc'")


def test_no_metadata_takes_no_bytes():
    assert pack_metadata(None, "x") is None
    assert pack_metadata({}, "x") is None


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(OFFSET)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values, min_size=1, max_size=5))
def test_any_metadata_comes_back(metadata):
    assert unpack(pack_metadata(metadata, "x"), "x") == metadata


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81", b"\x01\x02", b"\xd4\x09a", pack({1: 2}), b"\x91" * 5000])
def test_bytes_that_are_no_record(data):
    with pytest.raises(CorruptStore, match="meta record 'x' is not a valid record"):
        unpack(data, "meta record 'x'")


def test_unpacking_never_builds_objects():
    pickled = b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94."
    with pytest.raises(CorruptStore):
        unpack(pickled, "a record")


FIELDS = [(), (None,), ("",), (b"",), (0,), ("a", "b"), ("ab",), ("ab", ""), ("", "ab"), (b"ab",), ("a", None, "b")]


def test_checksums_tell_fields_apart():
    assert len({checksum(*fields) for fields in FIELDS}) == len(FIELDS)


def test_checksums_are_those_of_the_format():
    """Golden: a change of this number is a change of the file format."""
    assert checksum("documents", 7, b"\x00\x01", None, -1) == GOLDEN_CHECKSUM


GOLDEN_CHECKSUM = 3200220184026013856


@given(st.binary(min_size=1, max_size=40), st.data())
def test_every_flipped_bit_is_seen(data, draw):
    position = draw.draw(st.integers(0, 8 * len(data) - 1))
    flipped = bytearray(data)
    flipped[position // 8] ^= 1 << position % 8
    stored = checksum("x", data)
    check(stored, "meta", "here", "x", data)
    with pytest.raises(CorruptStore, match="checksum mismatch in here"):
        check(stored, "meta", "here", "x", bytes(flipped))
    with pytest.raises(CorruptStore, match="here"):
        check(stored, "meta", "here", "y", data)


@pytest.mark.parametrize("blobs", [[b"abcd", b"efgh", b"ijkl"], [b"abcd", b"", b"ijklm"], []])
def test_sound_vectors_pass(blobs):
    rows = [7, 2**62, 3][: len(blobs)]
    check_vectors(rows, blobs, list(map(checksum, rows, blobs)))


SUM = checksum(9, b"efgh")


@pytest.mark.parametrize(
    ("row", "blob", "expected"),
    [
        (9, b"efgi", SUM),
        (9, b"efgh", SUM + 1),
        (9, b"efgh", None),
        (9, b"efgh", str(SUM)),
        (9, "efgh", SUM),
        (9, None, SUM),
        (9, b"efg", SUM),
        (8, b"efgh", SUM),
    ],
)
def test_the_vector_that_is_damaged_is_named(row, blob, expected):
    rows, blobs = [7, row, 3], [b"abcd", blob, b"ijkl"]
    sums = [checksum(7, b"abcd"), expected, checksum(3, b"ijkl")]
    with pytest.raises(CorruptStore, match=f"checksum mismatch in vector of row {row}:"):
        check_vectors(rows, blobs, sums)


@given(st.lists(st.text() | st.binary() | st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=4))
def test_a_checksum_fits_an_sqlite_integer(fields):
    assert -(2**63) <= checksum(*fields) < 2**63
