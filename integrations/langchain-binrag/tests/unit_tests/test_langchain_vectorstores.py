import copy
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_binrag import BinragVectorStore
from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_fakes import IDS, TEXTS, LetterEmbedding, cosine

from binrag import ALL_TENANTS, Store, StoreClosed, UnsupportedMode


@pytest.fixture
def vectorstore(tmp_path: Path) -> Iterator[BinragVectorStore]:
    with_letters = BinragVectorStore(tmp_path / "kb.binrag", LetterEmbedding())
    yield with_letters
    with_letters.close()


@pytest.fixture
def filled(vectorstore: BinragVectorStore) -> BinragVectorStore:
    vectorstore.add_texts(TEXTS, [{"n": n} for n in range(4)], ids=IDS)
    return vectorstore


def ids_of(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


def test_documents_survive_reopening_with_ids_and_metadata(filled: BinragVectorStore) -> None:
    path = filled.store.path
    filled.close()
    reopened = BinragVectorStore(path, LetterEmbedding())
    (found,) = reopened.similarity_search("black cats", k=1)
    assert found == Document(id="cat", page_content="a black cat", metadata={"n": 0})
    reopened.close()


def test_from_texts_and_from_documents_need_a_path_and_add(tmp_path: Path) -> None:
    path = tmp_path / "kb.binrag"
    first = BinragVectorStore.from_texts(TEXTS, LetterEmbedding(), [{"n": n} for n in range(4)], path=path)
    assert [d.metadata for d in first.similarity_search("the old harbor", k=1)] == [{"n": 2}]
    documents = [Document(id="mine", page_content="a grey mouse"), Document(page_content="a white mouse")]
    second = BinragVectorStore.from_documents(iter(documents), LetterEmbedding(), path=path)
    assert second.store.count() == first.store.count() == 6
    assert second.get_by_ids(["mine"])[0].page_content == "a grey mouse"
    with pytest.raises(ValueError, match="either path"):
        BinragVectorStore.from_texts(TEXTS, LetterEmbedding())
    first.close()
    second.close()


def test_options_reach_the_store_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    made = BinragVectorStore(tmp_path / "kb.binrag", LetterEmbedding(), keep_vectors="none")
    assert made.store.info().keep_vectors == "none"
    made.close()
    with pytest.raises(TypeError, match="collection_name"):
        BinragVectorStore(tmp_path / "kb.binrag", LetterEmbedding(), collection_name="x")
    with pytest.raises(FileNotFoundError):
        BinragVectorStore(tmp_path / "none.binrag", LetterEmbedding(), mode="r")


def test_an_open_store_is_used_with_its_encoder_and_left_open(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kb.binrag", encoder=LetterEmbedding()) as store:
        vectorstore = BinragVectorStore(store=store)
        assert vectorstore.embeddings is None
        assert vectorstore.add_texts(TEXTS, ids=list("abcd")) == list("abcd")
        vectorstore.close()
        assert [hit.id for hit in store.search("brown dogs", k=1)] == ["b"]
        with pytest.raises(ValueError, match="beside an open store"):
            BinragVectorStore(store=store, embedding=LetterEmbedding())
        with pytest.raises(ValueError, match="both"):
            BinragVectorStore(tmp_path / "kb.binrag", store=store)
    with pytest.raises(ValueError, match="both embedding and encoder"):
        BinragVectorStore(tmp_path / "kb.binrag", LetterEmbedding(), encoder=LetterEmbedding())


def test_binrags_own_encoder_may_encode(tmp_path: Path) -> None:
    encoder = LetterEmbedding().embed_documents
    with_encoder = BinragVectorStore.from_texts(TEXTS, None, path=tmp_path / "kb.binrag", encoder=encoder)
    assert with_encoder.similarity_search("snow hills", k=1)[0].page_content == "snow on the hills"
    assert with_encoder.embeddings is None
    with_encoder.close()


def test_generators_are_stored_whole(vectorstore: BinragVectorStore) -> None:
    ids = vectorstore.add_texts((f"text {n}" for n in range(600)), ({"n": n} for n in range(600)), batch_size=100)
    assert len(set(ids)) == 600
    documents = (Document(page_content=f"document {n}", metadata={"n": n}, id=f"d{n}") for n in range(600))
    assert vectorstore.add_documents(documents, batch_size=100) == [f"d{n}" for n in range(600)]
    assert vectorstore.store.count() == 1200
    assert vectorstore.get_by_ids(["d599"])[0].metadata == {"n": 599}


def test_texts_are_read_no_further_than_eight_batches_ahead(vectorstore: BinragVectorStore) -> None:
    read = 0
    most_ahead = 0

    class Watching(LetterEmbedding):
        encoded = 0

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            nonlocal most_ahead
            most_ahead = max(most_ahead, read - self.encoded)
            self.encoded += len(texts)
            return super().embed_documents(texts)

    def texts() -> Iterator[str]:
        nonlocal read
        for n in range(100):
            read += 1
            yield f"text {n}"

    watched = BinragVectorStore(vectorstore.store.path, Watching())
    watched.add_texts(["first"])  # the encoder is checked here, with texts of its own
    watched.embeddings.encoded = 0
    watched.add_texts(texts(), batch_size=10)
    assert read == 100
    assert most_ahead == 80
    watched.close()


@pytest.mark.parametrize("as_generator", [False, True])
def test_unequal_lengths_store_nothing(vectorstore: BinragVectorStore, as_generator: bool) -> None:
    def given(values: list) -> list | Iterator:
        return iter(values) if as_generator else values

    documents = [Document(page_content=text) for text in TEXTS]
    for call in (
        lambda: vectorstore.add_texts(given(TEXTS), ids=["a"]),
        lambda: vectorstore.add_texts(given(TEXTS), given([{}])),
        lambda: vectorstore.add_texts(given(TEXTS), ids=[]),
        lambda: vectorstore.add_documents(given(documents), ids=["a", "b", "c"]),
        lambda: vectorstore.add_documents(given(documents), ids=iter("abcde")),
    ):
        with pytest.raises(ValueError, match=r"expected as many of each|not of one length"):
            call()
    assert vectorstore.store.count() == 0


def test_documents_are_not_changed_and_missing_ids_are_generated(vectorstore: BinragVectorStore) -> None:
    documents = [Document(page_content="one", id="mine", metadata={"a": [1]}), Document(page_content="two")]
    before = [document.model_copy(deep=True) for document in documents]
    ids = vectorstore.add_documents(documents)
    assert documents == before
    assert ids[0] == "mine"
    assert ids_of(vectorstore.get_by_ids([ids[1], "unknown", "mine"])) == [ids[1], "mine"]
    assert vectorstore.add_documents(documents, ids=["x", None])[0] == "x"
    assert vectorstore.store.count() == 4


def test_a_document_that_cannot_be_stored_stops_all(vectorstore: BinragVectorStore) -> None:
    bad = Document(page_content="fine", metadata={"a": {1: "key"}})
    with pytest.raises(ValueError, match="metadata of 'bad'"):
        vectorstore.add_documents([Document(page_content="good"), bad], ids=["good", "bad"])
    with pytest.raises(ValueError, match="is empty"):
        vectorstore.add_texts(["good", " "])
    assert vectorstore.store.count() == 0


def test_scores_are_cosines_and_relevance_is_in_the_unit_interval(filled: BinragVectorStore) -> None:
    query = "an old brown dog"
    best = sorted(TEXTS, key=lambda text: -cosine(query, text))
    scored = filled.similarity_search_with_score(query, k=4)
    assert [document.page_content for document, _ in scored] == best
    assert [score for _, score in scored] == pytest.approx([cosine(query, text) for text in best], abs=0.01)
    relevant = filled.similarity_search_with_relevance_scores(query, k=4)
    assert [score for _, score in relevant] == pytest.approx([(1 + score) / 2 for _, score in scored])
    above = filled.similarity_search_with_relevance_scores(query, k=4, score_threshold=relevant[1][1])
    assert [document.page_content for document, _ in above] == best[:2]
    retriever = filled.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": relevant[0][1]}
    )
    assert ids_of(retriever.invoke(query)) == ["dog"]
    assert retriever.tags == ["BinragVectorStore", "LetterEmbedding"]


def test_relevance_stays_in_the_unit_interval_for_opposite_and_equal_vectors(tmp_path: Path) -> None:
    vectors = {"north": [1.0, 2.0, 3.0], "south": [-1.0, -2.0, -3.0]}
    encoder = lambda texts: [vectors.get(text, [1.0, 2.0, 3.0]) for text in texts]  # noqa: E731
    vectorstore = BinragVectorStore.from_texts(list(vectors), None, path=tmp_path / "kb.binrag", encoder=encoder)
    (_, near), (_, far) = vectorstore.similarity_search_with_relevance_scores("north", k=2)
    assert 0.99 < near <= 1
    assert 0 <= far < 0.01
    assert vectorstore._select_relevance_score_fn()(1.2) == 1
    assert vectorstore._select_relevance_score_fn()(-1.2) == 0
    vectorstore.close()


class DotEncoder:
    encoder_id = "dots"
    similarity = "dot"

    def encode_document(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text)), 1.0] for text in texts]

    encode_query = encode_document

    def count_truncated(self, texts: list[str]) -> int:
        return 0


def test_relevance_is_refused_for_inner_products(tmp_path: Path) -> None:
    vectorstore = BinragVectorStore.from_texts(["a", "bbb"], None, path=tmp_path / "kb.binrag", encoder=DotEncoder())
    assert vectorstore.similarity_search_with_score("cc", k=1)[0][1] == pytest.approx(7, rel=0.01)
    with pytest.raises(UnsupportedMode, match="inner products"):
        vectorstore.similarity_search_with_relevance_scores("cc")
    vectorstore.close()


def test_search_by_vector_finds_what_its_text_finds(filled: BinragVectorStore) -> None:
    vector = LetterEmbedding().embed_query("old harbours")
    assert filled.similarity_search_by_vector(vector, k=3) == filled.similarity_search("old harbours", k=3)
    scored = filled.similarity_search_with_score_by_vector(vector, k=3, filter={"n": {"$ne": 2}})
    assert scored == filled.similarity_search_with_score("old harbours", k=3, filter={"n": {"$ne": 2}})
    assert "harbour" not in ids_of([document for document, _ in scored])
    for search in (
        filled.similarity_search_by_vector,
        filled.similarity_search_with_score_by_vector,
        filled.max_marginal_relevance_search_by_vector,
    ):
        with pytest.raises(ValueError, match="3 dimensions"):
            search([1.0, 2.0, 3.0])


@pytest.mark.parametrize("lambda_mult", [0, 0.3, 0.5, 0.9, 1])
def test_maximal_marginal_relevance_is_langchains(vectorstore: BinragVectorStore, lambda_mult: float) -> None:
    texts = [f"{color} {animal} {n}" for color in ("black", "brown") for animal in ("cat", "dog") for n in range(9)]
    vectorstore.add_texts(texts, [{"n": n} for n in range(36)], ids=texts)
    query = np.array(LetterEmbedding().embed_query("brown cats"))
    nearest = ids_of(vectorstore.similarity_search("brown cats", k=12, filter={"n": {"$ne": 20}}))
    chosen = maximal_marginal_relevance(query, LetterEmbedding().embed_documents(nearest), lambda_mult, k=5)
    arguments = {"k": 5, "fetch_k": 12, "lambda_mult": lambda_mult, "filter": {"n": {"$ne": 20}}}
    found = vectorstore.max_marginal_relevance_search("brown cats", **arguments)
    assert ids_of(found) == [nearest[i] for i in chosen]
    assert vectorstore.max_marginal_relevance_search_by_vector(query.tolist(), **arguments) == found
    if lambda_mult == 1:
        assert ids_of(found) == nearest[:5]


def test_maximal_marginal_relevance_refuses_what_has_no_meaning(filled: BinragVectorStore) -> None:
    assert len(filled.max_marginal_relevance_search("cat", k=4, fetch_k=1)) == 4
    for arguments, message in (
        ({"lambda_mult": 1.1}, "lambda_mult is 1.1"),
        ({"lambda_mult": -0.1}, "lambda_mult is -0.1"),
        ({"lambda_mult": float("nan")}, "lambda_mult is nan"),
        ({"fetch_k": 0}, "fetch_k is 0"),
        ({"k": 0}, "k is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            filled.max_marginal_relevance_search("cat", **arguments)
    retriever = filled.as_retriever(search_type="mmr", search_kwargs={"k": 2, "fetch_k": 3, "lambda_mult": 0.1})
    assert len(retriever.invoke("cat")) == 2


def test_k_is_four_unless_given_and_at_least_one(filled: BinragVectorStore) -> None:
    filled.add_texts(["one more"])
    assert len(filled.similarity_search("cat")) == 4
    assert len(filled.similarity_search("cat", 9)) == 5
    with pytest.raises(ValueError, match="k is 0"):
        filled.similarity_search("cat", k=0)


def test_what_is_not_supported_is_refused_by_name(filled: BinragVectorStore) -> None:
    for call in (
        lambda: filled.similarity_search("cat", where={"n": 1}),
        lambda: filled.similarity_search_with_relevance_scores("cat", where={"n": 1}),
        lambda: filled.similarity_search_by_vector([0.0] * 128, where={"n": 1}),
        lambda: filled.max_marginal_relevance_search("cat", where={"n": 1}),
        lambda: filled.as_retriever(search_kwargs={"where": {"n": 1}}).invoke("cat"),
        lambda: filled.add_texts(["x"], where=1),
        lambda: filled.add_documents([Document(page_content="x")], where=1),
        lambda: filled.delete(["cat"], where={"n": 1}),
    ):
        with pytest.raises(ValueError, match="got where, which langchain-binrag does not have; a condition is called"):
            call()
    with pytest.raises(ValueError, match=r"got nprobe, efsearch, which langchain-binrag does not have$"):
        filled.similarity_search("cat", nprobe=3, efsearch=4)
    assert filled.store.count() == 4


def test_n_candidates_is_honoured(filled: BinragVectorStore) -> None:
    assert ids_of(filled.similarity_search("black cat", k=1, n_candidates=4)) == ["cat"]
    with pytest.raises(ValueError, match="n_candidates"):
        filled.similarity_search("black cat", k=3, n_candidates=2)


def test_delete_needs_ids_or_a_filter(filled: BinragVectorStore) -> None:
    for call in (lambda: filled.delete(), lambda: filled.delete(None), lambda: filled.delete(filter=None)):
        with pytest.raises(ValueError, match="no ids and no filter"):
            call()
    assert filled.delete([]) is True
    assert filled.delete(["cat", "unknown"]) is True
    assert sorted(ids_of(filled.similarity_search("black cat", k=9))) == ["dog", "harbour", "hills"]


@pytest.mark.parametrize("as_function", [False, True])
def test_delete_by_filter(filled: BinragVectorStore, as_function: bool) -> None:
    def at_least(n: int) -> Any:
        return (lambda document: document.metadata["n"] >= n) if as_function else {"n": {"$gte": n}}

    assert filled.delete(["cat", "hills", "unknown"], filter=at_least(1)) is True
    assert ids_of(filled.get_by_ids(IDS)) == ["cat", "dog", "harbour"]
    assert filled.delete(filter=at_least(2)) is True
    assert ids_of(filled.get_by_ids(IDS)) == ["cat", "dog"]


def test_tenants_do_not_see_each_other(filled: BinragVectorStore) -> None:
    filled.add_texts(["a black cat of ada"], ids=["cat"], tenant="ada")
    filled.add_documents([Document(page_content="a dog of bob", id="bobs")], tenant="bob")
    assert ids_of(filled.similarity_search("cat", k=9, tenant="ada")) == ["cat"]
    assert len(filled.similarity_search("cat", k=9, tenant=ALL_TENANTS)) == 6
    assert len(filled.max_marginal_relevance_search("cat", k=9, tenant="bob")) == 1
    assert filled.get_by_ids(["cat"], tenant="ada")[0].page_content == "a black cat of ada"
    assert filled.delete(["bobs"]) is True
    assert len(filled.get_by_ids(["bobs"], tenant="bob")) == 1
    assert filled.delete(filter={}, tenant="bob") is True
    assert filled.store.count(tenant=ALL_TENANTS) == 5
    with pytest.raises(ValueError, match="tenant is 3"):
        filled.similarity_search("cat", tenant=3)


@pytest.mark.parametrize("given_open", [False, True])
def test_a_vector_store_of_one_tenant_refuses_the_others(filled: BinragVectorStore, given_open: bool) -> None:
    if given_open:
        ada = BinragVectorStore(store=filled.store, tenant="ada")
    else:
        ada = BinragVectorStore(filled.store.path, LetterEmbedding(), tenant="ada")
    ada.add_texts(["a black cat of ada"], ids=["cat"])
    assert ids_of(ada.similarity_search("dog", k=9)) == ids_of(ada.similarity_search("dog", tenant="ada")) == ["cat"]
    assert ids_of(ada.similarity_search("dog", filter=lambda document: "ada" in document.page_content)) == ["cat"]
    assert ada.get_by_ids(["cat", "dog"]) == [Document(id="cat", page_content="a black cat of ada")]
    for call in (
        lambda: ada.similarity_search("cat", tenant="bob"),
        lambda: ada.similarity_search("cat", tenant=ALL_TENANTS),
        lambda: ada.add_texts(["x"], tenant="bob"),
        lambda: ada.get_by_ids(["cat"], tenant="bob"),
        lambda: ada.delete(["cat"], tenant="bob"),
    ):
        with pytest.raises(ValueError, match="for tenant 'ada' alone"):
            call()
    ada.delete(["cat"])
    assert filled.store.count() == 4
    ada.close()
    assert filled.store.count() == 4


def test_another_embedding_is_refused(filled: BinragVectorStore) -> None:
    class Reversed(LetterEmbedding):
        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(text)[::-1]

    other = BinragVectorStore(filled.store.path, Reversed())
    with pytest.raises(ValueError, match=r"LetterEmbedding.*Reversed"):
        other.similarity_search("cat")
    other.close()


def test_a_vector_without_text_comes_back_as_an_empty_page(vectorstore: BinragVectorStore) -> None:
    vectorstore.store.add(vectors=[LetterEmbedding().embed_query("bare")], ids=["bare"])
    assert vectorstore.get_by_ids(["bare"]) == [Document(id="bare", page_content="")]


def test_one_file_is_left(filled: BinragVectorStore) -> None:
    folder = filled.store.path.parent
    filled.close()
    assert [file.name for file in folder.iterdir() if not file.name.endswith("-lock")] == ["kb.binrag"]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=["copied", "pickled"])
def test_copies_open_the_same_file_again(filled: BinragVectorStore, again: Callable) -> None:
    other = again(filled)
    filled.add_texts(["a grey mouse"], ids=["mouse"])
    assert ids_of(other.similarity_search("grey mice", k=1)) == ["mouse"]
    filled.close()
    assert other.delete(["mouse"]) is True
    retriever = again(other.as_retriever(search_kwargs={"k": 1}))
    other.close()
    assert ids_of(retriever.invoke("snowy hills")) == ["hills"]
    with pytest.raises(StoreClosed):
        again(other)


def test_a_closed_store_says_so(filled: BinragVectorStore) -> None:
    filled.close()
    for call in (
        lambda: filled.similarity_search("cat"),
        lambda: filled.add_texts(["x"]),
        lambda: filled.delete(["cat"]),
        lambda: filled.get_by_ids(["cat"]),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"binrag\[encoders\]"):
        BinragVectorStore.from_texts(TEXTS, None, path=tmp_path / "kb.binrag", encoder="all-MiniLM-L6-v2")


def test_what_fails_in_from_texts_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(BinragVectorStore, "close", lambda self: closed.append(self.store.close()))
    with pytest.raises(ValueError, match="as many"):
        BinragVectorStore.from_texts(TEXTS, LetterEmbedding(), path=tmp_path / "kb.binrag", ids=["a"])
    assert len(closed) == 1
