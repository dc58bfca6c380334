"""The writer lock: a lock file beside the store, which says who holds it."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from binrag.errors import ReadOnlyStore, StoreLocked


class WriterLock:
    """Held for every write transaction and every checkpoint, by one handle of one process at a time.

    Parameters
    ----------
    path : Path
        The store's path; the lock file is ``<path>-lock``.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock  # not needed to read a store

        self._path = path
        self._file = Path(f"{path}-lock")
        self._lock = FileLock(self._file, thread_local=False)

    def acquire(self, timeout: float) -> None:
        """Take the lock.

        Raises
        ------
        StoreLocked
            If another writer holds it longer than `timeout` seconds; names that writer if it can.
        ReadOnlyStore
            If the lock file cannot be written.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))
        except Timeout:
            raise StoreLocked(
                f"{self._path} has been locked for {timeout:g} s by another writer{self._holder()}; wait for it to "
                "finish, or open the store with a longer lock_timeout"
            ) from None
        except OSError as error:
            raise ReadOnlyStore(f"cannot lock {self._path} for writing: {error}") from error
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        # emptied first, the file would be written out at once by some file systems
        with suppress(OSError), self._file.open("r+b") as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}\n".encode())

    def remove(self) -> None:
        """Remove the lock file while holding it; a waiter that has it open sees that and makes a new one."""
        with suppress(OSError):
            self._file.unlink()

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def _holder(self) -> str:
        try:
            holder = self._file.read_text(errors="replace").partition("\n")[0]
        except OSError:
            holder = ""
        return f" ({holder})" if holder else ""
