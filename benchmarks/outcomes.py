"""One code on several sets: fitted once, its rankings kept in a folder, since fitting is slow."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.contenders import Contender, FaissModel, Model, faiss
from benchmarks.datasets import Dataset
from benchmarks.spaces import Space, SpaceName, ranking, rescaled, space
from binrag.types import Float32, Int64

DEPTH = 100
"""Rows of a ranking that are kept."""

_FORMAT = 1
"""Rises when what is kept under a key changes its meaning, a peer's settings for instance."""

_DIGESTS: dict[int, tuple[Dataset, str]] = {}


class NotKept(LookupError):
    """There are no rankings of a slow peer in the folder, and it is not to be fitted."""


@dataclass(frozen=True, slots=True)
class Training:
    """What codes are fitted to.

    Attributes
    ----------
    name : str
        ``"own"`` where it is the set they are judged on, else the name of the other set.
    rows : float32 (n, dim)
        Vectors.
    queries : float32 (n_queries, dim) or None
        Queries that are not among those judged; None if there are none.
    """

    name: str
    rows: Float32
    queries: Float32 | None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest_of(self.rows, self.queries))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one code at one size answered to the queries of one set.

    Attributes
    ----------
    row_bytes : float
        Bytes a row in memory, everything counted but the model.
    model_bytes : int
        Bytes of the model.
    fit_seconds, rows_a_second : float
        Time to fit; rows coded in a second.
    top : int64 (n_queries, min(100, n_rows))
        Rows by the float query over all codes, best first.
    two_stage : int64 or None
        The same by scan and rescoring, as a store does it.
    plane : int64 or None
        The same by the scan alone.
    shape : str
        Of binrag's codes: ``"nested"`` or ``"compact"``.
    """

    row_bytes: float
    model_bytes: int
    fit_seconds: float
    rows_a_second: float
    top: Int64
    two_stage: Int64 | None = None
    plane: Int64 | None = None
    shape: str = ""


def digest_of(*parts: npt.NDArray[Any] | str | None) -> str:
    """Return a digest of arrays and names."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"{part}\0".encode())
    return digest.hexdigest()


def set_digest(dataset: Dataset) -> str:
    """Return a digest of a set's vectors, taken once."""
    if id(dataset) not in _DIGESTS:
        _DIGESTS[id(dataset)] = dataset, digest_of(dataset.corpus, dataset.query_vectors)
    return _DIGESTS[id(dataset)][1]


def kept(cache: Path | None, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the arrays kept under a key, or make them and keep them; with no folder nothing is kept."""
    path = None if cache is None else cache / "codes" / f"{key}.npz"
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    made = {name: np.asarray(value) for name, value in make().items() if value is not None}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **made)
        partial.replace(path)
    return made


def outcome(arrays: dict[str, Any]) -> Outcome:
    """Read an outcome from what is kept."""
    figures = arrays["figures"]
    rankings = {name: arrays[name].astype(np.int64) for name in ("top", "two_stage", "plane") if name in arrays}
    shape = str(arrays.get("shape", ""))
    return Outcome(float(figures[0]), int(figures[1]), float(figures[2]), float(figures[3]), **rankings, shape=shape)


def contend(
    contender: Contender,
    space_name: SpaceName,
    seed: int,
    training: Training,
    datasets: Iterable[Dataset],
    cache: Path | None,
    *,
    fits: bool = True,
) -> dict[tuple[str, bool], Outcome]:
    """Fit a peer in a space and rank the queries of some sets, without and with binrag's rescale factor.

    Parameters
    ----------
    contender, space_name, seed, training, datasets
        What is fitted where to what, and ranks which queries.
    cache : Path or None
        Folder of kept rankings.
    fits : bool
        False: what is not kept is not made.

    Raises
    ------
    NotKept
        Something would have to be made.

    Returns
    -------
    dict
        Name of a set, and whether rows are rescaled, to the outcome. The rescaled ones count two bytes more; where a
        peer's codes can't be decoded there are none.
    """
    fitted = FittedInSpace(contender, space_name, seed, training, cache)
    found = {}
    for dataset in datasets:
        key = digest_of(
            str(_FORMAT),
            contender.family,
            contender.name,
            space_name,
            str(seed),
            training.digest,
            set_digest(dataset),
        )

        def make(dataset: Dataset = dataset) -> dict[str, Any]:
            if not fits:
                raise NotKept(f"{contender.name}, {space_name}, fitted on {training.name}: not kept for {dataset.name}")
            return fitted.rank(dataset)

        arrays = kept(cache, key, make)
        found[dataset.name, False] = outcome(arrays)
        if "rescaled" in arrays:
            figures = arrays["figures"] + np.array([2, 0, 0, 0])
            found[dataset.name, True] = outcome({"figures": figures, "top": arrays["rescaled"]})
    return found


class FittedInSpace:
    """A peer in a space, fitted when it is first asked."""

    def __init__(
        self, contender: Contender, space_name: SpaceName, seed: int, training: Training, cache: Path | None
    ) -> None:
        self.contender, self.seed, self.training = contender, seed, training
        self.cache = cache if contender.is_slow else None
        self.key = digest_of("model", contender.family, contender.name, space_name, str(seed), training.digest)
        self.space_name = space_name
        self.fitted: tuple[Model, float] | None = None

    @cached_property
    def space(self) -> Space:
        """Return the space, fitted when it is first asked for."""
        return space(self.space_name, self.training.rows, self.training.queries)

    def model(self) -> tuple[Model, float]:
        """Return the model and the seconds that fitting took; slow ones come from the folder if they are there."""
        if self.fitted is None:
            made: list[Model] = []

            def make() -> dict[str, Any]:
                rows = self.space.row(self.training.rows)
                start = time.perf_counter()
                model = self.contender.fit(rows, self.seed)
                seconds = time.perf_counter() - start
                made.append(model)
                index = faiss().serialize_index(model.index) if isinstance(model, FaissModel) else None
                return {"seconds": seconds, "index": index}

            arrays = kept(self.cache, self.key, make)
            model = made[0] if made else FaissModel(faiss().deserialize_index(arrays["index"]))
            self.fitted = model, float(arrays["seconds"])
        return self.fitted

    def rank(self, dataset: Dataset) -> dict[str, Any]:
        """Rank the queries of a set; the arrays to be kept."""
        model, seconds = self.model()
        rows, queries = self.space.row(dataset.corpus), self.space.query(dataset.query_vectors)
        start = time.perf_counter()
        coded = model.encode(rows)
        speed = len(rows) / (time.perf_counter() - start)
        figures = [model.row_bytes, model.model_bytes + self.space.model_bytes, seconds, speed]
        decoded = model.decode(coded)
        if decoded is None:
            return {"figures": figures, "top": model.rank(coded, queries, DEPTH).astype(np.int32)}
        return {
            "figures": figures,
            "top": ranking(queries, decoded, DEPTH).astype(np.int32),
            "rescaled": ranking(queries, rescaled(rows, decoded), DEPTH).astype(np.int32),
        }


def exact_rankings(dataset: Dataset, cache: Path | None, depth: int = DEPTH) -> Int64:
    """Return float32's exact ranking of each query, int64 (n_queries, min(depth, n_rows))."""
    key = digest_of("exact", str(depth), set_digest(dataset))
    found = kept(cache, key, lambda: {"top": ranking(dataset.query_vectors, dataset.corpus, depth)})
    return found["top"].astype(np.int64)
