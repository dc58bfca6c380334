"""What LangChain calls a filter, in binrag's words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from binrag import (
    And,
    Contains,
    Eq,
    Filter,
    Ge,
    Gt,
    In,
    InvalidFilter,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    Store,
    Tenant,
    TextMatch,
)
from langchain_binrag.documents import document_of

FilterLike: TypeAlias = Filter | Mapping[str, Any] | FilterDirective | Callable[[Document], bool] | None
"""A dict in the manner of MongoDB's queries, a `binrag.Filter`, a LangChain structured filter, or a function."""


class BinragTranslator(Visitor):
    """Translates LangChain's structured queries, for self-querying: a filter becomes a `binrag.Filter`.

    ``like`` looks for a text somewhere in a str, with case: ``like("title", "harbour")``, which ``"%harbour%"`` says
    too; ``"harbour%"`` is what begins with it. Other places of ``%`` are refused, and ``_`` is itself. Of several
    arguments, ``not`` wants none to hold.
    """

    allowed_comparators = (
        Comparator.EQ,
        Comparator.NE,
        Comparator.GT,
        Comparator.GTE,
        Comparator.LT,
        Comparator.LTE,
        Comparator.CONTAIN,
        Comparator.LIKE,
        Comparator.IN,
        Comparator.NIN,
    )
    allowed_operators = (Operator.AND, Operator.OR, Operator.NOT)

    def visit_operation(self, operation: Operation) -> Filter:
        """Return the combination of the arguments.

        Raises
        ------
        InvalidFilter
            There are no arguments, or one of them cannot be translated.
        """
        self._validate_func(operation.operator)
        if not operation.arguments:
            raise InvalidFilter(f"{operation.operator.value}() has no arguments, expected at least one")
        filters = [argument.accept(self) for argument in operation.arguments]
        if operation.operator == Operator.AND:
            return And(*filters)
        return Or(*filters) if operation.operator == Operator.OR else Not(Or(*filters))

    def visit_comparison(self, comparison: Comparison) -> Filter:
        """Return the condition; dates of LangChain's query language become dates.

        Raises
        ------
        InvalidFilter
            The value is None, which neither equals nor differs from a value, or cannot be compared with.
        """
        self._validate_func(comparison.comparator)
        if comparison.value is None:
            raise InvalidFilter(
                f"{comparison.comparator.value}({comparison.attribute!r}) compares with None; IsEmpty and Exists of "
                "binrag find what has no value"
            )
        return _CONDITIONS[comparison.comparator](comparison.attribute, _plain(comparison.value))

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """Return the query's text, and ``filter`` and ``k`` as far as it has them."""
        kwargs: dict[str, Any] = {}
        if structured_query.filter is not None:
            kwargs["filter"] = structured_query.filter.accept(self)
        if structured_query.limit is not None:
            kwargs["k"] = structured_query.limit
        return structured_query.query, kwargs


def conditions(
    store: Store, filter: FilterLike, tenant: Tenant = None, ids: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the arguments ``where`` and ``ids`` of `Store.search` and `Store.delete` that say what a filter says.

    A function is asked about every document, or about those of `ids`.

    Raises
    ------
    InvalidFilter
        It is no filter.
    """
    if callable(filter):
        found = store.iter(tenant=tenant) if ids is None else store.get(ids, tenant=tenant)  # type: ignore[arg-type]
        return {"ids": [document.id for document in found if filter(document_of(document))]}
    if isinstance(filter, FilterDirective):
        filter = filter.accept(BinragTranslator())
    elif not isinstance(filter, (Filter, Mapping, type(None))):
        raise InvalidFilter(
            f"filter is {type(filter).__name__} {filter!r}, expected a dict of conditions, a binrag.Filter, a "
            "Comparison or Operation of langchain_core.structured_query, or a function from a Document to a bool"
        )
    return {"ids": ids, "where": filter}


def _plain(value: Any) -> Any:
    """Return a value with dates in the place of what LangChain's query language writes for them."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    for name, kind in (("date", date), ("datetime", datetime)):
        if isinstance(value, dict) and value.get("type") == name:
            try:
                return kind.fromisoformat(value[name])
            except (KeyError, TypeError, ValueError):
                raise InvalidFilter(f"{value!r} is no {name}, expected ISO 8601 under {name!r}") from None
    return value


def _like(path: str, pattern: Any) -> Filter:
    if not isinstance(pattern, str):
        raise InvalidFilter(f"like({path!r}): the pattern is {pattern!r}, expected a str")
    text = pattern.strip("%")
    begins, ends = not pattern.startswith("%"), not pattern.endswith("%")
    if "%" in text or (ends and not begins):
        raise InvalidFilter(
            f"like({path!r}): the pattern is {pattern!r}; expected a text that is looked for anywhere, '%' at both "
            "ends, which says the same, or at the end, for what begins with it"
        )
    return _beginning(path, text) if begins and not ends else TextMatch(path, text)


def _beginning(path: str, text: str) -> Filter:
    """Return what is true of the texts that begin with one: by code points, they are a range."""
    stem = text.rstrip(chr(sys.maxunicode))
    if not stem:
        return Ge(path, text)
    following = ord(stem[-1]) + 1
    if following == 0xD800:  # surrogates are no characters
        following = 0xE000
    return And(Ge(path, text), Lt(path, stem[:-1] + chr(following)))


_CONDITIONS: dict[Comparator, Callable[[str, Any], Filter]] = {
    Comparator.EQ: Eq,
    Comparator.NE: Ne,
    Comparator.GT: Gt,
    Comparator.GTE: Ge,
    Comparator.LT: Lt,
    Comparator.LTE: Le,
    Comparator.CONTAIN: Contains,
    Comparator.LIKE: _like,
    Comparator.IN: In,
    Comparator.NIN: NotIn,
}
