"""Linear-decoder codes, compact and nested."""

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of
from test_itq import correlated

from binrag.binarizers.allocated import AllocatedBinarizer
from binrag.binarizers.itq import ItqBinarizer
from binrag.binarizers.linear import N_SWEEPS, LinearBinarizer
from binrag.errors import DimensionMismatch, InvalidInput, InvalidVector, TrainingError
from binrag.registry import binarizer_from_record, record_of

CASES = [(64, 10, "compact"), (64, 13, "compact"), (100, 18, "compact"), (64, 19, "nested"), (100, 26, "nested")]


@pytest.fixture(params=CASES, ids=str, scope="module")
def fitted(request):
    dim, code_bytes, shape = request.param
    rows, queries = correlated(2000, dim), correlated(300, dim, seed=8)
    return LinearBinarizer.fit(rows, code_bytes=code_bytes, queries=queries, shape=shape, n_rounds=5)


def test_shapes(fitted):
    nested = fitted.rotation is not None
    n_words = fitted.dim // 64 if nested else (fitted.code_bytes - 2) // 8
    codes = fitted.transform(correlated(5, fitted.dim, seed=1))
    assert (codes.words.shape, codes.rest.shape) == ((5, n_words), (5, fitted.code_bytes - 2 - 8 * n_words))
    query = fitted.query(correlated(1, fitted.dim, seed=1)[0])
    assert (query.costs is None) == nested == (query.words is not None) == (not fitted.shape.by_tables)


def test_scores_are_those_of_the_decoder(fitted):
    rows, query = correlated(50, fitted.dim, seed=1), vectors_of(1, fitted.dim, seed=2)[0]
    codes = fitted.transform(rows)
    root, weights = fitted.root.astype(float), fitted.weights.astype(float)
    y = (rows.astype(float) - fitted.mean) @ root
    offset = float(query.astype(float) @ fitted.mean)
    signs = reference.code_signs(codes, fitted.n_bits)
    expected = reference.linear_scores(y, signs, (root @ weights).T, query @ weights, offset)
    assert reference.decoded_scores(codes, fitted.query(query)) == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_no_single_bit_would_lower_the_cost(fitted):
    """Of the free bits; those of a row that used up its sweeps may."""
    rows = correlated(100, fitted.dim, seed=1)
    signs = reference.code_signs(fitted.transform(rows), fitted.n_bits)
    decoder = fitted.root.astype(float) @ fitted.weights
    y = (rows.astype(float) - fitted.mean) @ fitted.root
    left = y - signs @ decoder.T
    gains = 4 * (signs * (left @ decoder)) + 4 * (decoder**2).sum(axis=0)  # the change of cost by flipping each bit
    n_signs = 0 if fitted.rotation is None else fitted.rotation.shape[1]
    assert (gains[:, n_signs:] > -1e-5 * (y**2).sum(axis=1, keepdims=True)).all(axis=1).mean() > 0.95


def test_codes_are_those_of_coordinate_descent_from_nothing():
    binarizer = LinearBinarizer.fit(correlated(500, 64), code_bytes=10, n_rounds=2)
    rows = correlated(30, 64, seed=1)
    decoder = (binarizer.root.astype(float) @ binarizer.weights).T
    y = (rows.astype(float) - binarizer.mean) @ binarizer.root
    expected = np.array([reference.descended(row, decoder, N_SWEEPS) for row in y])
    equal = (reference.code_signs(binarizer.transform(rows), 64) == expected).all(axis=1)
    assert equal.mean() > 0.9  # what float32 rounds may turn a bit


def test_free_bits_are_in_the_order_of_their_length(fitted):
    lengths = np.linalg.norm(fitted.root @ fitted.weights, axis=0)
    n_signs = 0 if fitted.rotation is None else fitted.rotation.shape[1]
    assert (np.diff(lengths[n_signs:]) <= 1e-5).all()


def test_the_words_of_nested_codes_are_itq_signs():
    rows = correlated(1000, 64)
    nested = LinearBinarizer.fit(rows, code_bytes=20, shape="nested", n_rounds=2, seed=5)
    itq = ItqBinarizer.fit(rows, code_bytes=10, seed=5)
    assert np.array_equal(nested.transform(rows).words, itq.transform(rows).words)
    assert np.array_equal(nested.query(rows[3]).words, itq.query(rows[3]).words)


def test_rounds_lower_the_error_of_rows_not_seen():
    rows, unseen = correlated(4000, 64), correlated(1000, 64, seed=6)

    def error(binarizer):
        signs = reference.code_signs(binarizer.transform(unseen), binarizer.n_bits)
        left = (unseen - binarizer.mean) @ binarizer.root - signs @ (binarizer.root @ binarizer.weights).T
        return (left**2).mean()

    errors = [error(LinearBinarizer.fit(rows, code_bytes=14, n_rounds=n)) for n in (1, 4, 12)]
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] <= errors[1]


def test_it_finds_more_than_levels_on_principal_axes():
    rows, queries = correlated(3000, 64), correlated(40, 64, seed=5)
    shares = []
    for kind in (LinearBinarizer, AllocatedBinarizer):
        binarizer = kind.fit(rows, code_bytes=10, queries=correlated(300, 64, seed=9))
        codes = binarizer.transform(rows)
        scores = [reference.decoded_scores(codes, binarizer.query(query)) for query in queries]
        shares.append(reference.share_of_float_top(rows, queries, np.array(scores), 10))
    assert shares[0] > shares[1]


def test_it_comes_back_from_its_record(fitted):
    again = binarizer_from_record(msgpack.unpackb(msgpack.packb(record_of(fitted))))
    assert record_of(again) == record_of(fitted)
    rows = correlated(40, fitted.dim, seed=1)
    for one, other in ((fitted.transform(rows), again.transform(rows)), (fitted.query(rows[0]), again.query(rows[0]))):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)


def test_a_row_alone_has_the_code_it_has_in_a_batch(fitted):
    rows = correlated(70, fitted.dim, seed=1)
    codes = fitted.transform(rows)
    for i in range(0, 70, 7):
        alone = fitted.transform(rows[i : i + 1])
        assert np.array_equal(alone.words[0], codes.words[i])
        assert np.array_equal(alone.rest[0], codes.rest[i])
        assert alone.rescale[0] == codes.rescale[i]


def test_progress_counts_the_rounds():
    seen = []
    LinearBinarizer.fit(correlated(300, 64), code_bytes=10, n_rounds=3, progress=lambda *n: seen.append(n))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_cannot_be_fitted():
    rows = correlated(300, 64)
    with pytest.raises(InvalidInput, match="code_bytes is 10, nested codes of 64 dimensions take over 10"):
        LinearBinarizer.fit(rows, code_bytes=10, shape="nested")
    with pytest.raises(InvalidInput, match="shape is 'flat', expected 'compact' or 'nested'"):
        LinearBinarizer.fit(rows, code_bytes=10, shape="flat")
    with pytest.raises(InvalidInput, match=r"code_bytes is 9, .* take 10 to 66"):
        LinearBinarizer.fit(rows, code_bytes=9)
    with pytest.raises(TrainingError, match="300 rows are too few to fit on, 512 are needed"):
        LinearBinarizer.fit(rows, code_bytes=66)
    with pytest.raises(DimensionMismatch, match="queries"):
        LinearBinarizer.fit(rows, code_bytes=10, queries=rows[:, 1:])
    rows[7, 7] = np.nan
    with pytest.raises(InvalidVector, match="row 7 "):
        LinearBinarizer.fit(rows, code_bytes=10)
