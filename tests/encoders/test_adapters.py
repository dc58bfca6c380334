"""What counts as an encoder, and what the adapters call."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes import WordEncoder, length_encoder

from binrag import SentenceEncoder, Store
from binrag.encoders import CallableEncoder, EmbeddingsEncoder, resolve_encoder
from binrag.errors import InvalidInput


class Embeddings:
    """Shaped like LangChain's embeddings; the two sides differ."""

    def __init__(self, **attributes):
        self.calls = []
        self.__dict__.update(attributes)

    def embed_documents(self, texts):
        self.calls.append(("documents", list(texts)))
        return [[1.0, float(len(text)), 0.0] for text in texts]

    def embed_query(self, text):
        self.calls.append(("query", text))
        return [1.0, 0.0, float(len(text))]


class CallableObject:
    def __call__(self, texts):
        return np.ones((len(texts), 2))


def test_none_means_vectors_only():
    assert resolve_encoder(None) is None


@pytest.mark.parametrize("given", ["some/model", Path("some/model")])
def test_a_name_or_a_folder_is_a_model_that_is_not_loaded_yet(given):
    encoder = resolve_encoder(given)
    assert isinstance(encoder, SentenceEncoder)
    assert encoder.encoder_id == str(Path("some/model"))


def test_an_encoder_is_taken_as_it_is():
    encoder = WordEncoder()
    assert resolve_encoder(encoder) is encoder


def test_embeddings_use_both_sides():
    embeddings = Embeddings()
    encoder = resolve_encoder(embeddings)
    assert isinstance(encoder, EmbeddingsEncoder)
    assert encoder.similarity == "cosine"
    assert encoder.encode_document(["a", "bb"]) == [[1, 1, 0], [1, 2, 0]]
    assert encoder.encode_query(["ccc"]) == [[1, 0, 3]]
    assert embeddings.calls == [("documents", ["a", "bb"]), ("query", "ccc")]
    assert encoder.count_truncated(["x"]) == 0


class Llama:
    """Shaped like LlamaIndex's embeddings, which can be called too, for something else."""

    def get_text_embedding_batch(self, texts):
        return [[1.0, float(len(text))] for text in texts]

    def get_query_embedding(self, text):
        return [float(len(text)), 1.0]

    def __call__(self, nodes):
        raise AssertionError("called")


def test_llama_index_embeddings_use_both_sides():
    encoder = resolve_encoder(Llama())
    assert encoder.encode_document(["a", "bb"]) == [[1, 1], [1, 2]]
    assert encoder.encode_query(["ccc"]) == [[3, 1]]
    assert encoder.encoder_id == "embeddings:test_adapters.Llama"


def test_a_real_llama_index_embedding(path):
    llama_index = pytest.importorskip("llama_index.core", reason="the frameworks group brings it")
    with Store.open(path, encoder=llama_index.MockEmbedding(embed_dim=8)) as store:
        store.add(["one", "two"])
        assert len(store.search("one")) == 2
        assert store.info().dim == 8


@pytest.mark.parametrize(
    ("attributes", "ending"),
    [({}, "Embeddings"), ({"model": "m1"}, "Embeddings:m1"), ({"model_name": "m2"}, "Embeddings:m2")],
)
def test_the_name_of_embeddings_says_their_model(attributes, ending):
    name = resolve_encoder(Embeddings(**attributes)).encoder_id
    assert name.startswith("embeddings:")
    assert name.endswith(ending)


def test_a_callable_serves_both_sides():
    encoder = resolve_encoder(length_encoder)
    assert isinstance(encoder, CallableEncoder)
    assert encoder.encoder_id == "callable:fakes.length_encoder"
    assert np.array_equal(encoder.encode_query(["a"]), encoder.encode_document(["a"]))
    assert encoder.count_truncated(["x" * 10**6]) == 0


@pytest.mark.parametrize("given", [CallableObject(), partial(length_encoder), lambda texts: np.ones((len(texts), 2))])
def test_anything_callable(given, tmp_path):
    assert resolve_encoder(given).encoder_id.startswith("callable:")
    with Store.open(tmp_path / "s", encoder=given) as store:
        store.add(["a"])
        assert store.info().encoder == resolve_encoder(given).encoder_id


@pytest.mark.parametrize("given", [5, 1.5, [], {"a": 1}, b"name", object()])
def test_nonsense_is_refused(given, path):
    with pytest.raises(InvalidInput, match=f"encoder is an? {type(given).__name__}; expected a model name or folder"):
        Store.open(path, encoder=given)
    assert not path.exists(), "a call that failed made a store"


def test_langchain_embeddings(tmp_path):
    langchain = pytest.importorskip("langchain_core.embeddings", reason="the frameworks group brings it")
    fake = langchain.DeterministicFakeEmbedding(size=16)
    with Store.open(tmp_path / "s", encoder=fake) as store:
        store.add(["one", "two", "three"], ids=["1", "2", "3"])
        assert store.search("two", k=1)[0].id == "2"
        assert store.info().encoder.startswith("embeddings:langchain_core.")
