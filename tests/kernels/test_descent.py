"""Coordinate descent against trying every bit both ways."""

import numpy as np
import pytest
import reference
from fakes import lattice

from binrag.kernels.descent import descend


def chosen(rows, decoder, n_sweeps):
    products, gram = rows @ decoder.T, decoder @ decoder.T
    bits = np.full_like(products, np.nan)
    descend(products, gram, n_sweeps, np.empty_like(gram[0]), bits)
    return bits


@pytest.mark.parametrize("n_sweeps", [1, 2, 9])
@pytest.mark.parametrize(("n_bits", "dim"), [(1, 1), (5, 3), (24, 8), (40, 30)])
def test_it_chooses_what_trying_both_values_chooses(n_bits, dim, n_sweeps):
    """Integers, so that sums are exact and ties are ties."""
    rows, decoder = lattice(25, dim, seed=1, high=9), lattice(n_bits, dim, seed=2)
    expected = [reference.descended(y.astype(float), decoder.astype(float), n_sweeps) for y in rows]
    assert np.array_equal(chosen(rows, decoder, n_sweeps), expected)


def test_more_sweeps_cost_less():
    rows, decoder = lattice(200, 16, seed=3, high=9), lattice(48, 16, seed=4)
    costs = [((rows - chosen(rows, decoder, n) @ decoder) ** 2).sum() for n in (1, 2, 8)]
    assert costs[0] > costs[1] > costs[2]
