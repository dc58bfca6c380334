"""Searching: against the float ranking, in the total order, with any k."""

import itertools

import numpy as np
import pytest
import reference
from fakes import WordEncoder, ids_of, lattice, sentences, vectors_of

from binrag import Hit, Store, pipeline
from binrag.indexes import FlatIndex
from binrag.storage import Reading
from binrag.types import CodeShape

KEEPS = ("none", "int8", "float16")
BINARIZERS = ("auto", "sign", "rotated-sign")


def store_of(path, vectors, **settings):
    store = Store.open(path, **settings)
    store.add(vectors=vectors, ids=[str(i) for i in range(len(vectors))])
    return store


def kept(vectors, keep):
    """What the cold tier gives back of unit vectors."""
    unit = reference.unit(vectors)
    if keep == "float16":
        return reference.float16_of(unit)
    rows = [reference.int8_of(vector) for vector in unit]
    return np.array([np.array(levels, np.float32) * scale for levels, scale in rows])


@pytest.mark.parametrize("dim", [1, 2, 3, 16, 63, 64, 65, 384])
@pytest.mark.parametrize("keep", ["int8", "float16"])
def test_with_all_rows_as_candidates_it_is_the_float_ranking(path, dim, keep):
    vectors = vectors_of(90, dim, seed=dim)
    with store_of(path, vectors, keep_vectors=keep) as store:
        for query in vectors_of(4, dim, seed=99):
            hits = store.search(query, k=90, n_candidates=90)
            scores = kept(vectors, keep).astype(np.float64) @ reference.unit(query[None])[0].astype(np.float64)
            by_id = {hit.id: hit.score for hit in hits}
            # a level of int8 may differ where a quotient lies between two
            tolerance = 1e-12 if keep == "float16" else 1e-3
            assert [by_id[str(i)] for i in range(90)] == pytest.approx(scores.tolist(), abs=tolerance)
            if keep == "float16" and dim > 1:
                assert ids_of(hits) == [str(i) for _, i in reference.best_first(scores.tolist(), range(90))]
            true = reference.unit(vectors).astype(np.float64) @ reference.unit(query[None])[0]
            close = {"int8": 0.02, "float16": 2e-3}[keep]
            assert [by_id[str(i)] for i in range(90)] == pytest.approx(true.tolist(), abs=close)


@pytest.mark.parametrize("dim", [16, 384])
def test_float16_finds_what_float32_finds(path, dim):
    vectors = vectors_of(90, dim, seed=1)
    unit = reference.unit(vectors)
    with store_of(path, vectors, keep_vectors="float16") as store:
        for query in vectors_of(10, dim, seed=2):
            expected = reference.float_topk(unit, reference.unit(query[None])[0], 10)
            assert set(ids_of(store.search(query))) >= {str(row) for row in expected[:9]}


@pytest.mark.parametrize("binarizer", BINARIZERS)
@pytest.mark.parametrize("dim", [5, 64, 100])
def test_without_vectors_the_codes_score(path, binarizer, dim):
    vectors = vectors_of(200, dim)
    with store_of(path, vectors, keep_vectors="none", binarizer=binarizer) as store:
        query = vectors_of(1, dim, seed=7)[0]
        hits = store.search(query, k=200, n_candidates=200)
    assert len(hits) == 200
    unit_query = reference.unit(query[None])[0]
    unit = reference.unit(vectors)
    if binarizer != "rotated-sign":
        bits, rescale = reference.code_bits(unit), reference.rescale_of(unit)
        scores = reference.code_scores(bits, rescale, unit_query)
        expected = [(score, str(i)) for score, i in reference.best_first(scores, range(200))]
        assert [(hit.score, hit.id) for hit in hits] == expected
    true = unit @ unit_query
    estimates = np.array([hit.score for hit in sorted(hits, key=lambda hit: int(hit.id))])
    assert np.corrcoef(estimates, true)[0, 1] > 0.7


@pytest.mark.parametrize("keep", KEEPS)
def test_ties_come_in_the_order_they_were_added(path, keep):
    vectors = np.tile(lattice(7, 3, seed=2), (30, 1))
    with store_of(path, vectors, keep_vectors=keep) as store:
        hits = store.search(lattice(1, 3, seed=5)[0], k=210, n_candidates=210)
        pairs = [(hit.score, int(hit.id)) for hit in hits]
        assert pairs == reference.best_first(*zip(*pairs, strict=True))
        assert len({score for score, _ in pairs}) < 10
        assert len(pairs) == 210


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("n", [1, 9, 10, 11, 300])
def test_there_are_min_k_and_rows_hits(tmp_path, keep, n):
    with store_of(tmp_path / "s", vectors_of(n, 8), keep_vectors=keep) as store:
        for k in (1, 2, 10, n, n + 1, 10**9, np.int64(3)):
            hits = store.search(np.ones(8), k=k)
            assert len(hits) == min(k, n)
            assert len(set(ids_of(hits))) == len(hits)
            assert all(a.score >= b.score for a, b in itertools.pairwise(hits))
            assert all(type(hit) is Hit and type(hit.score) is float for hit in hits)
        assert len(store.search(np.ones(8))) == min(10, n)


def test_more_hits_begin_with_fewer(path):
    with store_of(path, vectors_of(100, 16)) as store:
        query = np.ones(16)
        most = store.search(query, k=100, n_candidates=100)
        for k in (1, 5, 30, 99):
            assert store.search(query, k=k, n_candidates=100) == most[:k]


def test_more_candidates_find_no_less(path):
    vectors = vectors_of(3000, 32)
    with store_of(path, vectors, keep_vectors="float16") as store:
        found = {}
        for n_candidates in (10, 100, 3000, 10**6):
            found[n_candidates] = 0
            for query in vectors_of(10, 32, seed=3):
                expected = reference.float_topk(reference.unit(vectors), query, 10)
                hits = store.search(query, k=10, n_candidates=n_candidates)
                assert len(hits) == 10
                found[n_candidates] += len({str(row) for row in expected} & set(ids_of(hits)))
        assert found[10] < found[100] <= found[3000] == found[10**6]


@pytest.mark.parametrize("by_tables", [False, True])
def test_the_default_number_of_candidates(by_tables):
    index = FlatIndex.empty(CodeShape(1, 0, by_tables=by_tables))
    expected = [160, 250, 550, 1150] if by_tables else [800, 800, 800, 2000]
    assert [pipeline.default_candidates(index, k) for k in (1, 10, 40, 100)] == expected


def test_the_default_is_800_candidates_and_100_reads(path):
    """The README and the defaults of the pipeline agree with what a search does."""
    assert [pipeline.default_reads(k, 1.9) for k in (1, 10, 33, 34, 100)] == [100, 100, 100, 102, 300]
    assert [pipeline.default_reads(k, 2) for k in (1, 10, 33, 34, 100)] == [22, 45, 102, 105, 270]
    with store_of(path, vectors_of(1500, 16)) as store:
        query = np.ones(16)
        assert store.search(query) == store.search(query, n_candidates=800)
        assert store.search(query, k=100) == store.search(query, k=100, n_candidates=2000)


@pytest.mark.parametrize(
    ("k", "n_candidates", "n_reads"), [(1, None, 100), (10, None, 100), (50, None, 150), (10, 20, 20)]
)
def test_few_vectors_are_read_from_disk(path, monkeypatch, k, n_candidates, n_reads):
    read = []
    real = Reading.vectors
    monkeypatch.setattr(Reading, "vectors", lambda self, rows: read.append(len(set(rows))) or real(self, rows))
    with store_of(path, vectors_of(1500, 16)) as store:
        assert len(store.search(np.ones(16), k=k, n_candidates=n_candidates)) == k
        assert read == [n_reads]


def test_without_vectors_none_is_read(path, monkeypatch):
    monkeypatch.delattr(Reading, "vectors")
    with store_of(path, vectors_of(1500, 16), keep_vectors="none") as store:
        assert len(store.search(np.ones(16))) == 10


@pytest.mark.parametrize("keep", KEEPS)
def test_search_and_search_batch_agree(path, keep):
    texts = sentences(300)
    with Store.open(path, encoder=WordEncoder(), keep_vectors=keep) as store:
        store.add(texts, ids=texts)
        queries = sentences(20, seed=5)
        assert store.search_batch(queries, k=7) == [store.search(query, k=7) for query in queries]
        assert list(map(len, store.search_batch(iter(queries), k=7))) == [7] * 20
        vectors = vectors_of(20, 32)
        one_by_one = [store.search(vector, k=7, n_candidates=50) for vector in vectors]
        for given in (vectors, list(vectors), vectors.tolist(), iter(vectors), vectors.astype(np.float64)):
            assert store.search_batch(given, k=7, n_candidates=50) == one_by_one
        assert store.search_batch([]) == store.search_batch(np.zeros((0, 32))) == []


def test_integers_are_vectors_too(path):
    with store_of(path, np.eye(4)) as store:
        for query in ([0, 1, 0, 0], (0, 1, 0, 0), np.array([0, 1, 0, 0]), np.array([0, 1, 0, 0], np.uint8)):
            assert ids_of(store.search(query, k=1)) == ["1"]
        assert ids_of(store.search_batch(np.eye(4, dtype=int)[[2]], k=1)[0]) == ["2"]


def test_the_length_of_a_vector_does_not_matter_for_the_cosine(path):
    vectors = vectors_of(60, 16)
    lengths = np.logspace(-20, 20, 60)[:, None]
    with store_of(path, vectors * lengths) as store:
        query = vectors_of(1, 16, seed=4)[0]
        hits = store.search(query, k=60)
        assert store.search(query * np.float32(1e-15), k=60)[0].score == pytest.approx(hits[0].score, abs=1e-6)
        scores = reference.unit(vectors) @ reference.unit(query[None])[0]
        assert {hit.id: hit.score for hit in hits} == pytest.approx(
            {str(i): score for i, score in enumerate(scores.tolist())}, abs=0.02
        )
        assert hits[0].score <= 1 + 1e-6


@pytest.mark.parametrize("keep", KEEPS)
def test_the_dot_product_counts_lengths(path, keep):
    encoder = WordEncoder(16, similarity="dot")
    texts = ["apple", "apple apple apple", "river", "apple river"]
    with Store.open(path, encoder=encoder, keep_vectors=keep) as store:
        store.add(texts, ids=texts)
        assert store.info().similarity == "dot"
        hits = store.search("apple", k=4)
        assert hits[0].id == "apple apple apple"
        documents, query = encoder.encode_document(texts), encoder.encode_query(["apple"])[0]
        if keep != "none":
            expected = dict(zip(texts, (documents @ query).tolist(), strict=True))
            assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=0.2)
        else:
            assert hits[0].score == pytest.approx(3 * float(query @ query), rel=0.01)


def test_an_empty_store(path):
    with Store.open(path, encoder=WordEncoder()) as store:
        assert store.search("anything") == []
        assert store.search(np.ones(3)) == []
        assert store.search_batch(["a", "b"]) == [[], []]
        store.add(["apple"])
        store.delete([document.id for document in store.iter()])
        assert store.search("anything") == []


def test_what_is_kept_makes_no_difference_to_the_candidates(tmp_path):
    """All three tiers look at the same 12 rows."""
    vectors = vectors_of(400, 32)
    sets = set()
    for keep in KEEPS:
        with store_of(tmp_path / keep, vectors, keep_vectors=keep) as store:
            sets.add(frozenset(ids_of(store.search(np.ones(32), k=12, n_candidates=12))))
    assert len(sets) == 1


@pytest.mark.parametrize("dim", [1, 4096])
def test_the_smallest_and_the_largest_dimension(path, dim):
    vectors = vectors_of(20, dim)
    with store_of(path, vectors) as store:
        assert store.info().dim == dim
        hit = store.search(vectors[3], k=1)[0]
        assert hit.score == pytest.approx(1, abs=0.01)
        assert dim == 1 or hit.id == "3"
