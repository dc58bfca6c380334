"""The benchmark of search by words and by both, on a handful of texts."""

import json

import numpy as np
import pytest

from benchmarks import copies, datasets, hybrid

TEXTS = [
    f"{noun} {verb} {place}"
    for noun in ["cat", "dog", "owl"]
    for verb in ["sits", "runs"]
    for place in ["here", "there", "home"]
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Queries that share a document's words, with vectors that lie near another's."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    corpus = rng.standard_normal((len(TEXTS), 64))
    np.save(folder / "corpus.f16.npy", corpus.astype(np.float16))
    np.save(folder / "queries.f32.npy", (np.roll(corpus, 1, axis=0) + corpus).astype(np.float32))
    with (folder / "corpus.jsonl").open("w") as file:
        file.writelines(json.dumps({"_id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS))
    with (folder / "queries.jsonl").open("w") as file:
        file.writelines(json.dumps({"_id": f"q{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS))
    (folder / "qrels.tsv").write_text(
        "query\tdocument\tgrade\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(len(TEXTS)))
    )
    return folder


def test_cases_run_through_to_tables_and_json(folder, tmp_path, capsys):
    path = tmp_path / "out.json"
    assert hybrid.main(["--data", str(folder), "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| hybrid, coverage |") == 3
    results = {result["case"]: result for result in json.loads(path.read_text())["results"]}
    assert list(results) == list(hybrid.CASES)
    exact, dense, lexical, fused = (
        results[name] for name in ("dense, float32", hybrid.DENSE, hybrid.LEXICAL, hybrid.DEFAULT)
    )
    assert exact["ndcg_at_10"] == pytest.approx(dense["ndcg_at_10"], abs=0.05)
    assert lexical["ndcg_at_10"] == 1
    assert lexical["gain"] == 0
    assert fused["ndcg_at_10"] > dense["ndcg_at_10"]
    assert dense["gain_interval"][0] < dense["gain"] < dense["gain_interval"][1] < 0
    assert dense["recall_at_2"] <= dense["recall_at_10"] <= dense["recall_at_100"] == 1


def test_the_sweep_varies_weight_and_exponent(folder, capsys):
    assert hybrid.main(["--data", str(folder), "--sweep"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| w = ") == len(hybrid.WEIGHTS) * len(hybrid.EXPONENTS)


def test_the_share_of_relevant_documents_is_counted(folder):
    dataset = datasets.load(folder)
    wrong = [np.array([(row + 1) % len(TEXTS), row]) for row in range(len(TEXTS))]
    assert hybrid.found_share(dataset, wrong, 1) == 0
    assert hybrid.found_share(dataset, wrong, 2) == 1


def test_scale_folds_and_searches(folder, tmp_path, capsys):
    path = tmp_path / "out.json"
    assert hybrid.main(["--data", str(folder), "--scale", "60", "--queries", "5", "--json", str(path)]) == 0
    assert "| lexical leg | 60 rows |" in capsys.readouterr().out
    result = json.loads(path.read_text())["results"]
    assert result["n_rows"] == 60
    assert 0 < result["tail_top10"] <= 1
    assert 0 < result["tail_shift"] < 1
    texts = list(copies.changed_texts(TEXTS, 60))
    assert texts[: len(TEXTS)] == TEXTS
    assert len(set(texts)) > len(TEXTS)


@pytest.mark.parametrize("options", [["--scale", "10"], ["--scale", "50", "--queries", "0"]])
def test_settings_that_cannot_be_run_are_refused(folder, capsys, options):
    assert hybrid.main(["--data", str(folder), *options]) == 2
    assert "expected --scale ≥ 20" in capsys.readouterr().err
