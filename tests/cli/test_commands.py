import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from binrag import Store
from binrag.cli import main

DEVELOPMENT_ONLY = ("torch", "sentence_transformers", "transformers", "pytest", "hypothesis", "langchain_core", "scipy")


def vector_lines(n, dim=8, seed=0, **more):
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).round(3)
    return [{"id": f"d{i}", "text": f"text {i}", "vector": v.tolist(), **more} for i, v in enumerate(vectors)]


def write(path, lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def filled(run, tmp_path):
    path = write(tmp_path / "in.jsonl", vector_lines(20, metadata={"lang": "en"}))
    assert run("add", "kb.binrag", path, "--quiet")[0] == 0
    return "kb.binrag"


def test_add_reports_what_became_of_the_lines(run, tmp_path):
    lines = vector_lines(5)
    lines.insert(2, "{broken")
    path = write(tmp_path / "in.jsonl", [*lines, {**lines[0], "text": "newer"}])
    code, out, err = run("add", "kb.binrag", path, "--quiet", "--json", "--on-error", "skip")
    assert code == 6
    assert json.loads(out) == {"added": 5, "unchanged": 0, "repeated": 1, "skipped": 1, "count": 5}
    assert "in.jsonl:3: not JSON" in err
    assert json.loads(run("get", "kb.binrag", "d0", "--json")[1])[0]["text"] == "newer"


def test_a_bad_line_is_fatal_by_default_and_says_what_was_stored_before_it(run, tmp_path):
    path = write(tmp_path / "in.jsonl", [*vector_lines(5), "{broken"])
    code, _, err = run("add", "kb.binrag", path, "--quiet", "--commit-every", 2)
    assert code == 1
    assert "in.jsonl:6: not JSON" in err
    assert "until here 4 added" in err
    assert run("count", "kb.binrag")[1].strip() == "4"


def test_add_reads_standard_input(run, monkeypatch):
    data = "".join(json.dumps(line) + "\n" for line in vector_lines(3)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    code, out, _ = run("add", "kb.binrag", "--quiet")
    assert code == 0
    assert "3 added" in out


def test_an_interrupted_add_goes_on_where_it_stopped(run, tmp_path, minilm_folder):
    lines = [{"text": f"sentence number {i}"} for i in range(8)]
    part = write(tmp_path / "part.jsonl", [*lines[:6], "{broken"])
    whole = write(tmp_path / "whole.jsonl", lines)
    assert run("add", "kb.binrag", part, "--quiet", "--commit-every", 3, "--encoder", minilm_folder)[0] == 1
    code, out, err = run("add", "kb.binrag", whole, "--quiet", "--json")
    assert code == 0
    assert json.loads(out) == {"added": 2, "unchanged": 6, "repeated": 0, "skipped": 0, "count": 8}
    assert f"encoder: {minilm_folder}" in err
    with Store.open("kb.binrag", "r") as store:
        assert store.stats().n_rows == 8, "unchanged documents were written again"


def test_search_and_ask_use_the_recorded_encoder_and_say_so(run, tmp_path, minilm_folder, monkeypatch):
    texts = ["The cat sleeps on the sofa.", "Interest rates rose again.", "A recipe for onion soup."]
    path = write(tmp_path / "in.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(texts)])
    assert run("add", "kb.binrag", path, "--quiet", "--encoder", minilm_folder)[0] == 0
    code, out, err = run("search", "kb.binrag", "how", "to", "cook", "soup", "-k", 2, "--json")
    hits = json.loads(out)
    assert code == 0
    assert hits[0]["id"] == "2"
    assert len(hits) == 2
    assert f"encoder: {minilm_folder}, as the store records" in err
    assert "onion soup" in run("search", "kb.binrag", "soup")[1]
    monkeypatch.setattr(sys, "stdin", io.StringIO("bank interest\n\na pet\n"))
    code, out, _ = run("ask", "kb.binrag", "--json", "-k", 1)
    answers = [json.loads(line) for line in out.splitlines()]
    assert [(a["query"], a["hits"][0]["id"]) for a in answers] == [("bank interest", "1"), ("a pet", "0")]


def test_hits_can_be_ordered_by_a_cross_encoder_and_cut_at_a_score(run, tmp_path, minilm_folder):
    """The head is not trained: what counts is that its scores, of both texts, are what is printed."""
    pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    path = write(tmp_path / "in.jsonl", [{"id": "a", "text": "A cat sleeps."}, {"id": "b", "text": "Paris is big."}])
    assert run("add", "kb.binrag", path, "--encoder", minilm_folder, "--quiet")[0] == 0
    plain = json.loads(run("search", "kb.binrag", "sleeping cat", "--json")[1])
    assert [hit["id"] for hit in plain] == ["a", "b"]
    cut = json.loads(run("search", "kb.binrag", "sleeping cat", "--json", "--min-score", plain[0]["score"] - 0.01)[1])
    assert cut == plain[:1]
    found = json.loads(run("search", "kb.binrag", "sleeping cat", "--json", "--rerank", minilm_folder)[1])
    assert sorted(hit["id"] for hit in found) == ["a", "b"]
    assert [hit["score"] for hit in found] != [hit["score"] for hit in plain]
    assert all(0 <= hit["score"] <= 1 for hit in found)


def test_get_prints_in_order_and_fails_for_a_missing_id(run, filled):
    code, out, err = run("get", filled, "d3", "d1", "--json")
    assert code == 0
    assert [document["id"] for document in json.loads(out)] == ["d3", "d1"]
    code, out, err = run("get", filled, "d3", "nope")
    assert code == 1
    assert "no document 'nope'" in err
    assert "lang: en" in out


def test_delete_and_count(run, filled):
    assert json.loads(run("delete", filled, "d1", "d2", "nope", "--json")[1]) == {"deleted": 2}
    assert json.loads(run("count", filled, "--json")[1]) == {"count": 18}


def test_info_tells_settings_and_sizes(run, filled):
    facts = json.loads(run("info", filled, "--json")[1])
    assert facts["file_bytes"] == Path(filled).stat().st_size
    assert (facts["dim"], facts["n_documents"], facts["code_bytes"], facts["n_dead_rows"]) == (8, 20, 10, 0)
    text = run("info", filled)[1]
    assert "keep_vectors" in text
    assert "int8" in text


def test_exit_codes_tell_errors_apart(run, filled, tmp_path):
    write(tmp_path / "note.txt", ["not a store " * 100])
    other = write(tmp_path / "other.jsonl", vector_lines(1, dim=9))
    assert run("count", "missing.binrag")[0] == 1
    assert run("count", "note.txt")[0] == 3
    assert run("add", filled, other, "--quiet")[0] == 1, "a line of another dimension is a bad line"
    assert run("add", filled, other, "--quiet", "--binarizer", "rotated-sign", "--on-error", "skip")[0] == 5
    assert run("add", filled, "no-such-file.jsonl")[0] == 1
    with pytest.raises(SystemExit) as usage:
        run("search")
    assert usage.value.code == 2
    with Store.open(filled) as store, store.transaction():
        code, _, err = run("delete", filled, "d1", "--lock-timeout", 0.1)
    assert code == 4
    assert str(os.getpid()) in err


def test_datetimes_and_bytes_are_printed_as_json(run, filled):
    from datetime import date, datetime

    with Store.open(filled) as store:
        store.add(
            ["x"],
            ids=["t"],
            metadata=[{"at": datetime(2026, 1, 2, 3, 4), "on": date(2026, 1, 2), "raw": b"\x00\xff"}],
            vectors=np.ones((1, 8)),
        )
    (document,) = json.loads(run("get", filled, "t", "--json")[1])
    assert document["metadata"] == {"at": "2026-01-02T03:04:00", "on": "2026-01-02", "raw": "AP8="}


def test_the_command_works_without_development_dependencies(tmp_path):
    """Everything but encoding runs where only the core's dependencies are installed."""
    script = f"""
import sys
for name in {DEVELOPMENT_ONLY!r}:
    sys.modules[name] = None
from binrag.cli import main
assert main(["add", "kb.binrag", "in.jsonl", "--quiet"]) == 0
assert main(["get", "kb.binrag", "d1"]) == 0
assert main(["info", "kb.binrag", "--json"]) == 0
assert main(["delete", "kb.binrag", "d1"]) == 0
from binrag import Store
with Store.open("kb.binrag", "r") as store:
    assert len(store.search([1.0] * 8, k=3)) == 3
assert main(["add", "texts.binrag", "texts.jsonl", "--quiet"]) == 1
"""
    write(tmp_path / "in.jsonl", vector_lines(20))
    write(tmp_path / "texts.jsonl", [{"text": "hello"}])
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install 'binrag[encoders]'" in done.stderr


def test_a_closed_output_is_no_crash(tmp_path):
    write(tmp_path / "in.jsonl", vector_lines(3000))
    with Store.open(tmp_path / "kb.binrag") as store:
        store.add(
            [f"text {i} " * 50 for i in range(2000)], vectors=np.ones((2000, 4)), ids=[str(i) for i in range(2000)]
        )
    command = [sys.executable, "-m", "binrag", "get", "kb.binrag", *(str(i) for i in range(2000))]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141


def test_help_names_every_command_and_exit_code(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for word in ("add", "search", "ask", "get", "delete", "count", "info", "demo", "exit codes", "130"):
        assert word in text


def test_python_m_binrag_runs():
    done = subprocess.run([sys.executable, "-m", "binrag", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("binrag 0.")
    assert Path(sys.executable).exists()


def test_a_commit_of_no_documents_is_refused(run, tmp_path):
    path = write(tmp_path / "in.jsonl", vector_lines(2))
    code, _, err = run("add", "kb.binrag", path, "--quiet", "--commit-every", 0)
    assert code == 1
    assert "--commit-every is 0, expected an integer of at least 1" in err
    assert not (tmp_path / "kb.binrag").exists()
