"""`binrag train`."""

import json

import numpy as np
import pytest
from fakes import vectors_of

from binrag import Store
from binrag.binarizers.artefact import load_artefact
from binrag.cli import main

DIM = 64


def corpus(n=600, seed=0):
    return vectors_of(n, DIM, seed) / np.float32((1 + np.arange(DIM)) ** 0.4)


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
        "compact",
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
    assert (found["kind"], found["code_bytes"], found["n_rows"], found["n_queries"]) == ("compact", 18, 600, 20)
    binarizer, provenance = load_artefact(artefact)
    assert binarizer.code_bytes == 18
    assert provenance["recall_after"] == found["recall_after"]


def test_an_artefact_is_adapted(path, tmp_path, capsys):
    artefact = tmp_path / "mine.binarizer"
    assert run(capsys, "train", path, "--kind", "compact", "--code-bytes", 18, "--artefact", artefact)[0] == 0
    code, out, _ = run(capsys, "train", path, "--kind", "compact", "--adapt", artefact)
    assert code == 0
    assert out.startswith("compact, 18 bytes a row")


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
