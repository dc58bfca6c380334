"""The index of words of a store: folded into blocks now and then, and a tail of the rows since, in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

from binrag.errors import CorruptStore, InvalidInput, MissingDependency, UnsupportedMode
from binrag.storage import Database, Head, Reading, Writing
from binrag.threads import Mutex
from binrag.types import UInt64

if TYPE_CHECKING:  # few programs search by words
    from binrag.lexical import LexicalIndex, Tail, Tokenizer

LEXICAL = "lexical"
"""The record of ``meta``, and the part of the blocks."""

Language = Literal["en", "any"]

_log = logging.getLogger("binrag")


def checked_language(language: Any) -> Language:
    """Return the language of a store's words.

    Raises
    ------
    InvalidInput
    """
    if language not in get_args(Language):
        raise InvalidInput(f"lexical is {language!r}, expected 'en', 'any' (no language's rules) or None")
    found: Language = language
    return found


def check_words(reading: Reading, asked: Language | None) -> None:
    """Refuse another language of words than the file's.

    Raises
    ------
    UnsupportedMode
        Names both.
    """
    record = reading.get(LEXICAL)
    has = record["language"] if record else None
    if asked not in (None, has):
        raise UnsupportedMode(
            f"lexical={asked!r} was asked for, the store was made with {has!r}; leave it out, or store.index_words() "
            "changes it"
        )


def new_record(language: Language) -> dict[str, Any]:
    """Return the record of a store whose words are indexed and not folded yet."""
    return {"language": language, "n_rows": 0, "generation": 0}


def tokenizer_of(record: dict[str, Any]) -> Tokenizer:
    """Return what cuts a store's texts into words."""
    from binrag.lexical import Tokenizer

    return Tokenizer("en" if record["language"] == "en" else None)


class Words:
    """What a handle has loaded of the index of words."""

    def __init__(self) -> None:
        self._key: tuple[int, int] = (-1, -1)
        self._index: LexicalIndex | None = None
        self._tail: Tail | None = None
        self._mutex = Mutex()

    def view(self, reading: Reading, live: UInt64 | None = None) -> tuple[LexicalIndex, Tail]:
        """Return the index as a transaction sees it, loading what is newer than what was loaded.

        Of the rows since the last fold, those that are not in the bitmap `live` do not count: which of them lived when
        this handle cut them is nothing that another could know.

        Raises
        ------
        UnsupportedMode
            If the store has no index of words.
        CorruptStore
        """
        record, head = reading.get(LEXICAL), reading.head()
        if record is None:
            raise UnsupportedMode(
                "the store has no index of words; store.index_words() makes one, and Store.open(lexical='en') a new "
                "store with one"
            )
        from binrag.lexical import LexicalIndex, Tail

        tokenizer = tokenizer_of(record)
        with self._mutex:
            key = (record["generation"], head.numbered)
            if key != self._key:
                self._index = _folded(reading, record, tokenizer)
                self._tail = Tail(self._index.n_rows if self._index else 0)
                self._key = key
            tail, index = self._extended(reading, head, tokenizer), self._index
        tail = tail.until(head.n_rows - tail.first_row, live)
        # a fold of no rows has no statistics
        return index if index and index.n_rows else LexicalIndex.unfolded(tokenizer, tail), tail

    def _extended(self, reading: Reading, head: Head, tokenizer: Tokenizer) -> Tail:
        """Return the tail up to the last row that a transaction sees, or further."""
        tail = self._tail
        assert tail is not None
        known = tail.first_row + tail.n_rows
        if head.n_rows > known:
            tail = self._tail = tail.extended(list(words_between(reading, tokenizer, known, head.n_rows)))
        return tail


def _folded(reading: Reading, record: dict[str, Any], tokenizer: Tokenizer) -> LexicalIndex | None:
    blocks = [block.data for block in reading.blocks(LEXICAL)]
    if not record["n_rows"] and not blocks:
        return None
    from binrag.lexical import LexicalIndex

    index = LexicalIndex.from_blocks(blocks, f"part {LEXICAL!r}")
    if index.n_rows != record["n_rows"] or index.n_rows > reading.head().n_rows or index.tokenizer != tokenizer:
        raise CorruptStore(f"part {LEXICAL!r} is of {index.n_rows} rows, and not as its record says: {record}")
    return index


def words_between(reading: Reading, tokenizer: Tokenizer, first: int, stop: int) -> Iterator[list[str] | None]:
    """Yield the words of each row from `first` up to `stop`; None for a row without a document or a text."""
    row = first
    for at, document in reading.documents_between(first, stop):
        yield from (None for _ in range(row, at))
        yield None if document.text is None else tokenizer.words(document.text)
        row = at + 1
    yield from (None for _ in range(row, stop))


def is_due(reading: Reading) -> bool:
    """Whether so many rows came since the last fold that another is worth its time. Cheap."""
    record = reading.get(LEXICAL)
    if record is None:
        return False
    from binrag.lexical import needs_fold

    return needs_fold(record["n_rows"], reading.head().n_rows - record["n_rows"])


def fold(writing: Writing, language: Language | None = None) -> None:
    """Write the index of all rows anew, in a language if one is named.

    Raises
    ------
    MissingDependency
        If bm25s is not installed.
    """
    from binrag.lexical import LexicalIndex

    record = new_record(language) if language is not None else writing.require(LEXICAL)
    tokenizer, n_rows = tokenizer_of(record), writing.head().n_rows
    index = LexicalIndex.fold(words_between(writing, tokenizer, 0, n_rows), tokenizer)
    writing.put_blocks(LEXICAL, n_rows, index.to_blocks())
    writing.put(LEXICAL, {**record, "n_rows": index.n_rows, "generation": writing.generation})


def fold_if_due(database: Database) -> None:
    """Fold if a commit made that due. Without bm25s rows stay in the tail, and a line of the log says so."""
    if database.in_transaction:
        return
    try:
        with database.reading() as reading:
            if not is_due(reading):
                return
        with database.writing() as writing:
            if is_due(writing):
                fold(writing)
    except MissingDependency as error:
        _log.warning("%s: the index of words is not folded: %s", database.path, error)
