"""Machine code made before the first search needs it."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from binrag.binarizers.artefact import load_artefact
from binrag.binarizers.sign import SignBinarizer
from binrag.protocols import Binarizer
from binrag.storage import Database
from binrag.store.shipped import SHIPPED
from binrag.store.space import VectorSpace
from binrag.store.store import Store
from binrag.store.words import LEXICAL

_N_ROWS = 40


def warmup(path: str | os.PathLike[str] | None = None) -> None:
    """Compile what adding and searching need, and load it into this process.

    The machine code is kept on disk where numba finds a folder for it, so processes to come only load it. Without this
    it is made by the first `add` and the first search.

    Parameters
    ----------
    path : str or path, optional
        A store; its codes are made ready, and its words if they are indexed; nothing where it has no codes yet. By
        default signs, the codes that come with binrag, and words.

    Raises
    ------
    StoreNotFound, NotAStore, FormatVersionError, ReadOnlyStore, CorruptStore
        The store cannot be read.
    """
    if path is None:
        for place, binarizer in enumerate(_common()):
            _warm({"binarizer": binarizer}, (_N_ROWS, binarizer.dim), has_words=place == 0)
        return
    with closing(Database.open(Path(path), "r", 0, {})) as database, database.reading() as reading:
        space, has_words = VectorSpace.read(reading), reading.get(LEXICAL) is not None
    if space is not None and space.tokens is not None:
        _warm({"late_interaction": space.tokens.config}, (_N_ROWS, 2, space.tokens.dim), has_words)
    elif space is not None:
        _warm({"binarizer": space.binarizer}, (_N_ROWS, space.dim), has_words)


def _warm(settings: dict[str, Any], shape: tuple[int, ...], has_words: bool) -> None:
    vectors = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with tempfile.TemporaryDirectory(prefix="binrag-warmup-") as folder:
        path = Path(folder) / "warmup.binrag"
        with Store.open(path, "x", **settings) as store:
            store.add(["word"] * len(vectors), vectors=vectors, progress=False)
            store.search(vectors[0])
            if has_words:
                store.index_words(progress=False)
        if has_words:
            with Store.open(path, "r") as store:  # which reads the index that was written
                store.search(vectors[0], text="word", legs="hybrid")


def _common() -> list[Binarizer]:
    shipped = ((name, dim) for dim, names in SHIPPED.items() for name in names.values())
    return [*map(SignBinarizer, SHIPPED), *(load_artefact(name, dim=dim)[0] for name, dim in shipped)]
