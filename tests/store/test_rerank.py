"""Hits ordered by a reranker, and hits above a score."""

import numpy as np
import pytest
from fakes import WordEncoder, WordTokenEncoder, ids_of, sentences

from binrag import Coverage, InvalidInput, InvalidVector, Mmr, Rerank, Store

TEXTS = sentences(80)
IDS = [f"d{i}" for i in range(80)]


@pytest.fixture(params=[WordEncoder, WordTokenEncoder])
def store(request, path):
    with Store.open(path, encoder=request.param(64)) as store:
        store.add(TEXTS, ids=IDS, metadata=[{"n": i} for i in range(80)])
        yield store


def number(query, texts):
    """The number at a text's end."""
    return [float(text.split()[-1]) for text in texts]


def test_the_best_hits_are_ordered_by_the_reranker(store):
    plain = store.search("silver river", k=80)
    for n_pool in (5, 20, 200):
        pool = plain[:n_pool]
        expected = sorted(pool, key=lambda hit: -float(hit.text.split()[-1]))
        found = store.search("silver river", k=5, rerank=Rerank(number, n_pool))
        assert ids_of(found) == ids_of(expected)[:5]
        assert [hit.score for hit in found] == [float(hit.text.split()[-1]) for hit in found]
    assert store.search("silver river", k=5, rerank=number) == store.search("silver river", k=5, rerank=Rerank(number))
    assert len(store.search("silver river", k=30, rerank=Rerank(number, 10))) == 30


def test_diversity_chooses_from_its_own_pool_of_the_reranked(store):
    first = ids_of(store.search("silver river", k=8, rerank=Rerank(number, 40)))
    for kind in (Mmr, Coverage):
        found = store.search("silver river", k=6, rerank=Rerank(number, 40), diversity=kind(1.0, n_pool=8))
        assert set(ids_of(found)) <= set(first)
        assert len(found) == 6


def test_ties_stay_in_the_order_of_the_search(store):
    found = store.search("silver river", k=20, rerank=lambda query, texts: np.zeros(len(texts)))
    assert ids_of(found) == ids_of(store.search("silver river", k=20))


def test_each_query_is_reranked_with_its_own_texts(store):
    seen = []

    def spy(query, texts):
        seen.append((query, len(texts)))
        return number(query, texts)

    batch = store.search_batch(["silver", "copper"], k=3, where={"n": {"$lt": 10}}, rerank=spy)
    assert seen == [("silver", 10), ("copper", 10)]
    assert [ids_of(hits) for hits in batch] == [["d9", "d8", "d7"]] * 2
    assert store.search("silver", where={"n": -1}, rerank=spy) == []


def test_hits_are_diverse_after_they_were_reranked(store):
    reranked = store.search("silver", k=5, rerank=Rerank(number, 40))
    for kind in (Mmr, Coverage):
        assert store.search("silver", k=5, rerank=Rerank(number, 40), diversity=kind(0.0, 40)) == reranked
        found = store.search("silver", k=5, rerank=lambda q, texts: [0.5] * len(texts), diversity=kind(0.5))
        assert len({hit.id for hit in found}) == 5


def test_all_above_a_score_at_most_k(store):
    plain = store.search("silver river", k=80)
    limit = plain[7].score
    assert store.search("silver river", k=80, min_score=limit) == plain[:8]
    assert store.search("silver river", k=3, min_score=limit) == plain[:3]
    assert store.search("silver river", k=80, min_score=2) == []
    assert len(store.search("silver river", k=80, rerank=Rerank(number, 80), min_score=70)) == 10


def test_bad_input(store):
    with pytest.raises(InvalidVector, match="expected a finite number for each"):
        store.search("silver", rerank=lambda query, texts: [1.0])
    store.add([None], vectors=[np.ones((1, 64)) if store.info().late_interaction else np.ones(64)], ids=["no text"])
    with pytest.raises(InvalidInput, match="document 'no text' has no text for a reranker"):
        store.search("silver", rerank=Rerank(number, 100))
    with pytest.raises(InvalidInput, match="rerank reads the text of a query"):
        store.search(np.ones((1, 64)), rerank=number)
    for n_pool in (0, 2.5, True):
        with pytest.raises(InvalidInput, match="n_pool"):
            Rerank(number, n_pool)
    for reranker in (3, []):
        with pytest.raises(InvalidInput, match="the reranker is a"):
            store.search("silver", rerank=reranker)
    for score in ("high", float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="min_score"):
            store.search("silver", min_score=score)
