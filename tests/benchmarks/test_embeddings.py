import numpy as np
import pytest

from benchmarks import embeddings
from binrag.errors import MissingDependency


class CountingEncoder:
    n_made = 0
    n_encoded = 0

    encoder_id = "counting"

    def __init__(self, model):
        type(self).n_made += 1

    def encode_document(self, texts):
        type(self).n_encoded += len(texts)
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)

    def encode_query(self, texts):
        return -self.encode_document(texts)


def test_the_cache_is_keyed_by_model_side_and_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "_open_encoder", CountingEncoder)
    monkeypatch.setattr(CountingEncoder, "n_made", 0)
    monkeypatch.setattr(CountingEncoder, "n_encoded", 0)
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"one")
    cache = tmp_path / "cache"

    def encode(texts, side, name=str(model)):
        return embeddings.cached_encoder(name, cache)(texts, side)

    first = encode(["x", "yy"], "document")
    np.testing.assert_array_equal(first, [[1, 1], [2, 1]])
    np.testing.assert_array_equal(encode(["x", "yy"], "document"), first)
    assert (CountingEncoder.n_made, CountingEncoder.n_encoded) == (1, 2)
    np.testing.assert_array_equal(encode(["x", "yy"], "query"), -first)
    encode(["xy", "y"], "document")
    assert CountingEncoder.n_encoded == 6
    encode(["x", "yy"], "document", "another-model")
    (model / "weights").write_bytes(b"two")
    encode(["x", "yy"], "document")
    assert CountingEncoder.n_encoded == 10
    assert len(list(cache.iterdir())) == 5


def test_without_a_model_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "DEFAULT_ENCODER_PACKAGE", "no_such_package_here")
    with pytest.raises(MissingDependency, match="--encoder"):
        embeddings.cached_encoder(None, tmp_path)(["x"], "document")
