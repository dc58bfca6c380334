"""Reads and writes of one connection, inside a transaction that somebody else began."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from binrag.errors import CorruptStore
from binrag.storage.meta import Head, check_record, head_of, record_of
from binrag.storage.records import check, check_vectors, checksum, checksums, pack, unpack
from binrag.types import Document, UInt8

_T = TypeVar("_T")
SAMPLE = 4096
"""Vectors in the sample at most."""

_CHUNK = 500
"""Values of one IN list; SQLite before 3.32 takes 999 at most."""


@dataclass(frozen=True, slots=True)
class Block:
    """One blob of a part: rows ``4096 no`` to ``4096 no + n_rows``."""

    part: str
    no: int
    generation: int
    n_rows: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TailRow:
    """The code of a row that is not in a block yet."""

    row: int
    codes: bytes
    rest: bytes
    rescale: bytes


class Reading:
    """What can be read in a transaction. Every record's checksum is verified as it is read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._head: Head | None = None

    def get(self, key: str) -> Any:
        """Return the record under a key of ``meta``, or None."""
        found = self._connection.execute("SELECT value, checksum FROM meta WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        check(found[1], "meta", f"meta record {key!r}", key, found[0])
        record = unpack(found[0], f"meta record {key!r}")
        check_record(key, record)
        return record

    def require(self, key: str) -> Any:
        """Return the record under a key that every store has."""
        record = self.get(key)
        if record is None:
            raise CorruptStore(f"the store has no meta record {key!r}; restore it from a backup")
        return record

    def head(self) -> Head:
        """Return the counters."""
        if self._head is None:
            self._head = head_of(self.require("head"))
        return self._head

    def count(self, tenant: str | None) -> int:
        """Count a tenant's documents, or all with None."""
        if tenant and not self.head().n_named:
            return 0
        if tenant is None or not self.head().n_named:
            return sum(int.from_bytes(block.data, "little").bit_count() for block in self.blocks("live"))
        query = "SELECT count(*) FROM documents WHERE tenant = ?"
        return int(self._connection.execute(query, (tenant,)).fetchone()[0])

    def documents_by_id(self, tenant: str, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents that exist, by id."""
        found: dict[str, Document] = {}
        for some, marks in chunks(ids):
            where = f"tenant = ? AND id IN ({marks})"
            for _, document in self._documents(where, (tenant, *some)):
                found[document.id] = document
        return found

    def rows_by_id(self, tenant: str, ids: Sequence[str]) -> dict[int, str]:
        """Return the rows of the documents of these ids that exist, ascending, with their ids."""
        found: list[tuple[int, str]] = []
        for some, marks in chunks(list(dict.fromkeys(ids))):
            find = f"SELECT row, id FROM documents WHERE tenant = ? AND id IN ({marks})"
            found += self._connection.execute(find, (tenant, *some))
        return dict(sorted(found))

    def documents_by_row(self, rows: Sequence[int]) -> list[Document]:
        """Return the documents of these rows, in this order.

        Raises
        ------
        CorruptStore
            If one is missing.
        """
        return _in_order(rows, self.documents_of(rows), "document")

    def documents_of(self, rows: Sequence[int]) -> dict[int, Document]:
        """Return the documents of those of some rows that have one."""
        found: dict[int, Document] = {}
        for some, marks in chunks(rows):
            found.update(self._documents(f"row IN ({marks})", some))
        return found

    def documents_between(self, first: int, stop: int) -> Iterator[tuple[int, Document]]:
        """Yield the documents of the rows from `first` up to `stop`, in row order."""
        return self._documents("row >= ? AND row < ? ORDER BY row", (first, stop))

    def documents_after(self, tenant: str | None, row: int, limit: int) -> list[tuple[int, Document]]:
        """Return a page of a tenant's documents, or of all with None, in row order, from after `row`."""
        where = "tenant = coalesce(?, tenant) AND row > ? ORDER BY row LIMIT ?"
        return list(self._documents(where, (tenant, row, limit)))

    def packed_documents(
        self, where: str, values: Sequence[Any], table: str = "documents"
    ) -> Iterator[tuple[int, str, str, str | None, bytes | None]]:
        """Yield row, tenant, id, text and packed metadata of documents, of another table of their form if one is named.

        `where` is the rest of the SQL after WHERE.
        """
        # as blobs, so that damaged text is found by us and not by the driver
        texts = ", ".join(f"CAST({name} AS BLOB)" for name in ("tenant", "id", "text"))
        query = f"SELECT row, {texts}, metadata, checksum FROM {table} WHERE {where}"
        for row, *encoded, metadata, stored in self._connection.execute(query, values):
            try:
                tenant, id_, text = (value if value is None else str(value, "utf-8") for value in encoded)
            except UnicodeDecodeError as error:
                raise CorruptStore(f"document of row {row} is not valid text: {error}") from None
            check(stored, "documents", _place(id_, row), row, tenant, id_, text, metadata)
            yield row, str(tenant), str(id_), text, metadata

    def _documents(self, where: str, values: Sequence[Any]) -> Iterator[tuple[int, Document]]:
        for row, tenant, id_, text, packed in self.packed_documents(where, values):
            place = _place(id_, row)
            metadata = {} if packed is None else unpack(packed, place)
            if not isinstance(metadata, dict):
                raise CorruptStore(f"the metadata of {place} is a {type(metadata).__name__}, expected a map")
            yield row, Document(id_, text, metadata, tenant or None)

    def vectors(self, rows: Sequence[int], table: str = "vectors") -> list[bytes]:
        """Return the kept vectors' blobs of these rows, in this order, of another table of their form if one is named.

        Raises
        ------
        CorruptStore
            If one is missing.
        """
        found: dict[int, bytes] = {}
        for some, marks in chunks(rows):
            query = f"SELECT row, vector, checksum FROM {table} WHERE row IN ({marks})"
            if read := self._connection.execute(query, some).fetchall():
                own_rows, blobs, sums = zip(*read, strict=True)
                check_vectors(own_rows, blobs, sums)
                found.update(zip(own_rows, blobs, strict=True))
        return _in_order(rows, found, "kept vector")

    def sample(self) -> list[tuple[int, bytes]]:
        """Return the sampled rows and their vectors' blobs, by row."""
        rows = []
        for row, vector, stored in self._connection.execute("SELECT row, vector, checksum FROM sample ORDER BY row"):
            check(stored, "sample", f"sampled vector of row {row}", row, vector)
            rows.append((row, vector))
        return rows

    def blocks(self, part: str, newer_than: int = -1) -> Iterator[Block]:
        """Yield a part's blocks written after a generation, in order."""
        query = """
            SELECT no, generation, n_rows, checksum, data FROM blocks
            WHERE part = ? AND generation > ? ORDER BY no
        """
        for no, generation, n_rows, stored, data in self._connection.execute(query, (part, newer_than)):
            check(stored, "blocks", f"block {no} of part {part!r}", part, no, generation, n_rows, data)
            yield Block(part, no, generation, n_rows, data)

    def n_blocks(self, part: str) -> int:
        """Count a part's blocks."""
        query = "SELECT count(*) FROM blocks WHERE part = ?"
        return int(self._connection.execute(query, (part,)).fetchone()[0])

    def block(self, part: str, no: int) -> Block | None:
        """Return one block, or None."""
        query = "SELECT generation, n_rows, checksum, data FROM blocks WHERE part = ? AND no = ?"
        found = self._connection.execute(query, (part, no)).fetchone()
        if found is None:
            return None
        generation, n_rows, stored, data = found
        check(stored, "blocks", f"block {no} of part {part!r}", part, no, generation, n_rows, data)
        return Block(part, no, generation, n_rows, data)

    def tail(self, first_row: int) -> list[TailRow]:
        """Return the tail's rows from `first_row` on, in order."""
        query = "SELECT row, codes, rest, rescale, checksum FROM tail WHERE row >= ? ORDER BY row"
        rows = []
        for row, codes, rest, rescale, stored in self._connection.execute(query, (first_row,)):
            check(stored, "tail", f"tail row {row}", row, codes, rest, rescale)
            rows.append(TailRow(row, codes, rest, rescale))
        return rows

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the whole database to another connection."""
        self._connection.backup(target)

    def sizes(self) -> dict[str, int]:
        """Return bytes by kind: ``codes`` and what goes with them, ``columns``, ``words``, ``vectors``, … ``texts``."""
        queries = {
            "codes": """
                SELECT (SELECT coalesce(sum(length(data)), 0) FROM blocks WHERE part NOT IN ('metadata', 'lexical'))
                     + (SELECT coalesce(sum(length(codes) + length(rest) + length(rescale)), 0) FROM tail)
            """,
            "words": "SELECT coalesce(sum(length(data)), 0) FROM blocks WHERE part = 'lexical'",
            "columns": "SELECT coalesce(sum(length(data)), 0) FROM blocks WHERE part = 'metadata'",
            "vectors": "SELECT coalesce(sum(length(vector)), 0) FROM vectors",
            "sample": "SELECT coalesce(sum(length(vector)), 0) FROM sample",
            "texts": """
                SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) + coalesce(sum(length(metadata)), 0)
                     + coalesce(sum(length(CAST(id AS BLOB))), 0) FROM documents
            """,
        }
        return {kind: int(self._connection.execute(query).fetchone()[0]) for kind, query in queries.items()}


class Writing(Reading):
    """What can be written in a write transaction.

    Attributes
    ----------
    generation : int
        The generation that this transaction will commit.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.generation = self.head().generation + 1
        self._changes = connection.total_changes

    @classmethod
    def create(cls, connection: sqlite3.Connection, records: dict[str, Any]) -> None:
        """Write the first records of a new store."""
        insert = "INSERT INTO meta (key, value, checksum) VALUES (?, ?, ?)"
        for key, value in {**records, "head": record_of(Head())}.items():
            data = pack(value)
            connection.execute(insert, (key, data, checksum(key, data)))

    def finish(self) -> None:
        """Raise the generation and write the counters, if anything was written."""
        if self.has_written:
            self.put("head", record_of(replace(self.head(), generation=self.generation)))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what was written inside if it raises."""
        head = self.head()
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._head = head
            if self.is_open:
                self._connection.execute("ROLLBACK TO part")
            raise
        finally:
            if self.is_open:
                self._connection.execute("RELEASE part")

    @property
    def has_written(self) -> bool:
        """Whether something was written that is not committed."""
        return self._connection.total_changes != self._changes

    @property
    def is_open(self) -> bool:
        """Whether the transaction still stands; SQLite undoes all of it when the disk is full."""
        return self._connection.in_transaction

    def put(self, key: str, value: Any) -> None:
        """Write a record of ``meta``."""
        data = pack(value)
        insert = "INSERT OR REPLACE INTO meta (key, value, checksum) VALUES (?, ?, ?)"
        self._connection.execute(insert, (key, data, checksum(key, data)))

    def put_head(self, head: Head) -> None:
        """Set the counters; `finish` writes them, if anything else was written."""
        self._head = head

    def remove_documents(self, tenant: str, ids: Sequence[str]) -> list[int]:
        """Delete documents with their kept and sampled vectors; return the rows they had."""
        rows = list(self.rows_by_id(tenant, ids))
        self.remove_rows(rows)
        return rows

    def sampled(self, rows: range, n_sampled: int) -> list[int]:
        """Return those of some new rows that belong into a sample of `n_sampled` so far."""
        if n_sampled < SAMPLE:
            return list(rows)
        last = self._connection.execute("SELECT max(place) FROM sample").fetchone()[0]
        return [row for row in rows if place_of(row) < last]

    def add_sample(self, vectors: Iterable[tuple[int, bytes]], n_sampled: int) -> int:
        """Insert vectors of rows, drop those of the last places beyond `SAMPLE`; return how many there are now."""
        rows = [(place_of(row), row, vector, checksum(row, vector)) for row, vector in vectors]
        self._connection.executemany("INSERT INTO sample (place, row, vector, checksum) VALUES (?, ?, ?, ?)", rows)
        n_excess = max(0, n_sampled + len(rows) - SAMPLE)
        last = "SELECT place FROM sample ORDER BY place DESC LIMIT ?"
        self._connection.execute(f"DELETE FROM sample WHERE place IN ({last})", (n_excess,))
        return n_sampled + len(rows) - n_excess

    def add_documents(
        self, first_row: int, tenant: str, documents: Iterable[tuple[str, str | None, bytes | None]]
    ) -> None:
        """Insert (id, text, packed metadata) at consecutive rows; the ids are not in the table."""
        insert = "INSERT INTO documents (row, tenant, id, text, metadata, checksum) VALUES (?, ?, ?, ?, ?, ?)"
        self._connection.executemany(
            insert,
            (
                (row, tenant, id_, text, metadata, checksum(row, tenant, id_, text, metadata))
                for row, (id_, text, metadata) in enumerate(documents, first_row)
            ),
        )

    def put_metadata(self, row: int, document: Document, metadata: bytes | None) -> None:
        """Replace the packed metadata, and the id, of the document of a row, which is `document` otherwise."""
        update = "UPDATE documents SET id = ?, metadata = ?, checksum = ? WHERE row = ?"
        sum_ = checksum(row, document.tenant or "", document.id, document.text, metadata)
        self._connection.execute(update, (document.id, metadata, sum_, row))

    def remove_rows(self, rows: Sequence[int]) -> None:
        """Delete the documents of these rows with their kept and sampled vectors."""
        n_forgotten = 0
        for some, marks in chunks(rows):
            self._connection.execute(f"DELETE FROM documents WHERE row IN ({marks})", some)
            self._connection.execute(f"DELETE FROM vectors WHERE row IN ({marks})", some)
            places = [place_of(row) for row in some]
            n_forgotten += self._connection.execute(f"DELETE FROM sample WHERE place IN ({marks})", places).rowcount
        if n_forgotten:
            head = self.head()
            self.put_head(replace(head, n_sampled=head.n_sampled - n_forgotten))

    def add_vectors(self, first_row: int, blobs: UInt8) -> None:
        """Insert kept vectors, uint8 (n, bytes of one), at consecutive rows."""
        # one statement for all: numbers of their own take several times as long to bind as to insert
        insert = """
            INSERT INTO vectors (row, vector, checksum)
            SELECT ?1 + key, substr(?2, 1 + ?3 * key, ?3), value FROM json_each(?4)
        """
        sums = json.dumps(checksums(np.arange(first_row, first_row + len(blobs)), blobs))
        self._connection.execute(insert, (first_row, blobs.tobytes(), blobs.shape[1], sums))

    def add_blobs(self, first_row: int, blobs: Sequence[bytes]) -> None:
        """Insert kept vectors, or what is kept in their place, at consecutive rows; blobs may be of any sizes."""
        if len({len(blob) for blob in blobs}) == 1:  # as `encode_vectors` makes them: by the one statement
            self.add_vectors(first_row, np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(blobs), -1))
            return
        insert = "INSERT INTO vectors (row, vector, checksum) VALUES (?, ?, ?)"
        rows = ((row, blob, checksum(row, blob)) for row, blob in enumerate(blobs, first_row))
        self._connection.executemany(insert, rows)

    def add_tail(self, rows: Iterable[TailRow]) -> None:
        """Append rows to the tail."""
        insert = "INSERT INTO tail (row, codes, rest, rescale, checksum) VALUES (?, ?, ?, ?, ?)"
        fields = ((r.row, r.codes, r.rest, r.rescale) for r in rows)
        self._connection.executemany(insert, ((*values, checksum(*values)) for values in fields))

    def cut_tail(self, before_row: int) -> None:
        """Drop the tail's rows below `before_row`: they are in blocks now."""
        self._connection.execute("DELETE FROM tail WHERE row < ?", (before_row,))

    def remove_codes(self) -> None:
        """Drop all codes, of blocks and tail."""
        self._connection.execute("DELETE FROM blocks WHERE part IN ('codes', 'rest', 'rescale')")
        self._connection.execute("DELETE FROM tail")

    def put_blocks(self, part: str, n_rows: int, blocks: Iterable[bytes]) -> None:
        """Write all blocks of a part that is written as a whole, in place of those that it had."""
        self._connection.execute("DELETE FROM blocks WHERE part = ?", (part,))
        for no, data in enumerate(blocks):
            self.put_block(part, no, n_rows, data)

    def put_block(self, part: str, no: int, n_rows: int, data: bytes) -> None:
        """Write a block under this transaction's generation."""
        fields = (part, no, self.generation, n_rows, data)
        insert = """
            INSERT OR REPLACE INTO blocks (part, no, generation, n_rows, checksum, data)
            VALUES (?, ?, ?, ?, ?, ?)
        """
        self._connection.execute(insert, (*fields[:4], checksum(*fields), data))


def _place(id_: str | None, row: int) -> str:
    return f"document {id_!r} (row {row})"


def place_of(row: int) -> int:
    """Return where a row stands in the order of the sample: a bijection that spreads rows evenly (golden ratio)."""
    return row * 0x9E3779B97F4A7C15 % 2**64 - 2**63


def _in_order(rows: Sequence[int], found: dict[int, _T], what: str) -> list[_T]:
    try:
        return [found[row] for row in rows]
    except KeyError as error:
        raise CorruptStore(f"the {what} of row {error} is missing; restore the store from a backup") from None


def chunks(values: Sequence[Any]) -> Iterator[tuple[Sequence[Any], str]]:
    """Cut values into IN lists: (values, placeholders)."""
    for start in range(0, len(values), _CHUNK):
        some = values[start : start + _CHUNK]
        yield some, ",".join("?" * len(some))
