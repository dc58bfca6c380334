from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from langchain_binrag import BinragTranslator, BinragVectorStore
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery

from binrag import And, Eq, Ge, InvalidFilter, Lt, Not, Or, TextMatch

METADATA = {
    "a": {"n": 1, "name": "harbour", "tags": ["x", "y"], "day": date(2024, 5, 1), "at": datetime(2024, 5, 1, 12)},
    "b": {"n": 2.5, "name": "Harbour", "tags": [], "day": date(2024, 5, 2), "at": datetime(2024, 5, 1, 12, tzinfo=UTC)},
    "c": {"n": True, "name": "the old harbour", "tags": "xyz", "day": "2024-05-01"},
    "d": {"name": "har_bour 50% off", "n": 9, "tags": None},
    "e": {},
}


@pytest.fixture(scope="module")
def vectorstore(tmp_path_factory: pytest.TempPathFactory) -> BinragVectorStore:
    path = tmp_path_factory.mktemp("filters") / "kb.binrag"
    embedding = DeterministicFakeEmbedding(size=8)
    return BinragVectorStore.from_texts(list(METADATA), embedding, METADATA.values(), ids=METADATA, path=path)


def found_by(vectorstore: BinragVectorStore, filter: Any) -> str:
    found = vectorstore.similarity_search("a", k=9, filter=filter)
    assert {document.id for document, _ in vectorstore.similarity_search_with_score("a", 9, filter)} == {
        document.id for document in found
    }
    return "".join(sorted(document.id for document in found))


def compared(name: str, attribute: str, value: Any) -> Comparison:
    return Comparison(Comparator(name), attribute, value)


def day(text: str) -> dict[str, str]:
    return {"date": text, "type": "date"}


def moment(text: str) -> dict[str, str]:
    return {"datetime": text, "type": "datetime"}


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        (("eq", "n", 1), "ac"),
        (("ne", "n", 1), "bde"),
        (("gt", "n", 1), "bd"),
        (("gte", "n", 1), "abcd"),
        (("lt", "n", 2.5), "ac"),
        (("lte", "n", 2.5), "abc"),
        (("contain", "tags", "x"), "ac"),
        (("contain", "name", "old"), "c"),
        (("in", "n", [2.5, 9]), "bd"),
        (("nin", "n", (2.5, 9)), "ace"),
        (("like", "name", "harbour"), "ac"),
        (("like", "name", "%harbour%"), "ac"),
        (("like", "name", "har%"), "ad"),
        (("like", "name", "r_b"), "d"),
        (("like", "name", "%"), "abcd"),
        (("like", "tags", "y"), "c"),
        (("eq", "day", day("2024-05-01")), "a"),
        (("gte", "day", day("2024-05-01")), "ab"),
        (("in", "day", [day("2024-05-02"), day("2020-05-02")]), "b"),
        (("lte", "at", moment("2024-05-01T12:00:00")), "a"),
        (("lte", "at", moment("2024-05-01T14:00:00+02:00")), "b"),
        (("eq", "day", "2024-05-01"), "c"),
    ],
)
def test_every_comparator(vectorstore: BinragVectorStore, comparison: tuple[str, str, Any], expected: str) -> None:
    directive = compared(*comparison)
    assert found_by(vectorstore, directive) == expected
    assert found_by(vectorstore, directive.accept(BinragTranslator())) == expected
    negated = Operation(Operator.NOT, [directive])
    assert found_by(vectorstore, negated) == "".join(sorted(set("abcde") - set(expected)))


def test_every_comparator_and_operator_is_known() -> None:
    assert set(BinragTranslator.allowed_comparators) == set(Comparator)
    assert set(BinragTranslator.allowed_operators) == set(Operator)


def test_operators_nest() -> None:
    one, two, three = (compared("eq", "n", n) for n in (1, 2, 3))
    inner = Operation(Operator.OR, [one, two])
    translated = Operation(Operator.AND, [Operation(Operator.NOT, [inner, three]), inner]).accept(BinragTranslator())
    either = Or(Eq("n", 1), Eq("n", 2))
    assert translated == And(Not(Or(either, Eq("n", 3))), either)


@pytest.mark.parametrize("text", ["ab", "é", "a\ud7ff", "a\U0010ffff", "\U0010ffff"])
def test_beginnings_are_ranges(vectorstore: BinragVectorStore, text: str) -> None:
    texts = [text + rest for rest in ("", "\x00", "z", "\U0010ffff" * 3)]
    others = [text[:-1], text[:-1] + chr(max(ord(text[-1]) - 1, 0)) + "z", "z" + text, "0", ""]
    translated = compared("like", "t", text + "%").accept(BinragTranslator())
    conditions = translated.filters if isinstance(translated, And) else (translated,)
    for value, expected in [*((value, True) for value in texts), *((value, False) for value in others)]:
        holds = [value >= c.value if isinstance(c, Ge) else value < c.value for c in conditions]
        assert all(isinstance(c, (Ge, Lt)) for c in conditions)
        assert all(holds) is expected, (value, conditions)


def test_a_structured_query_becomes_a_text_and_arguments(vectorstore: BinragVectorStore) -> None:
    translator = BinragTranslator()
    assert translator.visit_structured_query(StructuredQuery("boats", None)) == ("boats", {})
    query = StructuredQuery("boats", compared("like", "name", "harbour"), limit=1)
    text, arguments = query.accept(translator)
    assert (text, arguments) == ("boats", {"filter": TextMatch("name", "harbour"), "k": 1})
    for search_type in ("similarity", "mmr"):
        assert len(vectorstore.search(text, search_type, **arguments)) == 1


@pytest.mark.parametrize(
    ("directive", "message"),
    [
        (compared("like", "name", "%bour"), "'%bour'; expected a text"),
        (compared("like", "name", "h%r"), "'h%r'; expected a text"),
        (compared("like", "name", 3), "pattern is 3"),
        (compared("eq", "n", None), "compares with None"),
        (compared("eq", "n", {"a": 1}), "dict"),
        (compared("in", "n", 3), "expected a list"),
        (compared("gt", "day", day("yesterday")), "is no date"),
        (compared("gt", "day", {"type": "datetime"}), "is no datetime"),
        (Operation(Operator.AND, []), "no arguments"),
    ],
)
def test_what_has_no_meaning_is_refused(directive: Any, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message):
        directive.accept(BinragTranslator())


@pytest.mark.parametrize(
    "filter",
    [
        {"n": {"$gte": 2}, "name": "Harbour"},
        Ge("n", 2) & Eq("name", "Harbour"),
        Operation(Operator.AND, [compared("gte", "n", 2), compared("eq", "name", "Harbour")]),
        lambda document: document.metadata.get("n", 0) >= 2 and document.metadata["name"] == "Harbour",
    ],
    ids=["dict", "Filter", "structured", "function"],
)
def test_all_forms_of_a_filter_say_the_same(vectorstore: BinragVectorStore, filter: Any) -> None:
    assert found_by(vectorstore, filter) == "b"
    vector = vectorstore.embeddings.embed_query("a")
    searches: list[Callable[..., list[Document]]] = [
        lambda **kwargs: vectorstore.similarity_search_by_vector(vector, **kwargs),
        lambda **kwargs: vectorstore.max_marginal_relevance_search("a", **kwargs),
        lambda **kwargs: vectorstore.max_marginal_relevance_search_by_vector(vector, **kwargs),
        lambda **kwargs: [
            document for document, _ in vectorstore.similarity_search_with_relevance_scores("a", **kwargs)
        ],
        lambda **kwargs: vectorstore.as_retriever(search_kwargs=kwargs).invoke("a"),
    ]
    for search in searches:
        assert [document.id for document in search(filter=filter)] == ["b"]


def test_a_function_is_asked_about_whole_documents(vectorstore: BinragVectorStore) -> None:
    asked = []
    assert found_by(vectorstore, lambda document: asked.append(document)) == ""
    assert asked[: len(METADATA)] == [Document(id=i, page_content=i, metadata=METADATA[i]) for i in METADATA]
    assert found_by(vectorstore, lambda document: document.page_content > "c") == "de"


def test_what_is_no_filter_is_refused(vectorstore: BinragVectorStore) -> None:
    for filter, message in (
        (3, "expected a dict of conditions"),
        ("n", "filter is str"),
        ({"n": {"$near": 1}}, r"\$near"),
    ):
        with pytest.raises(ValueError, match=message):
            vectorstore.similarity_search("a", filter=filter)
        with pytest.raises(ValueError, match=message):
            vectorstore.delete(filter=filter)
    assert vectorstore.store.count() == 5
