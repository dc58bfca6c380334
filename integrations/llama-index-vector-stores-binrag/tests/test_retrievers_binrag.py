import asyncio
import copy
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import IndexNode, QueryBundle, TextNode
from llama_index.retrievers.binrag import BinragRetriever
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import WordEmbedding, filters, where

from binrag import ALL_TENANTS, Eq, Store

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
    for wrong, error, words in (
        ({"filter": None}, TypeError, "filter"),
        ({"encoder": encode, "embed_model": WordEmbedding()}, ValueError, "encoder and embed_model"),
        ({"tenant": ALL_TENANTS}, ValueError, "ALL_TENANTS"),
        ({"vector_store_query_mode": "svm"}, NotImplementedError, "SVM"),
        ({"vector_store_query_mode": "best"}, ValueError, "'best'"),
        ({"vector_store_kwargs": {"mmr_threshold": 0.5}}, ValueError, "of no effect"),
        ({"vector_store_kwargs": {"top_k": 3}}, ValueError, "query got top_k"),
        ({"filters": filters(where("n", "in", 1))}, ValueError, "'n'"),
        ({"filters": {"n": 1}, "vector_store_kwargs": {"where": {"n": 1}}}, ValueError, "where"),
    ):
        with pytest.raises(error, match=words):
            BinragRetriever(path, **wrong)
    with pytest.raises(ValueError, match="without an encoder"):
        BinragRetriever(path).retrieve("north")
    with pytest.raises(ValueError, match="k is 0"):
        BinragRetriever(path, encoder=encode, similarity_top_k=0).retrieve("north")


FULL = {
    "north": ("a", {"n": 1, "seen": True}),
    "east": ("a", {"n": 2}),
    "south": ("b", {"n": 3}),
    "north east": ("b", {"n": 4}),
}


@pytest.fixture
def indexed(tmp_path: Path) -> BinragVectorStore:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    nodes = [
        TextNode(id_=text, text=f"go {text}", metadata=metadata, embedding=DIRECTIONS[text])
        for text, (_, metadata) in FULL.items()
    ]
    for node, (source, _) in zip(nodes, FULL.values(), strict=True):
        node.relationships = {"1": TextNode(id_=source).as_related_node_info()}
    store.add(nodes)
    return store


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["north", "north east"]),
        ({"filters": filters(where("n", ">", 1))}, ["north east", "east"]),
        ({"filters": {"n": {"$gt": 1}}}, ["north east", "east"]),
        ({"filters": {"seen": True}}, ["north"]),
        ({"filters": Eq("n", 3)}, ["south"]),
        ({"filters": Eq("n", 3), "doc_ids": ["a"]}, []),
        ({"filters": filters()}, ["north", "north east"]),
        ({"doc_ids": ["a"]}, ["north", "east"]),
        ({"doc_ids": []}, []),
        ({"node_ids": ["south"]}, ["south"]),
        ({"node_ids": []}, ["north", "north east"]),
        ({"vector_store_query_mode": "mmr", "vector_store_kwargs": {"mmr_threshold": 0.4}}, ["north", "south"]),
        ({"vector_store_query_mode": "mmr", "vector_store_kwargs": {"mmr_threshold": 1}}, ["north", "north east"]),
        ({"vector_store_kwargs": {"n_candidates": 4}}, ["north", "north east"]),
        ({"tenant": "nobody"}, []),
    ],
)
async def test_restrictions_and_modes(
    indexed: BinragVectorStore, arguments: dict[str, Any], expected: list[str], is_async: bool
) -> None:
    retriever = BinragRetriever(indexed.path, encoder=encode, **arguments)
    found = await retriever.aretrieve("north") if is_async else retriever.retrieve("north")
    assert [hit.node_id for hit in found] == expected
    everything = BinragRetriever(indexed.path, encoder=encode, similarity_top_k=4).retrieve("north")
    scores = {hit.node_id: hit.score for hit in everything}
    assert [hit.score for hit in found] == [scores[id_] for id_ in expected]


def test_an_empty_question_lists_what_the_filters_match(indexed: BinragVectorStore) -> None:
    retriever = BinragRetriever(indexed.path, encoder=encode, filters={"n": {"$lte": 2}})
    assert [(hit.node_id, hit.score) for hit in retriever.retrieve("")] == [("north", None), ("east", None)]


@pytest.mark.parametrize("is_async", [False, True])
async def test_llama_indexs_embedding_model(vector_store: BinragVectorStore, is_async: bool) -> None:
    model = WordEmbedding()
    texts = {"a cat": "1", "a dog": "2", "a cat and a dog": "3"}
    vector_store.add(
        [TextNode(id_=id_, text=text, embedding=model.get_text_embedding(text)) for text, id_ in texts.items()]
    )
    retriever = BinragRetriever(store=vector_store.client, embed_model=model, similarity_top_k=1)

    async def best(query: Any) -> str:
        found = await retriever.aretrieve(query) if is_async else retriever.retrieve(query)
        return found[0].node_id

    assert await best("dog?") == "2"
    bundle = QueryBundle("what", custom_embedding_strs=["cat", "dog"])
    assert await best(bundle) == "3"  # the mean of both
    assert bundle.embedding is None
    assert await best(QueryBundle("dog", embedding=model.get_query_embedding("cat"))) == "1"


async def test_retrieval_does_not_run_on_the_event_loops_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    search = Store.search
    monkeypatch.setattr(
        Store, "search", lambda *args, **kwargs: threads.add(threading.get_ident()) or search(*args, **kwargs)
    )
    await BinragRetriever(path, encoder=encode).aretrieve("north")
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_tenants(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kb.binrag", encoder=encode) as store:
        for tenant, text in (("ann", "north"), ("bob", "south"), (None, "east")):
            store.add([text], tenant=tenant)
        for tenant, text in (("ann", "north"), ("bob", "south"), (None, "east")):
            for retriever in (
                BinragRetriever(store=store, tenant=tenant),
                BinragRetriever(store.path, encoder=encode, tenant=tenant),
            ):
                assert [hit.text for hit in retriever.retrieve("north")] == [text]
    with Store.open(tmp_path / "kb.binrag", encoder=encode, tenant="ann") as store:
        assert [hit.text for hit in BinragRetriever(store=store).retrieve("south")] == ["north"]
        with pytest.raises(ValueError, match="'bob'"):
            BinragRetriever(store=store, tenant="bob").retrieve("north")


@pytest.mark.parametrize("is_async", [False, True])
async def test_index_nodes_lead_on(vector_store: BinragVectorStore, is_async: bool) -> None:
    target = TextNode(id_="target", text="what it is of")
    inner = TextNode(id_="inner", text="found inside")
    other = BinragVectorStore(f"{vector_store.path}-2.binrag")
    inner.embedding = [0.0, 1.0, 0.2]
    other.add([inner])
    node = IndexNode(id_="i", text="north", index_id="node", embedding=DIRECTIONS["north"])
    retriever_node = IndexNode(id_="j", text="east", index_id="retriever", embedding=DIRECTIONS["east"])
    vector_store.add([node, retriever_node])
    objects = {"node": target, "retriever": BinragRetriever(other.path, encoder=encode)}
    given = [IndexNode(text="x", index_id=key, obj=obj) for key, obj in objects.items()]
    for arguments in ({"object_map": objects}, {"objects": given}):
        retriever = BinragRetriever(vector_store.path, encoder=encode, similarity_top_k=1, **arguments)
        for query, expected in (("north", "target"), ("east", "inner")):
            found = await retriever.aretrieve(query) if is_async else retriever.retrieve(query)
            assert [hit.node_id for hit in found] == [expected]
    plain = BinragRetriever(vector_store.path, encoder=encode, similarity_top_k=1).retrieve("north")
    assert [type(hit.node) for hit in plain] == [IndexNode]
    other.client.close()


def _by_pickle(retriever: BinragRetriever) -> BinragRetriever:
    return pickle.loads(pickle.dumps(retriever))


@pytest.mark.parametrize("copied", [_by_pickle, copy.deepcopy])
@pytest.mark.parametrize("how", [{"encoder": encode}, {"embed_model": WordEmbedding()}])
def test_a_copy_opens_the_file_again(indexed: BinragVectorStore, copied: Any, how: dict[str, Any]) -> None:
    retriever = BinragRetriever(indexed.path, similarity_top_k=1, filters={"n": {"$lt": 3}}, **how)
    other = copied(retriever)
    indexed.client.close()
    retriever._store.close()
    bundle = QueryBundle("north east", embedding=[1.0, 1.0, 0.2])
    assert {hit.node_id for hit in other.retrieve(bundle)} <= {"north", "east"}
    if "encoder" in how:
        assert [hit.node_id for hit in other.retrieve("east")] == ["east"]
    with pytest.raises(ValueError, match="closed"):
        retriever.retrieve(bundle)


def test_a_query_engine_answers_by_it(indexed: BinragVectorStore) -> None:
    retriever = BinragRetriever(indexed.path, encoder=encode, similarity_top_k=1)
    response = RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query("south")
    assert [source.node_id for source in response.source_nodes] == ["south"]
    assert "go south" in str(response)


def test_a_missing_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"binrag\[encoders\]"):
        BinragRetriever(path, encoder="some/model").retrieve("north")
