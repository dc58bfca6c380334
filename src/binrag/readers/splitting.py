"""A text cut into chunks along its structure: sections, paragraphs, items, sentences, words."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from binrag.errors import InvalidInput
from binrag.readers.outlines import Outline, line_starts, markdown_outline, python_outline, rst_outline, text_outline
from binrag.readers.pages import html_outline

CHUNK = 800
"""Characters of a chunk, at most. The usual small encoders read 256 tokens, of 3 to 4 characters in technical texts."""

MIN_CHUNK = 100

KINDS: dict[str, Callable[[str], Outline]] = {
    "text": text_outline,
    "markdown": markdown_outline,
    "rst": rst_outline,
    "python": python_outline,
    "html": html_outline,
}
"""Kinds of text, and what finds the sections of each."""

_SHARE = 4  # of a chunk, that the headings in front of it may take
_DEEPEST = 32  # an indentation that is not told apart from deeper ones


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a text, at most as long as was asked for.

    Attributes
    ----------
    text : str
        What to encode: the excerpt; in front of it, in a line of its own, the headings above it that it does not show.
    excerpt : str
        The piece as it stands in the text, without blank lines before and after.
    heading : tuple of str
        The headings of the section that it is in, the outermost first.
    start_line, end_line : int
        The lines of the source that it comes from, counted from 1.
    """

    text: str
    excerpt: str
    heading: tuple[str, ...]
    start_line: int
    end_line: int


def split(text: str, kind: str = "text", chunk: int = CHUNK) -> list[Chunk]:
    """Cut a text into chunks that follow its structure.

    A section that fits is one chunk, with all that is inside it. One that doesn't is cut into its own text and its
    inner sections; text into paragraphs, those into items, sentences, words. Neighbours are put together again as far
    as they fit. Fenced and indented code, and functions of Python, are cut where nothing else is left, at blank lines.
    All of a text is in its chunks but for white space between them; of HTML, what is read.

    Parameters
    ----------
    text : str
        The text; lines may end in any of the usual ways.
    kind : "text", "markdown", "rst", "python" or "html"
        How to find its sections. Python that does not parse is taken for text.
    chunk : int
        Characters of a chunk, at most, its headings counted; at least 100. The default suits encoders that read 256
        tokens.

    Returns
    -------
    list of Chunk
        In the order of the text; empty if there is nothing but white space. When something is put at the end of a
        text, all chunks but the last stay as they were.

    Raises
    ------
    InvalidInput
    """
    if not isinstance(text, str):
        raise InvalidInput(f"text is a {type(text).__name__}, expected str")
    if kind not in KINDS:
        raise InvalidInput(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    check_chunk(chunk)
    return list(_Splitter(KINDS[kind](text.replace("\r\n", "\n").replace("\r", "\n")), chunk).chunks())


def check_chunk(chunk: object) -> None:
    """Raise `InvalidInput` if chunks cannot have so many characters."""
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < MIN_CHUNK:
        raise InvalidInput(f"chunk is {chunk!r}, expected a number of characters of at least {MIN_CHUNK}")


_BLANK = re.compile(r"\n(?:[^\S\n]*\n)+")
_LEADING = re.compile(r"(?:[^\S\n]*\n)+")
_INDENTATION = re.compile(r"[^\S\n]*")
_ITEM = re.compile(r"^[^\S\n]*(?:[-*+•]|\d+[.)]|\||\.\.)[^\S\n]", re.MULTILINE)
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[^\sa-z])|(?<=[。！？])")
_WORD = re.compile(r"\s+")


class _Splitter:
    """Cuts one text. Where it may be cut are offsets; a piece is a pair of them."""

    def __init__(self, outline: Outline, chunk: int) -> None:
        self._outline, self._text, self._chunk = outline, outline.text, chunk
        self._line_starts = line_starts(self._text.split("\n"))[:-1]
        self._code_starts = [start for start, _ in outline.code]
        self._paths, self._ends = _paths(outline), _ends(outline)
        levels = [self._blocks, self._blank_lines, self._lines]
        self._levels = levels if outline.is_code else [*levels[:2], self._items, self._sentences, levels[2]]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks of the whole text."""
        for start, stop, context, path in self._section(0, 0, 0, ()):
            start, stop = self._trimmed(start, stop)
            excerpt = self._text[start:stop]
            if excerpt.strip():
                shown = self._context(context)
                first, last = (bisect_right(self._line_starts, at) - 1 for at in (start, stop - 1))
                if self._outline.lines is None:
                    numbers = first + 1, last + 1
                else:
                    numbers = self._outline.lines[first][0], self._outline.lines[last][1]
                yield Chunk(f"{shown}\n\n{excerpt}" if shown else excerpt, excerpt, path, *numbers)

    def _section(
        self, i: int, start: int, head: int, above: tuple[str, ...]
    ) -> Iterator[tuple[int, int, tuple[str, ...], tuple[str, ...]]]:
        """Yield the pieces of section i with the headings to put in front of each, and those that it is under.

        It starts at `start`, with headings of outer sections, if they have no text of their own, from `head` on;
        `above` are the headings that are not among these.
        """
        sections, path = self._outline.sections, self._paths[i]
        stop = sections[self._ends[i]].start if self._ends[i] < len(sections) else len(self._text)
        room = min(self._room(path), self._room(above))
        inner, body = self._inner(i), self._after_blank_lines(sections[i].body)
        is_empty = bool(inner) and body >= sections[inner[0]].start
        if self._fits(start, stop, room) and not (is_empty and len(inner) == 1):
            inner, is_empty = [], False
        if is_empty:
            yield from self._section(inner.pop(0), start, head, above)
        else:
            own = sections[inner[0]].start if inner else stop
            for n, (first, last) in enumerate(self._cut(start, own, room, (head, body))):
                yield first, last, path if n else above, path
        for k in inner:
            yield from self._section(k, sections[k].start, sections[k].head, path)

    def _inner(self, i: int) -> list[int]:
        """Return the numbers of the sections that section i consists of, not of those inside them."""
        found, k = [], i + 1
        while k < self._ends[i]:
            found.append(k)
            k = self._ends[k]
        return found

    def _cut(
        self, start: int, stop: int, room: int, heading: tuple[int, int], level: int = 0, evens: bool = True
    ) -> list[tuple[int, int]]:
        """Cut a piece until its parts fit, at level 0 as long as there is where; a heading stays with what follows.

        Neighbours are put together as far as they fit. What little comes before a part that has to be cut goes with
        it, and the last two parts of what was cut inside of a paragraph are evened out.
        """
        if self._fits(start, stop, room):
            return [(start, stop)]
        if level > len(self._levels):
            start, stop = self._trimmed(start, stop)
            return [(at, min(at + room, stop)) for at in range(start, stop, room)]
        if level == len(self._levels):
            cuts = [found.end() for found in _WORD.finditer(self._text, start, stop)]
        else:
            cuts = [at for at in self._levels[level](start, stop) if not heading[0] < at <= heading[1]]
        cuts = [at for at in cuts if start < at < stop]
        deeper = level if cuts and level == 0 else level + 1
        pieces: list[tuple[int, int]] = []
        for first, last in pairwise([start, *cuts, stop]):
            if pieces and self._fits(pieces[-1][0], last, room):
                pieces[-1] = pieces[-1][0], last
                continue
            if pieces and _is_small(pieces[-1], room) and not self._fits(first, last, room):
                pieces += self._cut(pieces.pop()[0], last, room, heading, level + 1, evens)
            else:
                pieces += self._cut(first, last, room, heading, deeper, evens)
        if evens and level > 0 and len(pieces) > 1 and _is_small(pieces[-1], room):
            evened = self._cut(pieces[-2][0], stop, (stop - pieces[-2][0]) * 2 // 3, heading, level, evens=False)
            pieces[-2:] = evened if len(evened) == 2 else pieces[-2:]
        return pieces

    def _fits(self, start: int, stop: int, room: int) -> bool:
        if stop - start <= room:
            return True
        first, last = self._trimmed(start, stop)
        return last - first <= room

    def _trimmed(self, start: int, stop: int) -> tuple[int, int]:
        """Return a piece without blank lines before and white space after it."""
        start = min(self._after_blank_lines(start), stop)
        return start, start + len(self._text[start:stop].rstrip())

    def _after_blank_lines(self, at: int) -> int:
        found = _LEADING.match(self._text, at)
        return found.end() if found else at

    def _room(self, headings: tuple[str, ...]) -> int:
        """Return how long an excerpt may be that has these headings in front of it."""
        n = len(self._context(headings))
        return self._chunk - (n + 2 if n else 0)

    def _context(self, headings: tuple[str, ...]) -> str:
        """Return headings as one line that leaves most of a chunk to its text: the inner ones, if it is too long."""
        limit = self._chunk // _SHARE
        while len(headings) > 1 and len(" > ".join(headings)) > limit:
            headings = headings[1:]
        return " > ".join(headings)[:limit].strip()

    def _blocks(self, start: int, stop: int) -> list[int]:
        """Return where paragraphs and blocks of code start, of those the least indented."""
        cuts = self._outside_code(found.end() for found in _BLANK.finditer(self._text, start, stop))
        depths = [min(len(found[0]) if (found := _INDENTATION.match(self._text, at)) else 0, _DEEPEST) for at in cuts]
        return [at for at, depth in zip(cuts, depths, strict=True) if depth == min(depths)]

    def _blank_lines(self, start: int, stop: int) -> list[int]:
        return [found.end() for found in _BLANK.finditer(self._text, start, stop)]

    def _items(self, start: int, stop: int) -> list[int]:
        """Return where items of lists, rows of tables, and lines of code start."""
        items = self._outside_code(found.start() for found in _ITEM.finditer(self._text, start, stop))
        return sorted({*items, *(at for at in self._lines(start, stop) if self._in_code(at))})

    def _sentences(self, start: int, stop: int) -> list[int]:
        return self._outside_code(found.end() for found in _SENTENCE.finditer(self._text, start, stop))

    def _lines(self, start: int, stop: int) -> list[int]:
        return [found.end() for found in _LINE.finditer(self._text, start, stop)]

    def _outside_code(self, cuts: Iterator[int]) -> list[int]:
        return [at for at in cuts if not self._in_code(at)]

    def _in_code(self, at: int) -> bool:
        """Return whether a cut there would be inside of a block of code."""
        i = bisect_left(self._code_starts, at) - 1
        return i >= 0 and at < self._outline.code[i][1]


def _is_small(piece: tuple[int, int], room: int) -> bool:
    return 4 * (piece[1] - piece[0]) < room


def _paths(outline: Outline) -> list[tuple[str, ...]]:
    """Return the headings that each section is under, its own the last."""
    paths: list[tuple[str, ...]] = []
    stack: list[tuple[int, tuple[str, ...]]] = []
    for section in outline.sections:
        while stack and stack[-1][0] >= section.level:
            stack.pop()
        paths.append((*(stack[-1][1] if stack else ()), *([section.title] if section.title else [])))
        stack.append((section.level, paths[-1]))
    return paths


def _ends(outline: Outline) -> list[int]:
    """Return the number of the first section after each that is not inside it."""
    ends = [len(outline.sections)] * len(outline.sections)
    stack: list[int] = []
    for k, section in enumerate(outline.sections):
        while stack and outline.sections[stack[-1]].level >= section.level:
            ends[stack.pop()] = k
        stack.append(k)
    return ends
