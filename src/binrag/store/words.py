"""The index of words of a store: folded into blocks now and then, and a tail of the rows since, in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, get_args
from unicodedata import normalize

import numpy as np

from binrag.errors import CorruptStore, InvalidInput, UnsupportedMode
from binrag.storage import Database, Reading, Writing
from binrag.store.progress import progress_of
from binrag.store.snapshot import liveness
from binrag.threads import Mutex
from binrag.types import Int64, Progress, UInt64

if TYPE_CHECKING:  # few programs search by words
    from binrag.lexical import LexicalIndex, Tail, Tokenizer

LEXICAL = "lexical"
"""The record of ``meta``, and the part of the blocks."""

REPORTED = 1000
"""Rows between two reports of progress."""

Language = Literal["en", "any"]


@dataclass(frozen=True, slots=True)
class Lexical:
    """By which rules the words of texts are indexed.

    Parameters
    ----------
    language : "en" or "any"
        English rules (stop words, the plural's *s*), or none of any language.
    stop_words : collection of str, optional
        Words to leave out, in place of the language's own, in any case. An empty one leaves none out.

    Raises
    ------
    InvalidInput
        Another language, or stop words that are none.
    """

    language: Language = "en"
    stop_words: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.language not in get_args(Language):
            raise InvalidInput(f"lexical is {self.language!r}, expected 'en', 'any' (no language's rules) or None")
        words = self.stop_words
        if words is None:
            return
        if isinstance(words, (str, bytes)) or not isinstance(words, Collection):
            raise InvalidInput(f"stop_words is {words!r:.100}, expected words, such as ['der', 'die', 'das']")
        for word in words:
            if not isinstance(word, str) or not word or not word.isprintable() or " " in word:
                raise InvalidInput(f"the stop word {word!r:.100} is none; expected text without spaces")
        object.__setattr__(self, "stop_words", frozenset(normalize("NFKC", word).casefold() for word in words))


def checked_lexical(lexical: Any) -> Lexical:
    """Return the rules for a store's words.

    Raises
    ------
    InvalidInput
    """
    return lexical if isinstance(lexical, Lexical) else Lexical(lexical)


def lexical_of(record: dict[str, Any]) -> Lexical:
    """Return the rules that a store records.

    Raises
    ------
    CorruptStore
    """
    try:
        return Lexical(record["language"], record.get("stop_words"))
    except (InvalidInput, TypeError) as error:
        raise CorruptStore(f"meta record {LEXICAL!r} is none: {error}") from error


def check_words(reading: Reading, asked: Lexical | None) -> None:
    """Refuse other rules for words than the file's.

    Raises
    ------
    UnsupportedMode
        Names both.
    """
    record = reading.get(LEXICAL)
    has = None if record is None else lexical_of(record)
    if asked not in (None, has):
        raise UnsupportedMode(
            f"lexical={_said(asked)} was asked for, the store was made with {_said(has)}; leave it out, or "
            "store.index_words() changes it"
        )


def _said(lexical: Lexical | None) -> str:
    is_plain = lexical is None or lexical.stop_words is None
    return repr(lexical and lexical.language) if is_plain else f"{lexical!r:.200}"


def new_record(lexical: Lexical) -> dict[str, Any]:
    """Return the record of a store whose words are indexed and not folded yet."""
    own = {} if lexical.stop_words is None else {"stop_words": sorted(lexical.stop_words)}
    return {"language": lexical.language, "n_rows": 0, "generation": 0, **own}


def tokenizer_of(record: dict[str, Any]) -> Tokenizer:
    """Return what cuts a store's texts into words."""
    from binrag.lexical import Tokenizer

    lexical = lexical_of(record)
    stop_words = None if lexical.stop_words is None else frozenset(lexical.stop_words)
    return Tokenizer("en" if lexical.language == "en" else None, stop_words)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The index of words as of some commit, whose numbers of rows and fold its key names.

    Attributes
    ----------
    key : (int, int)
        `key_of` the commit.
    index : LexicalIndex
        Of no rows before the first fold.
    tail : Tail
        Of rows since.
    """

    key: tuple[int, int]
    index: LexicalIndex
    tail: Tail

    @classmethod
    def of(cls, key: tuple[int, int], index: LexicalIndex) -> Loaded:
        """Return an index before any row since."""
        from binrag.lexical import Tail

        return cls(key, index, Tail(index.n_rows))

    def extended(self, reading: Reading, report: Callable[[int], None] = lambda n: None) -> Loaded:
        """Return the same with the rows that came since; their texts are cut into words here, and reported."""
        known, n_rows = self.tail.first_row + self.tail.n_rows, reading.head().n_rows
        if n_rows <= known:
            return self
        words = words_between(reading, self.index.tokenizer, known, n_rows)
        return replace(self, tail=self.tail.extended(_reported(words, report)))

    def until(self, n_rows: int, live: UInt64 | None) -> tuple[LexicalIndex, Tail]:
        """Return the index and the tail of the first `n_rows` rows, for a search."""
        tail = self.tail.until(n_rows - self.tail.first_row, live)
        return (self.index if self.index.n_rows else self.index.unfolded(self.index.tokenizer, tail)), tail

    def folded(self, new_rows: Int64, n_rows: int) -> LexicalIndex:
        """Return the index of all rows of a commit, under new numbers; see `LexicalIndex.folded`."""
        return self.index.folded(self.tail.until(len(new_rows) - self.tail.first_row), new_rows, n_rows)


def key_of(reading: Reading, record: dict[str, Any]) -> tuple[int, int]:
    """Return what names the fold and the numbers of rows that a transaction sees, if it is of committed ones."""
    return record["generation"], reading.head().numbered


def unfolded(reading: Reading, record: dict[str, Any]) -> Loaded:
    """Return an index of no rows yet."""
    from binrag.lexical import LexicalIndex, Tail

    return Loaded.of(key_of(reading, record), LexicalIndex.unfolded(tokenizer_of(record), Tail(0)))


class Words:
    """What a handle has loaded of the index of words; only what is committed is kept."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._mutex = Mutex()

    def view(self, reading: Reading, live: UInt64 | None = None) -> tuple[LexicalIndex, Tail]:
        """Return the index as a transaction sees it, for a search.

        Of the rows since the last fold, those that are not in the bitmap `live` do not count: which of them lived when
        this handle cut them is nothing that another could know.

        Raises
        ------
        UnsupportedMode
            If the store has no index of words.
        CorruptStore
        """
        return self.loaded(reading).until(reading.head().n_rows, live)

    def loaded(self, reading: Reading) -> Loaded:
        """Return the index of the rows that a transaction sees, maybe of more, loading what is newer than before.

        Raises
        ------
        UnsupportedMode
            If the store has no index of words.
        CorruptStore
        """
        record = reading.get(LEXICAL)
        if record is None:
            raise UnsupportedMode(
                "the store has no index of words; store.index_words() makes one, and Store.open(lexical='en') a new "
                "store with one"
            )
        with self._mutex:
            loaded = self._loaded
            if loaded is None or loaded.key != key_of(reading, record):
                loaded = _read(reading, record)
            loaded = loaded.extended(reading)
            if not (isinstance(reading, Writing) and reading.has_written):
                self._loaded = loaded
        return loaded

    def take(self, loaded: Loaded) -> None:
        """Go on from what was committed just now."""
        with self._mutex:
            self._loaded = loaded


def _read(reading: Reading, record: dict[str, Any]) -> Loaded:
    """Return the last fold, before any row since."""
    n_rows = record["n_rows"]
    if not n_rows and not reading.n_blocks(LEXICAL):
        return unfolded(reading, record)
    from binrag.lexical import LexicalIndex

    blocks = (block.data for block in reading.blocks(LEXICAL))
    index = LexicalIndex.from_blocks(blocks, f"part {LEXICAL!r}")
    if index.n_rows != n_rows or n_rows > reading.head().n_rows or index.tokenizer != tokenizer_of(record):
        raise CorruptStore(f"part {LEXICAL!r} is of {index.n_rows} rows, and not as its record says: {record}")
    return Loaded.of(key_of(reading, record), index)


def words_between(reading: Reading, tokenizer: Tokenizer, first: int, stop: int) -> Iterator[list[str] | None]:
    """Yield the words of each row from `first` up to `stop`; None for a row without a document or a text."""
    row = first
    for at, document in reading.documents_between(first, stop):
        yield from (None for _ in range(row, at))
        yield None if document.text is None else tokenizer.words(document.text)
        row = at + 1
    yield from (None for _ in range(row, stop))


def _reported(words: Iterable[list[str] | None], report: Callable[[int], None]) -> Iterator[list[str] | None]:
    """Yield the words of rows, and report how many rows were done now and then."""
    done = iter(words)
    while some := list(islice(done, REPORTED)):
        yield from some
        report(len(some))


def is_due(reading: Reading) -> bool:
    """Whether so many rows came since the last fold that another is worth its time. Cheap."""
    record = reading.get(LEXICAL)
    if record is None:
        return False
    from binrag.lexical import needs_fold

    return needs_fold(record["n_rows"], reading.head().n_rows - record["n_rows"])


def put(writing: Writing, record: dict[str, Any], loaded: Loaded, new_rows: Int64, n_rows: int) -> Loaded:
    """Write the index of all rows under new numbers, `LexicalIndex.folded`; return it as it is once this commits."""
    index = loaded.folded(new_rows, n_rows)
    record = {**record, "n_rows": n_rows, "generation": writing.generation}
    writing.put_blocks(LEXICAL, n_rows, index.to_blocks())
    writing.put(LEXICAL, record)
    return Loaded.of(key_of(writing, record), index)


def fold(writing: Writing, record: dict[str, Any], loaded: Loaded) -> Loaded:
    """Write the index of the rows that live; they keep their numbers."""
    n_rows = writing.head().n_rows
    live = np.unpackbits(liveness(writing, n_rows).view(np.uint8), count=n_rows, bitorder="little")
    return put(writing, record, loaded, np.where(live, np.arange(n_rows), -1), n_rows)


def fold_if_due(database: Database, words: Words) -> None:
    """Fold if a commit made that due. Texts are cut before the store is locked, but for those of later commits."""
    if database.in_transaction:
        return
    with database.reading() as reading:
        if not is_due(reading):
            return
        words.loaded(reading)
    folded = None
    with database.writing() as writing:
        if is_due(writing):
            folded = fold(writing, writing.require(LEXICAL), words.loaded(writing))
    if folded is not None:
        words.take(folded)


def index_words(database: Database, words: Words, lexical: Lexical, progress: Progress) -> None:
    """Make the index anew, from the texts, by some rules; they are cut before the store is locked."""
    database.check_writable()
    record = new_record(lexical)
    with (
        database.reading(own_writes=True) as reading,
        progress_of(progress, reading.head().n_rows, "indexing words") as report,
    ):
        loaded = unfolded(reading, record).extended(reading, report)
    with database.writing() as writing:
        if key_of(writing, record) != loaded.key:  # rows have other numbers
            loaded = unfolded(writing, record)
        folded = fold(writing, record, loaded.extended(writing))
    if not database.in_transaction:
        words.take(folded)
