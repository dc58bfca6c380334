"""Bad input: an error that says what was got and what was expected; the store is as it was."""

import numpy as np
import pytest
from fakes import WordEncoder, ids_of, sentences

from binrag import (
    BinragError,
    DimensionMismatch,
    EncoderMismatch,
    InvalidInput,
    InvalidMetadata,
    InvalidVector,
    Store,
)
from binrag.types import BLOCK

DIM = 8
GOOD = np.ones(DIM)


def with_entry(value, at=3):
    vector = np.ones(DIM)
    vector[at] = value
    return vector


def raises_half_way():
    yield "first"
    raise InvalidInput("the source broke: got an end of file, expected a record")


ADDS = {
    "nothing": ({}, InvalidInput, ["neither texts nor vectors", "expected"]),
    "only ids": ({"ids": ["a"]}, InvalidInput, ["neither texts nor vectors"]),
    "a string of texts": ({"texts": "hello"}, InvalidInput, ["texts is a str", "expected a list"]),
    "bytes of texts": ({"texts": b"hello"}, InvalidInput, ["texts is a bytes", "expected a list"]),
    "a number of texts": ({"texts": 5}, InvalidInput, ["texts is a int", "expected a list"]),
    "a dict of texts": ({"texts": {"a": "text"}}, InvalidInput, ["texts is a dict", "expected a list"]),
    "a string of ids": ({"texts": ["x", "y"], "ids": "ab"}, InvalidInput, ["ids is a str", "expected a list"]),
    "one metadata": ({"texts": ["x"], "metadata": {"a": 1}}, InvalidInput, ["metadata is a dict", "expected a list"]),
    "empty text": ({"texts": ["fine", ""]}, InvalidInput, ["texts[1]", "empty", "needs text"]),
    "blank text": ({"texts": [" \n\t"]}, InvalidInput, ["texts[0]", "empty"]),
    "a text that is no text": ({"texts": ["fine", 7]}, InvalidInput, ["texts[1] is a int", "expected str"]),
    "bytes as a text": ({"texts": [b"x"]}, InvalidInput, ["texts[0] is a bytes", "expected str"]),
    "no text": ({"texts": [None]}, InvalidInput, ["texts[0] is a NoneType", "expected str"]),
    "broken unicode": ({"texts": ["a\ud800"]}, InvalidInput, ["texts[0]", "not valid Unicode"]),
    "an id that is no text": ({"texts": ["x"], "ids": [1]}, InvalidInput, ["ids[0] is a int", "expected str"]),
    "no id": ({"texts": ["x"], "ids": [None]}, InvalidInput, ["ids[0] is a NoneType", "expected str"]),
    "an empty id": ({"texts": ["x"], "ids": [""]}, InvalidInput, ["ids[0]", "empty", "non-empty"]),
    "a broken id": ({"texts": ["x"], "ids": ["\udfff"]}, InvalidInput, ["ids[0]", "not valid Unicode"]),
    "more ids": ({"texts": ["x"], "ids": ["a", "b"]}, InvalidInput, ["1 texts", "2 ids", "expected as many"]),
    "fewer metadata": ({"texts": ["x", "y"], "metadata": [{}]}, InvalidInput, ["2 texts", "1 metadata"]),
    "batch size 0": ({"texts": ["x"], "batch_size": 0}, InvalidInput, ["batch_size is 0", "at least 1"]),
    "batch size 1.5": ({"texts": ["x"], "batch_size": 1.5}, InvalidInput, ["batch_size is 1.5", "integer"]),
    "commit every 0": ({"texts": ["x"], "commit_every": 0}, InvalidInput, ["commit_every is 0", "at least 1"]),
    "commit every True": ({"texts": ["x"], "commit_every": True}, InvalidInput, ["commit_every is True"]),
    "metadata set": ({"texts": ["x"], "ids": ["q"], "metadata": [{"a": {"b": [1, {2}]}}]}, InvalidMetadata,
                     ["metadata of 'q'", "a.b[1] is a set", "expected"]),
    "metadata NaN": ({"texts": ["x"], "metadata": [{"a": float("nan")}]}, InvalidMetadata, ["a is nan", "finite"]),
    "metadata key": ({"texts": ["x"], "metadata": [{"a": {3: 1}}]}, InvalidMetadata, ["key 3 in a", "expected str"]),
    "metadata list": ({"texts": ["x"], "metadata": [["a"]]}, InvalidMetadata, ["is a list", "expected a dict"]),
    "wrong dimension": ({"vectors": [np.ones(9)]}, DimensionMismatch, ["has 9 dimensions", "have 8"]),
    "wrong dimension later": (
        {"vectors": iter([*np.ones((BLOCK, DIM)), np.ones(9)])},
        DimensionMismatch,
        ["has 9 dimensions", "have 8"],
    ),
    "ragged": ({"vectors": [np.ones(8), np.ones(7)]}, InvalidVector, ["all of one length", "(n, dim)"]),
    "NaN": ({"ids": ["a", "q"], "vectors": [GOOD, with_entry(np.nan)]}, InvalidVector,
            ["vector of 'q' has nan at dimension 3", "expected finite"]),
    "infinity": ({"ids": ["q"], "vectors": [with_entry(-np.inf)]}, InvalidVector, ["-inf at dimension 3"]),
    "too large for float32": ({"ids": ["q"], "vectors": [with_entry(1e300)]}, InvalidVector, ["inf at dimension 3"]),
    "zero": ({"ids": ["a", "q"], "vectors": [GOOD, np.zeros(DIM)]}, InvalidVector, ["vector of 'q'", "all zeros"]),
    "too small for float32": ({"vectors": [np.full(DIM, 1e-300)]}, InvalidVector, ["all zeros"]),
    "strings as vectors": ({"vectors": [["a"] * DIM]}, InvalidVector, ["dtype", "expected floating-point"]),
    "booleans as vectors": ({"vectors": np.ones((1, DIM), bool)}, InvalidVector, ["bool", "floating-point"]),
    "complex vectors": ({"vectors": np.ones((1, DIM), complex)}, InvalidVector, ["complex", "floating-point"]),
    "one vector": ({"vectors": GOOD}, InvalidVector, ["shape (8,)", "expected (n, dim)"]),
    "three axes": ({"vectors": np.ones((2, 3, DIM))}, InvalidVector, ["(2, 3, 8)", "expected (n, dim)"]),
    "no dimensions": ({"vectors": np.ones((2, 0))}, (DimensionMismatch, InvalidVector), ["0"]),
    "a number as vectors": ({"vectors": np.array(3.0)}, InvalidInput, ["vectors is a", "expected a list"]),
    "a string as vectors": ({"vectors": "12345678"}, InvalidInput, ["vectors is a str", "expected a list"]),
    "a source that breaks": ({"texts": raises_half_way}, InvalidInput, ["got an end of file"]),
}  # fmt: skip

CALLS = {
    "k = 0": (lambda s: s.search(GOOD, k=0), InvalidInput, ["k is 0", "at least 1"]),
    "k = -1": (lambda s: s.search(GOOD, k=-1), InvalidInput, ["k is -1", "at least 1"]),
    "k = True": (lambda s: s.search(GOOD, k=True), InvalidInput, ["k is True", "integer"]),
    "k = 2.0": (lambda s: s.search(GOOD, k=2.0), InvalidInput, ["k is 2.0", "integer"]),
    "k = '3'": (lambda s: s.search(GOOD, k="3"), InvalidInput, ["k is '3'", "integer"]),
    "k = None": (lambda s: s.search(GOOD, k=None), InvalidInput, ["k is None", "integer"]),
    "k = 0 of many": (lambda s: s.search_batch([GOOD], k=0), InvalidInput, ["k is 0"]),
    "k = 0 of none": (lambda s: s.search_batch([], k=0), InvalidInput, ["k is 0"]),
    "few candidates": (lambda s: s.search(GOOD, 5, n_candidates=4), InvalidInput, ["n_candidates is 4", "k = 5"]),
    "no candidates": (lambda s: s.search(GOOD, 5, n_candidates=0), InvalidInput, ["n_candidates is 0", "at least"]),
    "candidates = True": (lambda s: s.search(GOOD, 1, n_candidates=True), InvalidInput, ["n_candidates is True"]),
    "empty query": (lambda s: s.search(""), InvalidInput, ["query", "empty", "expected text"]),
    "blank query": (lambda s: s.search_batch(["fine", "  "]), InvalidInput, ["query", "empty"]),
    "broken query": (lambda s: s.search("a\ud800"), InvalidInput, ["quer", "not valid Unicode"]),
    "short query vector": (lambda s: s.search(np.ones(7)), DimensionMismatch, ["query vector has 7", "have 8"]),
    "NaN query": (lambda s: s.search(with_entry(np.nan)), InvalidVector, ["query vector has nan at dimension 3"]),
    "infinite query": (lambda s: s.search(with_entry(np.inf)), InvalidVector, ["query vector has inf"]),
    "zero query": (lambda s: s.search(np.zeros(DIM)), InvalidVector, ["query vector is all zeros"]),
    "matrix as a query": (lambda s: s.search(np.ones((2, DIM))), InvalidVector, ["2, 8)", "expected"]),
    "ragged query": (lambda s: s.search([[1.0, 2.0], [3.0]]), InvalidVector, ["expected"]),
    "no query": (lambda s: s.search(None), (InvalidVector, InvalidInput), ["expected"]),
    "number as a query": (lambda s: s.search(3), (InvalidVector, InvalidInput), ["expected"]),
    "dict as a query": (lambda s: s.search({"a": 1}), (InvalidVector, InvalidInput), ["expected"]),
    "list of a text as a query": (lambda s: s.search(["text"]), (InvalidVector, InvalidInput), ["expected"]),
    "one text as queries": (lambda s: s.search_batch("text"), InvalidInput, ["'text'", "expected a list"]),
    "number as queries": (lambda s: s.search_batch(3), InvalidInput, ["3", "expected a list"]),
    "None as queries": (lambda s: s.search_batch(None), InvalidInput, ["None", "expected a list"]),
    "mixed queries": (lambda s: s.search_batch(["text", 3]), InvalidInput, ["queries[1] is a int", "expected str"]),
    "vector, then text": (lambda s: s.search_batch([GOOD, "text"]), (InvalidVector, InvalidInput), ["expected"]),
    "NaN among queries": (lambda s: s.search_batch([GOOD, with_entry(np.nan)]), InvalidVector, ["query vector 1"]),
    "get a string": (lambda s: s.get("id1"), InvalidInput, ["ids is 'id1'", "expected a list"]),
    "get a number": (lambda s: s.get(5), InvalidInput, ["ids is 5", "expected a list"]),
    "get numbers": (lambda s: s.get(["a", 5]), InvalidInput, ["ids[1] is a int", "expected str"]),
    "delete a string": (lambda s: s.delete("id1"), InvalidInput, ["ids is 'id1'", "expected a list"]),
    "delete None": (lambda s: s.delete(None), InvalidInput, ["neither ids nor where"]),
    "delete numbers": (lambda s: s.delete(["id1", 5]), InvalidInput, ["ids[1] is a int", "expected str"]),
}  # fmt: skip


@pytest.fixture
def filled(path):
    with Store.open(path, encoder=WordEncoder(DIM)) as store:
        store.add(sentences(20), ids=[f"id{i}" for i in range(20)])
        yield store


def state(store):
    return store.info(), list(store.iter()), store.search("river", k=50), store.search(GOOD, k=3)


def check(store, call, error, fragments):
    before = state(store)
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, BinragError)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert state(store) == before
    with Store.open(store.path, "r", encoder=WordEncoder(DIM)) as other:
        assert state(other) == before
    store.add(["still works"], ids=["new"])
    assert ids_of(store.search("still works", k=1)) == ["new"]


@pytest.mark.parametrize("name", ADDS)
def test_adding(filled, name):
    given, error, fragments = ADDS[name]
    given = {key: value() if callable(value) else value for key, value in given.items()}
    check(filled, lambda: filled.add(**given), error, fragments)


@pytest.mark.parametrize("name", CALLS)
def test_calling(filled, name):
    call, error, fragments = CALLS[name]
    check(filled, lambda: call(filled), error, fragments)


@pytest.mark.parametrize("name", ADDS)
def test_a_new_store_takes_no_dimension_from_what_it_refuses(path, name):
    given, error, _ = ADDS[name]
    if error is DimensionMismatch:
        pytest.skip("nothing to mismatch in a new store")
    given = {key: value() if callable(value) else value for key, value in given.items()}
    with Store.open(path, encoder=WordEncoder(DIM)) as store:
        with pytest.raises(BinragError):
            store.add(**given)
        assert (store.info().dim, store.info().generation) == (None, 0)
        store.add(vectors=np.eye(5))
        assert store.info().dim == 5


def test_too_many_dimensions(path):
    with Store.open(path) as store:
        with pytest.raises(InvalidInput, match=r"4097.* 4096"):
            store.add(vectors=np.ones((1, 4097)))
        assert store.info().dim is None
        store.add(vectors=np.ones((1, 4096)))
        assert len(store.search(np.ones(4096))) == 1


def test_text_without_an_encoder(path):
    with Store.open(path) as store:
        for call in (lambda: store.add(["text"]), lambda: store.search("text"), lambda: store.search_batch(["text"])):
            with pytest.raises(EncoderMismatch, match=r"opened without an encoder .*encoder=…, or give vectors"):
                call()
        store.add(["text"], vectors=[GOOD])
        with pytest.raises(EncoderMismatch, match="its vectors were given, not encoded"):
            store.search("text")
        assert len(store.search(GOOD)) == 1
    with Store.open(path, encoder=WordEncoder(DIM)) as store:
        store.add(["text"])
    with Store.open(path) as store, pytest.raises(EncoderMismatch, match="its vectors are of 'words'"):
        store.search("text")


def test_norms_out_of_range_for_the_dot_product(path):
    with Store.open(path, encoder=WordEncoder(DIM, similarity="dot"), dim=DIM) as store:
        store.add(["fine"])
        for scale, word in ((1e6, "large"), (1e-7, "small")):
            with pytest.raises(InvalidVector, match=f"too {word} for a float16"):
                store.add(vectors=[GOOD, GOOD * scale])
        assert store.count() == 1
        assert len(store.search("fine")) == 1
