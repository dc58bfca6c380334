"""The rotation: its definition bit for bit, and no row feels its neighbours."""

import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers.rotation import random_flips, rotate


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8, 64, 100, 384])
def test_rows_equal_the_definition(dim):
    rows, flips = vectors_of(5, dim), random_flips(dim, 3)
    found = rotate(rows, flips)
    assert (found.shape, found.dtype) == ((5, dim), np.float32)
    assert np.array_equal(found, [reference.rotated(row, flips) for row in rows])


def test_a_row_alone_in_a_batch_and_from_views():
    rows, flips = vectors_of(40, 100), random_flips(100, 0)
    kept, together = rows.copy(), rotate(rows, flips)
    for i in range(40):
        assert np.array_equal(rotate(rows[i : i + 1], flips)[0], together[i])
    assert np.array_equal(rotate(np.asfortranarray(rows)[::-2], flips), together[::-2])
    assert np.array_equal(rows, kept)
    assert len(rotate(rows[:0], flips)) == 0


def test_no_flips_are_no_rotation():
    rows = vectors_of(3, 10)
    assert rotate(rows, None) is rows
