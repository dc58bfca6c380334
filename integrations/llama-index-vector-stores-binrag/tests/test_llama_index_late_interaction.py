"""Stores of token vectors: the store encodes the texts of nodes and queries itself."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import ImageNode, IndexNode, MetadataMode, Node, QueryBundle, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.retrievers.binrag import BinragRetriever
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import WordEmbedding, filters, mean_of_best, node_of, where, word_vectors

from binrag import (
    EncoderMismatch,
    InvalidInput,
    InvalidVector,
    SentenceTokenEncoder,
    Store,
    TokenEncoder,
    UnsupportedMode,
)

TEXTS = {"cat": "a black cat", "dog": "a brown dog", "sea": "the old harbour", "hills": "snow on the hills"}
QUERY = "the brown dog"
BEST = sorted(TEXTS, key=lambda id_: -mean_of_best(QUERY, TEXTS[id_]))


def nodes() -> list[TextNode]:
    made = []
    for n, (id_, text) in enumerate(TEXTS.items()):
        node = node_of(id_, [0.0], "a" if n < 2 else "b", n=n)
        node.text, node.embedding, node.excluded_embed_metadata_keys = text, None, ["n"]
        made.append(node)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kb.binrag", encoder=TokenEncoder(word_vectors, encoder_id="words")) as opened:
        yield opened


@pytest.fixture
def filled(store: Store) -> BinragVectorStore:
    vector_store = BinragVectorStore(store=store)
    assert vector_store.add(nodes()) == list(TEXTS)
    return vector_store


def found(store: BinragVectorStore, text: str | None = QUERY, k: int = 4, **fields: Any) -> list[str] | None:
    return store.query(VectorStoreQuery(query_str=text, similarity_top_k=k, **fields)).ids


def test_nodes_and_queries_are_encoded_by_the_store(filled: BinragVectorStore) -> None:
    assert not filled.is_embedding_query
    result = filled.query(VectorStoreQuery(query_str=QUERY, similarity_top_k=4))
    assert result.ids == BEST
    assert result.similarities == pytest.approx([mean_of_best(QUERY, TEXTS[id_]) for id_ in BEST], abs=0.06)
    assert [node.get_content() for node in result.nodes or []] == [TEXTS[id_] for id_ in BEST]
    matrix: Any = word_vectors([QUERY])[0].tolist()
    assert found(filled, None, query_embedding=matrix) == BEST


def test_restrictions_modes_and_queries_without_a_text(filled: BinragVectorStore) -> None:
    assert found(filled, filters=filters(where("n", ">=", 2))) == [id_ for id_ in BEST if id_ in ("sea", "hills")]
    assert found(filled, doc_ids=["a"]) == ["dog", "cat"]
    assert found(filled, node_ids=["hills", "cat"]) == [id_ for id_ in BEST if id_ in ("hills", "cat")]
    for text in (None, ""):
        assert found(filled, text, doc_ids=["b"]) == ["sea", "hills"]
        with pytest.raises(InvalidInput, match="query_str, where the store encodes texts"):
            found(filled, text)
    alike = nodes()[1]
    alike.id_ = "alike"
    filled.add([alike])
    assert found(filled, k=2) == ["dog", "alike"]
    diverse = found(filled, k=2, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.3)
    assert diverse is not None and diverse[0] == "dog" and diverse[1] not in ("dog", "alike")
    with pytest.raises(NotImplementedError, match="SVM"):
        found(filled, mode=VectorStoreQueryMode.SVM)


def test_nodes_are_replaced_deleted_and_returned(filled: BinragVectorStore) -> None:
    changed = nodes()[0]
    changed.text = QUERY
    filled.add([changed])
    assert found(filled, k=1) == ["cat"]
    assert [(node.node_id, node.get_content(), node.embedding) for node in filled.get_nodes(["cat", "dog"])] == [
        ("cat", QUERY, None),
        ("dog", "a brown dog", None),
    ]
    filled.delete("a")
    assert [node.node_id for node in filled.get_nodes()] == ["sea", "hills"]
    filled.delete_nodes(["sea"])
    assert found(filled) == ["hills"]
    filled.clear()
    assert found(filled) == []


def test_metadata_that_goes_into_embeddings_is_encoded_too(store: Store) -> None:
    vector_store = BinragVectorStore(store=store)
    kinds = [TextNode, IndexNode, ImageNode]
    made = [
        kind(id_=kind.__name__, text="a page", metadata={"title": f"of {kind.__name__}", "size": 3}, **own)
        for kind, own in zip(kinds, [{}, {"index_id": "other"}, {}], strict=True)
    ]
    for node in made:
        node.excluded_embed_metadata_keys = ["size"]
    vector_store.add(made)
    for node in made:
        assert found(vector_store, node.class_name().replace("_", ""), k=3, node_ids=[node.node_id])
        assert found(vector_store, type(node).__name__, k=1) == [node.node_id]
        (stored,) = vector_store.get_nodes([node.node_id])
        assert stored == node
        (document,) = store.get([node.node_id])
        assert document.text == node.get_content(metadata_mode=MetadataMode.EMBED)
        assert "size" not in document.text


def test_what_is_no_text_node_comes_back(store: Store) -> None:
    vector_store = BinragVectorStore(store=store)
    page = Node(id_="page", metadata={"title": "harbours"})
    page.set_content("a page")
    plain = Node(id_="plain")
    plain.set_content("plain words")
    vector_store.add([page, plain])
    assert [node.get_content() for node in vector_store.get_nodes(["page", "plain"])] == ["a page", "plain words"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_index_and_its_retriever(store: Store, is_async: bool) -> None:
    vector_store = BinragVectorStore(store=store)
    documents = [Document(id_=id_, text=text, metadata={"n": n}) for n, (id_, text) in enumerate(TEXTS.items())]
    for document in documents:
        document.excluded_embed_metadata_keys = ["n"]
    index = VectorStoreIndex.from_documents(
        documents,
        StorageContext.from_defaults(vector_store=vector_store),
        embed_model=MockEmbedding(embed_dim=1),
        use_async=False,
    )

    async def retrieved(text: str = QUERY, **options: Any) -> list[str]:
        retriever = VectorStoreIndex.from_vector_store(vector_store, MockEmbedding(embed_dim=1)).as_retriever(**options)
        hits = await retriever.aretrieve(text) if is_async else retriever.retrieve(text)
        return [hit.text for hit in hits]

    assert await retrieved(similarity_top_k=4) == [TEXTS[id_] for id_ in BEST]
    assert await retrieved(similarity_top_k=1, filters=filters(where("n", "==", 3))) == [TEXTS["hills"]]
    assert len(await retrieved(similarity_top_k=2, vector_store_query_mode="mmr")) == 2
    index.insert(Document(id_="new", text=QUERY))
    assert await retrieved(similarity_top_k=1) == [QUERY]
    index.delete_ref_doc("new")
    assert await retrieved(similarity_top_k=1) == [TEXTS["dog"]]


def test_a_pipeline_adds_what_has_an_embedding(store: Store) -> None:
    vector_store = BinragVectorStore(store=store)
    pipeline = IngestionPipeline(transformations=[MockEmbedding(embed_dim=1)], vector_store=vector_store)
    pipeline.run(documents=[Document(text=text) for text in TEXTS.values()])
    assert sorted(node.get_content() for node in vector_store.get_nodes()) == sorted(TEXTS.values())


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_retriever_over_the_file(filled: BinragVectorStore, is_async: bool) -> None:
    by_path = BinragRetriever(filled.path, encoder=TokenEncoder(word_vectors), similarity_top_k=2)
    by_store = BinragRetriever(store=filled.client, similarity_top_k=2)
    scores = filled.query(VectorStoreQuery(query_str=QUERY, similarity_top_k=2)).similarities
    for retriever in (by_path, by_store):
        hits = await retriever.aretrieve(QUERY) if is_async else retriever.retrieve(QUERY)
        assert [hit.node_id for hit in hits] == BEST[:2]
        assert [hit.score for hit in hits] == scores
    narrow = BinragRetriever(store=filled.client, filters={"n": {"$gte": 2}}, similarity_top_k=9)
    assert {hit.node_id for hit in narrow.retrieve(QUERY)} == {"sea", "hills"}
    diverse = BinragRetriever(store=filled.client, vector_store_query_mode="mmr", similarity_top_k=3)
    assert len(diverse.retrieve(QUERY)) == 3


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))])
def test_a_copy_encodes_too(filled: BinragVectorStore, copied: Any) -> None:
    other = copied(filled)
    assert other.client is not filled.client
    assert found(other) == BEST
    other.client.close()


class Normalize:
    """Stands for the module of a model that scales token vectors to unit length."""


class Model(list[Normalize]):
    """A model of late interaction, as sentence-transformers would load it."""

    similarity_fn_name = "maxsim"
    max_seq_length = None

    def encode_document(self, texts: list[str], **options: Any) -> list[Any]:
        return word_vectors(texts)

    encode_query = encode_document


def test_a_path_opens_the_file_with_the_model_that_it_names(
    filled: BinragVectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(encoder: SentenceTokenEncoder) -> Model:
        loaded.append(encoder.encoder_id)
        return Model([Normalize()])

    monkeypatch.setattr(SentenceTokenEncoder, "_load", load)
    for other in (
        BinragVectorStore(filled.path, mode="r"),
        BinragVectorStore.from_dict(filled.to_dict()),
        BinragVectorStore.from_persist_path(filled.path),
    ):
        assert not other.is_embedding_query
        assert [node.node_id for node in other.get_nodes()] == list(TEXTS)
        assert loaded == []
        assert found(other) == BEST
        assert loaded.pop() == "words"
        other.client.close()
    of_one = BinragVectorStore(tmp_path / "one.binrag")
    assert of_one.is_embedding_query
    of_one.client.close()


def test_vectors_of_one_a_text_are_refused(filled: BinragVectorStore) -> None:
    with pytest.raises(InvalidVector, match=r"shape \(3,\), expected \(n_tokens, dim\)"):
        found(filled, query_embedding=[1.0, 0.0, 0.5])
    with pytest.raises(InvalidVector, match=r"shape \(3,\), expected \(n_tokens, dim\)"):
        BinragRetriever(store=filled.client).retrieve(QueryBundle(QUERY, embedding=[1.0, 0.0, 0.5]))
    for source in ({"path": filled.path}, {"store": filled.client}):
        with pytest.raises(UnsupportedMode, match='leave it out, and give encoder="recorded"'):
            BinragRetriever(**source, embed_model=WordEmbedding())
    with pytest.raises(UnsupportedMode, match="gives one vector a text"):
        BinragRetriever(filled.path, encoder=WordEmbedding())


def test_texts_that_cannot_be_encoded_are_refused(filled: BinragVectorStore) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        filled.add([TextNode(text="good"), TextNode(text="")])
    assert len(filled.get_nodes()) == 4
    with Store.open(filled.path) as bare:
        for call in (lambda: BinragVectorStore(store=bare).add(nodes()), lambda: found(BinragVectorStore(store=bare))):
            with pytest.raises(EncoderMismatch, match=r"of 'words'\); open it with encoder="):
                call()
