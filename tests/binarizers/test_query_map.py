"""The map of queries: its loss, what a fit gains on queries to come, and where it does nothing."""

import numpy as np
import pytest

from binrag.binarizers import query_map
from binrag.binarizers.query_map import N_EPOCHS, Rivals, fitted_map, loss

DIM = 24


def draw(n, seed, scales=None):
    scales = (1 + np.arange(DIM)) ** -0.5 if scales is None else scales
    return (np.random.default_rng(seed).standard_normal((n, DIM)) * scales).astype(np.float32)


def plain_loss(found, queries, scores, rows, decoded):
    """Query by query, row by row: the variance of f ⟨M q, ŷ⟩ − ⟨q, y⟩ where f = ‖y‖² / ⟨M y, ŷ⟩."""
    variances = []
    for i, q in enumerate(queries):
        errors = []
        for k, score in enumerate(scores[i]):
            y, y_hat = rows[i * scores.shape[1] + k], decoded[i * scores.shape[1] + k]
            product = (found @ y) @ y_hat
            factor = y @ y / product if product > 0 else 0.0
            errors.append(factor * ((found @ q) @ y_hat) - score)
        variances.append(np.var(errors))
    return np.mean(variances)


def pairs(n_queries=5, n_rivals=7):
    """Doubles, some rows of which decode to the other side."""
    queries, rows = draw(n_queries, 0).astype(float), draw(n_queries * n_rivals, 1).astype(float)
    decoded = 0.8 * rows + 0.3 * draw(len(rows), 2)
    decoded[3] = -decoded[3]
    scores = np.einsum("qd,qkd->qk", queries, rows.reshape(n_queries, n_rivals, DIM))
    found = np.eye(DIM) + 0.05 * np.random.default_rng(3).standard_normal((DIM, DIM))
    return found, queries, scores, rows, decoded


def test_the_loss_is_that_of_the_definition():
    arguments = pairs()
    assert loss(*arguments)[0] == pytest.approx(plain_loss(*arguments), rel=1e-12)


def test_the_slope_is_that_of_the_loss():
    found, *others = pairs()
    slope = loss(found, *others)[1]
    for i, j in [(0, 0), (0, 5), (7, 2), (23, 23), (11, 12)]:
        step = np.zeros_like(found)
        step[i, j] = 1e-6
        difference = plain_loss(found + step, *others) - plain_loss(found - step, *others)
        assert slope[i, j] == pytest.approx(difference / 2e-6, rel=1e-5, abs=1e-9)


def test_a_row_that_decodes_to_the_other_side_scores_nothing():
    """Its factor is 0, and the map is not drawn to it."""
    found, queries, scores, rows, decoded = pairs(1, 4)
    decoded = np.tile(-found @ rows[0], (4, 1))
    rows = np.tile(rows[0], (4, 1))
    value, slope = loss(found, queries, scores, rows, decoded)
    assert value == pytest.approx(np.var(scores))
    assert not slope.any()


def test_rivals_are_the_rows_of_the_best_scores(monkeypatch):
    monkeypatch.setattr(query_map, "_CHUNK", 7)
    rows, queries = draw(300, 0), draw(20, 1)
    rivals = Rivals.find(rows, queries)
    exact = queries @ rows.T
    assert rivals.rows.shape == rivals.scores.shape == (20, query_map.N_RIVALS)
    for scores, numbers, own in zip(exact, rivals.rows, rivals.scores, strict=True):
        assert set(numbers) == set(np.argsort(-scores)[: query_map.N_RIVALS])
        assert own == pytest.approx(scores[numbers], rel=1e-5)


def test_fewer_rows_than_rivals_are_all_of_them():
    rivals = Rivals.find(draw(9, 0), draw(3, 1))
    assert np.array_equal(np.sort(rivals.rows, axis=1), np.tile(np.arange(9), (3, 1)))


def shrunk(rows):
    """What coarse codes decode to: nearer to the mean along some axes, and noise."""
    shares = np.linspace(0.95, 0.3, DIM, dtype=np.float32)
    return rows * shares + 0.15 * draw(len(rows), 7)


def mean_variance(found, queries, rows):
    rivals = Rivals.find(rows, queries)
    return plain_loss(found, queries, rivals.scores, *(of[rivals.rows.reshape(-1)] for of in (rows, shrunk(rows))))


def test_scores_of_queries_to_come_get_nearer():
    """By undoing what decoding draws to the mean: axes that shrink more weigh more."""
    rows = draw(2000, 0)
    found = fitted_map(rows, shrunk(rows), Rivals.find(rows, draw(6400, 1)), 0)
    queries = draw(40, 5)
    assert mean_variance(found, queries, rows) < 0.95 * mean_variance(np.eye(DIM), queries, rows)
    weights = np.diagonal(found)
    assert np.corrcoef(weights, np.arange(DIM))[0, 1] > 0.7


def test_exact_codes_leave_the_identity():
    rows = draw(500, 0)
    found = fitted_map(rows, rows, Rivals.find(rows, draw(320, 1)), 0)
    assert np.array_equal(found, np.eye(DIM))


def test_fewer_queries_than_a_batch_leave_the_identity():
    rows = draw(100, 0)
    assert np.array_equal(fitted_map(rows, shrunk(rows), Rivals.find(rows, draw(31, 1)), 0), np.eye(DIM))


def test_seeds_shuffle_and_epochs_are_reported():
    rows, calls = draw(500, 0), []
    rivals = Rivals.find(rows, draw(640, 1))
    one, again, other = (fitted_map(rows, shrunk(rows), rivals, seed, lambda: calls.append(1)) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len(calls) == 3 * N_EPOCHS
