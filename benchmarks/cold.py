"""Codes in memory, int8 vectors on disk: what it takes to answer as float32 does.

A code hands on its best rows, their int8 vectors are read from a file, and these decide. The better the code, the fewer
reads are needed for 99 % of float32's top 10.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.contenders import Contender, FaissModel, FaissSearch, Int8Model
from benchmarks.datasets import Dataset
from benchmarks.metrics import recall
from benchmarks.ours import Coding, fitted
from benchmarks.outcomes import FittedInSpace, Training
from binrag import pipeline
from binrag.indexes import FlatIndex
from binrag.types import Float32, Int64

WANTED = 0.99
READS = (10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 400, 800)
N_TIMED = 100

Search = Callable[[Float32, int], Int64]
"""A query float32 (dim,) and a number of rows, to that many rows, best first."""


@dataclass(frozen=True, slots=True)
class ColdResult:
    """What one code needs beside int8 vectors on disk.

    Attributes
    ----------
    name : str
        The code.
    hot_bytes : float
        Bytes a row in memory.
    reads : int
        Vectors read for a query: the fewest of `READS` with which `WANTED` is reached, or the most there are.
    recall_at_10 : float
        What is reached with them.
    milliseconds : float
        Median of a search for 10 in one thread: codes, then vectors.
    """

    name: str
    hot_bytes: float
    reads: int
    recall_at_10: float
    milliseconds: float


class ColdVectors:
    """Int8 vectors with a scale a row, in a file that is read by row.

    Parameters
    ----------
    rows : float32 (n, dim)
        The vectors.
    path : Path
        The file to write.
    """

    def __init__(self, rows: Float32, path: Path) -> None:
        numbers, scales = Int8Model(rows.shape[1]).encode(rows)
        record = np.dtype([("numbers", np.int8, rows.shape[1]), ("scale", np.float32)])
        records = np.empty(len(rows), record)
        records["numbers"], records["scale"] = numbers, scales[:, 0]
        records.tofile(path)
        self.records = np.memmap(path, record, "r")

    def scores(self, query: Float32, rows: Int64) -> Float32:
        """Return the inner products of a query with some rows' vectors, float32 (n,)."""
        read = self.records[np.sort(rows)][np.argsort(np.argsort(rows))]
        scores: Float32 = (read["numbers"].astype(np.float32) @ query) * read["scale"]
        return scores


def measure_cold(
    name: str, hot_bytes: float, search: Search, data: Dataset, exact: Int64, cold: ColdVectors
) -> ColdResult:
    """Find how many reads a code needs, and time a search with so many."""
    deepest = min(READS[-1], len(data.corpus))
    found = [search(query, deepest) for query in data.query_vectors]
    scores = [cold.scores(query, rows) for query, rows in zip(data.query_vectors, found, strict=True)]
    reads, reached = deepest, 0.0
    for n in READS:
        best = [rows[:n][np.argsort(-s[:n], kind="stable")[:10]] for rows, s in zip(found, scores, strict=True)]
        reads, reached = n, float(recall(best, list(exact), 10).mean())
        if reached >= WANTED or n >= deepest:
            break
    seconds = []
    for query in data.query_vectors[:N_TIMED]:
        start = time.perf_counter()
        rows = search(query, reads)
        np.argsort(-cold.scores(query, rows), kind="stable")[:10]
        seconds.append(time.perf_counter() - start)
    return ColdResult(name, hot_bytes, reads, reached, 1e3 * float(np.median(seconds)))


def our_search(coding: Coding, training: Training, data: Dataset, cache: Path | None) -> tuple[float, Search]:
    """Return the bytes a row of one of binrag's codes, and its search by scan and rescoring."""
    binarizer, _ = fitted(coding, 0, training, cache)
    index = FlatIndex.from_codes(binarizer.transform(data.corpus), binarizer.shape.by_tables)

    def search(query: Float32, n: int) -> Int64:
        return pipeline.retrieve(index, binarizer.query(query), pipeline.default_candidates(index, 10)).top(n).rows

    return float(binarizer.code_bytes), search


def peer_search(contender: Contender, training: Training, data: Dataset, cache: Path | None) -> tuple[float, Search]:
    """Return the bytes a row of a peer's codes of centred vectors, and its own search of them."""
    fit = FittedInSpace(contender, "centred", 0, training, cache)
    model, _ = fit.model()
    if isinstance(model, FaissModel):
        model = FaissSearch(model.index)
    coded = model.encode(fit.space.row(data.corpus))

    def search(query: Float32, n: int) -> Int64:
        return model.rank(coded, fit.space.query(query[None]), n)[0]

    return model.row_bytes, search


def cold_table(results: Sequence[ColdResult]) -> str:
    """Return the results as a table, fewest bytes first."""
    header = ("code", "hot bytes a row", "vectors read", "recall@10", "ms a query, one thread")
    return report.table(
        header,
        [
            (
                result.name,
                report.number(result.hot_bytes, 0),
                report.number(result.reads, 0),
                report.number(result.recall_at_10, 4),
                report.number(result.milliseconds, 2),
            )
            for result in sorted(results, key=lambda result: result.hot_bytes)
        ],
    )


def records(results: Sequence[ColdResult]) -> list[dict[str, Any]]:
    """Return the results for the JSON file."""
    return [asdict(result) for result in results]
