"""The benchmark of token vectors: its truth, its measures, and its command on a tiny set."""

import json

import numpy as np
import pytest
import reference
from fakes import unit, vectors_of

from benchmarks import multivector, token_sets
from binrag.encoders import TokenEncoder
from binrag.encoders.fde import FdeConfig
from binrag.errors import InvalidInput
from binrag.types import TokenVectors

DIM = 32


def words(texts):
    """One vector a word, the same in every text."""
    return [unit(np.concatenate([vectors_of(1, DIM, seed=int(word[1:])) for word in text.split()])) for text in texts]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Documents of six words out of 200; each query has three of its document."""
    monkeypatch.setitem(token_sets.STAND_INS, "contextual", lambda folder, max_tokens: TokenEncoder(words))
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in draw.choice(200, 6)) for _ in range(120)]
    folder = tmp_path / "tiny"
    folder.mkdir()
    lines = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": f"q{i}", "text": " ".join(texts[100 + i].split()[:3])}) for i in range(12)]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{100 + i}\t1" for i in range(12))]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    for name, some, kind in (("corpus.f16", texts, np.float16), ("queries.f32", queries, np.float32)):
        np.save(folder / f"{name}.npy", vectors_of(len(some), 16).astype(kind))
    return folder


def test_the_truth_is_maxsim(monkeypatch):
    monkeypatch.setattr(token_sets, "SCORED_AT_ONCE", 3)
    documents, queries = (
        TokenVectors.of([unit(vectors_of(n, 8, seed + n)) for n in lengths], 8)
        for seed, lengths in ((0, [3, 1, 7, 2, 5, 1, 4]), (50, [2, 1, 3]))
    )
    scores = token_sets.all_scores(documents, queries)
    for i in range(3):
        expected = [reference.maxsim(queries[i], documents[j]) for j in range(7)]
        assert scores[i] == pytest.approx(expected, abs=1e-5)
        assert token_sets.exhaustive(documents, queries[i]) == pytest.approx(expected, abs=1e-5)


def test_the_command_prints_tables_and_writes_all_figures(folder, tmp_path, capsys):
    path = tmp_path / "out.json"
    command = ["--data", str(folder), "--cache", str(tmp_path / "cache"), "--json", str(path), "--documents", "110"]
    command += ["--queries", "10", "--seeds", "2", "--configs", "default", "4,1,8"]
    assert multivector.main(command) == 0
    first = capsys.readouterr().out
    assert (
        "tiny: 110 documents of 6.0 tokens, 10 queries of 3.0, 32 dimensions; exhaustive MaxSim nDCG@10 1.0000" in first
    )
    written = json.loads(path.read_text())["results"]
    found = {(own["config"], own["way"], own["seed"]): own for own in written["found"]}
    assert len(found) == 1 + 2 * 3 * 2
    exact = found["default", "float", 0]
    assert (exact["n_bits"], exact["best"]["10"], exact["ndcg"]) == (32 * 2560, 1.0, {})
    coded = found["default", "1 bit", 1]
    assert coded["n_bits"] == 2560
    assert coded["best"]["200"] == coded["ndcg"]["float tokens"] == coded["kept"]["float tokens"] == 1  # all documents
    assert 0.5 < coded["kept"]["1 bit"] < coded["kept"]["2 bits"] < 1
    assert found["4,1,8", "1 bit", 0]["top10"] < coded["top10"]
    default, small = written["costs"]
    assert default["floats, bytes"] == 6 * DIM * 2 + 4 * 2560
    assert (default["encoding, bytes"], small["encoding, bytes"]) == (322, 8 + 2)
    assert (default["1 tokens, bytes"], default["2 tokens, bytes"]) == (6 * (8 + 2), 6 * (8 + 2))
    assert f"| tiny | default | {6 * DIM * 2 + 4 * 2560:,} | 322 | 382 | 1/{10624 / 382:.1f} | 382 |" in first
    assert multivector.main([*command, "--ways", "1 bit"]) == 0  # from the cache
    rows = [line for line in first.splitlines() if "| 1 bit | 2,560 |" in line]
    assert len(rows) == 1
    assert rows[0] in capsys.readouterr().out


def test_settings_are_read():
    assert multivector.config_of("default") == FdeConfig()
    assert multivector.config_of("20,3,0,fill") == FdeConfig(20, 3, None, True, None)
    assert multivector.config_of("40,2,64,final=100") == FdeConfig(40, 2, 64, False, 100)
    for text in ("", "20,3", "20,x,3"):
        with pytest.raises(InvalidInput, match="is no setting"):
            multivector.config_of(text)


@pytest.mark.parametrize("options", [["--seeds", "0"], ["--configs", "7"], ["--queries", "-1"]])
def test_settings_that_cannot_be_run_are_refused(folder, options, capsys):
    assert multivector.main(["--data", str(folder), *options]) == 2
    assert capsys.readouterr().err.startswith("error: ")
