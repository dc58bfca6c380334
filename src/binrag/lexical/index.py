"""An inverted index with ready scores: for each word the rows that hold it, and what it adds to their scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.errors import InvalidInput, MissingDependency
from binrag.lexical import blocks
from binrag.lexical.tail import Tail
from binrag.lexical.tokenizer import Tokenizer
from binrag.lexical.vocabulary import Vocabulary
from binrag.lexical.weighting import Weighting
from binrag.types import Candidates, Float32, Float64, Int64, UInt64

GROWTH = 10
"""A fold is due when the rows since are a tenth of those folded …"""

MIN_TAIL = 4096
"""… and so many at least."""


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
    n_rows : int
        Rows, those without words included.
    weighting : Weighting
        Statistics of the rows with words.
    vocabulary : Vocabulary
        The words, sorted.
    indptr : int64 (n_words + 1,)
        Word i has the postings from ``indptr[i]`` up to ``indptr[i + 1]``.
    rows : int32 (n_postings,)
        Ascending for each word.
    scores : float32 (n_postings,)
        What the word adds to the row's score, above zero.
    """

    tokenizer: Tokenizer
    n_rows: int
    weighting: Weighting
    vocabulary: Vocabulary
    indptr: Int64
    rows: npt.NDArray[np.int32]
    scores: Float32

    @classmethod
    def fold(cls, rows: Iterable[Sequence[str] | None], tokenizer: Tokenizer) -> LexicalIndex:
        """Make an index by bm25s.

        Parameters
        ----------
        rows : iterable of (sequence of str, or None)
            The words of each row by the tokenizer; None, or none, where it holds no text or no document.
        tokenizer : Tokenizer
            Kept in the index.

        Raises
        ------
        MissingDependency
            bm25s is not installed.
        """
        _check_bm25s()  # before rows are read, which may take long
        numbers: dict[str, int] = {}
        own_rows, documents = list[int](), list[list[int]]()
        n_rows = 0
        for row, words in enumerate(rows):
            n_rows = row + 1
            if words:
                own_rows.append(row)
                documents.append([numbers.setdefault(word, len(numbers)) for word in words])
        weighting = Weighting(len(documents), sum(map(len, documents)))
        indptr, places, scores = _bm25s(documents, len(numbers), weighting)
        words_sorted = sorted(numbers)
        order = np.array([numbers[word] for word in words_sorted], dtype=np.int64)
        counts = np.diff(indptr)[order]
        ends = np.cumsum(counts)
        source = np.repeat(indptr[:-1][order] - (ends - counts), counts) + np.arange(len(places))
        return cls(
            tokenizer,
            n_rows,
            weighting,
            Vocabulary.of(words_sorted),
            np.concatenate([[0], ends]).astype(np.int64),
            np.array(own_rows, dtype=np.int32)[places[source]],
            scores[source],
        )

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = (self.vocabulary.ends, self.indptr, self.rows, self.scores)
        return len(self.vocabulary.text) + sum(array.nbytes for array in arrays)

    def to_blocks(self) -> Iterator[bytes]:
        """Yield the index as bytes, a few MB each; see ``docs/hybrid.md``."""
        header = {
            "tokenizer": self.tokenizer.record(),
            "n_rows": self.n_rows,
            "n_counted": self.weighting.n_counted,
            "n_words": self.weighting.n_words,
            "k1": self.weighting.k1,
            "b": self.weighting.b,
        }
        return blocks.packed(header, self.vocabulary, self.indptr, self.rows, self.scores)

    @classmethod
    def from_blocks(cls, packed: Sequence[bytes], place: str) -> LexicalIndex:
        """Read what `to_blocks` wrote.

        Parameters
        ----------
        packed : sequence of bytes
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
        header, vocabulary, indptr, rows, scores = blocks.unpacked(packed, place)
        weighting = Weighting(header["n_counted"], header["n_words"], header["k1"], header["b"])
        tokenizer = Tokenizer.from_record(header["tokenizer"])
        return cls(tokenizer, header["n_rows"], weighting, vocabulary, indptr, rows, scores)

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
        places = [place for place in map(self.vocabulary.find, words) if place is not None]
        add_scores(
            self.indptr[places] if places else np.zeros(0, np.int64),
            self.indptr[np.array(places, dtype=np.int64) + 1],
            self.rows,
            self.scores,
            scores,
        )
        if tail:
            lengths, after = tail.lengths, scores[self.n_rows :]
            for word in words:
                rows, counts = tail.postings(word)
                after[rows] += self.weighting.scores(self.idf(word, tail), counts, lengths[rows])
        return scores

    @classmethod
    def unfolded(cls, tokenizer: Tokenizer, tail: Tail) -> LexicalIndex:
        """Return an index of no rows before a tail: the statistics are the tail's own."""
        lengths = tail.lengths
        weighting = Weighting(int((lengths > 0).sum()), int(lengths.sum()))
        none = np.zeros(0, dtype=np.int32)
        return cls(tokenizer, 0, weighting, Vocabulary.of([]), np.zeros(1, np.int64), none, none.astype(np.float32))

    def idf(self, word: str, tail: Tail | None = None) -> np.float32:
        """Return the weight of a word; one that no row of the index holds has the largest.

        One of no rows that has the statistics of a tail looks at that: `unfolded`.
        """
        if self.n_rows == 0 and self.weighting.n_counted and tail is not None:
            return self.weighting.idf(len(tail.postings(word)[0]))
        place = self.vocabulary.find(word)
        return self.weighting.idf(0 if place is None else int(self.indptr[place + 1] - self.indptr[place]))

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
            place = self.vocabulary.find(word)
            folded = self.rows[self.indptr[place] : self.indptr[place + 1]] if place is not None else self.rows[:0]
            later = tail.postings(word)[0] if tail else np.zeros(0, dtype=np.int64)
            if len(folded) or len(later):
                weight = float(self.idf(word, tail))
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


def _check_bm25s() -> None:
    try:
        import bm25s  # noqa: F401
    except ImportError:
        raise MissingDependency("search by words needs bm25s; install it with: pip install 'binrag[lexical]'") from None


def _bm25s(documents: list[list[int]], n_words: int, weighting: Weighting) -> tuple[Int64, Int64, Float32]:
    """Return where each word's postings begin, the places of documents that hold it, ascending, and the scores."""
    import bm25s

    if not documents:
        return np.zeros(n_words + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    model = bm25s.BM25(k1=weighting.k1, b=weighting.b, method="lucene", dtype="float32", int_dtype="int32")
    made = model.build_index_from_ids(list(range(n_words)), documents, show_progress=False)
    return made["indptr"].astype(np.int64), made["indices"].astype(np.int64), made["data"].astype(np.float32)
