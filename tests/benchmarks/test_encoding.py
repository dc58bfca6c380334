"""The benchmark of encoders: what it counts as padding, which documents it takes, and a static table."""

import numpy as np
import pytest

from benchmarks.datasets import Dataset
from benchmarks.encoding import Cached, Option, padding, qualities, smaller
from benchmarks.encoding_options import STATIC_DIM, static_table


def test_padding_is_what_the_longest_of_a_batch_adds():
    lengths = np.array([1, 4, 2, 3])
    given, tokens = -np.arange(4), lengths
    assert padding(lengths, given, given, 4, 4) == 4 * 4 / 10
    assert padding(lengths, given, given, 4, 2) == (2 * 4 + 2 * 3) / 10
    assert padding(lengths, given, tokens, 4, 2) == (2 * 4 + 2 * 2) / 10
    # calls of two are made of a window first: of two texts as given, or of all four by tokens
    assert padding(lengths, given, tokens, 2, 2, 2) == (2 * 4 + 2 * 3) / 10
    assert padding(lengths, tokens, tokens, 4, 2, 2) == (2 * 4 + 2 * 2) / 10


def dataset(n=40, dim=8):
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((n, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names, queries = [f"d{i}" for i in range(n)], [f"q{i}" for i in range(5)]
    qrels = {query: {names[-1 - i]: 1, names[i]: 0} for i, query in enumerate(queries)}
    texts = [f"text {i}" for i in range(n)]
    return Dataset("set", "all", names, texts, queries, [f"query {i}" for i in range(5)], qrels, rows, rows[:-6:-1])


def test_the_relevant_documents_stay():
    small = smaller(dataset(), 10, 3)
    assert len(small.doc_ids) == len(small.corpus) == 10
    assert {"d39", "d38", "d37"} <= set(small.doc_ids)
    assert (len(small.queries), set(small.qrels)) == (3, {"q0", "q1", "q2"})
    assert smaller(dataset(), 1, 3).doc_ids == ["d37", "d38", "d39"]


def test_an_option_is_judged_beside_the_first(tmp_path):
    pytest.importorskip("pytrec_eval", reason="the quality group brings it")
    data = dataset()
    known = dict(zip(data.texts + data.queries, np.concatenate([data.corpus, data.query_vectors]), strict=True))

    def noise(texts):
        return np.random.default_rng(len(texts)).standard_normal((len(texts), 8))

    def exact(texts):
        return [known.get(text, np.eye(8)[0]) for text in texts]

    options = [Option("first", exact, 1), Option("same", exact, 1), Option("noise", noise, 1)]
    first, same, worse = qualities(data, options, tmp_path)
    assert (first.ndcg, first.recall, first.store_ndcg, first.store_recall) == (1, 1, 1, 1)
    assert (same.kept, same.kept_low, same.store_kept, same.codes) == (1, 1, 1, first.codes)
    assert worse.kept < 0.7
    assert len(list(tmp_path.glob("*.npy"))) == 2 + 2 * 4  # of the first, only the canaries are not known


def test_vectors_are_encoded_once_and_kept(tmp_path):
    calls = []

    def encode(texts):
        calls.append(texts)
        return np.ones((len(texts), 3))

    for _ in range(2):
        encoder = Cached(Option("name", encode, 1), tmp_path)
        encoder.learn(["a", "b"], "document")
        assert encoder.encode_document(["b"]).tolist() == [[1, 1, 1]]
    assert calls == [["a", "b"]]


def test_a_static_table_keeps_what_tokens_mean(minilm):
    ids = minilm.tokenizer.convert_tokens_to_ids(["river", "lake", "date"])
    table = static_table(minilm, max(ids) + 1)
    river, lake, date = (table[i] / np.linalg.norm(table[i]) for i in ids)
    assert table.shape == (max(ids) + 1, STATIC_DIM)
    assert river @ lake > river @ date + 0.1
