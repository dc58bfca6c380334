"""Stages of additive codes: their start, their codes, and how codewords are refitted to rows."""

from functools import cache

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers import codebooks
from binrag.binarizers.codebooks import Stage, fitted_stage, grouped_axes, refitted
from binrag.binarizers.fitting import principal_axes

DIM = 40
CASES = pytest.mark.parametrize(("n_bytes", "are_grouped"), [(3, False), (4, True), (5, False), (6, True)])
ALL_CASES = pytest.mark.parametrize(("n_bytes", "are_grouped"), [(4, True), (5, False), (13, False), (40, True)])


@cache
def rows(n=1500, seed=0, n_bytes=None):
    """Correlated rows; with a number of bytes, in the order of axes that suits a stage of so many."""
    turn = np.linalg.qr(vectors_of(DIM, DIM, seed=99))[0]
    found = (vectors_of(n, DIM, seed) / np.float32((1 + np.arange(DIM)) ** 0.7)) @ turn
    found = found.astype(np.float32)
    return found if n_bytes is None else (found @ grouped_axes(rows(), n_bytes)).astype(np.float32)


@cache
def started(n_bytes, are_grouped):
    return Stage.start(own_rows(n_bytes, are_grouped), n_bytes, 3, are_grouped=are_grouped)


@cache
def fitted(n_bytes, are_grouped):
    return fitted_stage(own_rows(n_bytes, are_grouped), started(n_bytes, are_grouped), 3, 1.0)[0]


@cache
def fitted_for_others(n_bytes, are_grouped):
    vectors, first = own_rows(n_bytes, are_grouped), started(n_bytes, are_grouped)
    return fitted_stage(vectors, first, 3, 1.0, refit_decoder=False)[0]


def own_rows(n_bytes, are_grouped, n=1500, seed=0):
    return rows(n, seed, n_bytes if are_grouped else None)


def error(stage, vectors, codes=None):
    codes = stage.code(vectors) if codes is None else codes
    return ((vectors - reference.decoded_bytes(codes, stage.codewords)) ** 2).sum()


@ALL_CASES
def test_it_starts_with_groups_of_coordinates(n_bytes, are_grouped):
    """Codewords are the groups' means, turned back; codes the nearest of them, and the nearest to the rest."""
    stage, vectors = started(n_bytes, are_grouped), own_rows(n_bytes, are_grouped, 200, 1)
    size = min(8, DIM // n_bytes)
    assert (stage.n_bytes, stage.starts.shape) == (n_bytes, (n_bytes, 2, size, 16))
    assert stage.codewords.shape == (32 * n_bytes, DIM)
    assert (stage.rotation is None) == are_grouped
    rotation = np.eye(DIM)[:, : n_bytes * size] if are_grouped else stage.rotation.astype(float)
    assert rotation.T @ rotation == pytest.approx(np.eye(n_bytes * size), abs=1e-5)
    groups = (vectors @ rotation).reshape(len(vectors), n_bytes, size)
    codes = stage.start_codes(vectors)
    assert (codes == reference.product_codes(groups, stage.starts)).mean() > 0.999
    for p in range(n_bytes):
        own = rotation[:, p * size : (p + 1) * size]
        expected = np.concatenate([stage.starts[p, half].T @ own.T for half in (0, 1)])
        assert stage.codewords[32 * p : 32 * p + 32] == pytest.approx(expected, abs=1e-5)


def test_means_are_those_of_their_rows():
    """A low half has the means of the rows nearest to them, a high half those of what is left."""
    vectors = own_rows(5, True)
    stage, size = started(5, True), 8
    codes = stage.start_codes(vectors)
    for p in range(5):
        left = vectors[:, p * size : (p + 1) * size]
        for half, values in enumerate((codes[:, p] % 16, codes[:, p] // 16)):
            own = stage.starts[p, half].T
            off = np.linalg.norm([left[values == v].mean(axis=0) - own[v] for v in range(16)], axis=1)
            assert off.mean() < 0.1 * np.linalg.norm(own, axis=1).mean()  # after a few rounds
            left = left - own[values]


@ALL_CASES
def test_a_row_alone_has_the_code_it_has_in_a_batch(n_bytes, are_grouped):
    stage, vectors = fitted(n_bytes, are_grouped), own_rows(n_bytes, are_grouped, 1100, 2)
    codes = stage.code(vectors)
    for part in (slice(0, 1), slice(7, 8), slice(5, 40), slice(1020, 1030), slice(1099, 1100), slice(0, 0)):
        assert np.array_equal(stage.code(vectors[part]), codes[part])


@ALL_CASES
@pytest.mark.parametrize("make", [fitted, fitted_for_others])
def test_it_comes_back_from_its_config(make, n_bytes, are_grouped):
    stage, vectors = make(n_bytes, are_grouped), own_rows(n_bytes, are_grouped, 100, 2)
    config = msgpack.unpackb(msgpack.packb(stage.get_config()))
    again = Stage.from_config(config, DIM)
    assert again.get_config() == stage.get_config()
    assert np.array_equal(again.codewords, stage.codewords)
    assert np.array_equal(again.choosing, stage.choosing)
    assert np.array_equal(again.starts, stage.starts)
    assert np.array_equal(again.code(vectors), stage.code(vectors))


@CASES
def test_codes_are_subtracted(n_bytes, are_grouped):
    stage, vectors = fitted(n_bytes, are_grouped), own_rows(n_bytes, are_grouped, 50, 2)
    codes, left = stage.code(vectors), vectors.copy()
    stage.subtract(left, codes)
    assert left == pytest.approx(vectors - reference.decoded_bytes(codes, stage.codewords), abs=1e-5)


@CASES
@pytest.mark.parametrize("ridge", [0.5, 30.0])
def test_refitted_codewords_are_those_of_least_squares(n_bytes, are_grouped, ridge):
    """min ‖Y − Z C‖² + ridge ‖C − C₀‖² over the codewords C of codes Z, by its normal equations."""
    stage, vectors = started(n_bytes, are_grouped), own_rows(n_bytes, are_grouped)
    codes = stage.start_codes(vectors)
    chosen = np.zeros((len(vectors), 32 * n_bytes))
    for i, code in enumerate(codes):
        chosen[i, reference.codeword_numbers(code)] = 1
    matrix = np.vstack([chosen, np.sqrt(ridge) * np.eye(32 * n_bytes)])
    goals = np.vstack([vectors, np.sqrt(ridge) * stage.codewords])
    found = refitted(vectors, codes, stage.codewords, ridge)
    assert found == pytest.approx(np.linalg.lstsq(matrix, goals)[0], abs=1e-4)
    assert error(stage.decoded_by(found), vectors, codes) < error(stage, vectors, codes)


@CASES
def test_codes_decode_to_codewords_refitted_to_them(n_bytes, are_grouped):
    """Codes are the same without; rows fitted to come nearer; the codes that fitting returns are those of the stage."""
    vectors = own_rows(n_bytes, are_grouped)
    plain, stage = fitted_for_others(n_bytes, are_grouped), fitted(n_bytes, are_grouped)
    codes = stage.code(vectors)
    assert plain.codewords is plain.choosing
    assert np.array_equal(stage.choosing, plain.choosing)
    assert np.array_equal(plain.code(vectors), codes)
    assert np.array_equal(fitted_stage(vectors, started(n_bytes, are_grouped), 3, 1.0)[1], codes)
    expected = refitted(vectors, codes, plain.choosing, 1.0)
    assert stage.codewords == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert error(stage, vectors, codes) < 0.999 * error(plain, vectors, codes)


@CASES
def test_improved_codes_come_nearer(n_bytes, are_grouped, monkeypatch):
    stage, vectors = started(n_bytes, are_grouped), own_rows(n_bytes, are_grouped)
    before = stage.start_codes(vectors)
    given = before.copy()
    after = stage.improved(vectors, before)
    assert np.array_equal(before, given)
    errors = [((vectors - reference.decoded_bytes(c, stage.codewords)) ** 2).sum(axis=1) for c in (before, after)]
    assert (errors[1] <= 1.001 * errors[0] + 1e-4).all()
    assert errors[1].sum() < errors[0].sum()
    monkeypatch.setattr(codebooks, "SWEEPS", codebooks.ROUND_SWEEPS)
    assert (after == stage.code(vectors)).mean() > 0.99  # but for what BLAS rounds


@CASES
def test_refitting_lowers_the_error(n_bytes, are_grouped):
    """Of the rows fitted to, and of others; every turn counts once."""
    vectors, others = own_rows(n_bytes, are_grouped, 6000, 6), own_rows(n_bytes, are_grouped, 500, 4)
    turns = []
    stages = [started(n_bytes, are_grouped)]
    stages += [fitted_stage(vectors, stages[0], n, 1.0, lambda: turns.append(1))[0] for n in (1, 6)]
    assert len(turns) == 7
    errors = [error(stage, vectors) for stage in stages]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.93 * errors[0]
    assert error(stages[2], others) < 0.99 * error(stages[0], others)


def test_fitted_parameters_fit_half_precision():
    stage = fitted(5, False)
    for array in (stage.rotation, stage.starts, stage.codewords):
        assert array.dtype == np.float32
        assert np.array_equal(array, array.astype(np.float16).astype(np.float32))
    widest = np.abs(stage.choosing).max(axis=0)
    steps = stage.choosing * (127 / widest)  # what choosing is by: a signed byte, and a step size a coordinate
    assert np.abs(steps - np.rint(steps)).max() < 1e-4
    assert np.unique(np.rint(steps)).size > 200


@CASES
def test_a_turned_stage_codes_turned_rows_alike(n_bytes, are_grouped):
    stage, vectors = fitted(n_bytes, are_grouped), own_rows(n_bytes, are_grouped, 300, 5)
    turn = np.linalg.qr(vectors_of(DIM, DIM, seed=7))[0]
    turned = stage.turned(turn, turn.T)
    codes = turned.code((vectors @ turn).astype(np.float32))
    assert (codes == stage.code(vectors)).mean() > 0.97  # of bytes that are no near ties
    assert error(turned, vectors @ turn, codes) == pytest.approx(error(stage, vectors), rel=0.01)


@pytest.mark.parametrize("n_bytes", [1, 4, 5, 13, 40])
def test_groups_of_axes_are_principal_and_balanced(n_bytes):
    vectors, size = rows(), min(8, DIM // n_bytes)
    axes = grouped_axes(vectors, n_bytes)
    variances, principal = principal_axes(vectors)
    order = np.abs(principal.T @ axes).argmax(axis=0)
    assert sorted(order) == list(range(DIM))
    assert np.abs(principal[:, order] - axes).max() < 1e-6
    grouped = order[: n_bytes * size]
    assert sorted(grouped) == list(range(n_bytes * size))  # the least variances have no group
    assert (np.diff(order[n_bytes * size :]) > 0).all()
    totals = np.log(variances[grouped]).reshape(n_bytes, size).sum(axis=1)
    if size > 1:
        assert np.ptp(totals) <= np.log(variances[0] / variances[n_bytes * size - 1]) + 1e-6


def test_rows_of_few_values():
    """Means without rows stay where they are; a stage without anything to say has zeros."""
    few = np.repeat(vectors_of(3, DIM), 20, axis=0)
    stage, _ = fitted_stage(few, Stage.start(few, 5, 0), 2, 1.0)
    assert error(stage, few) < 0.05 * (few**2).sum()
    nothing = np.zeros((50, DIM), dtype=np.float32)
    stage, _ = fitted_stage(nothing, Stage.start(nothing, 5, 0), 2, 1.0)
    assert not stage.codewords.any()
    assert stage.code(vectors_of(3, DIM)).shape == (3, 5)
