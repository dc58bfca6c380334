"""Every operator and condition, against what LlamaIndex says that it means."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.vector_stores import utils
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import filters, means, node_of, where

MISSING = object()
STORED: list[Any] = [
    *(MISSING, None, 0, 1, 2, 2.5, -3, 2**53 + 1, True, False),
    *("", "x", "X", "xy", "axe", "1", "Été", "a" * 200 + "x"),
    *([], ["x"], ["y", "x", "z"], ["X"], ["axe"], [""], [1, 2], [2.5], [True], ["x", 1], [[1]], [None]),
    *({}, {"x": 1}, [{"x": 1}]),
]
GIVEN: list[Any] = [
    *(None, 0, 1, 2.5, -3, 2.0**53, "", "x", "X", "y", "1", "ÉT"),
    *([], ["x"], ["x", "y"], ["1", ""], [1], [1, 2], [2.5]),
]
LISTED = {"in", "nin", "any", "all"}
TEXTS = {"text_match", "text_match_insensitive"}
ORDERED = {">", ">=", "<", "<="}
METADATA = {f"n{n}": {} if value is MISSING else {"a": value} for n, value in enumerate(STORED)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinragVectorStore]:
    store = BinragVectorStore(tmp_path_factory.mktemp("filters") / "kb.binrag")
    store.add([node_of(id_, [1.0, n], **metadata) for n, (id_, metadata) in enumerate(METADATA.items())])
    yield store
    store.client.close()


def found(store: BinragVectorStore, asked: MetadataFilters) -> list[str]:
    return [node.node_id for node in store.get_nodes(filters=asked)]


def expected(asked: Any) -> list[str]:
    return [id_ for id_, metadata in METADATA.items() if means(asked, metadata)]


def has_meaning(operator: str, value: Any) -> bool:
    """Whether the operator takes such a value."""
    if operator in LISTED:
        return isinstance(value, list)
    return isinstance(value, str) or operator not in TEXTS


@pytest.mark.parametrize("operator", [operator.value for operator in FilterOperator])
def test_an_operator_means_what_llama_index_says(store: BinragVectorStore, operator: str) -> None:
    n_found = 0
    for value in GIVEN:
        one = where("a", operator, value)
        if not has_meaning(operator, value):
            with pytest.raises(ValueError, match="'a'"):
                found(store, filters(one))
        elif operator in ORDERED and isinstance(value, list):
            assert found(store, filters(one)) == []  # the one difference: lists are not ordered
        else:
            ids = found(store, filters(one))
            assert ids == expected(one), value
            assert found(store, filters(one, condition="not")) == [id_ for id_ in METADATA if id_ not in ids], value
            n_found += len(ids)
    assert n_found > 0


def test_the_meaning_is_that_of_llama_indexs_own_predicate() -> None:
    build = getattr(utils, "build_metadata_filter_fn", None)
    if build is None or not build(lambda _: {}, filters(where("a", "!=", 1)))(""):
        pytest.skip("in earlier versions of llama-index-core, a key that is not there matches nothing")
    n_answers = 0
    for operator in FilterOperator:
        for value in GIVEN:
            one = where("a", operator.value, value)
            for condition in ("and", "or", "not"):
                asked = filters(one, where("a", "!=", 1), condition=condition)
                answer = build(METADATA.__getitem__, asked)
                for id_, metadata in METADATA.items():
                    try:
                        says = answer(id_)
                    except TypeError:
                        assert not means(one, metadata)
                    else:
                        assert says == means(asked, metadata), (asked, metadata)
                        n_answers += 1
    assert n_answers > 10_000


def test_conditions_nest(store: BinragVectorStore) -> None:
    draw = random.Random(0)
    leaves = [
        where("a", operator.value, value)
        for operator in FilterOperator
        for value in GIVEN
        if has_meaning(operator.value, value) and not (operator.value in ORDERED and isinstance(value, list))
    ]

    def tree(depth: int) -> MetadataFilters:
        children = [
            tree(depth - 1) if depth and draw.random() < 0.5 else draw.choice(leaves) for _ in range(draw.randint(0, 3))
        ]
        return filters(*children, condition=draw.choice(["and", "or", "not"]))

    sizes = set()
    for _ in range(60):
        asked = tree(3)
        assert found(store, asked) == expected(asked), asked
        sizes.add(len(expected(asked)))
    assert len(sizes) > 10


def test_no_filter_and_no_condition(store: BinragVectorStore) -> None:
    for condition in ("and", "or", "not"):
        assert found(store, filters(condition=condition)) == list(METADATA)
    both = MetadataFilters(filters=[where("a", ">", 0), where("a", "<", 2)], condition=None)
    assert found(store, both) == expected(filters(where("a", ">", 0), where("a", "<", 2)))


@pytest.mark.parametrize("key", ["a.b", ".", "a.", "$gte", "$and", "", " ", "ключ", "a\x00b", "_id", "id", "text"])
def test_a_key_may_have_any_characters(tmp_path: Path, key: str) -> None:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    store.add([node_of("one", [1.0, 0.0], **{key: 1}), node_of("two", [0.0, 1.0], **{key: "2"})])
    store.add([node_of("none", [1.0, 1.0])])
    assert found(store, filters(where(key, "==", 1))) == ["one"]
    assert found(store, filters(where(key, "in", ["2"]))) == ["two"]
    assert found(store, filters(where(key, "is_empty"))) == ["none"]
    assert found(store, filters(where(key, "!=", 1))) == ["two", "none"]
    query = VectorStoreQuery([1.0, 0.1], 3, filters=filters(where(key, "==", "2")))
    assert store.query(query).ids == ["two"]
    store.client.close()


def test_a_dotted_key_goes_before_a_path_into_nested_metadata(tmp_path: Path) -> None:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    store.add([node_of("flat", [1.0, 0.0], **{"a.b": 1, "a": {"b": 2}}), node_of("deep", [0.0, 1.0], a={"b": 1})])
    assert found(store, filters(where("a.b", "==", 1))) == ["flat", "deep"]
    assert found(store, filters(where("a.b", "==", 2))) == []
    store.client.close()


def test_what_llama_index_adds_to_the_metadata_can_be_asked_for(tmp_path: Path) -> None:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    store.add([node_of("a", [1.0, 0.0], "source"), node_of("b", [0.0, 1.0])])
    for key in ("ref_doc_id", "doc_id", "document_id"):
        assert found(store, filters(where(key, "==", "source"))) == ["a"]
    assert found(store, filters(where("_node_type", "==", "TextNode"))) == ["a", "b"]
    store.client.close()


def test_filters_without_a_meaning_are_refused(store: BinragVectorStore) -> None:
    one = where("a", "==", 1)
    unknown = one.model_copy(update={"operator": "like"})
    deep = filters(one)
    for _ in range(70):
        deep = filters(deep)
    for asked, words in (
        (filters(unknown), "operator 'like' is not supported; expected one of EQ, NE"),
        (filters(one).model_copy(update={"condition": "xor"}), "condition 'xor' is not supported"),
        (filters(where("a", "==", float("nan"))), "NaN"),
        (deep, "64 levels"),
    ):
        with pytest.raises(ValueError, match=words):
            store.get_nodes(filters=asked)
    for asked in ({"a": 1}, [one]):
        with pytest.raises(ValueError, match="expected MetadataFilters"):
            store.query(VectorStoreQuery([1.0, 0.0], filters=asked))
