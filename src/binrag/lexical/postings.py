"""Words, the rows that hold each, and how often: what an index consists of, and how two become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from binrag.lexical.vocabulary import Vocabulary
from binrag.types import Int64

MOST = 2**16 - 1
"""More of a word in a row count as so many."""

Int32: TypeAlias = npt.NDArray[np.int32]
UInt16: TypeAlias = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """An inverted index.

    Attributes
    ----------
    vocabulary : Vocabulary
        The words.
    indptr : int64 (n_words + 1,)
        Word i has the postings from ``indptr[i]`` up to ``indptr[i + 1]``.
    rows : int32 (n_postings,)
        Ascending for each word.
    counts : uint16 (n_postings,)
        How often the row holds the word, from 1 on; more than `MOST` count as `MOST`.
    """

    vocabulary: Vocabulary
    indptr: Int64
    rows: Int32
    counts: UInt16

    @classmethod
    def none(cls) -> Postings:
        """Return those of no words."""
        return cls(Vocabulary.of([]), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint16))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = (self.vocabulary.ends, self.indptr, self.rows, self.counts)
        return len(self.vocabulary.text) + sum(array.nbytes for array in arrays)

    def rows_of(self, word: str) -> Int32:
        """Return the rows that hold a word, int32 (n,), ascending."""
        place = self.vocabulary.find(word)
        return self.rows[:0] if place is None else self.rows[self.indptr[place] : self.indptr[place + 1]]


def merged(parts: Sequence[Postings], new_rows: Sequence[Int64]) -> Postings:
    """Return the postings of all parts, under new numbers of rows; words that no row holds any more are left out.

    Parameters
    ----------
    parts : sequence of Postings
    new_rows : sequence of int64 (n_rows,)
        For each part the new number of each of its rows, below 2³¹; −1 for one that is dropped. No number comes twice.
    """
    from binrag.kernels.lexical import count_kept, move_kept, sort_postings  # compiled code loads when it is needed

    own_words = [list(part.vocabulary) for part in parts]
    words = list(dict.fromkeys(sorted(chain(*own_words))))
    place_of = {word: place for place, word in enumerate(words)}
    places = [np.array([place_of[word] for word in own], dtype=np.int64) for own in own_words]
    sizes = np.zeros(len(words), dtype=np.int64)
    for part, numbers, own in zip(parts, new_rows, places, strict=True):
        count_kept(part.indptr, part.rows, numbers, own, sizes)
    ends = np.cumsum(sizes)
    n_postings = int(ends[-1]) if len(ends) else 0
    rows, counts, cursors = np.empty(n_postings, np.int32), np.empty(n_postings, np.uint16), ends - sizes
    for part, numbers, own in zip(parts, new_rows, places, strict=True):
        move_kept(part.indptr, part.rows, part.counts, numbers, own, cursors, rows, counts)
    is_held = sizes > 0
    held = Vocabulary.of([word for word, keep in zip(words, is_held.tolist(), strict=True) if keep])
    indptr = np.concatenate([np.zeros(1, np.int64), ends[is_held]])
    sort_postings(indptr, rows, counts)
    return Postings(held, indptr, rows, counts)
