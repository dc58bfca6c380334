"""Modes that go by words, alone or beside vectors, against what the store itself finds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.retrievers.binrag import BinragRetriever
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import WordEmbedding, filters, node_of, where, word_vectors

from binrag import Eq, Hit, IdfCoverage, ReciprocalRank, Rerank, Store, TokenEncoder, WeightedSum

HYBRID, TEXT_SEARCH, SPARSE = (VectorStoreQueryMode[name] for name in ("HYBRID", "TEXT_SEARCH", "SPARSE"))
DRAW = np.random.default_rng(1)
QUERY = DRAW.standard_normal(8).tolist()
WORDS = "parse_date of RFC 2822"
PARTS = ["parse a date", "a date of old", "RFC 2822", "RFC 822", "old letters", "parse", "nothing like it"]


def text_of(n: int) -> str:
    return f"{PARTS[n % 7]}, {PARTS[n * n % 5]}, page {n}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinragVectorStore]:
    store = BinragVectorStore(tmp_path_factory.mktemp("hybrid") / "kb.binrag", lexical="en")
    nodes = [node_of(f"n{n}", DRAW.standard_normal(8).tolist(), "abc"[n % 3], n=n) for n in range(40)]
    for n, node in enumerate(nodes):
        node.text = text_of(n)
    store.add(nodes)
    yield store
    store.client.close()


def asked(mode: Any = HYBRID, **fields: Any) -> VectorStoreQuery:
    own = {"query_embedding": QUERY, "query_str": WORDS, "similarity_top_k": 6, "mode": mode}
    return VectorStoreQuery(**(own | fields))


def found(store: BinragVectorStore, query: VectorStoreQuery, **options: Any) -> list[tuple[str, float]]:
    result = store.query(query, **options)
    assert [node.node_id for node in result.nodes or []] == result.ids
    return list(zip(result.ids or [], result.similarities or [], strict=True))


def of(hits: list[Hit]) -> list[tuple[str, float]]:
    assert hits
    return [(hit.id, hit.score) for hit in hits]


RESTRICTED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"filters": filters(where("n", "<", 9))}, {"where": {"n": {"$lt": 9}}}),
    ({"doc_ids": ["a", "b"]}, {"where": {"ref_doc_id": {"$in": ["a", "b"]}}}),
    ({"node_ids": ["n0", "n1", "n2", "n3", "?"]}, {"ids": ["n0", "n1", "n2", "n3"]}),
    (
        {"filters": filters(where("n", "<", 20)), "doc_ids": ["c"], "node_ids": ["n2", "n5", "n23", "n7"]},
        {"ids": ["n2", "n5"]},
    ),
]


@pytest.mark.parametrize(("restricted", "own"), RESTRICTED)
@pytest.mark.parametrize(
    ("alpha", "options", "fusion"),
    [
        (None, {}, IdfCoverage()),
        (None, {"fusion": None}, None),
        (0.25, {}, WeightedSum((0.25, 0.75))),
        (0, {}, WeightedSum((0.0, 1.0))),
        (1, {}, WeightedSum((1.0, 0.0))),
        (None, {"fusion": ReciprocalRank((1.0, 3.0))}, ReciprocalRank((1.0, 3.0))),
        (None, {"n_candidates": 40}, None),
    ],
)
def test_hybrid_is_what_the_store_finds_by_both(
    store: BinragVectorStore, alpha: Any, options: Any, fusion: Any, restricted: Any, own: Any
) -> None:
    settings = {name: value for name, value in options.items() if name != "fusion"}
    expected = store.client.search(QUERY, 6, text=WORDS, legs="hybrid", fusion=fusion, **own, **settings)
    assert found(store, asked(alpha=alpha, **restricted), **options) == of(expected)


def test_alpha_goes_from_words_to_vectors(store: BinragVectorStore) -> None:
    def order(mode: Any, alpha: Any = None) -> list[str]:
        return [id_ for id_, _ in found(store, asked(mode, alpha=alpha, similarity_top_k=40))]

    assert order(HYBRID, 1) == order(HYBRID, 1.0) == order("default")
    by_words = found(store, asked(TEXT_SEARCH, similarity_top_k=40))
    # the last that words found counts as much as what they did not find
    ahead = [id_ for id_, score in by_words if score > by_words[-1][1]]
    assert 5 < len(ahead) < len(by_words) < 40
    assert order(HYBRID, 0)[: len(ahead)] == ahead
    assert order(HYBRID, 0.5) not in (order("default"), order(HYBRID, 0), order(HYBRID))


@pytest.mark.parametrize("mode", [TEXT_SEARCH, SPARSE, "text_search", "sparse"])
@pytest.mark.parametrize(("restricted", "own"), RESTRICTED)
def test_words_alone(store: BinragVectorStore, mode: Any, restricted: Any, own: Any) -> None:
    expected = of(store.client.search(WORDS, 6, legs="lexical", **own))
    for embedding in (None, QUERY, [1.0, 2.0]):
        assert found(store, asked(mode, query_embedding=embedding, **restricted)) == expected
    if "filters" not in restricted:
        assert found(store, asked(mode, **restricted), where=Eq("n", 99)) == []
    assert found(store, asked(mode, query_str="zebra", **restricted)) == []


def test_how_many(store: BinragVectorStore) -> None:
    for mode, name in ((HYBRID, "hybrid_top_k"), (TEXT_SEARCH, "sparse_top_k")):
        everything = found(store, asked(mode, similarity_top_k=40))
        assert found(store, asked(mode)) == everything[:6]
        for n in (2, 9):
            assert found(store, asked(mode, **{name: n})) == everything[:n]
    for query in (asked(hybrid_top_k=0), asked(SPARSE, sparse_top_k=0)):
        with pytest.raises(ValueError, match="k is 0"):
            store.query(query)


def last_words_first(query: str, texts: list[str]) -> list[float]:
    assert query == WORDS
    return [float(text.rpartition(" ")[2]) for text in texts]


@pytest.mark.parametrize(("mode", "legs"), [("default", "dense"), (HYBRID, "hybrid"), (TEXT_SEARCH, "lexical")])
def test_a_reranker_and_a_least_score(store: BinragVectorStore, mode: Any, legs: Any) -> None:
    rerank = Rerank(last_words_first, n_pool=8)
    words = {} if legs == "lexical" else {"text": WORDS}
    query = WORDS if legs == "lexical" else QUERY
    expected = store.client.search(query, 3, legs=legs, rerank=rerank, **words)
    assert found(store, asked(mode, similarity_top_k=3), rerank=rerank) == of(expected)
    least = expected[1].score
    assert found(store, asked(mode, similarity_top_k=3), rerank=rerank, min_score=least) == of(expected[:2])
    assert found(store, asked(mode, similarity_top_k=3), rerank=None, min_score=1e9) == []


@pytest.mark.parametrize(
    ("query", "options", "error", "words"),
    [
        (asked(query_str=None), {}, ValueError, "HYBRID.* reads the text of the query, and its query_str is None"),
        (asked(query_str=" "), {}, ValueError, "HYBRID.* its query_str is ' '"),
        (asked(TEXT_SEARCH, query_str=None, doc_ids=["a"]), {}, ValueError, "TEXT_SEARCH.* query_str is None"),
        (asked(SPARSE, query_str=""), {}, ValueError, "SPARSE.* query_str is ''"),
        (asked(query_embedding=None, doc_ids=["a"]), {}, ValueError, "it has no embedding; set query_embedding"),
        (asked(query_embedding=[1.0]), {}, ValueError, r"1 dimension.*8|8.*1"),
        (asked(alpha=1.5), {}, ValueError, "alpha is 1.5, expected a number from 0"),
        (asked(alpha=-0.1), {}, ValueError, "alpha is -0.1"),
        (asked(alpha=float("nan")), {}, ValueError, "alpha is nan"),
        (asked(alpha="all"), {}, ValueError, "alpha is 'all'"),
        (asked(alpha=0.5), {"fusion": IdfCoverage()}, ValueError, "got alpha in the query and fusion beside it"),
        (asked(), {"fusion": "ranks"}, ValueError, "fusion is 'ranks'"),
        (asked(sparse_top_k=12), {}, NotImplementedError, "sparse_top_k, of no effect in .*HYBRID.* 100 nodes"),
        (asked(TEXT_SEARCH, alpha=0.0), {}, NotImplementedError, "alpha, of no effect in .*TEXT_SEARCH"),
        (asked(TEXT_SEARCH, alpha=1.0), {}, NotImplementedError, "alpha, of no effect in .*TEXT_SEARCH"),
        (asked(TEXT_SEARCH, hybrid_top_k=3), {}, NotImplementedError, "hybrid_top_k, of no effect in .*TEXT_SEARCH"),
        (asked("default", alpha=0.5), {}, NotImplementedError, "alpha, of no effect in query mode 'default'"),
        (asked("mmr", hybrid_top_k=3), {}, NotImplementedError, "hybrid_top_k, of no effect in query mode 'mmr'"),
        (asked("default"), {"fusion": IdfCoverage()}, ValueError, "fusion is of no effect in query mode 'default'"),
        (asked(TEXT_SEARCH), {"fusion": IdfCoverage()}, ValueError, "fusion is of no effect in .*TEXT_SEARCH"),
        (asked(TEXT_SEARCH), {"n_candidates": 40}, ValueError, "n_candidates is about the scan"),
        (asked(mmr_threshold=0.5), {}, ValueError, "mmr_threshold is of no effect in .*HYBRID"),
        (asked(TEXT_SEARCH), {"mmr_prefetch_k": 5}, ValueError, "mmr_prefetch_k is of no effect in .*TEXT_SEARCH"),
        (asked("default", query_str=None), {"rerank": last_words_first}, ValueError, "rerank reads .* is None"),
        (asked("default", query_embedding=None, doc_ids=["a"]), {"min_score": 0.5}, ValueError, "got min_score"),
        (
            asked("default", query_embedding=None, doc_ids=["a"]),
            {"rerank": len},
            ValueError,
            "got rerank, .* no scores",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    store: BinragVectorStore, query: VectorStoreQuery, options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        store.query(query, **options)


@pytest.mark.parametrize("mode", [HYBRID, TEXT_SEARCH, SPARSE])
def test_a_store_without_words_says_how_to_index_them(filled: BinragVectorStore, mode: Any) -> None:
    query = VectorStoreQuery([1.0, 0.0, 0.1], 1, query_str="the sea", mode=mode)
    with pytest.raises(NotImplementedError, match=r"no index of words; store\.index_words\(\) makes one"):
        filled.query(query)
    filled.client.index_words()
    expected = "id-cat" if mode == HYBRID else "id-sea"
    assert [id_ for id_, _ in found(filled, query)] == [expected]


def test_words_are_for_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "kb.binrag"
    with pytest.raises(ValueError, match="lexical is 'de'"):
        BinragVectorStore(path, lexical="de")
    BinragVectorStore(path, lexical="any").client.close()
    again = BinragVectorStore(path)
    again.add([node_of("those", [1.0, 0.0])])
    by_words = VectorStoreQuery(query_str="text of", mode=TEXT_SEARCH)
    assert [id_ for id_, _ in found(again, by_words)] == ["those"]
    for copied in (again.model_copy(deep=True), BinragVectorStore.from_dict(again.to_dict())):
        assert [id_ for id_, _ in found(copied, by_words)] == ["those"]
        copied.client.close()
    with pytest.raises(NotImplementedError, match="lexical='en' was asked for, the store was made with 'any'"):
        BinragVectorStore(path, lexical="en")
    with pytest.raises(ValueError, match="settings beside an open store"):
        BinragVectorStore(store=again.client, lexical="any")
    again.client.close()


TEXTS = {"cat": "the cat of RFC 2822", "dog": "a dog and its letters", "pet": "cats, a cat and a dog", "sea": "the sea"}
ASKED = "which cat or sea reads RFC 2822"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[VectorStoreIndex]:
    store = BinragVectorStore(tmp_path / "kb.binrag", lexical="en")
    documents = [Document(id_=id_, text=text, metadata={"of": id_}) for id_, text in TEXTS.items()]
    yield VectorStoreIndex.from_documents(
        documents, StorageContext.from_defaults(vector_store=store), embed_model=WordEmbedding()
    )
    store.client.close()


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"vector_store_query_mode": "hybrid"}, {"legs": "hybrid"}),
    ({"vector_store_query_mode": "hybrid", "alpha": 0.5}, {"legs": "hybrid", "fusion": WeightedSum()}),
    (
        {"vector_store_query_mode": "hybrid", "vector_store_kwargs": {"fusion": ReciprocalRank()}, "hybrid_top_k": 2},
        {"legs": "hybrid", "fusion": ReciprocalRank(), "k": 2},
    ),
    (
        {"vector_store_query_mode": "hybrid", "alpha": 0.1, "filters": filters(where("of", "!=", "cat"))},
        {"legs": "hybrid", "fusion": WeightedSum((0.1, 0.9)), "where": {"of": {"$ne": "cat"}}},
    ),
    ({"vector_store_query_mode": "text_search"}, {"legs": "lexical"}),
    ({"vector_store_query_mode": "sparse", "sparse_top_k": 1}, {"legs": "lexical", "k": 1}),
    (
        {"vector_store_query_mode": "text_search", "filters": filters(where("of", "!=", "cat"))},
        {"legs": "lexical", "where": {"of": {"$ne": "cat"}}},
    ),
]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("arguments", "own"), CASES)
async def test_through_an_index_and_without(
    index: VectorStoreIndex, arguments: dict[str, Any], own: dict[str, Any], is_async: bool
) -> None:
    store, model = index.vector_store.client, WordEmbedding()
    query: Any = ASKED if own["legs"] == "lexical" else model.get_query_embedding(ASKED)
    expected = of(store.search(query, **{"k": 3, "text": ASKED, **own}))
    through_index = index.as_retriever(similarity_top_k=3, **arguments)
    alone = BinragRetriever(store=store, embed_model=model, similarity_top_k=3, **arguments)
    encoding = BinragRetriever(store.path, encoder=model, similarity_top_k=3, **arguments)
    for retriever in (through_index, alone, encoding):
        hits = await retriever.aretrieve(ASKED) if is_async else retriever.retrieve(ASKED)
        assert [(hit.node_id, hit.score) for hit in hits] == expected
    result = await index.vector_store.aquery(
        VectorStoreQuery(model.get_query_embedding(ASKED), 3, query_str=ASKED, mode=HYBRID)
    )
    assert result.ids == [
        hit.id for hit in store.search(model.get_query_embedding(ASKED), 3, text=ASKED, legs="hybrid")
    ]


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        ({}, "sea"),
        ({"vector_store_query_mode": "hybrid"}, "sea"),
        ({"vector_store_query_mode": "hybrid", "alpha": 0.1}, "cat"),
        ({"vector_store_query_mode": "text_search"}, "cat"),
    ],
)
def test_a_query_engine_answers_by_words(index: VectorStoreIndex, arguments: dict[str, Any], first: str) -> None:
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1, **arguments)
    response = engine.query(ASKED)
    assert [source.text for source in response.source_nodes] == [TEXTS[first]]
    assert TEXTS[first] in str(response)


class Refusing(WordEmbedding):
    """A model that is not to be asked."""

    def _get_query_embedding(self, query: str) -> list[float]:
        raise AssertionError(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        raise AssertionError(query)


async def test_a_retriever_by_words_encodes_nothing(index: VectorStoreIndex) -> None:
    path = index.vector_store.path
    for model in ({}, {"embed_model": Refusing()}):
        retriever = BinragRetriever(path, vector_store_query_mode="text_search", similarity_top_k=1, **model)
        bundle = QueryBundle("RFC 2822", custom_embedding_strs=["a dog", "the sea"])
        for query in ("RFC 2822", bundle, QueryBundle("RFC 2822", embedding=[1.0])):
            assert [hit.text for hit in retriever.retrieve(query)] == [TEXTS["cat"]]
            assert [hit.text for hit in await retriever.aretrieve(query)] == [TEXTS["cat"]]
        with pytest.raises(ValueError, match="query_str is ''"):
            retriever.retrieve("")


def test_words_are_the_questions_where_other_strings_are_embedded(index: VectorStoreIndex) -> None:
    store, model = index.vector_store.client, WordEmbedding()
    bundle = QueryBundle("RFC 2822", custom_embedding_strs=["the sea"])
    expected = of(store.search(model.get_query_embedding("the sea"), 4, text="RFC 2822", legs="hybrid"))
    for how in ({"embed_model": model, "store": store}, {"encoder": model, "path": store.path}):
        retriever = BinragRetriever(**how, vector_store_query_mode="hybrid", similarity_top_k=4)
        assert [(hit.node_id, hit.score) for hit in retriever.retrieve(bundle)] == expected
    assert expected != of(store.search(model.get_query_embedding("the sea"), 4, text="the sea", legs="hybrid"))


def test_a_retriever_refuses_when_it_is_made(index: VectorStoreIndex) -> None:
    path = index.vector_store.path
    for wrong, error, words in (
        ({"alpha": 0.5}, NotImplementedError, "alpha, of no effect"),
        ({"hybrid_top_k": 2}, NotImplementedError, "hybrid_top_k, of no effect"),
        ({"sparse_top_k": 2}, NotImplementedError, "sparse_top_k, of no effect"),
        ({"vector_store_query_mode": "hybrid", "sparse_top_k": 2}, NotImplementedError, "sparse_top_k, of no effect"),
        ({"vector_store_query_mode": "hybrid", "alpha": 2}, ValueError, "alpha is 2"),
        ({"vector_store_kwargs": {"fusion": IdfCoverage()}}, ValueError, "fusion is of no effect"),
    ):
        with pytest.raises(error, match=words):
            BinragRetriever(path, **wrong)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("arguments", "own"), CASES)
async def test_a_store_of_token_vectors(
    tmp_path: Path, arguments: dict[str, Any], own: dict[str, Any], is_async: bool
) -> None:
    encoder = TokenEncoder(word_vectors, encoder_id="words")
    with Store.open(tmp_path / "kb.binrag", encoder=encoder, lexical="en") as store:
        index = VectorStoreIndex.from_documents(
            [
                Document(id_=id_, text=text, metadata={"of": id_}, excluded_embed_metadata_keys=["of"])
                for id_, text in TEXTS.items()
            ],
            StorageContext.from_defaults(vector_store=BinragVectorStore(store=store)),
            embed_model=MockEmbedding(embed_dim=1),
        )
        expected = of(store.search(ASKED, **{"k": 3, **own}))
        for retriever in (
            index.as_retriever(similarity_top_k=3, **arguments),
            BinragRetriever(store=store, similarity_top_k=3, **arguments),
        ):
            hits = await retriever.aretrieve(ASKED) if is_async else retriever.retrieve(ASKED)
            assert [(hit.node_id, hit.score) for hit in hits] == expected
