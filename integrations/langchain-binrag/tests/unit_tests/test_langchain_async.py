import asyncio
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_binrag import BinragRecordManager, BinragRetriever, BinragVectorStore
from langchain_core.documents import Document
from langchain_fakes import IDS, TEXTS, AwaitedEmbedding, LetterEmbedding, ReversedEmbedding, letters

from binrag import EncoderMismatch, Ledger, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = BinragVectorStore.from_texts(
        TEXTS, LetterEmbedding(), [{"n": n} for n in range(4)], ids=IDS, path=tmp_path / "kb.binrag"
    )
    made.close()
    return tmp_path / "kb.binrag"


@pytest.fixture(params=[LetterEmbedding, AwaitedEmbedding])
def vectorstore(path: Path, request: pytest.FixtureRequest) -> Iterator[BinragVectorStore]:
    # the store knows the embedding by its vectors, so either encodes for it
    opened = BinragVectorStore(path, request.param())
    yield opened
    opened.close()


SEARCHES = [
    ("similarity_search", {"query": "brown dogs", "k": 2}),
    ("similarity_search", {"query": "brown dogs", "filter": {"n": {"$gte": 2}}}),
    ("similarity_search", {"query": "brown dogs", "filter": lambda document: document.metadata["n"] >= 2}),
    ("similarity_search", {"query": "brown dogs", "tenant": "ada"}),
    ("similarity_search_with_score", {"query": "brown dogs", "k": 2, "n_candidates": 3}),
    ("similarity_search_with_relevance_scores", {"query": "brown dogs", "score_threshold": 0.7, "filter": {"n": 1}}),
    ("similarity_search_by_vector", {"embedding": letters("snow"), "k": 2}),
    ("similarity_search_with_score_by_vector", {"embedding": letters("snow"), "k": 2}),
    ("max_marginal_relevance_search", {"query": "brown dogs", "k": 3, "fetch_k": 4, "lambda_mult": 0.1}),
    (
        "max_marginal_relevance_search_by_vector",
        {"embedding": letters("snow"), "k": 3, "lambda_mult": 0.1, "filter": {"n": {"$lt": 3}}},
    ),
    ("search", {"query": "brown dogs", "search_type": "mmr", "k": 2}),
    ("get_by_ids", {}),
]


@pytest.mark.parametrize(("name", "arguments"), SEARCHES, ids=[name for name, _ in SEARCHES])
async def test_async_searches_find_what_the_others_do(
    vectorstore: BinragVectorStore, name: str, arguments: dict[str, Any]
) -> None:
    given = [IDS] if name == "get_by_ids" else []
    vectorstore.add_texts(["of ada"], tenant="ada")
    wanted = getattr(vectorstore, name)(*given, **arguments)
    assert wanted
    for _ in range(2):
        found = await getattr(vectorstore, f"a{name}")(*given, **arguments)
        assert [getattr(item, "id", item) for item in found] == [getattr(item, "id", item) for item in wanted]
    if isinstance(vectorstore.embeddings, AwaitedEmbedding):
        assert vectorstore.embeddings.n_awaited == 2 * ("query" in arguments)


@pytest.fixture
def off_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make everything that reads, writes or encodes fail on the event loop; return the names of what was called."""
    called: list[str] = []

    def watch(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            assert threading.current_thread() is not threading.main_thread(), f"{name} was called on the event loop"
            return original(*args, **kwargs)

        monkeypatch.setattr(kind, name, watched)

    for name in ("add", "search", "search_batch", "get", "delete", "iter", "info", "open", "count"):
        watch(Store, name)
    for name in ("put", "exists", "keys", "delete", "time"):
        watch(Ledger, name)
    for name in ("embed_documents", "embed_query"):
        watch(LetterEmbedding, name)
    return called


async def test_no_work_is_done_on_the_event_loop(vectorstore: BinragVectorStore, off_the_loop: list[str]) -> None:
    for _ in range(2):
        for name, arguments in SEARCHES:
            await getattr(vectorstore, f"a{name}")(*([IDS] if name == "get_by_ids" else []), **arguments)
    assert len(await vectorstore.aadd_texts(["one", "two"], [{}, {}], ids=["1", "2"])) == 2
    assert await vectorstore.aadd_documents([Document(id="3", page_content="three")]) == ["3"]
    assert await vectorstore.adelete(["1", "2"]) is True
    assert await vectorstore.adelete(filter=lambda document: document.id == "3") is True
    records = BinragRecordManager(vectorstore, "pages")
    await records.aupdate(["a"], time_at_least=await records.aget_time())
    assert await records.aexists(["a"]) == [True]
    assert await records.alist_keys() == ["a"]
    await records.adelete_keys(["a"])
    retriever = await asyncio.to_thread(BinragRetriever, path=vectorstore.store.path, embedding=LetterEmbedding())
    assert len(await retriever.ainvoke("brown dogs", search_type="similarity_score_threshold", score_threshold=0)) == 4
    made = await BinragVectorStore.afrom_texts(["x"], vectorstore.embeddings, path=f"{vectorstore.store.path}2")
    made.close()
    made = await BinragVectorStore.afrom_documents(
        (Document(id=name, page_content=name) for name in "xy"), vectorstore.embeddings, path=made.store.path
    )
    assert [document.id for document in await made.aget_by_ids(["y", "x"])] == ["y", "x"]
    made.close()
    assert {"add", "search", "get", "delete", "iter", "put", "time", "embed_query"} <= set(off_the_loop)


async def test_a_query_is_awaited_once_the_embedding_is_checked(path: Path) -> None:
    embedding = AwaitedEmbedding()
    vectorstore = BinragVectorStore(path, embedding)
    assert (await vectorstore.asimilarity_search("brown dogs", 1))[0].id == "dog"
    assert (embedding.n_awaited, embedding.n_called) == (0, 3 * 2 + 1)  # the store's own test sentences, and the query
    for n in range(1, 4):
        assert (await vectorstore.asimilarity_search("brown dogs", 1))[0].id == "dog"
        assert (embedding.n_awaited, embedding.n_called) == (n, 7)
    with pytest.raises(ValueError, match="query is empty"):
        await vectorstore.asimilarity_search(" ")
    again = pickle.loads(pickle.dumps(vectorstore))  # opens the file that is there then
    await again.asimilarity_search("brown dogs", 1)
    assert (again.embeddings.n_awaited, again.embeddings.n_called) == (3, 14)
    vectorstore.close()
    again.close()


async def test_another_embedding_is_refused_though_it_is_awaited(path: Path, tmp_path: Path) -> None:
    other = BinragVectorStore(path, ReversedEmbedding())
    for _ in range(2):
        with pytest.raises(EncoderMismatch, match=r"LetterEmbedding.*ReversedEmbedding"):
            await other.asimilarity_search("brown dogs")
    other.close()
    # a search of an empty store checks against nothing
    early = BinragVectorStore(tmp_path / "new.binrag", ReversedEmbedding())
    assert await early.asimilarity_search("brown dogs") == []
    BinragVectorStore.from_texts(TEXTS, LetterEmbedding(), path=tmp_path / "new.binrag").close()
    with pytest.raises(EncoderMismatch, match=r"LetterEmbedding.*ReversedEmbedding"):
        await early.asimilarity_search("brown dogs")
    early.close()


async def test_parallel_calls_answer_right(vectorstore: BinragVectorStore) -> None:
    names = [f"number {n}" for n in range(100)]
    vectorstore.add_texts(names, ids=names)
    retriever = BinragRetriever(path=vectorstore.store.path, embedding=vectorstore.embeddings, k=1)
    for some in (vectorstore.as_retriever(search_kwargs={"k": 1}), retriever):
        answers = await asyncio.gather(*(some.ainvoke(name) for name in names[:32]))
        assert [answer[0].id for answer in answers] == names[:32]
    adding = asyncio.gather(*(vectorstore.aadd_texts([f"new {n}"], ids=[f"new {n}"]) for n in range(8)))
    answers = await asyncio.gather(*(retriever.ainvoke(name, where={}) for name in names[:32]))
    assert [answer[0].id for answer in answers] == names[:32]
    assert await adding == [[f"new {n}"] for n in range(8)]
