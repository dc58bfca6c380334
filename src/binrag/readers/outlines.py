"""Where the sections of a text start: Markdown, reStructuredText and Python."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a text that ends where the next one of its level, or of a lower one, starts.

    Attributes
    ----------
    start : int
        Where it starts, an offset into the text.
    level : int
        Sections of a higher level that follow are inside it.
    title : str
        What its heading says; "" where it has none.
    head, body : int
        Where its heading starts, and where what comes after it does.
    """

    start: int
    level: int = 0
    title: str = ""
    head: int = 0
    body: int = 0


@dataclass(frozen=True, slots=True)
class Outline:
    """A text and what is known of its structure.

    Attributes
    ----------
    text : str
        Its lines end with newlines alone.
    sections : list of Section
        At ascending offsets; the first is the whole text.
    code : list of (int, int)
        From where to where there is code amid prose, in ascending order.
    is_code : bool
        Whether all of it is code.
    lines : list of (int, int), or None
        The first and last line of the source that a line of the text comes from; None where they are the same lines.
    """

    text: str
    sections: list[Section]
    code: list[tuple[int, int]] = field(default_factory=list)
    is_code: bool = False
    lines: list[tuple[int, int]] | None = None


def line_starts(lines: Sequence[str]) -> list[int]:
    """Return the offset of each line of a text, and of one after the last."""
    return list(accumulate((len(line) + 1 for line in lines), initial=0))


def text_outline(text: str) -> Outline:
    """Return the outline of a text without headings."""
    return Outline(text, [Section(0)])


_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(==+|--+)[ \t]*$")
_FENCE = re.compile(r"[\s>]*(?:(?:[-*+]|\d+[.)])\s+)?(?P<run>`{3,}(?=[^`]*$)|~{3,})")
_NO_PARAGRAPH = re.compile(r"    |\t|\s*(?:[-*+>|]|\d+[.)]\s)")
_MARKUP = re.compile(r"\s*\{#[^}]*\}$|!?\[([^\]]*)\]\([^)]*\)|[`*]")


def markdown_outline(text: str) -> Outline:
    """Return the sections of Markdown: ATX and setext headings outside of fenced code and front matter."""
    lines = text.split("\n")
    starts = line_starts(lines)
    fences = list(_fences(lines))
    skipped = {i for first, last in fences for i in range(first, last + 1)} | _front_matter(lines)
    sections = [Section(0)]
    paragraph = -1  # the line where the paragraph at hand starts, if it could be a heading
    for i, line in enumerate(lines):
        is_plain = i not in skipped and bool(line.strip())
        if is_plain and (atx := _ATX.match(line)):
            sections.append(_heading(starts, i, i, len(atx[1]), atx[2] or ""))
            is_plain = False
        elif is_plain and paragraph >= 0 and (setext := _SETEXT.match(line)):
            title = " ".join(part.strip() for part in lines[paragraph:i])
            sections.append(_heading(starts, paragraph, i, 1 if setext[1][0] == "=" else 2, title))
            is_plain = False
        is_first = is_plain and (i == 0 or not lines[i - 1].strip() or sections[-1].body == starts[i])
        if not is_plain or _NO_PARAGRAPH.match(line):
            paragraph = -1
        elif is_first:
            paragraph = i
    return Outline(text, sections, [(starts[first], starts[last + 1]) for first, last in fences])


def _heading(starts: Sequence[int], first: int, last: int, level: int, title: str) -> Section:
    plain = _MARKUP.sub(lambda found: found[1] or "", title).strip()
    return Section(starts[first], level, plain, starts[first], starts[last + 1])


def _fences(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the first and last line of each fenced block of code; one that is not closed ends with the text."""
    opened, run = -1, ""
    for i, line in enumerate(lines):
        if opened < 0:
            if found := _FENCE.match(line):
                opened, run = i, found["run"]
        elif (closing := line.strip(" \t>")).startswith(run) and not closing.strip(run[0]):
            yield opened, i
            opened = -1
    if opened >= 0:
        yield opened, len(lines) - 1


def _front_matter(lines: Sequence[str]) -> set[int]:
    if lines[0].rstrip() != "---":
        return set()
    return set(range(next((i + 1 for i, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "...")), 0)))


_ADORNMENT = re.compile(r"([!-/:-@[-`{-~])\1+\s*$")


def rst_outline(text: str) -> Outline:
    """Return the sections of reStructuredText: titles with an underline, or an overline too."""
    lines = text.split("\n")
    starts = line_starts(lines)
    sections, levels = [Section(0)], dict[tuple[str, bool], int]()
    for i in range(1, len(lines)):
        underline, title = _ADORNMENT.match(lines[i]), lines[i - 1]
        if underline is None or not title.strip() or _ADORNMENT.match(title) or title.startswith(".. "):
            continue
        above = lines[i - 2].rstrip() if i > 1 else ""
        is_overlined = bool(above) and above == lines[i].rstrip()
        is_long = len(lines[i].rstrip()) >= min(4, len(title.rstrip()))
        if is_long and (is_overlined or (not above and not title[0].isspace())):
            first = i - 2 if is_overlined else i - 1
            level = levels.setdefault((underline[1], is_overlined), len(levels) + 1)
            sections.append(Section(starts[first], level, title.strip(), starts[first], starts[i + 1]))
    return Outline(text, sections)


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def python_outline(text: str) -> Outline:
    """Return the sections of Python: classes, their methods, functions, and what stands between them.

    What does not parse is taken for text.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text_outline(text)
    lines = text.split("\n")
    sections = [Section(0)]
    for section in _definitions(tree.body, lines, line_starts(lines), 1):
        if section.start > sections[-1].start or len(sections) == 1:
            sections.append(section)
    return Outline(text, sections, is_code=True)


def _definitions(body: list[ast.stmt], lines: Sequence[str], starts: Sequence[int], level: int) -> Iterator[Section]:
    """Yield the definitions of a module or a class; what follows one without being one is a section without title."""
    end = None  # the line after the statement before
    was_definition = False
    for statement in body:
        line = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))]) - 1
        head = line
        while head > (end or 0) and lines[head - 1].lstrip().startswith("#"):
            head -= 1
        start = head if end is None else min(end, head)
        while start < head and (not lines[start].strip() or _depth(lines[start]) > statement.col_offset):
            start += 1
        if isinstance(statement, _Definition):
            kind = "class" if isinstance(statement, ast.ClassDef) else "def"
            first = statement.body[0].lineno - 1
            yield Section(starts[start], level, f"{kind} {statement.name}", starts[head], starts[first])
            if isinstance(statement, ast.ClassDef):
                yield from _definitions(statement.body, lines, starts, level + 1)
        elif was_definition:
            yield Section(starts[start], level, "", starts[start], starts[start])
        was_definition = isinstance(statement, _Definition)
        end = statement.end_lineno


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
