"""The words of an index, sorted: no dictionary has to be built to open one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import numpy as np

from binrag.types import Int64


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary(Sequence[bytes]):
    """Distinct words in the order of their bytes in UTF-8.

    Attributes
    ----------
    text : bytes
        The words, one after another.
    ends : int64 (n_words,)
        Where each ends.
    """

    text: bytes
    ends: Int64

    @classmethod
    def of(cls, words: Sequence[bytes]) -> Vocabulary:
        """Return the vocabulary of distinct words that are sorted."""
        return cls(b"".join(words), np.cumsum([len(word) for word in words], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[bytes]:
        return (self.text[start:end] for start, end in pairwise([0, *self.ends.tolist()]))

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        return self.text[self.ends[place - 1] if place else 0 : self.ends[place]]

    def find(self, word: str) -> int | None:
        """Return the place of a word, or None."""
        encoded = word.encode()
        place = bisect_left(self, encoded)
        return place if place < len(self) and self[place] == encoded else None
