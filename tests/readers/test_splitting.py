"""Texts cut into chunks: nothing lost, nothing too long, along the structure."""

import textwrap
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binrag import Chunk, InvalidInput, split
from binrag.readers.splitting import KINDS

FENCE = "```python\n# no heading\nx = 1\n\n# nor this\n```"
CLASS = '''class A:
    """D."""

    def m(self):
        x = """

# no comment
"""
        return x
    # end

    @p
    def n(self): ...'''
PARAGRAPHS = {
    "text": ["A word.", "Some longer words, and more of them. A second sentence! A third? Yes.", "  two\n  lines"],
    "markdown": ["# One", "## Two\ntext", "Set\n===", "Also\n---", FENCE, "- a\n- b\n  - c", "| a | b |\n| 1 | 2 |"],
    "rst": [
        "One\n===",
        "====\nOver\n====",
        "Two\n---",
        "text::\n\n    code\n\n    more",
        "- a\n- b",
        "term\n  meaning",
    ],
    "python": ["x = 1", "def f(a):\n    return a", "# c\n@d\ndef g():\n    pass", CLASS, "if x:\n    y = 2"],
    "html": ["<h1>One</h1>", "<p>text <b>bold</b></p>", "<pre>a\n\n  b</pre>", "<ul><li>x<li>y</ul>", "<svg>no</svg>"],
}
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=60)


@st.composite
def texts(draw, kind):
    filler = WORDS if kind != "python" else st.integers(0, 900).map(lambda n: f"x = [{'1, ' * n}]")
    pieces = draw(st.lists(st.one_of(st.sampled_from(PARAGRAPHS[kind]), filler), max_size=12))
    return "\n\n".join(pieces)


def squeezed(text):
    return "".join(text.split())


@pytest.mark.parametrize("kind", ["text", "markdown", "rst", "python"])
@given(data=st.data(), chunk=st.integers(100, 400))
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost_nothing_is_too_long_and_lines_are_right(kind, data, chunk):
    text = data.draw(texts(kind))
    chunks = split(text, kind, chunk)
    lines = text.split("\n")
    assert squeezed("".join(piece.excerpt for piece in chunks)) == squeezed(text)
    for piece in chunks:
        assert len(piece.text) <= chunk
        assert piece.text.endswith(piece.excerpt)
        assert piece.excerpt.strip()
        own = lines[piece.start_line - 1 : piece.end_line]
        assert piece.excerpt in "\n".join(own)
        assert own[0].strip()
        assert own[-1].strip()
    assert all(a.end_line <= b.start_line for a, b in pairwise(chunks))


@given(text=texts("html"), chunk=st.integers(100, 400))
@settings(max_examples=30, deadline=None)
def test_any_html_is_split(text, chunk):
    chunks = split(text, "html", chunk)
    assert all(len(piece.text) <= chunk and "no" not in piece.excerpt.split() for piece in chunks)
    assert all(1 <= piece.start_line <= piece.end_line <= text.count("\n") + 1 for piece in chunks)


@pytest.mark.parametrize("kind", ["text", "markdown", "rst", "python"])
@given(data=st.data(), chunk=st.integers(100, 400))
@settings(max_examples=30, deadline=None)
def test_what_is_put_at_the_end_leaves_all_but_the_last_chunks_as_they_were(kind, data, chunk):
    before = data.draw(st.lists(st.sampled_from(PARAGRAPHS[kind]), max_size=12))
    after = data.draw(st.lists(st.sampled_from(PARAGRAPHS[kind]), min_size=1, max_size=4))
    old, new = (split("\n\n".join(pieces) + "\n", kind, chunk) for pieces in (before, before + after))
    assert new[: max(len(old) - 2, 0)] == old[: max(len(old) - 2, 0)]


@pytest.mark.parametrize(
    ("name", "value"), [("text", b"x"), ("kind", "pdf"), ("chunk", 99), ("chunk", True), ("chunk", 1e3)]
)
def test_what_makes_no_sense_is_refused(name, value):
    with pytest.raises(InvalidInput, match=f"^{name} is "):
        split(**{"text": "x", "kind": "text", "chunk": 100, name: value})


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_anything_gives_nothing(kind):
    assert split("", kind) == split(" \n\t\n", kind) == []


def shown(text, kind, chunk):
    return [(" > ".join(piece.heading), piece.excerpt) for piece in split(textwrap.dedent(text), kind, chunk)]


def test_a_text_that_fits_is_one_chunk_and_line_ends_are_all_the_same():
    (chunk,) = split("\r\n\r\n# A\r\n\rtext\r\n## B\r\n", "markdown")
    assert chunk == Chunk("# A\n\ntext\n## B", "# A\n\ntext\n## B", ("A",), 3, 6)


def test_sections_of_markdown_are_found_outside_of_code_and_front_matter():
    filler = "word " * 18
    text = (
        "---\n# no heading\ntitle: x\n---\n\nGuide\n=====\n\n## *Install* [it](x.md) {#i}\n\n"
        f"{filler}\n\n~~~\n# no\n```\n## no\n~~~\n\n### Deep ##\n{filler}\n- item\n---\n\n#no\n\n# End\n{filler}"
    )
    chunks = split(text, "markdown", 200)
    assert [chunk.heading for chunk in chunks] == [
        (),
        ("Guide", "Install it"),
        ("Guide", "Install it", "Deep"),
        ("End",),
    ]
    assert chunks[1].text.startswith("Guide\n=====\n\n## *Install*"), "a heading without text goes with the next"
    assert chunks[2].text.startswith("Guide > Install it\n\n### Deep ##\n")
    assert chunks[2].excerpt.endswith("#no")
    assert [(chunk.start_line, chunk.end_line) for chunk in chunks] == [(1, 4), (6, 17), (19, 24), (26, 27)]


def test_later_chunks_of_a_section_begin_with_all_its_headings():
    chunks = split("# A\n\n## B\n\n" + "one two. " * 40, "markdown", 200)
    assert chunks[0].text.startswith("# A\n\n## B\n\none two.")
    assert all(chunk.text.startswith("A > B\n\none two.") for chunk in chunks[1:])
    assert {chunk.heading for chunk in chunks} == {("A", "B")}


def test_a_heading_stays_with_the_paragraph_after_it():
    text = f"{'word ' * 15}\n\n# A heading of some length\n\n{'word ' * 14}\n\nmore"
    assert [excerpt.startswith("# A") for _, excerpt in shown(text, "markdown", 110)] == [False, True, False]
    assert "length\n\nword word" in shown(text, "markdown", 110)[1][1]


@pytest.mark.parametrize("n", [45, 49, 50, 51, 60])
def test_a_chunk_may_be_as_long_as_was_asked_for(n):
    text = "a" * 49 + " " + "b" * n
    assert [chunk.text for chunk in split(text, "text", 100)] == ([text] if n <= 50 else text.split())


def test_what_is_indented_stays_with_what_it_belongs_to():
    items = [f"- item {i}\n\n  {'word ' * 11}\n" for i in range(6)]
    for excerpt in (excerpt for _, excerpt in shown("\n".join(items), "markdown", 120)):
        assert excerpt.count("- item") == excerpt.count("  word") == 1


def test_long_headings_leave_room_for_the_text():
    chunks = split(f"# {'long ' * 60}\n\n## Short\n\n" + "word " * 100, "markdown", 200)
    assert chunks[-1].text.startswith("Short\n\nword")
    assert chunks[-1].heading[0].startswith("long long")


def test_sections_of_rst_are_found_by_their_underlines():
    filler = "word " * 18
    text = (
        f"=====\nTitle\n=====\n\n{filler}\n\nOne\n---\n{filler}::\n\n    Code\n    ====\n\n"
        f"Two\n~~~\n{filler}\n\n----\n\nmore\nno title\n--------\n\n.. note\n-------\n\nThree\n-----\n{filler}"
    )
    assert [heading for heading, _ in shown(text, "rst", 180)] == [
        "Title", "Title > One", "Title > One > Two", "Title > Three",
    ]  # fmt: skip


PYTHON = '''
    # licence

    """What it is."""

    import os


    # about f

    # more about f
    @decorator
    def f(x):
        """Do it."""
        return x
        # the end of f


    CONSTANT = 1


    class A(B):
        """A class."""

        field: int = 0

        @property
        def m(self):
            return 1

        async def n(self):
            return 2
'''


def test_functions_of_python_keep_their_decorators_and_comments():
    found = shown(PYTHON, "python", 100)
    assert [heading for heading, _ in found] == [
        "",
        "def f",
        "def f",
        "",
        "class A",
        "class A > def m",
        "class A > def n",
    ]
    assert found[1][1] == "# about f"
    assert found[2][1].startswith("# more about f\n@decorator\ndef f(x):\n")
    assert found[2][1].endswith("# the end of f")
    assert found[3][1] == "CONSTANT = 1"
    assert found[5][1] == "    @property\n    def m(self):\n        return 1"
    texts = [chunk.text for chunk in split(textwrap.dedent(PYTHON), "python", 100)]
    assert texts[5].startswith("class A\n\n    @property")


def test_a_decorator_at_the_beginning_stays_with_its_function():
    functions = [f"@d\ndef f{i}():\n    return {'1 + ' * 15}1\n" for i in range(2)]
    assert [heading for heading, _ in shown("\n".join(functions), "python", 100)] == ["def f0", "def f1"]


def test_small_classes_are_one_chunk_and_long_functions_are_cut_at_blank_lines():
    body = "\n\n".join(f"    a{i} = {i}\n    b{i} = a{i}" for i in range(20))
    text = f"class A:\n    def m(self): ...\n    def n(self): ...\n\n\ndef long():\n{body}\n"
    found = shown(text, "python", 150)
    assert found[0] == ("class A", "class A:\n    def m(self): ...\n    def n(self): ...")
    assert {heading for heading, _ in found[1:]} == {"def long"}
    assert all(excerpt.lstrip().startswith(("def", "a")) for _, excerpt in found[1:])


def test_python_that_does_not_parse_is_text():
    text = "def f(:\n    pass\n\n" + "print 'x'\n" * 30
    assert {heading for heading, _ in shown(text, "python", 100)} == {""}


def test_html_is_read_as_people_see_it():
    page = """<!DOCTYPE html>
<html><head><title>The page</title><style>p { color: red }</style></head>
<body><nav><ul><li>Home</ul></nav>
<h2>One &amp; only</h2>
<p>A   <b>bold</b>
word&nbsp;&lt;x&gt;.<br>Next<script>var x = "<p>no</p>";</script>
<ol><li>first<li>second</ol>
<pre><code>
def f():

    return <span>1</span>
</code></pre>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>
</body></html>"""
    (chunk,) = split(page, "html", 1000)
    assert chunk.text == (
        "The page\n\nOne & only\n\nA bold word <x>.\nNext\n\n- first\n- second\n\n"
        "def f():\n\n    return 1\n\na | b\n1 | 2"
    )
    found = split(page.replace("Next", "Next " * 30), "html", 220)
    assert [chunk.heading for chunk in found] == [("The page", "One & only")] * len(found)
    code = next(chunk for chunk in found if "def f" in chunk.excerpt)
    assert "return 1" in code.excerpt, "code is not cut where it has a blank line"
    assert code.start_line <= 9 <= 11 <= code.end_line


def test_lines_of_code_in_html_are_those_of_the_page():
    code = "".join(f"line <b>{i}</b>\n" for i in range(1, 31))
    chunks = split(f"<p>\n<pre>\n\n\n{code}</pre>\n<p>a\nb</p>", "html", 100)
    assert all(chunk.excerpt.startswith(f"line {chunk.start_line - 4}\n") for chunk in chunks[:-1])
    assert all(f"line {chunk.end_line - 4}\n" in f"{chunk.excerpt}\n" for chunk in chunks[:-1])
    assert (chunks[-1].excerpt[-3:], chunks[-1].end_line) == ("a b", 37)


def test_a_page_with_an_h1_needs_no_title():
    (chunk,) = split("<title>T - site</title>\n<h1>T</h1><p>x", "html")
    assert chunk.text == "T\n\nx"
    assert (chunk.start_line, chunk.end_line) == (2, 2)


def test_code_stays_whole_where_it_fits():
    code = "```\n" + "\n\n".join(f"line {i}" for i in range(8)) + "\n```"
    text = f"{'word ' * 15}\n\n{code}\n\n{'word ' * 15}"
    assert code in [excerpt for _, excerpt in shown(text, "markdown", 110)]


def test_long_paragraphs_are_cut_at_sentences_lists_at_items_and_the_rest_at_words():
    prose = "A first sentence of e.g. some words. " * 12
    assert all(excerpt.endswith("words.") for _, excerpt in shown(prose, "text", 120))
    items = "\n".join(f"* item {i}. With more.\n  And a second line" for i in range(12))
    assert all(excerpt.startswith("* item") for _, excerpt in shown(items, "markdown", 120))
    words = "word " * 100
    assert {len(excerpt) % 5 for _, excerpt in shown(words, "text", 120)} == {4}
    assert [len(excerpt) for _, excerpt in shown("x" * 250, "text", 100)] in ([100, 100, 50], [100, 75, 75])


def test_there_are_no_tiny_rests_of_a_paragraph():
    lines = "\n".join(f"value number {i:02} = {i:02}" for i in range(20))
    lengths = [len(chunk.excerpt) for chunk in split(f"x = [\n{lines}\n]", "python", 400)]
    assert len(lengths) == 2
    assert min(lengths) > 100


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text", "x" * 300_000),
        ("text", "x " * 150_000),
        ("markdown", "# a\n" * 20_000),
        ("markdown", "```\n" * 20_001),
        ("rst", "a\n=\n" * 20_000),
        ("text", "\n\n".join(" " * i + "x" for i in range(700, 0, -1))),
        ("html", "<div>" * 50_000),
        ("python", "class A:\n" + "".join(f"    def f{i}(self): ...\n" for i in range(5_000))),
    ],
)
def test_strange_texts_take_no_time_to_speak_of(kind, text):
    assert squeezed(text) == squeezed("".join(c.excerpt for c in split(text, kind, 500))) or kind == "html"
