"""Filters on metadata: a tree of conditions, what it means for one document, and which rows of many it allows.

`matches` defines the meaning; `select` gives the same answer for all rows at once, from columns. A column is what
`pack_columns` wrote for one path, merged over all blocks.
"""

from binrag.filters.blobs import pack_columns
from binrag.filters.columns import Column, unlike_rows
from binrag.filters.parsing import parse
from binrag.filters.predicate import lookup, matches
from binrag.filters.selection import select
from binrag.filters.tree import (
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
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    TextMatch,
)

__all__ = [
    "All",
    "And",
    "Any",
    "Column",
    "Contains",
    "Eq",
    "Exists",
    "Filter",
    "Ge",
    "Gt",
    "In",
    "IsEmpty",
    "Le",
    "Lt",
    "Ne",
    "Not",
    "NotIn",
    "Or",
    "TextMatch",
    "lookup",
    "matches",
    "pack_columns",
    "parse",
    "select",
    "unlike_rows",
]
