"""`benchmarks.relevance`: areas under the curve, foreign queries, and its command line on two small sets."""

import json

import numpy as np
import pytest
from fakes import topical

from benchmarks.datasets import load
from benchmarks.relevance import compared, foreign_queries, main

WORDS = {"rivers": ["silver", "river", "stone"], "kitchens": ["copper", "kettle", "spoon"], "woods": ["oak", "fern"]}


@pytest.fixture
def folders(tmp_path):
    vectors = topical(60, 64)
    made = []
    for place, (name, words) in enumerate(WORDS.items()):
        folder = tmp_path / name
        folder.mkdir()
        lines = [{"_id": f"d{i}", "title": "", "text": f"{words[i % len(words)]} {i}"} for i in range(20)]
        (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        queries = [{"_id": f"q{i}", "text": words[i % len(words)]} for i in range(6)]
        (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
        judged = "".join(f"q{i}\td{i}\t1\n" for i in range(6))
        (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
        np.save(folder / "corpus.f16.npy", vectors[20 * place : 20 * place + 20].astype(np.float16))
        np.save(folder / "queries.f32.npy", vectors[20 * place : 20 * place + 6])
        made.append(folder)
    return made


def test_the_area_is_the_chance_of_being_above():
    own, foreign = np.array([0.2, 0.5, 0.9]), np.array([0.1, 0.5, 0.6, 0.7])
    found = compared("x", "dense", own, foreign)
    chances = [(a > b) + (a == b) / 2 for a in own for b in foreign]
    assert found.area == pytest.approx(np.mean(chances))
    assert (found.own, found.foreign, found.kept) == (0.5, 0.55, pytest.approx(1 / 3))


def test_foreign_queries_are_of_the_other_sets(folders):
    sets = [load(folder) for folder in folders]
    texts, vectors = foreign_queries(sets, 1, 6, 0)
    assert len(texts) == len(vectors) == 6
    assert not set(texts) & set(WORDS["kitchens"])
    assert {text in WORDS["rivers"] for text in texts} == {True, False}
    others = [vector for place in (0, 2) for vector in sets[place].query_vectors.tolist()]
    assert all(vector in others for vector in vectors.tolist())


def test_the_command_prints_a_table(folders, tmp_path, capsys):
    assert main(["--data", *map(str, folders), "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| hybrid |") == 4
    results = {(r["data"], r["legs"]): r for r in json.loads((tmp_path / "out.json").read_text())["results"]}
    assert results["all sets", "lexical"]["area"] == results["rivers", "lexical"]["kept"] == 1
    assert results["woods", "lexical"]["foreign"] == 0
    assert all(0 <= result["foreign"] < result["own"] <= 1 for result in results.values())
    assert main(["--data", str(folders[0])]) == 2
