"""binrag's own codes: the binarizers at the sizes they are measured at, fitted and ranked as a store does it."""

from __future__ import annotations

import ast
import hashlib
import importlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

import binrag
from benchmarks.datasets import Dataset
from benchmarks.outcomes import DEPTH, Outcome, Training, digest_of, kept, outcome, set_digest
from benchmarks.spaces import top_rows
from binrag import pipeline
from binrag.binarizers import AdditiveBinarizer, RotatedSignBinarizer, SignBinarizer
from binrag.binarizers.artefact import load_artefact, shipped_artefacts
from binrag.errors import MissingDependency
from binrag.indexes import FlatIndex
from binrag.protocols import Binarizer
from binrag.ranking.rescore import factors_of, integer_tables
from binrag.registry import binarizer_from_record, record_of

Fit = Callable[[Training, int], Binarizer]


@dataclass(frozen=True, slots=True)
class Coding:
    """One of binrag's codes at one size.

    Attributes
    ----------
    family : str
        What its sizes have in common; one curve of the plot.
    name : str
        The setting.
    fit : callable
        ``fit(training, seed)`` to a binarizer.
    is_random : bool
        Whether another seed may give other codes.
    is_slow : bool
        Whether fitting takes many minutes; such have a number of seeds of their own.
    size : int, optional
        Bytes a row, of a fit that has several sizes; it is made once for all of them.
    is_ready : bool
        Whether it was fitted before, and is only loaded: there is nothing to keep.
    """

    family: str
    name: str
    fit: Fit
    is_random: bool = True
    is_slow: bool = False
    size: int | None = None
    is_ready: bool = False


FITTED: tuple[tuple[str, str, tuple[int, ...], dict[str, Any]], ...] = (
    ("ITQ", "itq:ItqBinarizer", (34, 50), {}),
    ("median signs", "itq:MedianSignBinarizer", (50,), {}),
    ("levels", "levels:LevelsBinarizer", (50, 98, 194), {}),
    ("Lloyd–Max", "levels:LloydMaxBinarizer", (50, 98, 194), {}),
    ("allocated", "allocated:AllocatedBinarizer", (34, 48, 64, 96, 128, 192), {}),
    ("linear, compact", "linear:LinearBinarizer", (34, 48, 64, 96, 128, 192), {"shape": "compact"}),
    ("linear, nested", "linear:LinearBinarizer", (64, 96, 128, 192), {"shape": "nested"}),
    ("recurrent, untrained", "recurrent:RecurrentBinarizer", (48, 96, 192), {}),
)
"""Family, module and class below `binrag.binarizers`, bytes a row, further arguments of `fit`."""

ADDITIVE_SIZES = (48, 96, 144, 192)
"""Stages of one fit."""

TRAINED_SIZES = (48, 96, 192)


def codings() -> list[Coding]:
    """Return the table of those binarizers that this version of binrag has."""
    table = [
        Coding("sign", "sign", _sign, is_random=False),
        Coding("rotated sign", "rotated sign", _rotated_sign),
    ]
    for family, path, sizes, options in FITTED:
        cls = _class(path)
        if cls is not None:
            table += [Coding(family, f"{family} {size}", partial(_fit, cls, size, options)) for size in sizes]
    table += [Coding("additive", f"additive {size}", _additive, size=size) for size in ADDITIVE_SIZES]
    if _class("recurrent:RecurrentBinarizer") is not None:
        table += [
            Coding("recurrent", f"recurrent {size}", partial(_trained, size), is_slow=True) for size in TRAINED_SIZES
        ]
    return table


def artefact(path: str) -> Coding:
    """Return the code of an artefact: a file, or the name of one that comes with binrag. It is fitted already."""

    def fit(training: Training, seed: int) -> Binarizer:
        return load_artefact(path, dim=training.rows.shape[1])[0]

    name = f"artefact {Path(path).stem}"
    family = name.rpartition("-")[0] if path in shipped_artefacts() else name  # sizes of one file
    return Coding(family, name, fit, is_random=False, is_ready=True)


def _sign(training: Training, seed: int) -> Binarizer:
    return SignBinarizer(training.rows.shape[1])


def _rotated_sign(training: Training, seed: int) -> Binarizer:
    return RotatedSignBinarizer(training.rows.shape[1], seed=seed)


def _fit(cls: Any, code_bytes: int, options: dict[str, Any], training: Training, seed: int) -> Binarizer:
    fitted: Binarizer = cls.fit(training.rows, code_bytes=code_bytes, queries=training.queries, seed=seed, **options)
    return fitted


def _additive(training: Training, seed: int) -> Binarizer:
    largest = ADDITIVE_SIZES[-1]
    return AdditiveBinarizer.fit(training.rows, code_bytes=largest, queries=training.queries, seed=seed)


def _trained(code_bytes: int, training: Training, seed: int) -> Binarizer:
    try:
        from binrag.binarizers.training import Settings, train_recurrent
    except ImportError:
        raise MissingDependency("training the recurrent binarizer needs PyTorch: pip install torch") from None
    rows, queries = training.rows, training.queries
    settings = Settings(seed=seed)
    return train_recurrent(rows, code_bytes=code_bytes, queries=queries, settings=settings, progress=False).binarizer


def _class(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(f"binrag.binarizers.{module}"), name, None)
    except ModuleNotFoundError:
        return None


@lru_cache
def source_digest() -> str:
    """Return a digest of the source that fits and writes codes, without comments and docstrings.

    What was kept under another is not used.
    """
    digest = hashlib.blake2b(digest_size=16)
    root = Path(binrag.__file__).parent
    for file in sorted([*(root / "binarizers").rglob("*.py"), *(root / "kernels").rglob("*.py")]):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = None
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def code(
    coding: Coding, seed: int, training: Training, datasets: Iterable[Dataset], cache: Path | None
) -> dict[str, Outcome]:
    """Fit one of binrag's codes and rank the queries of some sets.

    Returns
    -------
    dict
        Name of a set to the outcome.

    Raises
    ------
    TrainingError
        The rows are too few for this code.
    """
    binarizer, seconds = fitted(coding, seed, training, cache)
    record = msgpack.packb(record_of(binarizer))
    found = {}
    for dataset in datasets:
        key = digest_of("binrag", hashlib.blake2b(record).hexdigest(), source_digest(), set_digest(dataset))

        def make(dataset: Dataset = dataset) -> dict[str, Any]:
            return _ranked(binarizer, dataset, [len(record), seconds])

        found[dataset.name] = outcome(kept(cache, key, make))
    return found


def fitted(coding: Coding, seed: int, training: Training, cache: Path | None) -> tuple[Binarizer, float]:
    """Return a binarizer and the seconds that fitting it took."""

    def make() -> dict[str, Any]:
        start = time.perf_counter()
        binarizer = coding.fit(training, seed)
        seconds = time.perf_counter() - start
        record = msgpack.packb(record_of(binarizer))
        return {"record": np.frombuffer(record, dtype=np.uint8), "seconds": seconds}

    name = coding.name if coding.size is None else ""
    key = digest_of("fitted", coding.family, name, str(seed), training.digest, source_digest())
    arrays = kept(None if coding.is_ready else cache, key, make)
    binarizer = binarizer_from_record(msgpack.unpackb(arrays["record"].tobytes()))
    seconds = float(arrays["seconds"])
    if coding.size is None:
        return binarizer, seconds
    part = binarizer.prefix(coding.size)  # type: ignore[attr-defined]
    return part, seconds * len(part.stages) / len(binarizer.stages)  # type: ignore[attr-defined]


def _ranked(binarizer: Binarizer, dataset: Dataset, cost: list[float]) -> dict[str, Any]:
    from binrag.kernels.weighted import table_sums

    binarizer.transform(dataset.corpus[:16])
    start = time.perf_counter()
    codes = binarizer.transform(dataset.corpus)
    speed = len(codes) / (time.perf_counter() - start)
    index = FlatIndex.from_codes(codes, binarizer.shape.by_tables)
    queries = [binarizer.query(vector) for vector in dataset.query_vectors]
    every_row, sums = np.arange(len(codes)), np.empty(len(codes), np.int64)
    depth = min(DEPTH, len(codes))
    n_candidates = pipeline.default_candidates(index, 10)
    top, two_stage, plane = (np.empty((len(queries), depth), np.int32) for _ in range(3))
    for i, query in enumerate(queries):
        tables, step = integer_tables(query.tables)
        table_sums(index.codes, index.rest, every_row, tables, sums)
        top[i] = top_rows(
            (factors_of(index.codes, index.rescale, query, every_row) * (sums * np.float32(step)))[None], depth
        )[0]
        two_stage[i] = pipeline.retrieve(index, query, n_candidates).top(depth).rows
        plane[i] = index.retrieve(query, depth).rows
    figures = [float(binarizer.code_bytes), *cost, speed]
    shape = "compact" if binarizer.shape.by_tables else "nested"
    return {"figures": figures, "shape": shape, "top": top, "two_stage": two_stage, "plane": plane}
