"""The train command."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from binrag.cli.commands import quiet_loading
from binrag.cli.output import as_json
from binrag.errors import InvalidInput
from binrag.store import Store
from binrag.types import Training


def train(options: argparse.Namespace) -> int:
    """Fit a binarizer, and print what it gains."""
    quiet_loading(options.encoder)
    progress = False if options.quiet else None
    with _opened(options) as store:
        training = store.train_binarizer(
            options.kind,
            code_bytes=options.code_bytes,
            queries="sentences" if options.sentences else _queries(options.queries),
            start=options.adapt,
            artefact=options.artefact,
            seed=options.seed,
            progress=progress,
        )
    print(as_json(asdict(training)) if options.json else _as_text(training))
    return 0


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[Store]:
    """Open the store; for a file of vectors, a store of them that lasts as long as the command."""
    if not options.source.endswith(".npy"):
        needs_encoder = options.sentences or options.queries or options.encoder
        encoder = (options.encoder or "recorded") if needs_encoder else None
        with Store.open(options.source, "rw", encoder=encoder, lock_timeout=options.lock_timeout) as store:
            if encoder is None and store.info().keep_vectors == "none":
                store.close()
                with Store.open(options.source, "rw", encoder="recorded", lock_timeout=options.lock_timeout) as again:
                    yield again
            else:
                yield store
        return
    if options.artefact is None:
        raise InvalidInput("vectors of a file are no store: say with --artefact where to write the binarizer")
    with tempfile.TemporaryDirectory(prefix="binrag-") as folder:
        path = Path(folder) / "vectors.binrag"
        with Store.open(path, "x", binarizer="sign", keep_vectors="float16") as store:
            store.add(vectors=_vectors(options.source), batch_size=4096, progress=False if options.quiet else None)
            yield store


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
