"""Projections: the definition bit for bit, and no row feels its neighbours."""

import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.kernels.project import project


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
