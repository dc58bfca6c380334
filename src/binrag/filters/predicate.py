"""What a filter means for one document; the columns have to agree with it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from binrag.filters import tree
from binrag.filters.kinds import Kind, frozen, keyed
from binrag.filters.tree import And, Filter, Leaf, Not, Or


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What `lookup` returns where there is no value."""


def matches(filter: Filter, metadata: Mapping[str, Any]) -> bool:
    """Say whether a document's metadata matches.

    Parameters
    ----------
    filter : Filter
        The condition.
    metadata : mapping
        The metadata; empty where a document has none.

    Returns
    -------
    bool
        Values that do not compare with each other don't match; nothing is raised.
    """
    if isinstance(filter, And):
        return all(matches(child, metadata) for child in filter.filters)
    if isinstance(filter, Or):
        return any(matches(child, metadata) for child in filter.filters)
    if isinstance(filter, Not):
        return not matches(filter.filter, metadata)
    if isinstance(filter, Leaf):
        return holds(filter, lookup(metadata, filter.path))
    raise TypeError(f"no operator of binrag: {filter!r}")


def lookup(value: Any, path: str) -> Any:
    """Return the value under a dotted path, or `MISSING`.

    A step leads into a dict. Through a list it leads into all its dicts, and what is found there is joined to one
    list. A key may have dots itself; where several readings of the path lead to a value, the longest first key wins.

    Parameters
    ----------
    value : dict or list
        Where to look; anything else has nothing under a path.
    path : str
        Keys joined by dots.
    """
    if isinstance(value, Mapping):
        end = len(path)
        while end >= 0:
            if path[:end] in value:
                inner = value[path[:end]]
                found = inner if end == len(path) else lookup(inner, path[end + 1 :])
                if found is not MISSING:
                    return found
            end = path.rfind(".", 0, end)
        return MISSING
    if isinstance(value, (list, tuple)):
        found = [lookup(item, path) for item in value if isinstance(item, Mapping)]
        return joined([item for item in found if item is not MISSING]) if found else MISSING
    return MISSING


def joined(found: list[Any]) -> Any:
    """Return one list of what was found in the dicts of a list, or `MISSING` if it is nothing."""
    if not found:
        return MISSING
    result: list[Any] = []
    for item in found:
        if isinstance(item, (list, tuple)):
            result.extend(item)
        else:
            result.append(item)
    return result


def flattened(value: Any) -> dict[str, Any]:
    """Return every path that leads to a value, and what `lookup` finds there."""
    result: dict[str, Any] = {}
    if isinstance(value, Mapping):
        for key in sorted(value, key=len, reverse=True):  # where readings collide, the longest first key wins
            inner = value[key]
            result.setdefault(key, inner)
            if isinstance(inner, (Mapping, list, tuple)):
                for path, item in flattened(inner).items():
                    result.setdefault(f"{key}.{path}", item)
    elif isinstance(value, (list, tuple)):
        found: dict[str, list[Any]] = {}
        for dictionary in value:
            if isinstance(dictionary, Mapping):
                for path, item in flattened(dictionary).items():
                    found.setdefault(path, []).append(item)
        result = {path: joined(items) for path, items in found.items()}
    return result


def holds(leaf: Leaf, value: Any) -> bool:
    """Say whether a condition holds for the value under its path, or for `MISSING`."""
    return _TESTS[type(leaf)](leaf, value)


def contains(container: Any, item: Any) -> bool:
    """Say whether a value contains an item: ``item in container``, and not where Python raises."""
    if isinstance(container, (str, Mapping)):
        return isinstance(item, str) and item in container
    if isinstance(container, bytes):
        return (isinstance(item, bytes) or (isinstance(item, int) and 0 <= item < 256)) and item in container
    return isinstance(container, (list, tuple)) and any(frozen(own) == item for own in container)


def lowered(text: str, ignore_case: bool) -> str:
    """Return the text as `TextMatch` compares it."""
    return text.lower() if ignore_case else text


def _is_value(value: Any) -> bool:
    return value is not None and value is not MISSING


def _equal(leaf: Any, value: Any) -> bool:
    return _is_value(value) and bool(frozen(value) == leaf.value)


def _in(leaf: Any, value: Any) -> bool:
    return _is_value(value) and frozen(value) in leaf.values


def _any(leaf: Any, value: Any) -> bool:
    return any(contains(value, item) for item in leaf.values)


def _all(leaf: Any, value: Any) -> bool:
    return _is_value(value) and all(contains(value, item) for item in leaf.values)


def _has_text(leaf: Any, value: Any) -> bool:
    return isinstance(value, str) and lowered(leaf.text, leaf.ignore_case) in lowered(value, leaf.ignore_case)


def _is_empty(leaf: Any, value: Any) -> bool:
    return not _is_value(value) or (isinstance(value, (str, list, tuple)) and not value)


def _comparing(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(leaf: Any, value: Any) -> bool:
        if not _is_value(value):
            return False
        (kind, key), (other, limit) = keyed(value), keyed(leaf.value)
        return kind == other and kind in ORDERED and compare(key, limit)

    return test


ORDERED: Final = frozenset({Kind.INT, Kind.STR, Kind.BYTES, Kind.NAIVE, Kind.AWARE, Kind.DATE})
"""Kinds whose values compare by less and greater, as `keyed` names them."""

_TESTS: dict[type[Leaf], Callable[[Any, Any], bool]] = {
    tree.Eq: _equal,
    tree.Ne: lambda leaf, value: not _equal(leaf, value),
    tree.In: _in,
    tree.NotIn: lambda leaf, value: not _in(leaf, value),
    tree.Lt: _comparing(operator.lt),
    tree.Le: _comparing(operator.le),
    tree.Gt: _comparing(operator.gt),
    tree.Ge: _comparing(operator.ge),
    tree.Contains: lambda leaf, value: contains(value, leaf.value),
    tree.Any: _any,
    tree.All: _all,
    tree.TextMatch: _has_text,
    tree.IsEmpty: _is_empty,
    tree.Exists: lambda leaf, value: value is not MISSING,
}
