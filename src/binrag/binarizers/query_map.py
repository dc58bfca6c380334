"""A linear map of queries, fitted to lower the error of the scores of a row against its rivals.

Codes fitted to least squared error draw what they decode to towards the mean, more along some directions than along
others; and of scores only the differences among a query's best rows decide a ranking. So a query q is scored as
f ⟨M q, ŷ⟩, where f = ‖y‖² / ⟨M y, ŷ⟩ scales each row, and M is fitted to pairs of queries and rows near to them (the
loss that asymmetric codes are for, as score-aware quantization, Guo et al., ICML 2020, has it). A search costs the
same with it, and coding a row one product of (dim, dim).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.types import Float32, Int64

N_RIVALS = 64
"""Rows that are fitted to, a query: those of the best scores."""

N_ROWS = 12_000
"""Rows that serve as queries, at most, beside those given."""

N_EPOCHS = 2
"""Turns over all queries; more of them fit queries seen, not those to come."""

MAX_DIM = 1536
"""Dimensions that a map is fitted in, at most: it has their number squared to fit and to keep."""

_STEP = 1.3e-3
_BATCH = 32
_CHUNK = 256
_DECAYS = 0.9, 0.99
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Rivals:
    """Queries with the rows of the best scores, in the space of the codes.

    Attributes
    ----------
    queries : float32 (n_queries, dim)
    rows : int64 (n_queries, n_rivals)
        Numbers of rows.
    scores : float32 (n_queries, n_rivals)
        ⟨q, y⟩.
    """

    queries: Float32
    rows: Int64
    scores: Float32

    @classmethod
    def find(cls, rows: Float32, queries: Float32) -> Rivals:
        """Find the rows, float32 (n, dim), of the best scores for queries, float32 (n_queries, dim)."""
        n_rivals = min(N_RIVALS, len(rows))
        nearest = np.empty((len(queries), n_rivals), dtype=np.int64)
        scores = np.empty((len(queries), n_rivals), dtype=np.float32)
        for first in range(0, len(queries), _CHUNK):
            part = slice(first, first + _CHUNK)
            products = queries[part] @ rows.T
            nearest[part] = np.argpartition(products, len(rows) - n_rivals, axis=1)[:, -n_rivals:]
            scores[part] = np.take_along_axis(products, nearest[part], axis=1)
        return cls(queries, nearest, scores)


def fitted_map(
    rows: Float32, decoded: Float32, rivals: Rivals, seed: int, report: Callable[[], None] = lambda: None
) -> Float32:
    """Return M, float32 (dim, dim), that lowers the mean variance of f ⟨M q, ŷ⟩ − ⟨q, y⟩ among a query's rivals.

    It starts from the identity and takes as many steps as there are batches (Adam, Kingma and Ba, ICLR 2015), each
    shorter than the one before, and all in proportion to what the codes leave: close codes have little to gain.

    Parameters
    ----------
    rows, decoded : float32 (n, dim)
        y and ŷ.
    rivals : Rivals
        Of these rows.
    seed : int
        Shuffles the queries.
    report : callable
        Called after each epoch.
    """
    dim = rows.shape[1]
    found: Float32 = np.eye(dim, dtype=np.float32)
    step = _STEP * float(np.sqrt(((rows - decoded) ** 2).sum() / max(float((rows**2).sum()), _LEAST)))
    mean, square = np.zeros_like(found), np.zeros_like(found)
    draw = np.random.Generator(np.random.PCG64(seed))
    n_batches = len(rivals.queries) // _BATCH
    n_steps = n_batches * N_EPOCHS
    for epoch in range(N_EPOCHS):
        order = draw.permutation(len(rivals.queries))
        for i in range(n_batches):
            some = order[i * _BATCH : (i + 1) * _BATCH]
            numbers = rivals.rows[some].reshape(-1)
            _, slope = loss(found, rivals.queries[some], rivals.scores[some], rows[numbers], decoded[numbers])
            done = epoch * n_batches + i + 1
            mean += (1 - _DECAYS[0]) * (slope - mean)
            square += (1 - _DECAYS[1]) * (slope**2 - square)
            sizes = np.sqrt(square / (1 - _DECAYS[1] ** done)) + _LEAST
            found -= np.float32(step * (1 - done / n_steps) / (1 - _DECAYS[0] ** done)) * (mean / sizes)
        report()
    return found


def loss(
    found: Float32, queries: Float32, scores: Float32, rows: Float32, decoded: Float32
) -> tuple[float, npt.NDArray[Any]]:
    """Return the mean variance, and its slope by each number of the map.

    Parameters
    ----------
    found : float (dim, dim)
        M.
    queries : float (n_queries, dim)
    scores : float (n_queries, n_rivals)
        ⟨q, y⟩.
    rows, decoded : float (n_queries n_rivals, dim)
        y and ŷ, query by query.
    """
    mapped = decoded @ found
    norms2, products = (rows**2).sum(axis=1), (rows * mapped).sum(axis=1)
    factors = np.divide(norms2, products, out=np.zeros_like(norms2), where=products > 0)
    by_query = decoded.reshape(*scores.shape, -1)
    plain = (mapped.reshape(by_query.shape) @ queries[:, :, None])[..., 0]
    errors = factors.reshape(scores.shape) * plain - scores
    errors -= errors.mean(axis=1, keepdims=True)
    weights = errors * (2 / errors.size)
    by_score = ((weights * factors.reshape(scores.shape))[:, None] @ by_query)[:, 0].T @ queries
    shares = np.divide(factors, products, out=np.zeros_like(factors), where=products > 0)
    by_factor = (decoded * ((weights * plain).reshape(-1) * shares)[:, None]).T @ rows
    return float((errors**2).mean()), by_score - by_factor
