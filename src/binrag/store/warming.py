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

_N_ROWS = 40


def warmup(path: str | os.PathLike[str] | None = None) -> None:
    """Compile what adding and searching need, and load it into this process.

    The machine code is kept on disk where numba finds a folder for it, so processes to come only load it. Without this
    it is made by the first `add` and the first search.

    Parameters
    ----------
    path : str or path, optional
        A store; its codes are made ready, and nothing where it has none yet. By default signs and the codes that come
        with binrag.

    Raises
    ------
    StoreNotFound, NotAStore, FormatVersionError, ReadOnlyStore, CorruptStore
        The store cannot be read.
    """
    if path is None:
        for binarizer in _common():
            _warm({"binarizer": binarizer}, (_N_ROWS, binarizer.dim))
        return
    with closing(Database.open(Path(path), "r", 0, {})) as database, database.reading() as reading:
        space = VectorSpace.read(reading)
    if space is not None and space.tokens is not None:
        _warm({"late_interaction": space.tokens.config}, (_N_ROWS, 2, space.tokens.dim))
    elif space is not None:
        _warm({"binarizer": space.binarizer}, (_N_ROWS, space.dim))


def _warm(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    vectors = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    with (
        tempfile.TemporaryDirectory(prefix="binrag-warmup-") as folder,
        Store.open(Path(folder) / "warmup.binrag", "x", **settings) as store,
    ):
        store.add(vectors=vectors, progress=False)
        store.search(vectors[0])


def _common() -> list[Binarizer]:
    shipped = ((name, dim) for dim, names in SHIPPED.items() for name in names.values())
    return [*map(SignBinarizer, SHIPPED), *(load_artefact(name, dim=dim)[0] for name, dim in shipped)]
