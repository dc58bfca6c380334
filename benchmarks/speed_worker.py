"""Processes of `benchmarks.speed`: each holds one contender and does what it is asked, one request at a time.

Requests and replies are pickled over standard input and output; what a library prints goes to a log. A process that
ends is its contender's failure, and nobody else's.
"""

from __future__ import annotations

import os
import pickle
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks import report
from benchmarks.speed_data import Rows
from benchmarks.speed_engines import Contender, Engine
from binrag.errors import BinragError
from binrag.types import Float32

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    "LANCE_CPU_THREADS",
    "LANCE_IO_THREADS",
    "NUMBA_NUM_THREADS",
)
QUIET = {"ANONYMIZED_TELEMETRY": "False", "HF_HUB_OFFLINE": "1", "LANCE_LOG": "error", "PYTHONWARNINGS": "ignore"}
BUILDING = {"OMP_WAIT_POLICY": "passive"}
"""Threads that spin at OpenMP's barriers take up to a hundred times as long where another process has a core."""

WARM_QUERIES, WARM_SECONDS = 10, 0.1
"""Untimed ones before each block, at most: another contender had the processor's caches before."""


class ContenderFailed(BinragError, RuntimeError):
    """A contender raised an error, ended, or took too long."""


class Worker:
    """A process with one contender.

    Parameters
    ----------
    contender : Contender
        Whom it holds.
    threads : int
        Threads it may use; it is pinned to so many cores where that can be done.
    log : Path
        Where what it prints is written.
    settings : dict, optional
        Further environment variables.
    """

    def __init__(self, contender: Contender, threads: int, log: Path, settings: dict[str, str] | None = None) -> None:
        self.log = log
        counts = dict.fromkeys(THREAD_VARIABLES, str(threads))
        paths = os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.speed_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **counts, **QUIET, **(settings or {}), "PYTHONPATH": paths},
            )
        try:
            self.ask("start", threads, limit=300)
            self.ask("load", contender, limit=300)
        except BaseException:
            self.close()
            raise

    def ask(self, name: str, *arguments: Any, limit: float = 3600) -> Any:
        """Make a request and return its reply.

        Raises
        ------
        ContenderFailed
            The contender raised an error, the process ended, or it took more than `limit` seconds; then it is killed.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            pickle.dump((name, arguments), self.process.stdin)
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], limit)[0]:
                self.close()
                raise ContenderFailed(f"{name} took more than {limit:,.0f} s")
            kind, value = pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            self.close()
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
            raise ContenderFailed(f"{name}: the process ended with code {self.process.returncode}: {last}") from None
        if kind == "error":
            raise ContenderFailed(f"{name}: {value}")
        return value

    def close(self) -> None:
        """End the process."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):  # it had ended with a request unread
                    stream.close()
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Server:
    """The other end: what can be asked of a process."""

    engine: Engine
    queries: Float32

    def start(self, threads: int) -> None:
        """Stay on so many cores, before any library counts them."""
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    def load(self, contender: Contender) -> None:
        """Make the engine and import what it needs."""
        self.engine = contender.engine(**contender.options)
        self.engine.load()

    def build(self, rows: Rows, folder: Path) -> dict[str, float]:
        """Build into an empty folder; return the seconds and the most memory it took."""
        self.engine.warm(rows, folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        start = time.perf_counter()
        self.engine.build(rows, folder)
        seconds = time.perf_counter() - start
        return {"build_s": seconds, "build_peak_bytes": report.peak_bytes()}

    def open(self, folder: Path, rows: Rows, threads: int, queries: Path, point: dict[str, Any]) -> dict[str, Any]:
        """Open what was built and ask the first query; return the milliseconds and the memory."""
        self.queries = np.load(queries, allow_pickle=False)
        before = memory()
        start = time.perf_counter()
        self.engine.open(folder, rows, threads)
        opened = time.perf_counter()
        after = memory()
        asked = time.perf_counter()
        self.engine.search(self.queries[0], **point)
        first = time.perf_counter()
        return {
            "open_ms": 1e3 * (opened - start),
            "first_ms": 1e3 * (first - asked),
            "loaded_bytes": before,
            "opened_bytes": after,
        }

    def answers(self, point: dict[str, Any], seconds: float, least: int) -> tuple[list[list[int]], float]:
        """Answer the queries one after another, for so many seconds but `least` ones at least.

        Returns
        -------
        list of list of int
            Rows found for the first queries.
        float
            Seconds a query.
        """
        found: list[Any] = []
        start = time.perf_counter()
        for i, query in enumerate(self.queries):
            if i >= least and time.perf_counter() - start > seconds:
                break
            found.append(self.engine.search(query, **point))
        taken = time.perf_counter() - start
        return [self.engine.rows(answer) for answer in found], taken / len(found)

    def block(self, point: dict[str, Any], numbers: Sequence[int], seconds: float, least: int) -> list[float]:
        """Return the milliseconds of single queries, for so many seconds but of `least` ones at least."""
        milliseconds: list[float] = []
        began = time.perf_counter()
        for number in numbers[:WARM_QUERIES]:
            self.engine.search(self.queries[number], **point)
            if time.perf_counter() - began > WARM_SECONDS:
                break
        began = time.perf_counter()
        for number in numbers:
            query = self.queries[number]
            start = time.perf_counter()
            if len(milliseconds) >= least and start - began > seconds:
                break
            self.engine.search(query, **point)
            milliseconds.append(1e3 * (time.perf_counter() - start))
        return milliseconds

    def batch(self, point: dict[str, Any], numbers: Sequence[int]) -> float:
        """Return the seconds that a batch of queries takes."""
        queries = self.queries[list(numbers)]
        self.engine.search(queries[0], **point)
        start = time.perf_counter()
        self.engine.search_batch(queries, **point)
        return time.perf_counter() - start

    def memory(self) -> int | None:
        """Return the memory that the process holds now."""
        return memory()


def memory() -> int | None:
    """Return the resident bytes of this process, shared and mapped ones among them; None where nothing tells."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    return None


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    server = Server()
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = ("ok", getattr(server, name)(*arguments))
        except Exception as error:
            reply = ("error", f"{type(error).__name__}: {error}")
        pickle.dump(reply, replies)
        replies.flush()


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies)
