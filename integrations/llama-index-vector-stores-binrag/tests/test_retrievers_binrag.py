import asyncio
from pathlib import Path

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.retrievers.binrag import BinragRetriever
from llama_index.vector_stores.binrag import BinragVectorStore

from binrag import Store

DIRECTIONS = {
    "north": [0.0, 1.0, 0.2],
    "east": [1.0, 0.0, 0.2],
    "south": [0.0, -1.0, 0.2],
    "north east": [1.0, 1.0, 0.3],
}


def encode(texts: list[str]) -> list[list[float]]:
    return [DIRECTIONS.get(text, [0.1, 0.1, 1.0]) for text in texts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "kb.binrag", encoder=encode) as store:
        store.add(list(DIRECTIONS), ids=[text[0:2] + text[-2:] for text in DIRECTIONS], metadata=[{"n": 1}] * 4)
    return tmp_path / "kb.binrag"


def test_text_is_encoded_by_the_stores_encoder(path: Path) -> None:
    retriever = BinragRetriever(path, encoder=encode)
    found = retriever.retrieve("north")
    assert [hit.text for hit in found] == ["north", "north east"]
    assert found[0].node == TextNode(id_="noth", text="north", metadata={"n": 1})
    assert found[0].score == pytest.approx(1, abs=0.01)
    assert len(BinragRetriever(path, encoder=encode, similarity_top_k=9).retrieve("north")) == 4


async def test_async_retrieval_in_parallel(path: Path) -> None:
    retriever = BinragRetriever(path, encoder=encode, similarity_top_k=1)
    answers = await asyncio.gather(*(retriever.aretrieve(text) for text in list(DIRECTIONS) * 8))
    assert [answer[0].text for answer in answers] == list(DIRECTIONS) * 8


def test_the_bundle_may_bring_a_vector_or_other_words(path: Path) -> None:
    retriever = BinragRetriever(path, encoder=encode, similarity_top_k=1)
    assert retriever.retrieve(QueryBundle("north", embedding=[0.0, -1.0, 0.2]))[0].text == "south"
    assert retriever.retrieve(QueryBundle("north", custom_embedding_strs=["east"]))[0].text == "east"
    with pytest.raises(NotImplementedError, match="2 custom_embedding_strs"):
        retriever.retrieve(QueryBundle("north", custom_embedding_strs=["east", "south"]))
    with pytest.raises(ValueError, match="query is empty"):
        retriever.retrieve("")


def test_it_reads_what_a_vector_store_wrote(tmp_path: Path) -> None:
    vector_store = BinragVectorStore(tmp_path / "kb.binrag")
    nodes = [TextNode(id_=text, text=f"go {text}", embedding=vector) for text, vector in DIRECTIONS.items()]
    vector_store.add(nodes)
    (hit,) = BinragRetriever(vector_store.path, encoder=encode, similarity_top_k=1).retrieve("east")
    assert (hit.node_id, hit.text) == ("east", "go east")
    vector_store.client.close()


def test_an_open_store_and_base_arguments(path: Path) -> None:
    callbacks = CallbackManager()
    with Store.open(path, encoder=encode) as store:
        retriever = BinragRetriever(store=store, similarity_top_k=1, callback_manager=callbacks)
        assert retriever.callback_manager is callbacks
        assert retriever.retrieve("south")[0].text == "south"
        with pytest.raises(ValueError, match="not both"):
            BinragRetriever(path, store=store)
        with pytest.raises(ValueError, match="encoder beside an open store"):
            BinragRetriever(store=store, encoder=encode)


def test_wrong_arguments_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="either path"):
        BinragRetriever()
    with pytest.raises(FileNotFoundError):
        BinragRetriever(path.with_name("none.binrag"))
    assert not path.with_name("none.binrag").exists()
    with pytest.raises(TypeError, match="filters"):
        BinragRetriever(path, filters=None)
    with pytest.raises(ValueError, match="without an encoder"):
        BinragRetriever(path).retrieve("north")
    with pytest.raises(ValueError, match="k is 0"):
        BinragRetriever(path, encoder=encode, similarity_top_k=0).retrieve("north")
