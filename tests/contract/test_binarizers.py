"""What every binarizer has to do, whichever it is."""

from functools import cache

import msgpack
import numpy as np
import pytest
from fakes import lattice, vectors_of

import binrag.store  # noqa: F401  (registers all binarizers)
from binrag import registry
from binrag.binarizers import SignBinarizer
from binrag.indexes import FlatIndex
from binrag.ranking.rescore import rescore_codes
from binrag.store.space import BINARIZERS
from binrag.types import Codes, Query

IDS = sorted(registry._BINARIZERS)
FITTED = [name for name in IDS if hasattr(registry._BINARIZERS[name], "fit")]
CASES = [
    *((name, dim, False) for name in IDS for dim in ((64, 100) if name in FITTED else (1, 2, 63, 64, 65, 127, 384))),
    *((name, dim, True) for name in IDS if name not in FITTED for dim in (1, 65, 384)),
]


@cache
def made(name, dim, with_mean=False):
    """A binarizer of one bit a dimension; fitted ones learn from vectors of unequal variances."""
    kind = registry._BINARIZERS[name]
    if name in FITTED:
        n_bytes = {"levels": -(-dim // 8), "lloyd-max": -(-dim // 8), "additive": 8 * (dim // 64) + 8}
        code_bytes = n_bytes.get(name, 8 * -(-dim // 64)) + 2
        if name == "reduced":
            return kind.fit(corpus(4500, dim), lambda rows, queries: SignBinarizer(40), 40)
        return kind.fit(corpus(4500, dim), code_bytes=code_bytes, seed=1)
    return kind(dim, mean=0.3 * vectors_of(1, dim, seed=11)[0] if with_mean else None)


def corpus(n, dim, seed=0):
    return vectors_of(n, dim, seed) / np.float32((1 + np.arange(dim)) ** 0.25)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}{'-centred' if case[2] else ''}")
def binarizer(request):
    return made(*request.param)


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)


def test_shapes_and_types(binarizer):
    n_words, n_rest = binarizer.n_words, binarizer.n_rest
    assert binarizer.code_bytes == 8 * n_words + n_rest + 2
    for n in (0, 1, 17):
        codes = binarizer.transform(vectors_of(n, binarizer.dim))
        assert isinstance(codes, Codes)
        assert (codes.words.shape, codes.words.dtype) == ((n, n_words), np.uint64)
        assert (codes.rest.shape, codes.rest.dtype) == ((n, n_rest), np.uint8)
        assert (codes.rescale.shape, codes.rescale.dtype) == ((n,), np.float16)
        if not n_rest:
            padding = np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little")[:, binarizer.n_bits :]
            assert not padding.any()
    query = binarizer.query(vectors_of(1, binarizer.dim)[0])
    assert isinstance(query, Query)
    assert (query.planes.shape[1:], query.planes.dtype) == ((n_words,), np.uint64)
    assert (query.tables.shape, query.tables.dtype) == ((8 * n_words + n_rest, 256), np.float32)
    assert query.vector.shape == (binarizer.dim,)
    assert isinstance(query.offset, float)


def test_distances_of_the_scan_fit_16_bits(binarizer):
    for vector in (*vectors_of(5, binarizer.dim), *lattice(3, binarizer.dim)):
        query = binarizer.query(vector)
        if query.scales is None:
            assert len(query.planes) == 1
        else:
            assert (query.scales.shape, query.scales.dtype) == ((binarizer.n_words,), np.int32)
            assert query.scales.min() >= 0
            assert 64 * (2 ** len(query.planes) - 1) * int(query.scales.sum()) <= 65535


def test_a_row_alone_has_the_code_it_has_in_a_batch(binarizer):
    vectors = np.r_[vectors_of(40, binarizer.dim), lattice(10, binarizer.dim)]
    together = binarizer.transform(vectors)
    for row in range(len(vectors)):
        assert equal(binarizer.transform(vectors[row : row + 1]), together[row : row + 1])


def test_it_comes_back_from_the_bytes_of_its_record(binarizer):
    record = msgpack.unpackb(msgpack.packb(registry.record_of(binarizer)))
    again = registry.binarizer_from_record(record)
    assert type(again) is type(binarizer)
    for name in ("dim", "n_bits", "n_words", "n_rest"):
        assert getattr(again, name) == getattr(binarizer, name)
    vectors = vectors_of(50, binarizer.dim)
    assert equal(binarizer.transform(vectors), again.transform(vectors))
    for vector in vectors[:3]:
        assert equal(binarizer.query(vector), again.query(vector))
    assert registry.record_of(again) == registry.record_of(binarizer)


def test_inputs_are_left_alone(binarizer):
    vectors = vectors_of(9, binarizer.dim)
    before = vectors.copy()
    binarizer.transform(vectors)
    binarizer.query(vectors[0])
    assert np.array_equal(vectors, before)


@pytest.mark.parametrize("case", [case for case in CASES if case[1] > 60], ids=str)
def test_estimates_follow_inner_products(case):
    """A correlation, over many pairs, that only tables of the right bytes reach."""
    binarizer = made(*case)
    vectors, queries = corpus(400, binarizer.dim, seed=1), corpus(20, binarizer.dim, seed=2)
    index = FlatIndex.from_codes(binarizer.transform(vectors))
    estimates = np.zeros((20, 400))
    for i, query in enumerate(binarizer.query(vector) for vector in queries):
        scored = rescore_codes(index.words, index.rest, index.rescale, query, np.arange(400))
        estimates[i, scored.rows] = scored.scores
    assert np.corrcoef(estimates.ravel(), (queries @ vectors.T).ravel())[0, 1] > 0.6


@pytest.mark.parametrize("case", [case for case in CASES if case[1] > 60], ids=str)
def test_the_scan_finds_what_the_tables_rate_high(case):
    binarizer = made(*case)
    vectors, queries = corpus(1000, binarizer.dim, seed=1), corpus(20, binarizer.dim, seed=2)
    index = FlatIndex.from_codes(binarizer.transform(vectors))
    n_found = 0
    for query in map(binarizer.query, queries):
        best = rescore_codes(index.words, index.rest, index.rescale, query, np.arange(1000)).rows[:10]
        n_found += len(set(best.tolist()) & set(index.retrieve(query, 200).rows.tolist()))
    assert n_found > 150


def test_every_name_of_a_setting_makes_a_registered_binarizer():
    for name, make in BINARIZERS.items():
        assert make(70, 3).component_id in registry._BINARIZERS, name
