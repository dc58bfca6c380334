"""Principal axes with variable bits."""

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of
from test_itq import correlated

from binrag.binarizers.allocated import AllocatedBinarizer
from binrag.binarizers.fitting import principal_axes
from binrag.errors import InvalidInput, InvalidVector, TrainingError
from binrag.registry import binarizer_from_record, record_of
from binrag.scalars import allocated_bits


@pytest.fixture(params=[(64, 10), (64, 13), (100, 66), (64, 66)], ids=str, scope="module")
def fitted(request):
    dim, code_bytes = request.param
    return AllocatedBinarizer.fit(correlated(2000, dim), code_bytes=code_bytes, queries=correlated(300, dim, seed=8))


def decoded(binarizer, codes):
    """ŷ of the axes that have bits, from the places of the bits."""
    signs = reference.code_signs(codes, binarizer.n_bits)
    values = np.zeros((len(signs), len(binarizer.steps)))
    for j, (owner, shift) in enumerate(zip(binarizer.owners, binarizer.shifts, strict=True)):
        values[:, owner] += binarizer.steps[owner] / 2 * 2.0**shift * signs[:, j]
    return values


def test_shapes(fitted):
    n_words, n_rest = divmod(fitted.code_bytes - 2, 8)
    codes = fitted.transform(correlated(5, fitted.dim, seed=1))
    assert (codes.words.shape, codes.rest.shape) == ((5, n_words), (5, n_rest))
    assert fitted.n_bits == 8 * (fitted.code_bytes - 2)


def test_scores_are_those_of_the_levels(fitted):
    rows, query = correlated(40, fitted.dim, seed=1), vectors_of(1, fitted.dim, seed=2)[0]
    codes = fitted.transform(rows)
    y, levels = (rows - fitted.mean).astype(float) @ fitted.forward, decoded(fitted, codes)
    coded = y[:, : levels.shape[1]]
    factors = ((y**2).sum(axis=1) / (coded * levels).sum(axis=1)).astype(np.float16).astype(float)
    expected = factors * (levels @ (query @ fitted.backward)) + query.astype(float) @ fitted.mean
    assert reference.decoded_scores(codes, fitted.query(query)) == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_every_axis_gets_its_nearest_level(fitted):
    rows = correlated(20, fitted.dim, seed=1)
    levels = decoded(fitted, fitted.transform(rows))
    y = (rows - fitted.mean) @ fitted.forward
    for d in range(0, levels.shape[1], 5):
        step, width = float(fitted.steps[d]), int((fitted.owners == d).sum())
        expected = [step / 2 * (2 * reference.odd_level(x, step, width) - (2**width - 1)) for x in y[:, d].tolist()]
        assert levels[:, d] == pytest.approx(expected, rel=1e-5)


def test_products_are_kept_between_the_spaces():
    """Even with a bit for every axis: ⟨q, x − μ⟩ = ⟨backwardᵀ q, forwardᵀ (x − μ)⟩."""
    binarizer = AllocatedBinarizer.fit(correlated(2000, 64), code_bytes=66, queries=correlated(300, 64, seed=8))
    assert binarizer.backward.shape == (64, 64)
    assert binarizer.forward @ binarizer.backward.T == pytest.approx(np.eye(64), abs=1e-4)


def test_axes_earn_bits_by_variance_and_heavy_bits_come_first(fitted):
    rows = correlated(2000, fitted.dim)
    variances, _ = principal_axes((rows - fitted.mean) @ fitted.forward)
    widths = np.bincount(fitted.owners, minlength=fitted.dim)
    assert np.abs(widths - allocated_bits(variances, fitted.n_bits)).max() <= 1
    weights = fitted.steps[fitted.owners] * 2.0**fitted.shifts
    assert (np.diff(weights) <= 0).all()


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


def test_queries_move_bits_to_where_they_look():
    rows, queries = vectors_of(4000, 64), vectors_of(300, 64, seed=7)
    queries[:, 8:] *= 0.05
    asked = (queries @ rows.T).ravel()
    errors = []
    for known in (queries, None):
        binarizer = AllocatedBinarizer.fit(rows, code_bytes=18, queries=known)
        y = decoded(binarizer, binarizer.transform(rows))
        estimates = (queries @ binarizer.backward) @ y.T + (queries @ binarizer.mean)[:, None]
        errors.append(((estimates.ravel() - asked) ** 2).mean())
    assert errors[0] < 0.6 * errors[1]


def test_what_cannot_be_fitted():
    rows = correlated(300, 64)
    with pytest.raises(InvalidInput, match=r"code_bytes is 67, .* take 10 to 66"):
        AllocatedBinarizer.fit(rows, code_bytes=67)
    with pytest.raises(TrainingError, match="too few"):
        AllocatedBinarizer.fit(rows[:100], code_bytes=18)
    rows[7, 7] = np.nan
    with pytest.raises(InvalidVector, match="row 7 "):
        AllocatedBinarizer.fit(rows, code_bytes=18)
