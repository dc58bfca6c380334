"""The filter tree: conditions on the value under a path, and `And`, `Or`, `Not` of them. Frozen, equal by value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np

from binrag.errors import InvalidFilter

MAX_DEPTH = 64
"""Levels of a tree, and of a list that a condition compares with."""


class Filter:
    """A condition on a document's metadata; base of all operators, which combine by ``&``, ``|`` and ``~``."""

    depth: int = 1

    def __and__(self, other: Filter) -> And:
        return And(*_parts(And, self), *_parts(And, other)) if isinstance(other, Filter) else NotImplemented

    def __or__(self, other: Filter) -> Or:
        return Or(*_parts(Or, self), *_parts(Or, other)) if isinstance(other, Filter) else NotImplemented

    def __invert__(self) -> Not:
        return Not(self)


@dataclass(frozen=True)
class Leaf(Filter):
    """A condition on the value under one path.

    Parameters
    ----------
    path : str
        Keys joined by dots, as in ``"author.name"``.

    Raises
    ------
    InvalidFilter
        The path is not a str.
    """

    path: str

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise InvalidFilter(f"the path of {type(self).__name__} is {self.path!r}, expected a str")


@dataclass(frozen=True)
class Valued(Leaf):
    """A condition that compares with one value.

    Parameters
    ----------
    path : str
        Keys joined by dots, as in ``"author.name"``.
    value : None, bool, int, float, str, bytes, datetime, date or list
        What is compared with. A list is kept as a tuple.

    Raises
    ------
    InvalidFilter
        The value can't be compared with: NaN, a dict, another type.
    """

    value: object

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", operand(self.value, f"{type(self).__name__}({self.path!r})"))


@dataclass(frozen=True)
class Listed(Leaf):
    """A condition that compares with several values.

    Parameters
    ----------
    path : str
        Keys joined by dots, as in ``"author.name"``.
    values : iterable
        What is compared with; kept as a tuple.

    Raises
    ------
    InvalidFilter
        A str, a dict, or not iterable; or one of the values can't be compared with.
    """

    values: tuple[object, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        place, values = f"{type(self).__name__}({self.path!r})", self.values
        if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
            raise InvalidFilter(f"{place}: the values are {type(values).__name__} {values!r}, expected a list")
        object.__setattr__(self, "values", tuple(operand(value, place) for value in values))


class Eq(Valued):
    """The value equals another, as ``==`` in Python: ``True == 1 == 1.0``; a list is compared as a whole."""


class Ne(Valued):
    """The value does not equal another, or there is none: the opposite of `Eq`."""


class Lt(Valued):
    """The value is less than another of its kind."""


class Le(Valued):
    """The value is less than another of its kind, or equal."""


class Gt(Valued):
    """The value is greater than another of its kind."""


class Ge(Valued):
    """The value is greater than another of its kind, or equal."""


class In(Listed):
    """The value equals one of several."""


class NotIn(Listed):
    """The value equals none of several, or there is none: the opposite of `In`."""


class Any(Listed):
    """The value contains at least one of several, in the sense of `Contains`."""


class All(Listed):
    """There is a value, and it contains each of several, in the sense of `Contains`."""


class Contains(Valued):
    """A list has the value as an item, a str or bytes has it as a part, a dict has it as a key."""


@dataclass(frozen=True)
class TextMatch(Leaf):
    """The value is a str with a given text somewhere in it.

    Parameters
    ----------
    path : str
        Keys joined by dots, as in ``"author.name"``.
    text : str
        What is looked for.
    ignore_case : bool
        Whether both sides are put in lower case first.

    Raises
    ------
    InvalidFilter
        The text is not a str, or `ignore_case` not a bool.
    """

    text: str
    ignore_case: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        place = f"TextMatch({self.path!r})"
        if not isinstance(self.text, str) or not isinstance(self.ignore_case, bool):
            raise InvalidFilter(f"{place}: expected text of type str and ignore_case of type bool, got {self!r}")
        object.__setattr__(self, "text", operand(self.text, place))


class IsEmpty(Leaf):
    """There is no value under the path, or it is None, ``""`` or ``[]``."""


class Exists(Leaf):
    """There is a value under the path; it may be None."""


@dataclass(frozen=True, init=False, repr=False)
class Combined(Filter):
    """What `And` and `Or` share.

    Parameters
    ----------
    *filters : Filter
        What is combined.

    Raises
    ------
    InvalidFilter
        One of them is no filter, or the tree is more than 64 levels deep.
    """

    filters: tuple[Filter, ...]
    depth: int = field(compare=False)

    def __init__(self, *filters: Filter) -> None:
        object.__setattr__(self, "filters", filters)
        object.__setattr__(self, "depth", _depth(type(self).__name__, filters))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.filters))})"


class And(Combined):
    """All of the filters match; ``And()`` matches every document."""


class Or(Combined):
    """At least one of the filters matches; ``Or()`` matches no document."""


@dataclass(frozen=True)
class Not(Filter):
    """The filter does not match.

    Parameters
    ----------
    filter : Filter
        What is negated.

    Raises
    ------
    InvalidFilter
        It is no filter, or the tree is more than 64 levels deep.
    """

    filter: Filter
    depth: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", _depth("Not", (self.filter,)))


def operand(value: object, place: str, level: int = 0) -> object:
    """Return a value to compare with in the form that conditions keep it: plain, hashable, a list as a tuple.

    Raises
    ------
    InvalidFilter
        Names the place, what was got and what is allowed.
    """
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        value = value.item()
    if value is None or isinstance(value, (bool, bytes)):
        return value
    if isinstance(value, str):
        return _checked_text(value, place)
    if isinstance(value, (int, float)):
        return _checked_number(value, place)
    if isinstance(value, date):
        return _checked_date(value, place)
    if isinstance(value, (list, tuple)):
        if level >= MAX_DEPTH:
            raise InvalidFilter(f"{place}: the list is nested more than {MAX_DEPTH} levels deep")
        return tuple(operand(item, place, level + 1) for item in value)
    hint = "; compare the values in a dict by dotted paths" if isinstance(value, dict) else ""
    raise InvalidFilter(
        f"{place}: got {type(value).__name__} {value!r}, expected None, bool, int, float, str, bytes, datetime, date, "
        f"or a list of these{hint}"
    )


def _checked_text(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidFilter(f"{place}: not valid Unicode text: {error}") from None
    return str(value)


def _checked_number(value: float, place: str) -> float:
    if isinstance(value, int):
        return int(value)
    if math.isnan(value):
        raise InvalidFilter(f"{place}: got NaN, which equals nothing; use IsEmpty for values that are not there")
    return float(value)


def _checked_date(value: date, place: str) -> date:
    """Return a date whose offset from UTC, if any, is fixed: two of them are equal where their instants are."""
    kind = datetime if isinstance(value, datetime) else date
    try:
        return kind.fromisoformat(value.isoformat())
    except ValueError:
        raise InvalidFilter(f"{place}: got {value!r}, which is no date") from None


def _depth(name: str, filters: tuple[Filter, ...]) -> int:
    for child in filters:
        if not isinstance(child, Filter):
            hint = "; binrag.filters.parse makes one of a dict" if isinstance(child, dict) else ""
            raise InvalidFilter(f"{name} got {type(child).__name__} {child!r}, expected a Filter{hint}")
    depth = 1 + max((child.depth for child in filters), default=0)
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"{name}: the filter is more than {MAX_DEPTH} levels deep")
    return depth


def _parts(kind: type[Combined], child: Filter) -> tuple[Filter, ...]:
    """Return the filters that a combination joins, so that chains of one operator stay flat."""
    return child.filters if isinstance(child, kind) else (child,)
