"""Median thresholds and ITQ: what they promise of their bits, and their scores."""

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers.codes import from_bytes
from binrag.binarizers.itq import ItqBinarizer, MedianSignBinarizer
from binrag.errors import DimensionMismatch, InvalidInput, TrainingError
from binrag.registry import binarizer_from_record, record_of

CASES = [(MedianSignBinarizer, 64, 10), (MedianSignBinarizer, 100, 18), (ItqBinarizer, 64, 10), (ItqBinarizer, 100, 18),
         (ItqBinarizer, 130, 18)]  # fmt: skip


def correlated(n, dim, seed=0):
    """Vectors of falling variances in a fixed rotation, away from 0, with a skew."""
    turn = np.linalg.qr(vectors_of(dim, dim, seed=99))[0]
    rows = vectors_of(n, dim, seed) / np.float32((1 + np.arange(dim)) ** 0.6)
    return ((rows + 0.3 * rows**2) @ turn + np.float32(0.2)).astype(np.float32)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].component_id}-{case[1]}-{case[2]}", scope="module")
def fitted(request):
    kind, dim, code_bytes = request.param
    return kind.fit(correlated(2000, dim), code_bytes=code_bytes, seed=3)


def test_scores_are_those_of_the_decoder(fitted):
    rows, query = correlated(50, fitted.dim, seed=1), vectors_of(1, fitted.dim, seed=2)[0]
    codes = fitted.transform(rows)
    decoder = from_bytes(fitted.get_config()["decoder"], (fitted.dim, fitted.n_bits)).astype(float)
    y = rows.astype(float) - fitted.mean
    offset = float(query.astype(float) @ fitted.mean)
    expected = reference.linear_scores(
        y, reference.code_signs(codes, fitted.n_bits), decoder.T, query @ decoder, offset
    )
    assert reference.decoded_scores(codes, fitted.query(query)) == pytest.approx(expected, rel=2e-3, abs=1e-4)


def test_a_row_as_a_query_is_at_distance_nought_from_itself(fitted):
    rows = correlated(20, fitted.dim, seed=1)
    codes = fitted.transform(rows)
    for row, words in zip(rows, codes.words, strict=True):
        query = fitted.query(row)
        assert query.costs is None
        assert np.array_equal(query.words, words)


def test_it_comes_back_from_its_record(fitted):
    again = binarizer_from_record(msgpack.unpackb(msgpack.packb(record_of(fitted))))
    assert type(again) is type(fitted)
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
        assert alone.rescale[0] == codes.rescale[i]


def test_vectors_of_another_dimension(fitted):
    for call in (lambda: fitted.transform(np.ones((2, 63), np.float32)), lambda: fitted.query(np.ones(63, np.float32))):
        with pytest.raises(DimensionMismatch, match=f"63 dimensions, this binarizer codes {fitted.dim}"):
            call()


def test_median_bits_are_as_often_one_as_zero():
    rows = correlated(2001, 64) ** 2
    binarizer = MedianSignBinarizer.fit(rows, code_bytes=10)
    signs = reference.code_signs(binarizer.transform(rows), 64)
    assert np.abs(signs.mean(axis=0)).max() < 0.002
    assert np.array_equal(signs > 0, rows - rows.mean(axis=0) > np.median(rows - rows.mean(axis=0), axis=0))


def test_the_rotation_has_orthonormal_columns():
    for dim, code_bytes in ((64, 10), (130, 18)):
        rotation = ItqBinarizer.fit(correlated(1000, dim), code_bytes=code_bytes).rotation
        assert rotation.T @ rotation == pytest.approx(np.eye(rotation.shape[1]), abs=1e-5)


def test_turns_bring_rows_closer_to_their_signs():
    rows = correlated(3000, 64)

    def loss(n_iterations):
        binarizer = ItqBinarizer.fit(rows, code_bytes=10, n_iterations=n_iterations)
        turned = (rows - binarizer.mean) @ binarizer.rotation
        return ((turned - np.sign(turned)) ** 2).sum()

    losses = [loss(n) for n in (0, 1, 5, 50)]
    assert losses == sorted(losses, reverse=True)
    assert losses[3] < 0.999 * losses[0]


def hamming_share(rows, queries, row_words, query_words):
    distances = [np.bitwise_count(row_words ^ words).sum(axis=1, dtype=int) for words in query_words]
    return reference.share_of_float_top(rows, queries, -np.array(distances), 100)


@pytest.mark.parametrize("kind", [MedianSignBinarizer, ItqBinarizer])
def test_fitted_signs_find_more_than_signs_of_rows_away_from_nought(kind):
    rows, queries = reference.unit(correlated(3000, 64)), reference.unit(correlated(40, 64, seed=5))
    binarizer = kind.fit(rows, code_bytes=10)
    words = [binarizer.query(query).words for query in queries]
    plain = hamming_share(rows, queries, reference.words_of(rows > 0), reference.words_of(queries > 0))
    assert hamming_share(rows, queries, binarizer.transform(rows).words, words) > plain + 0.02


def test_progress_counts_the_turns():
    seen = []
    ItqBinarizer.fit(correlated(500, 64), code_bytes=10, n_iterations=4, progress=lambda *n: seen.append(n))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(("kind", "code_bytes"), [(MedianSignBinarizer, 19), (ItqBinarizer, 13), (ItqBinarizer, 26)])
def test_sizes_that_are_no_sign_code(kind, code_bytes):
    with pytest.raises(InvalidInput, match=f"code_bytes is {code_bytes}, .* 18"):
        kind.fit(correlated(500, 100), code_bytes=code_bytes)


@pytest.mark.parametrize("kind", [MedianSignBinarizer, ItqBinarizer])
def test_too_few_rows(kind):
    with pytest.raises(TrainingError, match="255 rows are too few to fit on, 256 are needed"):
        kind.fit(correlated(255, 64), code_bytes=10)
