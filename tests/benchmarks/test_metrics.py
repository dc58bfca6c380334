import sys

import numpy as np
import pytest

from benchmarks import metrics
from binrag.errors import MissingDependency


def rows(*values):
    return np.array(values, dtype=np.int64)


def ndcg_by_hand(grades, ideal):
    """Linear gain over log2(rank + 1), cut at 10; `grades` in the order of the ranking."""

    def dcg(values):
        return sum(value / np.log2(rank + 2) for rank, value in enumerate(values[:10]))

    return dcg(grades) / dcg(sorted(ideal, reverse=True))


def test_judge_agrees_with_the_formula():
    doc_ids = [f"d{i}" for i in range(20)]
    qrels = {"q": {"d3": 3, "d5": 1, "d7": 2, "d9": 0}, "r": {"d0": 1}, "s": {"d19": 1}}
    rankings = [rows(9, 5, 3, 1), rows(*range(1, 11), 0), rows(4, 19)]
    judged = metrics.judge(qrels, ["q", "r", "s"], doc_ids, rankings)
    expected = [ndcg_by_hand([0, 1, 3, 0], [3, 1, 2]), 0.0, 1 / np.log2(3)]
    np.testing.assert_allclose(judged.ndcg, expected, rtol=1e-6)
    np.testing.assert_allclose(judged.mrr, [1 / 2, 1 / 11, 1 / 2], rtol=1e-6)


def test_judge_follows_the_order_of_the_rows_not_their_names():
    doc_ids = ["z", "a"]
    for first, second, expected in [(0, 1, 1.0), (1, 0, 1 / 2)]:
        judged = metrics.judge({"q": {"z": 1}}, ["q"], doc_ids, [rows(first, second)])
        assert judged.mrr.tolist() == [expected]


def test_an_empty_ranking_counts_as_zero():
    judged = metrics.judge({"q": {"a": 1}, "r": {"a": 1}}, ["q", "r"], ["a"], [rows(), rows(0)])
    assert judged.ndcg.tolist() == [0.0, 1.0]
    assert judged.mrr.tolist() == [0.0, 1.0]


def test_judge_names_the_package_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytrec_eval", None)
    with pytest.raises(MissingDependency, match="pytrec_eval-terrier"):
        metrics.judge({"q": {"a": 1}}, ["q"], ["a"], [rows(0)])


def test_recall_is_the_share_of_the_exact_top_k():
    exact = [rows(1, 2, 3, 4), rows(5, 6, 7, 8)]
    found = [rows(2, 1, 9, 3), rows(8, 7, 6, 5)]
    assert metrics.recall(found, exact, 2).tolist() == [1.0, 0.0]
    assert metrics.recall(found, exact, 4).tolist() == [0.75, 1.0]


def test_recall_with_fewer_rows_than_k():
    assert metrics.recall([rows(1, 0)], [rows(0, 1)], 10).tolist() == [1.0]
    assert metrics.recall([rows(1)], [rows(0, 1)], 10).tolist() == [0.5]


def test_resampled_ratios_are_paired():
    reference = np.random.default_rng(1).random(50)
    np.testing.assert_allclose(metrics.resampled_ratios(0.5 * reference, reference), 0.5, rtol=1e-12)


def test_resampled_ratios_match_drawing_queries_one_by_one():
    rng = np.random.default_rng(2)
    reference = rng.random(200)
    values = reference * rng.uniform(0.6, 1.2, 200)
    got = metrics.interval(metrics.resampled_ratios(values, reference, n_resamples=4000))
    draws = rng.integers(0, 200, size=(4000, 200))
    expected = metrics.interval(values[draws].mean(axis=1) / reference[draws].mean(axis=1))
    np.testing.assert_allclose(got, expected, atol=0.005)
    assert got[0] < values.mean() / reference.mean() < got[1]


def test_resampled_ratios_depend_on_the_seed_alone():
    values, reference = np.random.default_rng(3).random((2, 30))
    first = metrics.resampled_ratios(values, reference, seed=5)
    assert first.shape == (2000,)
    np.testing.assert_array_equal(first, metrics.resampled_ratios(values, reference, seed=5))
    assert not np.array_equal(first, metrics.resampled_ratios(values, reference, seed=6))


@pytest.mark.parametrize("shapes", [(3, 4), (0, 0)])
def test_resampled_ratios_refuse_unequal_or_empty_arrays(shapes):
    with pytest.raises(ValueError, match="equally long, non-empty"):
        metrics.resampled_ratios(np.ones(shapes[0]), np.ones(shapes[1]))


def test_interval_holds_the_central_share():
    assert metrics.interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
