"""An inverted index: for each word the rows that hold it, and how often; scores are computed by each search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.errors import InvalidInput
from binrag.lexical import blocks
from binrag.lexical.postings import Postings, merged
from binrag.lexical.tail import Tail
from binrag.lexical.tokenizer import Tokenizer
from binrag.lexical.weighting import Weighting
from binrag.types import Candidates, Float32, Float64, Int64, UInt64

GROWTH = 32
"""A fold is due when the rows since are one to so many folded …"""

MIN_TAIL = 4096
"""… and so many at least."""

COMMON = 2**16
"""Words of a row whose norm is in the table of all lengths up to the longest; longer rows, few, have one each."""


def needs_fold(n_folded: int, n_tail: int) -> bool:
    """Say whether a new fold is worth its time, by the rows of the last one and those since."""
    return n_tail >= max(MIN_TAIL, n_folded / GROWTH)


@dataclass(frozen=True, slots=True, eq=False)
class LexicalIndex:
    """An immutable index of the words of rows 0 to n_rows − 1. Rows without words have no postings.

    Attributes
    ----------
    tokenizer : Tokenizer
        What cut the words; queries have to be cut by the same.
    weighting : Weighting
        Statistics of the rows with words.
    postings : Postings
        The words, the rows that hold each, and how often.
    lengths : uint32 (n_rows,)
        How many words each row holds.
    kinds : uint32 (n_rows,)
        Where in `norms` that of each row is: at its length, if that is no more than `COMMON`.
    norms : float64 (n_kinds,)
        By `Weighting.norms`.
    """

    tokenizer: Tokenizer
    weighting: Weighting
    postings: Postings
    lengths: npt.NDArray[np.uint32]
    kinds: npt.NDArray[np.uint32] = field(init=False, repr=False)
    norms: Float64 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n_common = min(int(self.lengths.max(initial=0)), COMMON) + 1
        longer, kinds = np.flatnonzero(self.lengths > COMMON), self.lengths
        if len(longer):
            kinds = kinds.copy()
            kinds[longer] = n_common + np.arange(len(longer))
        object.__setattr__(self, "kinds", kinds)
        norms = self.weighting.norms(np.concatenate([np.arange(n_common), self.lengths[longer]]))
        object.__setattr__(self, "norms", norms)

    @classmethod
    def unfolded(cls, tokenizer: Tokenizer, tail: Tail) -> LexicalIndex:
        """Return an index of no rows before a tail: the statistics are the tail's own."""
        return cls(tokenizer, Weighting.of(tail.lengths), Postings.none(), np.zeros(0, np.uint32))

    @classmethod
    def fold(cls, rows: Iterable[Sequence[str] | None], tokenizer: Tokenizer) -> LexicalIndex:
        """Make an index.

        Parameters
        ----------
        rows : iterable of (sequence of str, or None)
            The words of each row by the tokenizer; None, or none, where it holds no text or no document.
        tokenizer : Tokenizer
            Kept in the index.
        """
        tail = Tail(0).extended(rows)
        return cls.unfolded(tokenizer, tail).folded(tail, np.arange(tail.n_rows), tail.n_rows)

    def folded(self, tail: Tail, new_rows: Int64, n_rows: int) -> LexicalIndex:
        """Return the index of this one's rows and those of a tail, with their own statistics.

        Parameters
        ----------
        tail : Tail
            Rows after those of the index.
        new_rows : int64 (all rows,)
            The new number of each row, in any order and none twice, or −1 for one that is dropped.
        n_rows : int
            Rows of the new index; those that no row becomes hold no words.
        """
        self._check(tail)
        numbers = new_rows[: self.n_rows], new_rows[self.n_rows :]
        lengths, kept = np.zeros(n_rows, dtype=np.uint32), new_rows >= 0
        lengths[new_rows[kept]] = np.concatenate([self.lengths, tail.lengths])[kept]
        weighting = Weighting.of(lengths, self.weighting.k1, self.weighting.b)
        return LexicalIndex(self.tokenizer, weighting, merged([self.postings, tail.inverted()], numbers), lengths)

    @property
    def n_rows(self) -> int:
        """Rows, those without words included."""
        return len(self.lengths)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        kinds = 0 if self.kinds is self.lengths else self.kinds.nbytes
        return self.postings.nbytes + self.lengths.nbytes + kinds + self.norms.nbytes

    def to_blocks(self) -> Iterator[bytes]:
        """Yield the index as bytes, a few MB each; see ``docs/file-format.md``."""
        header = {"tokenizer": self.tokenizer.record(), "k1": self.weighting.k1, "b": self.weighting.b}
        return blocks.packed(header, self.postings, self.lengths)

    @classmethod
    def from_blocks(cls, packed: Iterable[bytes], place: str) -> LexicalIndex:
        """Read what `to_blocks` wrote.

        Parameters
        ----------
        packed : iterable of bytes
            All blocks in order.
        place : str
            Where they are from, for the message.

        Raises
        ------
        CorruptStore
            They are not as `to_blocks` writes them.
        FormatVersionError
            Their words were cut by other rules than this version has.
        """
        header, postings, lengths = blocks.unpacked(packed, place)
        weighting = Weighting.of(lengths, header["k1"], header["b"])
        return cls(Tokenizer.from_record(header["tokenizer"]), weighting, postings, lengths)

    def retrieve(
        self, words: Sequence[str], n: int, allowed: UInt64 | None = None, tail: Tail | None = None
    ) -> Candidates:
        """Return the allowed rows with the best scores.

        Parameters
        ----------
        words : sequence of str
            The query's words by the tokenizer.
        n : int
            How many rows at most.
        allowed : uint64 (≥ ceil(all rows / 64),), optional
            Bitmap of the rows that may be returned; dead rows must not be in it. All rows without it.
        tail : Tail, optional
            Rows after those of the index; they are scored by the statistics of the index.

        Returns
        -------
        Candidates
            At most n rows, best first; only such that hold a word of the query, so that all scores are above zero.
        """
        from binrag.kernels.lexical import best_rows  # compiled code loads at the first search

        scores = self.score(words, tail)
        n = min(n, len(scores))
        rows, found = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.float32)
        n_words = -(-len(scores) // 64)
        bitmap = np.full(n_words, 2**64 - 1, dtype=np.uint64) if allowed is None else allowed
        if len(bitmap) < n_words:  # compiled code reads unchecked
            raise ValueError(f"the bitmap has {len(bitmap)} words, expected {n_words} for {len(scores)} rows")
        n_found = best_rows(scores, bitmap, rows, found) if n > 0 else 0
        return Candidates.ordered(rows[:n_found], found[:n_found].astype(np.float64))

    def score(self, words: Sequence[str], tail: Tail | None = None) -> Float32:
        """Return the scores of all rows, float32 (n_rows,), those of the tail after those of the index.

        The words' scores are added in the order of the words, so that equal queries have equal scores.
        """
        from binrag.kernels.lexical import add_scores

        self._check(tail)
        scores = np.zeros(self.n_rows + (tail.n_rows if tail else 0), dtype=np.float32)
        own = self.postings
        places = np.array([p for p in map(own.vocabulary.find, words) if p is not None], dtype=np.int64)
        starts, stops = own.indptr[places], own.indptr[places + 1]
        weights = np.array([self.weighting.idf(n) for n in (stops - starts).tolist()], dtype=np.float64)
        add_scores(starts, stops, weights, own.rows, own.counts, self.kinds, self.norms, scores)
        if tail:
            lengths, after = tail.lengths, scores[self.n_rows :]
            for word in words:
                rows, counts = tail.postings(word)
                weight = self._weight(len(own.rows_of(word)), len(rows))
                after[rows] += self.weighting.scores(weight, counts, lengths[rows])
        return scores

    def idf(self, word: str, tail: Tail | None = None) -> np.float32:
        """Return the weight of a word; one that no row of the index holds has the largest.

        One of no rows that has the statistics of a tail looks at that: `unfolded`.
        """
        return self._weight(len(self.postings.rows_of(word)), len(tail.postings(word)[0]) if tail else 0)

    def _weight(self, n_folded: int, n_later: int) -> np.float32:
        """Return the weight of a word that so many rows of the index, and of the tail after it, hold."""
        return self.weighting.idf(n_folded if self.n_rows or not self.weighting.n_counted else n_later)

    def coverage(self, words: Sequence[str], rows: Int64, tail: Tail | None = None) -> Float64:
        """Return how much of a query some rows hold.

        Parameters
        ----------
        words : sequence of str
            The query's.
        rows : int64 (n,)
            Of the index or the tail, in any order.
        tail : Tail, optional
            Rows after those of the index.

        Returns
        -------
        float64 (n,)
            Σ idf over the distinct words of the query that the row holds, over Σ idf of those that any row holds; 0
            where there are none. A word that no row holds tells no two rows apart.
        """
        self._check(tail)
        held, mass = np.zeros(len(rows), dtype=np.float64), 0.0
        for word in dict.fromkeys(words):
            folded = self.postings.rows_of(word)
            later = tail.postings(word)[0] if tail else np.zeros(0, dtype=np.int64)
            if len(folded) or len(later):
                weight = float(self._weight(len(folded), len(later)))
                mass += weight
                held += weight * (_among(rows, folded) | _among(rows - self.n_rows, later))
        return held / mass if mass else held

    def _check(self, tail: Tail | None) -> None:
        if tail is not None and tail.first_row != self.n_rows:
            raise InvalidInput(f"the tail begins at row {tail.first_row}, expected {self.n_rows}, after the index")


def _among(rows: Int64, ascending: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Say of each row whether it is among the others."""
    if not len(ascending):
        return np.zeros(len(rows), dtype=bool)
    places = np.searchsorted(ascending, rows)
    return np.asarray(ascending[np.minimum(places, len(ascending) - 1)] == rows)
