"""Opening SQLite on a store file, and turning SQLite's errors into ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from binrag.errors import (
    BinragError,
    CorruptStore,
    FormatVersionError,
    NotAStore,
    ReadOnlyStore,
    StorageFailed,
    StorageFull,
    StoreClosed,
    StoreLocked,
    StoreNotFound,
)
from binrag.storage.schema import APPLICATION_ID, FORMAT_VERSION, PAGE_SIZE, TABLES, foreign
from binrag.types import Durability

BUSY_MILLISECONDS = 10_000
"""How long a statement waits for a lock that SQLite holds for moments only."""

CACHE_KIB = 64 * 2**10
"""Pages that the writer holds; with fewer, ids in no order are read from disk again and again by a long `add`."""

_SYNCHRONOUS: dict[Durability, str] = {"commit": "FULL", "os": "NORMAL"}
"""With a write-ahead log: sync at every commit, or at checkpoints only, which keeps the order of commits too."""

_MAX_SECONDS = 1e6
"""SQLite counts milliseconds in 32 bits."""


DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite's driver raises on a damaged file; the second where SQLite's message quotes bytes that are no text."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise binrag's errors where SQLite raises its own."""
    try:
        yield
    except sqlite3.Error as error:
        raise _typed(path, error) from error
    except UnicodeDecodeError as error:
        raise CorruptStore(f"{path} is damaged: SQLite quotes what is no text; restore it from a backup") from error


def _typed(path: Path, error: sqlite3.Error) -> BinragError:
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return NotAStore(f"{path} is not a binrag store: {error}")
    if code == sqlite3.SQLITE_CORRUPT or str(error).startswith("Could not decode"):  # the driver's own, without a code
        return CorruptStore(f"{path} is damaged: {error}; restore it from a backup")
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StorageFull(f"no room to write {path}: {error}; nothing of this call was stored")
    if code == sqlite3.SQLITE_IOERR:
        return StorageFailed(
            f"the system failed to read or write {path}: {error} ({error.sqlite_errorname}); what was committed before "
            "stands; look at the disk and the system's log, then try again"
        )
    if code == sqlite3.SQLITE_READONLY:
        return ReadOnlyStore(f"{path} cannot be written: {error}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(f"{path} is in use by another program: {error}")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreNotFound(f"{path} cannot be opened: {error}; check that it exists and may be read")
    return BinragError(f"{path}: {error}")


_refused: set[tuple[int, int]] = set()
"""Device and inode of the files that this process must not open."""


def refuse(path: Path) -> None:
    """Refuse a file from now on in this process: it was forked inside a transaction on it."""
    with suppress(OSError):
        _refused.add(identity(path))


def refusal(path: Path) -> StoreClosed:
    """Return the error for a refused file."""
    return StoreClosed(
        f"this process was forked inside a transaction on {path}, so SQLite cannot lock it here; leave transaction() "
        "before forking, or start the process with the spawn method"
    )


def identity(path: Path) -> tuple[int, int]:
    """Return the device and the inode of a file: the same ones for as long as somebody has it open."""
    status = os.stat(path)  # noqa: PTH116 (a third of the time, for every search)
    return status.st_dev, status.st_ino


def remove_leftovers(path: Path) -> None:
    """Remove the logs of a store that somebody removed: a new one at its path would share them with its handles."""
    for suffix in ("-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def connect(path: Path, options: str, timeout: float = BUSY_MILLISECONDS / 1000) -> sqlite3.Connection:
    """Open a connection with URI options such as ``mode=rw``.

    Raises
    ------
    StoreClosed
        In a child that was forked inside a transaction on this file.
    """
    if _refused and path.exists() and identity(path) in _refused:
        raise refusal(path)
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA mmap_size = 0")  # what is cut off a mapped file would end the process
    return connection


def connect_reader(path: Path, options: str) -> sqlite3.Connection:
    """Open a connection that cannot write."""
    connection = connect(path, options)
    connection.execute("PRAGMA query_only = ON")
    return connection


def connect_writer(
    path: Path, timeout: float = BUSY_MILLISECONDS / 1000, durability: Durability = "commit"
) -> sqlite3.Connection:
    """Open the connection for write transactions, waiting for readers of a store that nobody has open to write."""
    connection = connect(path, "mode=rw", min(timeout, _MAX_SECONDS))
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        connection.close()
        raise ReadOnlyStore(f"{path} cannot be written with a write-ahead log (journal mode {mode!r})")
    connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: past the drive's own cache
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    return connection


def reader_options(path: Path) -> str:
    """Choose how to open a store for reading only, by what the system lets us do.

    Raises
    ------
    ReadOnlyStore
        If the folder cannot be written and the write-ahead log still holds commits: they could not be seen.
    """
    return "mode=rw" if os.access(path.parent, os.W_OK) else untouching_options(path)


def untouching_options(path: Path) -> str:
    """Choose how to open a store so that its file stays as it is, byte for byte.

    Raises
    ------
    ReadOnlyStore
        If the folder cannot be written and the write-ahead log still holds commits: they could not be seen.
    """
    connection = connect(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        wal = wal_bytes(path)
        if wal:
            raise ReadOnlyStore(
                f"{path} has {wal:,} bytes in its write-ahead log, and its folder cannot be written; open it once "
                "where the folder can be written, or copy it there together with its -wal file"
            ) from error
        return "immutable=1"
    finally:
        connection.close()
    return "mode=ro"


def wal_bytes(path: Path) -> int:
    """Return the size of the write-ahead log, 0 if there is none."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except OSError:
        return 0


def is_blank(connection: sqlite3.Connection) -> bool:
    """Return whether the file has no page yet: just created, or by somebody who was interrupted."""
    return bool(connection.execute("PRAGMA page_count").fetchone()[0] == 0)


def check_identity(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is not a store, or a format that this version does not read."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise NotAStore(
            f"{path} is not a binrag store: its application id is {application_id:#x}, expected {APPLICATION_ID:#x}"
        )
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT_VERSION:
        raise FormatVersionError(
            f"{path} has format version {version}, this version of binrag reads {FORMAT_VERSION}; "
            + ("update binrag" if version > FORMAT_VERSION else "rebuild the store from its documents")
        )


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file whose tables are not those of a store, before any is read: what is foreign could run code."""
    problems = foreign(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    if problems:
        place, problem = problems[0]
        raise CorruptStore(f"{path} does not have the tables of a store: {place}: {problem}; see binrag.repair")


def create_tables(connection: sqlite3.Connection) -> None:
    """Make a blank file a store, in one transaction."""
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    for statement in TABLES:
        connection.execute(statement)
