"""Many short byte strings in one buffer: sorted, made distinct and searched without an object for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from binrag.types import Int64, UInt64

_CHUNK = 65536
_WORD = 7
"""Bytes of a string that a word of the sort holds; its last byte says how many they are, 8: there are more."""

_MASKS: Final = np.array([(1 << 64) - (1 << (64 - 8 * n)) for n in range(_WORD + 1)], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Texts:
    """Byte strings, one after another; those of text are UTF-8, whose order is that of its characters.

    Attributes
    ----------
    data : bytes
        All of them.
    ends : int64 (n,)
        Where each ends.
    """

    data: bytes
    ends: Int64

    @classmethod
    def of(cls, values: Iterable[bytes]) -> Texts:
        """Put byte strings into one buffer."""
        values = list(values)
        return cls(b"".join(values), np.cumsum([len(value) for value in values], dtype=np.int64))

    @property
    def lengths(self) -> Int64:
        """Bytes of each, int64 (n,)."""
        return np.diff(self.ends, prepend=0)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> bytes:
        return self.data[self.ends[place - 1] if place else 0 : self.ends[place]]

    def with_part(self, part: bytes) -> npt.NDArray[np.bool_]:
        """Return which of them contain a part, bool (n,)."""
        return _with_part(self.data, self.ends, part)

    def with_lower(self, text: str) -> npt.NDArray[np.bool_]:
        """Return which of them, taken as text and in lower case, contain a text, bool (n,)."""
        if self.data.isascii():
            return _with_part(self.data.lower(), self.ends, text.encode())
        found = (text in self[place].decode().lower() for place in range(len(self)))
        return np.fromiter(found, np.bool_, len(self))


def distinct(parts: Sequence[Texts]) -> tuple[Texts, npt.NDArray[np.integer[Any]]]:
    """Return the distinct strings of all parts, sorted, and the place of each string of the parts among them."""
    data = b"".join(part.data for part in parts)
    lengths = np.concatenate([part.lengths for part in parts])
    starts = np.cumsum(lengths) - lengths
    order, is_first = _sorted(data, starts, lengths)
    places = np.empty(len(order), np.int64)
    places[order] = np.cumsum(is_first) - 1
    kept = order[is_first]
    return Texts(_gathered(data, starts[kept], lengths[kept]), np.cumsum(lengths[kept])), places


def _with_part(data: bytes, ends: Int64, part: bytes) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(ends), np.bool_)
    if not part:
        return ~found
    at = data.find(part)
    while at >= 0:
        place = int(np.searchsorted(ends, at, side="right"))
        end = int(ends[place])
        found[place] = at + len(part) <= end
        at = data.find(part, end)  # where the first does not end within the string, no later one does
    return found


def _sorted(data: bytes, starts: Int64, lengths: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Return the order of strings, int64 (n,), and at each place of it whether the string is another than before.

    The strings are sorted by their first word, and those that are equal so far by the next.
    """
    padded = data + bytes(8)
    words: UInt64 = np.ndarray((len(data) + 1,), ">u8", padded, strides=(1,))
    n = len(starts)
    order, group, is_first = np.arange(n), np.zeros(n, np.int64), np.zeros(n, np.bool_)
    is_first[:1] = True
    tied, at = np.arange(n), 0
    while len(tied):
        rows = order[tied]
        rest = lengths[rows] - at
        word = words[starts[rows] + at].astype(np.uint64) & _MASKS[np.minimum(rest, _WORD)]
        word |= np.minimum(rest, _WORD + 1).astype(np.uint64)
        at += _WORD
        if rest.min() > _WORD and word.min() == word.max():  # a prefix of all
            continue
        own = group[tied]
        sort = np.lexsort((word, own)) if own[0] != own[-1] else np.argsort(word, kind="stable")
        order[tied], word = rows[sort], word[sort]
        changes = np.ones(len(tied) + 1, np.bool_)
        changes[1:-1] = (own[1:] != own[:-1]) | (word[1:] != word[:-1])
        is_first[tied] |= changes[:-1]
        group[tied] = tied[np.maximum.accumulate(np.where(changes[:-1], np.arange(len(tied)), 0))]
        goes_on = word & np.uint64(255) == _WORD + 1
        tied = tied[goes_on & ~(changes[:-1] & changes[1:])]
    return order, is_first


def _gathered(data: bytes, starts: Int64, lengths: Int64) -> bytes:
    """Return slices of the data, joined."""
    source = np.frombuffer(data, np.uint8)
    parts = []
    for first in range(0, len(starts), _CHUNK):
        own, n = starts[first : first + _CHUNK], lengths[first : first + _CHUNK]
        shifts = own - (np.cumsum(n) - n)
        parts.append(source[np.repeat(shifts, n) + np.arange(int(n.sum()))].tobytes())
    return b"".join(parts)
