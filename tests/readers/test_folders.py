"""Files found, decoded and named."""

import os
from pathlib import Path

import pytest

from binrag import Document, InvalidInput, read_folder
from binrag.readers.folders import find_files, is_of_a_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {
        "docs/b.md": "# B\n\ntext",
        "docs/a.txt": "\ufefffirst\r\nsecond",
        "docs/sub/c.RST": "C\n=\n\ntext",
        "docs/sub/d.py": "x = 1\n",
        "docs/sub/e.htm": "<h1>E</h1>",
        "docs/empty.md": " \n",
        "docs/picture.png": "x",
        "docs/.hidden.md": "x",
        "docs/.git/f.md": "x",
        "docs/__pycache__/f.py": "x",
        "docs/node_modules/f.md": "x",
        "docs/venv/pyvenv.cfg": "",
        "docs/venv/lib/f.py": "x",
        "docs/b.md.markdown/g.markdown": "g",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8", newline="")
    return tmp_path / "docs"


def sources(*arguments, **options):
    return [document.metadata["source"] for document in read_folder(*arguments, **options)]


READ = ["a.txt", "b.md", "b.md.markdown/g.markdown", "sub/c.RST", "sub/d.py", "sub/e.htm"]


@pytest.mark.parametrize("typed", ["docs", "./docs/", "docs/sub/.."])
def test_files_are_found_in_order_and_named_by_the_path_as_typed(folder, typed):
    assert sources(typed) == [f"docs/{name}" for name in READ]


def test_files_can_be_named_from_a_root(folder):
    assert sources(folder, root=folder) == READ
    assert sources(Path("docs"), root="docs/../docs") == READ
    assert sources("docs/b.md", root=folder.parent) == ["docs/b.md"]
    with pytest.raises(InvalidInput, match="is not in the root docs/sub"):
        read_folder("docs", root="docs/sub")


def test_a_document_says_where_its_text_stands(folder):
    Path("docs/b.md").write_text("\n\n# B\n\n## Sub\n\n" + "word " * 30)
    found = list(read_folder("docs/b.md", chunk=100))
    assert [document.id for document in found] == ["docs/b.md#0", "docs/b.md#1"]
    assert found[1].metadata == {
        "source": "docs/b.md",
        "position": 1,
        "heading": ["B", "Sub"],
        "start_line": 7,
        "end_line": 7,
        "kind": "markdown",
    }
    assert found[1].text.startswith("B > Sub\n\nword")
    assert all(is_of_a_file(document) for document in found)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"source": "a", "kind": "text"},
        {"source": "a", "position": 0, "kind": "page"},
        {"source": "a", "position": 0, "kind": []},
        {"source": "b", "position": 0, "kind": "text"},
        {"source": "a", "position": 1, "kind": "text"},
    ],
)
def test_other_documents_are_told_apart(metadata):
    assert is_of_a_file(Document("a#0", "x", {"source": "a", "position": 0, "kind": "text"}))
    assert not is_of_a_file(Document("a#0", "x", metadata))
    assert not is_of_a_file(Document("5#0", "x", {"source": 5, "position": 0, "kind": "text"}))


def test_encodings(folder):
    assert next(read_folder("docs")).text == "first\nsecond"
    Path("docs/latin.txt").write_bytes("é".encode("latin-1"))
    Path("docs/binary.txt").write_bytes(b"a\0b")
    with pytest.raises(InvalidInput, match=r"binary.txt is no text: it has a zero byte"):
        list(read_folder("docs"))
    errors = []
    assert sources("docs", on_error=errors.append) == [f"docs/{name}" for name in READ]
    assert "latin.txt is not UTF-8: unexpected end of data at byte 0" in str(errors[1])


def test_links_in_a_circle_end_and_nothing_is_read_twice(folder):
    try:
        Path("docs/sub/loop").symlink_to(folder)
        Path("docs/zlink").symlink_to(folder / "sub")
        Path("docs/dangling.md").symlink_to("nowhere")
    except OSError:
        pytest.skip("no links here")
    assert sources("docs") == [f"docs/{name}" for name in READ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser reads everything")
def test_a_folder_that_cannot_be_read_is_an_error(folder):
    (folder / "sub").chmod(0)
    try:
        with pytest.raises(InvalidInput, match="cannot read docs/sub: "):
            read_folder("docs")
        assert "docs/sub/d.py" not in sources("docs", on_error=lambda error: None)
    finally:
        (folder / "sub").chmod(0o755)


def test_what_is_not_there_or_holds_nothing_says_what_is_read(folder):
    with pytest.raises(InvalidInput, match=r"no file or folder at missing; expected .*\.md"):
        read_folder("missing")
    with pytest.raises(InvalidInput, match=r"docs/.git/x holds no files to read; expected .*\.md"):
        (folder / ".git/x").mkdir()
        read_folder("docs/.git/x")
    with pytest.raises(InvalidInput, match=r"^chunk is 5"):
        read_folder("docs", chunk=5, on_error=lambda error: None)


def test_a_file_given_twice_is_read_once(folder):
    assert len(find_files(["docs", "docs/b.md", "docs/sub", folder / "b.md"], folder)) == 1 + len(READ)
