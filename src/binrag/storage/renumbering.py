"""New numbers for the rows that live, in one write transaction: what `compact` does to the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from binrag.errors import CorruptStore
from binrag.storage.records import check
from binrag.storage.schema import definition_of
from binrag.storage.tables import Writing, place_of
from binrag.types import Int64

_CHUNK = 500
_FIELDS = ("tenant", "id", "text")


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

    def renumber(self, order: Int64, report: Callable[[int], None]) -> None:
        """Give row ``order[i]`` the number i: its document, its kept vector, and its place in the sample.

        Raises
        ------
        CorruptStore
            If a record is damaged; nothing was changed then.
        """
        with self._replaced("documents") as old:
            for first in range(0, len(order), _CHUNK):
                rows = order[first : first + _CHUNK].tolist()
                self._move_documents(old, first, rows)
                report(len(rows))
        with self._replaced("vectors") as old:
            if self._connection.execute(f"SELECT 1 FROM {old} LIMIT 1").fetchone():
                for first in range(0, len(order), _CHUNK):
                    self._move_vectors(old, first, order[first : first + _CHUNK].tolist())
        self._move_sample(order)
        self._connection.execute("DELETE FROM blocks")
        self._connection.execute("DELETE FROM tail")

    @contextmanager
    def _replaced(self, table: str) -> Iterator[str]:
        """Yield the name that a table has while a new one in its place is filled; it is dropped then."""
        old = f"old_{table}"
        self._connection.execute(f"ALTER TABLE {table} RENAME TO {old}")
        self._connection.execute(definition_of(table))
        yield old
        self._connection.execute(f"DROP TABLE {old}")

    def _move_documents(self, old: str, first: int, rows: Sequence[int]) -> None:
        texts = ", ".join(f"CAST({name} AS BLOB)" for name in _FIELDS)
        query = f"SELECT row, {texts}, metadata, checksum FROM {old} WHERE row IN ({_marks(rows)})"
        found: dict[int, tuple[Any, ...]] = {}
        for row, *encoded, metadata, stored in self._connection.execute(query, rows):
            tenant, id_, text = (value if value is None else str(value, "utf-8", "replace") for value in encoded)
            check(stored, "documents", f"document {id_!r} (row {row})", row, tenant, id_, text, metadata)
            found[row] = tenant, id_, text, metadata
        for tenant, documents in _runs([found[row] for row in rows]):
            self._writing.add_documents(first, tenant, documents)
            first += len(documents)

    def _move_vectors(self, old: str, first: int, rows: Sequence[int]) -> None:
        query = f"SELECT row, vector, checksum FROM {old} WHERE row IN ({_marks(rows)})"
        found = {}
        for row, vector, stored in self._connection.execute(query, rows):
            check(stored, "vectors", f"vector of row {row}", row, vector)
            found[row] = vector
        try:
            blobs = [found[row] for row in rows]
        except KeyError as error:
            raise CorruptStore(f"the kept vector of row {error} is missing; see verify and repair") from None
        self._writing.add_vectors(first, np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(rows), -1))

    def _move_sample(self, order: Int64) -> None:
        at = np.argsort(order)
        vectors = []
        for row, vector in self._writing.sample():
            i = int(np.searchsorted(order, row, sorter=at))
            if i < len(order) and order[at[i]] == row:
                vectors.append((int(at[i]), vector))
        self._connection.execute("DELETE FROM sample")
        vectors.sort(key=lambda pair: place_of(pair[0]))
        self._writing.add_sample(vectors, 0)


def _runs(
    documents: Sequence[tuple[Any, ...]],
) -> Iterator[tuple[str, list[tuple[str, str | None, bytes | None]]]]:
    """Cut documents where the tenant changes."""
    start = 0
    for stop in range(1, len(documents) + 1):
        if stop == len(documents) or documents[stop][0] != documents[start][0]:
            yield documents[start][0], [(id_, text, metadata) for _, id_, text, metadata in documents[start:stop]]
            start = stop


def _marks(values: Sequence[int]) -> str:
    return ",".join("?" * len(values))
