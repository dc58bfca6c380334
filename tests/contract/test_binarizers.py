"""What every binarizer has to do, whichever it is."""

from functools import cache

import msgpack
import numpy as np
import pytest
import reference
from fakes import lattice, vectors_of

import binrag.store  # noqa: F401  (registers all binarizers)
from binrag import registry
from binrag.binarizers import SignBinarizer
from binrag.indexes import FlatIndex
from binrag.ranking.rescore import rescore_codes
from binrag.store.space import BINARIZERS
from binrag.types import Codes, CodeShape, Query

IDS = sorted(registry._BINARIZERS)
CENTRED = [name for name in IDS if name != "row-levels"]
FITTED = [name for name in IDS if hasattr(registry._BINARIZERS[name], "fit")]
CASES = [
    *((name, dim, False) for name in IDS for dim in ((64, 100) if name in FITTED else (1, 2, 63, 64, 65, 127, 384))),
    *((name, dim, True) for name in CENTRED if name not in FITTED for dim in (1, 65, 384)),
]


@cache
def made(name, dim, with_mean=False):
    """A binarizer of one bit a dimension; fitted ones learn from vectors of unequal variances."""
    kind = registry._BINARIZERS[name]
    if name in FITTED:
        n_bytes = {"levels": -(-dim // 8), "lloyd-max": -(-dim // 8), "additive": 8 * (dim // 64) + dim // 16}
        code_bytes = n_bytes.get(name, 8 * -(-dim // 64)) + 2
        if name == "reduced":
            return kind.fit(corpus(4500, dim), lambda rows, queries: SignBinarizer(40), 40)
        return kind.fit(corpus(4500, dim), code_bytes=code_bytes, seed=1)
    if name not in CENTRED:
        return (kind.rotated if dim > 64 else kind)(dim, 1 + dim % 2)
    return kind(dim, mean=0.3 * vectors_of(1, dim, seed=11)[0] if with_mean else None)


def corpus(n, dim, seed=0):
    return vectors_of(n, dim, seed) / np.float32((1 + np.arange(dim)) ** 0.25)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}{'-centred' if case[2] else ''}")
def binarizer(request):
    return made(*request.param)


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)


def index_of(binarizer, vectors):
    return FlatIndex.from_codes(binarizer.transform(vectors), binarizer.shape.by_tables)


def test_shapes_and_types(binarizer):
    shape = binarizer.shape
    assert isinstance(shape, CodeShape)
    n_words, n_rest = shape.n_words, shape.n_rest
    assert binarizer.code_bytes == shape.code_bytes == 8 * n_words + n_rest + shape.n_rescale
    for n in (0, 1, 17):
        codes = binarizer.transform(vectors_of(n, binarizer.dim))
        assert isinstance(codes, Codes)
        assert (codes.words.shape, codes.words.dtype) == ((n, n_words), np.uint64)
        assert (codes.rest.shape, codes.rest.dtype) == ((n, n_rest), np.uint8)
        assert shape.n_rescale in (0, 2)
        if shape.n_rescale:
            assert (codes.rescale.shape, codes.rescale.dtype) == ((n,), np.float16)
        else:
            assert codes.rescale is None
        if not n_rest:
            padding = np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little")[:, binarizer.n_bits :]
            assert not padding.any()
    query = binarizer.query(vectors_of(1, binarizer.dim)[0])
    assert isinstance(query, Query)
    if shape.by_tables:
        assert query.words is None
        assert (query.costs.shape, query.costs.dtype) == ((2, 8 * n_words, 16), np.uint8)
    else:
        assert query.costs is None
        assert (query.words.shape, query.words.dtype) == ((n_words,), np.uint64)
    if shape.n_rescale:
        assert query.factors is None
    else:
        assert (query.factors.shape, query.factors.dtype) == ((256,), np.float32)
    assert (query.tables.shape, query.tables.dtype) == ((8 * n_words + n_rest, 256), np.float32)
    assert query.vector.shape == (binarizer.dim,)
    assert isinstance(query.offset, float)


def test_distances_of_the_scan_fit_16_bits(binarizer):
    for vector in (*vectors_of(5, binarizer.dim), *lattice(3, binarizer.dim)):
        costs = binarizer.query(vector).costs
        if costs is not None:
            largest = costs.max(axis=2).astype(int)
            assert largest.sum(axis=0).max() <= 255
            assert largest.sum() <= 65534


def test_a_scan_by_tables_adds_up_what_the_tables_say_of_the_words(binarizer):
    """The less a row costs, the more its words' bytes add to its score, but for steps."""
    query = binarizer.query(vectors_of(1, binarizer.dim, seed=3)[0])
    if query.costs is None or (binarizer.component_id, 8) == ("lloyd-max", getattr(binarizer, "width", 0)):
        return
    code = reference.bytes_of_words(binarizer.transform(vectors_of(200, binarizer.dim)).words)
    sums = query.tables[np.arange(code.shape[1]), code].sum(axis=1, dtype=float)
    costs = reference.table_distances(code, query.costs)
    step = np.ptp(sums) / max(np.ptp(costs), 1)
    assert np.abs(sums - sums.mean() + step * (costs - costs.mean())).max() < 1.5 * step * np.sqrt(2 * code.shape[1])


def test_a_row_alone_has_the_code_it_has_in_a_batch(binarizer):
    vectors = np.r_[vectors_of(40, binarizer.dim), lattice(10, binarizer.dim)]
    together = binarizer.transform(vectors)
    for row in range(len(vectors)):
        assert equal(binarizer.transform(vectors[row : row + 1]), together[row : row + 1])


def test_it_comes_back_from_the_bytes_of_its_record(binarizer):
    record = msgpack.unpackb(msgpack.packb(registry.record_of(binarizer)))
    again = registry.binarizer_from_record(record)
    assert type(again) is type(binarizer)
    for name in ("dim", "n_bits", "shape", "code_bytes"):
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
    index = index_of(binarizer, vectors)
    estimates = np.zeros((20, 400))
    for i, query in enumerate(binarizer.query(vector) for vector in queries):
        scored = rescore_codes(index.codes, index.rest, index.rescale, query, np.arange(400))
        estimates[i, scored.rows] = scored.scores
    assert np.corrcoef(estimates.ravel(), (queries @ vectors.T).ravel())[0, 1] > 0.6


@pytest.mark.parametrize("case", [case for case in CASES if case[1] > 60], ids=str)
def test_the_scan_finds_what_the_tables_rate_high(case):
    binarizer = made(*case)
    vectors, queries = corpus(1000, binarizer.dim, seed=1), corpus(20, binarizer.dim, seed=2)
    index = index_of(binarizer, vectors)
    n_found = 0
    for query in map(binarizer.query, queries):
        best = rescore_codes(index.codes, index.rest, index.rescale, query, np.arange(1000)).rows[:10]
        n_found += len(set(best.tolist()) & set(index.retrieve(query, 200).rows.tolist()))
    assert n_found > 150


def test_every_name_of_a_setting_makes_a_registered_binarizer():
    for name, make in BINARIZERS.items():
        assert make(70, 3).component_id in registry._BINARIZERS, name
