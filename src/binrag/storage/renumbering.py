"""New numbers for the rows that live, in one write transaction: what `compact` does to the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter

import numpy as np

from binrag.storage.schema import definition_of
from binrag.storage.tables import Writing, chunks, place_of
from binrag.types import BLOCK, Int64


class Renumbering:
    """Writes the rows of every table again, under new numbers; other handles see all of it at once, or nothing.

    Parameters
    ----------
    writing : Writing
        The transaction.
    """

    def __init__(self, writing: Writing) -> None:
        self._writing = writing
        self._connection = writing._connection

    def order(self) -> Int64:
        """Return the rows that hold documents in the order in which they are to lie: by tenant, then by row."""
        rows = (row for (row,) in self._connection.execute("SELECT row FROM documents ORDER BY tenant, row"))
        return np.fromiter(rows, dtype=np.int64)

    def n_named(self) -> int:
        """Return how many documents are of a tenant that has a name."""
        return int(self._connection.execute("SELECT count(*) FROM documents WHERE tenant > ''").fetchone()[0])

    def renumber(self, order: Int64, report: Callable[[int], None]) -> int:
        """Give row ``order[i]`` the number i: its document, its kept vector, and its place in the sample.

        Codes, liveness and columns are dropped. Returns how many vectors the sample has.

        Raises
        ------
        CorruptStore
            If a record is damaged; nothing was changed then.
        """
        with self._replaced("documents") as old:
            for first in range(0, len(order), BLOCK):
                rows = order[first : first + BLOCK].tolist()
                self._move_documents(old, first, rows)
                report(len(rows))
        with self._replaced("vectors") as old:
            if self._connection.execute(f"SELECT 1 FROM {old} LIMIT 1").fetchone():
                for first in range(0, len(order), BLOCK):
                    self._move_vectors(old, first, order[first : first + BLOCK].tolist())
        self._connection.execute("DELETE FROM blocks")
        self._connection.execute("DELETE FROM tail")
        return self._move_sample(order)

    @contextmanager
    def _replaced(self, table: str) -> Iterator[str]:
        """Yield the name that a table has while a new one in its place is filled; it is dropped then."""
        old = f"old_{table}"
        self._connection.execute(f"ALTER TABLE {table} RENAME TO {old}")
        self._connection.execute(definition_of(table))
        yield old
        self._connection.execute(f"DROP TABLE {old}")

    def _move_documents(self, old: str, first: int, rows: Sequence[int]) -> None:
        found = {
            row: (tenant, (id_, text, metadata))
            for some, marks in chunks(rows)
            for row, tenant, id_, text, metadata in self._writing.packed_documents(f"row IN ({marks})", some, old)
        }
        for tenant, own in groupby((found[row] for row in rows), itemgetter(0)):
            documents = [document for _, document in own]
            self._writing.add_documents(first, tenant, documents)
            first += len(documents)

    def _move_vectors(self, old: str, first: int, rows: Sequence[int]) -> None:
        self._writing.add_blobs(first, self._writing.vectors(rows, old))

    def _move_sample(self, order: Int64) -> int:
        at = np.argsort(order)
        vectors = []
        for row, vector in self._writing.sample():
            i = int(np.searchsorted(order, row, sorter=at))
            if i < len(order) and order[at[i]] == row:
                vectors.append((int(at[i]), vector))
        self._connection.execute("DELETE FROM sample")
        vectors.sort(key=lambda pair: place_of(pair[0]))
        return self._writing.add_sample(vectors, 0)
