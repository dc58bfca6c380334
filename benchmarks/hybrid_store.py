"""Whole hybrid searches of a store file: `python -m benchmarks.hybrid_store --rows N --data DIR …`.

Documents are the data's own, in order and again; copies have a tenth of their words replaced, and vectors at a cosine
of 0.97 with the first. A process of its own adds them, in commits of 50,000 that are followed by folds as they are due,
so that the memory of searching is that of searching alone. Legs take turns, in one thread; a query's vector is given
with its text. Then single documents are added, each with a word of its own, that it is to be found by at once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import report
from benchmarks.copies import changed_texts, changed_vectors
from benchmarks.datasets import load
from binrag import Store, pipeline
from binrag.errors import BinragError, InvalidInput
from binrag.indexes import FlatIndex
from binrag.lexical import LexicalIndex
from binrag.storage import Reading
from binrag.store import adding, autofit, legs, words
from binrag.store.space import VectorSpace
from binrag.types import Float32, Legs

COSINE = 0.97
K = 10
N_ADDED = 100
LEGS: tuple[Legs, ...] = ("dense", "lexical", "hybrid")

Calls = Sequence[tuple[str, Any, str]]
"""Functions: a label, and the module or class that has one by a name."""

WRITING: Calls = [("fold", words, "fold"), ("folding", adding, "fold_if_due"), ("fitting", autofit, "fit")]
"""What may follow a commit; without a fold, folding only finds that none is due."""

PARTS: Calls = [
    ("the query's tables", VectorSpace, "query"),
    ("scan of the codes", FlatIndex, "retrieve_batch"),
    ("candidates by all bits of their codes", pipeline, "rescore_codes"),
    ("reading kept vectors", Reading, "vectors"),
    ("decoding them", legs, "decode_vectors"),
    ("scoring them", legs, "rescore_vectors"),
    ("finding rows by words", LexicalIndex, "retrieve"),
    ("coverage of the words", LexicalIndex, "coverage"),
    ("reading the hits' texts", Reading, "documents_by_row"),
]
"""What a hybrid search consists of; none of them calls another."""


@dataclass(frozen=True, slots=True)
class Built:
    """What making the file took.

    Attributes
    ----------
    n_rows, n_commits, n_folds : int
    add_seconds, processor_seconds, longest_commit_seconds : float
        All of adding, by the clock and of the processor; the longest commit alone, without what followed it.
    fold_seconds, longest_fold_seconds, fit_seconds : float
        What followed: indexes of words, and codes fitted to the vectors.
    file_bytes, peak_bytes : int
        The file; the most memory of the process, which holds all of the data.
    """

    n_rows: int
    n_commits: int
    n_folds: int
    add_seconds: float
    processor_seconds: float
    longest_commit_seconds: float
    fold_seconds: float
    longest_fold_seconds: float
    fit_seconds: float
    file_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The file, opened.

    Attributes
    ----------
    process_first_ms : float
        Opening and the first hybrid search in a process that has no machine code yet.
    open_ms, first_ms : float
        Opening again; the first hybrid search after that, which loads all codes and the index of words.
    n_tail : int
        Rows since the last fold, whose texts that search cuts into words.
    code_bytes, word_bytes : int
        In memory: codes, and the folded index of words.
    """

    process_first_ms: float
    open_ms: float
    first_ms: float
    n_tail: int
    code_bytes: int
    word_bytes: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds a search for ten by some legs, median and 95th percentile: of the clock, and of the processor."""

    legs: str
    clock: tuple[float, float]
    processor: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Single:
    """Single documents added.

    Attributes
    ----------
    add_ms, search_ms : (float, float)
        An add, and the first hybrid search after it: median and most.
    n_found : int
        Documents that the word of theirs found right then, of `N_ADDED`.
    n_folds, bytes_before, bytes_after : int
        Folds meanwhile; the folded index of words in the file.
    """

    add_ms: tuple[float, float]
    search_ms: tuple[float, float]
    n_found: int
    n_folds: int
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True)
class Result:
    """All figures.

    Attributes
    ----------
    built : Built or None
        None where the file was there.
    opened : Opened
    n_queries : int
    timings : list of Timing
    parts : dict of str to float
        Milliseconds of the processor for a hybrid search, in the mean, by `PARTS` and ``"everything else"``.
    single : Single
    peak_bytes : int
        The most memory of the process that searched.
    """

    built: Built | None
    opened: Opened
    n_queries: int
    timings: list[Timing]
    parts: dict[str, float]
    single: Single
    peak_bytes: int


@contextmanager
def watched(calls: Calls, clock: Callable[[], float] = time.perf_counter) -> Iterator[dict[str, list[float]]]:
    """Note, until the end of the block, the seconds of each call of some functions, by label."""
    seconds: dict[str, list[float]] = {label: [] for label, _, _ in calls}

    def watching(label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched_function(*arguments: Any, **named: Any) -> Any:
            start = clock()
            try:
                return function(*arguments, **named)
            finally:
                seconds[label].append(clock() - start)

        return watched_function

    with ExitStack() as patches:
        for label, owner, name in calls:
            patches.enter_context(mock.patch.object(owner, name, watching(label, getattr(owner, name))))
        yield seconds


def prepare(
    folders: Sequence[Path], split: str | None, n_queries: int, path: Path, n_rows: int, per_commit: int
) -> tuple[Built | None, list[str], Float32]:
    """Make the file where it is not there; return that, and queries with their vectors, the first of each set."""
    sets = [load(folder, split) for folder in folders]
    dims = {dataset.dim for dataset in sets}
    if len(dims) > 1:
        raise InvalidInput(f"the data sets have vectors of {sorted(dims)} dimensions, expected one")
    built = None
    if not path.exists():
        texts = [text for dataset in sets for text in dataset.texts]
        corpus = np.concatenate([dataset.corpus for dataset in sets])
        built = build(path, dims.pop(), documents(texts, corpus, n_rows, per_commit))
    queries = [query for dataset in sets for query in dataset.queries[:n_queries]]
    return built, queries, np.concatenate([dataset.query_vectors[:n_queries] for dataset in sets])


def documents(texts: Sequence[str], corpus: Float32, n: int, at_once: int) -> Iterator[tuple[list[str], Float32]]:
    """Yield n documents, so many at once: their texts, and their vectors, float32 (at_once, dim)."""
    draw, left = np.random.default_rng(0), changed_texts(texts, n)
    for first in range(0, n, at_once):
        rows = np.arange(first, min(first + at_once, n))
        vectors, is_copy = corpus[rows % len(corpus)], rows >= len(corpus)
        vectors[is_copy] = changed_vectors(vectors[is_copy], COSINE, draw)
        yield list(islice(left, len(rows))), vectors


def build(path: Path, dim: int, batches: Iterator[tuple[list[str], Float32]]) -> Built:
    """Make a store, one commit a batch."""
    n_rows, processor, added, followed = 0, 0.0, list[float](), list[float]()
    with watched(WRITING) as seconds, Store.open(path, "x", lexical="en", dim=dim) as store:
        for texts, vectors in batches:
            ids = [str(row) for row in range(n_rows, n_rows + len(texts))]
            known = _after_commits(seconds)
            _, wall, used = clocked(partial(store.add, texts, ids=ids, vectors=vectors, progress=False))
            added.append(wall / 1e3)
            processor += used / 1e3
            followed.append(_after_commits(seconds) - known)
            n_rows += len(texts)
            print(f"{n_rows:,} rows in {sum(added):.0f} s, {len(seconds['fold'])} folds", file=sys.stderr)
    return Built(
        *(n_rows, len(added), len(seconds["fold"]), sum(added), processor),
        max(a - b for a, b in zip(added, followed, strict=True)),
        *(sum(seconds["folding"]), max(seconds["folding"]), sum(seconds["fitting"])),
        *(path.stat().st_size, report.peak_bytes()),
    )


def _after_commits(seconds: dict[str, list[float]]) -> float:
    return sum(seconds["folding"]) + sum(seconds["fitting"])


def clocked(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a call returns, and its milliseconds by the clock and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    found = call()
    return found, 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - used)


def asked(store: Store, text: str, vector: Float32, by: Legs) -> Callable[[], Any]:
    """Return what searches for ten."""
    return partial(store.search, vector, K, legs=by, **({} if by == "dense" else {"text": text}))


def reopened(path: Path, n_rows: int, text: str, vector: Float32) -> tuple[Store, Opened]:
    """Open the file, which has so many documents, twice; return it as it is then."""

    def first_ms() -> tuple[Store, float, float]:
        store, open_ms, _ = clocked(partial(Store.open, path, "rw", n_threads=1))
        try:
            if store.count() != n_rows:
                raise InvalidInput(
                    f"{path} has {store.count():,} documents, expected {n_rows:,}; remove it, or name another"
                )
            return store, open_ms, clocked(asked(store, text, vector, "hybrid"))[1]
        except BaseException:
            store.close()
            raise

    store, *process_first = first_ms()
    store.close()
    store, *times = first_ms()
    with store._handle.view() as (reading, _):
        index, tail = store._handle.words.view(reading)
    return store, Opened(sum(process_first), *times, tail.n_rows, store.stats().memory_bytes, index.nbytes)


def measure_legs(store: Store, queries: Sequence[str], vectors: Float32) -> list[Timing]:
    """Search by all legs for one query after the other."""
    times: dict[Legs, list[tuple[float, float]]] = {by: [] for by in LEGS}
    for by in LEGS:
        asked(store, queries[0], vectors[0], by)()
    for i, (text, vector) in enumerate(zip(queries, vectors, strict=True)):
        for place in range(len(LEGS)):
            by = LEGS[(i + place) % len(LEGS)]
            times[by].append(clocked(asked(store, text, vector, by))[1:])
    quantiles = {by: np.quantile(own, [0.5, 0.95], axis=0).T.tolist() for by, own in times.items()}
    return [Timing(by, tuple(clock), tuple(processor)) for by, (clock, processor) in quantiles.items()]


def measure_parts(store: Store, queries: Sequence[str], vectors: Float32) -> dict[str, float]:
    """Search by both legs once more, to see where the time goes."""
    with watched(PARTS, time.process_time) as seconds:
        whole = sum(clocked(asked(store, *query, "hybrid"))[2] for query in zip(queries, vectors, strict=True))
    parts = {label: 1e3 * sum(own) / len(queries) for label, own in seconds.items()}
    return {**parts, "everything else": whole / len(queries) - sum(parts.values())}


def measure_single(store: Store, queries: Sequence[str], vectors: Float32) -> Single:
    """Add documents one by one, search after each, and delete them all."""
    added, searched, n_found = list[float](), list[float](), 0
    before = store.stats().word_disk_bytes
    ids = [f"single {i}" for i in range(N_ADDED)]
    with watched(WRITING) as seconds:
        for i, id_ in enumerate(ids):
            text, vector, word = queries[i % len(queries)], vectors[i % len(queries)], f"unheardof{i}"
            new = {"ids": [id_], "vectors": vector[None], "progress": False}
            added.append(clocked(partial(store.add, [f"{text} {word}"], **new))[1])
            searched.append(clocked(asked(store, text, vector, "hybrid"))[1])
            n_found += [hit.id for hit in store.search(word, 1, legs="lexical")] == [id_]
    after = store.stats().word_disk_bytes
    store.delete(ids)
    of = [(float(np.median(own)), max(own)) for own in (added, searched)]
    return Single(*of, n_found, len(seconds["fold"]), before, after)


def measure(path: Path, n_rows: int, built: Built | None, queries: Sequence[str], vectors: Float32) -> Result:
    """Take all figures of a file."""
    store, opened = reopened(path, n_rows, queries[0], vectors[0])
    with store:
        timings = measure_legs(store, queries, vectors)
        parts = measure_parts(store, queries, vectors)
        single = measure_single(store, queries, vectors)
    return Result(built, opened, len(queries), timings, parts, single, report.peak_bytes())


def tables(r: Result) -> list[str]:
    """Return all figures as Markdown tables."""
    of_legs = [(t.legs, *(report.number(value, 1) for value in (*t.clock, *t.processor))) for t in r.timings]
    parts = [(label, report.number(value, 2)) for label, value in r.parts.items()]
    opened, single = r.opened, r.single
    return [
        *([] if r.built is None else [built_table(r.built)]),
        report.table(
            ["opening", ""],
            [
                ("opening and first hybrid search, in a new process, ms", report.number(opened.process_first_ms, 0)),
                ("opening once more, ms", report.number(opened.open_ms, 1)),
                ("first hybrid search after that, ms", report.number(opened.first_ms, 0)),
                ("rows since the last fold", f"{opened.n_tail:,}"),
                ("MB of codes / of the index of words", f"{_mb(opened.code_bytes)} / {_mb(opened.word_bytes)}"),
                ("most memory of the process, MB", _mb(r.peak_bytes)),
            ],
        ),
        report.table(
            [f"ms a query, {r.n_queries} queries", "median", "95 %", "processor, median", "processor, 95 %"], of_legs
        ),
        report.table(["a hybrid search", "ms of the processor, mean"], parts),
        report.table(
            [f"{N_ADDED} documents, one by one", ""],
            [
                ("an add, ms, median / most", _pair(single.add_ms)),
                ("first hybrid search after it, ms, median / most", _pair(single.search_ms)),
                ("found by their word at once", str(single.n_found)),
                ("folds", str(single.n_folds)),
                ("bytes of the index of words, before / after", f"{single.bytes_before:,} / {single.bytes_after:,}"),
            ],
        ),
    ]


def built_table(b: Built) -> str:
    """Return what making the file took."""
    return report.table(
        ["adding", f"{b.n_rows:,} rows"],
        [
            ("all, s / of the processor", f"{b.add_seconds:,.1f} / {b.processor_seconds:,.1f}"),
            ("commits", str(b.n_commits)),
            ("the longest, s", report.number(b.longest_commit_seconds, 1)),
            ("folds", str(b.n_folds)),
            ("all of them / the longest, s", f"{b.fold_seconds:,.1f} / {b.longest_fold_seconds:,.1f}"),
            ("fitting codes, s", report.number(b.fit_seconds, 1)),
            ("the file, MB", _mb(b.file_bytes)),
            ("most memory of the process, with the data, MB", _mb(b.peak_bytes)),
        ],
    )


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f}"


def _pair(milliseconds: tuple[float, float]) -> str:
    return " / ".join(report.number(value, 1) for value in milliseconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hybrid_store", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout, with vectors")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--rows", type=int, default=1_000_000, help="documents (default: %(default)s)")
    parser.add_argument("--commit", type=int, default=50_000, help="documents of a commit (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=100, help="of each set, at most (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="PATH", help="make the file there, or use the one that is there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment = report.environment("benchmarks.hybrid_store", arguments)
    try:
        if min(options.rows, options.commit, options.queries) < 1:
            raise InvalidInput(f"expected --rows, --commit and --queries of 1 at least, got {vars(options)}")
        with tempfile.TemporaryDirectory(prefix="binrag-hybrid-") as folder:
            path = options.keep or Path(folder) / "hybrid.binrag"
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
                given = (options.data, options.split, options.queries, path, options.rows, options.commit)
                built, queries, vectors = other.submit(prepare, *given).result()
            result = measure(path, options.rows, built, queries, vectors)
    except (BinragError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.environment_line(environment), *tables(result), sep="\n\n")
    if options.json:
        report.write_json(options.json, environment, asdict(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
