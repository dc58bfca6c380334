"""What every binarizer has to do, whichever it is."""

import msgpack
import numpy as np
import pytest
from fakes import lattice, vectors_of

from binrag import registry
from binrag.store.space import BINARIZERS
from binrag.types import Codes, Query

DIMS = (1, 2, 63, 64, 65, 127, 384)


def made(component_id, dim, with_mean):
    kind = registry._BINARIZERS[component_id]
    return kind(dim, mean=0.3 * vectors_of(1, dim, seed=11)[0] if with_mean else None)


@pytest.fixture(params=sorted(registry._BINARIZERS))
def component_id(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["plain", "centred"])
def with_mean(request):
    return request.param


@pytest.mark.parametrize("dim", DIMS)
def test_shapes_and_types(component_id, with_mean, dim):
    binarizer = made(component_id, dim, with_mean)
    n_words = -(-binarizer.n_bits // 64)
    for n in (0, 1, 17):
        codes = binarizer.transform(vectors_of(n, dim))
        assert isinstance(codes, Codes)
        assert (codes.words.shape, codes.words.dtype) == ((n, n_words), np.uint64)
        assert (codes.rescale.shape, codes.rescale.dtype) == ((n,), np.float16)
        padding = np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little")[:, binarizer.n_bits :]
        assert not padding.any()
    query = binarizer.query(vectors_of(1, dim)[0])
    assert isinstance(query, Query)
    assert (query.words.shape, query.words.dtype) == ((n_words,), np.uint64)
    assert (query.weights.shape, query.weights.dtype) == ((binarizer.n_bits,), np.float32)
    assert query.vector.shape == (dim,)


@pytest.mark.parametrize("dim", DIMS)
def test_a_row_alone_has_the_code_it_has_in_a_batch(component_id, with_mean, dim):
    binarizer = made(component_id, dim, with_mean)
    vectors = np.r_[vectors_of(40, dim), lattice(10, dim)]
    together = binarizer.transform(vectors)
    for row in range(len(vectors)):
        alone = binarizer.transform(vectors[row : row + 1])
        assert np.array_equal(alone.words[0], together.words[row])
        assert alone.rescale[0] == together.rescale[row]


@pytest.mark.parametrize("dim", DIMS)
def test_it_comes_back_from_the_bytes_of_its_record(component_id, with_mean, dim):
    binarizer = made(component_id, dim, with_mean)
    record = msgpack.unpackb(msgpack.packb(registry.record_of(binarizer)))
    again = registry.binarizer_from_record(record)
    assert type(again) is type(binarizer)
    assert (again.dim, again.n_bits) == (binarizer.dim, binarizer.n_bits)
    vectors = vectors_of(50, dim)
    before, after = binarizer.transform(vectors), again.transform(vectors)
    assert np.array_equal(before.words, after.words)
    assert np.array_equal(before.rescale, after.rescale)
    for vector in vectors[:3]:
        before, after = binarizer.query(vector), again.query(vector)
        assert np.array_equal(before.words, after.words)
        assert np.array_equal(before.weights, after.weights)
        assert before.offset == after.offset
    assert registry.record_of(again) == registry.record_of(binarizer)


def test_inputs_are_left_alone(component_id, with_mean):
    binarizer = made(component_id, 65, with_mean)
    vectors = vectors_of(9, 65)
    before = vectors.copy()
    binarizer.transform(vectors)
    binarizer.query(vectors[0])
    assert np.array_equal(vectors, before)


def test_estimates_follow_inner_products(component_id, with_mean):
    """A correlation, over many pairs, that only a decoder of the right bits reaches."""
    dim = 256
    binarizer = made(component_id, dim, with_mean)
    vectors, queries = vectors_of(400, dim, seed=1), vectors_of(20, dim, seed=2)
    codes = binarizer.transform(vectors)
    bits = np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little")[:, : binarizer.n_bits]
    prepared = [binarizer.query(query) for query in queries]
    weights = np.stack([query.weights for query in prepared])
    estimates = codes.rescale.astype(float) * (weights @ np.where(bits, 1.0, -1.0).T)
    estimates += np.array([[query.offset] for query in prepared])
    assert np.corrcoef(estimates.ravel(), (queries @ vectors.T).ravel())[0, 1] > 0.75


def test_every_name_of_a_setting_makes_a_registered_binarizer():
    for name, make in BINARIZERS.items():
        assert make(70, 3).component_id in registry._BINARIZERS, name
