"""Building and measuring the contenders of one cell of `benchmarks.speed`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.speed_data import Source, recall
from benchmarks.speed_engines import Contender, label
from benchmarks.speed_state import State, all_sources, digest, sources_of
from benchmarks.speed_worker import BUILDING, ContenderFailed, Worker
from binrag.threads import n_processors

ANSWER_SECONDS, BLOCK_SECONDS, BATCH_SECONDS = 60.0, 2.0, 5.0
"""A slow contender answers fewer queries than others, so that it takes about so long."""

LEAST_ANSWERS, LEAST_SINGLES, LEAST_BATCH = 10, 3, 5


@dataclass(frozen=True, slots=True)
class Cell:
    """Rows, their dimension, and the threads of a search."""

    rows: int
    dim: int
    threads: int

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"{self.rows:,} × {self.dim:,}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Plan:
    """How cells are measured.

    Attributes
    ----------
    rounds, batch_rounds : int
        Rounds of single queries, and of batches.
    singles, batch : int
        Queries a round of either kind.
    build_limit : float
        Seconds that a build may take.
    memory : float
        Bytes that open contenders may hold together before those are measured and closed.
    """

    rounds: int = 10
    batch_rounds: int = 3
    singles: int = 20
    batch: int = 100
    build_limit: float = 7200
    memory: float = 12e9


@dataclass
class Opened:
    """A contender that is open, and what was measured of it."""

    contender: Contender
    worker: Worker
    facts: dict[str, Any]
    points: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done and the seconds it took."""
    start = time.perf_counter()
    print(f"{what} …", end=" ", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(f"{time.perf_counter() - start:,.1f} s", file=sys.stderr, flush=True)


class Bench:
    """Builds and measures contenders over one source of rows.

    Parameters
    ----------
    source : Source
        Rows, queries and exact answers.
    state : State
        What is finished.
    plan : Plan
        How to measure.
    """

    def __init__(self, source: Source, state: State, plan: Plan) -> None:
        self.source, self.state, self.plan = source, state, plan
        self.logs = source.folder / "logs"
        self.logs.mkdir(exist_ok=True)

    def about(self, contender: Contender, rows: int, dim: int) -> dict[str, Any]:
        """Return what determines a build."""
        return {
            "step": "build",
            "contender": contender.name,
            "setting": contender.setting,
            "options": contender.options,
            "versions": contender.versions,
            "sources": sources_of(contender),
            "data": self.source.digest,
            "rows": rows,
            "dim": dim,
            "cpu": report.cpu_model(),
        }

    def build(self, contender: Contender, rows: int, dim: int) -> dict[str, Any]:
        """Build in a process of its own, unless that is finished; return seconds, bytes and folder, or the error."""
        about = self.about(contender, rows, dim)
        key = digest(about)
        folder = self.source.folder / "built" / f"{rows}x{dim}-{key}"
        done = self.state.get(key)
        if done is not None and (folder.exists() or "error" in done):
            return {**done, "folder": folder}
        made = self.source.rows(rows, dim)
        folder.parent.mkdir(exist_ok=True)
        with step(f"{rows:,} × {dim:,}: building {contender.name}"):
            try:
                with self._builder(contender) as worker:
                    result = worker.ask("build", made, folder, limit=self.plan.build_limit)
                result["disk_bytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            except ContenderFailed as error:
                result = {"error": str(error)}
        self.state.put(key, about, result)
        return {**result, "folder": folder}

    def measure(self, cell: Cell, contenders: Sequence[Contender]) -> list[dict[str, Any]]:
        """Build and measure a cell, unless that is finished; return a record of each contender."""
        about = {
            "step": "measure",
            "cell": [cell.rows, cell.dim, cell.threads],
            "plan": [self.plan.rounds, self.plan.batch_rounds, self.plan.singles, self.plan.batch, self.plan.memory],
            "queries": self.source.queries_digest,
            "binrag": all_sources(),
            "packages": report.versions(report.PACKAGES),
            "contenders": [[self.about(c, cell.rows, cell.dim), c.points] for c in contenders],
        }
        key = digest(about)
        done = self.state.get(key)
        if done is not None:
            return list(done["found"])
        with step(f"{cell.name}: rows and exact answers"):
            self.source.rows(cell.rows, cell.dim)
            self.source.truth(cell.rows, cell.dim)
        found = self._measure_all(cell, contenders)
        self.state.put(key, about, {"found": found})
        return found

    def _measure_all(self, cell: Cell, contenders: Sequence[Contender]) -> list[dict[str, Any]]:
        records: dict[str, dict[str, Any]] = {}
        built: list[tuple[Contender, dict[str, Any]]] = []
        for contender in contenders:
            reason = contender.why_not(cell.rows, cell.dim)
            facts = {"left_out": reason} if reason else self.build(contender, cell.rows, cell.dim)
            folder = facts.get("folder")
            if reason or "error" in facts:
                facts.pop("folder", None)
                records[contender.name] = {**described(contender, cell), **facts}
            elif folder is not None:
                built.append((contender, facts))
        for number, wave in enumerate(self._waves(cell, built, records)):
            self._measure_wave(cell, wave)
            reference = next((opened for opened in wave if opened.contender.is_ours and not opened.error), None)
            for opened in wave:
                if opened.contender.name not in records:
                    record = finished(opened, cell, number)
                    record["reference_ms"] = median(main_point(reference.points)) if reference else None
                    records[opened.contender.name] = record
        return [records[contender.name] for contender in contenders]

    def _waves(
        self, cell: Cell, built: list[tuple[Contender, dict[str, Any]]], records: dict[str, dict[str, Any]]
    ) -> Iterator[list[Opened]]:
        """Yield open contenders, as many at a time as memory lets; the first of binrag's is in every wave."""
        wave: list[Opened] = []
        held = 0
        try:
            for contender, facts in built:
                opened = self._opened(cell, contender, facts, records)
                if opened is None:
                    continue
                wave.append(opened)
                held += opened.facts["first_bytes"] or 0
                if held > self.plan.memory and len(wave) > 1:
                    yield wave
                    anchors = [opened for opened in wave if opened.contender.is_ours and not opened.error][:1]
                    for other in wave:
                        if other not in anchors:
                            other.worker.close()
                    wave = anchors
                    held = sum(opened.facts["first_bytes"] or 0 for opened in wave)
            if [opened for opened in wave if opened.contender.name not in records]:
                yield wave
        finally:
            for opened in wave:
                opened.worker.close()

    def _opened(
        self, cell: Cell, contender: Contender, facts: dict[str, Any], records: dict[str, dict[str, Any]]
    ) -> Opened | None:
        """Return a contender, open; None if it failed, which is its record then."""
        facts = dict(facts)
        folder: Path = facts.pop("folder")
        rows, queries = self.source.rows(cell.rows, cell.dim), self.source.queries(cell.dim)
        with step(f"{cell.name}: opening {contender.name}"):
            worker = None
            try:
                worker = Worker(contender, cell.threads, self._log(contender))
                opening = worker.ask("open", folder, rows, cell.threads, queries, contender.points[0])
                opening["first_bytes"] = worker.ask("memory")
            except ContenderFailed as error:
                if worker is not None:
                    worker.close()
                records[contender.name] = {**described(contender, cell), **facts, "error": str(error)}
                return None
        return Opened(contender, worker, {**facts, **opening})

    def _measure_wave(self, cell: Cell, wave: list[Opened]) -> None:
        vectors, tenth = self.source.rows(cell.rows, cell.dim).vectors, self.source.truth(cell.rows, cell.dim)
        queries = np.load(self.source.queries(cell.dim), allow_pickle=False)
        for opened in wave:
            opened.points = []
            with step(f"{cell.name}: recall of {opened.contender.name}"), failing(opened):
                for point in opened.contender.points:
                    found, seconds = opened.worker.ask("answers", point, ANSWER_SECONDS, LEAST_ANSWERS)
                    size = max(LEAST_BATCH, min(self.plan.batch, int(BATCH_SECONDS / seconds)))
                    rated = {"recall": recall(found, vectors, queries, tenth), "rated_queries": len(found)}
                    opened.points.append({"point": point, **rated, "ms": [], "batch_size": size, "batch_s": []})
        for number in range(self.plan.rounds):
            with step(f"{cell.name}: round {number + 1} of {self.plan.rounds}"):
                for opened in turned(wave, number):
                    self._round(opened, number, len(queries))
        for opened in turned(wave, 0):
            with failing(opened):
                opened.facts["used_bytes"] = opened.worker.ask("memory")

    def _round(self, opened: Opened, number: int, n_queries: int) -> None:
        first = number % len(opened.points)  # settings take turns in being asked after another contender
        with failing(opened):
            for measured in opened.points[first:] + opened.points[:first]:
                numbers = drawn(number, self.plan.singles, n_queries)
                asked = opened.worker.ask("block", measured["point"], numbers, BLOCK_SECONDS, LEAST_SINGLES)
                measured["ms"] += asked
                if number < self.plan.batch_rounds:
                    numbers = drawn(number, measured["batch_size"], n_queries)
                    measured["batch_s"].append(opened.worker.ask("batch", measured["point"], numbers))

    @contextmanager
    def _builder(self, contender: Contender) -> Iterator[Worker]:
        worker = Worker(contender, n_processors(), self._log(contender), BUILDING)
        try:
            yield worker
        finally:
            worker.close()

    def _log(self, contender: Contender) -> Path:
        return self.logs / f"{contender.name.replace(' ', '-').replace(',', '')}.log"


@contextmanager
def failing(opened: Opened) -> Iterator[None]:
    """Keep a contender's failure as its error; nothing is asked of it any more."""
    try:
        yield
    except ContenderFailed as error:
        opened.error = str(error)
        opened.worker.close()


def turned(wave: list[Opened], number: int) -> list[Opened]:
    """Return the contenders that still answer, another one first in each round."""
    first = number % len(wave)
    return [opened for opened in wave[first:] + wave[:first] if not opened.error]


def drawn(number: int, size: int, n_queries: int) -> list[int]:
    """Return the queries of a round: the next ones, from the first again after the last."""
    return [(number * size + i) % n_queries for i in range(size)]


def described(contender: Contender, cell: Cell) -> dict[str, Any]:
    """Return what a record says before anything was measured."""
    return {
        "rows": cell.rows,
        "dim": cell.dim,
        "threads": cell.threads,
        "contender": contender.name,
        "line": contender.line,
        "setting": contender.setting,
        "returns": contender.returns,
        "is_ours": contender.is_ours,
    }


def finished(opened: Opened, cell: Cell, wave: int) -> dict[str, Any]:
    """Return the record of a contender that was measured, or failed."""
    record = {**described(opened.contender, cell), **opened.facts, "wave": wave}
    if opened.error:
        return {**record, "error": opened.error}
    points = []
    for measured in opened.points:
        p50, p95 = np.quantile(measured["ms"], [0.5, 0.95]).tolist()
        rate = measured["batch_size"] / float(np.median(measured["batch_s"])) if measured["batch_s"] else None
        measured.update(p50_ms=p50, p95_ms=p95, batch_rate=rate, label=label(measured["point"]))
        points.append({**measured, "ms": [round(ms, 4) for ms in measured["ms"]]})
    return {**record, "points": points}


def main_point(points: Sequence[dict[str, Any]], least: float = 0.95) -> dict[str, Any]:
    """Return the fastest point with so much recall at least; if there is none, the one with the best recall."""
    good = [point for point in points if point["recall"] >= least]
    if good:
        return min(good, key=median)
    return min(points, key=lambda point: (-point["recall"], median(point)))


def median(point: dict[str, Any]) -> float:
    """Return the median milliseconds of a point's single queries."""
    return float(np.median(point["ms"]))
