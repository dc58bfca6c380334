"""Projections: the definition bit for bit, and no row feels its neighbours."""

from fractions import Fraction

import numpy as np
import pytest
import reference
from fakes import vectors_of
from hypothesis import given
from hypothesis import strategies as st

from binrag.kernels.project import dots, project


@pytest.mark.parametrize("m", [1, 8, 15, 16, 17, 48, 100, 368])
@pytest.mark.parametrize("d", [1, 3, 64, 385])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 33])
def test_every_shape_equals_the_definition(n, d, m):
    x, w = vectors_of(n, d, seed=n), vectors_of(d, m, seed=m)
    product = project(x, w)
    assert (product.shape, product.dtype) == ((n, m), np.float32)
    assert np.array_equal(product, reference.projected(x, w))


def test_a_row_alone_in_a_batch_and_from_views():
    x, w = vectors_of(100, 384), vectors_of(384, 200, seed=1)
    together = project(x, w)
    for row in range(100):
        assert np.array_equal(project(x[row : row + 1], w)[0], together[row])
    assert np.array_equal(project(x[3:90], w), together[3:90])
    assert np.array_equal(project(x[::-2], np.asfortranarray(w)), together[::-2])
    assert np.array_equal(project(np.asfortranarray(x), w[:, 50:90]), together[:, 50:90])


def test_it_is_the_matrix_product():
    x, w = vectors_of(50, 300), vectors_of(300, 70, seed=1)
    exact = x.astype(np.float64) @ w.astype(np.float64)
    assert np.abs(project(x, w) - exact).max() < 1e-4


def test_what_is_not_finite_stays_in_its_row():
    x, w = vectors_of(9, 20), vectors_of(20, 33, seed=1)
    expected = project(x, w)
    x[4, 3], x[5, 3] = np.nan, np.inf
    product = project(x, w)
    assert np.isnan(product[4]).all()
    assert np.isinf(product[5]).all()
    others = [0, 1, 2, 3, 6, 7, 8]
    assert np.array_equal(product[others], expected[others])


def rounded(value):
    """A fraction to the nearest float32; of two as near, the one whose last bit is zero."""
    near = np.float32(float(value))
    beside = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    return min((near, *beside), key=lambda x: (abs(Fraction(float(x)) - value), int(x.view(np.uint32)) & 1))


NUMBERS = st.floats(-(2.0**30), 2.0**30, width=32).filter(lambda x: x == 0 or abs(x) > 2.0**-30)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_every_product_is_added_unrounded(pairs):
    """In fractions; the oracle of the other tests is held to them as well."""
    total = np.float32(0)
    for a, b in pairs:
        exact = Fraction(a) * Fraction(b) + Fraction(float(total))
        assert reference.fused(np.float32(a), np.float32(b), total) == rounded(exact)
        total = rounded(exact)
    x, w = np.array(pairs, dtype=np.float32).T
    assert project(x[None], w[:, None])[0, 0] == total


def test_a_sum_half_way_between_two_is_rounded_once():
    """2^24 + 1 + 2^−30 is above the middle of two float32; a double would drop the last part, and round to even."""
    x = np.array([[2.0**24, 1, 2.0**-15]], np.float32)
    assert project(x[:, [0, 2]], np.array([[1], [2.0**-15]], np.float32))[0, 0] == 2.0**24
    a, b = 1 + 2.0**-12, 1 + 2.0**-18  # a b = 1 + 2^−12 + 2^−18 + 2^−30
    assert project(np.array([[2.0**24, a]], np.float32), np.array([[1], [b]], np.float32))[0, 0] == 2.0**24 + 2
    assert project(np.array([[a, -1]], np.float32), np.array([[b], [a]], np.float32))[0, 0] == np.float32(
        float(np.float32(a * b)) - a
    )


@pytest.mark.parametrize("d", [1, 15, 16, 17, 64, 384, 385])
@pytest.mark.parametrize("m", [0, 1, 33])
def test_dots_equal_the_definition(m, d):
    matrix, vector = vectors_of(m, d, seed=m), vectors_of(1, d, seed=d)[0]
    product = dots(matrix, vector)
    assert (product.shape, product.dtype) == ((m,), np.float32)
    assert np.array_equal(product, reference.dots(matrix, vector))


def test_dots_are_the_product_from_views_too():
    matrix, vector = vectors_of(200, 384), vectors_of(1, 384, seed=1)[0]
    assert np.abs(dots(matrix, vector) - matrix.astype(np.float64) @ vector).max() < 1e-4
    assert np.array_equal(dots(matrix[::-3], vector), dots(matrix, vector)[::-3])
    assert np.array_equal(dots(np.asfortranarray(matrix), vector), dots(matrix, vector))
