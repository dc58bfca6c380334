"""The dict form: every operator, and messages that name the place."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from binrag import (
    All,
    And,
    Any,
    Contains,
    Eq,
    Exists,
    Ge,
    Gt,
    In,
    InvalidFilter,
    IsEmpty,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    TextMatch,
)
from binrag.filters import parse
from binrag.filters.parsing import _OPERATORS


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, And()),
        ({"a": 1}, Eq("a", 1)),
        ({"a.b": "x"}, Eq("a.b", "x")),
        ({"a": [1, 2]}, Eq("a", [1, 2])),
        ({"a": {"$eq": 1}}, Eq("a", 1)),
        ({"a": {"$ne": 1}}, Ne("a", 1)),
        ({"a": {"$lt": 1}}, Lt("a", 1)),
        ({"a": {"$lte": 1}}, Le("a", 1)),
        ({"a": {"$gt": 1}}, Gt("a", 1)),
        ({"a": {"$gte": 1}}, Ge("a", 1)),
        ({"a": {"$in": [1, "b"]}}, In("a", [1, "b"])),
        ({"a": {"$nin": []}}, NotIn("a", [])),
        ({"a": {"$any": ["b"]}}, Any("a", ["b"])),
        ({"a": {"$all": ("b",)}}, All("a", ["b"])),
        ({"a": {"$contains": "b"}}, Contains("a", "b")),
        ({"a": {"$text": "b"}}, TextMatch("a", "b")),
        ({"a": {"$itext": "b"}}, TextMatch("a", "b", ignore_case=True)),
        ({"a": {"$empty": True}}, IsEmpty("a")),
        ({"a": {"$empty": False}}, Not(IsEmpty("a"))),
        ({"a": {"$exists": True}}, Exists("a")),
        ({"a": {"$exists": False}}, Not(Exists("a"))),
        ({"a": {"$gte": 1, "$lt": 5}}, And(Ge("a", 1), Lt("a", 5))),
        ({"a": {"$not": {"$gt": 1}}}, Not(Gt("a", 1))),
        ({"a": {"$not": {"$gt": 1, "$lt": 5}, "$ne": 0}}, And(Not(And(Gt("a", 1), Lt("a", 5))), Ne("a", 0))),
        ({"a": 1, "b": {"$ne": 2}}, And(Eq("a", 1), Ne("b", 2))),
        ({"$and": [{"a": 1}, {"b": 2}]}, And(Eq("a", 1), Eq("b", 2))),
        ({"$or": [{"a": 1, "c": 3}, {"b": 2}]}, Or(And(Eq("a", 1), Eq("c", 3)), Eq("b", 2))),
        ({"$nor": [{"a": 1}, {"b": 2}]}, Not(Or(Eq("a", 1), Eq("b", 2)))),
        ({"$not": {"a": 1}}, Not(Eq("a", 1))),
        ({"$or": [Eq("a", 1), {"b": 2}]}, Or(Eq("a", 1), Eq("b", 2))),
        ({"a": {"$date": "2024-05-01"}}, Eq("a", date(2024, 5, 1))),
        ({"a": {"$lt": {"$date": "2024-05-01T12:00:00"}}}, Lt("a", datetime(2024, 5, 1, 12))),
        ({"a": {"$lt": {"$date": "2024-05-01T12:00:00Z"}}}, Lt("a", datetime(2024, 5, 1, 12, tzinfo=UTC))),
        (
            {"a": {"$in": [{"$date": "2024-05-01T12:00+02:00"}, 1]}},
            In("a", [datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), 1]),
        ),
        (Eq("a", 1), Eq("a", 1)),
    ],
)
def test_dicts_say_what_trees_say(where, expected):
    assert parse(where) == expected


def test_a_date_is_no_datetime():
    assert type(parse({"a": {"$date": "2024-05-01"}}).value) is date
    assert type(parse({"a": {"$date": "2024-05-01T00:00"}}).value) is datetime


def nested(levels):
    where = {"a": 1}
    for _ in range(levels):
        where = {"$not": where}
    return where


def test_deep_dicts_are_refused_by_name():
    parse(nested(63))
    for levels in (64, 10_000):
        with pytest.raises(InvalidFilter, match="more than 64 levels deep"):
            parse(nested(levels))
    where = {"$gt": 1}
    for _ in range(10_000):
        where = {"$not": where}
    with pytest.raises(InvalidFilter, match="more than 64 levels deep"):
        parse({"a": where})
    values = []
    for _ in range(10_000):
        values = [values]
    with pytest.raises(InvalidFilter, match="nested more than 64"):
        parse({"a": values})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (3, r"where is int 3, expected a dict of conditions or a Filter"),
        ([{"a": 1}], r"where is list .*expected a dict"),
        ({1: 2}, r"where\[1\]: the key is int 1"),
        ({"$like": 1}, r"where\['\$like'\]: unknown operator '\$like'.*expected one of \$and \$or \$nor \$not"),
        ({"$gt": 1}, r"in the place of a path"),
        ({"a": {"$like": "x"}}, r"where\['a'\]\['\$like'\]: unknown operator '\$like', expected one of \$eq \$ne"),
        ({"a": {"b": 1}}, r"where\['a'\]\['b'\]: unknown operator 'b'.*write 'a\.b' for a value inside a dict"),
        ({"a": {"$gt": 1, "b": 2}}, r"where\['a'\]\['b'\]"),
        ({"a": {1: 2}}, r"unknown operator 1"),
        ({"a": {}}, r"where\['a'\] is an empty dict, expected a value or one or more operators"),
        ({"a": {"$not": 3}}, r"where\['a'\]\['\$not'\] is int 3, expected a dict of operators"),
        ({"a": {"$not": {"$date": "x"}}}, r"'\$date'"),
        ({"$or": {"a": 1}}, r"where\['\$or'\] is dict .*expected a list of at least one filter"),
        ({"$and": []}, r"at least one filter"),
        ({"$or": [{"a": 1}, 3]}, r"where\['\$or'\]\[1\] is int 3"),
        ({"$or": [{"a": {"$gt": {"x": 1}}}]}, r"where\['\$or'\]\[0\]\['a'\]\['\$gt'\] is dict .*dotted paths"),
        ({"a": {"$in": "abc"}}, r"where\['a'\]\['\$in'\] is str 'abc', expected a list of values"),
        ({"a": {"$in": [1, {"$date": 3}]}}, r"where\['a'\]\['\$in'\]\[1\]\['\$date'\] is int 3, expected a date"),
        ({"a": {"$date": "yesterday"}}, r"ISO 8601"),
        ({"a": {"$text": 3}}, r"where\['a'\]\['\$text'\] is int 3, expected the text to look for"),
        ({"a": {"$exists": 1}}, r"where\['a'\]\['\$exists'\] is int 1, expected true or false"),
        ({"a": None}, r"where\['a'\] is None.*\$empty.*\$exists"),
        ({"a": {"$ne": None}}, r"where\['a'\]\['\$ne'\] is None"),
        ({"a": float("nan")}, r"where\['a'\]: Eq\('a'\): got NaN"),
        ({"a": {"$gt": {1, 2}}}, r"where\['a'\]\['\$gt'\]: Gt\('a'\): got set"),
        ({"a": "x" * 100_000 + "\ud800"}, r"not valid Unicode"),
    ],
)
def test_messages_name_the_place(where, message):
    with pytest.raises(InvalidFilter, match=f"(?s){message}") as caught:
        parse(where)
    assert len(str(caught.value)) < 500


def test_unknown_operators_are_answered_with_all_known_ones():
    with pytest.raises(InvalidFilter) as caught:
        parse({"a": {"$regex": "x"}})
    assert all(name in str(caught.value) for name in [*_OPERATORS, "$not"])
