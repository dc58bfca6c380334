"""``binrag add`` of folders: only what changed is encoded, and a file changes in one commit."""

import json
from pathlib import Path

import pytest
from fakes import WordEncoder

from binrag import Store, encoders
from binrag.cli import folders as cli_folders

WORDS = "word " * 30


@pytest.fixture
def encoder(monkeypatch):
    made = WordEncoder(8, name="words")
    monkeypatch.setattr(encoders, "SentenceEncoder", lambda name: made)
    return made


@pytest.fixture
def add(run, tmp_path, encoder):
    """Run ``binrag add``, and return what its summary says and how many texts it encoded."""
    for name, n in (("a.md", 3), ("sub/b.txt", 2), ("c.py", 1)):
        write(f"docs/{name}", sections(n))

    def add(*arguments, code=0):
        before = encoder.n_encoded
        found, out, err = run("add", "kb.binrag", *arguments, "--quiet", "--json", "--chunk", 200, "--encoder", "words")
        assert found == code, err
        facts = {name: n for name, n in json.loads(out).items() if n}
        return facts, max(encoder.n_encoded - before - 3, 0)  # three fixed texts, before the first one

    return add


def sections(n, first=0):
    return "\n\n".join(f"# Section {i}\n\n{WORDS}{i}" for i in range(first, first + n)) + "\n"


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def stored():
    with Store.open("kb.binrag", "r") as store:
        assert store.verify() == []
        return {document.id: document for document in store.iter()}


def test_a_folder_is_added_once_and_then_only_what_changed(add):
    facts, n_encoded = add("docs/")
    assert (facts, n_encoded) == ({"added": 6, "count": 6}, 6)
    assert list(stored()) == [
        "docs/a.md#0",
        "docs/a.md#1",
        "docs/a.md#2",
        "docs/c.py#0",
        "docs/sub/b.txt#0",
        "docs/sub/b.txt#1",
    ]
    assert add("./docs") == ({"unchanged": 6, "count": 6}, 0)
    write("docs/c.py", "x = 2\n")
    assert add("docs") == ({"changed": 1, "unchanged": 5, "count": 6}, 1)
    assert stored()["docs/c.py#0"].text == "x = 2"


def test_what_moved_in_its_file_is_not_encoded_again(add):
    add("docs")
    write("docs/a.md", sections(1, 9) + "\n" + sections(3))
    assert add("docs/a.md") == ({"added": 1, "moved": 3, "count": 7}, 1)
    documents = stored()
    assert [documents[f"docs/a.md#{n}"].metadata["heading"] for n in range(4)] == [
        [f"Section {i}"] for i in (9, 0, 1, 2)
    ]
    assert [documents[f"docs/a.md#{n}"].metadata["start_line"] for n in range(4)] == [1, 5, 9, 13]
    write("docs/a.md", "\n\n\n" + sections(3))
    assert add("docs") == ({"moved": 3, "unchanged": 3, "removed": 1, "count": 6}, 0)
    with Store.open("kb.binrag", "r", encoder=WordEncoder(8, name="words")) as store:
        assert store.search(f"# Section 2 {WORDS}2", 1)[0].id == "docs/a.md#2"


def test_lines_that_moved_are_put_right(add):
    add("docs")
    write("docs/a.md", "\n" + sections(3))
    assert add("docs") == ({"moved": 3, "unchanged": 3, "count": 6}, 0)
    assert stored()["docs/a.md#0"].metadata["start_line"] == 2


def test_chunks_that_change_places_keep_their_vectors(add):
    add("docs")
    with Store.open("kb.binrag", "r") as store:
        before = {
            store.get([id_])[0].text: v.tolist()
            for id_, v in store.vectors([f"docs/a.md#{i}" for i in range(3)]).items()
        }
    parts = sections(3).strip().split("\n\n#")
    write("docs/a.md", "\n\n".join([f"#{parts[2]}", f"#{parts[1]}", parts[0]]))
    assert add("docs") == ({"moved": 2, "unchanged": 4, "count": 6}, 0)
    with Store.open("kb.binrag", "r") as store:
        after = {
            store.get([id_])[0].text: v.tolist()
            for id_, v in store.vectors([f"docs/a.md#{i}" for i in range(3)]).items()
        }
    assert after == before


def test_what_is_past_the_end_of_a_file_is_removed(add):
    add("docs")
    write("docs/a.md", sections(1))
    write("docs/sub/b.txt", "")
    assert add("docs") == ({"unchanged": 2, "removed": 4, "count": 2}, 0)


def test_files_that_are_gone_are_removed_with_sync_alone_and_nothing_else(add, tmp_path):
    write("other/d.md", "x")
    write("docs2/e.md", "x")
    with Store.open("kb.binrag", encoder=WordEncoder(8, name="words")) as store:
        own = [{"source": "docs/a.md", "position": 7, "kind": "markdown"}, {"source": "docs/a.md"}, {"kind": "text"}]
        store.add(["mine"] * 3, ids=["mine", "docs/x.md#0", "docs/a.md#1"], metadata=own)
    add("docs", "other", "docs2")
    Path("docs/sub/b.txt").unlink()
    Path("other/d.md").unlink()
    Path("docs2/e.md").unlink()
    write("other/f.md", "y")
    assert add("docs")[0].get("removed") is None
    assert add("docs", "--sync") == ({"unchanged": 4, "removed": 2, "count": 8}, 0)
    assert {"mine", "docs/x.md#0", "other/d.md#0", "docs2/e.md#0"} <= stored().keys()
    assert add("docs", "other", "--sync")[0] == {"added": 1, "unchanged": 4, "removed": 1, "count": 8}


def test_sync_of_the_folder_at_hand(add, monkeypatch):
    add("docs", Path("docs/sub").absolute())
    Path("docs/sub/b.txt").unlink()
    assert add(".", "--sync")[0] == {"unchanged": 4, "removed": 2, "count": 6}
    assert sum(id_.startswith("/") for id_ in stored()) == 2


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run, add):
    code, out, _ = run("add", "kb.binrag", "docs", "--dry-run", "--chunk", 200)
    assert code == 0
    assert "docs/a.md: 3 added, " in out
    assert not Path("kb.binrag").exists()
    add("docs")
    Path("docs/c.py").unlink()
    write("docs/a.md", "new\n\n" + sections(3))
    before = stored()
    code, out, _ = run("add", "kb.binrag", "docs", "--dry-run", "--sync", "--chunk", 200)
    assert [line.partition(": ")[0] for line in out.splitlines()[:-1]] == ["docs/a.md", "docs/c.py"]
    facts = json.loads(run("add", "kb.binrag", "docs", "--dry-run", "--sync", "--chunk", 200, "--json")[1])
    assert stored() == before
    assert add("docs", "--sync")[0] == {name: n for name, n in facts.items() if n} | {"count": 6}


def test_a_file_changes_in_one_commit(add, monkeypatch):
    seen = []
    real = cli_folders.make

    def make(store, changes, *rest):
        real(store, changes, *rest)
        seen.append(sorted({document.metadata["source"] for document in store.iter()}))
        assert store.count(where={"source": "docs/a.md"}) == 3

    monkeypatch.setattr(cli_folders, "make", make)
    add("docs", "--commit-every", 2)
    assert [len(sources) for sources in seen] == [1, 3]


def test_all_changes_of_a_file_are_one_commit_or_none(add, run, monkeypatch):
    add("docs")
    before = stored()
    write("docs/a.md", "new text\n\n" + sections(1, 2) + sections(1))
    from binrag.store import writer

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer, "append", fail)
        code, _, err = run("add", "kb.binrag", "docs", "--chunk", 200, "--quiet", "--encoder", "words")
    assert code == 130
    assert "until here 0 added" in err
    assert stored() == before
    facts, n_encoded = add("docs")
    assert n_encoded == 1
    assert facts == {"changed": 1, "moved": 2, "unchanged": 3, "count": 6}


def test_files_that_cannot_be_read_are_an_error_or_skipped_and_stay_in_the_store(add, run):
    add("docs")
    Path("docs/a.md").write_bytes(b"\xff\xfe")
    code, _, err = run("add", "kb.binrag", "docs", "--quiet", "--encoder", "words")
    assert code == 1
    assert "docs/a.md is not UTF-8" in err
    assert "--on-error skip" in err
    facts, _ = add("docs", "--on-error", "skip", "--sync", code=6)
    assert facts == {"unchanged": 3, "skipped": 1, "count": 6}


def test_lines_and_folders_go_together(add, run):
    write("in.jsonl", json.dumps({"id": "x", "text": "hello"}))
    assert add("docs", "in.jsonl")[0] == {"added": 7, "count": 7}
    code, out, _ = run("add", "kb.binrag", "in.jsonl", "docs/c.py", "--quiet", "--encoder", "words")
    assert code == 0
    assert out.startswith("0 added, 1 unchanged, 0 replaced")
    assert "; 0 added, 0 changed, 0 moved, 1 unchanged" in out


def test_tenants_and_roots(add):
    assert add("docs", "--tenant", "t", "--root", "docs")[0] == {"added": 6, "count": 6}
    assert add("docs", "--tenant", "u", "--root", "docs")[0] == {"added": 6, "count": 6}
    with Store.open("kb.binrag", "r", tenant="t") as store:
        assert next(store.iter()).id == "a.md#0"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing/", "--sync"], "no file or folder at missing/"),
        (["empty"], "empty holds no files to read; expected some that end with .txt, .md"),
        (["in.jsonl", "--sync"], "--sync is for folders and files of text, and there are none"),
        (["in.jsonl", "--chunk", "300"], "--chunk is for folders"),
        (
            ["docs", "in.jsonl", "--dry-run"],
            "--dry-run is for folders and files of text, in.jsonl is read as JSON lines",
        ),
        (["docs", "--chunk", "3"], "chunk is 3, expected a number of characters of at least 100"),
        (["docs", "--root", "empty"], "is not in the root empty"),
    ],
)
def test_what_makes_no_sense_is_refused_before_a_store_is_made(run, tmp_path, arguments, reason):
    write("docs/a.md", "x")
    write("in.jsonl", '{"text": "x"}')
    Path("empty").mkdir()
    code, _, err = run("add", "kb.binrag", *arguments)
    assert code == 1
    assert reason in err
    assert not Path("kb.binrag").exists()


def test_the_store_itself_is_no_input(run, encoder):
    write("docs/a.md", "x")
    assert run("add", "docs/kb.txt", "docs", "--quiet")[0] == 0
    assert run("add", "docs/kb.txt", "docs", "--quiet")[0] == 0
