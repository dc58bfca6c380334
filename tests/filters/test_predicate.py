"""What filters mean for one document: the table of the documentation, paths, and LlamaIndex's own predicate."""

import random
import re
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from reference import filter_matches
from trees import COMPARED, LISTED, PATHS, random_metadata

import binrag
from binrag import Contains, Eq, Exists, Filter, Gt, IsEmpty, Ne, TextMatch
from binrag.filters import Column, lookup, matches, pack_columns, select
from binrag.filters.predicate import MISSING, flattened

DOCS = Path(__file__).parents[2] / "docs" / "filters.md"
NAMES = {"date": date, "datetime": datetime, "UTC": UTC, "EAST": timezone(timedelta(hours=2)), "__builtins__": {}}
NAMES |= {name: value for name, value in vars(binrag).items() if isinstance(value, type) and issubclass(value, Filter)}


def truth_table():
    """(filter, value or MISSING, whether it matches) of the table in the documentation."""
    table = DOCS.read_text(encoding="utf-8").split("## Truth table")[1].split("\n\n")[2]
    for line in table.splitlines()[2:]:
        condition, *sides = line.strip("|").split("|")
        for expected, side in zip((True, False), sides, strict=True):
            for cell in re.findall(r"`[^`]+`|–", side):
                yield condition.strip(" `"), cell.strip("`"), expected


TABLE = list(truth_table())


def test_the_table_has_every_operator():
    named = {condition.partition("(")[0] for condition, _, _ in TABLE}
    assert named >= {kind.__name__ for kind in [*COMPARED, *LISTED, TextMatch, IsEmpty, Exists]}
    assert len(TABLE) > 120


@pytest.mark.parametrize(("condition", "cell", "expected"), TABLE)
def test_the_documented_table_is_true(condition, cell, expected):
    node = eval(condition, NAMES)
    metadata = {} if cell == "–" else {"a": eval(cell, NAMES)}
    assert matches(node, metadata) is expected
    assert filter_matches(node, metadata) is expected
    column = Column.empty("a").updated(1, [(0, pack_columns([metadata]))])
    assert bool(select(node, 1, lambda path: column, lambda rows: [metadata for _ in rows])[0]) is expected


@pytest.mark.parametrize(
    ("metadata", "path", "expected"),
    [
        ({"a": {"b": 1}}, "a.b", 1),
        ({"a": {"b": 1}}, "a", {"b": 1}),
        ({"a": {"b": 1}}, "a.c", MISSING),
        ({"a": 1}, "a.b", MISSING),
        ({"a": {"b": None}}, "a.b", None),
        ({"a.b": 1}, "a.b", 1),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a.b": {"c": 1}, "a": {"b.c": 2}}, "a.b.c", 1),
        ({"a.b": {"x": 1}, "a": {"b.c": 2}}, "a.b.c", 2),
        ({"a": [{"b": 1}, {"b": 2}, {"c": 3}, 4]}, "a.b", [1, 2]),
        ({"a": [{"b": [1, 2]}, {"b": 3}]}, "a.b", [1, 2, 3]),
        ({"a": [{"b": []}]}, "a.b", []),
        ({"a": [{"c": 1}]}, "a.b", MISSING),
        ({"a": []}, "a.b", MISSING),
        ({"a": [[{"b": 1}]]}, "a.b", MISSING),
        ({"": 1}, "", 1),
        ({"a": {"": {"b": 1}}}, "a..b", 1),
        ({}, "a", MISSING),
    ],
)
def test_paths(metadata, path, expected):
    found = lookup(metadata, path)
    assert found == expected
    assert (found is MISSING) == (expected is MISSING)
    assert flattened(metadata).get(path, MISSING) == expected


def test_flattened_has_every_path_that_leads_to_a_value_and_no_other():
    rng = random.Random(0)
    for _ in range(500):
        metadata = random_metadata(rng) or {}
        flat = flattened(metadata)
        assert {path: lookup(metadata, path) for path in flat} == flat
        assert all((lookup(metadata, path) is MISSING) == (path not in flat) for path in PATHS)


VALUES = [0, 1, 2, 1.5, -1.0, "", "a", "ab", "B", "1"]
LISTS = [[], ["a"], ["a", "B"], [1, 2], [1.5]]


def test_filters_mean_what_llama_index_says():
    utils = pytest.importorskip("llama_index.core.vector_stores.utils", reason="the frameworks group brings it")
    from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

    stored = [MISSING, None, *VALUES, *LISTS, ["a", 1], [None], True]
    operators = {
        **{"==": Eq, "!=": Ne, ">": Gt, ">=": binrag.Ge, "<": binrag.Lt, "<=": binrag.Le, "contains": Contains},
        **{"in": LISTED[0], "nin": LISTED[1], "any": LISTED[2], "all": LISTED[3]},
        **{"text_match": TextMatch, "text_match_insensitive": lambda path, text: TextMatch(path, text, True)},
        "is_empty": lambda path, _: IsEmpty(path),
    }
    assert set(operators) == {operator.value for operator in FilterOperator}
    n = 0
    for name, make in operators.items():
        for value in LISTS if name in ("in", "nin", "any", "all") else ["a", "B", ""] if "text" in name else VALUES:
            theirs = MetadataFilters(filters=[MetadataFilter(key="a", value=value, operator=FilterOperator(name))])
            for own in stored:
                metadata = {} if own is MISSING else {"a": own}
                try:
                    expected = utils.build_metadata_filter_fn(lambda _, found=metadata: found, theirs)("id")
                except TypeError:
                    expected = any_part(own, value) if name == "any" else False
                assert matches(make("a", value), metadata) == expected, (name, value, metadata)
                n += 1
    assert n > 1500


def any_part(stored, values):
    """LlamaIndex's "any" of a str raises at the first value that is none, unless one before it matched."""
    return isinstance(stored, str) and any(isinstance(value, str) and value in stored for value in values)


def test_a_condition_of_another_make_is_refused():
    class Strange(Filter):
        pass

    for call in (lambda: matches(Strange(), {}), lambda: select(Strange(), 1, Column.empty, lambda rows: [])):
        with pytest.raises(TypeError, match="no operator of binrag"):
            call()


def test_a_stored_none_exists_and_is_empty():
    assert matches(Exists("a") & IsEmpty("a"), {"a": None})
