"""Additive codes: what they decode to, how close they come, and what they refuse."""

from functools import cache
from itertools import pairwise

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers import additive
from binrag.binarizers.additive import AdditiveBinarizer, stage_sizes
from binrag.binarizers.allocated import AllocatedBinarizer
from binrag.binarizers.linear import LinearBinarizer
from binrag.binarizers.query_map import N_EPOCHS
from binrag.errors import DimensionMismatch, FormatVersionError, InvalidInput, InvalidVector, TrainingError
from binrag.indexes import FlatIndex
from binrag.ranking.rescore import rescore_codes
from binrag.registry import binarizer_from_record, record_of
from binrag.types import CodeShape

DIM = 64
SIZES = {10: [7, 2], 13: [7, 5], 18: [7, 5, 5], 34: [7, 6, 7, 6, 7]}
ALL_SIZES = pytest.mark.parametrize("code_bytes", SIZES)


@cache
def rows(n=3000, seed=0):
    """Clustered rows with a falling spectrum and a mean, as embeddings have."""
    rng = np.random.default_rng(seed)
    scales = (1 + np.arange(DIM)) ** -0.5
    axes = np.linalg.qr(np.random.default_rng(9).standard_normal((DIM, DIM)))[0]
    centres = np.random.default_rng(8).standard_normal((40, DIM)) * scales
    found = centres[rng.integers(0, 40, n)] + 0.7 * rng.standard_normal((n, DIM)) * scales
    found = (found @ axes + 0.5 * axes[0]).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@cache
def fitted(code_bytes=18, seed=3):
    return AdditiveBinarizer.fit(rows(), code_bytes=code_bytes, seed=seed)


def stage_codes(binarizer, codes):
    """The bytes of the stages, side by side: all but the place of the rescale factor."""
    return np.delete(reference.code_of(codes), 8 * binarizer.shape.n_words - 1, axis=1)


def decoded(binarizer, codes):
    """ŷ of rows, from their bytes: the codewords of all stages, added up, float64 (n, dim)."""
    data, total, first = stage_codes(binarizer, codes), 0, 0
    for stage in binarizer.stages:
        total = total + reference.decoded_bytes(data[:, first : first + stage.n_bytes], stage.codewords)
        first += stage.n_bytes
    assert first == data.shape[1]
    return total


def in_axes(binarizer, vectors):
    return (vectors - binarizer.axes.mean).astype(float) @ binarizer.axes.forward


def mapped(binarizer, directions):
    """M of directions that are in the axes already, one a row."""
    query_map = binarizer.maps[-1]
    return directions if query_map is None else directions @ query_map.astype(float).T


def scored_by(binarizer, queries):
    """What decoded vectors are multiplied with, for queries."""
    return mapped(binarizer, queries.astype(float) @ binarizer.axes.backward)


def factors_of(binarizer, vectors, codes):
    y = in_axes(binarizer, vectors)
    return (y**2).sum(axis=1) / (mapped(binarizer, y) * decoded(binarizer, codes)).sum(axis=1)


def places(codes):
    return (codes.words[:, -1] >> np.uint64(56)).astype(int)


def recall(binarizer, vectors, queries, k=10):
    """Shares of float's best that codes find: by their whole code, and by the scan alone."""
    index = FlatIndex.from_codes(binarizer.transform(vectors), binarizer.shape.by_tables)
    estimates, everything = np.zeros((2, len(queries), len(vectors))), np.arange(len(vectors))
    for i, query in enumerate(map(binarizer.query, queries)):
        for part, found in zip(
            estimates,
            (
                rescore_codes(index.codes, index.rest, index.rescale, query, everything),
                index.retrieve(query, len(vectors)),
            ),
            strict=True,
        ):
            part[i, found.rows] = found.scores
    return [reference.share_of_float_top(vectors, queries, part, k, k) for part in estimates]


@ALL_SIZES
def test_scores_are_those_of_the_decoded_vectors(code_bytes):
    binarizer, vectors, q = fitted(code_bytes), rows(200, 1), rows(5, 2)[0]
    codes, query = binarizer.transform(vectors), binarizer.query(q)
    estimates = decoded(binarizer, codes) @ scored_by(binarizer, q)
    expected = binarizer.factors.astype(float)[places(codes)] * estimates + q.astype(float) @ binarizer.axes.mean
    assert reference.decoded_scores(codes, query) == pytest.approx(expected, abs=1e-5)
    assert not query.tables[8 * binarizer.shape.n_words - 1].any()
    index = FlatIndex.from_codes(codes, by_tables=True)
    scored = rescore_codes(index.codes, index.rest, index.rescale, query, np.arange(200))
    assert scored.scores == pytest.approx(expected[scored.rows], abs=2e-3)


@ALL_SIZES
def test_what_is_scanned_is_the_first_stage(code_bytes):
    """Its costs add up to products with its codewords, but for steps; the place of the factor costs nothing."""
    binarizer, vectors = fitted(code_bytes), rows(400, 1)
    codes = binarizer.transform(vectors)
    first = binarizer.prefix(8)
    for q in rows(5, 2):
        costs = binarizer.query(q).costs
        assert not costs[:, -1].any()
        distances = reference.table_distances(reference.bytes_of_words(codes.words), costs)
        exact = decoded(first, first.transform(vectors)) @ scored_by(binarizer, q)
        step = np.ptp(exact) / np.ptp(distances)
        assert np.abs(exact - exact.mean() + step * (distances - distances.mean())).max() < 8 * step
        assert np.corrcoef(distances, exact)[0, 1] < -0.999


@ALL_SIZES
def test_codes_are_those_of_the_definition(code_bytes):
    """Stage by stage: the nearest codewords of groups, then the best value of each byte; what they leave goes on.

    In integers, of which the largest squared norm of a codeword has 32,767 / 2. Finer ones come little closer.
    """
    binarizer, vectors = fitted(code_bytes), rows(30, 1)
    data = stage_codes(binarizer, binarizer.transform(vectors))
    left, first = in_axes(binarizer, vectors), 0
    for stage in binarizer.stages:
        n_bytes, _, size, _ = stage.starts.shape
        turned = left if stage.rotation is None else left @ stage.rotation
        starts = reference.product_codes(turned[:, : n_bytes * size].reshape(-1, n_bytes, size), stage.starts)
        codewords, own = stage.choosing.astype(float), data[:, first : first + n_bytes]
        norms2, products, errors = (codewords**2).sum(axis=1), codewords @ codewords.T, []
        for unit in (2 * norms2.max() / 32767, norms2.max() / 2**30):
            base = np.rint((norms2 - 2 * left @ codewords.T) / unit).astype(np.int64)
            gram = np.rint(2 * products / unit).astype(np.int64)
            expected = reference.choose_codewords(base, gram, starts, 8)
            errors.append((left - reference.decoded_bytes(expected, codewords)) ** 2)
            if len(errors) == 1:
                assert (own == expected).mean() > 0.98  # doubles round a product in thousands otherwise
        assert errors[0].sum() < 1.03 * errors[1].sum()
        left, first = left - reference.decoded_bytes(own, stage.codewords), first + n_bytes


@ALL_SIZES
def test_factors_have_the_nearest_places_by_ratio(code_bytes):
    binarizer, vectors = fitted(code_bytes), rows(500, 1)
    codes = binarizer.transform(vectors)
    factors, table = factors_of(binarizer, vectors, codes), binarizer.factors.astype(float)
    assert table[0] == 0
    assert (np.diff(table) > 0).all()
    assert table[2:] / table[1:-1] == pytest.approx((table[255] / table[1]) ** (1 / 254), rel=1e-5)
    ratios = np.abs(np.log(factors[:, None] / table[1:]))
    assert (places(codes) == 1 + ratios.argmin(axis=1)).mean() > 0.99  # the others are in the middle of two
    assert np.abs(np.log(factors / table[places(codes)])).max() < 0.51 * np.log(table[2] / table[1])
    order = np.argsort(factors)
    assert (np.diff(places(codes)[order]) >= 0).all()
    assert 1 < places(codes).min() <= places(codes).max() < 255  # rows not seen have room on both sides


def test_places_of_factors_that_the_table_lacks():
    binarizer = fitted()
    low, high = binarizer.factors[[1, -1]].astype(float)
    factors = np.array([0.0, -1.0, low / 100, low, high, high * 100])
    assert binarizer._places(factors).tolist() == [0, 0, 1, 1, 255, 255]
    assert np.array_equal(binarizer._places(binarizer.factors.astype(float)), np.arange(256))


def test_a_row_that_equals_the_mean_has_no_direction():
    binarizer = fitted()
    codes = binarizer.transform(np.stack([binarizer.axes.mean, rows()[0]]))
    assert (places(codes) > 0).tolist() == [False, True]
    query = binarizer.query(rows()[1])
    assert reference.decoded_scores(codes, query)[0] == query.offset


@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e6, 1e9])
def test_rows_far_from_those_fitted_to_point_where_they_did(scale):
    """Far longer or shorter than the codewords: no sum overflows, and what decodes is on the row's side."""
    binarizer = fitted()
    away = (rows(100, 1) - binarizer.axes.mean) * np.float32(scale)
    codes = binarizer.transform((binarizer.axes.mean + away).astype(np.float32))
    products = (in_axes(binarizer, binarizer.axes.mean + away) * decoded(binarizer, codes)).sum(axis=1)
    assert scale < 1 or (products > 0).all()
    if scale > 1:
        cosines = products / np.linalg.norm(in_axes(binarizer, binarizer.axes.mean + away), axis=1)
        cosines /= np.linalg.norm(decoded(binarizer, codes), axis=1)
        assert cosines.mean() > 0.5


@ALL_SIZES
def test_a_row_alone_has_the_code_it_has_in_a_batch(code_bytes):
    binarizer, vectors = fitted(code_bytes), rows(70, 1)
    codes = binarizer.transform(vectors)
    assert codes.rescale is None
    for first, stop in [*((i, i + 1) for i in range(0, 70, 7)), (3, 20), (16, 32), (0, 0)]:
        alone = binarizer.transform(vectors[first:stop])
        assert np.array_equal(alone.words, codes.words[first:stop])
        assert np.array_equal(alone.rest, codes.rest[first:stop])


def test_more_rows_than_are_coded_at_a_time():
    binarizer = fitted(10)
    many = np.concatenate([rows(4100, 4), rows(300, 5)])
    codes = binarizer.transform(many)
    for part in (slice(0, 50), slice(4000, 4200), slice(4390, 4400)):
        alone = binarizer.transform(many[part])
        assert np.array_equal(alone.words, codes.words[part])
        assert np.array_equal(alone.rest, codes.rest[part])


@ALL_SIZES
def test_it_comes_back_from_its_record(code_bytes):
    binarizer = fitted(code_bytes)
    again = binarizer_from_record(msgpack.unpackb(msgpack.packb(record_of(binarizer))))
    assert type(again) is AdditiveBinarizer
    assert record_of(again) == record_of(binarizer)
    assert (again.dim, again.shape, again.n_bits) == (DIM, binarizer.shape, 8 * code_bytes)
    vectors = rows(60, 1)
    for one, other in (
        (binarizer.transform(vectors), again.transform(vectors)),
        (binarizer.query(vectors[0]), again.query(vectors[0])),
    ):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__)


def test_a_record_of_another_version_is_named_as_such():
    record = record_of(fitted(10))
    record["config"] = {name: value for name, value in record["config"].items() if name != "maps"}
    with pytest.raises(FormatVersionError, match="record of the 'additive' binarizer has no 'maps': another version"):
        binarizer_from_record(record)


def test_parameters_are_kept_in_half_precision():
    record = msgpack.packb(record_of(fitted(18)))
    stages = fitted(18).stages
    n_numbers = 2 * DIM**2 + sum(stage.codewords.size + stage.starts.size for stage in stages)
    n_numbers += sum(stage.rotation.size for stage in stages[1:]) + sum(m.size for m in fitted(18).maps[:2])
    n_single = sum(stage.choosing.size for stage in stages)
    assert stages[0].rotation is None
    assert 2 * n_numbers < len(record) - n_single < 2 * n_numbers + 1500


@ALL_SIZES
def test_a_prefix_has_the_first_bytes(code_bytes):
    binarizer, vectors = fitted(code_bytes), rows(100, 1)
    whole = stage_codes(binarizer, binarizer.transform(vectors))
    sizes = np.cumsum(SIZES[code_bytes]) + 1
    for n_stages, size in enumerate(sizes.tolist(), 1):
        prefix = binarizer.prefix(size)
        assert (prefix.code_bytes, len(prefix.stages), prefix.dim) == (size, n_stages, DIM)
        assert prefix.shape == CodeShape(1, size - 8, n_rescale=0, by_tables=True)
        codes = prefix.transform(vectors)
        assert np.array_equal(stage_codes(prefix, codes), whole[:, : size - 1])
        factors = factors_of(prefix, vectors, codes)  # its own, in its own table
        assert prefix.factors[places(codes)] == pytest.approx(factors, rel=0.02)
        fitted_to = factors_of(prefix, rows(), prefix.transform(rows()))
        assert prefix.factors[[1, 255]] == pytest.approx([fitted_to.min() / 1.5, fitted_to.max() * 1.5], rel=0.02)
    assert record_of(binarizer.prefix(code_bytes)) == record_of(binarizer)
    known = ", ".join(map(str, sizes.tolist()))
    for other in (7, 9, code_bytes + 1):
        with pytest.raises(InvalidInput, match=f"code_bytes is {other}, the first stages take one of {known}"):
            binarizer.prefix(other)


@pytest.mark.parametrize("dim", [64, 100, 384, 768, 1024, 4096])
def test_stages_share_the_bytes(dim):
    """From 1/16 to a byte a dimension, whatever the number: what is scanned comes first, then stages of even sizes."""
    for code_bytes in range(max(8, -(-dim // 16)) + 2, dim + 3):
        sizes = stage_sizes(code_bytes, dim)
        n_words = min(code_bytes // 8, dim // 64)
        assert sum(sizes) == code_bytes - 1
        assert min(sizes) >= 1
        assert max(sizes) <= dim
        if len(sizes) == 1:
            assert 0 <= sizes[0] - (8 * n_words - 1) < dim // 32
        else:
            assert sizes[0] == 8 * n_words - 1
            assert sum(sizes[1:]) >= dim // 32
            assert max(sizes[1:]) <= dim // 8
            assert max(sizes[1:]) - min(sizes[1:]) <= 1
            assert (len(sizes) - 2) * (dim // 8) < sum(sizes[1:])  # no more of them than needed


@pytest.mark.parametrize(
    ("code_bytes", "dim", "sizes"),
    [
        (48, 384, [47]),
        (96, 384, [47, 48]),
        (192, 384, [47, 48, 48, 48]),
        (26, 384, [23 + 2]),
        (48, 768, [47]),
        (104, 768, [95 + 8]),
        (128, 768, [95, 32]),
        (128, 1024, [127]),
        (12, 100, [7, 4]),
        (10, 100, [7 + 2]),
        (18, 64, [7, 5, 5]),
    ],
)
def test_stages_of_some_sizes(code_bytes, dim, sizes):
    assert stage_sizes(code_bytes, dim) == sizes


@pytest.mark.parametrize(
    ("dim", "code_bytes", "n_words", "n_stages"), [(100, 10, 1, 1), (130, 13, 1, 2), (130, 26, 2, 2), (192, 14, 1, 2)]
)
def test_other_dimensions(dim, code_bytes, n_words, n_stages):
    """Not a multiple of anything; words that do not cover the dimension; one stage that goes on in the rest."""
    draw = np.random.default_rng(0)
    turn = np.linalg.qr(draw.standard_normal((dim, dim)))[0]
    vectors = ((draw.standard_normal((900, dim)) / np.sqrt(1 + np.arange(dim))) @ turn + 0.1).astype(np.float32)
    binarizer = AdditiveBinarizer.fit(vectors, code_bytes=code_bytes, n_rounds=2)
    assert binarizer.shape == CodeShape(n_words, code_bytes - 8 * n_words, n_rescale=0, by_tables=True)
    assert len(binarizer.stages) == n_stages
    codes = binarizer.transform(vectors)
    assert (codes.words.shape, codes.rest.shape) == ((900, n_words), (900, code_bytes - 8 * n_words))
    queries = vectors[:30]
    estimates = [reference.decoded_scores(codes, binarizer.query(query)) for query in queries]
    assert np.corrcoef(np.ravel(estimates), (queries @ vectors.T).ravel())[0, 1] > 0.7


def test_products_are_kept_between_the_spaces():
    """⟨q, x − μ⟩ = ⟨backwardᵀ q, forwardᵀ (x − μ)⟩, to half precision."""
    axes = fitted().axes
    assert axes.forward.astype(float) @ axes.backward.T == pytest.approx(np.eye(DIM), abs=2e-3)


@pytest.mark.parametrize("code_bytes", [10, 18])
def test_it_finds_more_than_levels_and_linear_codes_of_the_same_bytes(code_bytes):
    queries = rows(60, 5)
    found = {
        name: recall(kind.fit(rows(), code_bytes=code_bytes, seed=3), rows(), queries)
        for name, kind in (("linear", LinearBinarizer), ("levels", AllocatedBinarizer))
    }
    own = np.mean([recall(fitted(code_bytes, seed), rows(), queries) for seed in (3, 4)], axis=0)
    assert own[0] > found["linear"][0] + 0.02
    assert own[0] > found["levels"][0] + 0.04
    if code_bytes == 10:  # what is scanned has a byte less, and finds more
        assert own[1] > found["linear"][1] + 0.01
        assert own[1] > found["levels"][1] + 0.05


def test_more_bytes_find_more():
    queries = rows(60, 5)
    found = [recall(fitted(code_bytes), rows(), queries)[0] for code_bytes in SIZES]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.15
    assert found[-1] > 0.92


def test_codes_of_up_to_a_quarter_of_the_dimensions_have_maps():
    """Of 8 and 14 bytes, at 64 dimensions; each of its own."""
    maps = fitted(34).maps
    assert [one is not None for one in maps] == [True, True, False, False, False]
    assert not np.array_equal(maps[0], maps[1])
    assert [fitted(34).prefix(size).maps for size in (8, 14)] == [maps[:1], maps[:2]]


def test_vectors_of_many_dimensions_have_no_map(monkeypatch):
    monkeypatch.setattr(additive, "MAX_DIM", DIM - 1)
    binarizer = AdditiveBinarizer.fit(rows(), code_bytes=10, n_rounds=2)
    assert binarizer.maps == (None, None)
    assert binarizer.get_config()["maps"] == [None, None]


def test_a_map_finds_more(monkeypatch):
    queries, vectors = rows(400, 5), rows(3000, 1)
    mapped = recall(fitted(10), vectors, queries)[0]
    monkeypatch.setattr(additive, "MAX_DIM", 0)
    assert mapped > recall(AdditiveBinarizer.fit(rows(), code_bytes=10, seed=3), vectors, queries)[0]


def test_every_stage_lowers_the_error():
    binarizer, vectors = fitted(34), rows(500, 1)
    y, errors = in_axes(binarizer, vectors), []
    for size in np.cumsum(SIZES[34]) + 1:
        prefix = binarizer.prefix(int(size))
        errors.append(((y - decoded(prefix, prefix.transform(vectors))) ** 2).sum() / (y**2).sum())
    assert errors[0] < 0.3
    assert all(after < 0.8 * before for before, after in pairwise(errors))


def test_the_scan_finds_what_the_tables_rate_high():
    binarizer = fitted(18)
    index = FlatIndex.from_codes(binarizer.transform(rows()), by_tables=True)
    hits = 0
    for vector in rows(40, 6):
        query = binarizer.query(vector)
        best = rescore_codes(index.codes, index.rest, index.rescale, query, np.arange(len(rows()))).rows[:10]
        hits += len(set(best) & set(index.retrieve(query, 50).rows))
    assert hits / 400 > 0.95


def turned(vectors):
    turn = np.linalg.qr(np.eye(DIM) + 0.05 * np.random.default_rng(3).standard_normal((DIM, DIM)))[0]
    return (vectors @ turn).astype(np.float32)


@pytest.mark.parametrize("code_bytes", [10, 18])
def test_adapting_to_other_vectors_helps_with_those(code_bytes):
    """And with more like them, that it was not adapted to: nearly as much as codes fitted anew."""
    start = fitted(code_bytes)
    adapted = AdditiveBinarizer.fit(turned(rows()), code_bytes=code_bytes, start=start, n_rounds=4)
    anew = AdditiveBinarizer.fit(turned(rows()), code_bytes=code_bytes)
    assert adapted.shape == start.shape
    unseen, queries = turned(rows(1000, 21)), turned(rows(60, 5))
    errors = []
    for binarizer in (start, adapted, anew):
        y = in_axes(binarizer, unseen)
        errors.append(((y - decoded(binarizer, binarizer.transform(unseen))) ** 2).sum() / (y**2).sum())
    assert errors[1] < 0.9 * errors[0]
    assert errors[1] < 1.2 * errors[2]
    assert recall(adapted, unseen, queries)[0] > recall(start, unseen, queries)[0] + 0.01


def test_a_start_of_other_bytes_or_dimensions_is_refused():
    with pytest.raises(InvalidInput, match="start codes 64 dimensions in 18 bytes, expected 64 dimensions in 20 bytes"):
        AdditiveBinarizer.fit(rows(), code_bytes=20, start=fitted(18))
    with pytest.raises(InvalidInput, match="start codes 64 dimensions in 18 bytes, expected 65 dimensions in 18 bytes"):
        AdditiveBinarizer.fit(vectors_of(300, 65), code_bytes=18, start=fitted(18))


def test_equal_seeds_give_equal_bytes():
    fits = [AdditiveBinarizer.fit(rows(), code_bytes=13, seed=seed, n_rounds=2).get_config() for seed in (3, 3, 4)]
    assert fits[0] == fits[1]
    assert fits[0] != fits[2]


def test_progress_counts_the_rounds_of_all_stages_and_the_epochs_of_maps():
    calls = []
    AdditiveBinarizer.fit(rows(), code_bytes=18, n_rounds=2, progress=lambda *n: calls.append(n))
    n_turns = 3 * 2 + 2 * N_EPOCHS
    assert calls == [(i, n_turns) for i in range(1, n_turns + 1)]


def test_queries_weigh_the_space():
    queries = rows(300, 7) * np.float32([1] * 8 + [0.05] * (DIM - 8))
    errors = []
    for known, share in ((queries, 0.5), (queries, 0.0), (None, 0.5)):
        binarizer = AdditiveBinarizer.fit(rows(), code_bytes=10, n_rounds=3, queries=known, query_share=share)
        codes = binarizer.transform(rows(300, 1))
        estimates = decoded(binarizer, codes) @ (queries.astype(float) @ binarizer.axes.backward).T
        exact = (rows(300, 1) - binarizer.axes.mean) @ queries.T
        errors.append(((estimates - exact) ** 2).mean())
    assert errors[0] < 0.9 * errors[1]
    assert errors[0] < 0.9 * errors[2]


@pytest.mark.parametrize(
    ("vectors", "options", "error", "part"),
    [
        (rows()[:255], {"code_bytes": 18}, TrainingError, "256 are needed"),
        (np.full((300, DIM), np.nan, np.float32), {"code_bytes": 18}, InvalidVector, "NaN"),
        (np.ones((300, DIM), np.float32), {"code_bytes": 18}, TrainingError, "are equal"),
        (vectors_of(300, 63), {"code_bytes": 18}, InvalidInput, "the dimension is 63"),
        (rows()[0], {"code_bytes": 18}, InvalidVector, "shape"),
        (rows(), {"code_bytes": 9}, InvalidInput, "code_bytes is 9, .* take 10 to 66"),
        (rows(), {"code_bytes": 67}, InvalidInput, "code_bytes is 67, .* take 10 to 66"),
        (rows(), {"code_bytes": 18, "queries": np.ones((3, 5), np.float32)}, DimensionMismatch, "64"),
    ],
)
def test_what_cannot_be_fitted_is_refused(vectors, options, error, part):
    with pytest.raises(error, match=part):
        AdditiveBinarizer.fit(vectors, **options)


def test_vectors_of_few_different_rows():
    """Fewer than codewords: means without rows, and products of codewords that are all zero, are no trouble."""
    few = np.repeat(vectors_of(5, DIM), 60, axis=0)
    binarizer = AdditiveBinarizer.fit(few, code_bytes=18, n_rounds=2)
    codes, query = binarizer.transform(few), binarizer.query(few[0])
    assert reference.decoded_scores(codes, query) == pytest.approx(few @ few[0], abs=0.5)


def test_another_dimension_is_refused():
    with pytest.raises(DimensionMismatch, match="65 dimensions, this binarizer codes 64"):
        fitted().transform(np.ones((2, 65), np.float32))
    with pytest.raises(DimensionMismatch, match="65 dimensions, this binarizer codes 64"):
        fitted().query(np.ones(65, np.float32))
