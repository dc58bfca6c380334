"""Columns select what the plain predicate says, for every mix of values, and through updates."""

import random

import pytest
from reference import filter_matches
from rows_and_columns import Rows
from trees import random_filter, random_metadata

from binrag.filters import matches

N_TREES = 10_000


@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_random_filters_mean_what_the_oracle_says(seed):
    rng = random.Random(seed)
    rows = Rows()
    for _ in range(N_TREES // 10 // 25):
        pieces = []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            first = rng.randrange(0, len(rows.metadata) + 1 + rng.choice([0, 0, 5]))
            pieces.append((first, [random_metadata(rng) for _ in range(rng.choice([0, 1, 2, 5, 30]))]))
        rows.write(*pieces)
        for _ in range(25):
            node = random_filter(rng)
            expected = [filter_matches(node, metadata or {}) for metadata in rows.metadata]
            assert [matches(node, metadata or {}) for metadata in rows.metadata] == expected, node
            assert rows.select(node) == expected, node
