"""Locks that a fork does not leave locked for ever."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType

_mutexes: weakref.WeakSet[Mutex] = weakref.WeakSet()


class Mutex:
    """A lock that is free again in a forked child, where the thread that held it does not exist."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _mutexes.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Replace the lock by a free one."""
        self._lock = threading.Lock()


def _renew_all() -> None:
    for mutex in list(_mutexes):
        mutex.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
