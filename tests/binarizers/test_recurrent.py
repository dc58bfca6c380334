"""Recurrent codes: planes of signs of what is left, against an oracle in double precision."""

from dataclasses import astuple
from itertools import pairwise

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers.itq import itq_axes
from binrag.binarizers.recurrent import RecurrentBinarizer, SignMap, plane_widths
from binrag.errors import InvalidInput, InvalidVector, TrainingError
from binrag.registry import binarizer_from_record, record_of

DIM = 64


def corpus(n, dim=DIM, seed=0):
    """Vectors of unequal variances around a mean that is not zero."""
    return vectors_of(n, dim, seed) / np.sqrt(1 + np.arange(dim, dtype=np.float32)) + np.float32(0.1)


def with_hidden(binarizer, n_hidden=24, seed=3):
    """The same planes, with hidden layers that do something."""
    draw = np.random.default_rng(seed)

    def bent(sign_map):
        inner = draw.standard_normal((len(sign_map.linear), n_hidden)).astype(np.float32)
        offsets = draw.standard_normal(n_hidden).astype(np.float32)
        outer = 0.3 * draw.standard_normal((n_hidden, len(sign_map.offsets))).astype(np.float32)
        return SignMap(sign_map.linear, sign_map.offsets + np.float32(0.05), inner, offsets, outer)

    maps = [bent(sign_map) for sign_map in binarizer.maps]
    return RecurrentBinarizer(
        binarizer.mean, binarizer.metric, maps, binarizer.steps, binarizer.decoder, bent(binarizer.query_map)
    )


@pytest.fixture(scope="module", params=[0, 24], ids=["linear", "hidden"])
def nested(request):
    fitted = RecurrentBinarizer.fit(corpus(1500), code_bytes=26, seed=2)
    return with_hidden(fitted) if request.param else fitted


def bits_of(codes):
    code = np.hstack((codes.words.view(np.uint8), codes.rest))
    return np.unpackbits(code, axis=1, bitorder="little").astype(bool)


def test_codes_equal_the_definition(nested):
    x = corpus(300, seed=5)
    expected = reference.recurrent_bits(x, nested.mean, map(astuple, nested.maps), nested.steps)
    codes = nested.transform(x)
    assert np.array_equal(bits_of(codes)[:, : nested.n_bits], expected)
    y, decoded = x.astype(float) - nested.mean, np.where(expected, 1.0, -1.0) @ nested.decoder
    factors = ((y @ nested.metric) * y).sum(1) / ((y @ nested.metric) * decoded).sum(1)
    assert codes.rescale.astype(float) == pytest.approx(factors, rel=2e-3)


def test_the_query_scores_what_the_code_decodes_to(nested):
    x, q = corpus(50, seed=5), vectors_of(1, DIM, seed=6)[0]
    bits = reference.recurrent_bits(x, nested.mean, map(astuple, nested.maps), nested.steps)
    decoded = np.where(bits, 1.0, -1.0) @ nested.decoder
    query, codes = nested.query(q), nested.transform(x)
    code = np.hstack((codes.words.view(np.uint8), codes.rest))
    sums = query.tables[np.arange(code.shape[1]), code].sum(axis=1)
    assert sums == pytest.approx(decoded @ q, rel=1e-3, abs=1e-4)
    assert query.offset == pytest.approx(float(q @ nested.mean), rel=1e-5)


def test_a_nested_query_is_scanned_with_the_signs_of_its_own_map(nested):
    q = vectors_of(1, DIM, seed=6)[0]
    query = nested.query(q)
    expected = reference.recurrent_bits(q[None], nested.mean, [astuple(nested.query_map)], [nested.steps[0]])
    assert query.costs is None
    assert np.array_equal(np.unpackbits(query.words.view(np.uint8), bitorder="little").astype(bool), expected[0])


def test_a_row_alone_has_the_code_it_has_in_a_batch(nested):
    x = corpus(100, seed=8)
    together = nested.transform(x)
    for row in range(len(x)):
        alone = nested.transform(x[row : row + 1])
        assert np.array_equal(bits_of(alone)[0], bits_of(together)[row])
        assert alone.rescale[0] == together.rescale[row]


def test_planes_are_prefixes(nested):
    x = corpus(200, seed=9)
    codes = bits_of(nested.transform(x))
    for n_planes in range(1, nested.n_planes + 1):
        prefix = nested.prefix(n_planes)
        assert prefix.n_planes == n_planes
        assert np.array_equal(bits_of(prefix.transform(x))[:, : prefix.n_bits], codes[:, : prefix.n_bits])
    with pytest.raises(InvalidInput, match=f"0 planes .* there are {nested.n_planes}"):
        nested.prefix(0)


def test_it_comes_back_from_the_bytes_of_its_record(nested):
    again = binarizer_from_record(msgpack.unpackb(msgpack.packb(record_of(nested))))
    x = corpus(50, seed=4)
    assert record_of(again) == record_of(nested)
    assert np.array_equal(bits_of(again.transform(x)), bits_of(nested.transform(x)))


def test_every_plane_lowers_the_error():
    x = corpus(2000)
    fitted = RecurrentBinarizer.fit(x, code_bytes=8 + 16 + 2)
    y, unseen = x - fitted.mean, corpus(500, seed=1) - fitted.mean
    assert [len(sign_map.offsets) for sign_map in fitted.maps] == [64, *[16] * 8]
    for rows in (y, unseen):
        prefixes = [fitted.prefix(n) for n in range(1, 10)]
        left = [rows - np.where(prefix.bits(rows), 1.0, -1.0) @ prefix.decoder for prefix in prefixes]
        errors = [(rest**2).sum() / (rows**2).sum() for rest in left]
        assert errors[0] < 0.45
        assert all(after < 0.9 * before for before, after in pairwise(errors))
        assert errors[-1] < 0.25 * errors[0]


@pytest.mark.parametrize(
    ("n_bytes", "dim", "widths"),
    [
        (46, 384, [96, 96, 88, 88]),
        (48, 384, [384]),
        (94, 384, [384, 96, 96, 88, 88]),
        (9, 100, [64, 8]),
        (8, 64, [64]),
        (13, 127, [64, 16, 16, 8]),
        (17, 64, [64, *[16] * 4, 8]),
    ],
)
def test_bits_are_shared_by_planes(n_bytes, dim, widths):
    assert plane_widths(8 * n_bytes, dim) == widths


@pytest.mark.parametrize(("code_bytes", "n_words", "nested"), [(12, 1, False), (18, 2, True), (19, 2, True)])
def test_the_shape_follows_from_the_bytes(code_bytes, n_words, nested):
    fitted = RecurrentBinarizer.fit(corpus(600, 128), code_bytes=code_bytes)
    assert (fitted.code_bytes, fitted.shape.n_words, fitted.nested) == (code_bytes, n_words, nested)
    assert (fitted.query(vectors_of(1, 128)[0]).costs is None) == nested
    assert fitted.transform(corpus(3, 128)).rest.shape == (3, code_bytes - 2 - 8 * n_words)


def test_the_axes_are_orthonormal_and_their_signs_near_the_rows():
    rows = corpus(1000) - corpus(1000).mean(axis=0)
    axes = itq_axes(rows, 40, np.random.default_rng(0))
    assert axes.T @ axes == pytest.approx(np.eye(40), abs=1e-5)
    turned = itq_axes(rows, 40, np.random.default_rng(0), n_iterations=0)
    closeness = [np.abs(rows @ a).sum() for a in (turned, axes)]
    assert closeness[1] > 1.01 * closeness[0]


def test_the_seed_decides_the_fit():
    x = corpus(600)
    records = [
        msgpack.packb(RecurrentBinarizer.fit(x, code_bytes=14, seed=s, n_hidden=8).get_config()) for s in (1, 1, 2)
    ]
    assert records[0] == records[1]
    assert records[0] != records[2]


def test_a_hidden_layer_changes_nothing_before_training():
    x = corpus(600)
    plain, wide = (RecurrentBinarizer.fit(x, code_bytes=14, n_hidden=n) for n in (0, 8))
    assert wide.maps[0].inner.shape == (DIM, 8)
    assert np.array_equal(plain.transform(x).words, wide.transform(x).words)


def test_progress_counts_planes():
    seen = []
    RecurrentBinarizer.fit(corpus(600), code_bytes=26, progress=lambda *counts: seen.append(counts))
    assert seen == [(i, 9) for i in range(1, 10)]


def test_queries_weigh_what_is_not_scanned():
    x, q = corpus(600), corpus(100, seed=3)
    plain, weighted = RecurrentBinarizer.fit(x, code_bytes=14), RecurrentBinarizer.fit(x, code_bytes=14, queries=q)
    a, b = plain.transform(x), weighted.transform(x)
    assert np.array_equal(a.words, b.words)
    assert not np.array_equal(a.rest, b.rest)
    assert not np.array_equal(a.rescale, b.rescale)


def test_bad_input():
    with pytest.raises(TrainingError, match="200 rows are too few"):
        RecurrentBinarizer.fit(corpus(200), code_bytes=26)
    with pytest.raises(InvalidInput, match="code_bytes is 5"):
        RecurrentBinarizer.fit(corpus(500), code_bytes=5)
    broken = corpus(500)
    broken[7, 3] = np.nan
    with pytest.raises(InvalidVector, match="row 7"):
        RecurrentBinarizer.fit(broken, code_bytes=14)
    fitted = RecurrentBinarizer.fit(corpus(500), code_bytes=14)
    with pytest.raises(InvalidInput, match="do not fit planes"):
        RecurrentBinarizer(fitted.mean, fitted.metric, fitted.maps, fitted.steps[:1], fitted.decoder, fitted.query_map)
