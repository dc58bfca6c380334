"""Levels: against the nearest level by brute force, and Lloyd–Max against the published constants."""

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers import RotatedSignBinarizer
from binrag.binarizers.levels import LevelsBinarizer, LloydMaxBinarizer, lloyd_max
from binrag.errors import InvalidInput, TrainingError
from binrag.registry import binarizer_from_record, record_of

ODD = [(LevelsBinarizer, dim, width) for dim in (64, 100) for width in (1, 2, 3, 4)]
CASES = [*ODD, *((LloydMaxBinarizer, dim, width) for dim in (64, 100) for width in (1, 2, 4, 8))]


def fit(kind, dim, width, rotated=True, n=1500):
    return kind.fit(vectors_of(n, dim), code_bytes=2 + -(-dim * width // 8), seed=3, rotated=rotated)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].component_id}-{case[1]}-{case[2]}", scope="module")
def fitted(request):
    return fit(*request.param)


def decoded(binarizer, codes):
    """û of every row from its bytes alone."""
    signs = reference.code_signs(codes, binarizer.n_bits) > 0
    if isinstance(binarizer, LloydMaxBinarizer):
        values = signs.reshape(len(signs), binarizer.dim, -1) @ (1 << np.arange(binarizer.width))
        return binarizer.levels[np.arange(binarizer.dim), values]
    planes = signs.reshape(len(signs), binarizer.n_planes, binarizer.dim)  # the most significant first
    values = sum(planes[:, i].astype(int) << (binarizer.n_planes - 1 - i) for i in range(binarizer.n_planes))
    return binarizer.steps / 2 * (2 * values - (2**binarizer.n_planes - 1))


def rotated(binarizer, rows):
    if binarizer.flips is None:
        return rows
    return RotatedSignBinarizer(binarizer.dim, flips=binarizer.flips)._project(rows)


def test_scores_are_those_of_the_levels(fitted):
    rows, query = vectors_of(40, fitted.dim, seed=1), vectors_of(1, fitted.dim, seed=2)[0]
    codes = fitted.transform(rows)
    y, levels = rotated(fitted, rows - fitted.mean).astype(float), decoded(fitted, codes).astype(float)
    factors = ((y**2).sum(axis=1) / (y * levels).sum(axis=1)).astype(np.float16).astype(float)
    expected = factors * (levels @ rotated(fitted, query[None])[0]) + query.astype(float) @ fitted.mean
    assert reference.decoded_scores(codes, fitted.query(query)) == pytest.approx(expected, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(("kind", "dim", "width"), ODD)
def test_every_coordinate_gets_its_nearest_odd_level(kind, dim, width):
    binarizer = fit(kind, dim, width, rotated=False)
    rows = vectors_of(20, dim, seed=1)
    levels = decoded(binarizer, binarizer.transform(rows))
    steps = binarizer.steps.astype(float)
    expected = [
        [
            step / 2 * (2 * reference.odd_level(x, step, width) - (2**width - 1))
            for x, step in zip(row, steps, strict=True)
        ]
        for row in (rows - binarizer.mean).astype(float)
    ]
    assert levels == pytest.approx(np.array(expected), rel=1e-5)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_every_coordinate_gets_its_nearest_fitted_level(width):
    binarizer = fit(LloydMaxBinarizer, 64, width, rotated=False)
    rows = vectors_of(30, 64, seed=1)
    y = rows - binarizer.mean
    off = np.abs(y[:, :, None] - binarizer.levels)
    assert np.abs(y - decoded(binarizer, binarizer.transform(rows))) == pytest.approx(off.min(axis=2), rel=1e-5)


def test_it_comes_back_from_its_record(fitted):
    again = binarizer_from_record(msgpack.unpackb(msgpack.packb(record_of(fitted))))
    assert type(again) is type(fitted)
    assert record_of(again) == record_of(fitted)
    rows = vectors_of(40, fitted.dim, seed=1)
    for one, other in ((fitted.transform(rows), again.transform(rows)), (fitted.query(rows[0]), again.query(rows[0]))):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)


def test_a_row_alone_has_the_code_it_has_in_a_batch(fitted):
    rows = vectors_of(70, fitted.dim, seed=1)
    codes = fitted.transform(rows)
    for i in range(0, 70, 7):
        alone = fitted.transform(rows[i : i + 1])
        assert np.array_equal(alone.words[0], codes.words[i])
        assert np.array_equal(alone.rest[0], codes.rest[i])
        assert alone.rescale[0] == codes.rescale[i]


@pytest.mark.parametrize(("width", "error"), [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_the_levels_of_a_normal_variable_are_the_published_ones(width, error):
    values = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
    levels = lloyd_max(values, 1 << width, 200)
    assert levels[1 << (width - 1) :] == pytest.approx(NORMAL[width], rel=0.03)
    off = np.abs(values - levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, values)])
    assert (off**2).mean() == pytest.approx(error, rel=0.02)


NORMAL = {
    1: [0.797885],
    2: [0.4526475, 1.510017],
    3: [0.24490, 0.75567, 1.34335, 2.1509],
    4: [0.12730813, 0.3848085, 0.6516434, 0.9357067, 1.2484536, 1.6096783, 2.0604305, 2.7235756],
}


def test_levels_of_few_values():
    values = np.repeat(np.float32([3, -1, 7]), 40)
    assert set(lloyd_max(values, 4).tolist()) >= {-1.0, 3.0, 7.0}


@pytest.mark.parametrize(("width", "cosine"), [(1, 0.797), (2, 0.937), (3, 0.980), (4, 0.993)])
def test_reconstructions_point_where_the_rows_do(width, cosine):
    binarizer = fit(LevelsBinarizer, 256, width)
    rows = vectors_of(300, 256, seed=1)
    y, levels = rotated(binarizer, rows - binarizer.mean), decoded(binarizer, binarizer.transform(rows))
    cosines = (y * levels).sum(axis=1) / np.sqrt((y**2).sum(axis=1) * (levels**2).sum(axis=1))
    assert cosines.mean() > cosine - 0.002


def test_the_words_are_the_sign_plane():
    binarizer = fit(LevelsBinarizer, 100, 3)
    rows = vectors_of(50, 100, seed=1)
    y = rotated(binarizer, rows - binarizer.mean)
    assert np.array_equal(binarizer.transform(rows).words, reference.words_of(y[:, :64] > 0))
    assert np.array_equal(binarizer.query(rows[0]).words, reference.words_of(y[:1, :64] > 0)[0])


def test_a_constant_coordinate_decodes_to_nothing():
    rows = vectors_of(1000, 64)
    rows[:, 5] = 2
    binarizer = LevelsBinarizer.fit(rows, code_bytes=18, rotated=False)
    assert (decoded(binarizer, binarizer.transform(rows))[:, 5] == 0).all()


@pytest.mark.parametrize(("width", "closeness"), [(1, 0.999), (2, 0.999), (4, 0.999), (8, 0.9)])
def test_lloyd_max_is_scanned_by_tables_of_halves(width, closeness):
    """Which are exact, but for steps, where half a byte holds whole dimensions."""
    binarizer = fit(LloydMaxBinarizer, 64, width)
    rows, queries = vectors_of(500, 64, seed=1), vectors_of(20, 64, seed=2)
    codes = binarizer.transform(rows)
    words, levels = reference.bytes_of_words(codes.words), decoded(binarizer, codes)
    for query, vector in zip(map(binarizer.query, queries), queries, strict=True):
        estimates = levels @ rotated(binarizer, vector[None])[0]
        scanned = -reference.table_distances(words, query.costs)
        assert np.corrcoef(scanned, estimates)[0, 1] > closeness


@pytest.mark.parametrize(
    ("kind", "known"), [(LevelsBinarizer, "10, 18, 26, 34"), (LloydMaxBinarizer, "10, 18, 34, 66")]
)
def test_sizes_that_are_no_whole_bits(kind, known):
    with pytest.raises(InvalidInput, match=f"code_bytes is 19, .* take one of {known}"):
        kind.fit(vectors_of(500, 64), code_bytes=19)
    with pytest.raises(TrainingError, match="200 rows are too few"):
        kind.fit(vectors_of(200, 64), code_bytes=18)
