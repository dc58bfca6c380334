"""LlamaIndex's metadata filters as binrag's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

import binrag
from binrag import Filter, InvalidFilter

_CONDITIONS: dict[FilterOperator, Callable[[str, Any], Filter]] = {
    FilterOperator.EQ: binrag.Eq,
    FilterOperator.NE: binrag.Ne,
    FilterOperator.GT: binrag.Gt,
    FilterOperator.GTE: binrag.Ge,
    FilterOperator.LT: binrag.Lt,
    FilterOperator.LTE: binrag.Le,
    FilterOperator.IN: binrag.In,
    FilterOperator.NIN: binrag.NotIn,
    FilterOperator.ANY: binrag.Any,
    FilterOperator.ALL: binrag.All,
    FilterOperator.CONTAINS: binrag.Contains,
    FilterOperator.TEXT_MATCH: binrag.TextMatch,
    FilterOperator.TEXT_MATCH_INSENSITIVE: partial(binrag.TextMatch, ignore_case=True),
    FilterOperator.IS_EMPTY: lambda key, _: binrag.IsEmpty(key),
}


def to_filter(filters: MetadataFilters | None) -> Filter | None:
    """Translate metadata filters, however nested.

    The meaning is that of `llama_index.core.vector_stores.utils.build_metadata_filter_fn`. Where that raises, because a
    stored value and the filter's do not compare, the node does not match.

    Parameters
    ----------
    filters : MetadataFilters, optional
        Without any filter in it, it is true of every node.

    Returns
    -------
    Filter or None
        None where nothing is asked for. Its paths are the filters' keys: a key that has dots names the metadata of that
        key; where there is none, what is under the dotted path in nested metadata.

    Raises
    ------
    ValueError
        An operator or a value that has no meaning, such as IN with anything but a list.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise InvalidFilter(
            f"filters is a {type(filters).__name__}, expected MetadataFilters; where= takes binrag's own"
        )
    return _combined(filters) if filters.filters else None


def _combined(filters: MetadataFilters) -> Filter:
    children = [
        _combined(child) if isinstance(child, MetadataFilters) else _condition(child) for child in filters.filters
    ]
    if not children:
        return binrag.And()
    if filters.condition in (None, FilterCondition.AND):
        return binrag.And(*children)
    if filters.condition == FilterCondition.OR:
        return binrag.Or(*children)
    if filters.condition == FilterCondition.NOT:
        return binrag.Not(binrag.Or(*children))
    raise InvalidFilter(f"condition {filters.condition!r} is not supported; expected AND, OR or NOT")


def _condition(one: MetadataFilter) -> Filter:
    if one.operator not in _CONDITIONS:
        names = ", ".join(operator.name for operator in _CONDITIONS)
        raise InvalidFilter(f"{one.key!r}: operator {one.operator!r} is not supported; expected one of {names}")
    return _CONDITIONS[one.operator](one.key, one.value)
