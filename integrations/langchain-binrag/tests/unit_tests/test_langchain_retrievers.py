import gc
from pathlib import Path

import pytest
from langchain_binrag import BinragRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError

from binrag import Store

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
    with pytest.raises(TypeError, match="filter"):
        retriever.invoke("text 3", filter={})


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
    with pytest.raises(ValidationError, match="where"):
        BinragRetriever(path=path, embedding=embedding, where={})
    with pytest.raises(ValidationError, match="k\n"):
        BinragRetriever(path=path, embedding=embedding, k=0)
    with pytest.raises(ValueError, match="without an encoder"):
        BinragRetriever(path=path).invoke("text 3")
