"""The store inside LlamaIndex: indexes, query engines, ingestion pipelines, storage contexts, memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import (
    Document,
    MockEmbedding,
    StorageContext,
    VectorStoreIndex,
    get_response_synthesizer,
    load_index_from_storage,
)
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.memory import VectorMemoryBlock
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import ImageNode, IndexNode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.index_store import SimpleIndexStore
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import WORDS, WordEmbedding, filters, node_of_word, where


def index_of(store: BinragVectorStore) -> VectorStoreIndex:
    return VectorStoreIndex.from_vector_store(store, embed_model=WordEmbedding())


def texts_of(store: BinragVectorStore) -> list[str]:
    return sorted(document.text for document in store.client.iter())


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"similarity_top_k": 2}, ["id-cat", "id-pet"]),
        ({"similarity_top_k": 2, "filters": filters(where("ref_doc_id", "!=", "a"))}, ["id-pet", "id-sea"]),
        ({"similarity_top_k": 9, "doc_ids": ["a"]}, ["id-cat", "id-dog"]),
        ({"similarity_top_k": 9, "doc_ids": []}, []),
        (
            {
                "similarity_top_k": 2,
                "vector_store_query_mode": "mmr",
                "vector_store_kwargs": {"mmr_threshold": 0.4},
            },
            ["id-cat", "id-sea"],
        ),
        (
            {
                "similarity_top_k": 2,
                "vector_store_query_mode": VectorStoreQueryMode.MMR,
                "vector_store_kwargs": {"mmr_threshold": 1.0},
            },
            ["id-cat", "id-pet"],
        ),
        ({"similarity_top_k": 2, "vector_store_kwargs": {"where": {"ref_doc_id": "b"}}}, ["id-pet"]),
        ({"similarity_top_k": 2, "vector_store_kwargs": {"n_candidates": 2}}, ["id-cat", "id-pet"]),
    ],
)
async def test_an_index_retrieves(
    filled: BinragVectorStore, arguments: dict[str, Any], expected: list[str], is_async: bool
) -> None:
    retriever = index_of(filled).as_retriever(**arguments)
    found = await retriever.aretrieve("cat") if is_async else retriever.retrieve("cat")
    assert [hit.node_id for hit in found] == expected
    assert all(hit.text == f"text of {hit.node_id[3:]}" for hit in found)
    if expected[:1] == ["id-cat"]:
        assert found[0].score == pytest.approx(1, abs=0.01)


def test_an_empty_question_lists_what_the_filters_match(filled: BinragVectorStore) -> None:
    retriever = index_of(filled).as_retriever(similarity_top_k=9, filters=filters(where("ref_doc_id", "==", "a")))
    assert [(hit.node_id, hit.score) for hit in retriever.retrieve("")] == [("id-cat", None), ("id-dog", None)]


def test_other_modes_are_refused_through_an_index(filled: BinragVectorStore) -> None:
    for mode in ("semantic_hybrid", "svm"):
        with pytest.raises(NotImplementedError, match=f"{mode.upper()}.*expected VectorStoreQueryMode.DEFAULT, MMR"):
            index_of(filled).as_retriever(vector_store_query_mode=mode).retrieve("cat")


@pytest.mark.parametrize("node_type", [IndexNode, ImageNode])
def test_an_index_that_holds_such_a_node_asks_for_it_alone(vector_store: BinragVectorStore, node_type: type) -> None:
    index = index_of(vector_store)
    extra = {"index_id": "other"} if node_type is IndexNode else {"image_url": "http://example.org/a.png"}
    index.insert_nodes([node_type(id_="i", text="a cat", **extra), TextNode(id_="t", text="a dog")])
    assert [hit.node_id for hit in index.as_retriever(similarity_top_k=9).retrieve("dog")] == [
        "i"
    ]  # LlamaIndex's doing
    again = index_of(vector_store).as_retriever(similarity_top_k=9).retrieve("dog")
    assert [hit.node_id for hit in again] == ["t", "i"]
    assert type(again[1].node) is node_type


def test_index_nodes_lead_on(vector_store: BinragVectorStore) -> None:
    target = TextNode(id_="target", text="what the summary is of")
    index = VectorStoreIndex(
        objects=[IndexNode(id_="i", text="a cat", index_id="other", obj=target)],
        storage_context=StorageContext.from_defaults(vector_store=vector_store),
        embed_model=WordEmbedding(),
    )
    assert [hit.node_id for hit in index.as_retriever(similarity_top_k=1).retrieve("cat")] == ["target"]


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
    index.update_ref_doc(Document(text="The dog has gone.", id_="dog"))
    store.client.close()
    reopened = index_of(BinragVectorStore(path))
    (hit,) = reopened.as_retriever(similarity_top_k=1).retrieve("cat")
    assert (hit.text, hit.node.ref_doc_id) == ("A new cat is here.", "new")
    asked = filters(where("of", "in", ["sea", "pet"]))
    (sea,) = reopened.as_retriever(similarity_top_k=1, filters=asked).retrieve("sea")
    assert (sea.metadata["of"], sea.node.ref_doc_id) == ("sea", "sea")
    dogs = reopened.as_retriever(similarity_top_k=99, doc_ids=["dog"]).retrieve("dog")
    assert [hit.text for hit in dogs] == ["The dog has gone."]
    reopened.vector_store.client.close()


async def test_index_of_nodes_inserts_and_deletes(vector_store: BinragVectorStore) -> None:
    context = StorageContext.from_defaults(vector_store=vector_store)
    nodes = [node_of_word(word, word) for word in WORDS]
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=WordEmbedding())
    assert vector_store.get_nodes(["id-cat"])[0].ref_doc_id == "cat"
    index.delete_nodes(["id-cat"])
    await index.adelete_nodes(["id-dog"])
    await index.adelete_ref_doc("pet")
    await index.ainsert_nodes([node_of_word("cat", "cat")])
    assert [node.node_id for node in vector_store.get_nodes()] == ["id-sea", "id-cat"]


async def test_index_with_the_mock_embedding(vector_store: BinragVectorStore) -> None:
    context = StorageContext.from_defaults(vector_store=vector_store)
    index = VectorStoreIndex.from_documents(
        [Document(text="one"), Document(text="two")], context, embed_model=MockEmbedding(embed_dim=8)
    )
    retriever = index.as_retriever(similarity_top_k=5)
    assert {hit.text for hit in retriever.retrieve("anything")} == {"one", "two"}
    assert {hit.text for hit in await retriever.aretrieve("anything")} == {"one", "two"}


async def test_a_query_engine_answers_from_the_nodes(filled: BinragVectorStore) -> None:
    llm = MockLLM()
    engine = index_of(filled).as_query_engine(
        llm=llm,
        similarity_top_k=4,
        filters=filters(where("ref_doc_id", "in", ["a", "b"])),
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.5)],
        response_synthesizer=get_response_synthesizer(llm=llm, response_mode="compact"),
    )
    for response in (engine.query("Where is the cat?"), await engine.aquery("Where is the cat?")):
        assert [source.node_id for source in response.source_nodes] == ["id-cat", "id-pet"]
        assert "text of cat" in str(response)


def pipeline_of(store: BinragVectorStore, strategy: DocstoreStrategy, docstore: Any = None) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[TokenTextSplitter(chunk_size=32, chunk_overlap=0), WordEmbedding()],
        vector_store=store,
        docstore=docstore or SimpleDocumentStore(),
        docstore_strategy=strategy,
    )


FIRST = {"1": "a cat", "2": "a dog " * 40, "3": "a pet"}
SECOND = {"1": "a sea", "2": "a dog " * 40, "4": "a cat and a dog"}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (DocstoreStrategy.UPSERTS, {"1": {"a sea"}, "3": {"a pet"}, "4": {"a cat and a dog"}}),
        (DocstoreStrategy.UPSERTS_AND_DELETE, {"1": {"a sea"}, "4": {"a cat and a dog"}}),
        (DocstoreStrategy.DUPLICATES_ONLY, {"1": {"a cat", "a sea"}, "3": {"a pet"}, "4": {"a cat and a dog"}}),
    ],
)
async def test_ingestion_pipelines(
    vector_store: BinragVectorStore, strategy: DocstoreStrategy, expected: dict[str, set[str]], is_async: bool
) -> None:
    pipeline = pipeline_of(vector_store, strategy)
    added = []
    for texts in (FIRST, FIRST, SECOND):
        documents = [Document(text=text, id_=id_) for id_, text in texts.items()]
        added.append(await pipeline.arun(documents=documents) if is_async else pipeline.run(documents=documents))
    n_dogs = len(vector_store.get_nodes(filters=filters(where("ref_doc_id", "==", "2"))))
    assert n_dogs > 1
    assert [len(nodes) for nodes in added] == [2 + n_dogs, 0, 2]
    found: dict[str, set[str]] = {}
    for node in vector_store.get_nodes():
        if node.ref_doc_id != "2":
            found.setdefault(node.ref_doc_id, set()).add(node.get_content())
    assert found == expected


def test_a_pipelines_docstore_may_be_loaded_again(vector_store: BinragVectorStore, tmp_path: Path) -> None:
    first = pipeline_of(vector_store, DocstoreStrategy.UPSERTS)
    first.run(documents=[Document(text="a cat", id_="1"), Document(text="a dog", id_="2")])
    first.persist(str(tmp_path / "pipeline"))
    second = pipeline_of(BinragVectorStore(vector_store.path), DocstoreStrategy.UPSERTS)
    second.load(str(tmp_path / "pipeline"))
    second.vector_store = vector_store
    assert second.run(documents=[Document(text="a cat", id_="1")]) == []
    second.run(documents=[Document(text="a pet", id_="1")])
    assert texts_of(vector_store) == ["a dog", "a pet"]


def _of_defaults(folder: Path, store: BinragVectorStore) -> StorageContext:
    return StorageContext.from_defaults(persist_dir=str(folder), vector_store=store)


def _of_parts(folder: Path, store: BinragVectorStore) -> StorageContext:
    return StorageContext.from_defaults(
        docstore=SimpleDocumentStore.from_persist_dir(str(folder)),
        index_store=SimpleIndexStore.from_persist_dir(str(folder)),
        vector_store=store,
    )


@pytest.mark.parametrize("context_of", [_of_defaults, _of_parts])
def test_a_storage_context_persists_and_loads(
    vector_store: BinragVectorStore, tmp_path: Path, context_of: Callable[[Path, BinragVectorStore], StorageContext]
) -> None:
    folder = tmp_path / "persisted"
    context = StorageContext.from_defaults(vector_store=vector_store)
    documents = [Document(text="a cat", id_="1"), Document(text="a dog", id_="2")]
    index = VectorStoreIndex.from_documents(documents, context, embed_model=WordEmbedding())
    index.set_index_id("mine")
    context.persist(persist_dir=str(folder))
    assert not (folder / "default__vector_store.json").exists()
    loaded = load_index_from_storage(
        context_of(folder, BinragVectorStore(vector_store.path, mode="rw")), "mine", embed_model=WordEmbedding()
    )
    assert [hit.text for hit in loaded.as_retriever(similarity_top_k=1).retrieve("dog")] == ["a dog"]
    loaded.insert(Document(text="a sea", id_="3"))
    assert texts_of(vector_store) == ["a cat", "a dog", "a sea"]
    loaded.vector_store.client.close()


async def test_a_memory_remembers_by_session(vector_store: BinragVectorStore) -> None:
    block = VectorMemoryBlock(vector_store=vector_store, embed_model=WordEmbedding(), similarity_top_k=1)
    for session, text in (("s1", "the cat sleeps"), ("s2", "a cat and a pet play"), ("s1", "the dog barks")):
        message = ChatMessage(role="user", content=text, additional_kwargs={"session_id": session})
        await block.aput(messages=[message])
    asked = [ChatMessage(role="user", content="what of the cat?")]
    assert "the cat sleeps" in await block.aget(asked, session_id="s1")
    block.query_kwargs = {}  # where it kept the session
    assert "a cat and a pet play" in await block.aget(asked, session_id="s2")
    block.query_kwargs = {}
    assert await block.aget(asked, session_id="s3") == ""
