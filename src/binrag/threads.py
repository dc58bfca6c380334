"""Threads that searches share, and locks that a fork does not leave locked for ever."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from types import TracebackType
from typing import TypeVar

_T = TypeVar("_T")

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


def n_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(calls: Sequence[Callable[[], _T]], n_threads: int) -> list[_T]:
    """Return what calls return, in their order; they are shared among threads that live on, this one included.

    An error is raised when no call is running any more.
    """
    n_others = min(n_threads, len(calls)) - 1
    n_others = n_others and min(n_others, n_processors() - 1)
    if n_others < 1:
        return [call() for call in calls]
    waiting = iter(range(len(calls)))
    taking = threading.Lock()
    results: list[_T | None] = [None] * len(calls)

    def work() -> None:
        while True:
            with taking:
                i = next(waiting, None)
            if i is None:
                return
            results[i] = calls[i]()

    futures: list[Future[None]] = []
    for _ in range(n_others):
        try:
            futures.append(_pool().submit(work))
        except RuntimeError:  # the interpreter shuts down, this thread does all
            break
    try:
        work()
    finally:
        running = [future for future in futures if not future.cancel()]  # others have nothing left to do
        wait(running)
    for future in running:
        future.result()
    return results  # type: ignore[return-value]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_processors(), thread_name_prefix="binrag")


def _renew_all() -> None:
    _pool.cache_clear()  # its threads stayed behind
    for mutex in list(_mutexes):
        mutex.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
