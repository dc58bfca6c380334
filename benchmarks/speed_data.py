"""Rows, queries and exact answers for `benchmarks.speed`: real vectors, continued by a recorded recipe.

A row beyond the real ones lies between a real row and one of its nearest neighbours, with noise. Vectors of another
dimension are a random projection of these. All of it is drawn in chunks from seeds, so fewer rows are a prefix of more,
and files are written in chunks, so they need little memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.datasets import Dataset, unit
from binrag.types import Float32, Int64

CHUNK = 10_000
"""Rows drawn together; another number draws other rows."""

K = 10
TIE = 1e-6
"""An answer whose similarity is less by so much than that of the exact tenth counts as found: float32 sums differ."""

TEXT_LENGTH = 92


@dataclass(frozen=True, slots=True)
class Recipe:
    """How rows are continued and projected.

    Attributes
    ----------
    seed : int
        Draws everything.
    neighbours : int
        A real row is mixed with one of so many nearest ones.
    weights : (float, float)
        The neighbour's weight is uniform between these.
    noise : float
        Expected norm of the Gaussian noise added to a mixed row, relative to that row's.
    projected_noise : float
        The same for a projected row or query.
    """

    seed: int = 0
    neighbours: int = 10
    weights: tuple[float, float] = (0.2, 0.8)
    noise: float = 0.3
    projected_noise: float = 0.1


RECIPE = Recipe()


@dataclass(frozen=True, slots=True)
class Rows:
    """Documents of a cell, read from files.

    Attributes
    ----------
    path : Path
        float32 (n, dim) as .npy.
    texts_path : Path
        JSON list of the texts that rows take in turn.
    """

    path: Path
    texts_path: Path

    @property
    def vectors(self) -> Float32:
        """Unit vectors float32 (n, dim), mapped into memory."""
        mapped: Float32 = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped

    def batches(self, size: int) -> Iterator[tuple[list[str], list[str], Float32]]:
        """Yield ids, texts and vectors of `size` rows at a time."""
        texts = json.loads(self.texts_path.read_text(encoding="utf-8"))
        vectors = self.vectors
        for first in range(0, len(vectors), size):
            rows = range(first, min(first + size, len(vectors)))
            yield (
                [id_of(row) for row in rows],
                [f"{texts[row % len(texts)]} {row}" for row in rows],
                np.array(vectors[rows.start : rows.stop]),
            )


def id_of(row: int) -> str:
    """Return the id of a row's document."""
    return f"{row:08d}"


class Source:
    """Real vectors and what is made of them, kept in a folder.

    Parameters
    ----------
    dataset : Dataset
        Real vectors, queries and texts.
    folder : Path
        Where files go, in a subfolder of this data and recipe.
    n_queries : int
        Queries to draw; all if there are fewer.
    recipe : Recipe
        How rows are continued.
    """

    def __init__(self, dataset: Dataset, folder: Path, n_queries: int, recipe: Recipe = RECIPE) -> None:
        rng = np.random.default_rng(recipe.seed)
        self.name = dataset.name
        self.recipe = recipe
        order = rng.permutation(len(dataset.corpus))
        self.base: Float32 = dataset.corpus[order]
        drawn = rng.permutation(len(dataset.query_vectors))[:n_queries]
        self.base_queries: Float32 = dataset.query_vectors[drawn]
        texts = [dataset.texts[row][:TEXT_LENGTH] for row in order]
        self.digest = _digest(self.base.tobytes(), repr((recipe, CHUNK)).encode(), json.dumps(texts).encode())
        self.queries_digest = _digest(self.base_queries.tobytes())
        self.folder = folder / f"{dataset.name}-{self.digest}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.texts_path = self.folder / "texts.json"
        if not self.texts_path.exists():
            partial = self.texts_path.with_suffix(".partial")
            partial.write_text(json.dumps(texts), encoding="utf-8")
            partial.replace(self.texts_path)

    def rows(self, n: int, dim: int) -> Rows:
        """Return `n` rows of `dim` dimensions, made if they are not there yet."""
        path = self.folder / f"rows-{n}x{dim}.npy"
        if not path.exists():
            table = self._neighbours() if n > len(self.base) else None
            partial = path.with_suffix(".partial.npy")
            out = np.lib.format.open_memmap(partial, "w+", np.float32, (n, dim))
            for first in range(0, n, CHUNK):
                stop = min(first + CHUNK, n)
                out[first:stop] = self._projected(self._chunk(first, stop, table), dim, first)
            out.flush()
            del out
            partial.replace(path)
        return Rows(path, self.texts_path)

    def queries(self, dim: int) -> Path:
        """Return the file of the queries, float32 (n_queries, dim)."""
        path = self.folder / f"queries-{self.queries_digest}-{dim}.npy"
        if not path.exists():
            np.save(path, self._projected(self.base_queries, dim, None))
        return path

    def truth(self, n: int, dim: int) -> Float32:
        """Return each query's similarity to its exact tenth row, float32 (n_queries,); made if it is not there."""
        path = self.folder / f"truth-{self.queries_digest}-{n}x{dim}.npy"
        if not path.exists():
            _, scores = exact(self.rows(n, dim).vectors, np.load(self.queries(dim)), K)
            np.save(path, scores[:, -1])
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)

    def _neighbours(self) -> Int64:
        """Return the nearest other rows of each real row, int64 (n_base, neighbours)."""
        path = self.folder / "neighbours.npy"
        if not path.exists():
            np.save(path, nearest_others(self.base, min(self.recipe.neighbours, len(self.base) - 1)))
        table: Int64 = np.load(path, allow_pickle=False)
        return table

    def _chunk(self, first: int, stop: int, table: Int64 | None) -> Float32:
        """Return rows in the real dimension: real ones, then mixed ones."""
        n_base = len(self.base)
        real = self.base[first : min(stop, n_base)]
        if table is None or stop <= n_base:
            return real
        rng = np.random.default_rng([self.recipe.seed, 1, first // CHUNK])
        chosen = rng.integers(n_base, size=CHUNK)
        others = table[chosen, rng.integers(table.shape[1], size=CHUNK)]
        weights = rng.uniform(*self.recipe.weights, size=(CHUNK, 1)).astype(np.float32)
        mixed = (1 - weights) * self.base[chosen] + weights * self.base[others]
        made = noisy(mixed, self.recipe.noise, rng)
        return np.concatenate((real, made[len(real) : stop - first]))

    def _projected(self, rows: Float32, dim: int, first: int | None) -> Float32:
        """Return rows (from row `first` on; None: queries) in `dim` dimensions."""
        n_base = self.base.shape[1]
        if dim == n_base:
            return rows
        draw = np.random.default_rng([self.recipe.seed, 2, dim])
        projection = draw.standard_normal((n_base, dim), dtype=np.float32) / np.float32(np.sqrt(dim))
        seeds = [self.recipe.seed, 3, dim] if first is None else [self.recipe.seed, 4, dim, first // CHUNK]
        return noisy(rows @ projection, self.recipe.projected_noise, np.random.default_rng(seeds))


def _digest(*parts: bytes) -> str:
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(part)
    return found.hexdigest()


def noisy(rows: Float32, size: float, rng: np.random.Generator) -> Float32:
    """Return unit vectors of rows plus Gaussian noise whose norm is about `size` of theirs."""
    scale = size * np.linalg.norm(rows, axis=1, keepdims=True) / np.sqrt(rows.shape[1])
    return unit(rows + scale.astype(np.float32) * rng.standard_normal(rows.shape, dtype=np.float32))


def nearest_others(rows: Float32, k: int) -> Int64:
    """Return for each row the k most similar other rows, int64 (n, k)."""
    found = np.empty((len(rows), k), dtype=np.int64)
    for first in range(0, len(rows), 1000):
        scores = rows[first : first + 1000] @ rows.T
        scores[np.arange(len(scores)), np.arange(first, first + len(scores))] = -np.inf
        found[first : first + len(scores)] = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return found


def exact(rows: Float32, queries: Float32, k: int) -> tuple[Int64, Float32]:
    """Return each query's best rows and their similarities, best first: (n_queries, k) each."""
    best_rows = np.zeros((len(queries), 0), dtype=np.int64)
    best = np.zeros((len(queries), 0), dtype=np.float32)
    for first in range(0, len(rows), CHUNK):
        scores = queries @ np.asarray(rows[first : first + CHUNK]).T
        numbers = np.broadcast_to(np.arange(first, first + scores.shape[1]), scores.shape)
        best, best_rows = np.concatenate((best, scores), axis=1), np.concatenate((best_rows, numbers), axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, best_rows = np.take_along_axis(best, order, 1), np.take_along_axis(best_rows, order, 1)
    return best_rows, best


def recall(found: list[list[int]], rows: Float32, queries: Float32, tenth: Float32) -> float:
    """Return the mean share of the first answers that are as similar as the exact tenth; ties count.

    Parameters
    ----------
    found : list of list of int
        Rows found for the first queries.
    rows : float32 (n, dim)
        All vectors.
    queries : float32 (n_queries, dim)
        The queries.
    tenth : float32 (n_queries,)
        Similarity to the exact tenth row.
    """
    k = min(K, len(rows))
    hits = 0
    for answer, query, least in zip(found, queries, tenth, strict=False):
        distinct = np.unique(np.asarray(answer[:k], dtype=np.int64))
        hits += int((rows[distinct] @ query >= least - TIE).sum()) if len(distinct) else 0
    return hits / (k * len(found))
