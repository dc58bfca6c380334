"""Index libraries of `benchmarks.speed`: they return row numbers; ids, texts and their storage are left to the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed_data import K, Rows
from benchmarks.speed_engines import Contender, Engine
from binrag.threads import n_processors
from binrag.types import Float32, UInt8

BATCH = 50_000
TRAINING_ROWS = 100_000
EFS = tuple({"ef": ef} for ef in (16, 32, 64, 128, 256))
GRAPH_NUMBERS = 400_000_000
"""What graphs are built of at most: a million rows of 384 dimensions."""


def sign_bits(vectors: Float32) -> UInt8:
    """Return one bit a dimension, uint8 (n, ceil(dim / 8))."""
    return np.packbits(vectors > 0, axis=-1)


def chunks(rows: Rows) -> Any:
    """Yield the first row and the vectors of `BATCH` rows at a time."""
    vectors = rows.vectors
    for first in range(0, len(vectors), BATCH):
        yield first, np.array(vectors[first : first + BATCH])


class RowAnswers(Engine):
    """An engine whose answers are row numbers, int (K,)."""

    def rows(self, answer: Any) -> list[int]:
        """Return the rows; libraries say -1 where they found nothing."""
        return [int(row) for row in answer if row >= 0]


class Faiss(RowAnswers):
    """A FAISS index, as its factory makes it of `key`.

    Parameters
    ----------
    key : str
        For `index_factory`.
    construction : int, optional
        HNSW's ``efConstruction``.
    """

    def __init__(self, key: str, construction: int | None = None) -> None:
        self.key, self.construction = key, construction

    def load(self) -> None:
        """Import FAISS."""
        import faiss

        self.faiss = faiss

    def build(self, rows: Rows, folder: Path) -> None:
        """Train on the first rows, add all, write the index."""
        faiss, vectors = self.faiss, rows.vectors
        faiss.omp_set_num_threads(n_processors())
        dim = vectors.shape[1]
        index = faiss.index_factory(dim, self.key, faiss.METRIC_INNER_PRODUCT)
        if self.construction is not None:
            index.hnsw.efConstruction = self.construction
        if not index.is_trained:
            index.train(np.array(vectors[:TRAINING_ROWS]))
        for _, batch in chunks(rows):
            index.add(batch)
        faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Read the index into memory."""
        self.faiss.omp_set_num_threads(threads)
        self.index = self.faiss.read_index(str(folder / "index.faiss"))

    def set(self, point: dict[str, Any]) -> None:
        """Set what a search is done with."""
        if "ef" in point:
            self.index.hnsw.efSearch = point["ef"]
        if "k_factor" in point:
            self.index.k_factor = point["k_factor"]

    def search(self, query: Float32, **point: Any) -> Any:
        """Search for one."""
        return self.search_batch(query[None], **point)[0]

    def search_batch(self, queries: Float32, **point: Any) -> Sequence[Any]:
        """Search for all."""
        self.set(point)
        found: Sequence[Any] = self.index.search(queries, K)[1]
        return found


class FaissBinary(Faiss):
    """FAISS's scan of sign bits by the Hamming distance."""

    def build(self, rows: Rows, folder: Path) -> None:
        """Add the signs, write the index."""
        self.faiss.omp_set_num_threads(n_processors())
        index = self.faiss.IndexBinaryFlat(rows.vectors.shape[1])
        for _, batch in chunks(rows):
            index.add(sign_bits(batch))
        self.faiss.write_index_binary(index, str(folder / "index.faiss"))

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Read the index into memory."""
        self.faiss.omp_set_num_threads(threads)
        self.index = self.faiss.read_index_binary(str(folder / "index.faiss"))

    def search_batch(self, queries: Float32, **point: Any) -> Sequence[Any]:
        """Take the signs and search for all."""
        found: Sequence[Any] = self.index.search(sign_bits(queries), K)[1]
        return found


class Usearch(RowAnswers):
    """usearch's graph over float32, or its exact search of sign bits."""

    def __init__(self, is_binary: bool) -> None:
        self.is_binary = is_binary

    def load(self) -> None:
        """Import usearch."""
        import usearch.index

        self.usearch = usearch.index

    def _values(self, vectors: Float32) -> Any:
        return sign_bits(vectors) if self.is_binary else vectors

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all, write the index."""
        kind = {"metric": "hamming", "dtype": "b1"} if self.is_binary else {"metric": "ip", "dtype": "f32"}
        # an index of bits has a graph too, which the exact search does not look at: the smallest one
        graph = {"connectivity": 2, "expansion_add": 1} if self.is_binary else {}
        index = self.usearch.Index(ndim=rows.vectors.shape[1], **kind, **graph)
        for first, batch in chunks(rows):
            index.add(np.arange(first, first + len(batch)), self._values(batch), threads=n_processors())
        index.save(str(folder / "index.usearch"))

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Read the index into memory."""
        self.index = self.usearch.Index.restore(str(folder / "index.usearch"))
        self.threads = threads

    def search(self, query: Float32, **point: Any) -> Any:
        """Search for one."""
        return self._found(query, point)

    def search_batch(self, queries: Float32, **point: Any) -> Sequence[Any]:
        """Search for all."""
        found: Sequence[Any] = self._found(queries, point)
        return found

    def _found(self, queries: Float32, point: dict[str, Any]) -> Any:
        if "ef" in point:
            self.index.expansion_search = point["ef"]
        return self.index.search(self._values(queries), K, exact=self.is_binary, threads=self.threads).keys


class Hnswlib(RowAnswers):
    """hnswlib's graph."""

    def __init__(self, m: int, construction: int) -> None:
        self.m, self.construction = m, construction

    def load(self) -> None:
        """Import hnswlib."""
        import hnswlib

        self.hnswlib = hnswlib

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all, write the index."""
        n, dim = rows.vectors.shape
        index = self.hnswlib.Index("ip", dim)
        index.init_index(n, M=self.m, ef_construction=self.construction)
        index.set_num_threads(n_processors())
        for first, batch in chunks(rows):
            index.add_items(batch, np.arange(first, first + len(batch)))
        index.save_index(str(folder / "index.hnswlib"))

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Read the index into memory."""
        self.index = self.hnswlib.Index("ip", rows.vectors.shape[1])
        self.index.load_index(str(folder / "index.hnswlib"))
        self.index.set_num_threads(threads)

    def search(self, query: Float32, **point: Any) -> Any:
        """Search for one."""
        return self.search_batch(query[None], **point)[0]

    def search_batch(self, queries: Float32, **point: Any) -> Sequence[Any]:
        """Search for all."""
        self.index.set_ef(point["ef"])
        found: Sequence[Any] = self.index.knn_query(queries, K)[0]
        return found


GRAPH: dict[str, Any] = {"points": EFS, "most_numbers": GRAPH_NUMBERS}


def faiss_indexes(dim: int) -> list[Contender]:
    """Return FAISS's indexes for vectors of `dim` dimensions."""
    needs: dict[str, Any] = {"needs": ("faiss-cpu",)}
    factors = tuple({"k_factor": factor} for factor in (1, 4, 8, 16, 32, 64))
    rabitq, quantized = f"RR{dim},RaBitQfs,RFlat", f"PQ{dim // 4}x4fs,RFlat"
    hnsw = {"key": "HNSW32", "construction": 128}
    of_rabitq, of_quantized = f"{rabitq}: signs, float32 refines", f"{quantized}: a bit a dimension, float32 refines"
    return [
        Contender("FAISS flat", Faiss, "IndexFlatIP", options={"key": "Flat"}, **needs),
        Contender("FAISS binary flat", FaissBinary, "IndexBinaryFlat, signs", options={"key": ""}, **needs),
        Contender("FAISS HNSW", Faiss, "HNSW32, efConstruction 128", options=hnsw, **needs, **GRAPH),
        Contender("FAISS RaBitQ", Faiss, of_rabitq, options={"key": rabitq}, points=factors, **needs),
        Contender("FAISS PQ fast scan", Faiss, of_quantized, options={"key": quantized}, points=factors, **needs),
    ]


def libraries(dim: int) -> list[Contender]:
    """Return the index libraries for vectors of `dim` dimensions."""
    usearch: dict[str, Any] = {"needs": ("usearch",)}
    floats, bits = {"is_binary": False}, {"is_binary": True}
    of_floats, of_bits = "float32 HNSW, connectivity 16, expansion_add 128", "b1, signs, exact, no graph used"
    return [
        *faiss_indexes(dim),
        Contender("usearch", Usearch, of_floats, options=floats, **usearch, **GRAPH),
        Contender("usearch, bits", Usearch, of_bits, options=bits, **usearch),
        Contender(
            "hnswlib",
            Hnswlib,
            "M 16, ef_construction 200",
            options={"m": 16, "construction": 200},
            needs=("hnswlib",),
            **GRAPH,
        ),
    ]
