"""Columns through updates: what is shared, what is fetched, and which rows are in view."""

import numpy as np
import pytest
from rows_and_columns import Rows, bits

from binrag import All, And, Any, Contains, Eq, Exists, Ge, In, IsEmpty, Lt, Ne, Not, NotIn, Or, TextMatch
from binrag.filters import Column, matches, pack_columns, select

LONG = "x" * 200


def rows_of(*metadata):
    rows = Rows()
    rows.write((0, list(metadata)))
    return rows


def test_an_empty_column_has_no_value():
    nothing = {"column_of": Column.empty, "fetch": None}
    assert select(Exists("a"), 0, **nothing).shape == (0,)
    assert select(Exists("a"), 70, **nothing).tolist() == [0, 0]
    assert select(IsEmpty("a"), 70, **nothing).tolist() == [2**64 - 1, 63]
    assert select(Ne("a", 1), 64, **nothing).tolist() == [2**64 - 1]
    assert Column.empty("a").updated(5, []).n_rows == 5


def test_columns_are_immutable_and_share_what_did_not_change():
    first = Column.empty("a").updated(4096, [(0, pack_columns([{"a": i} for i in range(4096)]))])
    second = first.updated(4097, [(4096, pack_columns([{"a": 7}]))])
    assert second.segments[0] is first.segments[0]
    assert bits(select(Eq("a", 7), 4096, lambda path: first, None), 4096).count(True) == 1
    assert np.flatnonzero(bits(select(Eq("a", 7), 4097, lambda path: second, None), 4097)).tolist() == [7, 4096]


def test_a_rewritten_piece_replaces_the_segment_it_covers():
    column = Column.empty("a").updated(4096, [(0, pack_columns([{"a": i} for i in range(4096)]))])
    for n in range(1, 600):
        column = column.updated(4096 + n, [(4096, pack_columns([{"a": -i} for i in range(n)]))])
        assert len(column.segments) <= 2
    assert bits(select(Eq("a", 0), 4695, lambda path: column, None), 4695).count(True) == 2
    assert bits(select(Lt("a", 0), 4695, lambda path: column, None), 4695).count(True) == 598


def test_segments_stay_few():
    column, n = Column.empty("a"), 0
    for i in range(2000):
        column = column.updated(n + 3, [(n, pack_columns([{"a": i}, None, {"a": str(i)}]))])
        n += 3
        assert len(column.segments) < 6
    found = bits(select(Ge("a", 1990), n, lambda path: column, None), n)
    assert np.flatnonzero(found).tolist() == [3 * i for i in range(1990, 2000)]


def test_rows_out_of_view_are_not_selected():
    column = Column.empty("a").updated(100, [(0, pack_columns([{"a": 1}] * 100)), (120, pack_columns([{"a": 1}] * 5))])
    for n_rows in (0, 1, 64, 99, 100, 122, 130, 200):
        found = bits(select(Eq("a", 1), n_rows, lambda path: column, None), n_rows)
        assert found == [row < 100 or 120 <= row < 125 for row in range(n_rows)]
        assert bits(select(Ne("a", 1), n_rows, lambda path: column, None), n_rows) == [not own for own in found]


@pytest.mark.parametrize("n_values", [3, 300, 70_000])
def test_many_rows_and_values_are_selected_as_few_are(n_values):
    """Rows beyond the sizes from which postings are used, by one value, several, ranges and all but one."""
    n = 140_000
    numbers = np.random.default_rng(0).integers(0, n_values, n)
    pieces = [
        (i, pack_columns([{"a": value, "t": [value % 7, f"x{value}"]} for value in numbers[i : i + 4096].tolist()]))
        for i in range(0, n, 4096)
    ]
    columns = {path: Column.empty(path).updated(n, pieces) for path in "at"}
    several = list(range(0, n_values, 1 + n_values // 20))
    for node, expected in [
        (Eq("a", 2), numbers == 2),
        (Ne("a", 2), numbers != 2),
        (In("a", several), np.isin(numbers, several)),
        (NotIn("a", several), ~np.isin(numbers, several)),
        (Ge("a", n_values - 1), numbers >= n_values - 1),
        (Lt("a", n_values / 2), numbers < n_values / 2),
        (Contains("t", 3), numbers % 7 == 3),
        (Contains("t", "x1"), numbers == 1),
        (Any("t", ["x1", "x2"]), (numbers == 1) | (numbers == 2)),
        (All("t", [1, "x1"]), numbers == 1),
    ]:
        found = select(node, n, columns.__getitem__, None)
        assert np.array_equal(bits(found, n), expected), node


@pytest.mark.parametrize(
    "node",
    [
        Eq("a", "short"),
        Ne("a", 3),
        In("a", ["short", 3, None]),
        Ge("a", 3),
        Contains("a", 2.5),
        Exists("a"),
        IsEmpty("a"),
        TextMatch("b", "x"),
        And(Eq("a", LONG), Eq("b", "no such value")),
        Or(Eq("a", LONG), Eq("b", "y")),
        And(),
    ],
)
def test_rows_are_not_fetched_where_the_column_decides(node):
    rows = rows_of({"a": LONG, "b": "y"}, {"a": "short", "b": "y"}, {"a": LONG.encode(), "b": "y"}, {"b": "y"})
    assert rows.select(node) == [matches(node, metadata) for metadata in rows.metadata]
    assert rows.fetched == []


@pytest.mark.parametrize(
    ("node", "fetched"),
    [
        (Eq("a", LONG), [0]),
        (Ne("a", LONG), [0]),
        (Not(In("a", [LONG, 3])), [0]),
        (Lt("a", "y"), [0]),
        (TextMatch("a", "xx"), [0]),
        (Eq("a", LONG.encode()), [1]),
        (Contains("a", "xx"), [0, 2, 3]),
        (Contains("a", b"xx"), [1, 2]),
        (Contains("a", 120), [1, 2]),
        (All("a", [b"xx", "xx"]), [2]),
        (Eq("a", [1]), [2]),
        (And(TextMatch("a", "xx"), TextMatch("a", "xy"), Eq("b", 1)), [0]),
    ],
)
def test_open_rows_are_fetched_once(node, fetched):
    rows = rows_of(*({"a": value, "b": 1} for value in (LONG, LONG.encode(), [LONG], {"k": LONG}, "y", 3)))
    assert rows.select(node) == [matches(node, metadata) for metadata in rows.metadata]
    assert rows.fetched == fetched


def test_dead_rows_are_not_fetched():
    rows = rows_of(*({"a": f"{LONG}{i}"} for i in range(200)))
    live = np.zeros(4, np.uint64)
    live[[0, 2]] = 5
    assert [row for row, own in enumerate(rows.select(TextMatch("a", "xx"), live=live)) if own] == [0, 2, 128, 130]
    assert rows.fetched == [0, 2, 128, 130]


def test_many_open_rows_are_fetched_in_parts():
    sizes = []

    def fetch(rows):
        sizes.append(len(rows))
        return [{"a": f"{LONG}{row}"} for row in rows]

    column = Column.empty("a").updated(
        10_000,
        [(i, pack_columns([{"a": f"{LONG}{row}"} for row in range(i, i + 2000)])) for i in range(0, 10_000, 2000)],
    )
    found = bits(select(TextMatch("a", "x77"), 10_000, lambda path: column, fetch), 10_000)
    assert np.flatnonzero(found).tolist() == [row for row in range(10_000) if str(row).startswith("77")]
    assert sizes == [4096, 4096, 1808]
