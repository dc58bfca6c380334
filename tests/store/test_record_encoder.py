"""Vectors that were given, and the encoder that made them."""

import numpy as np
import pytest
from fakes import WordEncoder, sentences, vectors_of

from binrag import EncoderMismatch, ReadOnlyStore, Store, UnsupportedMode, VectorsUnavailable

TEXTS = sentences(60)


def vectors_by(encoder):
    return encoder.encode_document(TEXTS)


@pytest.fixture(params=["int8", "none"])
def given(request, path):
    """A store with texts and the vectors of an encoder that it was not told of."""
    with Store.open(path, keep_vectors=request.param) as store:
        store.add(TEXTS[:30], vectors=3 * vectors_by(WordEncoder())[:30])
        store.add([None, *TEXTS[31:]], vectors=vectors_by(WordEncoder())[30:], tenant="acme")
    return path


def test_the_encoder_that_made_the_vectors_is_recorded(given):
    with Store.open(given, encoder=WordEncoder()) as store:
        assert store.info().encoder is None
        store.record_encoder()
        assert store.info().encoder == "words"
        store.record_encoder()  # again is no error
        assert store.search(TEXTS[3], 1)[0].text == TEXTS[3]
    with Store.open(given, encoder=WordEncoder(seed=5, name="other")) as store:
        with pytest.raises(EncoderMismatch, match="words"):
            store.search(TEXTS[3])
        with pytest.raises(EncoderMismatch, match="words"):
            store.record_encoder()


@pytest.mark.parametrize("encoder", [WordEncoder(seed=5, name="other"), WordEncoder(dim=16), None])
def test_another_encoder_is_refused(given, encoder):
    with Store.open(given, encoder=encoder) as store:
        with pytest.raises(EncoderMismatch):
            store.record_encoder()
        assert store.info().encoder is None


def test_one_vector_of_another_kind_is_found(path):
    vectors = vectors_by(WordEncoder())[:20]
    vectors[13] = vectors_of(1, vectors.shape[1])
    with Store.open(path, encoder=WordEncoder()) as store:
        store.add(TEXTS[:20], ids=[f"id{i}" for i in range(20)], vectors=vectors)
        with pytest.raises(EncoderMismatch, match="'id13'"):
            store.record_encoder()


def test_before_the_first_vector(path, minilm):
    """Then "auto" takes the codes that come with binrag for this encoder."""
    with Store.open(path, encoder=minilm) as store:
        store.record_encoder()
        store.add(["one", "two"], vectors=np.eye(384)[:2])
        assert (store.info().binarizer, store.info().code_bytes) == ("additive", 96)


def test_inside_a_transaction(path):
    with Store.open(path, encoder=WordEncoder()) as store:
        with pytest.raises(RuntimeError), store.transaction():
            store.record_encoder()
            raise RuntimeError
        assert store.info().encoder is None
        with store.transaction():
            store.add(TEXTS, vectors=vectors_by(WordEncoder()))
            store.record_encoder()
        assert store.info().encoder == "words"


def test_vectors_without_texts_cannot_be_told(path):
    with Store.open(path, encoder=WordEncoder()) as store:
        store.add(vectors=vectors_by(WordEncoder()))
        with pytest.raises(VectorsUnavailable, match="text"):
            store.record_encoder()


def test_who_may_not(given):
    with Store.open(given, "r", encoder=WordEncoder()) as store, pytest.raises(ReadOnlyStore):
        store.record_encoder()
    with Store.open(given, encoder=WordEncoder(), tenant="acme") as store, pytest.raises(UnsupportedMode):
        store.record_encoder()
