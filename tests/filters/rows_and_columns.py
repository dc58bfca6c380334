"""Metadata of rows, and columns kept in step with it."""

import numpy as np

from binrag.filters import Column, pack_columns, select


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
