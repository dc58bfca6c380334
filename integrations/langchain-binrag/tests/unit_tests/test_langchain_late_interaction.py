"""Stores of token vectors, in all that the vector store, the retriever and the record manager do."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_binrag import BinragRecordManager, BinragRetriever, BinragVectorStore
from langchain_core.documents import Document
from langchain_core.indexing import index
from langchain_fakes import IDS, TEXTS, LetterEmbedding, mean_of_best, token_encoder, word_vectors

from binrag import ALL_TENANTS, EncoderMismatch, InvalidVector, LateInteraction, Store, UnsupportedMode

QUERY = "the brown dog"
BEST = sorted(TEXTS, key=lambda text: -mean_of_best(QUERY, text))


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[BinragVectorStore]:
    made = BinragVectorStore.from_texts(
        TEXTS,
        None,
        [{"n": n} for n in range(4)],
        ids=IDS,
        path=tmp_path / "kb.binrag",
        encoder=token_encoder(),
    )
    yield made
    made.close()


def texts_of(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


def test_scores_are_means_over_the_querys_tokens_and_relevance_is_as_of_cosines(filled: BinragVectorStore) -> None:
    assert filled.store.info().late_interaction is not None
    assert filled.embeddings is None
    scored = filled.similarity_search_with_score(QUERY, k=4)
    assert texts_of([document for document, _ in scored]) == BEST
    assert [score for _, score in scored] == pytest.approx([mean_of_best(QUERY, text) for text in BEST], abs=0.06)
    relevant = filled.similarity_search_with_relevance_scores(QUERY, k=4)
    assert [score for _, score in relevant] == pytest.approx([(1 + score) / 2 for _, score in scored])
    above = filled.similarity_search_with_relevance_scores(QUERY, k=4, score_threshold=relevant[1][1])
    assert texts_of([document for document, _ in above]) == BEST[:2]
    as_retriever = filled.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": relevant[0][1]}
    )
    assert texts_of(as_retriever.invoke(QUERY)) == BEST[:1]


def test_token_vectors_may_be_given_and_one_vector_is_refused(filled: BinragVectorStore) -> None:
    matrix = word_vectors([QUERY])[0].tolist()
    by_text = filled.similarity_search_with_score(QUERY, k=2)
    assert filled.similarity_search_with_score_by_vector(matrix, k=2) == by_text
    assert filled.similarity_search_with_score(matrix, k=2) == by_text
    assert texts_of(filled.similarity_search_by_vector(matrix, k=2)) == BEST[:2]
    diverse = filled.max_marginal_relevance_search_by_vector(matrix, k=2, lambda_mult=1.0)
    assert texts_of(diverse) == BEST[:2]
    for search in (filled.similarity_search_by_vector, filled.max_marginal_relevance_search_by_vector):
        with pytest.raises(InvalidVector, match=r"shape \(32,\), expected \(n_tokens, dim\)"):
            search(matrix[0])


def test_hits_may_be_diverse(filled: BinragVectorStore) -> None:
    filled.add_texts(["the brown dog"] * 3, ids=["1", "2", "3"])
    alike = {document.id for document in filled.similarity_search(QUERY, k=3)}
    assert alike == {"1", "2", "3"}
    diverse = [d.id for d in filled.max_marginal_relevance_search(QUERY, k=3, fetch_k=7, lambda_mult=0.2)]
    assert len(alike & set(diverse)) == 1


def test_filters_tenants_ids_and_replacements(filled: BinragVectorStore) -> None:
    assert texts_of(filled.similarity_search(QUERY, filter={"n": {"$gte": 2}})) == [
        text for text in BEST if TEXTS.index(text) >= 2
    ]
    assert [d.id for d in filled.similarity_search(QUERY, filter=lambda document: document.id == "cat")] == ["cat"]
    filled.add_texts(["the brown dog"], ids=["dog"], tenant="ada")
    assert texts_of(filled.similarity_search(QUERY, k=1)) == ["a brown dog"]
    assert texts_of(filled.similarity_search(QUERY, k=1, tenant="ada")) == ["the brown dog"]
    assert texts_of(filled.similarity_search(QUERY, k=1, tenant=ALL_TENANTS)) == ["the brown dog"]
    documents = [Document(id="cat", page_content="the brown dog"), Document(page_content="a white mouse")]
    assert filled.add_documents(documents)[0] == "cat"
    assert [d.id for d in filled.similarity_search(QUERY, k=1)] == ["cat"]
    assert texts_of(filled.get_by_ids(["cat", "none"])) == ["the brown dog"]
    filled.delete(["cat"])
    filled.delete(filter={"n": 1})
    assert sorted(texts_of(filled.similarity_search(QUERY))) == [
        "a white mouse",
        "snow on the hills",
        "the old harbour",
    ]


async def test_awaited_calls(filled: BinragVectorStore) -> None:
    await filled.aadd_texts(["the brown dog"], ids=["new"])
    assert [d.id for d in await filled.asimilarity_search(QUERY, k=1)] == ["new"]
    ((_, score),) = await filled.asimilarity_search_with_relevance_scores(QUERY, k=1)
    assert score == pytest.approx(1, abs=0.05)
    matrix = word_vectors([QUERY])[0].tolist()
    assert [d.id for d in await filled.asimilarity_search_by_vector(matrix, k=1)] == ["new"]
    assert len(await filled.amax_marginal_relevance_search(QUERY, k=2)) == 2
    await filled.adelete(["new"])
    assert await filled.aget_by_ids(["new"]) == []


def test_an_open_store_is_used_and_a_new_one_may_say_how(tmp_path: Path) -> None:
    path, late = tmp_path / "kb.binrag", LateInteraction(token_bits=1)
    with Store.open(path, encoder=word_vectors, late_interaction=late) as store:
        vectorstore = BinragVectorStore(store=store)
        vectorstore.add_documents([Document(id=id_, page_content=text) for id_, text in zip(IDS, TEXTS, strict=True)])
        assert [d.id for d in vectorstore.similarity_search(QUERY, k=1)] == ["dog"]
    other = BinragVectorStore(tmp_path / "other.binrag", encoder=token_encoder(), late_interaction=late)
    assert LateInteraction.from_record(other.store.info().late_interaction) == late
    assert other.similarity_search(QUERY) == []
    other.close()


def test_a_copy_opens_the_file_again(filled: BinragVectorStore) -> None:
    copied = pickle.loads(pickle.dumps(filled))
    assert texts_of(copied.similarity_search(QUERY, k=2)) == BEST[:2]
    copied.close()


async def test_a_retriever_over_the_file(filled: BinragVectorStore) -> None:
    retriever = BinragRetriever(path=filled.store.path, encoder=token_encoder(), k=2)
    assert texts_of(retriever.invoke(QUERY)) == BEST[:2]
    assert texts_of(await retriever.ainvoke(QUERY, where={"n": 3})) == ["snow on the hills"]
    assert len(retriever.invoke(QUERY, search_type="mmr", fetch_k=4)) == 2
    close = retriever.invoke(QUERY, search_type="similarity_score_threshold", score_threshold=0.75, k=4)
    assert texts_of(close) == [text for text in BEST if mean_of_best(QUERY, text) > 0.5]
    over_store = BinragRetriever(store=filled.store, k=1)
    assert texts_of(over_store.invoke(QUERY)) == BEST[:1]


def test_what_is_indexed_is_recorded(filled: BinragVectorStore) -> None:
    records = BinragRecordManager(filled, "pages")
    pages = [Document(page_content=text, metadata={"source": text}) for text in ("the brown dog", "a white mouse")]
    options: dict[str, Any] = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
    assert index(pages, records, filled, **options)["num_added"] == 2
    done = index(pages[:1], records, filled, **options)
    assert (done["num_skipped"], done["num_deleted"]) == (1, 1)
    assert texts_of(filled.similarity_search(QUERY, k=1)) == ["the brown dog"]


def test_an_embedding_of_one_vector_a_text_is_refused(filled: BinragVectorStore, tmp_path: Path) -> None:
    message = "a LetterEmbedding, gives one vector a text, and the store holds a vector for each token"
    with pytest.raises(UnsupportedMode, match=message):
        BinragVectorStore(filled.store.path, LetterEmbedding())
    with pytest.raises(UnsupportedMode, match=message):
        BinragRetriever(path=filled.store.path, embedding=LetterEmbedding())
    new = tmp_path / "new.binrag"
    with pytest.raises(UnsupportedMode, match=message):
        BinragVectorStore.from_texts(TEXTS, LetterEmbedding(), path=new, late_interaction=LateInteraction())
    assert not new.exists()
    of_one = BinragVectorStore.from_texts(TEXTS, LetterEmbedding(), path=new)
    of_one.close()
    with pytest.raises(UnsupportedMode, match="the encoder gives a vector for each token, and the store holds one"):
        BinragVectorStore(new, encoder=token_encoder())


def test_text_without_an_encoder_is_refused(filled: BinragVectorStore) -> None:
    bare = BinragVectorStore(filled.store.path)
    for call in (bare.add_texts, bare.similarity_search):
        with pytest.raises(EncoderMismatch, match=r"its vectors are of 'words'\); open it with encoder="):
            call(["the brown dog"] if call == bare.add_texts else QUERY)
    bare.close()
