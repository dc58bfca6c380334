"""What every encoder has to do, whichever it is."""

import numpy as np
import pytest
from fakes import WordEncoder, length_encoder, sentences

from binrag import Store
from binrag.encoders import resolve_encoder


class Embeddings:
    def embed_documents(self, texts):
        return length_encoder(texts).tolist()

    def embed_query(self, text):
        return length_encoder([text])[0].tolist()


def made(name, request):
    if name == "model":
        return request.getfixturevalue("minilm")
    return {"callable": length_encoder, "embeddings": Embeddings(), "object": WordEncoder()}[name]


@pytest.fixture(params=["callable", "embeddings", "object", "model"])
def given(request):
    return made(request.param, request)


@pytest.fixture
def contract_encoder(given):
    return resolve_encoder(given)


def test_it_has_a_name_and_a_similarity(contract_encoder):
    assert isinstance(contract_encoder.encoder_id, str)
    assert contract_encoder.encoder_id
    assert contract_encoder.similarity in ("cosine", "dot")


def test_one_vector_a_text_on_both_sides(contract_encoder):
    texts = sentences(7)
    documents = np.asarray(contract_encoder.encode_document(texts))
    queries = np.asarray(contract_encoder.encode_query(texts))
    assert documents.shape == queries.shape
    assert len(documents) == 7
    assert np.isfinite(documents).all()


def test_the_same_text_gets_the_same_vector(contract_encoder):
    texts = sentences(3)
    for encode in (contract_encoder.encode_document, contract_encoder.encode_query):
        assert np.asarray(encode(texts)) == pytest.approx(np.asarray(encode(texts)), abs=1e-6)


def test_short_texts_are_not_truncated(contract_encoder):
    assert contract_encoder.count_truncated(sentences(5)) == 0


def test_a_store_finds_with_it_what_it_stored_with_it(given, path):
    texts = sentences(30)
    with Store.open(path, encoder=given) as store:
        store.add(texts, ids=texts)
    with Store.open(path, encoder=given) as store:
        for text in texts[:5]:
            assert store.search(text, k=1)[0].id == text
