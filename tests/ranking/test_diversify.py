"""Maximal marginal relevance: as the slow reference, and as LangChain's own."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from binrag import InvalidInput, Mmr
from binrag.ranking.diversify import mmr


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


@pytest.mark.parametrize(
    "fields",
    [{"diversity": -0.1}, {"diversity": 1.1}, {"diversity": "much"}, {"diversity": float("nan")}]
    + [{"n_pool": n} for n in (0, 2.5, True)],
)
def test_numbers_out_of_range_are_refused(fields):
    with pytest.raises(InvalidInput, match=next(iter(fields))):
        Mmr(**fields)
