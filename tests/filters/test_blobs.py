"""The blob of a block: small, the same for the same rows, one path read alone, and checked when read."""

import random
import tracemalloc
from datetime import date, datetime

import msgpack
import numpy as np
import pytest
from trees import PATHS, random_metadata

from binrag import CorruptStore
from binrag.filters import Column, pack_columns
from binrag.filters.blobs import is_long, unpack_column
from binrag.filters.dictionaries import Lists
from binrag.filters.kinds import Kind
from binrag.filters.predicate import MISSING, lookup


def column(values, path="a"):
    return unpack_column(pack_columns([{"a": value} for value in values]), path, "here")


def known(dictionary):
    """What codes stand for, marks by their kind."""
    values = [MISSING]
    for entry in dictionary.entries.values():
        if isinstance(entry.values, Lists):
            items = [known(entry.values.items)[code] for code in entry.values.codes.tolist()]
            values += [tuple(part) for part in np.split(np.array([*items, None], object)[:-1], entry.values.ends[:-1])]
        else:
            own = [entry.values[i] for i in range(len(entry.values))]
            values += own if own != [None] else [entry.kind]
    return values


def values_of(piece):
    """What each row of a piece has."""
    own = known(piece.dictionary)
    return [own[code] for code in piece.codes.tolist()]


def test_values_come_back_by_kind():
    piece = column([1, "b", 2.5, b"c", 1, "é", ["x", [1]], date(2024, 1, 1), True, 2**63, None, {}, "x" * 127])
    assert values_of(piece) == [
        *(1, b"b", 2.5, b"c", 1, "é".encode(), (b"x", (1,)), date(2024, 1, 1).toordinal(), 1, 2**63),
        *(Kind.NULL, Kind.DICT, Kind.LONG_STR),
    ]
    assert list(piece.dictionary.entries) == sorted(piece.dictionary.entries)


def test_rows_without_a_value_have_none():
    rows = [None, {"a": 1}, {}, {"b": 2}]
    assert values_of(unpack_column(pack_columns(rows), "a", "here")) == [MISSING, 1, MISSING, MISSING]
    assert values_of(unpack_column(pack_columns(rows), "c", "here")) == [MISSING] * 4
    assert len(unpack_column(pack_columns([]), "a", "here").codes) == 0


def test_the_same_rows_make_the_same_bytes():
    rng = random.Random(0)
    rows = [random_metadata(rng) for _ in range(300)]
    assert pack_columns(rows) == pack_columns(rows)
    assert pack_columns([{"a": 1, "b": 2}]) == pack_columns([{"b": 2, "a": 1}])


def test_ten_values_cost_about_a_byte_a_row_and_rare_ones_little():
    rng = random.Random(0)
    rows = [{"lang": f"language-{rng.randrange(10)}", "year": 2000 + rng.randrange(20)} for _ in range(4096)]
    assert len(pack_columns(rows)) < 2.1 * 4096
    assert len(pack_columns([{"a": "x"}] * 4096)) < 50
    assert len(pack_columns([{"a": "x"} if row % 1000 == 0 else None for row in range(4096)])) < 60
    assert len(pack_columns([{f"key {row}": row} for row in range(1000)])) < 25 * 1000
    assert len(pack_columns([{"a": row} for row in range(4096)])) < 4.1 * 4096


def test_256_codes_and_more():
    for n in (254, 255, 256, 257, 4096):
        values = list(range(n))
        assert values_of(column(values)) == values


@pytest.mark.parametrize("n", [126, 127])
def test_a_value_is_long_beyond_128_bytes_of_msgpack(n):
    for value in ("x" * n, b"x" * n, "é" * (n // 2) + "x" * (n % 2), ["x" * (n - 33), "y" * 31]):
        assert is_long(value) == (len(msgpack.packb(value)) > 128) == (n == 127)


def test_long_values_are_not_in_the_blob():
    secret = "do not copy " * 20
    rows = [{"a": secret, "b": [secret], "c": secret.encode(), "d": {"e": secret}}]
    assert b"copy" not in pack_columns(rows)
    pieces = [unpack_column(pack_columns(rows), path, "here") for path in ("a", "b", "c", "d", "d.e")]
    assert [list(piece.dictionary.entries) for piece in pieces] == [[2], [4], [3], [5], [2]]


def test_one_path_is_read_without_the_others():
    rows, others = [{"a": 1, "b": 2}], msgpack.packb("no column")
    n_rows, columns = msgpack.unpackb(pack_columns(rows))
    blob = msgpack.packb([n_rows, {**columns, "b": others}])
    assert values_of(unpack_column(blob, "a", "here")) == [1]
    with pytest.raises(CorruptStore, match="here: the column 'b' is damaged"):
        unpack_column(blob, "b", "here")


def test_every_path_of_random_metadata_is_there():
    rng = random.Random(1)
    rows = [random_metadata(rng) or {} for _ in range(200)]
    blob = pack_columns(rows)
    for path in PATHS:
        found = unpack_column(blob, path, "here").codes != 0
        assert found.tolist() == [lookup(row, path) is not MISSING for row in rows]


def test_more_rows_than_a_block_are_refused():
    with pytest.raises(ValueError, match="4097 rows"):
        pack_columns([None] * 4097)


def blob_of(*record, n_rows=4):
    return msgpack.packb([n_rows, {"a": msgpack.packb(list(record))}])


def ints(*values):
    return np.array(values, "<i8").tobytes()


def deep(levels):
    """A list in lists."""
    value = [b"\x01", [[6, 1, ints(3)]], b"\x01"]
    for _ in range(levels):
        value = [b"\x01", [[14, 1, value]], b"\x01"]
    return value


GOOD = [None, [[6, 2, ints(3, 5)]], bytes([0, 1, 2, 1])]


def test_the_good_record_is_good():
    assert values_of(unpack_column(blob_of(*GOOD), "a", "here")) == [MISSING, 3, 5, 3]


def test_lists_are_packed_by_their_items():
    assert values_of(column([["a", "b"], ["b", "a"], ["a", "b"], [], [[1], None]])) == [
        *((b"a", b"b"), (b"b", b"a"), (b"a", b"b"), (), ((1,), Kind.NULL)),
    ]
    assert values_of(unpack_column(blob_of(None, [[14, 1, deep(2)]], b"\x00\x01\x00\x01"), "a", "here"))[1] == (
        ((3,),),
    )
    tags = [f"a rather long tag {i}" for i in range(50)]
    rng = random.Random(0)
    assert len(pack_columns([{"a": rng.choices(tags, k=3)} for _ in range(4096)])) < 6.5 * 4096


@pytest.mark.parametrize(
    "blob",
    [
        *(b"", b"\xc1", b"\x00", msgpack.packb([4]), msgpack.packb([4, []]), msgpack.packb({"a": 1})),
        *(msgpack.packb([n, {}]) for n in (-1, 4097, 10**18, True, "4", None)),
        *(msgpack.packb([4, {"a": column}]) for column in ("text", 3, b"", b"\xc1", msgpack.packb([1, 2]))),
        blob_of(None, [[6, 2, ints(3, 5)]], bytes([0, 1, 2])),
        blob_of(None, [[6, 2, ints(3, 5)]], bytes([0, 1, 2, 3])),
        blob_of(None, [[6, 2, ints(3, 5)]], None),
        blob_of(None, [[6, 2, ints(3, 5)]], "text"),
        blob_of(None, [[6, 5, ints(1, 2, 3, 4, 5)]], bytes(4)),
        blob_of(None, [[6, 10**15, ints(3)]], bytes(4)),
        blob_of(None, [[6, 0, b""]], bytes(4)),
        blob_of(None, [[6, -1, b""]], bytes(4)),
        blob_of(None, [[6, True, ints(3)]], bytes(4)),
        blob_of(None, [[6, 2, b"123"]], bytes(4)),
        blob_of(None, [[6, 1, bytes(3)]], bytes(4)),
        blob_of(None, [[6, 1, [3]]], bytes(4)),
        blob_of(None, [[6, 1, ints(3)], [6, 1, ints(5)]], bytes(4)),
        blob_of(None, [[7, 1, ints(0)], [6, 1, ints(5)]], bytes(4)),
        blob_of(None, [[0, 1, None]], bytes(4)),
        blob_of(None, [[15, 1, None]], bytes(4)),
        blob_of(None, [["6", 1, ints(3)]], bytes(4)),
        blob_of(None, [[6, 1]], bytes(4)),
        blob_of(None, [3], bytes(4)),
        blob_of(None, None, bytes(4)),
        blob_of(None, [[1, 1, 3]], bytes(4)),
        blob_of(None, [[1, 2, None]], bytes(4)),
        blob_of(None, [[7, 1, np.array([np.nan]).tobytes()]], bytes(4)),
        blob_of(None, [[7, 1, np.array([np.inf]).tobytes()]], bytes(4)),
        blob_of(None, [[7, 2, np.array([1.0]).tobytes()]], bytes(4)),
        blob_of(None, [[8, 1, ["x"]]], bytes(4)),
        blob_of(None, [[8, 1, [True]]], bytes(4)),
        blob_of(None, [[8, 1, [1, 2]]], bytes(4)),
        blob_of(None, [[9, 1, b"\x02x"]], bytes(4)),
        blob_of(None, [[9, 1, b"\x01xy"]], bytes(4)),
        blob_of(None, [[9, 2, b"\x01"]], bytes(4)),
        blob_of(None, [[9, 1, b"\x01\xff"]], bytes(4)),
        blob_of(None, [[9, 2, b"\x01\x01" + "é".encode()]], bytes(4)),
        blob_of(None, [[9, 1, "\x01x"]], bytes(4)),
        blob_of(None, [[14, 1, ["x"]]], bytes(4)),
        blob_of(None, [[14, 1, [b"\x01", [[6, 1, ints(3)]]]]], bytes(4)),
        blob_of(None, [[14, 1, [b"\x01", [[6, 1, ints(3)]], b"\x00"]]], bytes(4)),
        blob_of(None, [[14, 1, [b"\x01", [[6, 1, ints(3)]], b"\x02"]]], bytes(4)),
        blob_of(None, [[14, 1, [b"\x02", [[6, 1, ints(3)]], b"\x01"]]], bytes(4)),
        blob_of(None, [[14, 2, [b"\x01", [[6, 1, ints(3)]], b"\x01"]]], bytes(4)),
        blob_of(None, [[14, 1, [b"\x01", [[6, 2, ints(3, 4)]], b"\x01"]]], bytes(4)),
        blob_of(None, [[14, 1, [b"\x01", [[6, 1, ints(3)]], None]]], bytes(4)),
        blob_of(None, [[14, 1, deep(65)]], bytes(4)),
        blob_of(None, [[14, 1, deep(300)]], bytes(4)),
        blob_of(b"\x04\x00", [[6, 1, ints(3)]], None),
        blob_of(b"\x01\x00\x01\x00", [[6, 1, ints(3)]], bytes(2)),
        blob_of(b"\x02\x00\x01\x00", [[6, 1, ints(3)]], bytes(2)),
        blob_of(b"\x01\x00\x02", [[6, 1, ints(3)]], bytes(1)),
        blob_of("text", [[6, 1, ints(3)]], bytes(4)),
        blob_of(7, [[6, 1, ints(3)]], bytes(4)),
        b"\x92\x04\xdf\xff\xff\xff\xff",
        b"\x92\x04\x81\xa1a\xc6\xff\xff\xff\xff",
    ],
)
def test_damaged_blobs_are_named_and_cost_no_memory(blob):
    tracemalloc.start()
    try:
        with pytest.raises(CorruptStore, match="the metadata of the rows from 8,192 on: the column 'a' is damaged"):
            Column.empty("a").updated(10_000, [(8192, blob)])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_any_byte_flipped_is_read_or_named():
    rng = random.Random(2)
    blob = pack_columns([random_metadata(rng) for _ in range(60)])
    for place in range(len(blob)):
        damaged = bytearray(blob)
        damaged[place] ^= 1 << rng.randrange(8)
        for path in ("a", "a.b"):
            try:
                piece = unpack_column(bytes(damaged), path, "here")
            except CorruptStore:
                continue
            assert len(values_of(piece)) == len(piece.codes) <= 4096
            Column.empty(path).updated(60, [(0, bytes(damaged))])


def test_values_are_packed_by_the_types_of_the_format():
    blob = pack_columns([{"a": datetime(1970, 1, 1, 0, 0, 1)}])
    (_, entries, codes) = msgpack.unpackb(msgpack.unpackb(blob)[1]["a"])
    assert (entries, codes) == ([[11, 1, (10**6).to_bytes(4, "little")]], None)
