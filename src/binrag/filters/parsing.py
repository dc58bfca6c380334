"""The dict form of a filter, in the manner of MongoDB's queries, as it comes from JSON or the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime
from functools import partial
from typing import cast

from binrag.errors import InvalidFilter
from binrag.filters.tree import (
    MAX_DEPTH,
    All,
    And,
    Any,
    Contains,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    IsEmpty,
    Le,
    Listed,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    TextMatch,
    Valued,
)

DATES = "a date or datetime in ISO 8601, such as '2024-05-01' or '2024-05-01T12:00:00+02:00'"
"""What ``$date`` stands for."""

_Operator = Callable[[str, object, str], Filter]


def parse(where: Filter | Mapping[str, object]) -> Filter:
    """Return the filter that a dict describes; a filter is returned as it is.

    Parameters
    ----------
    where : Filter or mapping
        ``{path: value}`` is `Eq`; ``{path: {operator: operand, …}}`` has one or more of ``$eq $ne $lt $lte $gt $gte
        $in $nin $any $all $contains $text $itext $empty $exists $not``; several conditions must all hold. ``$and``,
        ``$or`` and ``$nor`` take a list of such mappings or filters, ``$not`` takes one. A datetime or date may be
        written ``{"$date": "2024-05-01T12:00:00+02:00"}``. An empty mapping matches every document.

    Returns
    -------
    Filter
        The tree.

    Raises
    ------
    InvalidFilter
        Names the place, what was got and what is allowed there.

    Examples
    --------
    >>> parse({"year": {"$gte": 2020}, "lang": "en"})
    And(Ge(path='year', value=2020), Eq(path='lang', value='en'))
    """
    return _parsed(where, "where", 0)


def _parsed(where: object, place: str, level: int) -> Filter:
    if isinstance(where, Filter):
        return where
    if not isinstance(where, Mapping):
        raise InvalidFilter(f"{place} is {_shown(where)}, expected a dict of conditions or a Filter")
    if level > MAX_DEPTH:
        raise InvalidFilter(f"{place}: the filter is more than {MAX_DEPTH} levels deep")
    return _joined([_item(key, value, f"{place}[{key!r}]", level) for key, value in where.items()])


def _item(key: object, value: object, place: str, level: int) -> Filter:
    if not isinstance(key, str):
        raise InvalidFilter(f"{place}: the key is {_shown(key)}, expected a path or an operator, a str")
    if not key.startswith("$"):
        return _condition(key, value, place, level)
    if key == "$not":
        return Not(_parsed(value, place, level + 1))
    if key not in _COMBINING:
        raise InvalidFilter(f"{place}: unknown operator {key!r} in the place of a path, {_known(*_COMBINING, '$not')}")
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidFilter(f"{place} is {_shown(value)}, expected a list of at least one filter")
    return _COMBINING[key](*(_parsed(child, f"{place}[{i}]", level + 1) for i, child in enumerate(value)))


def _condition(path: str, value: object, place: str, level: int) -> Filter:
    if not isinstance(value, Mapping) or set(value) == {"$date"}:
        return _valued(Eq, path, value, place)
    if level > MAX_DEPTH:
        raise InvalidFilter(f"{place}: the filter is more than {MAX_DEPTH} levels deep")
    if not value:
        raise InvalidFilter(
            f"{place} is an empty dict, expected a value or one or more operators, {_known(*_OPERATORS)}"
        )
    filters = []
    for name, given in value.items():
        inner = f"{place}[{name!r}]"
        if name == "$not":
            filters.append(_negated(path, given, inner, level))
        elif name in _OPERATORS:
            filters.append(_OPERATORS[name](path, given, inner))
        else:
            plain = isinstance(name, str) and not name.startswith("$")
            hint = f"; write {f'{path}.{name}'!r} for a value inside a dict" if plain else ""
            raise InvalidFilter(f"{inner}: unknown operator {name!r}, {_known(*_OPERATORS, '$not')}{hint}")
    return _joined(filters)


def _negated(path: str, value: object, place: str, level: int) -> Filter:
    if not isinstance(value, Mapping):
        raise InvalidFilter(f"{place} is {_shown(value)}, expected a dict of operators; {{'$ne': …}} negates a value")
    return Not(_condition(path, value, place, level + 1))


def _joined(filters: list[Filter]) -> Filter:
    return filters[0] if len(filters) == 1 else And(*filters)


def _value(value: object, place: str, level: int = 0) -> object:
    """Return a value with datetimes and dates in the place of their JSON form."""
    if isinstance(value, Mapping):
        if set(value) == {"$date"}:
            return _date(value["$date"], place)
        raise InvalidFilter(
            f"{place} is {_shown(value)}, expected a value or {{'$date': …}}; compare the values in a dict by dotted "
            "paths"
        )
    if isinstance(value, (list, tuple)):
        if level >= MAX_DEPTH:
            raise InvalidFilter(f"{place}: the list is nested more than {MAX_DEPTH} levels deep")
        return [_value(item, f"{place}[{i}]", level + 1) for i, item in enumerate(value)]
    return value


def date_of(text: object) -> date | None:
    """Return the date or datetime that ``$date`` stands for, in JSON and in filters; None if it is none."""
    if isinstance(text, str):
        for kind in (date, datetime):
            with suppress(ValueError):
                return kind.fromisoformat(text)
    return None


def _date(text: object, place: str) -> date:
    found = date_of(text)
    if found is None:
        raise InvalidFilter(f"{place}['$date'] is {_shown(text)}, expected {DATES}")
    return found


def _valued(kind: type[Valued], path: str, value: object, place: str) -> Filter:
    if value is None and issubclass(kind, (Eq, Ne)):
        raise InvalidFilter(
            f"{place} is None, which neither equals nor differs from a value: {{'$empty': true}} finds None, '' and [] "
            "and what is not there, {'$exists': false} what is not there"
        )
    return _made(lambda: kind(path, _value(value, place)), place)


def _listed(kind: type[Listed], path: str, value: object, place: str) -> Filter:
    if not isinstance(value, (list, tuple)):
        raise InvalidFilter(f"{place} is {_shown(value)}, expected a list of values")
    return _made(lambda: kind(path, cast(tuple[object, ...], _value(value, place))), place)


def _text(path: str, value: object, place: str, ignore_case: bool) -> Filter:
    if not isinstance(value, str):
        raise InvalidFilter(f"{place} is {_shown(value)}, expected the text to look for, a str")
    return _made(lambda: TextMatch(path, value, ignore_case), place)


def _flag(kind: Callable[[str], Filter], path: str, value: object, place: str) -> Filter:
    if not isinstance(value, bool):
        raise InvalidFilter(f"{place} is {_shown(value)}, expected true or false")
    return kind(path) if value else Not(kind(path))


def _made(make: Callable[[], Filter], place: str) -> Filter:
    """Make a condition; what it complains of is told with the place in the dict."""
    try:
        return make()
    except InvalidFilter as error:
        message = str(error)
        raise InvalidFilter(message if message.startswith(place) else f"{place}: {message}") from None


def _known(*names: str) -> str:
    return f"expected one of {' '.join(names)}"


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:80] + '…'}"


_COMBINING: dict[str, Callable[..., Filter]] = {"$and": And, "$or": Or, "$nor": lambda *filters: Not(Or(*filters))}

_OPERATORS: dict[str, _Operator] = {
    **{
        name: partial(_valued, kind)
        for name, kind in {
            "$eq": Eq, "$ne": Ne, "$lt": Lt, "$lte": Le, "$gt": Gt, "$gte": Ge, "$contains": Contains
        }.items()
    },
    **{name: partial(_listed, kind) for name, kind in {"$in": In, "$nin": NotIn, "$any": Any, "$all": All}.items()},
    "$text": partial(_text, ignore_case=False),
    "$itext": partial(_text, ignore_case=True),
    "$empty": partial(_flag, IsEmpty),
    "$exists": partial(_flag, Exists),
}  # fmt: skip
