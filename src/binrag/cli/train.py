"""The train and recode commands."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from binrag.cli.add import SKIPPED, Summary, fill
from binrag.cli.commands import quiet_loading
from binrag.cli.lines import bar, count_lines, good_records, read_lines
from binrag.cli.output import as_json
from binrag.errors import InvalidInput
from binrag.readers import Record
from binrag.store import Store
from binrag.store.training import Request
from binrag.types import Training

_PER_COMMIT, _VECTORS_PER_COMMIT = 1000, 4096


def train(options: argparse.Namespace) -> int:
    """Fit a binarizer, and print what it gains; 6 if input lines were skipped."""
    quiet_loading(options.encoder)
    queries = "sentences" if options.sentences else _queries(options.queries)
    request = Request(options.kind, options.code_bytes, queries, options.adapt, options.artefact)
    request.check()
    summary = Summary()
    with _opened(options, isinstance(queries, (str, list)), summary) as store:
        training = store.train_binarizer(
            options.kind,
            code_bytes=options.code_bytes,
            queries=queries,
            start=options.adapt,
            artefact=options.artefact,
            seed=options.seed,
            force=options.force,
            progress=False if options.quiet else None,
        )
    print(as_json(asdict(training)) if options.json else _as_text(training))
    return SKIPPED if summary.skipped else 0


def recode(options: argparse.Namespace) -> int:
    """Give every document a code by another binarizer."""
    with _store(options, bool(options.encoder)) as store:
        store.recode(options.binarizer, progress=False if options.quiet else None)
        info = store.info()
    facts = {"binarizer": info.binarizer, "code_bytes": info.code_bytes, "n_documents": info.n_documents}
    print(
        as_json(facts)
        if options.json
        else f"{info.binarizer}, {info.code_bytes or 0} bytes a row, {info.n_documents:,} documents"
    )
    return 0


@contextmanager
def _opened(options: argparse.Namespace, encodes_queries: bool, summary: Summary) -> Iterator[Store]:
    """Open the store; for texts or vectors of a file, a store of them that lasts as long as the command."""
    is_lines, is_array = options.source == "-" or options.source.endswith(".jsonl"), options.source.endswith(".npy")
    if not is_lines and options.on_error != "fatal":
        raise InvalidInput(f"--on-error {options.on_error} is for JSON lines, {options.source} has none; leave it out")
    if not is_lines and not is_array:
        with _store(options, bool(encodes_queries or options.encoder)) as store:
            yield store
        return
    if options.artefact is None:
        raise InvalidInput("a file of texts or vectors is no store: say with --artefact where to write the binarizer")
    if encodes_queries and options.encoder is None:
        raise InvalidInput("the queries are texts, and no encoder is given; say with --encoder which made the vectors")
    with tempfile.TemporaryDirectory(prefix="binrag-") as folder:
        path = Path(folder) / "vectors.binrag"
        with Store.open(path, "x", encoder=options.encoder, binarizer="sign", keep_vectors="float16") as store:
            if is_lines:
                _add_lines(store, options, summary)
            else:
                progress = False if options.quiet else None
                store.add(vectors=_vectors(options.source), batch_size=_VECTORS_PER_COMMIT, progress=progress)
            yield store


@contextmanager
def _store(options: argparse.Namespace, needs_encoder: bool) -> Iterator[Store]:
    """Open a store for new codes; where it keeps no vectors, with the recorded encoder, to encode its texts again."""
    path, encoder = options.source, (options.encoder or "recorded") if needs_encoder else None
    if encoder is None:
        with Store.open(path, "r") as store:
            encoder = "recorded" if store.info().keep_vectors == "none" else None
    with Store.open(path, "rw", encoder=encoder, lock_timeout=options.lock_timeout) as store:
        yield store


def _add_lines(store: Store, options: argparse.Namespace, summary: Summary) -> None:
    """Add the documents of JSON lines, their texts encoded."""
    source = "standard input" if options.source == "-" else options.source

    def encodable(records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            if record.vector is None and options.encoder is None:
                raise InvalidInput(
                    f"{source}: the document {record.id!r} has a text and no vector, and no encoder is given; say with "
                    "--encoder which model encodes it, or give vectors"
                )
            yield record

    total = count_lines([options.source])
    records = encodable(good_records(read_lines([options.source], None), options.on_error, summary.skip))
    with bar("encoding" if options.encoder else "reading", total, options.quiet) as shown:
        fill(store, records, summary, shown, _PER_COMMIT, batch_size=256)
    if summary.added == 0:
        raise InvalidInput(f"{source} holds no documents; expected JSON lines with text or vector")
    if summary.skipped or summary.repeated:
        print(f"binrag: {summary}", file=sys.stderr)


def _vectors(path: str) -> Any:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as a .npy file: {error}") from error


def _queries(path: str | None) -> Any:
    if path is None:
        return None
    if path.endswith(".npy"):
        return np.asarray(_vectors(path), dtype=np.float32)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _as_text(training: Training) -> str:
    return (
        f"{training.kind}, {training.code_bytes} bytes a row, fitted to {training.n_rows:,} vectors in "
        f"{training.seconds:.0f} s\nfloat32's top 10 in the codes' top 10, {training.n_queries:,} held-out queries: "
        f"{training.recall_before:.3f} before, {training.recall_after:.3f} now"
    )
