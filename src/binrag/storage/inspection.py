"""Reading a store file that may be damaged: whatever is sound is returned, whatever is not is described."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from binrag.errors import CorruptStore, StoreNotFound
from binrag.storage.connect import DAMAGE, connect, untouching_options, wal_bytes
from binrag.storage.records import check, unpack
from binrag.storage.schema import APPLICATION_ID, FORMAT_VERSION, foreign
from binrag.types import Finding, UInt8

_LAST = 2**63 - 1
_MOST = 1000
"""Findings of SQLite's own check at most."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table, or a gap where rows cannot be read.

    Attributes
    ----------
    key, stop : int
        The row's key and the next; the first key of a gap, and the one after its last.
    values : tuple or None
        The row's columns without key and checksum, texts decoded; None if they are not sound.
    finding : Finding or None
        What is wrong; None if nothing is.
    """

    key: int
    stop: int
    values: tuple[Any, ...] | None
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class _Gap:
    first: int
    stop: int
    problem: str


@dataclass(frozen=True, slots=True)
class _Table:
    """How a table's rows are read.

    Attributes
    ----------
    key : str
        The integer by which rows are found one by one.
    columns : tuple of str
        The others that a checksum covers, in its order; those with a ``*`` are texts, and read as bytes: damaged text
        is found by us and not by the driver.
    is_dense : bool
        Whether keys are numbers of rows: then each is tried where a page is damaged.
    covers_key : bool
        Whether the checksum covers the key, before the columns.
    place : callable
        Key and columns to what the row is called.
    """

    key: str
    columns: tuple[str, ...]
    place: Callable[..., str]
    is_dense: bool = True
    covers_key: bool = True


TABLES = {
    "meta": _Table("rowid", ("*key", "value"), lambda _, key, *rest: f"meta record {key!r}", False, False),
    "documents": _Table(
        "row", ("*tenant", "*id", "*text", "metadata"), lambda row, tenant, id_, *rest: f"document {id_!r} (row {row})"
    ),
    "vectors": _Table("row", ("vector",), lambda row, *rest: f"vector of row {row}"),
    "sample": _Table("place", ("row", "vector"), lambda _, row, *rest: f"sampled vector of row {row}", False, False),
    "tail": _Table("row", ("codes", "rest", "rescale"), lambda row, *rest: f"tail row {row}"),
    "blocks": _Table(
        "rowid",
        ("*part", "no", "generation", "n_rows", "data"),
        lambda _, part, no, *rest: block_at(part, no),
        False,
        False,
    ),
    "ledger": _Table(
        "rowid",
        ("*tenant", "*namespace", "*key", "*group_id", "updated"),
        lambda _, tenant, namespace, key, *rest: f"ledger entry {key!r} of {namespace!r}",
        False,
        False,
    ),
}


@dataclass(frozen=True, slots=True)
class SoundBlock:
    """What is known of a block whose checksum is right."""

    rowid: int
    generation: int
    n_rows: int
    n_bytes: int


def block_at(part: str, no: int) -> str:
    """Return what a block is called."""
    return f"block {no} of part {part!r}"


def rows_alive(live: UInt8, first: int, stop: int) -> set[int]:
    """Return the rows from `first` up to `stop` that live, by the bits of their block, 0 or 1 each."""
    return set((first + np.flatnonzero(live[: stop - first])).tolist())


class Inspection:
    """All that can be read of a file, in one transaction; see `inspecting`.

    Attributes
    ----------
    n_bytes : int
        The file's size, with its write-ahead log.
    """

    def __init__(self, connection: sqlite3.Connection, n_bytes: int) -> None:
        self._connection = connection
        self.n_bytes = n_bytes
        self._readable: set[str] = set()

    def structure(self) -> Iterator[Finding]:
        """Yield what is wrong with the header, the schema and SQLite's own structure."""
        problems = None
        for options in ("", "PRAGMA writable_schema = ON"):  # with it, SQLite reads a file that was cut short
            try:
                self._connection.execute(options)
                yield from self._header()
                problems = foreign(self._connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
                break
            except DAMAGE as error:
                yield Finding("file", "the file", f"SQLite cannot read it: {error}")
        if problems is None:
            return
        unlike = {place for place, _ in problems}
        self._readable = {table for table in TABLES if f"table {table!r}" not in unlike}
        for place, problem in problems:
            yield Finding("schema", place, problem)
        if not problems:  # what is not a store's could run code when it is checked
            yield from self._pages()

    def _header(self) -> Iterator[Finding]:
        for name, expected in (("application_id", APPLICATION_ID), ("user_version", FORMAT_VERSION)):
            (value,) = self._connection.execute(f"PRAGMA {name}").fetchone()
            if value != expected:
                yield Finding("file", "the header", f"{name} is {value:#x}, expected {expected:#x}")

    def _pages(self) -> Iterator[Finding]:
        try:
            for (lines,) in self._connection.execute(f"PRAGMA integrity_check({_MOST})"):
                for line in str(lines).splitlines():
                    if line != "ok" and not line.startswith("*** in database"):
                        yield Finding("file", "SQLite's structure", line)
        except DAMAGE as error:
            yield Finding("file", "SQLite's structure", f"it cannot be checked: {error}")

    def can_read(self, table: str) -> bool:
        """Return whether `structure` found a table that is defined as in a store."""
        return table in self._readable

    def records(self, table: str, first: int = -_LAST - 1, stop: int = _LAST) -> Iterator[Record]:
        """Yield a table's rows with keys from `first` up to `stop`, in order, and gaps where they cannot be read.

        Nothing before `structure` was read, and nothing of a table that is not defined as in a store.
        """
        if not self.can_read(table):
            return
        known = TABLES[table]
        names = (f"CAST({name[1:]} AS BLOB)" if name[0] == "*" else name for name in known.columns)
        query = f"SELECT {known.key}, {', '.join(names)}, checksum FROM {table}"
        is_text = [name[0] == "*" for name in known.columns]
        for row in self._rows(query, known, first, stop):
            if isinstance(row, _Gap):
                where = f"{table}, {known.key} {row.first}" + (
                    f" to {row.stop - 1}" if row.stop > row.first + 1 else ""
                )
                yield Record(row.first, row.stop, None, Finding("file", where, f"SQLite cannot read it: {row.problem}"))
            else:
                yield _record(table, is_text, row)

    def _rows(self, query: str, table: _Table, first: int, stop: int) -> Iterator[tuple[Any, ...] | _Gap]:
        query += f" WHERE {table.key} >= ? AND {table.key} < ? ORDER BY {table.key}"
        at = first
        while at < stop:
            try:
                for row in self._connection.execute(query, (at, stop)):
                    if row[0] < at:
                        raise sqlite3.DatabaseError("rows are out of order")
                    at = row[0] + 1
                    yield row
                return
            except DAMAGE as error:
                row = self._first(query, at, stop)  # the driver steps ahead, and drops a row when that fails
                if row is not None:
                    at = row[0] + 1
                    yield row
                    continue
                resumed = self._sound_from(query, at, stop, table.is_dense and at >= 0 and stop < _LAST)
                yield _Gap(at, resumed, str(error))
                at = resumed

    def _sound_from(self, query: str, at: int, stop: int, is_dense: bool) -> int:
        """Return the first key after a damaged one from where rows can be read; of sparse keys, nearly the first."""
        step, failed = 1, 0
        while at + step < stop:
            if self._can_start(query, at + step, stop):
                break
            failed, step = step, step + 1 if is_dense else 2 * step
        else:
            step = stop - at
        while step - failed > 1:
            middle = (step + failed) // 2
            if self._can_start(query, at + middle, stop):
                step = middle
            else:
                failed = middle
        return at + step

    def _can_start(self, query: str, at: int, stop: int) -> bool:
        try:
            row = self._connection.execute(f"{query} LIMIT 1", (at, stop)).fetchone()
        except DAMAGE:
            return False
        return row is None or row[0] >= at

    def _first(self, query: str, at: int, stop: int) -> tuple[Any, ...] | None:
        with suppress(*DAMAGE):
            row = self._connection.execute(f"{query} LIMIT 1", (at, stop)).fetchone()
            return row if row is not None and row[0] >= at else None
        return None

    def block_data(self, rowid: int) -> bytes | None:
        """Return the data of a block that `records` yielded; None if it is not found there again."""
        with suppress(*DAMAGE):
            found = self._connection.execute("SELECT data FROM blocks WHERE rowid = ?", (rowid,)).fetchone()
            return found[0] if found is not None and isinstance(found[0], bytes) else None
        return None


class Rows:
    """The rows that a table has of a range.

    Attributes
    ----------
    findings : list of Finding
        Those of rows that are damaged.
    """

    def __init__(self, rows: range) -> None:
        self._rows = rows
        self._present: set[int] = set()
        self._unknown: set[int] = set()
        self.findings: list[Finding] = []

    def read(self, inspection: Inspection, table: str) -> Iterator[Record]:
        """Yield the sound rows; remember the others."""
        for record in inspection.records(table, self._rows.start, self._rows.stop):
            if record.finding is None:
                self._present.add(record.key)
                yield record
                continue
            self._unknown.update(range(record.key, record.stop))
            self.findings.append(record.finding)

    def compared(self, what: str, expected: set[int]) -> Iterator[Finding]:
        """Yield rows that lack what is expected of them, or have what is not."""
        for row in sorted(expected - self._present - self._unknown):
            yield Finding("missing", f"{what} {row}", "the row needs it")
        for row in sorted(self._present - expected):
            yield Finding("extra", f"{what} {row}", "the row is dead, or none should be kept")


def _record(name: str, is_text: list[bool], row: tuple[Any, ...]) -> Record:
    table, (key, *fields, stored) = TABLES[name], row
    try:
        values = tuple(_text(v) if text else v for v, text in zip(fields, is_text, strict=True))
    except UnicodeDecodeError as error:
        shown = table.place(key, *fields)
        return Record(key, key + 1, None, Finding("checksum", shown, f"it is not valid text: {error}"))
    place = table.place(key, *values)
    try:
        check(stored, name, place, *((key, *values) if table.covers_key else values))
    except CorruptStore:
        return Record(key, key + 1, None, Finding("checksum", place, "its bytes are not those that were written"))
    return Record(key, key + 1, values)


def _text(value: bytes | None) -> str | None:
    return None if value is None else str(value, "utf-8")


def unpacked(record: Record, column: int, place: str) -> tuple[Any, Finding | None]:
    """Unpack a column of a sound record: the value, or None and what is wrong."""
    data = (record.values or ())[column]
    if data is None:
        return None, None
    try:
        return unpack(data, place), None
    except CorruptStore as error:
        return None, Finding("record", place, str(error).removeprefix(f"{place} "))


@contextmanager
def inspecting(path: Path) -> Iterator[Inspection]:
    """Read a file that may be damaged, in one transaction, without changing a byte of it.

    Raises
    ------
    StoreNotFound
    ReadOnlyStore
        If its write-ahead log cannot be read where it is.
    """
    if not path.is_file():
        raise StoreNotFound(f"there is no file {path}")
    try:
        options = untouching_options(path)
    except DAMAGE:
        options = "mode=ro"
    with closing(connect(path, options)) as connection:
        connection.execute("PRAGMA query_only = ON")
        with suppress(*DAMAGE):  # `structure` will find it
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("BEGIN")
        yield Inspection(connection, path.stat().st_size + wal_bytes(path))
