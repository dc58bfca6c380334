"""The benchmark of whole hybrid searches, on a small store."""

import json

import numpy as np
import pytest

from benchmarks import copies, hybrid_store
from binrag import Store
from binrag.errors import InvalidInput

TEXTS = [f"{noun} {verb} {place}" for noun in ["cat", "dog"] for verb in ["sits", "runs"] for place in ["here", "home"]]
N_ROWS = 4_500
"""Enough for a fold, and too few for codes to be fitted."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    vectors = np.random.default_rng(0).standard_normal((len(TEXTS), 64))
    np.save(folder / "corpus.f16.npy", vectors.astype(np.float16))
    np.save(folder / "queries.f32.npy", vectors.astype(np.float32))
    for name, prefix in (("corpus", "d"), ("queries", "q")):
        with (folder / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps({"_id": f"{prefix}{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(len(TEXTS)))
    (folder / "qrels.tsv").write_text(f"query\tdocument\tgrade\n{judged}")
    return folder


def run(folder, path, out, *options):
    some = ["--data", str(folder), "--rows", str(N_ROWS), "--commit", "2000", "--queries", "5"]
    return hybrid_store.main([*some, "--keep", str(path), "--json", str(out), *options])


def test_a_store_is_made_searched_and_kept(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(hybrid_store, "N_ADDED", 10)
    path, out = tmp_path / "kept.binrag", tmp_path / "out.json"
    assert run(folder, path, out) == 0
    printed = capsys.readouterr().out
    assert f"| adding | {N_ROWS:,} rows |" in printed
    result = json.loads(out.read_text())["results"]
    built, opened, single = result["built"], result["opened"], result["single"]
    assert (built["n_rows"], built["n_commits"], built["n_folds"]) == (N_ROWS, 3, 1)
    assert 0 < built["longest_fold_seconds"] <= built["fold_seconds"] < built["add_seconds"]
    assert built["fit_seconds"] == 0
    assert opened["n_tail"] == 0
    assert [timing["legs"] for timing in result["timings"]] == ["dense", "lexical", "hybrid"]
    assert all(0 < t["clock"][0] <= t["clock"][1] for t in result["timings"])
    assert list(result["parts"])[-1] == "everything else"
    assert min(result["parts"].values()) > 0  # whatever was renamed would take no time
    assert single["n_found"] == 10
    assert single["n_folds"] == 0
    assert 0 < single["bytes_before"] == single["bytes_after"]
    with Store.open(path, "r") as store:
        assert store.count() == N_ROWS
        assert [document.text for document in store.get(["1", "9"])] == list(copies.changed_texts(TEXTS, 10))[1::8]

    assert run(folder, path, out) == 0
    assert json.loads(out.read_text())["results"]["built"] is None
    with pytest.raises(InvalidInput, match="has 4,500 documents, expected 5"):
        hybrid_store.reopened(path, 5, TEXTS[0], np.ones(64, dtype=np.float32))


def test_documents_are_those_of_the_data_and_then_copies():
    corpus = np.eye(len(TEXTS), 64, dtype=np.float32)
    batches = list(hybrid_store.documents(TEXTS, corpus, 2 * len(TEXTS) + 1, len(TEXTS)))
    assert [len(texts) for texts, _ in batches] == [8, 8, 1]
    (texts, first), (others, second), _ = batches
    assert texts == TEXTS
    assert others != TEXTS
    assert np.array_equal(first, corpus)
    assert np.diagonal(second @ corpus.T) == pytest.approx(hybrid_store.COSINE, abs=0.02)
    assert np.linalg.norm(second, axis=1) == pytest.approx(1, abs=1e-6)


def test_settings_that_cannot_be_run_are_refused(folder, tmp_path, capsys):
    assert hybrid_store.main(["--data", str(folder), "--rows", "0"]) == 2
    assert "expected --rows" in capsys.readouterr().err
    assert hybrid_store.main(["--data", str(tmp_path / "none"), "--rows", "5"]) == 2
    assert "is not in BEIR layout" in capsys.readouterr().err
