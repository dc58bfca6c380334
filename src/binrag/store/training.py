"""Binarizers fitted to what a store holds."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from binrag.binarizers import (
    AdditiveBinarizer,
    AllocatedBinarizer,
    ItqBinarizer,
    LevelsBinarizer,
    LinearBinarizer,
    LloydMaxBinarizer,
    MedianSignBinarizer,
)
from binrag.binarizers.artefact import load_artefact, save_artefact, versions
from binrag.binarizers.fitting import sample
from binrag.errors import InvalidInput, TrainingError
from binrag.protocols import Binarizer
from binrag.storage import Database, Reading
from binrag.store.autofit import N_HELD_OUT
from binrag.store.batches import checked_texts
from binrag.store.encoding import CheckedEncoder, identity
from binrag.store.progress import progress_of
from binrag.store.recoding import Source, recode, vector_source
from binrag.store.sampled import Sample, recall_of
from binrag.store.space import VectorSpace, checked_vectors
from binrag.store.writer import live_rows
from binrag.types import BLOCK, Float32, KeepVectors, Progress, Training

MAX_ROWS = 65_536
MAX_QUERIES = 2000
QUICK_DIM = 768
"""Dimensions up to which "quick" codes are linear: the work grows with the cube, and beyond it takes minutes."""

_JUDGED_ROWS = 20_000
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def _torch() -> Any:
    """Return the module that trains; `MissingDependency` without torch."""
    from binrag.binarizers import training

    return training


def _recurrent(vectors: Float32, *, seed: int, progress: Progress, **options: Any) -> Binarizer:
    from binrag.binarizers.training_data import Settings

    return _torch().train_recurrent(vectors, settings=Settings(seed=seed), progress=progress, **options).binarizer  # type: ignore[no-any-return]


def _quick(vectors: Float32, *, code_bytes: int, **options: Any) -> Binarizer:
    if vectors.shape[-1] > QUICK_DIM:
        return LevelsBinarizer.fit(vectors, code_bytes=code_bytes, **options)
    return LinearBinarizer.fit(vectors, code_bytes=code_bytes, shape="nested", n_rounds=2, n_turns=5, **options)


KINDS: dict[str, Callable[..., Binarizer]] = {
    "additive": AdditiveBinarizer.fit,
    "quick": _quick,
    "linear": LinearBinarizer.fit,
    "nested": partial(LinearBinarizer.fit, shape="nested"),
    "allocated": AllocatedBinarizer.fit,
    "levels": LevelsBinarizer.fit,
    "lloyd-max": LloydMaxBinarizer.fit,
    "itq": ItqBinarizer.fit,
    "median-sign": MedianSignBinarizer.fit,
    "recurrent": _recurrent,
}
"""What can be fitted: a name to ``fit(vectors, *, code_bytes, queries, seed, progress)``."""


ADAPTABLE = ("additive", "recurrent")
"""Kinds that can start from a fitted binarizer."""


def default_code_bytes(kind: str, dim: int) -> int:
    """Return the bytes a row that a kind is fitted with by default: one or two bits a dimension."""
    if kind in ("itq", "median-sign"):
        return 8 * -(-dim // 64) + 2
    if kind in ("levels", "lloyd-max") or (kind == "quick" and dim > QUICK_DIM):
        return -(-2 * dim // 8) + 2
    return max(16, dim // 4)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be fitted; see `Store.train_binarizer`."""

    kind: str = "additive"
    code_bytes: int | None = None
    queries: Any = None
    start: Any = None
    artefact: Any = None

    def check(self) -> None:
        """Refuse what cannot be done with any vectors, before anything takes long.

        Raises
        ------
        InvalidInput
            Says what is accepted.
        MissingDependency
            If torch is needed and not there.
        """
        if self.kind not in KINDS:
            raise InvalidInput(f"kind is {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.start is not None and self.kind not in ADAPTABLE:
            raise InvalidInput(
                f"a {self.kind!r} binarizer is fitted from scratch; leave start out, or take {ADAPTABLE}"
            )
        if self.artefact is not None and not Path(self.artefact).parent.is_dir():
            raise InvalidInput(f"{self.artefact} cannot be written: there is no folder {Path(self.artefact).parent}")
        if self.kind == "recurrent":
            _torch()

    def settings(self) -> dict[str, Any]:
        """Return what decides the fit beside the data, as msgpack types."""
        start = self.start
        if start is not None:
            start = Path(start).name if isinstance(start, (str, os.PathLike)) else start.component_id
        queries = "documents" if self.queries is None else "sentences" if isinstance(self.queries, str) else "given"
        return {"queries": queries, "start": start}


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A store's vectors and queries, and what is fitted to them.

    Attributes
    ----------
    force : bool
        Whether to fit few bits even to vectors that the probe finds unfit for them.
    max_rows : int
        Vectors that are fitted to at most.
    """

    database: Database
    encoder: CheckedEncoder
    space: VectorSpace | None
    keep: KeepVectors
    seed: int
    progress: Progress
    force: bool = False
    max_rows: int = MAX_ROWS

    def run(self, request: Request, vectors: Any) -> Training:
        """Fit a binarizer, write it to a file if one is named, and recode the store; see `Store.train_binarizer`."""
        request.check()
        if self.space is None:
            raise TrainingError("the store is empty; add documents first")
        vectors = None if vectors is None else np.asarray(vectors)
        if vectors is not None or self.keep != "none":
            return self._run(request, vectors, None)
        with self.database.reading(own_writes=True) as reading:
            n_documents = reading.count(None)
        with (  # texts are encoded once, to be fitted to and to be recoded
            progress_of(self.progress, n_documents, "encoding") as report,
            vector_source(self.database, self.encoder, self.space, "none", None, report) as source,
        ):
            return self._run(request, None, source)

    def _run(self, request: Request, vectors: Any, source: Source | None) -> Training:
        start = self._start(request.start)
        rows, queries = self._rows(vectors, source), self._queries(request.queries)
        binarizer, training = self._fit(request, start, rows, queries)
        if request.artefact is not None:
            provenance = self._provenance(request, training, rows, queries)
            save_artefact(Path(request.artefact), binarizer, provenance, **self._identity())
        recode(self.database, self.encoder, self.space, binarizer, vectors, self.progress, source)
        return training

    def fit(self, kind: str, code_bytes: int) -> tuple[Binarizer, Training]:
        """Fit a binarizer to the vectors that the store keeps, and recode nothing."""
        return self._fit(Request(kind, code_bytes), None, self._rows(None, None), None)

    def _identity(self) -> dict[str, Any]:
        """Return whose vectors these are: those of the recorded encoder, else of the one at hand, if there is one."""
        with self.database.reading() as reading:
            return identity(self.encoder.known(reading.get("encoder"), self.space))

    def _start(self, start: Any) -> Any:
        """Return the binarizer to start from, if one is named: of the same encoder, as far as that is known."""
        assert self.space is not None
        if not isinstance(start, (str, os.PathLike)):
            return start
        return load_artefact(os.fspath(start), dim=self.space.dim, **self._identity())[0]

    def _provenance(
        self, request: Request, training: Training, rows: Float32, queries: Float32 | None
    ) -> dict[str, Any]:
        """Return how a binarizer came about: from which data, with which settings, and its scores."""
        from binrag.binarizers.training_data import digest

        return {
            **asdict(training),
            "data": {"rows": digest(rows), "queries": None if queries is None else digest(queries)},
            "settings": {**request.settings(), "seed": self.seed},
            "versions": versions("binrag", "numpy"),
        }

    def _fit(self, request: Request, start: Any, rows: Float32, queries: Float32 | None) -> tuple[Binarizer, Training]:
        """Fit a binarizer, and measure on held-out queries what it gains."""
        assert self.space is not None
        started, kind = time.perf_counter(), request.kind
        code_bytes = request.code_bytes or (start.code_bytes if start else default_code_bytes(kind, self.space.dim))
        self._check_bits(code_bytes)
        pool = rows if queries is None else queries
        held_out = sample(len(pool), min(N_HELD_OUT, len(pool) // 5), self.seed)
        if len(held_out) == 0:
            raise TrainingError(f"got {len(pool)} vectors to fit to and to test with, expected hundreds at least")
        tests, others = pool[held_out], np.delete(pool, held_out, axis=0)
        rows = others if queries is None else rows
        options: dict[str, Any] = {} if start is None else {"initial" if kind == "recurrent" else "start": start}
        options |= {
            "code_bytes": code_bytes,
            "queries": None if queries is None else others,
            "seed": self.seed,
            "progress": self._rounds(kind),
        }
        binarizer = KINDS[kind](rows, **options)
        judged = rows[sample(len(rows), _JUDGED_ROWS, self.seed)]
        before, after = (recall_of(b, judged, tests) for b in (self.space.binarizer, binarizer))
        seconds = time.perf_counter() - started
        training = Training(kind, binarizer.code_bytes, len(rows), len(tests), before, after, seconds)
        return binarizer, training

    def _check_bits(self, code_bytes: int) -> None:
        """Refuse fewer bits than the vectors' probe says they need."""
        assert self.space is not None
        with self.database.reading(own_writes=True) as reading:
            sampled = Sample.read(reading, self.space)
        if self.force or not sampled.is_judged:
            return
        found = sampled.probe()
        if code_bytes < found.least_bytes:
            raise TrainingError(
                f"few bits don't suit these vectors: {found.grounds}; {code_bytes} bytes a row were to be fitted, they "
                f"need {found.code_bytes}: take kind={found.binarizer!r} with code_bytes={found.code_bytes}, or pass "
                "force=True (--force) to fit all the same"
            )

    def _rounds(self, kind: str) -> Progress:
        """Return what fitting reports its rounds to: nothing, a callable, or for training a bar."""
        return self.progress if kind == "recurrent" or callable(self.progress) else None

    def _rows(self, vectors: Any, source: Source | None) -> Float32:
        """Return the prepared vectors of up to `max_rows` documents."""
        assert self.space is not None
        with (
            nullcontext(source)
            if source
            else vector_source(self.database, self.encoder, self.space, self.keep, vectors, lambda n: None) as read,
            self.database.reading(own_writes=True) as reading,
        ):
            live = _live(reading)
            if vectors is None:
                live = [live[i] for i in sample(len(live), self.max_rows, self.seed)]
            parts = [read(reading, live[i : i + BLOCK]) for i in range(0, len(live), BLOCK)]
        rows = np.concatenate(parts) if parts else np.zeros((0, self.space.dim), dtype=np.float32)
        return self.space.prepared(rows[sample(len(rows), self.max_rows, self.seed)])

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
            sentences = sentences_of(document.text or "")
            if sentences:
                found.append(sentences[draw.integers(len(sentences))])
        if not found:
            raise TrainingError('no document has a sentence to stand in for a query; leave queries="sentences" out')
        return found


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text that could be questions: of four words or more, of which 32 are kept."""
    return [" ".join(s.split()[:32]) for s in _SENTENCE.split(text) if len(s.split()) >= 4]


def _live(reading: Reading) -> list[int]:
    n_rows = reading.head().n_rows
    return [row for first in range(0, n_rows, BLOCK) for row in live_rows(reading, first, min(first + BLOCK, n_rows))]
