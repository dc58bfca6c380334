"""Columns select what the plain predicate says, for every mix of values, and through updates."""

import random

import numpy as np
import pytest
from reference import filter_matches
from trees import random_filter, random_metadata

from binrag.filters import Column, matches, pack_columns, select

N_TREES = 10_000


class Rows:
    """Metadata of rows and its columns, as a store would keep them."""

    def __init__(self):
        self.metadata = []
        self.covered = []
        self.columns = {}
        self.history = []
        self.fetched = []

    def write(self, *pieces):
        """Pieces of (first row, metadata of the rows) in one update of every column."""
        for first, rows in pieces:
            end = first + len(rows)
            self.metadata += [None] * (end - len(self.metadata))
            self.metadata[first:end] = rows
        packed = [(first, pack_columns(rows)) for first, rows in pieces]
        self.history.append((len(self.metadata), packed))
        for path, column in self.columns.items():
            self.columns[path] = column.updated(len(self.metadata), packed)

    def column(self, path):
        if path not in self.columns:
            self.columns[path] = Column.empty(path)
            for n_rows, packed in self.history:
                self.columns[path] = self.columns[path].updated(n_rows, packed)
        return self.columns[path]

    def fetch(self, rows):
        self.fetched += rows
        return [self.metadata[row] or {} for row in rows]

    def select(self, node, n_rows=None, live=None):
        n_rows = len(self.metadata) if n_rows is None else n_rows
        words = select(node, n_rows, self.column, self.fetch, live)
        assert words.dtype == np.uint64
        assert words.shape == (-(-n_rows // 64),)
        return bits(words, n_rows)


def bits(words, n_rows):
    flags = np.unpackbits(words.view(np.uint8), bitorder="little")
    assert not flags[n_rows:].any()
    return flags[:n_rows].astype(bool).tolist()


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
