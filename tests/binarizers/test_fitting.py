"""What fitting shares, against its formulas."""

import numpy as np
import pytest
from fakes import vectors_of

from binrag.binarizers import fitting
from binrag.binarizers.fitting import QuerySpace
from binrag.errors import DimensionMismatch, InvalidInput, InvalidVector, TrainingError


def skewed(n, dim, seed=0):
    return vectors_of(n, dim, seed) / np.float32((1 + np.arange(dim)) ** 0.5) + np.float32(0.3)


def test_squared_error_in_query_space_is_the_expected_error_of_scores():
    queries, errors = 3 * skewed(500, 64, seed=1), vectors_of(20, 64, seed=2)
    space = QuerySpace.fit(skewed(300, 64), queries, alpha=0.75)
    doubles = queries.astype(float)
    of_queries = ((errors @ doubles.T) ** 2).mean(axis=1) / (doubles**2).sum(axis=1).mean()
    expected = 0.75 * of_queries + 0.25 * (errors.astype(float) ** 2).mean(axis=1)
    assert ((errors @ space.root) ** 2).sum(axis=1) == pytest.approx(expected, rel=1e-4)


def test_products_are_kept_in_query_space():
    rows, queries = skewed(300, 64), skewed(500, 64, seed=1)
    space = QuerySpace.fit(rows, queries)
    assert space.mean == pytest.approx(rows.astype(float).mean(axis=0), abs=1e-6)
    assert (queries @ space.inverse) @ space.rows(rows).T == pytest.approx(
        queries @ (rows - space.mean).T, rel=1e-3, abs=1e-3
    )
    assert (space.root == pytest.approx(space.root.T, abs=1e-6)) and space.root.dtype == np.float32


def test_without_queries_rows_stand_in():
    rows = skewed(3000, 64)
    without, given = QuerySpace.fit(rows, seed=4), QuerySpace.fit(rows, fitting.stand_in_queries(rows, 4))
    assert np.array_equal(without.root, given.root)
    assert len(np.unique(fitting.stand_in_queries(rows, 4), axis=0)) == fitting.N_STAND_INS
    assert np.array_equal(fitting.stand_in_queries(rows[:50]), rows[:50])


@pytest.mark.parametrize(
    ("queries", "error"),
    [
        (np.ones((9, 63), np.float32), DimensionMismatch),
        (np.full((9, 64), np.nan, np.float32), InvalidVector),
        (np.zeros((9, 64), np.float32), InvalidVector),
    ],
)
def test_queries_that_say_nothing(queries, error):
    with pytest.raises(error, match="queries"):
        QuerySpace.fit(skewed(300, 64), queries)


def test_principal_axes():
    turn = np.linalg.qr(vectors_of(64, 64))[0]
    rows = vectors_of(20_000, 64, seed=1) * np.float32(1.5 ** -np.arange(64)) @ turn + np.float32(5)
    variances, axes = fitting.principal_axes(rows)
    assert variances[:10] == pytest.approx(2.25 ** -np.arange(10.0), rel=0.1)
    assert np.abs((axes.T @ turn.T)[:5, :5]) == pytest.approx(np.eye(5), abs=0.05)
    assert axes.T @ axes == pytest.approx(np.eye(64), abs=1e-5)
    assert (axes[np.abs(axes).argmax(axis=0), np.arange(64)] > 0).all()
    assert np.array_equal(fitting.principal_axes(-rows)[1], axes)


def test_least_squares_finds_the_decoder():
    decoder, signs = vectors_of(12, 64), np.sign(vectors_of(3000, 12, seed=1))
    assert fitting.least_squares(signs, signs @ decoder, ridge=1e-9) == pytest.approx(decoder, abs=1e-4)
    doubled = fitting.least_squares(np.hstack((signs, signs)), signs @ decoder)
    assert doubled[:12] + doubled[12:] == pytest.approx(decoder, abs=0.02)


def test_rows_that_nothing_can_be_learned_from():
    rows = skewed(100, 64)
    assert fitting.checked_rows(rows, 100) is rows
    with pytest.raises(TrainingError, match="100 rows are too few to fit on, 101 are needed"):
        fitting.checked_rows(rows, 101)
    with pytest.raises(TrainingError, match="all 100 rows are equal"):
        fitting.checked_rows(np.ones((100, 64), np.float32), 10)
    with pytest.raises(InvalidInput, match="the dimension is 63"):
        fitting.checked_rows(rows[:, :63], 10)
    with pytest.raises(InvalidVector, match=r"shape \(64,\)"):
        fitting.checked_rows(rows[0], 10)
    rows[41, 3] = np.inf
    with pytest.raises(InvalidVector, match="row 41"):
        fitting.checked_rows(rows, 10)


@pytest.mark.parametrize(("dim", "least", "most"), [(64, 10, 66), (384, 26, 386), (1000, 65, 1002)])
def test_code_bytes_from_a_sixteenth_to_one_byte_a_dimension(dim, least, most):
    assert fitting.checked_code_bytes(least, dim) == least - 2
    assert fitting.checked_code_bytes(most, dim) == most - 2
    for code_bytes in (least - 1, most + 1):
        with pytest.raises(
            InvalidInput, match=f"code_bytes is {code_bytes}, .* {dim} dimensions take {least} to {most}"
        ):
            fitting.checked_code_bytes(code_bytes, dim)
