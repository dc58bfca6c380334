"""One open store file: its connections, its transactions, its locks, in this process."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from binrag.errors import (
    BinragError,
    NotAStore,
    ReadOnlyStore,
    StorageFull,
    StoreClosed,
    StoreExists,
    StoreLocked,
    StoreNotFound,
    UnsupportedMode,
)
from binrag.storage import connect
from binrag.storage.connect import translated
from binrag.storage.lock import WriterLock
from binrag.storage.process import Process
from binrag.storage.tables import Reading, Writing
from binrag.types import Durability, Mode

_CHECKPOINT_BYTES = 16 * 2**20

_MAX_WAIT = 10.0
"""Seconds that giving space back waits for readers, at most."""


class Database:
    """A store file, opened in a mode; see `Database.open`."""

    def __init__(
        self, path: Path, *, writable: bool, options: str, lock_timeout: float, durability: Durability = "commit"
    ) -> None:
        self.path = path
        self.writable = writable
        self._options = options
        self._lock_timeout = lock_timeout
        self._durability = durability
        self._closed = False
        self._is_sound = False
        self._state = Process(path)

    @classmethod
    def open(
        cls,
        path: Path,
        mode: Mode,
        lock_timeout: float,
        initial: dict[str, Any],
        durability: Durability = "commit",
    ) -> Database:
        """Open or create a store file.

        Parameters
        ----------
        path : Path
            The file.
        mode : "r", "rw", "c" or "x"
            Read only; read and write; the same, created if missing; created, must not exist.
        lock_timeout : float
            Seconds to wait for another writer.
        initial : dict
            Records of ``meta`` that a new store gets.
        durability : "commit" or "os"
            Whether a commit waits for the disk, or leaves that to the system.

        Raises
        ------
        StoreNotFound, StoreExists, NotAStore, FormatVersionError, ReadOnlyStore, StoreLocked
        """
        path = path.absolute()  # the working directory may be another when the next connection is made
        if path.is_dir():
            raise NotAStore(f"{path} is a folder, expected a file")
        if not path.exists() and mode in ("r", "rw"):
            raise StoreNotFound(f"there is no file {path}; add documents with mode 'c' (or `binrag add`) to create it")
        if path.exists() and mode == "x":
            raise StoreExists(f"{path} exists; mode 'x' only creates, 'c' opens what is there")
        if not path.parent.is_dir():
            raise StoreNotFound(f"the folder {path.parent} does not exist; create it first")
        with translated(path):
            if mode in ("c", "x"):
                cls._create_if_blank(path, mode, lock_timeout, initial)
            if mode != "r" and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
                raise ReadOnlyStore(f"{path} or its folder cannot be written; open it with mode 'r'")
            options = connect.reader_options(path) if mode == "r" else "mode=rw"
            writable = mode != "r"
            database = cls(path, writable=writable, options=options, lock_timeout=lock_timeout, durability=durability)
            try:
                with database.reading() as reading:
                    reading.head()
                database._is_sound = True
                if database.writable:
                    # readers block the switch to a write-ahead log, so it is made before there is work to lose
                    database._writer(database._here())
            except BaseException:
                database.close()
                raise
        return database

    @staticmethod
    def _create_if_blank(path: Path, mode: Mode, lock_timeout: float, initial: dict[str, Any]) -> None:
        # a journal says that the file's creation, or something else, was interrupted: SQLite undoes it below
        if path.exists() and path.stat().st_size and not Path(f"{path}-journal").exists():
            return
        lock = WriterLock(path)
        lock.acquire(lock_timeout)
        try:
            if not path.exists():
                connect.remove_leftovers(path)
            with closing(connect.connect(path, "mode=rwc")) as connection:
                if not connect.is_blank(connection):
                    if mode == "x":
                        raise StoreExists(f"{path} was created by another process just now")
                    return
                connect.create_tables(connection)
                Writing.create(connection, initial)
                connection.execute("COMMIT")
        finally:
            lock.release()

    def _here(self) -> Process:
        """Return this process's connections, unless the store was closed."""
        if self._closed:
            raise StoreClosed(f"{self.path} was closed; open it again")
        if self._state.is_refused:
            raise connect.refusal(self.path)
        return self._state

    @property
    def in_transaction(self) -> bool:
        """Whether the calling thread is inside `transaction`."""
        return self._here().owner == threading.get_ident()

    @contextmanager
    def reading(self, *, own_writes: bool = False) -> Iterator[Reading]:
        """Read in one transaction: everything seen inside is one commit's state.

        Parameters
        ----------
        own_writes : bool
            Inside `transaction`, see what it has written so far instead of the last commit.
        """
        state = self._here()
        if own_writes and state.owner == threading.get_ident() and state.writing is not None:
            with translated(self.path):
                yield state.writing
            return
        with translated(self.path), state.connection(self._options) as connection:
            connection.execute("BEGIN")
            yield Reading(connection)

    @property
    def options(self) -> dict[str, Any]:
        """What another handle like this one is opened with, beside the path and the mode."""
        return {"lock_timeout": self._lock_timeout, "durability": self._durability}

    def check_open(self) -> None:
        """Raise `StoreClosed` if the store was closed."""
        self._here()

    def check_writable(self) -> None:
        """Raise `ReadOnlyStore` if the store was opened for reading, `StoreClosed` if it was closed."""
        self._here()
        if not self.writable:
            raise ReadOnlyStore(f"{self.path} was opened with mode 'r'; open it with 'rw' or 'c' to write")

    @contextmanager
    def transaction(self) -> Iterator[Writing]:
        """Write in one transaction, held by the calling thread: all of it commits, or nothing.

        Raises
        ------
        ReadOnlyStore, StoreLocked, StorageFull, UnsupportedMode
        """
        with self._exclusive("transactions do not nest; this thread is inside one already") as (state, writer):
            epoch = state.epoch
            with translated(self.path):
                writer.execute("BEGIN IMMEDIATE")
            try:
                with translated(self.path):
                    state.writing = Writing(writer)
                yield state.writing
                if state.epoch is not epoch:
                    raise StoreClosed(f"{self.path}: a forked child cannot commit its parent's transaction")
                self._check_standing(state.writing)
                state.check_same_file()
                with translated(self.path):
                    state.writing.finish()
                    writer.execute("COMMIT")
            except BaseException:
                if state.epoch is epoch and writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise
            with suppress(sqlite3.Error):  # the commit stands, and the log only stays long
                self._checkpoint(state, writer)

    @contextmanager
    def _exclusive(self, refusal: str) -> Iterator[tuple[Process, sqlite3.Connection]]:
        """Hold the writer lock; `UnsupportedMode` with `refusal` if this thread is in a transaction."""
        self.check_writable()
        state = self._here()
        if state.owner == threading.get_ident():
            raise UnsupportedMode(refusal)
        self._lock(state)
        epoch = state.epoch
        try:
            state.check_same_file()
            with translated(self.path):
                writer = self._writer(state)
            yield state, writer
        finally:
            if state.epoch is epoch:
                self._unlock(state)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Write as a part of this thread's open transaction, or else in one of its own.

        What fails half way leaves nothing behind, inside an open transaction too.
        """
        state = self._here()
        if state.owner != threading.get_ident() or state.writing is None:
            with self.transaction() as writing, translated(self.path):
                yield writing
            return
        self._check_standing(state.writing)
        with translated(self.path), state.writing.savepoint():
            yield state.writing

    def _check_standing(self, writing: Writing) -> None:
        if not writing.is_open:
            raise StorageFull(
                f"SQLite undid the whole transaction on {self.path} after an error such as a full disk; leave "
                "transaction(), make room, and start it again"
            )

    def _writer(self, state: Process) -> sqlite3.Connection:
        if state.writer is None:
            state.writer = connect.connect_writer(self.path, self._lock_timeout, self._durability)
        return state.writer

    def _lock(self, state: Process) -> None:
        if not state.begin_writing(self._lock_timeout):
            raise StoreLocked(
                f"{self.path} has been locked for {self._lock_timeout:g} s by another thread of this process; wait "
                "for its transaction to end, or open the store with a longer lock_timeout"
            )
        try:
            state.lock.acquire(self._lock_timeout)
        except BaseException:
            state.writer_mutex.release()
            raise
        state.owner = threading.get_ident()

    def _unlock(self, state: Process) -> None:
        state.owner = None
        state.writing = None
        state.lock.release()
        state.writer_mutex.release()

    def _checkpoint(self, state: Process, writer: sqlite3.Connection) -> None:
        """Fold a long write-ahead log into the file, as far as readers allow, without waiting for them."""
        size = connect.wal_bytes(self.path)
        if size < state.checkpoint_mark + _CHECKPOINT_BYTES:
            return
        state.checkpoint_mark = size if self._fold(writer, 0) else 0

    def _fold(self, writer: sqlite3.Connection, milliseconds: int) -> bool:
        """Fold the log into the file, waiting so long for readers; return whether one is still in the way."""
        writer.execute(f"PRAGMA busy_timeout = {milliseconds}")
        try:
            (busy, _, _) = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            writer.execute(f"PRAGMA busy_timeout = {connect.BUSY_MILLISECONDS}")
        return bool(busy)

    def vacuum(self) -> bool:
        """Give free pages back to the file system, in place; return whether a reader held that back.

        The file gets shorter once no reader looks at what was there before: then here, or at a later checkpoint.

        Raises
        ------
        ReadOnlyStore, StoreLocked, StorageFull, UnsupportedMode
        """
        refusal = "this cannot be done inside transaction(); leave the with block first"
        with self._exclusive(refusal) as (state, writer), translated(self.path):
            writer.execute("VACUUM")
            is_held_back = self._fold(writer, int(1000 * min(self._lock_timeout, _MAX_WAIT)))
            state.checkpoint_mark = connect.wal_bytes(self.path)
        return is_held_back

    def file_bytes(self) -> int:
        """Return the size of the file and its write-ahead log."""
        return self.path.stat().st_size + connect.wal_bytes(self.path)

    def backup(self, destination: Path) -> None:
        """Copy the last commit's state to a new file, while others read and write.

        Raises
        ------
        StoreExists
            If the destination exists.
        """
        if destination.exists():
            raise StoreExists(f"{destination} exists; a backup never replaces a file")
        try:
            with translated(destination), closing(connect.connect(destination, "mode=rwc")) as target:
                with self.reading() as reading:
                    reading.copy_to(target)
                target.execute("PRAGMA journal_mode = DELETE")
        except BaseException:
            destination.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Close all connections; the last handle leaves one file behind. Closing twice is allowed."""
        if self._closed or self._state.is_refused:
            self._closed = True
            return
        if self.in_transaction:
            raise UnsupportedMode("close() inside transaction(); leave the with block first")
        state = self._state
        self._closed = True
        state.close()
        with suppress(BinragError, sqlite3.Error, OSError):
            self._fold_log(state)

    def discard(self) -> None:
        """Remove a file that this handle, closed by now, has made and could not fill."""
        connect.remove_leftovers(self.path)
        for suffix in ("", "-lock"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _fold_log(self, state: Process) -> None:
        """Leave one file behind, in rollback-journal mode, if no other handle is open."""
        if not self._is_sound or self._options != "mode=rw" or not os.access(self.path, os.W_OK):
            return
        state.check_same_file()
        if not self.writable:
            with closing(connect.connect(self.path, "mode=rw")) as connection:
                if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    return
        state.lock.acquire(0)
        try:
            with closing(connect.connect(self.path, "mode=rw")) as connection:
                connection.execute("PRAGMA busy_timeout = 0")
                connection.execute("PRAGMA journal_mode = DELETE")
            state.lock.remove()
        finally:
            state.lock.release()
