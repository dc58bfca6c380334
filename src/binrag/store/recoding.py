"""New codes for every document: vectors from where there are some, written in one transaction."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from binrag.binarizers.artefact import load_artefact, names_artefact
from binrag.errors import InvalidInput, VectorsUnavailable
from binrag.protocols import Binarizer
from binrag.registry import check_registered, record_of
from binrag.storage import Database, Reading, Writing
from binrag.storage.vectors import decode_vectors
from binrag.store.autofit import AUTO_FIT
from binrag.store.batches import CALLS_PER_WINDOW, Batch, write_temporary
from binrag.store.encoding import CheckedEncoder, identity
from binrag.store.progress import progress_of
from binrag.store.settings import Settings, check_dim
from binrag.store.space import VectorSpace, checked_vectors
from binrag.store.writer import live_rows, put_codes, put_tail
from binrag.types import BLOCK, Codes, Document, Float32, KeepVectors, Progress

_PAGE = 256

BinarizerLike: TypeAlias = str | os.PathLike[str] | Binarizer
"""A name, the path or the name of an artefact, or a binarizer."""

Source = Callable[[Reading, Sequence[int]], Float32]
"""Rows that live, ascending, each asked for once, to their vectors, float32 (n, dim)."""


@contextmanager
def vector_source(
    database: Database,
    encoder: CheckedEncoder,
    space: VectorSpace,
    keep: KeepVectors,
    vectors: Iterable[Any] | None,
    report: Callable[[int], None],
) -> Iterator[Source]:
    """Yield where the documents' vectors come from: those given, else those kept, else the texts, encoded again.

    Texts are encoded before anything is yielded, so that the store is not locked meanwhile.

    Raises
    ------
    VectorsUnavailable
        If no vectors are given or kept, and there is no encoder or a document without a text.
    EncoderMismatch, InvalidInput, InvalidVector, DimensionMismatch
    """
    if vectors is not None:
        yield _given(vectors, space.dim, report)
    elif keep != "none":
        yield _kept(space.dim, keep, report)
    else:
        with database.reading(own_writes=True) as reading:
            record = reading.get("encoder")
        if encoder.encoder is None or record is None:
            made = f"open the store with encoder={record['encoder_id']!r}, or " if record else ""
            raise VectorsUnavailable(
                f"the store keeps no vectors, and none were given; {made}give the documents' vectors with vectors=…"
            )
        encoder.check(record, space)
        with _Encoded(encoder, space.dim, report) as encoded:
            encoded.encode_all(database)
            yield encoded


def _given(vectors: Iterable[Any], dim: int, report: Callable[[int], None]) -> Source:
    if isinstance(vectors, (str, bytes, dict)) or not isinstance(vectors, Iterable):
        raise InvalidInput(f"vectors is a {type(vectors).__name__}, expected float (n, dim) in the order of iter()")
    values = iter(vectors)
    n_documents, n_taken = None, 0

    def read(reading: Reading, rows: Sequence[int]) -> Float32:
        nonlocal n_documents, n_taken
        if n_documents is None:
            n_documents = reading.count(None)
        some, start = list(islice(values, len(rows))), n_taken
        n_taken += len(some)
        if len(some) < len(rows) or (n_taken == n_documents and next(values, None) is not None):
            got = "more" if len(some) == len(rows) else f"only {n_taken}"
            raise InvalidInput(
                f"the store has {n_documents} documents, got {got} vectors; expected one for each, in the order of "
                "iter()"
            )
        report(len(some))
        return checked_vectors(some, dim, lambda i: f"vector {start + i}")

    return read


def _kept(dim: int, keep: KeepVectors, report: Callable[[int], None]) -> Source:
    def read(reading: Reading, rows: Sequence[int]) -> Float32:
        report(len(rows))
        return decode_vectors(reading.vectors(rows), keep, dim)

    return read


class _Encoded:
    """The texts' vectors, in a temporary file; what is added to the store later is encoded when asked for."""

    def __init__(self, encoder: CheckedEncoder, dim: int, report: Callable[[int], None]) -> None:
        self._encoder = encoder
        self._dim = dim
        self._report = report
        self._rows: list[int] = []
        self._numbered = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> _Encoded:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def encode_all(self, database: Database) -> None:
        """Encode all documents that there are now; say how long that will take."""
        started = time.perf_counter()
        while True:
            with database.reading(own_writes=True) as reading:
                self._check_numbers(reading)
                after, n = (self._rows[-1], CALLS_PER_WINDOW * _PAGE) if self._rows else (-1, _PAGE)
                page = reading.documents_after(None, after, n)
                n_documents = reading.count(None)
            if not page:
                return
            rows, documents = zip(*page, strict=True)
            write_temporary(self._file, self._vectors(documents).tobytes())
            if not self._rows:
                minutes = (time.perf_counter() - started) / len(rows) * n_documents / 60
                warnings.warn(
                    f"no vectors are kept: encoding {n_documents:,} texts again takes about {minutes:.1f} minutes",
                    stacklevel=6,
                )
            self._rows += rows

    def _check_numbers(self, reading: Reading) -> None:
        """Forget what was encoded if rows have other numbers since."""
        numbered = reading.head().numbered
        if numbered != self._numbered:
            self._numbered = numbered
            self._rows.clear()
            self._file.seek(0)

    def _vectors(self, documents: Sequence[Document]) -> Float32:
        for document in documents:
            if not (document.text or "").strip():
                raise VectorsUnavailable(
                    f"document {document.id!r} has no text to encode, and the store keeps no vectors; give the "
                    "documents' vectors with vectors=…"
                )
        ids, texts = [document.id for document in documents], [document.text for document in documents]
        batch = self._encoder.encode_documents(Batch(ids, texts, [None] * len(ids)), self._dim, _PAGE, self._report)
        return np.asarray(batch.vectors, dtype=np.float32)

    def __call__(self, reading: Reading, rows: Sequence[int]) -> Float32:
        """Return the vectors of these rows."""
        self._check_numbers(reading)
        start, stop = bisect_left(self._rows, rows[0]), bisect_right(self._rows, rows[-1])
        self._file.seek(4 * self._dim * start)
        data = self._file.read(4 * self._dim * (stop - start))
        found = dict(
            zip(self._rows[start:stop], np.frombuffer(data, dtype=np.float32).reshape(-1, self._dim), strict=True)
        )
        late = [row for row in rows if row not in found]
        for first in range(0, len(late), _PAGE):
            some = late[first : first + _PAGE]
            found.update(zip(some, self._vectors(reading.documents_by_row(some)), strict=True))
        return np.stack([found[row] for row in rows])


def recode(
    database: Database,
    encoder: CheckedEncoder,
    space: VectorSpace | None,
    binarizer: BinarizerLike,
    vectors: Iterable[Any] | None,
    progress: Progress,
    source: Source | None = None,
    name: str | None = None,
) -> None:
    """Recode a store; see `Store.recode`.

    Parameters
    ----------
    space : VectorSpace or None
        The store's, None before the first vector.
    source : Source, optional
        Where the vectors come from, if a `vector_source` is open already; `vectors` is not looked at then.
    name : str, optional
        What the settings call the binarizer from now on; its name or component id if not given.
    """
    with database.reading(own_writes=True) as reading:
        settings, n_documents = Settings.read(reading), reading.count(None)
        record = reading.get("encoder")
    dim = space.dim if space else settings.dim
    if isinstance(binarizer, os.PathLike) or (isinstance(binarizer, str) and names_artefact(binarizer)):
        binarizer = load_artefact(os.fspath(binarizer), dim=dim, **identity(encoder.known(record, space)))[0]
    made = _made(binarizer, dim, settings.seed)
    name = name or (binarizer if isinstance(binarizer, str) else binarizer.component_id)
    settings = replace(
        settings,
        binarizer=name,
        dim=made.dim if made else None,
        code_bytes=made.code_bytes if made and name != "auto" else None,
    )
    if space is None:
        with database.writing() as writing:
            space = VectorSpace.read(writing)  # another writer may have been first
            if space is None:
                writing.put("settings", settings.record())
                writing.put("binarizer", None if isinstance(binarizer, str) else record_of(binarizer))
                return
    assert made is not None
    with (
        progress_of(progress, n_documents, "recoding") as report,
        nullcontext(_reporting(source, report))
        if source
        else vector_source(database, encoder, space, settings.keep, vectors, report) as read,
        database.writing() as writing,
    ):
        space = replace(space, binarizer=made, generation=writing.generation)
        writing.put("settings", settings.record())
        writing.put(AUTO_FIT, None)  # what a fit came to holds for the codes that it was about
        space.write(writing)
        write_codes(writing, space, read)


def _reporting(source: Source, report: Callable[[int], None]) -> Source:
    def read(reading: Reading, rows: Sequence[int]) -> Float32:
        report(len(rows))
        return source(reading, rows)

    return read


def _made(binarizer: str | Binarizer, dim: int | None, seed: int | None) -> Binarizer | None:
    if not isinstance(binarizer, str):
        check_registered(binarizer)
        check_dim(binarizer, dim)
        return binarizer
    asked = Settings(binarizer, dim, seed=seed)
    asked.check(is_new=True)
    return None if dim is None else asked.made(dim)


def write_codes(writing: Writing, space: VectorSpace, source: Source) -> None:
    """Replace all codes by those of the space's binarizer; dead rows get zeros.

    Rows keep their numbers. 4,096 of them are in memory at a time.
    """
    n_rows, shape = writing.head().n_rows, space.binarizer.shape
    writing.remove_codes()
    for first in range(0, n_rows, BLOCK):
        codes = Codes.zeros(min(BLOCK, n_rows - first), shape)
        rows = live_rows(writing, first, first + len(codes))
        if rows:
            coded, at = space.coded(space.prepared(source(writing, rows))), np.array(rows) - first
            codes.words[at], codes.rest[at] = coded.words, coded.rest
            if codes.rescale is not None:
                codes.rescale[at] = coded.rescale
        if len(codes) == BLOCK:
            put_codes(writing, first // BLOCK, codes, shape.by_tables)
        else:
            put_tail(writing, first, codes)
