"""The metadata of all rows, by key: what filters and tenants are evaluated on.

Every full block of rows has a blob of the part ``metadata``; rows without one, of the tail above all, are read from
their documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from binrag.filters import Column, Eq, Exists, Filter, Not, matches, pack_columns, select
from binrag.storage import Reading, Writing
from binrag.store.entries import METADATA, PART, TENANT, entries_between, entry_of
from binrag.store.snapshot import liveness
from binrag.threads import Mutex
from binrag.types import BLOCK, Document, Int64, UInt64

MAX_COLUMNS = 64
"""Columns in memory, at most; the one that was brought up to date longest ago leaves."""

MAX_BITMAPS = 16
"""Filters whose rows are known, at most."""

_PAGE = 256


class Columns:
    """Columns that filters asked for, each as of a commit, and the bitmaps of the last filters of the newest commit."""

    def __init__(self) -> None:
        self._mutex = Mutex()
        self._columns: dict[str, tuple[int, int, Column]] = {}
        self._bitmaps: dict[tuple[str | None, str], UInt64] = {}
        self._generation = -1

    def allowed(self, reading: Reading, live: UInt64, tenant: str | None, where: Filter | None) -> UInt64 | None:
        """Return the rows of a tenant, of all with None, whose metadata match: uint64, a bit a row.

        Parameters
        ----------
        reading : Reading
            A transaction that has written nothing.
        live : uint64 (≥ ceil(n_rows / 64),)
            Rows that hold a document; others may be in the result.
        tenant : str or None
        where : Filter or None

        Returns
        -------
        uint64 (ceil(n_rows / 64),) or None
            None for all rows.
        """
        head = reading.head()
        if not head.n_named:
            if tenant:
                return np.zeros(-(-head.n_rows // 64), dtype=np.uint64)
            tenant = None
        if tenant is None and where is None:
            return None
        asked = tenant, repr(where)  # filters are equal where numbers are, 1 and 1.0, and those may differ in bytes
        with self._mutex:
            if head.generation > self._generation:
                self._generation = head.generation
                self._bitmaps.clear()
            if head.generation == self._generation and asked in self._bitmaps:
                return self._bitmaps[asked]
            found = self._selected(reading, live, tenant, where)
            if head.generation == self._generation:
                self._bitmaps[asked] = found
                if len(self._bitmaps) > MAX_BITMAPS:
                    del self._bitmaps[next(iter(self._bitmaps))]
        return found

    def _selected(self, reading: Reading, live: UInt64, tenant: str | None, where: Filter | None) -> UInt64:
        n_rows = reading.head().n_rows
        live, bitmaps = live[: -(-n_rows // 64)], []
        if tenant is not None:
            own: Filter = Eq(TENANT, tenant) if tenant else Not(Exists(TENANT))
            bitmaps.append(
                select(own, n_rows, lambda path: self._column(reading, path), _fetch(reading, entry_of), live)
            )
        if where is not None:
            live = live & bitmaps[0] if bitmaps else live

            def column_of(path: str) -> Column:
                return self._column(reading, METADATA + path)

            bitmaps.append(select(where, n_rows, column_of, _fetch(reading, lambda document: document.metadata), live))
        return bitmaps[0] if len(bitmaps) == 1 else bitmaps[0] & bitmaps[1]

    def _column(self, reading: Reading, path: str) -> Column:
        """Return a column as of the commit that `reading` sees."""
        head, known = reading.head(), self._columns.get(path)
        is_ahead = known is not None and known[1] > head.generation
        if known is None or is_ahead or known[0] != head.coded:
            generation, column = -1, Column.empty(path)
        else:
            _, generation, column = known
        if generation == head.generation:
            return column
        column = column.updated(head.n_rows, _pieces(reading, generation, column.n_rows))
        if not is_ahead:
            self._columns.pop(path, None)
            self._columns[path] = head.coded, head.generation, column
            if len(self._columns) > MAX_COLUMNS:
                del self._columns[next(iter(self._columns))]
        return column


def _pieces(reading: Reading, newer_than: int, n_known: int) -> Iterator[tuple[int, bytes]]:
    """Yield what a column that knows `n_known` rows as of a generation lacks: (first row, packed entries)."""
    n_rows, covered = reading.head().n_rows, n_known
    for block in reading.blocks(PART, newer_than):
        first = block.no * BLOCK
        yield from _from_documents(reading, covered, first)
        yield first, block.data
        covered = max(covered, first + block.n_rows)
    yield from _from_documents(reading, covered, n_rows)


def _from_documents(reading: Reading, first: int, stop: int) -> Iterator[tuple[int, bytes]]:
    for start in range(first, stop, BLOCK):
        yield start, pack_columns(entries_between(reading, start, min(start + BLOCK, stop)))


def _fetch(reading: Reading, part_of: Callable[[Document], Any]) -> Callable[[Sequence[int]], list[Any]]:
    def fetch(rows: Sequence[int]) -> list[Any]:
        found = reading.documents_of(rows)
        return [part_of(found[row]) if row in found else {} for row in rows]

    return fetch


def rows_of(reading: Reading, columns: Columns, tenant: str | None, where: Filter | None) -> Int64:
    """Return the rows of a tenant's documents that match, of all tenants' with None, ascending: int64 (n,).

    A transaction sees what it has written, which no column holds: its documents are read one by one.
    """
    if isinstance(reading, Writing) and reading.has_written:
        return np.fromiter(_walked(reading, tenant, where), dtype=np.int64)
    live = liveness(reading, reading.head().n_rows)
    allowed = columns.allowed(reading, live, tenant, where)
    bitmap = live if allowed is None else live[: len(allowed)] & allowed
    return np.flatnonzero(np.unpackbits(bitmap.view(np.uint8), bitorder="little"))


def _walked(reading: Reading, tenant: str | None, where: Filter | None) -> Iterator[int]:
    last = -1
    while page := reading.documents_after(tenant, last, _PAGE):
        yield from (row for row, document in page if where is None or matches(where, document.metadata))
        last = page[-1][0]
