import gzip
import json

import numpy as np
import pytest

from benchmarks import datasets
from binrag.errors import InvalidInput

DOCUMENTS = [
    {"_id": "a", "title": "Alpha", "text": "first"},
    {"_id": "b", "text": "second"},
    {"_id": 3, "title": "", "text": "third"},
]
QUERIES = [
    {"_id": "q0", "text": "zero", "split": "fit"},
    {"_id": "q1", "text": "one", "split": "test"},
    {"_id": "q2", "text": "two", "split": "test"},
    {"_id": "unjudged", "text": "nobody knows", "split": "test"},
]
QRELS = "query-id\tcorpus-id\tscore\nq0\ta\t1\nq1\tb\t2\nq1\ta\t0\nq2\t3\t1\n"


def write(folder, documents=DOCUMENTS, queries=QUERIES, qrels=QRELS):
    (folder / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries))
    (folder / "qrels.tsv").write_text(qrels)
    return folder


def write_vectors(folder, n_documents=3, n_queries=4, dim=8):
    rng = np.random.default_rng(0)
    corpus = rng.standard_normal((n_documents, dim)).astype(np.float16)
    queries = rng.standard_normal((n_queries, dim)).astype(np.float32)
    np.save(folder / "corpus.f16.npy", corpus)
    np.save(folder / "queries.f32.npy", queries)
    return corpus, queries


def test_ready_vectors_and_the_test_split(tmp_path):
    corpus, queries = write_vectors(write(tmp_path))
    dataset = datasets.load(tmp_path)
    assert dataset.name == tmp_path.name
    assert dataset.split == "test"
    assert dataset.doc_ids == ["a", "b", "3"]
    assert dataset.texts == ["Alpha first", "second", "third"]
    assert dataset.query_ids == ["q1", "q2"]
    assert dataset.queries == ["one", "two"]
    assert dataset.qrels == {"q1": {"b": 2, "a": 0}, "q2": {"3": 1}}
    assert dataset.dim == 8
    assert dataset.corpus.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(dataset.corpus, axis=1), 1, rtol=1e-6)
    picked = queries[[1, 2]]
    expected = picked / np.linalg.norm(picked, axis=1, keepdims=True)
    np.testing.assert_allclose(dataset.query_vectors, expected, rtol=1e-6)
    cosines = (dataset.corpus * corpus.astype(np.float32)).sum(axis=1)
    np.testing.assert_allclose(cosines, np.linalg.norm(corpus.astype(np.float32), axis=1), rtol=1e-5)


@pytest.mark.parametrize(("split", "expected"), [("fit", ["q0"]), ("all", ["q0", "q1", "q2"])])
def test_a_split_can_be_named(tmp_path, split, expected):
    write_vectors(write(tmp_path))
    assert datasets.load(tmp_path, split).query_ids == expected


def test_sets_without_splits_are_used_as_a_whole(tmp_path):
    queries = [{"_id": q["_id"], "text": q["text"]} for q in QUERIES]
    write_vectors(write(tmp_path, queries=queries))
    dataset = datasets.load(tmp_path, "test")
    assert dataset.split == "all"
    assert dataset.query_ids == ["q0", "q1", "q2"]


def test_a_gzipped_corpus_is_read(tmp_path):
    write_vectors(write(tmp_path))
    plain = tmp_path / "corpus.jsonl"
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as file:
        file.write(plain.read_text())
    plain.unlink()
    assert datasets.load(tmp_path).doc_ids == ["a", "b", "3"]


def test_a_missing_split_names_those_there_are(tmp_path):
    write_vectors(write(tmp_path))
    with pytest.raises(InvalidInput, match=r"'dev'.*\['fit', 'test'\]"):
        datasets.load(tmp_path, "dev")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"corpus\.jsonl or corpus\.jsonl\.gz"):
        datasets.load(tmp_path)


def test_vectors_must_fit_the_texts(tmp_path):
    write_vectors(write(tmp_path), n_documents=2)
    with pytest.raises(InvalidInput, match=r"\(2, 8\) for 3 texts"):
        datasets.load(tmp_path)


def test_bad_lines_are_reported_with_their_number(tmp_path):
    write_vectors(write(tmp_path))
    with (tmp_path / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d"}\n')
    with pytest.raises(InvalidInput, match="line 4"):
        datasets.load(tmp_path)
    write(tmp_path, qrels=QRELS + "q2\tb\tmaybe\n")
    with pytest.raises(InvalidInput, match="line 6"):
        datasets.load(tmp_path)


def test_repeated_ids_are_refused(tmp_path):
    write_vectors(write(tmp_path, documents=[*DOCUMENTS[:2], DOCUMENTS[0]]))
    with pytest.raises(InvalidInput, match="1 ids appear more than once"):
        datasets.load(tmp_path)


def test_without_ready_vectors_texts_are_encoded_by_side(tmp_path):
    write(tmp_path)
    calls = []

    def encode(texts, side):
        calls.append((list(texts), side))
        return np.full((len(texts), 4), 2.0)

    dataset = datasets.load(tmp_path, encode=encode)
    assert [side for _, side in calls] == ["document", "query"]
    assert calls[0][0] == ["Alpha first", "second", "third"]
    np.testing.assert_array_equal(dataset.corpus, np.full((3, 4), 0.5, np.float32))
    with pytest.raises(InvalidInput, match="no encoder"):
        datasets.load(tmp_path)
