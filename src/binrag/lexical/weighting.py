"""BM25 as Lucene defines it: what a word weighs, and what it adds to the score of a row that holds it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.types import Float32, Float64, Int64

K1 = 1.5
B = 0.75


@dataclass(frozen=True, slots=True)
class Weighting:
    """The statistics of the rows that were counted, and the formula's two constants.

    A row scores Σ idf(w) · tf / (k1 · (1 − b + b · length / average length) + tf) over the query's words w, repeated as
    they are there; tf is how often the row holds w, length how many words it holds, and
    idf(w) = ln(1 + (n − df + 0.5) / (df + 0.5)), above zero for every df ≤ n.

    Attributes
    ----------
    n_counted : int
        Rows that were counted: those that hold words.
    n_words : int
        Words that they hold together, repeated ones included.
    k1, b : float
        How soon repetitions stop to count, and how much long rows lose.
    """

    n_counted: int
    n_words: int
    k1: float = K1
    b: float = B

    @classmethod
    def of(cls, lengths: npt.NDArray[Any], k1: float = K1, b: float = B) -> Weighting:
        """Return the statistics of rows by how many words each holds, integers (n_rows,)."""
        return cls(int(np.count_nonzero(lengths)), int(lengths.sum(dtype=np.int64)), k1, b)

    def idf(self, n_rows: int) -> np.float32:
        """Return the weight of a word that `n_rows` of the rows counted hold, 0 for one that none holds."""
        return np.float32(math.log(1 + (self.n_counted - n_rows + 0.5) / (n_rows + 0.5)))

    def norms(self, lengths: npt.NDArray[Any]) -> Float64:
        """Return k1 · (1 − b + b · length / average length) of rows by how many words they hold; float64 (n,)."""
        average = self.n_words / self.n_counted if self.n_counted else 1.0
        return np.asarray(self.k1 * ((1 - self.b) + self.b * lengths / average), dtype=np.float64)

    def scores(self, idf: np.float32, counts: Int64, lengths: Int64) -> Float32:
        """Return what a word adds to the scores of rows.

        Parameters
        ----------
        idf : float32
            Its weight.
        counts : int64 (n,)
            How often each row holds it.
        lengths : int64 (n,)
            How many words each row holds.

        Returns
        -------
        float32 (n,)
            The same bits as bm25s has for rows that were counted.
        """
        return np.asarray(idf * (counts / (self.norms(lengths) + counts)), dtype=np.float32)
