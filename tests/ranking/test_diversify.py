"""Maximal marginal relevance and coverage: as the slow references, LangChain's own, and all choices that there are."""

from itertools import combinations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from binrag import Coverage, InvalidInput, Mmr
from binrag.ranking.diversify import coverage, mmr


def candidates(seed, n, dim):
    """Vectors on a small lattice, where sums are exact and ties frequent, and their scores, best first."""
    draw = np.random.default_rng(seed)
    vectors = draw.integers(-2, 3, size=(n, dim)).astype(np.float32)
    scores = vectors.astype(np.float64) @ draw.integers(-2, 3, size=dim)
    order = np.argsort(-scores, kind="stable")
    return scores[order], vectors[order]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(1, 4), st.integers(1, 14), st.integers(0, 4))
def test_it_is_the_reference(seed, n, dim, k, quarters):
    scores, vectors = candidates(seed, n, dim)
    assert mmr(scores, vectors, k, quarters / 4).tolist() == reference.mmr(scores, vectors, k, quarters / 4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 14))
def test_without_diversity_it_is_the_order_of_the_scores(seed, n, k):
    scores, vectors = candidates(seed, n, 3)
    assert mmr(scores, vectors, k, 0.0).tolist() == list(range(min(k, n)))


@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_it_chooses_as_langchain_does(weight):
    langchain = pytest.importorskip("langchain_core.vectorstores.utils")
    draw = np.random.default_rng(4)
    vectors = reference.unit(draw.standard_normal((20, 6)) + 1).astype(np.float32)
    query = reference.unit(draw.standard_normal((1, 6)))[0]
    scores = vectors.astype(np.float64) @ query
    order = np.argsort(-scores)
    expected = langchain.maximal_marginal_relevance(query, [vectors[i] for i in order], lambda_mult=weight, k=8)
    assert mmr(scores[order], vectors[order], 8, 1 - weight).tolist() == [int(i) for i in expected]


def around(seed, n, dim):
    """Unit vectors around a few topics, and their scores, best first."""
    draw = np.random.default_rng(seed)
    topics = draw.standard_normal((3, dim))
    vectors = reference.unit(topics[draw.integers(3, size=n)] + 0.5 * draw.standard_normal((n, dim)))
    scores = vectors @ reference.unit(topics.sum(axis=0, keepdims=True))[0]
    order = np.argsort(-scores, kind="stable")
    return scores[order], vectors[order].astype(np.float32)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 14), st.integers(0, 4))
def test_coverage_is_the_reference(seed, n, k, quarters):
    scores, vectors = around(seed, n, 4)
    found = coverage(scores, vectors, k, quarters / 4).tolist()
    expected = reference.coverage(scores, vectors, k, quarters / 4)
    worth = [reference.coverage_objective(scores, vectors, own, k, quarters / 4) for own in (found, expected)]
    assert len(set(found)) == min(n, k)
    assert worth[0] == pytest.approx(worth[1], abs=1e-6)
    if quarters < 4:  # with a share of the scores there are no ties
        assert found == expected


def test_coverage_of_nothing_or_of_equals():
    assert coverage(np.zeros(0), np.zeros((0, 3), np.float32), 5, 0.5).tolist() == []
    assert coverage(np.ones(4), np.ones((4, 3), np.float32), 3, 0.5).tolist() == [0, 1, 2]
    assert coverage(np.ones(3), np.zeros((3, 3), np.float32), 2, 1.0).tolist() == [0, 1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 14))
def test_coverage_without_diversity_is_the_order_of_the_scores(seed, n, k):
    scores, vectors = candidates(seed, n, 3)
    assert coverage(scores, vectors, k, 0.0).tolist() == list(range(min(k, n)))


@pytest.mark.parametrize("diversity", [0.2, 0.5, 0.8, 1.0])
def test_greedy_coverage_comes_near_to_the_best_choice(diversity):
    """Of 15 candidates, against all choices of 4."""
    for seed in range(10):
        scores, vectors = around(seed, 15, 6)
        greedy = reference.coverage_objective(scores, vectors, coverage(scores, vectors, 4, diversity), 4, diversity)
        best = max(
            reference.coverage_objective(scores, vectors, some, 4, diversity) for some in combinations(range(15), 4)
        )
        assert greedy >= 0.95 * best


@pytest.mark.parametrize("kind", [Mmr, Coverage])
@pytest.mark.parametrize(
    "fields",
    [{"diversity": -0.1}, {"diversity": 1.1}, {"diversity": "much"}, {"diversity": float("nan")}]
    + [{"n_pool": n} for n in (0, 2.5, True)],
)
def test_numbers_out_of_range_are_refused(kind, fields):
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        kind(**fields)
