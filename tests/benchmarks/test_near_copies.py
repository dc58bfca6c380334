"""`benchmarks.diversity`: what counts once, copies as near as asked, and its command line on a small set."""

import json

import numpy as np
from fakes import topical, unit

from benchmarks.diversity import chosen, main, once, with_copies
from binrag import Coverage, Mmr


def test_copies_are_as_near_as_asked():
    rows = topical(50, 64)
    copies = with_copies(rows, 0.9, 0).reshape(50, 6, 64)
    assert np.allclose(copies[:, 0], rows, atol=1e-6)
    cosines = np.einsum("ij,icj->ic", rows, copies[:, 1:])
    assert np.abs(cosines.mean() - 0.9) < 0.01


def test_a_document_counts_at_the_first_of_its_copies():
    assert once(np.array([4, 2, 4, 4, 7]), 9).tolist() == [4, 2, 11, 12, 7]


def test_diversity_shows_more_documents():
    rows = with_copies(topical(100, 64), 0.97, 0)
    scores = (rows @ unit(rows[:1] + rows[60:61])[0]).astype(float)
    plain, *others = (chosen(scores, rows, diversity) // 6 for diversity in (None, Mmr(0.5), Coverage(0.5)))
    assert len(set(plain.tolist())) <= 4
    for found in others:
        assert len(set(found.tolist())) >= 7


def test_the_command_prints_a_table(tmp_path, capsys):
    folder = tmp_path / "small"
    folder.mkdir()
    rows = topical(40, 16)
    lines = [{"_id": f"d{i}", "title": "", "text": f"text {i}"} for i in range(40)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    queries = [{"_id": f"q{i}", "text": f"query {i}"} for i in range(5)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(5))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    np.save(folder / "corpus.f16.npy", rows.astype(np.float16))
    np.save(folder / "queries.f32.npy", rows[:5])
    assert main(["--data", str(folder), "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert "| small | Coverage(0.5) |" in printed
    assert "of the best choice at least" in printed
    assert len(json.loads((tmp_path / "out.json").read_text())["results"]) == 6
    assert main(["--data", str(folder), "--cosine", "2"]) == 2
    assert main(["--data", str(tmp_path / "nothing")]) == 2
