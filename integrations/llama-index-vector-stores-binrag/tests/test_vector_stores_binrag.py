import asyncio
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_index.retrievers.binrag
import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import ImageNode, IndexNode, Node, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.retrievers.binrag import BinragRetriever
from llama_index.vector_stores.binrag import BinragVectorStore
from pydantic import ValidationError

from binrag import Store

WORDS = {"cat": [1.0, 0.0, 0.1], "dog": [0.0, 1.0, 0.2], "pet": [1.0, 1.0, 0.3], "sea": [-1.0, -0.5, 0.4]}


class WordEmbedding(BaseEmbedding):
    """The sum of the vectors of the words that a text holds."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return np.sum([vector for word, vector in WORDS.items() if word in text] or [[0.1, 0.1, 1]], axis=0).tolist()

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def node_of_word(word: str, source: str | None = None, **metadata: Any) -> TextNode:
    node = TextNode(id_=f"id-{word}", text=f"text of {word}", metadata=metadata, embedding=WORDS[word])
    if source is not None:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=source)
    return node


@pytest.fixture
def vector_store(tmp_path: Path) -> Iterator[BinragVectorStore]:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    yield store
    store.client.close()


@pytest.fixture
def filled(vector_store: BinragVectorStore) -> BinragVectorStore:
    vector_store.add(
        [node_of_word("cat", "a"), node_of_word("dog", "a"), node_of_word("pet", "b"), node_of_word("sea")]
    )
    return vector_store


def ids_of(store: BinragVectorStore, query: list[float], **fields: Any) -> list[str]:
    fields = {"similarity_top_k": 9, **fields}
    return store.query(VectorStoreQuery(query_embedding=query, **fields)).ids or []


def test_class() -> None:
    assert "BasePydanticVectorStore" in [base.__name__ for base in BinragVectorStore.__mro__]
    assert issubclass(BinragVectorStore, BasePydanticVectorStore)
    assert BinragVectorStore.class_name() == "BinragVectorStore"


def test_the_namespace_is_shared_with_the_framework() -> None:
    for package in (llama_index, llama_index.vector_stores, llama_index.retrievers):
        assert getattr(package, "__file__", None) is None, f"{package.__name__} must have no __init__.py"


def test_similarities_are_cosines_best_first(filled: BinragVectorStore) -> None:
    query = np.array([0.9, 0.5, 0.1])
    cosines = {f"id-{w}": v @ query / np.linalg.norm(v) / np.linalg.norm(query) for w, v in WORDS.items()}
    result = filled.query(VectorStoreQuery(query_embedding=query.tolist(), similarity_top_k=3))
    expected = sorted(cosines, key=lambda id_: -cosines[id_])[:3]
    assert result.ids == [node.node_id for node in result.nodes] == expected
    assert result.similarities == pytest.approx([cosines[id_] for id_ in expected], abs=0.01)


def test_an_empty_store_finds_nothing(vector_store: BinragVectorStore) -> None:
    result = vector_store.query(VectorStoreQuery(query_embedding=[1.0, 2.0]))
    assert (result.nodes, result.similarities, result.ids) == ([], [], [])
    assert vector_store.add([]) == []


@pytest.mark.parametrize(
    "node",
    [
        TextNode(
            id_="n",
            text=" kept  as it is\n",
            metadata={"title": "T", "nested": {"list": [1, None, True, 0.5]}},
            excluded_embed_metadata_keys=["title"],
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id="source", metadata={"file": "a.txt"}),
                NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
            },
            start_char_idx=3,
            end_char_idx=9,
        ),
        TextNode(id_="n", text=""),
        IndexNode(id_="n", text="see there", index_id="other"),
        ImageNode(id_="n", text="a caption", image_url="http://example.org/a.png"),
        Node(id_="n", text_resource={"text": "resource"}, metadata={"a": 1}),
    ],
    ids=lambda node: type(node).__name__,
)
def test_a_node_comes_back_as_it_was(vector_store: BinragVectorStore, node: Any) -> None:
    given = node.model_copy(deep=True)
    given.embedding = [1.0, 2.0, 3.0]
    before = given.model_copy(deep=True)
    vector_store.add([given])
    (found,) = vector_store.query(VectorStoreQuery(query_embedding=[1.0, 2.0, 3.0])).nodes
    assert type(found) is type(node)
    assert found == node
    assert given == before


def test_a_text_is_stored_once(filled: BinragVectorStore) -> None:
    (stored,) = filled.client.get(["id-cat"])
    assert stored.text == "text of cat"
    assert "text of cat" not in str(stored.metadata)


def test_plain_documents_are_found_as_text_nodes(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kb.binrag") as store:
        store.add(["plain"], ids=["p"], metadata=[{"a": 1}], vectors=[[1.0, 0.0]])
        store.add(ids=["bare"], vectors=[[0.0, 1.0]])
        plain, bare = (
            BinragVectorStore(store=store).query(VectorStoreQuery(query_embedding=[1.0, 0.1], similarity_top_k=2)).nodes
        )
    assert plain == TextNode(id_="p", text="plain", metadata={"a": 1})
    assert bare == TextNode(id_="bare", text="")


def test_a_node_replaces_the_one_with_its_id(filled: BinragVectorStore) -> None:
    changed = node_of_word("sea")
    changed.id_, changed.text = "id-cat", "now of the sea"
    assert filled.add([changed]) == ["id-cat"]
    assert filled.client.count() == 4
    assert filled.client.get(["id-cat"])[0].text == "now of the sea"


def test_delete_takes_a_source_documents_nodes_in_one_commit(filled: BinragVectorStore) -> None:
    filled.add([TextNode(id_=f"many-{n}", text="x", embedding=[1.0, n, 2.0]) for n in range(600)])
    sourced = [node_of_word("cat", "c") for n in range(600)]
    for n, node in enumerate(sourced):
        node.id_ = f"c-{n}"
    filled.add(sourced)
    generation = filled.client.info().generation
    filled.delete("c")
    assert filled.client.count() == 604
    assert filled.client.info().generation == generation + 1
    filled.delete("a")
    assert sorted(ids_of(filled, [1.0, 1.0, 1.0], similarity_top_k=604))[:2] == ["id-pet", "id-sea"]
    filled.delete("unknown")
    filled.delete("id-pet")
    assert filled.client.count() == 602


def test_delete_and_add_may_share_a_transaction(filled: BinragVectorStore) -> None:
    with pytest.raises(RuntimeError, match="stop"), filled.client.transaction():
        filled.delete("a")
        filled.add([node_of_word("sea", "a")])
        raise RuntimeError("stop")
    assert sorted(ids_of(filled, [1.0, 1.0, 1.0])) == ["id-cat", "id-dog", "id-pet", "id-sea"]
    with filled.client.transaction():
        filled.delete("a")
        filled.add([node_of_word("cat", "b")])
    assert sorted(ids_of(filled, [1.0, 1.0, 1.0])) == ["id-cat", "id-pet", "id-sea"]


def test_empty_node_ids_restrict_nothing_and_empty_doc_ids_match_nothing(filled: BinragVectorStore) -> None:
    everything = ids_of(filled, [1.0, 0.0, 0.0])
    assert len(everything) == 4
    assert ids_of(filled, [1.0, 0.0, 0.0], node_ids=[]) == everything
    assert ids_of(filled, [1.0, 0.0, 0.0], filters=MetadataFilters(filters=[])) == everything
    result = filled.query(VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0], doc_ids=[]))
    assert (result.nodes, result.similarities, result.ids) == ([], [], [])


@pytest.mark.parametrize(
    ("restriction", "value"),
    [
        ("filters", MetadataFilters(filters=[MetadataFilter(key="a", value=1)])),
        ("node_ids", ["id-cat"]),
        ("doc_ids", ["a"]),
        ("output_fields", ["text"]),
        ("embedding_field", "other"),
    ],
)
def test_restrictions_are_refused_by_name(filled: BinragVectorStore, restriction: str, value: Any) -> None:
    with pytest.raises(NotImplementedError, match=restriction):
        filled.query(VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0], **{restriction: value}))


@pytest.mark.parametrize("mode", [mode for mode in VectorStoreQueryMode if mode != VectorStoreQueryMode.DEFAULT])
def test_other_modes_are_refused_by_name(filled: BinragVectorStore, mode: VectorStoreQueryMode) -> None:
    with pytest.raises(NotImplementedError, match=mode.name):
        filled.query(VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0], query_str="cat", mode=mode))


def test_wrong_arguments_are_refused_and_store_nothing(vector_store: BinragVectorStore, tmp_path: Path) -> None:
    cat, dog = node_of_word("cat"), node_of_word("dog")
    dog.embedding = None
    with pytest.raises(ValueError, match="embedding not set"):
        vector_store.add([cat, dog])
    dog.embedding = [1.0, 2.0]
    with pytest.raises(ValueError, match="not a matrix of numbers"):
        vector_store.add([cat, dog])
    assert vector_store.client.count() == 0
    vector_store.add([cat])
    for call, words in (
        (lambda: vector_store.add([cat], where=1), "add got where"),
        (lambda: vector_store.delete("a", where=1), "delete got where"),
        (lambda: vector_store.query(VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0]), where=1), "query got where"),
        (lambda: vector_store.query(VectorStoreQuery(query_str="cat")), "no embedding"),
        (lambda: vector_store.query(VectorStoreQuery(query_embedding=[1.0, 0.0])), "3"),
        (lambda: vector_store.query(VectorStoreQuery([1.0, 0.0, 0.0], 5), n_candidates=4), "n_candidates is 4"),
        (lambda: BinragVectorStore(), "either path"),
        (lambda: BinragVectorStore(tmp_path / "a.binrag", store=vector_store.client), "not both"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert vector_store.client.count() == 1
    with pytest.raises(ValidationError, match="keep_vectors"):
        BinragVectorStore(tmp_path / "a.binrag", keep_vectors="none")
    with pytest.raises(FileNotFoundError):
        BinragVectorStore(tmp_path / "b.binrag", mode="r")
    assert [file.name for file in tmp_path.glob("*.binrag")] == ["kb.binrag"]


def test_a_store_with_other_settings_may_be_given(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kb.binrag", keep_vectors="none") as store:
        given = BinragVectorStore(store=store)
        given.add([node_of_word("cat"), node_of_word("sea")])
        assert given.client is store
        assert given.path == str(tmp_path / "kb.binrag")
        assert ids_of(given, [1.0, 0.0, 0.0]) == ["id-cat", "id-sea"]


async def test_async_twins_do_not_run_on_the_event_loops_thread(
    vector_store: BinragVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    for name in ("add", "delete", "query"):
        method = getattr(BinragVectorStore, name)

        def seen(*args: Any, _method: Any = method, **kwargs: Any) -> Any:
            threads.add(threading.get_ident())
            return _method(*args, **kwargs)

        monkeypatch.setattr(BinragVectorStore, name, seen)
    assert await vector_store.async_add([node_of_word("cat", "a"), node_of_word("dog")]) == ["id-cat", "id-dog"]
    query = VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0], similarity_top_k=5)
    results = await asyncio.gather(*(vector_store.aquery(query, n_candidates=9) for _ in range(32)))
    assert all(result.ids == ["id-cat", "id-dog"] for result in results)
    await vector_store.adelete("a")
    assert vector_store.client.count() == 1
    assert threading.get_ident() not in threads
    with pytest.raises(ValueError, match="where"):
        await vector_store.adelete("a", where=1)


def test_index_from_vector_store(filled: BinragVectorStore) -> None:
    index = VectorStoreIndex.from_vector_store(filled, embed_model=WordEmbedding())
    found = index.as_retriever(similarity_top_k=2).retrieve("cat")
    assert [(hit.node_id, hit.text) for hit in found] == [("id-cat", "text of cat"), ("id-pet", "text of pet")]
    assert found[0].score == pytest.approx(1, abs=0.01)
    with pytest.raises(NotImplementedError, match="MMR"):
        index.as_retriever(vector_store_query_mode="mmr").retrieve("cat")
    wide = index.as_retriever(similarity_top_k=2, vector_store_kwargs={"n_candidates": 2}).retrieve("cat")
    assert len(wide) == 2


def test_an_index_that_holds_an_index_node_is_refused_and_a_new_one_works(vector_store: BinragVectorStore) -> None:
    index = VectorStoreIndex.from_vector_store(vector_store, embed_model=WordEmbedding())
    index.insert_nodes([IndexNode(id_="i", text="a cat", index_id="other"), TextNode(id_="t", text="a dog")])
    with pytest.raises(NotImplementedError, match="node_ids"):
        index.as_retriever().retrieve("dog")
    again = VectorStoreIndex.from_vector_store(vector_store, embed_model=WordEmbedding())
    assert again.as_retriever(similarity_top_k=1).retrieve("dog")[0].node_id == "t"


@pytest.mark.parametrize("use_async", [False, True])
def test_index_from_documents_and_back_from_the_file(tmp_path: Path, use_async: bool) -> None:
    path = tmp_path / "kb.binrag"
    documents = [Document(text=f"The {word} is here. " * 40, id_=word, metadata={"of": word}) for word in WORDS]
    store = BinragVectorStore(path)
    index = VectorStoreIndex.from_documents(
        documents,
        StorageContext.from_defaults(vector_store=store),
        transformations=[TokenTextSplitter(chunk_size=64, chunk_overlap=0)],
        embed_model=WordEmbedding(),
        use_async=use_async,
    )
    n_nodes = store.client.count()
    assert n_nodes > 8
    index.delete_ref_doc("cat")
    assert store.client.count() == n_nodes - n_nodes // 4
    index.insert(Document(text="A new cat is here.", id_="new"))
    store.client.close()
    reopened = VectorStoreIndex.from_vector_store(BinragVectorStore(path), embed_model=WordEmbedding())
    (hit,) = reopened.as_retriever(similarity_top_k=1).retrieve("cat")
    assert (hit.text, hit.node.ref_doc_id) == ("A new cat is here.", "new")
    (sea,) = reopened.as_retriever(similarity_top_k=1).retrieve("sea")
    assert (sea.metadata["of"], sea.node.ref_doc_id) == ("sea", "sea")
    reopened.vector_store.client.close()


async def test_index_with_the_mock_embedding(vector_store: BinragVectorStore) -> None:
    context = StorageContext.from_defaults(vector_store=vector_store)
    index = VectorStoreIndex.from_documents(
        [Document(text="one"), Document(text="two")], context, embed_model=MockEmbedding(embed_dim=8)
    )
    retriever = index.as_retriever(similarity_top_k=5)
    assert {hit.text for hit in retriever.retrieve("anything")} == {"one", "two"}
    assert {hit.text for hit in await retriever.aretrieve("anything")} == {"one", "two"}


def test_ingestion_pipeline_upserts(vector_store: BinragVectorStore) -> None:
    from llama_index.core.storage.docstore import SimpleDocumentStore

    pipeline = IngestionPipeline(
        transformations=[TokenTextSplitter(), WordEmbedding()],
        vector_store=vector_store,
        docstore=SimpleDocumentStore(),
    )
    pipeline.run(documents=[Document(text="a cat", id_="1"), Document(text="a dog", id_="2")])
    pipeline.run(documents=[Document(text="a sea", id_="1"), Document(text="a dog", id_="2")])
    assert sorted(document.text for document in vector_store.client.iter()) == ["a dog", "a sea"]


def test_the_retriever_finds_an_indexs_nodes_by_its_embedding_model(vector_store: BinragVectorStore) -> None:
    context = StorageContext.from_defaults(vector_store=vector_store)
    documents = [Document(text="a cat", id_="1"), Document(text="a dog", id_="2")]
    index = VectorStoreIndex.from_documents(documents, context, embed_model=WordEmbedding())
    retriever = BinragRetriever(vector_store.path, encoder=WordEmbedding(), similarity_top_k=1)
    assert retriever.retrieve("dog") == index.as_retriever(similarity_top_k=1).retrieve("dog")
    assert retriever.retrieve("dog")[0].text == "a dog"


def test_persist_leaves_no_other_file(filled: BinragVectorStore, tmp_path: Path) -> None:
    context = StorageContext.from_defaults(vector_store=filled)
    context.persist(persist_dir=str(tmp_path / "persisted"))
    assert not (tmp_path / "persisted" / "default__vector_store.json").exists()
    assert len(ids_of(BinragVectorStore(filled.path, mode="r"), [1.0, 0.0, 0.0])) == 4


def test_a_pickled_store_opens_its_file_again(filled: BinragVectorStore) -> None:
    restored = pickle.loads(pickle.dumps(filled))
    assert restored.client is not filled.client
    assert ids_of(restored, [1.0, 0.0, 0.0]) == ids_of(filled, [1.0, 0.0, 0.0])
    restored.client.close()
