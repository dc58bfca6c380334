"""Machine code made before the first search needs it."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from binrag.binarizers import SignBinarizer
from binrag.binarizers.artefact import load_artefact
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
    for binarizer in _common() if path is None else _of_store(Path(path)):
        vectors = np.random.default_rng(0).standard_normal((_N_ROWS, binarizer.dim), dtype=np.float32)
        with (
            tempfile.TemporaryDirectory(prefix="binrag-warmup-") as folder,
            Store.open(Path(folder) / "warmup.binrag", "x", binarizer=binarizer) as store,
        ):
            store.add(vectors=vectors, progress=False)
            store.search(vectors[0])


def _common() -> list[Binarizer]:
    shipped = ((name, dim) for dim, names in SHIPPED.items() for name in names.values())
    return [*map(SignBinarizer, SHIPPED), *(load_artefact(name, dim=dim)[0] for name, dim in shipped)]


def _of_store(path: Path) -> list[Binarizer]:
    with closing(Database.open(path, "r", 0, {})) as database, database.reading() as reading:
        space = VectorSpace.read(reading)
    return [space.binarizer] if space else []
