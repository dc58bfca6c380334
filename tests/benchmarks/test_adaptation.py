import json

import numpy as np
import pytest
from fakes import vectors_of

from benchmarks import adaptation, datasets
from binrag.binarizers import AdditiveBinarizer, ItqBinarizer
from binrag.binarizers.artefact import save_artefact
from binrag.errors import InvalidInput

DIM, N_QUERIES = 64, 40


def clustered(n, turn, seed):
    """Vectors that differ most along the first axes of a rotation."""
    return (vectors_of(n, DIM, seed) / np.float32((1 + np.arange(DIM)) ** 0.6)) @ turn


def written(folder, n):
    """A set whose n documents hold two sentences each, in a rotation of its own, and its encoder."""
    folder.mkdir()
    turn = np.linalg.qr(vectors_of(DIM, DIM, seed=8))[0]
    corpus = clustered(n, turn, 1)
    queries = corpus[:N_QUERIES] + 0.3 * clustered(N_QUERIES, turn, 2)
    np.save(folder / "corpus.f16.npy", corpus.astype(np.float16))
    np.save(folder / "queries.f32.npy", queries.astype(np.float32))
    texts = [f"Here is sentence one of {i}. And this is number two." for i in range(n)]
    documents = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(documents))
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": f"q{i}", "text": "q"}) for i in range(N_QUERIES))
    )
    judgments = "".join(f"q{i}\td{i}\t1\n" for i in range(N_QUERIES))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgments)
    return folder, lambda sentences, side: clustered(len(sentences), turn, 3)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    """An artefact for vectors in another rotation."""
    path = tmp_path_factory.mktemp("artefacts") / "elsewhere.binarizer"
    elsewhere = clustered(1000, np.eye(DIM, dtype=np.float32), 4)
    save_artefact(path, AdditiveBinarizer.fit(elsewhere, code_bytes=18, n_rounds=3), {})
    return path


def test_sentences_are_drawn_from_every_text():
    texts = ["One two three four. Five six.\nSeven eight nine ten eleven!", "too short", "a b c d e f g h. " * 9]
    found, owners = adaptation.drawn_sentences(texts, 0, most=3)
    assert sorted(found[:2]) == ["One two three four.", "Seven eight nine ten eleven!"]
    assert found[2:] == ["a b c d e f g h."] * 3
    assert owners.tolist() == [0, 0, 2, 2, 2]
    assert adaptation.drawn_sentences(texts, 0, most=3)[0] == found
    assert adaptation.drawn_sentences(texts, 0, most=1)[1].tolist() == [0, 2]


def test_adapting_to_a_corpus_finds_more_in_it(tmp_path, artefact, monkeypatch, capsys):
    folder, encode = written(tmp_path / "set", 600)
    monkeypatch.setattr(adaptation, "cached_encoder", lambda name: encode)
    out = tmp_path / "out.json"
    assert adaptation.main(["--data", str(folder), "--artefacts", str(artefact), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "**set**: 600 documents fitted to, 1,200 sentences, 40 queries" in printed
    sign, as_it_is, *fits = json.loads(out.read_text())["results"]
    assert (sign["artefact"], as_it_is["how"], as_it_is["code_bytes"]) == ("sign", "as it is", 18)
    assert as_it_is["recall_gain"] == 0
    assert [(fit["how"], fit["n_rows"]) for fit in fits] == [
        ("adapted", 600),
        ("adapted", 1800),
        ("from scratch", 600),
        ("from scratch", 1800),
    ]
    for fit in fits:
        assert fit["recall_at_10"] - as_it_is["recall_at_10"] == pytest.approx(fit["recall_gain"])
        assert fit["recall_gain_interval"][0] < fit["recall_gain"] < fit["recall_gain_interval"][1]
        assert f"| {fit['how']} | {fit['rows']} | 18 | {fit['ndcg_at_10']:.3f} |" in printed
    assert fits[0]["recall_gain"] > 0.02


def test_a_corpus_too_small_to_fit_to_is_reported_as_such(tmp_path, artefact, monkeypatch, capsys):
    folder, encode = written(tmp_path / "small", 200)
    monkeypatch.setattr(adaptation, "cached_encoder", lambda name: encode)
    assert adaptation.main(["--data", str(folder), "--artefacts", str(artefact)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| documents | 18 | refused |") == 2
    assert printed.count("- 200 rows are too few to fit on, 256 are needed") == 1
    assert "refused" not in "".join(line for line in printed.splitlines() if "documents and sentences" in line)


def test_artefacts_that_cannot_be_adapted_are_left_out(tmp_path, artefact, capsys):
    other = tmp_path / "itq.binarizer"
    save_artefact(other, ItqBinarizer.fit(vectors_of(300, DIM), code_bytes=10), {})
    assert list(adaptation.artefacts([str(artefact), str(other)], DIM)) == [str(artefact)]
    assert "is 'itq', expected 'additive'" in capsys.readouterr().err
    with pytest.raises(InvalidInput, match="no artefact for vectors of 63 dimensions"):
        adaptation.artefacts(None, 63)
    assert len(adaptation.artefacts(None, 384)) >= 1


def test_the_reference_is_float32(tmp_path):
    folder, encode = written(tmp_path / "set", 300)
    corpus = adaptation.Corpus.prepared(datasets.load(folder), encode, 0)
    scores = corpus.dataset.query_vectors @ corpus.dataset.corpus.T
    assert [set(rows) for rows in corpus.exact] == [set(row) for row in np.argsort(-scores, axis=1)[:, :10]]
    assert corpus.ndcg.mean() > 0.9


def test_one_half_is_fitted_to_and_the_other_searched(tmp_path, artefact, monkeypatch, capsys):
    folder, encode = written(tmp_path / "set", 800)
    whole = datasets.load(folder)
    corpus = adaptation.Corpus.prepared(whole, encode, 0, unseen=True)
    searched = [int(name.removeprefix("d")) for name in corpus.dataset.doc_ids]
    known = [i for i in range(800) if i not in searched]
    assert len(known) == len(searched) == 400
    assert np.array_equal(corpus.known, whole.corpus[known])
    assert np.array_equal(corpus.dataset.corpus, whole.corpus[searched])
    assert corpus.dataset.texts[0].startswith(f"Here is sentence one of {searched[0]}.")
    assert len(corpus.sentences) == 800
    assert max(rows.max() for rows in corpus.exact) < 400
    monkeypatch.setattr(adaptation, "cached_encoder", lambda name: encode)
    assert adaptation.main(["--data", str(folder), "--artefacts", str(artefact), "--unseen"]) == 0
    assert "400 documents fitted to, the other 400 searched, 800 sentences" in capsys.readouterr().out
