"""Rows that came after an index was folded."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from binrag.lexical.postings import MOST, Postings
from binrag.lexical.vocabulary import Vocabulary
from binrag.types import Int64, UInt64

Numbers: TypeAlias = "array[int]"


def _numbers() -> Numbers:
    return array("i")


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """A view of the words of some consecutive rows, which grows as `FlatIndex` does: newer views share its arrays.

    Attributes
    ----------
    first_row : int
        The row its first is: the rows of the fold.
    n_rows : int
        Rows in view, those without words included.
    live : uint64 (≥ ceil(last row / 64),) or None
        Bitmap of the rows, those before the first included, that count; the others are as if they held no words.
    """

    first_row: int
    n_rows: int = 0
    _lengths: Numbers = field(default_factory=_numbers, repr=False)
    _postings: dict[str, tuple[Numbers, Numbers]] = field(default_factory=dict, repr=False)
    live: UInt64 | None = field(default=None, repr=False)

    def extended(self, rows: Iterable[Sequence[str] | None]) -> Tail:
        """Return a view of more rows; one thread at a time.

        Parameters
        ----------
        rows : iterable of (sequence of str, or None)
            The words of each further row; None where it holds no text. This view is as it was if it raises.
        """
        own = self if len(self._lengths) == self.n_rows else self._copied()
        for row, words in enumerate(rows, own.n_rows):
            own._lengths.append(len(words or ()))  # before its postings: who finds one more than it views, copies
            for word, count in Counter(words or ()).items():
                posting = own._postings.get(word)
                if posting is None:
                    posting = own._postings[word] = (_numbers(), _numbers())
                # before its row, so that every row that a reader sees has one
                posting[1].append(count if count < MOST else MOST)
                posting[0].append(row)
        return Tail(self.first_row, len(own._lengths), own._lengths, own._postings)

    def _copied(self) -> Tail:
        """Return the rows in view with arrays of their own, as a newer view has written to the shared ones."""
        postings = {}
        for word in list(self._postings):
            rows, counts = self._postings[word]
            n = int(np.searchsorted(_copy(rows), self.n_rows))
            if n:
                postings[word] = (rows[:n], counts[:n])
        return Tail(self.first_row, self.n_rows, self._lengths[: self.n_rows], postings)

    def until(self, n_rows: int, live: UInt64 | None = None) -> Tail:
        """Return a view of the first `n_rows` of these rows, where only those count that are live."""
        return Tail(self.first_row, n_rows, self._lengths, self._postings, live)

    def postings(self, word: str) -> tuple[Int64, Int64]:
        """Return the rows in view that hold a word, counted from `first_row`, and how often; int64 (n,) each."""
        posting = self._postings.get(word)
        if posting is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        rows = _copy(posting[0])
        n = int(np.searchsorted(rows, self.n_rows))
        rows, counts = rows[:n], _copy(posting[1][:n])
        is_live = self._are_live(rows)
        return rows[is_live], counts[is_live]

    def inverted(self) -> Postings:
        """Return all postings of the rows in view, live or not, counted from `first_row`; words may have none."""
        words = sorted(self._postings)
        pairs = [self._postings[word] for word in words]
        parts = [rows[:] for rows, _ in pairs]
        sizes = [len(part) for part in parts]
        rows = np.frombuffer(b"".join(parts), dtype=np.intc).astype(np.int32)
        own_counts = [counts[:size] for (_, counts), size in zip(pairs, sizes, strict=True)]
        counts = np.frombuffer(b"".join(own_counts), dtype=np.intc).astype(np.uint16)
        in_view = rows < self.n_rows
        n_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(in_view)])
        indptr = n_before[np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])]
        return Postings(Vocabulary.of([word.encode() for word in words]), indptr, rows[in_view], counts[in_view])

    @property
    def lengths(self) -> Int64:
        """How many words each row in view holds, int64 (n_rows,)."""
        return _copy(self._lengths[: self.n_rows]) * self._are_live(np.arange(self.n_rows))

    def _are_live(self, rows: Int64) -> npt.NDArray[np.bool_]:
        if self.live is None:
            return np.ones(len(rows), dtype=bool)
        places = rows + self.first_row
        return (self.live[places // 64] >> (places % 64).astype(np.uint64) & np.uint64(1)).astype(bool)


def _copy(numbers: Numbers) -> Int64:
    """Return the numbers; a slice is taken first, as another thread may append, which a view in NumPy would forbid."""
    return np.frombuffer(numbers[:], dtype=np.intc).astype(np.int64)
