"""How training goes, and what it draws from: rows, queries, rows near them, and queries held out to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import xxhash

from binrag.binarizers.fitting import sample
from binrag.errors import InvalidInput
from binrag.types import Float32, Int64

Pairs: TypeAlias = tuple[Float32, Float32]
"""Queries and the rows that answer them, both float32 (n_pairs, dim)."""

Surrogate: TypeAlias = Literal["hardtanh", "tanh", "identity"]

N_ANCHORS, N_NEIGHBOURS = 4000, 100
"""Queries and rows that steps draw their queries from, and rows near each that count as hard."""

N_HELD_OUT, N_JUDGED = 200, 10_000
"""Queries held out, and rows among which their top 10 is judged."""

NOISE = 0.1
"""Length of the noise on a row that stands in for a query, as a share of the row's length."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train.

    Attributes
    ----------
    steps : int
        Steps in all; the learning rate falls to 0 along half a cosine.
    batch_size : int
        Rows a step; a quarter as many queries.
    learning_rate : float
        Of AdamW.
    temperature : float
        T of the teacher and of the decoded similarity.
    surrogate : "hardtanh", "tanh" or "identity"
        Whose gradient stands in for that of the sign.
    decoded, scanned, reconstruction, pairs : float
        Weights of the losses.
    seed : int
        Decides everything that is drawn.
    """

    steps: int = 1000
    batch_size: int = 1024
    learning_rate: float = 1e-3
    temperature: float = 0.04
    surrogate: Surrogate = "hardtanh"
    decoded: float = 1.0
    scanned: float = 1.0
    reconstruction: float = 1.0
    pairs: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 16 or self.learning_rate <= 0 or self.temperature <= 0:
            raise InvalidInput(
                f"{self} cannot be trained with: steps from 1, batch_size from 16, rate and temperature above 0"
            )
        if self.surrogate not in get_args(Surrogate):
            raise InvalidInput(f"surrogate is {self.surrogate!r}, expected one of {', '.join(get_args(Surrogate))}")


@dataclass(frozen=True, slots=True)
class Data:
    """What is learned from.

    Attributes
    ----------
    rows : float32 (n, dim)
        x − μ.
    mean : float32 (dim,)
        μ.
    anchors : float32 (n_anchors, dim)
        Queries that steps draw: the given ones, then rows with noise, which stand in.
    own : int64 (n_anchors,)
        The row that an anchor was made of, or −1; it does not count as an answer.
    neighbours : int64 (n_anchors, n_near)
        The rows nearest to each anchor.
    n_known : int
        How many anchors are given queries.
    held_out : float32 (n_held_out, dim)
        Queries that no step sees; rows with noise where none were given.
    pairs : optional
    """

    rows: Float32
    mean: Float32
    anchors: Float32
    own: Int64
    neighbours: Int64
    n_known: int
    held_out: Float32
    pairs: Pairs | None

    @classmethod
    def prepared(cls, rows: Float32, mean: Float32, queries: Float32 | None, pairs: Pairs | None, seed: int) -> Data:
        """Choose queries to train with and to hold out; rows with noise stand in where there are none."""
        draw = np.random.Generator(np.random.PCG64(seed))
        known = np.zeros((0, rows.shape[1]), np.float32) if queries is None else draw.permutation(queries)
        n_held_out = min(N_HELD_OUT, len(known) // 5)
        held_out, known = known[:n_held_out], known[n_held_out:][: N_ANCHORS // 2]
        own = draw.permutation(len(rows))[: N_ANCHORS - len(known)]
        stand_ins = rows[own] + mean
        noise = draw.standard_normal(stand_ins.shape, dtype=np.float32) / np.float32(np.sqrt(rows.shape[1]))
        stand_ins = stand_ins + NOISE * np.linalg.norm(stand_ins, axis=1, keepdims=True) * noise
        if not n_held_out:
            n_held_out = min(N_HELD_OUT, len(own) // 5)
            held_out, stand_ins, own = stand_ins[:n_held_out], stand_ins[n_held_out:], own[n_held_out:]
        anchors = np.concatenate((known, stand_ins))
        own = np.concatenate((np.full(len(known), -1), own))
        near = _nearest(anchors, rows, min(N_NEIGHBOURS, len(rows)))
        return cls(rows, mean, anchors, own, near, len(known), held_out, pairs)

    def batch(self, batch_size: int, seed: int, step: int) -> tuple[Int64, Int64]:
        """Return the numbers of the step's anchors, half of them queries, and of its rows, half of them near."""
        draw = np.random.Generator(np.random.PCG64([seed, step]))
        n_queries = batch_size // 4
        known = draw.permutation(self.n_known)[: n_queries // 2]
        others = self.n_known + draw.permutation(len(self.anchors) - self.n_known)[: n_queries - len(known)]
        chosen = np.concatenate((known, others))
        n_near = batch_size // 2
        near = self.neighbours[draw.choice(chosen, n_near), draw.integers(0, self.neighbours.shape[1], n_near)]
        return chosen, np.unique(np.concatenate((near, draw.integers(0, len(self.rows), n_near))))

    def digests(self) -> dict[str, Any]:
        """Return what tells this data from other data."""
        pairs = None if self.pairs is None else [digest(side) for side in self.pairs]
        anchors = digest(np.concatenate((self.anchors, self.held_out)))
        return {"rows": len(self.rows), "digest": digest(self.rows), "queries": anchors, "pairs": pairs}

    def judged(self, seed: int) -> tuple[Int64, Int64]:
        """Return the numbers of some rows, and the places among them of each held-out query's top 10."""
        chosen = sample(len(self.rows), N_JUDGED, seed)
        return chosen, _nearest(self.held_out, self.rows[chosen], min(10, len(chosen)))


def _nearest(queries: Float32, rows: Float32, k: int) -> Int64:
    """Return the numbers of the k rows of the largest inner product, in no order, int64 (n_queries, k)."""
    found = np.empty((len(queries), k), dtype=np.int64)
    for i in range(0, len(queries), 500):
        found[i : i + 500] = np.argpartition(-(queries[i : i + 500] @ rows.T), k - 1, axis=1)[:, :k]
    return found


def digest(array: npt.NDArray[Any]) -> str:
    """Return the xxh3-64 of an array's values, in hexadecimal."""
    return xxhash.xxh3_64_hexdigest(np.ascontiguousarray(array).tobytes())
