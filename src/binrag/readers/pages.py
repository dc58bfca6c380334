"""HTML to text, with its headings and its code."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from binrag.readers.outlines import Outline, Section, line_starts

_DROPPED = frozenset({"script", "style", "template", "svg", "nav"})
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_LINES = frozenset({"br", "dd", "dt", "li", "option", "tr"})
_BLOCKS = frozenset({
    *("address", "article", "aside", "blockquote", "body", "caption", "details", "dialog", "div", "dl", "fieldset"),
    *("figcaption", "figure", "footer", "form", "header", "hr", "main", "ol", "p", "pre", "section", "summary"),
    *("table", "tbody", "tfoot", "thead", "title", "ul", *_HEADINGS),
})  # fmt: skip


class _Page(HTMLParser):
    """The lines of a page as they come; those of a heading and of code are remembered."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[str, int, int]] = []
        self.headings: list[tuple[int, int, str]] = []
        self.code: list[tuple[int, int]] = []
        self.title = ""
        self._dropped: list[str] = []
        self._inside = ""
        self._text, self._first, self._last = "", 0, 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _DROPPED:
            self._dropped.append(tag)
        if self._dropped:
            return
        self._edge(tag)
        if tag in _HEADINGS or tag in ("pre", "title"):
            self._inside = tag
        elif tag == "li":
            self._text = "- "
        elif tag in ("td", "th") and self._text.strip():
            self._text += " | "

    def handle_endtag(self, tag: str) -> None:
        if tag in self._dropped:
            self._dropped.remove(tag)
        elif not self._dropped:
            self._edge(tag)
            if tag == self._inside:
                self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._dropped or not data:
            return
        line, _ = self.getpos()
        line += data[: len(data) - len(data.lstrip())].count("\n")
        if data.strip() and not self._text.strip("- \n"):
            self._first = line
        self._last = max(line + data.strip().count("\n"), self._first)
        if self._inside != "pre":
            data = re.sub(r"\s+", " ", data)
            data = data.lstrip() if not self._text or self._text.endswith(" ") else data
        self._text += data

    def _edge(self, tag: str) -> None:
        """End a line where a block, or a line in one, starts or ends."""
        if self._inside == "pre" and tag != "pre":
            if tag == "br":
                self._text += "\n"
            return
        if tag not in _BLOCKS and tag not in _LINES:
            return
        self.flush()
        if tag in _BLOCKS and self.lines and self.lines[-1][0]:
            self.lines.append(("", self._last, self._last))

    def flush(self) -> None:
        """End the line at hand."""
        text, self._text = self._text, ""
        if self._inside == "title":
            self.title = " ".join(text.split())
        elif self._inside == "pre" and text.strip():
            code = [line.rstrip() for line in re.sub(r"^(?:\s*\n)+", "", text).rstrip().split("\n")]
            self.code.append((len(self.lines), len(self.lines) + len(code)))
            self.lines += [(line, self._first + i, self._first + i) for i, line in enumerate(code)]
        elif text.strip():
            if self._inside in _HEADINGS:
                self.headings.append((len(self.lines), int(self._inside[1]), text.strip()))
            self.lines.append((text.strip(), self._first, self._last))


def html_outline(source: str) -> Outline:
    """Return the text of a page: scripts, styles and navigation left out, a line each for items and rows of tables.

    A page without an ``h1`` begins with its title.
    """
    page = _Page()
    page.feed(source)
    page.close()
    page.flush()
    lines, headings, code = page.lines, page.headings, page.code
    if page.title and not any(level == 1 for _, level, _ in headings):
        lines = [(page.title, 1, 1), ("", 1, 1), *lines]
        headings = [(0, 1, page.title), *((i + 2, level, title) for i, level, title in headings)]
        code = [(first + 2, last + 2) for first, last in code]
    texts = [line for line, _, _ in lines]
    starts = line_starts(texts)
    sections = [Section(0), *(Section(starts[i], n, title, starts[i], starts[i + 1]) for i, n, title in headings)]
    blocks = [(starts[first], starts[last]) for first, last in code]
    return Outline("\n".join(texts), sections, blocks, lines=[(first, last) for _, first, last in lines])
