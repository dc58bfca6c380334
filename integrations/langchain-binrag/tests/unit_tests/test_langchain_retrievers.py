import copy
import gc
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_binrag import BinragRetriever, BinragVectorStore
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.structured_query import Comparator, Comparison
from langchain_core.tracers.base import BaseTracer
from pydantic import ValidationError

from binrag import Ge, Store

TEXTS = [f"text {n}" for n in range(6)]


@pytest.fixture
def embedding() -> DeterministicFakeEmbedding:
    return DeterministicFakeEmbedding(size=64)


@pytest.fixture
def path(tmp_path: Path, embedding: DeterministicFakeEmbedding) -> Path:
    with Store.open(tmp_path / "kb.binrag", encoder=embedding) as store:
        store.add(TEXTS, ids=[str(n) for n in range(6)], metadata=[{"n": n} for n in range(6)])
    return tmp_path / "kb.binrag"


def test_it_finds_what_the_plain_store_holds(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    retriever = BinragRetriever(path=path, embedding=embedding, k=1)
    assert retriever.invoke("text 3") == [Document(id="3", page_content="text 3", metadata={"n": 3})]
    assert retriever.batch(["text 1", "text 2"], k=1)[1][0].id == "2"
    chain = retriever | RunnableLambda(lambda documents: documents[0].page_content)
    assert chain.invoke("text 5") == "text 5"


async def test_k_of_the_call_goes_before_k_of_the_retriever(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    retriever = BinragRetriever(path=str(path), embedding=embedding)
    assert len(retriever.invoke("text 3")) == 4
    assert len(retriever.invoke("text 3", k=2)) == 2
    assert len(await retriever.ainvoke("text 3")) == 4
    assert len(await retriever.ainvoke("text 3", k=6)) == 6
    with pytest.raises(ValueError, match="k is 0"):
        retriever.invoke("text 3", k=0)
    for call in (lambda: retriever.invoke("text 3", filter={}), lambda: retriever.ainvoke("text 3", filter={})):
        with pytest.raises(TypeError, match="filter"):
            _ = await call()


def test_two_retrievers_share_a_file_with_a_writer(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    first = BinragRetriever(path=path, embedding=embedding, k=1)
    second = BinragRetriever(path=path, embedding=embedding, k=1)
    with Store.open(path, encoder=embedding) as store:
        store.add(["news"], ids=["news"])
        assert first.invoke("news")[0].id == second.invoke("news")[0].id == "news"
    del first, second
    gc.collect()
    assert [file.name for file in path.parent.iterdir() if not file.name.endswith("-lock")] == ["kb.binrag"]


def test_an_open_store_may_be_given(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    with Store.open(path, encoder=embedding) as store:
        assert BinragRetriever(store=store, k=1).invoke("text 4")[0].id == "4"


def test_wrong_arguments_are_refused(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    with pytest.raises(FileNotFoundError):
        BinragRetriever(path=path.with_name("none.binrag"), embedding=embedding)
    assert not path.with_name("none.binrag").exists()
    with pytest.raises(ValueError, match="either path"):
        BinragRetriever(embedding=embedding)
    for arguments, message in (
        ({"filter": {}}, "filter"),
        ({"k": 0}, "k\n"),
        ({"search_type": "hybrid"}, "search_type"),
        ({"search_type": "similarity_score_threshold"}, "score_threshold is None"),
        ({"search_type": "similarity_score_threshold", "score_threshold": 2}, "score_threshold"),
        ({"score_threshold": 0.5}, "score_threshold, which is for search_type='similarity_score_threshold'"),
        ({"fetch_k": 5}, "fetch_k, which is for search_type='mmr'"),
        ({"search_type": "mmr", "lambda_mult": 2}, "lambda_mult"),
        ({"search_type": "mmr", "fetch_k": 0}, "fetch_k"),
        ({"encoder": "recorded"}, "both embedding and encoder"),
    ):
        with pytest.raises(ValidationError, match=message):
            BinragRetriever(path=path, embedding=embedding, **arguments)
    with pytest.raises(ValueError, match="without an encoder"):
        BinragRetriever(path=path).invoke("text 3")
    with pytest.raises(ValidationError, match="frozen"):
        BinragRetriever(path=path, embedding=embedding).path = "other.binrag"


SEARCHES: list[tuple[dict[str, Any], Callable[[BinragVectorStore], list[Document]]]] = [
    ({"k": 2}, lambda it: it.similarity_search("text 3", k=2)),
    ({"where": {"n": {"$gte": 4}}}, lambda it: it.similarity_search("text 3", filter={"n": {"$gte": 4}})),
    ({"where": Ge("n", 4)}, lambda it: it.similarity_search("text 3", filter={"n": {"$gte": 4}})),
    ({"where": Comparison(Comparator.GTE, "n", 4)}, lambda it: it.similarity_search("text 3", filter=Ge("n", 4))),
    (
        {"where": lambda document: document.metadata["n"] > 3},
        lambda it: it.similarity_search("text 3", filter=Ge("n", 4)),
    ),
    ({"search_type": "mmr", "k": 3}, lambda it: it.max_marginal_relevance_search("text 3", k=3)),
    (
        {"search_type": "mmr", "fetch_k": 5, "lambda_mult": 0, "k": 3},
        lambda it: it.max_marginal_relevance_search("text 3", k=3, fetch_k=5, lambda_mult=0),
    ),
    (
        {"search_type": "similarity_score_threshold", "score_threshold": 0.9},
        lambda it: it.search("text 3", "similarity_score_threshold", score_threshold=0.9),
    ),
    ({"tenant": "ada"}, lambda it: it.similarity_search("text 3", tenant="ada")),
]


@pytest.mark.parametrize(("arguments", "expected"), SEARCHES, ids=[" ".join(given) for given, _ in SEARCHES])
async def test_what_is_given_to_the_retriever_or_to_the_call_is_honoured(
    path: Path,
    embedding: DeterministicFakeEmbedding,
    arguments: dict[str, Any],
    expected: Callable[[BinragVectorStore], list[Document]],
) -> None:
    vectorstore = BinragVectorStore(path, embedding)
    vectorstore.add_texts(["of ada"], ids=["ada"], tenant="ada")
    wanted = expected(vectorstore)
    assert wanted
    plain = BinragRetriever(path=path, embedding=embedding)
    assert plain.invoke("text 3") != wanted
    assert plain.invoke("text 3", **arguments) == await plain.ainvoke("text 3", **arguments) == wanted
    own = BinragRetriever(path=path, embedding=embedding, **arguments)
    assert own.invoke("text 3") == await own.ainvoke("text 3") == wanted
    vectorstore.close()


async def test_what_is_given_to_the_call_goes_before(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    retriever = BinragRetriever(path=path, embedding=embedding, where={"n": 3}, search_type="mmr", lambda_mult=0)
    assert len(retriever.invoke("text 3")) == 1
    assert len(retriever.invoke("text 3", where={})) == 4
    assert len(await retriever.ainvoke("text 3", where={}, search_type="similarity", k=5)) == 5
    assert retriever.bind(where={"n": 5}).invoke("text 3")[0].id == "5"
    for arguments, message in (
        ({"k": 0}, "k is 0"),
        ({"search_type": "hybrid"}, "search_type of hybrid not allowed"),
        ({"search_type": "similarity", "lambda_mult": 0.5}, "lambda_mult, which is for search_type='mmr'"),
        ({"search_type": "similarity_score_threshold"}, "score_threshold is None"),
        ({"search_type": "similarity_score_threshold", "score_threshold": -1}, "score_threshold is -1"),
        ({"lambda_mult": 2}, "lambda_mult is 2"),
        ({"where": 3}, "filter is int 3"),
    ):
        with pytest.raises(ValueError, match=message):
            retriever.invoke("text 3", **arguments)
        with pytest.raises(ValueError, match=message):
            await retriever.ainvoke("text 3", **arguments)


def test_a_retriever_of_one_tenant_refuses_the_others(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    with Store.open(path, encoder=embedding) as store:
        store.add(["of ada"], ids=["ada"], tenant="ada")
    retriever = BinragRetriever(path=path, embedding=embedding, tenant="ada")
    assert [document.id for document in retriever.invoke("text 3")] == ["ada"]
    assert retriever.invoke("text 3", tenant="ada") == retriever.invoke("text 3")
    with pytest.raises(ValueError, match="for tenant 'ada' alone"):
        retriever.invoke("text 3", tenant="bob")


class Traced(BaseTracer):
    """Keeps what a run is traced with."""

    def _persist_run(self, run: Any) -> None:
        self.run = run


def test_runs_are_tagged_and_described_as_langchains(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    vectorstore = BinragVectorStore(path, embedding)
    traced = []
    for retriever in (vectorstore.as_retriever(), BinragRetriever(path=path, embedding=embedding)):
        tracer = Traced()
        retriever.invoke("text 3", {"callbacks": [tracer]})
        traced.append(({k: v for k, v in tracer.run.metadata.items() if k.startswith("ls_")}, tracer.run.tags))
    (theirs, their_tags), (ours, our_tags) = traced
    assert our_tags == their_tags == ["BinragVectorStore", "DeterministicFakeEmbedding"]
    assert ours == theirs | {"ls_retriever_name": "binrag"}
    assert ours["ls_vector_store_provider"] == "BinragVectorStore"
    assert BinragRetriever(path=path, embedding=embedding, tags=["mine"]).tags == ["mine"]
    vectorstore.close()


AGAIN = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    "model_copy": lambda it: it.model_copy(deep=True),
    "model_validate": lambda it: BinragRetriever.model_validate(dict(it)),
}


@pytest.mark.parametrize("given_open", [False, True])
@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
def test_copies_find_the_same(
    path: Path, embedding: DeterministicFakeEmbedding, again: Callable[[Any], Any], given_open: bool
) -> None:
    given = {"store": Store.open(path, encoder=embedding)} if given_open else {"path": path, "embedding": embedding}
    retriever = BinragRetriever(**given, k=2, where={"n": {"$gte": 3}})
    other = again(retriever)
    assert other.invoke("text 4") == retriever.invoke("text 4")
    assert (other.k, other.where, other.tags) == (2, {"n": {"$gte": 3}}, retriever.tags)
    other.k = 1
    assert (len(other.invoke("text 4")), len(retriever.invoke("text 4"))) == (1, 2)
    if given_open and again not in (AGAIN["copy"], AGAIN["model_validate"]):
        given["store"].close()
        assert other.invoke("text 4")[0].id == "4"


def test_its_fields_can_be_configured(path: Path, embedding: DeterministicFakeEmbedding) -> None:
    retriever = BinragRetriever(path=path, embedding=embedding).configurable_fields(k=ConfigurableField(id="k"))
    assert len(retriever.invoke("text 3", {"configurable": {"k": 2}})) == 2
    assert len(retriever.invoke("text 3")) == 4
