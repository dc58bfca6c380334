"""Fusions asked of a store, what legs say of hits, and relevances: equal to what the legs' own searches give."""

import math

import numpy as np
import pytest
import reference
from fakes import WordEncoder, WordTokenEncoder, ids_of, sentences, vectors_of

from binrag import (
    Coverage,
    IdfCoverage,
    InvalidInput,
    LegScore,
    Mmr,
    ReciprocalRank,
    Rerank,
    Store,
    UnsupportedMode,
    WeightedSum,
)
from binrag.ranking.fusion import WEIGHT

TEXTS = sentences(60)
IDS = [f"d{i}" for i in range(60)]
QUERIES = ["silver river 7", "copper", "engine paper garden 12", "silver silver stone"]
FUSIONS = [
    None,
    IdfCoverage(),
    IdfCoverage(0.5, 1.0),
    IdfCoverage(0),
    ReciprocalRank(),
    ReciprocalRank((0.3, 2), 5),
    WeightedSum(),
    WeightedSum((0.7, 0.3)),
    WeightedSum(scale="z"),
]


@pytest.fixture(params=["vectors", "none", "tokens"])
def store(request, path):
    encoder = (WordTokenEncoder if request.param == "tokens" else WordEncoder)(64)
    options = {"keep_vectors": "none"} if request.param == "none" else {}
    with Store.open(path, encoder=encoder, lexical="en", **options) as store:
        store.add(TEXTS, ids=IDS, metadata=[{"n": i} for i in range(60)])
        yield store


@pytest.fixture
def dot(path):
    """A store whose scores are inner products of vectors of any length."""
    encoder = WordEncoder(64)
    encoder.similarity = "dot"
    with Store.open(path, encoder=encoder, lexical="en") as store:
        lengths = np.random.default_rng(2).uniform(1, 9, size=(60, 1))
        store.add(TEXTS, ids=IDS, vectors=(vectors_of(60, 64) * lengths).astype(np.float32))
        yield store


def legs_of(store, query):
    """Both legs' hits by id, in order, of all documents."""
    everything = {"k": 60, "n_candidates": 1000}
    dense = {hit.id: hit.score for hit in store.search(query, **everything)}
    return dense, {hit.id: hit.score for hit in store.search(query, k=60, legs="lexical")}


@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
def test_a_fusion_is_of_what_the_legs_find(store, fusion):
    for query in QUERIES:
        dense, lexical = legs_of(store, query)
        hits = store.search(query, k=60, legs="hybrid", fusion=fusion, n_candidates=1000)
        found = {hit.id: hit.score for hit in hits}
        by_row = [{IDS.index(name): score for name, score in leg.items()} for leg in (dense, lexical)]
        if isinstance(fusion, ReciprocalRank):
            expected = reference.reciprocal_ranks([list(leg) for leg in by_row], fusion.weights, fusion.rank_constant)
            assert ids_of(hits) == [IDS[row] for _, row in expected]
            assert list(found.values()) == pytest.approx([score for score, _ in expected], rel=1e-12)
        elif isinstance(fusion, WeightedSum):
            expected = reference.weighted_scores(by_row, fusion.weights, fusion.scale)
            assert found == pytest.approx({IDS[row]: score for score, row in expected}, abs=1e-9)
        elif fusion == IdfCoverage(0):
            assert found == pytest.approx(dense, abs=1e-9)
        else:
            plain = {hit.id: hit.score for hit in store.search(query, k=60, legs="hybrid", n_candidates=1000)}
            how = fusion or IdfCoverage()
            weight = WEIGHT if how.weight is None else how.weight
            for name, score in found.items():
                covered = max((plain[name] - dense[name]) / WEIGHT, 0) ** (1 / 3)
                assert score == pytest.approx(dense[name] + weight * covered**how.exponent, abs=1e-5)
        assert store.search_batch([query], k=60, legs="hybrid", fusion=fusion, n_candidates=1000) == [hits]


def test_a_weight_of_one_leg_alone_gives_its_order(store):
    for query in QUERIES:
        dense, lexical = legs_of(store, query)
        for kind in (ReciprocalRank, WeightedSum):
            hits = store.search(query, k=60, legs="hybrid", fusion=kind((1, 0)), n_candidates=1000)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert ids_of(hits)[:9] == list(dense)[:9]
            hits = store.search(query, k=60, legs="hybrid", fusion=kind((0, 1)), n_candidates=1000)
            least = min(lexical.values())
            n = sum(score > least for score in lexical.values())  # min-max has the least at 0, as what was not found
            assert ids_of(hits)[:n] == list(lexical)[:n]


@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
def test_hits_say_what_the_legs_said(store, fusion):
    for query in QUERIES:
        legs = dict(zip(("dense", "lexical"), legs_of(store, query), strict=True))
        for hit in store.search(query, k=60, legs="hybrid", fusion=fusion, n_candidates=1000, explain=True):
            assert list(hit.legs) == ["dense", "lexical"]
            for name, leg in legs.items():
                said = hit.legs[name]
                assert said.rank == (list(leg).index(hit.id) + 1 if hit.id in leg else None)
                assert said.score == (pytest.approx(leg[hit.id], abs=1e-9) if hit.id in leg else None)
    assert store.search("silver", legs="hybrid", fusion=fusion)[0].legs is None


def test_one_leg_alone_says_so_too_through_rerankers_and_diversity(store):
    for name in ("dense", "lexical"):
        hits = store.search("silver river", k=8, legs=name, explain=True)
        assert [hit.legs for hit in hits] == [{name: LegScore(i + 1, hit.score)} for i, hit in enumerate(hits)]
    by_length = Rerank(lambda query, texts: [-len(text) for text in texts], 20)
    said = {hit.id: hit.legs for hit in store.search("silver river", k=60, legs="hybrid", explain=True)}
    for options in ({"rerank": by_length}, {"diversity": Mmr(0.7)}, {"rerank": by_length, "diversity": Coverage(0.7)}):
        hits = store.search("silver river", k=5, legs="hybrid", explain=True, **options)
        assert {hit.id: hit.legs for hit in hits} == {hit.id: said[hit.id] for hit in hits}
        assert len(hits) == 5


def test_a_leg_that_sees_a_hundred_has_no_rank_for_the_rest(path):
    with Store.open(path, encoder=WordEncoder(64), lexical="any") as store:
        store.add(["silver river"] * 300, ids=[f"s{i}" for i in range(300)])
        store.add(["copper"], ids=["last"])
        (hit,) = store.search("silver copper", k=1, legs="hybrid", explain=True, ids=["last"])
        assert hit.legs["lexical"].rank == 1
        hits = store.search("river copper", k=120, legs="hybrid", fusion=ReciprocalRank((0, 1)), explain=True)
        assert len(hits) == 120
        assert {hit.legs["lexical"].rank for hit in hits} == set(range(1, 121))  # it sees as far as is asked for
        hits = store.search("silver river river copper", k=3, legs="hybrid", fusion=WeightedSum((0, 1)), explain=True)
        assert hits[0].id == "last"
        assert hits[0].legs["dense"] == LegScore(None, None)  # the dense leg saw a hundred of the others


@pytest.mark.parametrize("legs", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
def test_relevance_is_the_score_from_0_to_1(store, legs, fusion):
    for query in QUERIES:
        options = {"fusion": fusion} if legs == "hybrid" else {}
        hits = store.search(query, k=60, legs=legs, **options)
        relevances = [hit.relevance for hit in hits]
        if legs == "hybrid" and fusion == WeightedSum(scale="z"):
            assert set(relevances) == {None}
            continue
        assert all(0 <= relevance <= 1 for relevance in relevances)
        assert relevances == sorted(relevances, reverse=True)
        assert len(set(relevances)) == len({hit.score for hit in hits})
        assert store.search(query, k=3, legs=legs, **options)[0].relevance == relevances[0]


def test_what_0_and_1_are(path):
    with Store.open(path, encoder=WordEncoder(64), lexical="any") as store:
        store.add(["silver river", "copper", "silver " * 200], ids=["a", "b", "c"])
        dense = store.search("silver river")[0]
        assert (dense.id, dense.score, dense.relevance) == ("a", pytest.approx(1, abs=0.01), pytest.approx(1, abs=0.01))
        for hit in store.search("silver river", k=3):
            assert hit.relevance == pytest.approx(min(1, (1 + hit.score) / 2), abs=1e-12)
        a = store.search("silver river", legs="hybrid")[0]
        assert (
            a.relevance == pytest.approx(min(1, (1 + a.score) / (2 + WEIGHT)), abs=1e-12) == pytest.approx(1, abs=0.01)
        )
        assert store.search("silver", legs="lexical")[0].relevance > 0.9  # two hundred times: as good as ever so often
        missed = store.search("silver unheard unseen", legs="lexical")[0].relevance
        assert missed < 0.3  # most of the query is nowhere
        first = store.search("copper", legs="hybrid", fusion=ReciprocalRank())[0]
        assert (first.id, first.relevance) == ("b", pytest.approx(1))
        assert store.search("copper", legs="hybrid", fusion=WeightedSum())[0].relevance == pytest.approx(1)


def test_inner_products_have_no_relevance_and_their_own_weight(dot):
    for query in QUERIES:
        vector = WordEncoder(64).encode_query([query])[0]
        hits = dot.search(vector, k=60, n_candidates=1000)
        assert {hit.relevance for hit in hits} == {None}
        spread = hits[0].score - hits[-1].score
        fused = dot.search(vector, k=60, text=query, legs="hybrid", n_candidates=1000)
        assert {hit.relevance for hit in fused} == {None}
        same = dot.search(vector, k=60, text=query, legs="hybrid", fusion=IdfCoverage(spread), n_candidates=1000)
        assert [(hit.id, hit.score) for hit in fused] == [(hit.id, pytest.approx(hit.score)) for hit in same]
        raised = dot.search(vector, k=60, text=query, legs="lexical")
        assert all(0 < hit.relevance < 1 for hit in raised)


def test_fused_hits_can_be_diverse(store):
    for fusion in FUSIONS:
        options = {"legs": "hybrid", "fusion": fusion, "k": 8}
        plain = store.search("silver river", **options)
        for kind in (Mmr, Coverage):
            assert store.search("silver river", diversity=kind(0), **options) == plain
            diverse = store.search("silver river", diversity=kind(0.9), **options)
            assert len(diverse) == 8
            assert ids_of(diverse) != ids_of(plain)


def test_scores_of_any_scale_are_weighed_against_the_same_cosines(path):
    """Ten copies of the best and two others: ranks, BM25 and logits let the others in as cosines do."""
    with Store.open(path, encoder=WordEncoder(64), lexical="any") as store:
        store.add(["silver river stone"] * 10 + ["silver copper", "silver garden"], ids=[f"s{i}" for i in range(12)])
        logits = Rerank(lambda query, texts: [40.0 * (len(text) > 15) - 20 for text in texts])
        ways = [{"legs": "hybrid", "fusion": fusion} for fusion in FUSIONS] + [{"legs": "lexical"}, {"rerank": logits}]
        for way in ways:
            assert set(ids_of(store.search("silver river", k=3, **way))) <= {f"s{i}" for i in range(10)}
            diverse = ids_of(store.search("silver river", k=3, diversity=Mmr(0.7), **way))
            assert len({"s10", "s11"} & set(diverse)) == 2, way


def test_a_reranker_that_knows_its_scale_gives_relevances(store):
    class Model:
        """As a sentence-transformers `CrossEncoder` that ends in what `activation_fn` is."""

        def predict(self, pairs, batch_size, show_progress_bar):
            return np.array([len(text) / 100 for _, text in pairs], dtype=np.float32)

    class Sigmoid:
        pass

    model = Model()
    for hit in store.search("silver", k=5, rerank=Rerank(model)):
        assert hit.relevance == pytest.approx(1 / (1 + math.exp(-hit.score)))
    model.activation_fn = Sigmoid()
    for hit in store.search("silver", k=5, rerank=Rerank(model)):
        assert hit.relevance == pytest.approx(hit.score)
    for hit in store.search("silver", k=5, rerank=lambda query, texts: [len(text) / 100 for text in texts]):
        assert hit.relevance is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": ReciprocalRank()}, "fusion is of both legs, and legs is 'dense'"),
        ({"fusion": IdfCoverage(), "legs": "lexical"}, "fusion is of both legs, and legs is 'lexical'"),
        ({"fusion": "rrf", "legs": "hybrid"}, "fusion is 'rrf', expected binrag.IdfCoverage"),
        ({"fusion": ReciprocalRank, "legs": "hybrid"}, "fusion is <class"),
        ({"explain": 1}, "explain is 1, expected True or False"),
        ({"explain": None}, "explain is None, expected True or False"),
        ({"diversity": 0.5}, "diversity is 0.5, expected binrag.Mmr"),
    ],
)
def test_what_has_no_meaning_is_refused(store, options, message):
    with pytest.raises(InvalidInput, match=message):
        store.search("silver", **options)
    with pytest.raises(InvalidInput, match=message):
        store.search_batch(["silver"], **options)


@pytest.mark.parametrize("legs", ["lexical", "hybrid"])
def test_a_store_without_texts_says_so(path, legs):
    with Store.open(path, dim=64, lexical="en") as store:
        vector = vectors_of(1, 64)[0]
        assert store.search(vector, text="silver", legs=legs) == []  # nothing is there at all
        store.add(vectors=vectors_of(5, 64), ids=list("abcde"))
        with pytest.raises(UnsupportedMode, match="no document of the store has a text with words"):
            store.search(vector, text="silver", legs=legs)
        store.add(["silver"], vectors=vector[None], ids=["f"])
        assert "f" in ids_of(store.search(vector, text="silver", legs=legs))
        store.delete(["f"])
        with pytest.raises(UnsupportedMode, match="no document of the store has a text with words"):
            store.search(vector, text="silver", legs=legs)
        store.delete(list("abcde"))
        assert store.search(vector, text="silver", legs=legs) == []
