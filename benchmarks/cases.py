"""What is compared: a table of cases, each a name and a way to make a data set searchable."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.datasets import Dataset
from binrag import Store, pipeline
from binrag.binarizers import RotatedSignBinarizer, SignBinarizer
from binrag.binarizers.artefact import load_artefact
from binrag.indexes import FlatIndex
from binrag.protocols import Binarizer
from binrag.store.shipped import SHIPPED
from binrag.types import Candidates, Float32, Int64, KeepVectors

SEEDS = range(5)


@dataclass(frozen=True, slots=True)
class Searcher:
    """A case made ready for one data set.

    Attributes
    ----------
    search : callable
        ``search(query, k) -> rows``: float32 (dim,) to int64 (at most k,), best first.
    hot_bytes : float
        Bytes a row in memory.
    disk_bytes : float or None
        Bytes a row on disk, texts and ids included; None where nothing is stored.
    cold_reads : int or None
        Kept vectors that a search for 10 reads from disk; None where none are kept.
    """

    search: Callable[[Float32, int], Int64]
    hot_bytes: float
    disk_bytes: float | None = None
    cold_reads: int | None = None


Build = Callable[[Dataset], AbstractContextManager[Searcher]]


@contextmanager
def float_exact(dataset: Dataset) -> Iterator[Searcher]:
    """Inner products of float32 unit vectors over all rows; ties go to the lower row."""

    def search(query: Float32, k: int) -> Int64:
        scores = dataset.corpus @ query
        k = min(k, len(scores))
        (rows,) = np.nonzero(scores >= np.partition(scores, -k)[-k])
        return Candidates.ordered(rows, scores[rows].astype(np.float64)).top(k).rows

    yield Searcher(search, hot_bytes=4.0 * dataset.dim)


@contextmanager
def hamming_only(dataset: Dataset) -> Iterator[Searcher]:
    """Sign codes ranked by Hamming distance to the query's own code."""
    binarizer = SignBinarizer(dataset.dim)
    codes = binarizer.transform(dataset.corpus)
    index = FlatIndex.from_codes(codes)

    def search(query: Float32, k: int) -> Int64:
        return index.retrieve(binarizer.query(query), k).rows

    yield Searcher(search, hot_bytes=8.0 * codes.words.shape[1])


@contextmanager
def codes_rescored(dataset: Dataset, *, binarizer: Callable[[Dataset], Binarizer]) -> Iterator[Searcher]:
    """Codes of one bit a dimension, scanned and rescored with the float query as a store does it.

    Parameters
    ----------
    dataset : Dataset
        The data.
    binarizer : callable
        Makes the binarizer for a data set.
    """
    coder = binarizer(dataset)
    index = FlatIndex.from_codes(coder.transform(dataset.corpus), coder.shape.by_tables)

    def search(query: Float32, k: int) -> Int64:
        return pipeline.retrieve(index, coder.query(query), pipeline.default_candidates(index, k)).top(k).rows

    yield Searcher(search, hot_bytes=float(coder.code_bytes))


@contextmanager
def store(dataset: Dataset, *, keep_vectors: KeepVectors, artefact: str | None = None) -> Iterator[Searcher]:
    """Ask a store of the texts and vectors through its own `search`.

    Parameters
    ----------
    dataset : Dataset
        The data.
    keep_vectors : str
        What the store keeps on disk.
    artefact : str, optional
        Name of a binarizer that comes with binrag; sign codes without one.
    """
    binarizer = load_artefact(artefact, dim=dataset.dim)[0] if artefact else "sign"
    row_of = {doc_id: row for row, doc_id in enumerate(dataset.doc_ids)}
    with (
        tempfile.TemporaryDirectory(prefix="binrag-benchmark-") as folder,
        Store.open(Path(folder) / "store.binrag", "x", binarizer=binarizer, keep_vectors=keep_vectors) as opened,
    ):
        opened.add(dataset.texts, ids=dataset.doc_ids, vectors=dataset.corpus, progress=False)
        stats = opened.stats()
        n_reads = pipeline.default_reads(10, (opened.info().n_bits or 0) / dataset.dim)

        def search(query: Float32, k: int) -> Int64:
            return np.array([row_of[hit.id] for hit in opened.search(query, k)], dtype=np.int64)

        yield Searcher(
            search,
            hot_bytes=stats.memory_bytes / stats.n_rows,
            disk_bytes=stats.file_bytes / stats.n_rows,
            cold_reads=None if keep_vectors == "none" else min(n_reads, stats.n_rows),
        )


REFERENCE = "float32 exact"

CASES: dict[str, Build] = {
    REFERENCE: float_exact,
    "Hamming only": hamming_only,
    'store, keep_vectors="none"': partial(store, keep_vectors="none"),
    'store, keep_vectors="int8"': partial(store, keep_vectors="int8"),
    'store, keep_vectors="float16"': partial(store, keep_vectors="float16"),
    **{
        f'store, shipped {size} bytes, keep_vectors="none"': partial(store, keep_vectors="none", artefact=name)
        for size, name in SHIPPED[384].items()
    },
    'store, shipped 96 bytes, keep_vectors="int8"': partial(store, keep_vectors="int8", artefact=SHIPPED[384][96]),
}
"""Cases by name; the shipped binarizers are for all-MiniLM-L6-v2, and left out where vectors have another dimension."""


def _plain(dataset: Dataset) -> Binarizer:
    return SignBinarizer(dataset.dim)


def _centred(dataset: Dataset) -> Binarizer:
    return SignBinarizer(dataset.dim, mean=dataset.corpus.mean(axis=0))


def _rotated(dataset: Dataset, seed: int) -> Binarizer:
    return RotatedSignBinarizer(dataset.dim, seed=seed)


VARIANTS: dict[str, Build] = {
    "plain": partial(codes_rescored, binarizer=_plain),
    "centred": partial(codes_rescored, binarizer=_centred),
    **{f"rotated, seed {seed}": partial(codes_rescored, binarizer=partial(_rotated, seed=seed)) for seed in SEEDS},
}
