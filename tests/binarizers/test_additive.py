"""Additive codes: what they decode to, how close they come, and what they refuse."""

from functools import cache

import numpy as np
import pytest
from reference import choose_codewords

from binrag.binarizers.additive import AdditiveBinarizer, SignPlane
from binrag.binarizers.allocated import AllocatedBinarizer
from binrag.binarizers.codebooks import Codebooks, _balanced_groups
from binrag.binarizers.labels import linear_labels
from binrag.errors import DimensionMismatch, InvalidInput, InvalidVector, TrainingError
from binrag.indexes import FlatIndex
from binrag.ranking.rescore import rescore_codes

DIM = 64


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
def fitted(shape="nested", code_bytes=18, **options):
    return AdditiveBinarizer.fit(rows(), code_bytes=code_bytes, shape=shape, seed=3, n_rounds=3, **options)


def recall(binarizer, queries, k=10):
    index = FlatIndex.from_codes(binarizer.transform(rows()))
    found = 0
    for query in queries:
        scored = rescore_codes(index.words, index.rest, index.rescale, binarizer.query(query), np.arange(len(rows())))
        found += len(set(scored.rows[:k]) & set(np.argsort(-(rows() @ query))[:k]))
    return found / (k * len(queries))


@pytest.mark.parametrize(("shape", "code_bytes"), [("nested", 18), ("nested", 30), ("compact", 18), ("compact", 13)])
def test_the_scores_are_those_of_the_decoded_vectors(shape, code_bytes):
    binarizer, vectors, query = fitted(shape, code_bytes), rows(200, 1), rows(5, 2)[0]
    assert binarizer.code_bytes == code_bytes
    assert binarizer.shape == shape
    codes = binarizer.transform(vectors)
    centred = (vectors - binarizer.space.mean) @ binarizer.space.root
    decoded = np.zeros_like(centred)
    values = np.concatenate([codes.words.view(np.uint8).reshape(len(vectors), -1), codes.rest], axis=1)
    if shape == "nested":
        bits = np.unpackbits(values[:, : 8 * binarizer.n_words], axis=1, bitorder="little")
        assert np.array_equal(bits > 0, vectors @ binarizer.plane.documents >= binarizer.plane.document_thresholds)
        decoded += (2.0 * bits - 1) @ binarizer.weights
        values = values[:, 8 * binarizer.n_words :]
    left = centred - decoded
    starts = left @ binarizer.predictor
    chosen = choose_codewords(left, binarizer.books.bases, binarizer.books.codewords, starts, sweeps=4)
    assert (chosen == values).all(axis=1).mean() > 0.95  # a near tie may fall otherwise in double precision
    decoded += binarizer.books.decode(values)
    rescale = (centred**2).sum(axis=1) / (centred * decoded).sum(axis=1)
    np.testing.assert_allclose(codes.rescale, rescale, rtol=1e-3)
    index = FlatIndex.from_codes(codes)
    scored = rescore_codes(index.words, index.rest, index.rescale, binarizer.query(query), np.arange(200))
    expected = codes.rescale * (decoded @ binarizer.space.inverse @ query) + binarizer.space.mean @ query
    np.testing.assert_allclose(scored.scores, expected[scored.rows], atol=2e-3)


def test_it_finds_more_than_levels_of_the_same_bytes():
    queries = rows(60, 5)
    levels = AllocatedBinarizer.fit(rows(), code_bytes=18, seed=3)
    assert recall(fitted("compact", 18), queries) > recall(levels, queries)


def test_more_bytes_find_more():
    queries = rows(60, 5)
    found = [recall(fitted("compact", code_bytes), queries) for code_bytes in (11, 18, 34)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.15


def test_the_weights_of_compact_codes_find_what_the_tables_rate_high():
    binarizer = fitted("compact", 18)
    index = FlatIndex.from_codes(binarizer.transform(rows()))
    hits = 0
    for vector in rows(40, 6):
        query = binarizer.query(vector)
        best = rescore_codes(index.words, index.rest, index.rescale, query, np.arange(len(rows()))).rows[:10]
        hits += len(set(best) & set(index.retrieve(query, 100).rows))
    assert hits / 400 > 0.8


def test_a_given_plane_is_the_one_that_is_scanned():
    rng = np.random.default_rng(4)
    plane = SignPlane(*(rng.standard_normal(shape).astype(np.float32) for shape in [(DIM, 64), (64,)] * 2))
    binarizer = AdditiveBinarizer.fit(rows(), code_bytes=18, plane=plane, n_rounds=1)
    halves = [part.astype(np.float16).astype(np.float32) for part in plane]
    vector = rows(1, 7)
    bits = np.unpackbits(binarizer.transform(vector).words.view(np.uint8), bitorder="little")
    assert np.array_equal(bits > 0, (vector @ halves[0])[0] >= halves[1])
    bits = np.unpackbits(binarizer.query(vector[0]).planes.view(np.uint8), bitorder="little")
    assert np.array_equal(bits > 0, vector[0] @ halves[2] >= halves[3])


@pytest.mark.parametrize(("shape", "code_bytes"), [("nested", 18), ("compact", 18)])
def test_adapting_to_other_vectors_helps_with_those(shape, code_bytes):
    turn = np.linalg.qr(np.eye(DIM) + 0.05 * np.random.default_rng(3).standard_normal((DIM, DIM)))[0]
    others = (rows() @ turn).astype(np.float32)
    start = fitted(shape, code_bytes)
    adapted = AdditiveBinarizer.fit(others, code_bytes=code_bytes, shape=shape, start=start, n_rounds=4)

    def error(binarizer):
        return sum(
            np.square(scored.scores - (others[scored.rows] @ query)).sum()
            for query in others[:20]
            for index in [FlatIndex.from_codes(binarizer.transform(others))]
            for scored in [rescore_codes(*parts(index), binarizer.query(query), np.arange(len(others)))]
        )

    assert error(adapted) < 0.95 * error(start)
    with pytest.raises(InvalidInput, match="start codes 64 dimensions in 18"):
        AdditiveBinarizer.fit(others, code_bytes=20, shape=shape, start=start)


def parts(index):
    return index.words, index.rest, index.rescale


def test_equal_seeds_give_equal_bytes():
    again = AdditiveBinarizer.fit(rows(), code_bytes=18, shape="compact", seed=3, n_rounds=3)
    assert again.get_config() == fitted("compact", 18).get_config()


def test_progress_and_queries():
    calls = []
    plain = AdditiveBinarizer.fit(
        rows(), code_bytes=13, shape="compact", n_rounds=2, progress=lambda i, n: calls.append((i, n))
    )
    assert calls == [(1, 2), (2, 2)]
    weighted = AdditiveBinarizer.fit(rows(), code_bytes=13, shape="compact", n_rounds=2, queries=rows(9, 7))
    assert not np.array_equal(plain.space.root, weighted.space.root)


@pytest.mark.parametrize(
    ("vectors", "options", "error", "part"),
    [
        (rows()[:255], {"code_bytes": 18}, TrainingError, "256 are needed"),
        (np.full((300, DIM), np.nan, np.float32), {"code_bytes": 18}, InvalidVector, "NaN"),
        (rows(), {"code_bytes": 10}, InvalidInput, "nested codes of 64 dimensions take 11 or more"),
        (rows(), {"code_bytes": 5, "shape": "compact"}, InvalidInput, "take 10 to 66"),
        (rows(), {"code_bytes": 67}, InvalidInput, "take 10 to 66"),
        (rows(), {"code_bytes": 18, "queries": np.ones((3, 5), np.float32)}, DimensionMismatch, "64"),
        (rows(), {"code_bytes": 18, "shape": "flat"}, InvalidInput, "nested"),
    ],
)
def test_what_cannot_be_fitted_is_refused(vectors, options, error, part):
    with pytest.raises(error, match=part):
        AdditiveBinarizer.fit(vectors, **options)


def test_another_dimension_is_refused():
    with pytest.raises(DimensionMismatch, match="65 dimensions, this binarizer codes 64"):
        fitted().transform(np.ones((2, 65), np.float32))
    with pytest.raises(DimensionMismatch, match="65 dimensions, this binarizer codes 64"):
        fitted().query(np.ones(65, np.float32))


def test_groups_are_balanced():
    groups = _balanced_groups(np.exp(-np.arange(32.0)), 4, 8)
    assert sorted(axis for group in groups for axis in group) == list(range(32))
    totals = [sum(-axis for axis in group) for group in groups]
    assert max(totals) - min(totals) <= 8


@pytest.mark.parametrize("n_codebooks", [8, 16])
def test_refitting_by_turns_lowers_the_error(n_codebooks):
    centred = rows() - rows().mean(axis=0)
    books, codes = Codebooks.start(centred, n_codebooks, 8, 0)
    residuals = centred - books.decode(codes)
    before = (residuals**2).sum()
    for _ in range(6):
        books.refit(residuals, codes)
        np.testing.assert_allclose(residuals, centred - books.decode(codes), atol=1e-5)
        codes = books.choose(centred, codes)
        residuals = centred - books.decode(codes)
    assert (residuals**2).sum() < 0.96 * before


def test_labels_are_a_permutation_that_bits_explain():
    rng = np.random.default_rng(0)
    signs = ((np.arange(256)[:, None] >> np.arange(8)) & 1) * 2.0 - 1
    shares = np.full(256, 1 / 256)

    def unexplained(codewords, labels):
        b = signs[labels]
        residual = codewords - b @ np.linalg.lstsq(b, codewords, rcond=None)[0]
        return (residual**2).sum() / (codewords**2).sum()

    grid = signs @ np.diag(2.0 ** -np.arange(8)) @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    shuffled = grid[rng.permutation(256)]
    labels = linear_labels(shuffled, shares)
    assert sorted(labels) == list(range(256))
    assert unexplained(shuffled, labels) < 0.02 < 0.9 < unexplained(shuffled, rng.permutation(256))
    cloud = rng.standard_normal((256, 8))
    cloud -= cloud.mean(axis=0)
    assert unexplained(cloud, linear_labels(cloud, shares)) < 0.45 < unexplained(cloud, rng.permutation(256))
