"""Rows that came after an index was folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from binrag.types import Int64


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """A view of the words of some consecutive rows, which grows as `FlatIndex` does: newer views share its lists.

    Attributes
    ----------
    first_row : int
        The row its first is: the rows of the fold.
    n_rows : int
        Rows in view, those without words included.
    """

    first_row: int
    n_rows: int = 0
    _lengths: list[int] = field(default_factory=list, repr=False)
    _postings: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict, repr=False)

    def extended(self, rows: Sequence[Sequence[str] | None]) -> Tail:
        """Return a view of more rows; one thread at a time.

        Parameters
        ----------
        rows : sequence of (sequence of str, or None)
            The words of each further row; None where it holds no text.
        """
        own = self if len(self._lengths) == self.n_rows else self._copied()
        for row, words in enumerate(rows, own.n_rows):
            for word, count in Counter(words or ()).items():
                posting = own._postings.get(word)
                if posting is None:
                    posting = own._postings[word] = ([], [])
                posting[1].append(count)  # before its row, so that every row that a reader sees has one
                posting[0].append(row)
            own._lengths.append(len(words or ()))
        return Tail(self.first_row, len(own._lengths), own._lengths, own._postings)

    def _copied(self) -> Tail:
        """Return the rows in view with lists of their own, as a newer view has written to the shared ones."""
        cut = {word: self.postings(word) for word in list(self._postings)}
        postings = {word: (rows.tolist(), counts.tolist()) for word, (rows, counts) in cut.items() if len(rows)}
        return Tail(self.first_row, self.n_rows, self._lengths[: self.n_rows], postings)

    def until(self, n_rows: int) -> Tail:
        """Return a view of the first `n_rows` of these rows."""
        return self if n_rows == self.n_rows else Tail(self.first_row, n_rows, self._lengths, self._postings)

    def postings(self, word: str) -> tuple[Int64, Int64]:
        """Return the rows in view that hold a word, counted from `first_row`, and how often; int64 (n,) each."""
        rows, counts = self._postings.get(word, ((), ()))
        found = np.array(rows, dtype=np.int64)
        n = int(np.searchsorted(found, self.n_rows))
        return found[:n], np.array(counts[:n], dtype=np.int64)

    @property
    def lengths(self) -> Int64:
        """How many words each row in view holds, int64 (n_rows,)."""
        return np.array(self._lengths[: self.n_rows], dtype=np.int64)
