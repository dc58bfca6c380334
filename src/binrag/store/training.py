"""Binarizers fitted to what a store holds."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from binrag import pipeline
from binrag.binarizers import (
    AdditiveBinarizer,
    AllocatedBinarizer,
    ItqBinarizer,
    LevelsBinarizer,
    LinearBinarizer,
    LloydMaxBinarizer,
    MedianSignBinarizer,
)
from binrag.binarizers.artefact import load_artefact, save_artefact
from binrag.binarizers.fitting import sample
from binrag.errors import InvalidInput, TrainingError
from binrag.indexes import FlatIndex
from binrag.protocols import Binarizer
from binrag.storage import Database, Reading
from binrag.store.batches import checked_texts
from binrag.store.encoding import CheckedEncoder, canary_vectors
from binrag.store.progress import progress_of
from binrag.store.recoding import recode, vector_source
from binrag.store.space import VectorSpace, checked_vectors
from binrag.store.writer import live_rows
from binrag.types import BLOCK, Float32, KeepVectors, Progress, Training

MAX_ROWS = 65_536
MAX_QUERIES = 2000
N_HELD_OUT = 200
_JUDGED_ROWS = 20_000
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def _recurrent(vectors: Float32, *, seed: int, progress: Progress, **options: Any) -> Binarizer:
    from binrag.binarizers import training  # imports torch
    from binrag.binarizers.training_data import Settings

    return training.train_recurrent(vectors, settings=Settings(seed=seed), progress=progress, **options).binarizer


KINDS: dict[str, Callable[..., Binarizer]] = {
    "nested": partial(AdditiveBinarizer.fit, shape="nested"),
    "compact": partial(AdditiveBinarizer.fit, shape="compact"),
    "linear": LinearBinarizer.fit,
    "allocated": AllocatedBinarizer.fit,
    "levels": LevelsBinarizer.fit,
    "lloyd-max": LloydMaxBinarizer.fit,
    "itq": ItqBinarizer.fit,
    "median-sign": MedianSignBinarizer.fit,
    "recurrent": _recurrent,
}
"""What can be fitted: a name to ``fit(vectors, *, code_bytes, queries, seed, progress)``."""


ADAPTABLE = ("nested", "compact", "recurrent")
"""Kinds that can start from a fitted binarizer."""


def default_code_bytes(kind: str, dim: int) -> int:
    """Return the bytes a row that a kind is fitted with by default: one or two bits a dimension."""
    if kind in ("itq", "median-sign"):
        return 8 * -(-dim // 64) + 2
    if kind in ("levels", "lloyd-max"):
        return -(-2 * dim // 8) + 2
    return max(16, dim // 8 if kind == "compact" else dim // 4)


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A store's vectors and queries, and what is fitted to them."""

    database: Database
    encoder: CheckedEncoder
    space: VectorSpace | None
    keep: KeepVectors
    seed: int
    progress: Progress

    def run(self, kind: str, code_bytes: int | None, queries: Any, vectors: Any, start: Any, artefact: Any) -> Training:
        """Fit a binarizer, write it to a file if one is named, and recode the store; see `Store.train_binarizer`."""
        vectors = None if vectors is None else np.asarray(vectors)
        binarizer, training = self.fit(kind, code_bytes, queries, vectors, start)
        if artefact is not None:
            self._save(Path(artefact), binarizer, training)
        recode(self.database, self.encoder, self.space, binarizer, vectors, self.progress)
        return training

    def fit(
        self, kind: str, code_bytes: int | None, queries: Any, vectors: Any, start: Any
    ) -> tuple[Binarizer, Training]:
        """Fit a binarizer, and measure on held-out queries what it gains."""
        if kind not in KINDS:
            raise InvalidInput(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
        if start is not None and kind not in ADAPTABLE:
            raise InvalidInput(f"a {kind!r} binarizer is fitted from scratch; leave start out, or take {ADAPTABLE}")
        if self.space is None:
            raise TrainingError("the store is empty; add documents first")
        started = time.perf_counter()
        if isinstance(start, (str, os.PathLike)):
            start, _ = load_artefact(os.fspath(start), dim=self.space.dim)
        code_bytes = code_bytes or (start.code_bytes if start else default_code_bytes(kind, self.space.dim))
        asked = self._queries(queries)
        rows = self._rows(vectors)
        pool = rows if asked is None else asked
        held_out = sample(len(pool), min(N_HELD_OUT, len(pool) // 5), self.seed)
        if len(held_out) == 0:
            raise TrainingError(f"got {len(pool)} vectors to fit to and to test with, expected hundreds at least")
        tests, others = pool[held_out], np.delete(pool, held_out, axis=0)
        rows = others if asked is None else rows
        options: dict[str, Any] = {} if start is None else {"initial" if kind == "recurrent" else "start": start}
        options |= {
            "code_bytes": code_bytes,
            "queries": None if asked is None else others,
            "seed": self.seed,
            "progress": self._rounds(kind),
        }
        binarizer = KINDS[kind](rows, **options)
        judged = rows[sample(len(rows), _JUDGED_ROWS, self.seed)]
        before, after = (_recall(b, judged, tests) for b in (self.space.binarizer, binarizer))
        seconds = time.perf_counter() - started
        return binarizer, Training(kind, binarizer.code_bytes, len(rows), len(tests), before, after, seconds)

    def _save(self, path: Path, binarizer: Binarizer, training: Training) -> None:
        """Write the binarizer, with whose vectors it is for and how it came about."""
        with self.database.reading() as reading:
            record = reading.get("encoder")
        whose = {"encoder_id": record["encoder_id"], "canaries": canary_vectors(record)} if record else {}
        save_artefact(path, binarizer, asdict(training), **whose)

    def _rounds(self, kind: str) -> Progress:
        """Return what fitting reports its rounds to: nothing, a callable, or for training a bar."""
        return self.progress if kind == "recurrent" or callable(self.progress) else None

    def _rows(self, vectors: Any) -> Float32:
        """Return the prepared vectors of up to 65,536 documents."""
        assert self.space is not None
        with (
            progress_of(self.progress if self.keep == "none" else False, None, "reading") as report,
            vector_source(self.database, self.encoder, self.space, self.keep, vectors, report) as source,
            self.database.reading(own_writes=True) as reading,
        ):
            live = _live(reading)
            if vectors is None:
                live = [live[i] for i in sample(len(live), MAX_ROWS, self.seed)]
            parts = [source(reading, live[i : i + BLOCK]) for i in range(0, len(live), BLOCK)]
        rows = np.concatenate(parts) if parts else np.zeros((0, self.space.dim), dtype=np.float32)
        return self.space.prepared(rows[sample(len(rows), MAX_ROWS, self.seed)])

    def _queries(self, queries: Any) -> Float32 | None:
        """Return prepared query vectors: those given, texts encoded, or sentences of the documents."""
        assert self.space is not None
        if queries is None:
            return None
        if isinstance(queries, str):
            if queries != "sentences":
                raise InvalidInput(f'queries is {queries!r}, expected "sentences", or a list of texts or vectors')
            queries = self._sentences()
        listed = queries if isinstance(queries, np.ndarray) else list(queries)
        if len(listed) and isinstance(listed[0], str):
            with self.database.reading() as reading:
                self.encoder.check(reading.get("encoder"), self.space)
            return self.space.prepared(self.encoder.encode_queries(checked_texts("queries", listed), self.space.dim))
        return self.space.prepared(checked_vectors(listed, self.space.dim, lambda i: f"query vector {i}"))

    def _sentences(self) -> list[str]:
        """Return a sentence each of up to 2,000 documents: the likest to questions that there is."""
        draw = np.random.Generator(np.random.PCG64(self.seed))
        with self.database.reading(own_writes=True) as reading:
            live = _live(reading)
            documents = reading.documents_by_row([live[i] for i in sample(len(live), MAX_QUERIES, self.seed)])
        found = []
        for document in documents:
            sentences = [s.strip() for s in _SENTENCE.split(document.text or "") if len(s.split()) >= 4]
            if sentences:
                found.append(" ".join(sentences[draw.integers(len(sentences))].split()[:32]))
        if not found:
            raise TrainingError('no document has a sentence to stand in for a query; leave queries="sentences" out')
        return found


def _live(reading: Reading) -> list[int]:
    n_rows = reading.head().n_rows
    return [row for first in range(0, n_rows, BLOCK) for row in live_rows(reading, first, min(first + BLOCK, n_rows))]


def _recall(binarizer: Binarizer, rows: Float32, queries: Float32) -> float:
    """Return the share of float32's exact top 10 that codes find alone."""
    index = FlatIndex.from_codes(binarizer.transform(rows))
    found = 0
    k = min(10, len(rows))
    for query in queries:
        exact = np.argpartition(-(rows @ query), k - 1)[:k]
        best = pipeline.retrieve(index, binarizer.query(query), pipeline.default_candidates(k)).top(k).rows
        found += len(np.intersect1d(exact, best))
    return found / (k * len(queries))
