import json

import numpy as np
import pytest
from fakes import WORDS, vectors_of

from benchmarks import datasets, embeddings, encoders
from binrag.errors import InvalidInput
from binrag.probe import probe

N_DOCUMENTS = 600


@pytest.fixture
def folder(tmp_path):
    """Texts of five words out of 30, whose ready vectors are random directions."""
    draw = np.random.default_rng(3)
    folder = tmp_path / "words"
    folder.mkdir()
    texts = [" ".join(draw.choice(WORDS, 5)) for _ in range(N_DOCUMENTS)]
    lines = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": f"q{i}", "text": " ".join(draw.choice(WORDS, 3))}) for i in range(20)]
    (folder / "queries.jsonl").write_text("\n".join([*queries, json.dumps({"_id": "q20", "text": "unknownword"})]))
    (folder / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(21)),
    )
    np.save(folder / "corpus.f16.npy", vectors_of(N_DOCUMENTS, 96).astype(np.float16))
    np.save(folder / "queries.f32.npy", vectors_of(21, 96, seed=1))
    return folder


def test_the_command_probes_and_measures_each_encoder(folder, tmp_path, capsys):
    path, cache = tmp_path / "out.json", tmp_path / "cache"
    command = ["--data", str(folder), "--stand-ins", "ready*", "TF*", "--cache", str(cache), "--json", str(path)]
    assert encoders.main(command) == 0
    printed = capsys.readouterr().out
    assert "| ready vectors | 96 | lloyd-max, 50 B (few bits don't suit) |" in printed
    assert "- ready vectors: few bits don't suit these vectors: all directions are used alike" in printed
    assert "| TF-IDF + SVD | 29 |" in printed
    (record,) = json.loads(path.read_text())["results"]
    assert record["probes"]["ready vectors"]["advice"] == "lloyd-max, 50 B (few bits don't suit)"
    codes = {(result["encoder"], result["code"]): result for result in record["codes"]}
    assert {code for _, code in codes} >= {"sign", "rotated-sign"}
    sign = codes["ready vectors", "sign"]
    assert sign["code_bytes"] == 18
    assert 0.2 < sign["recall_at_10"] < 0.6 < sign["found_in_100"] < 0.95


def test_recall_is_that_of_the_float_ranking(folder):
    dataset = datasets.load(folder)
    results = list(encoders.measure(("a", "b"), dataset.corpus, dataset.query_vectors))
    sign = next(result for result in results if result.code == "sign")
    signs = np.where(dataset.corpus > 0, 1.0, -1.0)
    factors = (1 / (dataset.corpus * signs).sum(axis=1)).astype(np.float16).astype(float)
    estimates = (dataset.query_vectors @ signs.T) * factors
    shares = [
        len(set(np.argsort(-row)[:10]) & set(np.argsort(-true)[:10])) / 10
        for row, true in zip(estimates, dataset.query_vectors @ dataset.corpus.T, strict=True)
    ]
    # the candidates are 400 of 600 by Hamming distance; a few true ones may be missed
    assert np.mean(shares) - 0.02 <= sign.recall_at_10 <= np.mean(shares) + 0.02
    assert (sign.data, sign.encoder) == ("a", "b")


def test_tfidf_vectors_compare_texts_by_their_words(folder, tmp_path):
    dataset = datasets.load(folder)
    rows, queries = encoders.tfidf(dataset, tmp_path)
    assert (len(rows), len(queries)) == (N_DOCUMENTS, 21)
    assert not queries[20].any()  # no known word
    rows, queries = encoders.usable((rows, queries))
    assert len(queries) == 20
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    shared = np.array([[len(set(a.split()) & set(b.split())) for b in dataset.texts] for a in dataset.queries[:20]])
    similar = queries @ rows.T
    assert np.abs(similar[shared == 0]).max() < 0.2 < similar[shared >= 2].min()


def test_vectors_are_computed_once_for_the_same_texts(folder, tmp_path):
    dataset = datasets.load(folder)
    calls = []

    def compute():
        calls.append(1)
        return np.ones((N_DOCUMENTS + 21, 2))

    for _ in range(2):
        rows, queries = encoders._cached("x", dataset, tmp_path / "cache", compute)
        assert (rows.shape, queries.shape) == ((N_DOCUMENTS, 2), (21, 2))
    smaller = encoders.subset(dataset, 100)
    with pytest.raises(ValueError, match="layers"):
        encoders._cached("x", smaller, tmp_path / "cache", lambda: (_ for _ in ()).throw(ValueError("layers")))
    assert len(calls) == 1


def test_a_subset_keeps_rows_together(folder):
    dataset = datasets.load(folder)
    smaller = encoders.subset(dataset, 100)
    assert len(smaller.texts) == 100
    assert smaller.doc_ids == sorted(smaller.doc_ids, key=lambda name: int(name[1:]))
    for name, text, vector in zip(smaller.doc_ids, smaller.texts, smaller.corpus, strict=True):
        row = int(name[1:])
        assert text == dataset.texts[row]
        assert np.array_equal(vector, dataset.corpus[row])
    assert encoders.subset(dataset, N_DOCUMENTS) is dataset


def test_large_corpora_are_not_read_by_the_model(folder, monkeypatch):
    monkeypatch.setattr(encoders, "MAX_ENCODED", 599)
    with pytest.raises(InvalidInput, match="600 documents are too many for the layers, 599"):
        encoders.layers(datasets.load(folder))


def test_stand_ins_that_do_not_exist_are_refused(folder, capsys):
    assert encoders.main(["--data", str(folder), "--stand-ins", "word2vec"]) == 2
    assert "matches none of: ready vectors; TF-IDF + SVD; layers 3 and 6; static tokens" in capsys.readouterr().err


def test_the_last_layer_is_the_encoder_itself():
    texts = ["How do I parse a date?", "rain", "A store is one file, and a file is one store. " * 3]
    found = encoders.pooled_layers(texts, batch_size=2)
    assert found.shape == (3, 768)
    expected = embeddings._open_encoder(embeddings._default_model()).encode_document(texts)
    np.testing.assert_allclose(found[:, 384:], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found[:, :384], axis=1), 1, atol=1e-5)
    assert (found[:, :384] * found[:, 384:]).sum(axis=1).max() < 0.9


def test_token_vectors_know_no_order_and_point_much_the_same_way(folder, tmp_path):
    dataset = datasets.load(folder)
    turned = [" ".join(reversed(text.split())) for text in dataset.texts]
    vectors = [
        encoders.static_tokens(
            datasets.Dataset(**{**{name: getattr(dataset, name) for name in dataset.__slots__}, "texts": texts}),
            tmp_path,
        )[0]
        for texts in (dataset.texts, turned)
    ]
    np.testing.assert_allclose(*vectors, atol=1e-5)
    assert probe(vectors[0]).mean_norm > 0.5 > 5 * probe(dataset.corpus).mean_norm
