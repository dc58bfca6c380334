"""The benchmark of candidates: places in the scan's order, and its command."""

import json

import numpy as np
import pytest
from fakes import vectors_of

from benchmarks import candidates
from binrag.binarizers import SignBinarizer


def test_places_are_those_of_a_sort():
    rows, queries = vectors_of(2000, 64), vectors_of(7, 64, seed=1)
    index, found, read = candidates.places(SignBinarizer(64), rows, queries, 5)
    assert index.n_rows == 2000
    assert 0.5 < read < 1  # 100 of 2,000 random rows
    for query, own in zip(queries, found, strict=True):
        distances = ((rows > 0) != (query > 0)).sum(axis=1)
        order = np.lexsort((np.arange(2000), distances))
        exact = np.argsort(-(rows @ query))[:5]
        assert sorted(own) == sorted(np.flatnonzero(np.isin(order, exact)))


def folder_of(path, n):
    path.mkdir()
    ids = [f"d{i}" for i in range(n)]
    (path / "corpus.jsonl").write_text("".join(json.dumps({"_id": i, "text": i}) + "\n" for i in ids))
    (path / "queries.jsonl").write_text("".join(json.dumps({"_id": f"q{i}", "text": "q"}) + "\n" for i in range(30)))
    (path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(30)))
    return path


def fake_encoder(name):
    def encode(texts, side):
        return vectors_of(len(texts), 64, seed=len(side))

    return encode


def test_the_command_prints_and_writes_what_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(candidates, "cached_encoder", fake_encoder)
    folder, out = folder_of(tmp_path / "set", 400), tmp_path / "out.json"
    options = ["--data", str(folder), "--artefacts", "--k", "3", "--parts", "2", "--queries", "20", "--json", str(out)]
    assert candidates.main(options) == 0
    assert "| set | sign | 400 | 3 |" in capsys.readouterr().out
    results = json.loads(out.read_text())["results"]
    assert [row["n_rows"] for row in results] == [200, 400]
    for row in results:
        assert row["needed"] == sorted(row["needed"])
        assert 3 <= row["needed"][0] <= row["n_rows"]
        assert row["n_candidates"] == 800
        assert row["held"] == 1
        assert row["n_reads"] == 100
        assert 0.5 < row["read"] <= 1


@pytest.mark.parametrize("options", [["--k", "0"], ["--parts", "0"], ["--queries", "-1"]])
def test_settings_that_cannot_be_run_are_refused(tmp_path, capsys, options):
    assert candidates.main(["--data", str(tmp_path), *options]) == 2
    assert "expected k ≥ 1" in capsys.readouterr().err
