"""Filters are plain values, checked where they are made."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from trees import COMPARED, LISTED

from binrag import And, Any, Eq, Exists, Ge, In, InvalidFilter, Not, Or, TextMatch


def test_filters_are_equal_by_value_and_hashable():
    assert Eq("a", [1, ["b"]]) == Eq("a", (1, ("b",)))
    assert len({And(Eq("a", 1), In("b", [1, 2])), And(Eq("a", 1), In("b", (1, 2)))}) == 1
    assert Eq("a", 1) != Eq("b", 1)
    assert Eq("a", 1) != Ge("a", 1)
    assert And(Eq("a", 1)) != Or(Eq("a", 1))
    assert TextMatch("a", "b") != TextMatch("a", "b", True)
    with pytest.raises(AttributeError):
        Eq("a", 1).value = 2


def test_filters_show_how_they_are_written():
    node = And(Eq("a", 1), Or(In("b", [1]), Not(Exists("c"))))
    assert repr(node) == "And(Eq(path='a', value=1), Or(In(path='b', values=(1,)), Not(filter=Exists(path='c'))))"


def test_operators_combine():
    a, b, c = Eq("a", 1), Eq("b", 1), Eq("c", 1)
    assert (a & b & c) == And(a, b, c)
    assert (a | b | c) == Or(a, b, c)
    assert (a & (b | ~c)) == And(a, Or(b, Not(c)))
    with pytest.raises(TypeError):
        a & {"b": 1}
    with pytest.raises(TypeError):
        a | 1


def test_long_chains_stay_flat_and_deep_trees_are_refused():
    chain = Eq("a", 0)
    for i in range(1, 500):
        chain = chain | Eq("a", i)
    assert chain.depth == 2
    deep = Eq("a", 0)
    for _ in range(63):
        deep = Not(deep)
    with pytest.raises(InvalidFilter, match="more than 64 levels deep"):
        Not(deep)
    with pytest.raises(InvalidFilter, match="more than 64 levels deep"):
        And(deep)


def test_numpy_values_are_plain_and_offsets_fixed():
    assert type(Eq("a", np.int64(3)).value) is int
    assert type(Eq("a", np.float32(0.5)).value) is float
    assert type(Eq("a", np.str_("b")).value) is str
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no time zones on this system")
    assert Eq("a", datetime(2024, 7, 1, tzinfo=zone)).value.tzinfo == timezone(timedelta(hours=2))


@pytest.mark.parametrize("kind", COMPARED)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "got NaN"),
        ({"b": 1}, "dict .*dotted paths"),
        ([{"b": 1}], "dict"),
        ({1, 2}, "set"),
        (object(), "object"),
        ("\ud800", "not valid Unicode"),
        (np.datetime64("2024-01-01"), "datetime64"),
    ],
)
def test_values_that_cannot_be_compared_with_are_refused(kind, value, message):
    with pytest.raises(InvalidFilter, match=rf"(?s){kind.__name__}\('a'\).*{message}"):
        kind("a", value)


@pytest.mark.parametrize("kind", LISTED)
@pytest.mark.parametrize("values", ["ab", b"ab", {"a": 1}, 3, None])
def test_what_is_no_list_of_values_is_refused(kind, values):
    with pytest.raises(InvalidFilter, match=rf"{kind.__name__}\('a'\): the values are .*expected a list"):
        kind("a", values)


def test_any_iterable_of_values_will_do():
    assert In("a", iter([1, 2])) == In("a", range(1, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Eq(1, 1), "the path of Eq is 1, expected a str"),
        (lambda: Exists(None), "the path of Exists is None"),
        (lambda: TextMatch("a", 3), "expected text of type str"),
        (lambda: TextMatch("a", "b", 1), "ignore_case of type bool"),
        (lambda: And(Eq("a", 1), {"b": 1}), "And got dict .*parse makes one of a dict"),
        (lambda: Not(None), "Not got NoneType None, expected a Filter"),
        (lambda: Any("a", [float("nan")]), "got NaN"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InvalidFilter, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError)


def test_lists_nested_without_end_are_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(InvalidFilter, match="nested more than 64"):
        Eq("a", endless)
