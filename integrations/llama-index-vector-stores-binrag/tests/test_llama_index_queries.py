"""Query modes and restrictions, against what LlamaIndex's own store answers."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import filters, node_of, where

from binrag import Eq, Store

MODES = [VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR]
BY_WORDS = [VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE]
DRAW = np.random.default_rng(0)
VECTORS = {f"{source}-{n}": DRAW.standard_normal(8).tolist() for source in "abc" for n in range(4)}
QUERY = DRAW.standard_normal(8).tolist()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinragVectorStore]:
    store = BinragVectorStore(tmp_path_factory.mktemp("queries") / "kb.binrag", keep_vectors="float16")
    store.add([node_of(id_, vector, id_[0], n=int(id_[2])) for id_, vector in VECTORS.items()])
    store.add([node_of("alone", [1.0] * 8)])
    yield store
    store.client.close()


@pytest.fixture(scope="module")
def simple(store: BinragVectorStore) -> SimpleVectorStore:
    simple = SimpleVectorStore()
    simple.add(store.get_nodes())
    return simple


def asked(**fields: Any) -> VectorStoreQuery:
    return VectorStoreQuery(**{"query_embedding": QUERY, "similarity_top_k": 20, **fields})


@pytest.mark.parametrize("k", [1, 3, 13, 20])
@pytest.mark.parametrize(
    "restricted", [{}, {"filters": filters(where("n", ">", 1))}, {"node_ids": ["a-1", "b-3", "?"]}]
)
def test_by_default_the_best_as_in_llama_indexs_store(
    store: BinragVectorStore, simple: SimpleVectorStore, k: int, restricted: Any
) -> None:
    query = asked(similarity_top_k=k, **restricted)
    result, expected = store.query(query), simple.query(query)
    assert result.ids == [node.node_id for node in result.nodes] == expected.ids
    assert result.similarities == pytest.approx(expected.similarities, abs=0.002)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("doc_ids", "node_ids", "n", "expected"),
    [
        (None, None, None, {*VECTORS, "alone"}),
        (None, [], None, {*VECTORS, "alone"}),
        ([], None, None, set()),
        (["a"], None, None, {"a-0", "a-1", "a-2", "a-3"}),
        (["missing"], None, None, set()),
        (["missing", "a", "c"], None, 1, {"a-1", "c-1"}),
        (None, ["a-0", "b-0", "alone", "?"], None, {"a-0", "b-0", "alone"}),
        (None, ["?"], None, set()),
        (None, ["a-0", "a-1", "b-1"], 1, {"a-1", "b-1"}),
        (["a"], ["a-0", "a-1", "b-1"], 1, {"a-1"}),
        (["a"], [], 1, {"a-1"}),
        ([], ["a-0"], None, set()),
        (["a"], ["b-1"], None, set()),
    ],
)
def test_all_restrictions_must_hold(
    store: BinragVectorStore, mode: VectorStoreQueryMode, doc_ids: Any, node_ids: Any, n: Any, expected: set[str]
) -> None:
    restricted = {"doc_ids": doc_ids, "node_ids": node_ids}
    if n is not None:
        restricted["filters"] = filters(where("n", "==", n))
    result = store.query(asked(mode=mode, **restricted))
    assert set(result.ids) == expected
    assert len(result.ids) == len(expected) == len(result.nodes) == len(result.similarities)
    if mode == VectorStoreQueryMode.DEFAULT and any(value for value in restricted.values()):
        listed = store.query(asked(query_embedding=None, **restricted))
        assert set(listed.ids) == expected
        assert listed.similarities is None


def test_without_an_embedding_the_first_that_match(store: BinragVectorStore) -> None:
    listed = store.query(asked(query_embedding=None, similarity_top_k=2, filters=filters(where("n", "==", 2))))
    assert listed.ids == ["a-2", "b-2"]
    assert [node.get_content() for node in listed.nodes] == ["text of a-2", "text of b-2"]
    assert listed.similarities is None
    assert store.query(asked(query_embedding=None, node_ids=["c-1", "a-1"])).ids == ["c-1", "a-1"]
    assert store.query(asked(query_embedding=None, doc_ids=["b"], similarity_top_k=1)).ids == ["b-0"]
    assert store.query(asked(query_embedding=None, query_str="words", doc_ids=["b"])).ids[0] == "b-0"
    for query in (
        asked(query_embedding=None),
        asked(query_embedding=None, filters=filters(), node_ids=[]),
        asked(query_embedding=None, query_str="words"),
        asked(query_embedding=None, doc_ids=["a"], mode=VectorStoreQueryMode.MMR),
    ):
        with pytest.raises(ValueError, match="no embedding"):
            store.query(query)
    with pytest.raises(ValueError, match="expected an integer of at least 1"):
        store.query(asked(query_embedding=None, doc_ids=["a"], similarity_top_k=0))


def test_binrags_own_filter(store: BinragVectorStore) -> None:
    for own in ({"n": {"$gte": 3}}, Eq("n", 3)):
        assert set(store.query(asked(), where=own).ids) == {"a-3", "b-3", "c-3"}
        assert store.query(asked(doc_ids=["b"]), where=own).ids == ["b-3"]
        assert store.query(asked(query_embedding=None, doc_ids=["b", "c"], node_ids=["c-3"]), where=own).ids == ["c-3"]
        with pytest.raises(ValueError, match="got filters in the query and where beside it"):
            store.query(asked(filters=filters(where("n", "==", 1))), where=own)
    assert set(store.query(asked(), where=None).ids) == {*VECTORS, "alone"}
    with pytest.raises(ValueError, match="unknown operator"):
        store.query(asked(), where={"n": {"$like": 1}})


@pytest.mark.parametrize("threshold", [1.0, 0.9, 0.5, 0.25, 0])
@pytest.mark.parametrize("k", [1, 4, 13])
def test_mmr_chooses_what_llama_index_chooses(store: BinragVectorStore, threshold: float, k: int) -> None:
    embeddings = {node.node_id: node.embedding for node in store.get_nodes()}
    similarities = {id_: _cosine(QUERY, embedding) for id_, embedding in embeddings.items()}
    first = sorted(embeddings, key=lambda id_: -similarities[id_])
    chosen, left = first[:1], first[1:]
    while left and len(chosen) < k:
        gains = {}
        for id_ in left:
            overlap = max(_cosine(embeddings[id_], embeddings[other]) for other in chosen)
            gains[id_] = threshold * similarities[id_] - (1 - threshold) * overlap
        chosen.append(max(left, key=lambda id_: gains[id_]))
        left.remove(chosen[-1])
    result = store.query(asked(mode=VectorStoreQueryMode.MMR, similarity_top_k=k), mmr_threshold=threshold)
    assert result.ids == chosen
    assert result.similarities == pytest.approx([similarities[id_] for id_ in chosen], abs=0.002)
    _, theirs = get_top_k_mmr_embeddings(
        QUERY, [embeddings[id_] for id_ in first], None, 2, embedding_ids=first, mmr_threshold=threshold
    )
    if threshold:  # earlier versions of LlamaIndex take 0 for 0.5
        assert chosen[:2] == theirs[:k]  # from the third on, it compares with the last chosen only


@pytest.mark.parametrize(
    ("in_query", "options", "expected"),
    [
        (None, {}, ["a", "b"]),
        (1.0, {}, ["a", "b"]),
        (0.0, {}, ["a", "c"]),
        (0.25, {}, ["a", "c"]),
        (None, {"mmr_threshold": 0.0}, ["a", "c"]),
        (1.0, {"mmr_threshold": 0.0}, ["a", "c"]),
        (0.0, {"mmr_threshold": 1}, ["a", "b"]),
        (0.0, {"mmr_threshold": None}, ["a", "b"]),
        (0.0, {"mmr_prefetch_k": 2}, ["a", "b"]),
        (0.0, {"mmr_prefetch_k": 1}, ["a", "b"]),
        (0.0, {"mmr_prefetch_k": 3}, ["a", "c"]),
        (0.0, {"mmr_prefetch_factor": 1.0}, ["a", "b"]),
        (0.0, {"mmr_prefetch_factor": 0.1}, ["a", "b"]),
        (0.0, {"mmr_prefetch_factor": 1.5}, ["a", "c"]),
        (0.0, {"mmr_prefetch_factor": None, "mmr_prefetch_k": None}, ["a", "c"]),
    ],
)
def test_the_argument_goes_before_the_querys_threshold(
    tmp_path: Path, in_query: Any, options: dict[str, Any], expected: list[str]
) -> None:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    store.add([node_of("a", [1.0, 0.0]), node_of("b", [1.0, 0.0]), node_of("c", [0.0, 1.0])])
    query = VectorStoreQuery([1.0, 0.0], 2, mode=VectorStoreQueryMode.MMR, mmr_threshold=in_query)
    assert store.query(query, **options).ids == expected
    store.client.close()


@pytest.mark.parametrize("mode", [mode for mode in VectorStoreQueryMode if mode not in MODES + BY_WORDS])
def test_other_modes_are_refused_by_name(store: BinragVectorStore, mode: VectorStoreQueryMode) -> None:
    expected = rf"{mode.name}.* expected VectorStoreQueryMode.DEFAULT, MMR, HYBRID, TEXT_SEARCH or SPARSE"
    for query in (asked(mode=mode), asked(query_embedding=None, query_str="words", mode=mode, doc_ids=["a"])):
        with pytest.raises(NotImplementedError, match=expected):
            store.query(query)


@pytest.mark.parametrize(
    ("fields", "options", "error", "words"),
    [
        ({"output_fields": ["text"]}, {}, NotImplementedError, "output_fields"),
        ({"embedding_field": "other"}, {}, NotImplementedError, "embedding_field"),
        ({"hybrid_top_k": 3}, {}, NotImplementedError, "hybrid_top_k"),
        ({"sparse_top_k": 3, "alpha": 0.5}, {}, NotImplementedError, "alpha, sparse_top_k"),
        ({"mmr_threshold": 0.5}, {}, ValueError, "mmr_threshold is of no effect"),
        ({}, {"mmr_prefetch_k": 9}, ValueError, "mmr_prefetch_k is of no effect"),
        ({"mode": "mmr", "mmr_threshold": 1.5}, {}, ValueError, "mmr_threshold is 1.5, expected a number from 0 to 1"),
        ({"mode": "mmr"}, {"mmr_threshold": "high"}, ValueError, "mmr_threshold is 'high'"),
        ({"mode": "mmr"}, {"mmr_prefetch_k": 0}, ValueError, "mmr_prefetch_k is 0"),
        ({"mode": "mmr"}, {"mmr_prefetch_factor": -1.0}, ValueError, "mmr_prefetch_factor is -1.0"),
        ({"mode": "mmr"}, {"mmr_prefetch_k": 9, "mmr_prefetch_factor": 2}, ValueError, "both say how many"),
        ({"similarity_top_k": 0}, {}, ValueError, "k is 0"),
        ({"similarity_top_k": 5}, {"n_candidates": 4}, ValueError, "n_candidates is 4"),
        ({}, {"wheer": 1}, ValueError, "query got wheer; expected where, n_candidates"),
        ({"query_embedding": [1.0, 0.0]}, {}, ValueError, "2 dimensions.*8|8.*2"),
        ({"query_embedding": []}, {}, ValueError, "query vector"),
        ({"node_ids": "a-1"}, {}, ValueError, "'a-1'"),
        ({"doc_ids": "a"}, {}, ValueError, "'a'"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    store: BinragVectorStore, fields: dict[str, Any], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        store.query(asked(**fields), **options)


def test_fields_that_ask_for_nothing_are_taken(store: BinragVectorStore) -> None:
    query = asked(output_fields=[], alpha=1.0, query_str="words", filters=filters(), node_ids=[], similarity_top_k=2)
    expected = store.query(asked(similarity_top_k=2)).ids
    assert store.query(query, n_candidates=13).ids == expected
    assert store.query(asked(query_embedding=np.array(QUERY), similarity_top_k=2)).ids == expected


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_store_finds_nothing(tmp_path: Path, mode: VectorStoreQueryMode) -> None:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    for restricted in ({}, {"node_ids": ["a"]}, {"filters": filters(where("n", "==", 1))}):
        result = store.query(asked(mode=mode, **restricted))
        assert (result.nodes, result.similarities, result.ids) == ([], [], [])
    assert store.query(asked(query_embedding=None, doc_ids=["a"])).nodes == []
    store.client.close()


@pytest.mark.parametrize("keep", ["int8", "none"])
def test_with_fitted_codes(tmp_path: Path, keep: str) -> None:
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((400, 64)) @ draw.standard_normal((64, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[1] = rows[0] + 0.001
    with Store.open(tmp_path / "kb.binrag", keep_vectors=keep) as opened:
        store = BinragVectorStore(store=opened)
        store.add([node_of(f"n{n}", row.tolist(), f"d{n % 7}", n=n) for n, row in enumerate(rows)])
        opened.train_binarizer("levels", vectors=rows, force=True)
        assert opened.info().binarizer == "levels"
        choice = random.Random(0).sample(range(2, 400), 8)
        for n in choice:
            own = {"query_embedding": rows[n].tolist(), "similarity_top_k": 1}
            assert store.query(asked(**own)).ids == [f"n{n}"]
            assert store.query(asked(**own, doc_ids=[f"d{n % 7}"], filters=filters(where("n", ">", 1)))).ids == [
                f"n{n}"
            ]
            assert store.query(asked(**own, filters=filters(where("n", "<", 2)))).ids[0] in ("n0", "n1")
        near = {"query_embedding": rows[0].tolist(), "similarity_top_k": 2}
        assert sorted(store.query(asked(**near)).ids) == ["n0", "n1"]
        diverse = store.query(asked(**near, mode=VectorStoreQueryMode.MMR, mmr_threshold=0.3)).ids
        assert len({*diverse} & {"n0", "n1"}) == 1


def _cosine(a: Any, b: Any) -> float:
    a, b = np.asarray(a), np.asarray(b)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
