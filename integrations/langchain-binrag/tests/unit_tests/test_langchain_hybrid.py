"""Searches by words and by both legs, against `Store.search` with the same arguments."""

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_binrag import BinragRetriever, BinragVectorStore
from langchain_core.documents import Document
from langchain_fakes import AwaitedEmbedding, LetterEmbedding, ReversedEmbedding, letters
from pydantic import ValidationError

from binrag import (
    EncoderMismatch,
    IdfCoverage,
    InvalidInput,
    Mmr,
    ReciprocalRank,
    Rerank,
    Store,
    UnsupportedMode,
    WeightedSum,
)

QUERY = "brown dog of the harbour"
TEXTS = [
    "a black cat",
    "a brown dog",
    "the old harbour",
    "snow on the hills",
    "dog and cat and harbour",
    "brown bread",
    "worn by god at the arbour",
    "good groups brown down",
]
IDS = [f"d{n}" for n in range(8)]


def by_length(query: str, texts: list[str]) -> list[float]:
    return [float(-abs(len(text) - len(query))) for text in texts]


def at_least_2(document: Document) -> bool:
    return document.metadata["n"] >= 2


class HalfReranker:
    """One that knows a relevance of its scores."""

    def rerank(self, query: str, texts: list[str]) -> list[float]:
        return by_length(query, texts)

    def relevances(self, scores: Any) -> Any:
        return 1 / (1 - scores)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = BinragVectorStore.from_texts(
        TEXTS, LetterEmbedding(), [{"n": n} for n in range(8)], ids=IDS, path=tmp_path / "kb.binrag", lexical="en"
    )
    made.add_texts(["the brown dog of ada"], ids=["ada"], tenant="ada")
    made.close()
    return tmp_path / "kb.binrag"


@pytest.fixture(params=[LetterEmbedding, AwaitedEmbedding])
def vectorstore(path: Path, request: pytest.FixtureRequest) -> Iterator[BinragVectorStore]:
    opened = BinragVectorStore(path, request.param())
    yield opened
    opened.close()


@pytest.fixture
def counted(path: Path) -> Iterator[BinragVectorStore]:
    opened = BinragVectorStore(path, AwaitedEmbedding())
    yield opened
    opened.close()


def ids_of(found: list[Any]) -> list[str | None]:
    return [getattr(item[0] if isinstance(item, tuple) else item, "id", None) for item in found]


ASKED: dict[str, dict[str, Any]] = {
    "words": {"legs": "lexical"},
    "both": {"legs": "hybrid"},
    "coverage": {"legs": "hybrid", "fusion": IdfCoverage(weight=3, exponent=1)},
    "ranks": {"legs": "hybrid", "fusion": ReciprocalRank((1, 2), 5)},
    "sum": {"legs": "hybrid", "fusion": WeightedSum((0.2, 0.8))},
    "z": {"legs": "hybrid", "fusion": WeightedSum((0.2, 0.8), "z")},
    "rerank": {"rerank": by_length},
    "both and rerank": {"legs": "hybrid", "rerank": Rerank(HalfReranker(), 4)},
    "words and rerank": {"legs": "lexical", "rerank": by_length},
    "least score": {"min_score": 0.8},
    "least score of words": {"legs": "lexical", "min_score": 0.5},
    "candidates": {"legs": "hybrid", "n_candidates": 5},
    "filter": {"legs": "lexical", "filter": {"n": {"$gte": 2}}},
    "function": {"legs": "hybrid", "filter": at_least_2},
    "tenant": {"legs": "hybrid", "tenant": "ada"},
}
"""Ways to search, each of which finds others than vectors alone, in this order and with these scores."""


def oracle(store: Store, query: Any, asked: dict[str, Any], **more: Any) -> list[Any]:
    arguments = dict(asked) | more
    if arguments.pop("filter", None) is not None:
        arguments["where"] = {"n": {"$gte": 2}}
    return store.search(query, k=4, **arguments)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_every_search_finds_what_the_store_finds(vectorstore: BinragVectorStore, asked: dict[str, Any]) -> None:
    store, vector = vectorstore.store, letters(QUERY)
    hits = oracle(store, QUERY, asked)
    assert hits
    plain = [(hit.id, hit.score) for hit in oracle(store, QUERY, {})]
    assert [(hit.id, hit.score) for hit in hits] != plain
    diverse = oracle(store, QUERY, asked, diversity=Mmr(0.9, 6))
    wanted = [(hit.id, pytest.approx(hit.score)) for hit in hits]
    text = {"text": QUERY} if "legs" in asked or "rerank" in asked else {}
    spread = {"fetch_k": 6, "lambda_mult": 0.1}
    for name, arguments, expected in (
        ("similarity_search", {"query": QUERY}, hits),
        ("similarity_search_with_score", {"query": QUERY}, hits),
        ("similarity_search_with_score", {"query": vector, **text}, hits),
        ("similarity_search_by_vector", {"embedding": vector, **text}, hits),
        ("similarity_search_with_score_by_vector", {"embedding": vector, **text}, hits),
        ("max_marginal_relevance_search", {"query": QUERY, **spread}, diverse),
        ("max_marginal_relevance_search_by_vector", {"embedding": vector, **text, **spread}, diverse),
        ("search", {"query": QUERY, "search_type": "similarity"}, hits),
    ):
        at_once = getattr(vectorstore, name)(k=4, **arguments, **asked)
        for found in (at_once, *[await getattr(vectorstore, f"a{name}")(k=4, **arguments, **asked) for _ in range(2)]):
            assert ids_of(found) == [hit.id for hit in expected], name
            if "score" in name:
                assert [(document.id, score) for document, score in found] == wanted
    document = vectorstore.similarity_search(QUERY, k=4, **asked)[0]
    assert document == Document(id=hits[0].id, page_content=hits[0].text, metadata=hits[0].metadata)


@pytest.mark.parametrize("name", ["words", "both", "coverage", "ranks", "sum", "both and rerank", "least score"])
async def test_relevance_is_that_of_the_hits(vectorstore: BinragVectorStore, name: str) -> None:
    asked = ASKED[name]
    hits = oracle(vectorstore.store, QUERY, asked)
    wanted = [(hit.id, pytest.approx(hit.relevance)) for hit in hits]
    least = sorted(hit.relevance for hit in hits)[-2] - 1e-9
    enough = [hit.id for hit in hits if hit.relevance >= least]
    threshold = {"score_threshold": least, "k": 4, **asked}
    retriever = vectorstore.as_retriever(search_type="similarity_score_threshold", search_kwargs=threshold)
    for _ in range(2):
        for found in (
            vectorstore.similarity_search_with_relevance_scores(QUERY, k=4, **asked),
            await vectorstore.asimilarity_search_with_relevance_scores(QUERY, k=4, **asked),
        ):
            assert [(document.id, relevance) for document, relevance in found] == wanted
            assert all("relevance" not in document.metadata for document, _ in found)
        assert ids_of(retriever.invoke(QUERY)) == ids_of(await retriever.ainvoke(QUERY)) == enough


async def test_where_a_score_has_no_relevance_the_reason_is_named(vectorstore: BinragVectorStore) -> None:
    for name, message in (
        ("z", r"z scores have neither; take WeightedSum\(scale='min-max'\)"),
        ("rerank", r"the reranker does not say .* give it a method relevances\(scores\)"),
    ):
        with pytest.raises(UnsupportedMode, match=message):
            vectorstore.similarity_search_with_relevance_scores(QUERY, **ASKED[name])
        with pytest.raises(UnsupportedMode, match=message):
            await vectorstore.asimilarity_search_with_relevance_scores(QUERY, score_threshold=0.1, **ASKED[name])


class DotEncoder:
    encoder_id = "dots"
    similarity = "dot"

    def encode_document(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text)), 1.0] for text in texts]

    encode_query = encode_document

    def count_truncated(self, texts: list[str]) -> int:
        return 0


def test_inner_products_have_relevance_by_words_and_by_ranks(tmp_path: Path) -> None:
    made = BinragVectorStore.from_texts(
        TEXTS, None, path=tmp_path / "kb.binrag", encoder=DotEncoder(), lexical="any", legs="hybrid"
    )
    with pytest.raises(UnsupportedMode, match="inner products have neither; use similarity_search_with_score"):
        made.similarity_search_with_relevance_scores(QUERY)
    for asked in ({"legs": "lexical"}, {"fusion": ReciprocalRank()}):
        assert all(0 < found <= 1 for _, found in made.similarity_search_with_relevance_scores(QUERY, k=3, **asked))
    with pytest.raises(UnsupportedMode, match="legs is 'hybrid'"):
        made._select_relevance_score_fn()
    made.close()


async def test_words_alone_call_no_embedding(counted: BinragVectorStore) -> None:
    embedding = counted.embeddings
    await counted.asimilarity_search(QUERY)  # the embedding is checked, and would be awaited from here on
    embedding.n_called = 0
    for name, arguments in (
        ("similarity_search", {}),
        ("similarity_search_with_score", {"rerank": by_length}),
        ("similarity_search_with_relevance_scores", {}),
        ("max_marginal_relevance_search", {"fetch_k": 6}),
    ):
        assert getattr(counted, name)(QUERY, legs="lexical", **arguments)
        assert await getattr(counted, f"a{name}")(QUERY, legs="lexical", **arguments)
    assert (embedding.n_called, embedding.n_awaited) == (0, 0)
    await counted.asimilarity_search(QUERY, legs="hybrid")
    assert (embedding.n_called, embedding.n_awaited) == (0, 1)


async def test_a_search_by_words_checks_no_embedding(path: Path) -> None:
    other = BinragVectorStore(path, ReversedEmbedding())
    assert await other.asimilarity_search(QUERY, legs="lexical")
    for legs in ("hybrid", "dense"):
        for _ in range(2):
            with pytest.raises(EncoderMismatch, match=r"LetterEmbedding.*ReversedEmbedding"):
                await other.asimilarity_search(QUERY, legs=legs)
    other.close()


async def test_nothing_is_searched_on_the_event_loop(
    counted: BinragVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def watch(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            assert threading.current_thread() is not threading.main_thread(), f"{name} was called on the event loop"
            return original(*args, **kwargs)

        monkeypatch.setattr(kind, name, watched)

    for name in ("search", "info", "iter"):
        watch(Store, name)
    watch(LetterEmbedding, "embed_query")
    watch(HalfReranker, "rerank")
    rerank = Rerank(HalfReranker(), 4)
    for legs in ("dense", "lexical", "hybrid") * 2:
        await counted.asimilarity_search(QUERY, legs=legs, rerank=rerank, filter=lambda document: True)
        await counted.asimilarity_search_with_relevance_scores(QUERY, legs=legs, rerank=rerank)
        await counted.asimilarity_search_by_vector(letters(QUERY), legs=legs, rerank=rerank, text=QUERY)
    assert {"search", "info", "iter", "embed_query", "rerank"} <= set(called)


async def test_a_vector_has_no_words(vectorstore: BinragVectorStore) -> None:
    vector = letters(QUERY)
    for asked, message in (
        ({"legs": "lexical"}, "legs='lexical' reads the text of the query, and the query is a vector; give its text="),
        ({"legs": "hybrid"}, "legs='hybrid' reads the text"),
        ({"legs": "hybrid", "rerank": by_length}, "rerank reads the text"),
        ({"rerank": by_length}, "rerank reads the text"),
        ({"text": QUERY}, "neither was asked for"),
    ):
        for name in (
            "similarity_search_with_score",
            "similarity_search_by_vector",
            "similarity_search_with_score_by_vector",
            "max_marginal_relevance_search_by_vector",
        ):
            with pytest.raises(InvalidInput, match=message):
                getattr(vectorstore, name)(vector, **asked)
            with pytest.raises(InvalidInput, match=message):
                await getattr(vectorstore, f"a{name}")(vector, **asked)


async def test_words_of_another_text_may_stand_beside_the_query(vectorstore: BinragVectorStore) -> None:
    hits = vectorstore.store.search(QUERY, k=3, text="snow", legs="hybrid")
    assert hits != vectorstore.store.search(QUERY, k=3, legs="hybrid")
    assert ids_of(vectorstore.similarity_search(QUERY, k=3, text="snow", legs="hybrid")) == ids_of(hits)
    for _ in range(2):
        assert ids_of(await vectorstore.asimilarity_search(QUERY, k=3, text="snow", legs="hybrid")) == ids_of(hits)


async def test_what_has_no_meaning_is_refused(vectorstore: BinragVectorStore) -> None:
    for asked, message in (
        ({"legs": "words"}, "legs is 'words', expected one of dense, lexical, hybrid"),
        ({"fusion": ReciprocalRank()}, "fusion is of both legs, and legs is 'dense'"),
        ({"legs": "lexical", "fusion": ReciprocalRank()}, "fusion is of both legs"),
        ({"legs": "hybrid", "fusion": "rrf"}, "fusion is 'rrf', expected"),
        ({"legs": "lexical", "n_candidates": 9}, "n_candidates is about the scan"),
        ({"rerank": 3}, "the reranker is a int"),
        ({"min_score": "high"}, "min_score is 'high'"),
        ({"explain": True}, "got explain, which langchain-binrag does not have"),
        ({"text": QUERY}, "neither was asked for"),
    ):
        with pytest.raises(InvalidInput, match=message):
            vectorstore.similarity_search(QUERY, **asked)
        with pytest.raises(InvalidInput, match=message):
            await vectorstore.asimilarity_search(QUERY, **asked)
    with pytest.raises(InvalidInput, match="query is empty"):
        await vectorstore.asimilarity_search(" ", legs="lexical")


AGAIN: dict[str, Callable[[Any], Any]] = {
    "itself": lambda it: it,
    "copied": copy.deepcopy,
    "pickled": lambda it: pickle.loads(pickle.dumps(it)),
}


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
async def test_a_vector_store_has_legs_and_a_fusion_of_its_own(path: Path, again: Callable[[Any], Any]) -> None:
    fusion = ReciprocalRank((1, 2), 5)
    made = BinragVectorStore(path, LetterEmbedding(), legs="hybrid", fusion=fusion)
    vectorstore = again(made)
    store = vectorstore.store
    own = ids_of(store.search(QUERY, k=4, legs="hybrid", fusion=fusion))
    for asked, expected in (
        ({}, own),
        ({"legs": "hybrid"}, own),
        ({"fusion": WeightedSum((0.9, 0.1))}, store.search(QUERY, k=4, legs="hybrid", fusion=WeightedSum((0.9, 0.1)))),
        ({"legs": "dense"}, store.search(QUERY, k=4)),
        ({"legs": "lexical"}, store.search(QUERY, k=4, legs="lexical")),
    ):
        wanted = expected if expected is own else ids_of(expected)
        assert ids_of(vectorstore.similarity_search(QUERY, **asked)) == wanted
        assert ids_of(await vectorstore.asimilarity_search(QUERY, **asked)) == wanted
        assert ids_of(vectorstore.as_retriever(search_kwargs=asked).invoke(QUERY)) == wanted
    assert own != ids_of(store.search(QUERY, k=4))
    with pytest.raises(InvalidInput, match="legs='hybrid' reads the text"):
        vectorstore.similarity_search_by_vector(letters(QUERY))
    assert vectorstore.similarity_search_by_vector(letters(QUERY), legs="dense")
    vectorstore.close()
    made.close()


def test_legs_that_are_none_open_no_file(tmp_path: Path) -> None:
    new = tmp_path / "new.binrag"
    for asked, message in (
        ({"legs": "words"}, "legs is 'words'"),
        ({"legs": None}, "legs is None"),
        ({"fusion": ReciprocalRank()}, "fusion is of both legs, and legs is 'dense'"),
        ({"legs": "hybrid", "fusion": "rrf"}, "fusion is 'rrf'"),
        ({"lexical": "english"}, "lexical is 'english'"),
    ):
        with pytest.raises(InvalidInput, match=message):
            BinragVectorStore(new, LetterEmbedding(), **asked)
    assert not new.exists()


async def test_a_file_is_made_with_words_or_gets_them_later(tmp_path: Path) -> None:
    documents = [Document(id=id_, page_content=text) for id_, text in zip(IDS, TEXTS, strict=True)]
    options = {"legs": "lexical", "lexical": "any"}
    first = BinragVectorStore.from_documents(documents, LetterEmbedding(), path=tmp_path / "1.binrag", **options)
    second = await BinragVectorStore.afrom_texts(
        TEXTS, LetterEmbedding(), ids=IDS, path=tmp_path / "2.binrag", **options
    )
    assert ids_of(first.similarity_search("snow")) == ids_of(second.similarity_search("snow")) == ["d3"]
    assert ids_of(first.similarity_search("the")) != []  # no language's rules, and no stop words
    third = BinragVectorStore.from_texts(TEXTS, LetterEmbedding(), ids=IDS, path=tmp_path / "3.binrag")
    with pytest.raises(UnsupportedMode, match="index_words"):
        third.similarity_search("snow", legs="lexical")
    third.store.index_words()
    assert ids_of(third.similarity_search("snow", legs="lexical")) == ["d3"]
    with pytest.raises(InvalidInput, match="beside an open store"):
        BinragVectorStore(store=third.store, lexical="en")
    over = BinragVectorStore(store=third.store, legs="lexical")
    assert ids_of(over.similarity_search("snow")) == ["d3"]
    for each in (first, second, third):
        each.close()


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_a_retriever_finds_what_the_store_finds(path: Path, asked: dict[str, Any]) -> None:
    asked = {"where" if name == "filter" else name: value for name, value in asked.items() if name != "n_candidates"}
    plain = BinragRetriever(path=path, embedding=AwaitedEmbedding())
    own = BinragRetriever(path=path, embedding=AwaitedEmbedding(), **asked)
    spread = {"search_type": "mmr", "fetch_k": 6, "lambda_mult": 0.1}
    with Store.open(path, encoder=LetterEmbedding()) as store:
        arguments = {"filter" if name == "where" else name: value for name, value in asked.items()}
        wanted = ids_of(oracle(store, QUERY, arguments))
        diverse = ids_of(oracle(store, QUERY, arguments, diversity=Mmr(0.9, 6)))
    for retriever, given in ((plain, asked), (own, {}), (pickle.loads(pickle.dumps(own)), {})):
        for _ in range(2):
            assert ids_of(retriever.invoke(QUERY, **given)) == wanted
            assert ids_of(await retriever.ainvoke(QUERY, **given)) == wanted
        assert ids_of(retriever.invoke(QUERY, **given, **spread)) == diverse


def test_a_retriever_by_words_needs_no_model(path: Path) -> None:
    retriever = BinragRetriever(path=path, legs="lexical", k=1)
    assert ids_of(retriever.invoke("snow")) == ["d3"]
    with pytest.raises(EncoderMismatch, match="without an encoder"):
        retriever.invoke("snow", legs="hybrid")


async def test_what_the_call_names_goes_before_the_retrievers(path: Path) -> None:
    retriever = BinragRetriever(
        path=path,
        embedding=AwaitedEmbedding(),
        legs="hybrid",
        fusion=ReciprocalRank((1, 2), 5),
        rerank=by_length,
        min_score=-9,
    )
    with Store.open(path, encoder=LetterEmbedding()) as store:
        for given, expected in (
            ({}, {"legs": "hybrid", "fusion": ReciprocalRank((1, 2), 5), "rerank": by_length, "min_score": -9}),
            ({"legs": "dense"}, {"rerank": by_length, "min_score": -9}),
            ({"legs": "lexical", "min_score": -1}, {"legs": "lexical", "rerank": by_length, "min_score": -1}),
            (
                {"fusion": WeightedSum(), "rerank": Rerank(by_length, 4)},
                {"legs": "hybrid", "fusion": WeightedSum(), "rerank": Rerank(by_length, 4), "min_score": -9},
            ),
        ):
            wanted = ids_of(store.search(QUERY, k=4, **expected))
            assert ids_of(retriever.invoke(QUERY, **given)) == wanted
            assert ids_of(await retriever.ainvoke(QUERY, **given)) == wanted
    # the least score is left out where the least relevance is given
    close = {"search_type": "similarity_score_threshold", "score_threshold": 0, "rerank": HalfReranker()}
    assert len(retriever.invoke(QUERY, **close)) == 4
    for given, message in (
        ({"legs": "words"}, "legs is 'words'"),
        ({"legs": "dense", "fusion": ReciprocalRank()}, "fusion is of both legs, and legs is 'dense'"),
        ({"fusion": "rrf"}, "fusion is 'rrf'"),
        ({"rerank": 3}, "the reranker is a int"),
        ({"min_score": float("nan")}, "min_score is nan"),
        ({**close, "min_score": 0.5}, "got min_score, which is for search_type='similarity' or 'mmr'"),
    ):
        with pytest.raises(InvalidInput, match=message):
            retriever.invoke(QUERY, **given)
        with pytest.raises(InvalidInput, match=message):
            await retriever.ainvoke(QUERY, **given)


def test_wrong_fields_of_a_retriever_are_refused(path: Path) -> None:
    threshold = {"search_type": "similarity_score_threshold", "score_threshold": 0.5}
    for given, message in (
        ({"legs": "words"}, "legs"),
        ({"legs": "hybrid", "fusion": "rrf"}, "fusion\n"),
        ({"legs": "hybrid", "fusion": {}}, "fusion\n"),
        ({"fusion": ReciprocalRank()}, "fusion is of both legs, and legs is 'dense'"),
        ({"legs": "lexical", "fusion": ReciprocalRank()}, "fusion is of both legs, and legs is 'lexical'"),
        ({"rerank": 3}, r"rerank is 3, expected a binrag\.Rerank"),
        ({"min_score": float("inf")}, "min_score\n"),
        ({"min_score": "high"}, "min_score\n"),
        ({**threshold, "min_score": 0.5}, "got min_score, which is for search_type='similarity' or 'mmr'"),
    ):
        with pytest.raises(ValidationError, match=message):
            BinragRetriever(path=path, embedding=LetterEmbedding(), **given)
