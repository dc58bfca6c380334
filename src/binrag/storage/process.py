"""What an open store has in one process, and how it gets through a fork.

SQLite keeps its file locks in books of its own, one for each process and file. A forked child inherits the books,
but not the locks: a connection it opens then takes none, and reads torn commits. So every connection is closed
before a fork, and parent and child open theirs anew. Where that cannot be, inside a transaction, the child is
refused the file.
"""

from __future__ import annotations

import ctypes
import logging  # noqa: F401  (see _register_hooks)
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from binrag.errors import StoreClosed
from binrag.storage import connect
from binrag.storage.lock import WriterLock
from binrag.storage.tables import Writing

_FORK_SECONDS = 30.0
"""How long a fork waits for readers and writers in other threads to end what they do."""

_registry = threading.RLock()
"""Held from before a fork until after it, so that no store is opened meanwhile."""

_processes: weakref.WeakSet[Process] = weakref.WeakSet()


class Process:
    """Connections and locks of one handle in one process.

    Attributes
    ----------
    writer : sqlite3.Connection or None
        The connection for write transactions.
    writer_mutex : threading.Lock
        Held by the thread in a write transaction, together with `lock`.
    owner : int or None
        That thread.
    writing : Writing or None
        Its transaction.
    is_refused : bool
        Whether this is a child that was forked when the connections could not be closed.
    checkpoint_mark : int
        Size of the write-ahead log when it could not be folded the last time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self.checkpoint_mark = 0
        self.is_refused = False
        self._renew()
        _register_hooks()
        with _registry:
            _processes.add(self)

    def _renew(self) -> None:
        self._idle: list[sqlite3.Connection] = []
        self._lent: dict[object, tuple[sqlite3.Connection | None, int]] = {}
        self._gate = threading.Condition()
        self._holds_readers = False
        self._holds_writers = False
        self._is_closed = False
        self.writer: sqlite3.Connection | None = None
        self.writer_mutex = threading.Lock()
        self.lock = WriterLock(self._path)
        self.owner: int | None = None
        self.writing: Writing | None = None
        self.epoch = object()
        """Another object after a fork, in the child: what was begun before it is not the child's to end."""

    def check_same_file(self) -> None:
        """Refuse a path at which there is another file by now: SQLite would mix the two.

        Raises
        ------
        StoreClosed
            If the file that was opened was removed, moved or replaced.
        """
        try:
            is_same = self._identity is None or connect.identity(self._path) == self._identity
        except OSError:
            is_same = False
        if not is_same:
            raise StoreClosed(
                f"{self._path} was removed, moved or replaced while it was open; close this handle, and open the path "
                "again"
            )

    @contextmanager
    def connection(self, options: str) -> Iterator[sqlite3.Connection]:
        """Lend a read connection, an idle one or a new one."""
        self.check_same_file()
        epoch, loan = self.epoch, object()
        with self._gate:
            self._gate.wait_for(lambda: not self._holds_readers)
            connection = self._idle.pop() if self._idle else None
            self._lent[loan] = (connection, threading.get_ident())
        try:
            if connection is None:
                connection = self._connected(loan, options)
            yield connection
        finally:
            if self.epoch is epoch:
                self._take_back(loan, connection)

    def _connected(self, loan: object, options: str) -> sqlite3.Connection:
        connection = connect.connect_reader(self._path, options)
        self._lent[loan] = (connection, threading.get_ident())
        if self._identity is None:
            self._identity = connect.identity(self._path)
        try:
            connect.check_identity(connection, self._path)
            connect.check_schema(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_back(self, loan: object, connection: sqlite3.Connection | None) -> None:
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        finally:
            with self._gate:
                del self._lent[loan]
                if connection is not None and not self._is_closed:
                    self._idle.append(connection)
                    connection = None
                self._gate.notify_all()
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """Close all connections that nobody is reading with; the others close when they are given back."""
        with self._gate:
            self._is_closed = True
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()
        with self.writer_mutex:
            self._close_writer()
        with _registry:
            _processes.discard(self)

    def _close_writer(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def before_fork(self) -> bool:
        """Close all connections and hold new ones off; return whether that could be done."""
        me = threading.get_ident()
        if self.owner == me or any(reader == me for _, reader in list(self._lent.values())):
            return False
        with self._gate:
            self._holds_writers = True
        has_mutex = self.writer_mutex.acquire(timeout=_FORK_SECONDS)
        with self._gate:
            # a transaction that goes on may still want to read, so readers are held off after writers only
            self._holds_readers = has_mutex
            if has_mutex and self._gate.wait_for(lambda: not self._lent, timeout=_FORK_SECONDS):
                while self._idle:
                    self._idle.pop().close()
                self._close_writer()
                return True
        self._go_on(has_mutex)
        return False

    def after_fork_in_parent(self) -> None:
        """Let readers and writers go on."""
        self._go_on(has_mutex=True)

    def _go_on(self, has_mutex: bool) -> None:
        if has_mutex:
            self.writer_mutex.release()
        with self._gate:
            self._holds_readers = self._holds_writers = False
            self._gate.notify_all()

    def begin_writing(self, timeout: float) -> bool:
        """Take the writer mutex for the calling thread; return whether it came free in time."""
        with self._gate:
            self._gate.wait_for(lambda: not self._holds_writers)
        return self.writer_mutex.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))

    def after_fork_in_child(self, is_clean: bool) -> None:
        """Start with nothing; refuse the file if the parent's connections are still in this process's memory."""
        if not is_clean:
            self.is_refused = True
            connect.refuse(self._path)
            for value in (self.lock, self.writer, self.writing, *self._idle, *self._lent.values()):
                _leak(value)
        self._renew()


def _leak(value: object) -> None:
    """Keep an object for ever: to close a parent's connection in a child would harm the parent."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


_forking: list[tuple[Process, bool]] = []


def _before_fork() -> None:
    _registry.acquire()
    _forking[:] = [(process, process.before_fork()) for process in list(_processes)]


def _after_fork_in_parent() -> None:
    for process, is_clean in _forking:
        if is_clean:
            process.after_fork_in_parent()
    _forking.clear()
    _registry.release()


def _after_fork_in_child() -> None:
    for process, is_clean in _forking:
        process.after_fork_in_child(is_clean)
    _forking.clear()
    _registry.release()


@cache
def _register_hooks() -> None:
    """Have the hooks run; a second call does nothing.

    Before a fork, hooks run in the reverse order of their registration. A thread that we wait for may hold or want
    the locks of logging or filelock, so theirs have to be taken after ours: both are imported by now.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )
