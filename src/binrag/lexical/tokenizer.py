"""Texts to words: the same for documents and queries, and for all time, as indexes in files depend on it."""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal

from binrag.errors import FormatVersionError, InvalidInput

VERSION = 1
"""Of the rules below; a record names it."""

MAX_CHARACTERS = 64
"""What comes after so many in a word does not count."""

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Lucene's for English: they are in most documents, so that they say little and cost most."""

_ASCII_WORD = re.compile(r"[A-Za-z0-9_]+")
_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7ff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff]+)"
)
"""Thai, Lao, Burmese, Khmer, kana and Han, which have no spaces between words, and Hangul, whose particles are
joined on."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """How a text is cut into words.

    Texts are brought to Unicode's NFKC form; a word is a run of letters, digits, underscores and combining marks, its
    case folded. An identifier counts as a whole and by its pieces: ``parse_date`` and ``parseDate`` both hold *parse*
    and *date*. Runs of scripts without spaces between words become their characters and pairs of neighbours.

    Parameters
    ----------
    language : "en" or None
        ``"en"`` leaves out English stop words and the plural's *s* (the S stemmer of Harman, 1991); texts of other
        languages lose little by it. None leaves all words as they are.
    stop_words : frozenset of str, optional
        Words to leave out, case folded; by default the language's.

    Raises
    ------
    InvalidInput
        Another language.
    """

    language: Literal["en"] | None = "en"
    stop_words: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.language not in ("en", None):
            raise InvalidInput(f"the language of words is {self.language!r}, expected 'en' or None (no language)")

    def words(self, text: str) -> list[str]:
        """Return the words of a text in order, repeated as they are there; a word has no lone surrogates."""
        found = _ASCII_WORD.findall(text) if text.isascii() else _word().findall(unicodedata.normalize("NFKC", text))
        if self.language is None:
            words = [word for run in found for word in _words_of(run[:MAX_CHARACTERS])]
            return [word for word in words if word not in self.stop_words] if self.stop_words else words
        stop_words = STOP_WORDS if self.stop_words is None else self.stop_words
        return [word for run in found for word in _english_words_of(run[:MAX_CHARACTERS], stop_words)]

    def record(self) -> dict[str, Any]:
        """Return what the file says about it."""
        own = {} if self.stop_words is None else {"stop_words": sorted(self.stop_words)}
        return {"version": VERSION, "language": self.language, **own}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Tokenizer:
        """Return the tokenizer of a record.

        Raises
        ------
        FormatVersionError
            The record is of other rules than this version has.
        """
        language, stop_words = record.get("language"), record.get("stop_words")
        is_known = record.get("version") == VERSION and (language is None or language == "en")
        has_words = "stop_words" not in record or (
            isinstance(stop_words, list) and all(isinstance(word, str) for word in stop_words)
        )
        if not is_known or not has_words or set(record) - {"version", "language", "stop_words"}:
            raise FormatVersionError(
                f"the words of the lexical index were cut by {dict(record)!r}, this version knows "
                f"{Tokenizer().record()!r} and language None; update binrag"
            )
        return cls(language, None if stop_words is None else frozenset(stop_words))


@cache
def _word() -> re.Pattern[str]:
    """Return the pattern of a word: Python's word characters, and marks after the first, which it leaves out."""
    marks = [chr(c) for c in range(sys.maxunicode + 1) if c < 0x20000 and unicodedata.category(chr(c))[0] == "M"]
    return re.compile(rf"\w[\w{''.join(marks)}]*")


@lru_cache(maxsize=2**16)
def _words_of(run: str) -> tuple[str, ...]:
    """Return the words that a run of word characters holds: itself and its pieces."""
    if run.isascii():
        return tuple(map(str.casefold, _with_pieces(run)))
    words = []
    for i, part in enumerate(_UNSPACED.split(run)):
        if i % 2:
            words += [*part, *map("".join, itertools.pairwise(part))]
        elif part:
            words += [unicodedata.normalize("NFKC", word.casefold()) for word in _with_pieces(part)]
    return tuple(words)


@lru_cache(maxsize=2**16)
def _english_words_of(run: str, stop_words: frozenset[str]) -> tuple[str, ...]:
    return tuple(_without_plural(word) for word in _words_of(run) if word not in stop_words)


def _with_pieces(run: str) -> list[str]:
    """Return a run, and its pieces if it has two or more: at underscores, and in ASCII at digits and capitals."""
    if run.isalpha() and (run.islower() or run[1:].islower()):
        return [run]
    pieces = list[str]()
    for part in run.split("_"):
        pieces += _PIECE.findall(part) if part.isascii() else [part]
    return [run, *filter(None, pieces)] if len(pieces) > 1 else [run]


def _without_plural(word: str) -> str:
    """Return the singular by three rules; of words that it is wrong about it makes the same of every form it sees."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("us", "ss")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and word.endswith(("aes", "ees", "oes")):
        return word
    return word[:-1]
