"""`binrag train` and `binrag recode`."""

import io
import json
import sys

import numpy as np
import pytest
from fakes import WordEncoder, sentences, topical

from binrag import EncoderMismatch, Store
from binrag.binarizers.artefact import load_artefact
from binrag.cli import main

DIM = 64


def corpus(n=600, seed=0):
    return topical(n, DIM, seed)


@pytest.fixture
def path(tmp_path):
    with Store.open(tmp_path / "a.binrag") as store:
        store.add(vectors=corpus())
    return str(tmp_path / "a.binrag")


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_it_recodes_a_store_and_says_what_that_gained(path, capsys):
    code, out, _ = run(capsys, "train", path, "--kind", "itq")
    assert code == 0
    assert out.startswith("itq, 10 bytes a row, fitted to 480 vectors")
    assert "120 held-out queries" in out
    with Store.open(path, "r") as store:
        assert store.info().binarizer == "itq"


def test_vectors_of_a_file_make_an_artefact(tmp_path, capsys):
    vectors, queries, artefact = (tmp_path / name for name in ("v.npy", "q.npy", "mine.binarizer"))
    np.save(vectors, corpus())
    np.save(queries, corpus(100, 4))
    code, out, _ = run(
        capsys,
        "train",
        vectors,
        "--kind",
        "additive",
        "--code-bytes",
        18,
        "--queries",
        queries,
        "--artefact",
        artefact,
        "--json",
    )
    assert code == 0
    found = json.loads(out)
    assert (found["kind"], found["code_bytes"], found["n_rows"], found["n_queries"]) == ("additive", 18, 600, 20)
    binarizer, provenance = load_artefact(artefact)
    assert binarizer.code_bytes == 18
    assert provenance["recall_after"] == found["recall_after"]


def test_an_artefact_is_adapted(path, tmp_path, capsys):
    artefact = tmp_path / "mine.binarizer"
    assert run(capsys, "train", path, "--kind", "additive", "--code-bytes", 18, "--artefact", artefact)[0] == 0
    code, out, _ = run(capsys, "train", path, "--kind", "additive", "--adapt", artefact)
    assert code == 0
    assert out.startswith("additive, 18 bytes a row")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--adapt", "no-such-artefact"], "no artefact 'no-such-artefact'"),
        (["--code-bytes", "9"], "code_bytes is 9"),
        (["--queries", "missing.txt"], "missing.txt cannot be read"),
    ],
)
def test_errors_are_said(path, capsys, arguments, part):
    code, _, err = run(capsys, "train", path, *arguments)
    assert code == 1
    assert part in err
    with Store.open(path, "r") as store:
        assert store.info().binarizer == "sign"


def test_a_file_of_vectors_needs_a_place_for_the_binarizer(tmp_path, capsys):
    np.save(tmp_path / "v.npy", corpus())
    code, _, err = run(capsys, "train", tmp_path / "v.npy")
    assert (code, "--artefact" in err) == (1, True)
    code, _, err = run(capsys, "train", tmp_path / "none.npy", "--artefact", tmp_path / "x.binarizer")
    assert (code, "cannot be read" in err) == (1, True)


@pytest.fixture
def words(monkeypatch):
    """Names of encoders that the command line finds: each a `WordEncoder` of 64 dimensions with words of its own."""
    made = {name: WordEncoder(DIM, seed=seed, name=name) for seed, name in enumerate(("words", "other-words"))}
    monkeypatch.setattr("binrag.store.encoding.resolve_encoder", lambda given: made.get(given, given))
    return made


def write_lines(path, lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def documents(n=600):
    return [{"id": f"d{i}", "text": f"{text}. It rained."} for i, text in enumerate(sentences(n))]


def test_texts_make_an_artefact_for_stores_of_their_encoder(tmp_path, capsys, words):
    lines, artefact = write_lines(tmp_path / "docs.jsonl", documents()), tmp_path / "mine.binarizer"
    options = ["--encoder", "words", "--kind", "itq", "--artefact", artefact, "--json", "--force"]
    code, out, err = run(capsys, "train", lines, *options)
    assert code == 0
    assert "encoding" in err
    assert "600/600" in err
    found = json.loads(out)
    assert (found["kind"], found["n_rows"], found["n_queries"]) == ("itq", 480, 120)
    assert words["words"].n_encoded == 600 + 3  # and the canaries
    _, provenance = load_artefact(artefact)
    assert provenance["encoder_id"] == "words"
    assert {name: provenance[name] for name in found} == found
    assert provenance["settings"] == {"queries": "documents", "start": None, "seed": 0}
    assert len(provenance["data"]["rows"]) == 16
    assert provenance["data"]["queries"] is None
    assert set(provenance["versions"]) == {"python", "binrag", "numpy"}
    write_lines(tmp_path / "changed.jsonl", [*documents(599), {"id": "d599", "text": "stone river"}])
    assert run(capsys, "train", tmp_path / "changed.jsonl", *options)[0] == 0
    assert load_artefact(artefact)[1]["data"] != provenance["data"]

    for name in words:
        assert run(capsys, "add", tmp_path / f"{name}.binrag", lines, "--encoder", name, "--quiet")[0] == 0
    code, out, _ = run(capsys, "recode", tmp_path / "words.binrag", artefact, "--json")
    assert (code, json.loads(out)) == (0, {"binarizer": "itq", "code_bytes": 10, "n_documents": 600})
    code, _, err = run(capsys, "recode", tmp_path / "other-words.binrag", artefact)
    assert code == 5
    assert "is for vectors of 'words', these are of 'other-words'" in err
    with Store.open(tmp_path / "other-words.binrag") as store:
        assert store.info().binarizer == "sign"
        with pytest.raises(EncoderMismatch, match="'words'"):
            store.train_binarizer("additive", code_bytes=18, start=artefact)


def test_sentences_of_the_lines_and_queries_of_a_file_are_encoded(tmp_path, capsys, words):
    lines, artefact = write_lines(tmp_path / "docs.jsonl", documents()), tmp_path / "mine.binarizer"
    questions = tmp_path / "questions.txt"
    questions.write_text("\n".join(sentences(50, seed=1)))
    for given, n_queries, named in ((["--sentences"], 120, "sentences"), (["--queries", questions], 10, "given")):
        options = ["--encoder", "words", "--kind", "itq", "--artefact", artefact, "--quiet", "--force"]
        code, out, err = run(capsys, "train", lines, *options, *given)
        assert (code, err) == (0, "")
        assert "fitted to 600 vectors" in out
        assert f"{n_queries} held-out queries" in out
        _, provenance = load_artefact(artefact)
        assert provenance["settings"]["queries"] == named
        assert len(provenance["data"]["queries"]) == 16


def test_lines_of_vectors_need_no_encoder_and_are_of_the_one_that_is_named(tmp_path, capsys, words, monkeypatch):
    artefact = tmp_path / "mine.binarizer"
    lines = [{"vector": vector.tolist(), "text": "stone"} for vector in corpus()]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    for named, encoder_id in (([], None), (["--encoder", "words"], "words")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert run(capsys, "train", "-", "--kind", "itq", "--artefact", artefact, *named)[0] == 0
        assert load_artefact(artefact)[1]["encoder_id"] == encoder_id
    np.save(tmp_path / "v.npy", corpus())
    options = ["--kind", "itq", "--artefact", artefact, "--encoder", "words"]
    assert run(capsys, "train", tmp_path / "v.npy", *options)[0] == 0
    assert load_artefact(artefact)[1]["encoder_id"] == "words"


def test_bad_lines_are_said_with_their_number_and_may_be_skipped(tmp_path, capsys, words):
    lines = write_lines(tmp_path / "docs.jsonl", [*documents()[:300], "{broken", {"id": "x"}, *documents()[299:]])
    artefact = tmp_path / "mine.binarizer"
    options = ["--encoder", "words", "--kind", "itq", "--artefact", artefact, "--quiet", "--force"]
    code, _, err = run(capsys, "train", lines, *options)
    assert code == 1
    assert "docs.jsonl:301: not JSON" in err
    assert not artefact.exists()
    code, out, err = run(capsys, "train", lines, *options, "--on-error", "skip")
    assert code == 6
    assert "docs.jsonl:302: no text and no vector, expected one of them" in err
    assert "1 replaced by a later line with the same id, 2 skipped" in err
    assert "fitted to 480 vectors" in out
    assert artefact.exists()


@pytest.mark.parametrize(
    ("lines", "options", "code", "part"),
    [
        (documents(3), ["--encoder", "words"], 1, "got 3 vectors to fit to and to test with"),
        (documents(100), ["--encoder", "words"], 1, "80 rows are too few to fit on, 256 are needed"),
        (documents(), [], 1, "the document 'd0' has a text and no vector, and no encoder is given"),
        ([{"vector": [1.0] * DIM}, *documents()], [], 1, "the document 'd0' has a text and no vector"),
        ([{"vector": [1.0] * 63}, *documents()], ["--encoder", "words"], 5, "63 dimensions"),
        ([], ["--encoder", "words"], 1, "docs.jsonl holds no documents"),
        ([{"vector": [1.0] * DIM, "text": "A text of four words."}] * 9, ["--sentences"], 1, "no encoder is given"),
        (documents(), ["--encoder", "words", "--adapt", "x.binarizer"], 1, "fitted from scratch"),
        (documents(), ["--encoder", "words", "--artefact", "no/such/folder/x.binarizer"], 1, "there is no folder"),
    ],
)
def test_lines_that_nothing_can_be_fitted_to(tmp_path, capsys, words, lines, options, code, part):
    path = write_lines(tmp_path / "docs.jsonl", lines)
    artefact = tmp_path / "mine.binarizer"
    found, _, err = run(capsys, "train", path, "--kind", "itq", "--quiet", "--artefact", artefact, *options)
    assert found == code
    assert part in err
    assert not artefact.exists()
    if "adapt" in str(options) or "folder" in part:
        assert words["words"].n_encoded == 0


def test_what_is_for_lines_only_is_refused_elsewhere(path, tmp_path, capsys, words):
    code, _, err = run(capsys, "train", path, "--on-error", "skip")
    assert (code, "is for JSON lines" in err) == (1, True)
    code, _, err = run(capsys, "train", write_lines(tmp_path / "docs.jsonl", documents()), "--encoder", "words")
    assert (code, "--artefact" in err) == (1, True)
    code, _, err = run(capsys, "train", tmp_path / "none.jsonl", "--artefact", tmp_path / "x.binarizer")
    assert (code, "none.jsonl: No such file" in err) == (1, True)


@pytest.mark.filterwarnings("default:no vectors are kept")
def test_a_store_without_vectors_is_recoded_with_its_recorded_encoder(tmp_path, capsys, words):
    with Store.open(tmp_path / "kb.binrag", encoder="words", keep_vectors="none") as store:
        store.add(sentences(30))
    code, out, err = run(capsys, "recode", tmp_path / "kb.binrag", "rotated-sign", "--encoder", "words")
    assert (code, out) == (0, "rotated-sign, 10 bytes a row, 30 documents\n")
    assert "encoding 30 texts again" in err
    code, _, err = run(capsys, "recode", tmp_path / "kb.binrag", "pq", "--encoder", "words")
    assert (code, "binarizer is 'pq', expected one of" in err) == (1, True)
    code, _, err = run(capsys, "recode", tmp_path / "kb.binrag", "missing.binarizer", "--encoder", "words")
    assert (code, "missing.binarizer cannot be read" in err) == (1, True)
