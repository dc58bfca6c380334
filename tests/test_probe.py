import msgpack
import numpy as np
import pytest
from fakes import topical, unit, vectors_of
from hypothesis import given
from hypothesis import strategies as st
from reference import share_of_float_top

from binrag import probe as module
from binrag.binarizers.fitting import checked_code_bytes
from binrag.errors import DimensionMismatch, InvalidInput, InvalidVector
from binrag.probe import Overlap, Probe, probe

DATA = {
    "like text": topical(2000, 128),
    "alive on a few axes only": unit(vectors_of(2000, 128) * np.exp(vectors_of(1, 128, seed=3))),
    "random directions": unit(vectors_of(2000, 128)),
    "random directions, long": unit(vectors_of(1200, 640)),
    "one-sided": unit(np.abs(vectors_of(2000, 128))),
    "one way": unit(topical(2000, 128) + 3 * unit(np.ones((1, 128)))),
}


@pytest.fixture(scope="module")
def probes():
    return {name: probe(vectors.astype(np.float16)) for name, vectors in DATA.items()}


def test_vectors_like_those_of_text_suit_few_bits(probes):
    found = probes["like text"]
    assert found.suits_few_bits
    assert (found.reasons, found.least_bytes) == ([], 0)
    assert (found.binarizer, found.code_bytes, found.rotate) == ("additive", 16, False)
    assert found.verdict.startswith("few bits suit these vectors; use 'additive', 16 bytes a row")


@pytest.mark.parametrize("name", ["random directions", "random directions, long"])
def test_random_directions_are_moved_to_four_bits_and_told_why(probes, name):
    found = probes[name]
    assert not found.suits_few_bits
    assert (found.binarizer, found.code_bytes, found.bits) == ("lloyd-max", found.dim // 2 + 2, 4)
    assert found.sign_information > 0.99  # the signs are alive: it is the ranking that gives them away
    assert "all directions are used alike" in found.verdict
    assert found.levels.top > 0.8 > 0.45 > max(found.sign.top, found.rotated.top)


def test_one_sided_vectors_are_moved_to_four_bits_and_told_why(probes):
    found = probes["one-sided"]
    assert not found.suits_few_bits
    assert (found.binarizer, found.code_bytes, found.least_bytes) == ("lloyd-max", 66, 64)
    assert found.sign_information == 0
    assert "one-sided" in found.verdict
    assert "much the same way" in found.verdict


def test_vectors_that_point_one_way_are_moved_to_four_bits_and_told_why(probes):
    found = probes["one way"]
    assert not found.suits_few_bits
    assert (found.binarizer, found.code_bytes, found.bits) == ("lloyd-max", 66, 4)
    assert "much the same way" in found.verdict


def test_a_rotation_is_advised_where_the_signs_of_few_coordinates_tell_all(probes):
    found = probes["alive on a few axes only"]
    assert found.rotated.top > found.sign.top + 0.2
    assert found.fitted[1].top > found.rotated.top + module.MARGIN
    assert found.binarizer == "additive"  # it brings its own axes
    assert not found.rotate
    short = probe(DATA["alive on a few axes only"][:, :60])
    assert short.fitted == ()
    assert (short.binarizer, short.code_bytes, short.rotate) == ("rotated-sign", 10, True)


def test_codes_that_stand_alone_get_more_bytes():
    vectors = DATA["like text"]
    rescored, alone = probe(vectors), probe(vectors, rescored=False)
    assert alone.fitted == rescored.fitted
    assert alone.bits > rescored.bits
    assert alone.code_bytes > rescored.code_bytes
    assert alone.fitted[module.BUDGETS.index(alone.bits)].top >= module.ENOUGH_ALONE


def test_few_rows_are_not_judged():
    found = probe(DATA["random directions"][:400])
    assert found.n_documents == 350
    assert found.suits_few_bits
    assert found.binarizer == "sign"
    assert found.verdict.startswith("350 rows are too few to judge by, 500 are needed; use 'sign'")


def test_overlaps_are_those_of_the_definition():
    vectors, queries = topical(700, 96), topical(40, 96, seed=5)
    found = probe(vectors, queries=queries)
    assert (found.n_documents, found.n_queries, found.n_candidates, found.held_out) == (700, 40, 17, False)
    signs = np.where(vectors > 0, 1.0, -1.0)
    factors = 1 / (vectors.astype(float) * signs).sum(axis=1)  # unit vectors
    assert found.sign.top == pytest.approx(share_of_float_top(vectors, queries, (queries @ signs.T) * factors, 10))
    # equal distances may go either way
    agreements = np.where(queries > 0, 1.0, -1.0) @ signs.T
    shares = [
        share_of_float_top(vectors, queries, agreements + sign * 1e-3 * (queries @ vectors.T), 17) for sign in (-1, 1)
    ]
    assert shares[0] - 1e-9 <= found.sign.candidates <= shares[1] + 1e-9
    assert shares[1] - shares[0] < 0.3


def test_held_out_rows_are_the_queries_and_no_documents():
    vectors = DATA["like text"]
    found = probe(vectors)
    assert (found.n_queries, found.n_documents, found.held_out) == (250, 1750, True)
    assert "held out" in found.verdict
    scattered = DATA["random directions"]
    assert probe(scattered, queries=scattered).sign.top > probe(scattered).sign.top + 0.04  # a row finds itself
    assert "held out" not in probe(vectors, queries=vectors).verdict


def test_fitted_codes_are_tried_on_rows_they_were_not_fitted_to():
    """Axes of 263 rows hold those rows exactly, in a space of 384 dimensions without structure others not at all."""
    found = probe(unit(vectors_of(600, 384)))
    assert found.fitted[-1].top < 0.6


def test_fitted_codes_gain_with_bits_and_find_the_axes_that_matter(probes):
    for name in ("like text", "alive on a few axes only", "one way"):
        tops = [code.top for code in probes[name].fitted]
        assert 0.6 < tops[1] < tops[2] + 0.02 < tops[3]
        assert tops[0] < tops[1] - 0.05
        assert tops[3] > 0.85
    narrow = np.zeros((1500, 128), dtype=np.float32)
    narrow[:, :16] = vectors_of(1500, 16)
    assert probe(narrow).fitted[1].top > 0.95  # eight bits for each of the 14 first dimensions that vary


def test_statistics_have_their_values():
    n = 4000
    rows = np.ones((n, 4), dtype=np.float32)
    rows[: n // 2, 1] = -1  # 1 bit
    rows[: n // 4, 2] = -1  # 0.8113 bits
    rows[::2, 3] = 0  # zeros are not negative
    found = module._statistics(rows)
    assert found["sign_information"] == pytest.approx((1 + 0.811278) / 4, abs=1e-5)
    assert found["mean_norm"] == pytest.approx(np.linalg.norm([1, 0, 0.5, 0.5]) / ((2 + np.sqrt(3)) / 2), abs=1e-5)


@pytest.mark.parametrize("n", [300, 3000])
@pytest.mark.parametrize(("dim", "used"), [(200, 200), (200, 20), (800, 400)])
def test_the_effective_dimension_does_not_hang_on_the_number_of_rows(n, dim, used):
    rows = np.zeros((n, dim), dtype=np.float32)
    rows[:, :used] = vectors_of(n, used) + 5
    assert module._statistics(rows)["effective_dim"] == pytest.approx(used, rel=0.1)


def test_equal_rows_have_no_dimension():
    found = probe(np.ones((600, 70), dtype=np.float32))
    assert found.effective_dim == 0
    assert found.mean_norm == pytest.approx(1)
    assert Probe.from_record(found.record()) == found


@given(dim=st.integers(1, 130), seed=st.integers(0, 2**32 - 1))
def test_the_rotation_keeps_inner_products(dim, seed):
    flips = np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.float32), (2, dim))
    rows = vectors_of(6, dim, seed=seed)
    turned = module._rotated(rows, flips)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=2e-4 * dim)


@given(n=st.integers(48, 150), dim=st.integers(1, 90), seed=st.integers(0, 1000), rescored=st.booleans())
def test_any_sample_gives_a_record_that_comes_back(n, dim, seed, rescored):
    vectors = vectors_of(n, dim, seed=seed)
    before = vectors.copy()
    found = probe(vectors, seed=seed, rescored=rescored)
    assert np.array_equal(vectors, before)
    assert Probe.from_record(msgpack.unpackb(msgpack.packb(found.record()))) == found
    assert probe(vectors, seed=seed, rescored=rescored) == found
    assert len(found.fitted) == (4 if dim >= 64 else 0)
    for code in (found.sign, found.rotated, found.levels, *found.fitted):
        assert 0 <= code.top <= 1
        assert 0 <= code.candidates <= 1
    assert found.n_documents + found.n_queries == n


def test_a_large_sample_is_drawn_from():
    found = probe(np.tile(vectors_of(2500, 8), (2, 1)))
    assert found.n_documents + found.n_queries == module.MAX_ROWS
    assert probe(vectors_of(60, 8), queries=vectors_of(900, 8)).n_queries == module.MAX_QUERIES


@pytest.mark.parametrize(
    ("vectors", "queries", "error", "message"),
    [
        (vectors_of(47, 8), None, InvalidInput, "47 rows are too few to probe, 48 are needed"),
        (vectors_of(90, 8)[0], None, InvalidVector, "the vectors have shape"),
        (vectors_of(90, 8), vectors_of(2, 9), DimensionMismatch, "the queries have 9 dimensions, the vectors have 8"),
        (vectors_of(90, 8), vectors_of(0, 8), InvalidInput, "there is no query"),
        (vectors_of(90, 8), vectors_of(2, 8)[0], InvalidVector, "the queries have shape"),
        (np.full((90, 8), np.nan), None, InvalidVector, "the vectors hold NaN"),
        (vectors_of(90, 8), np.full((2, 8), np.inf), InvalidVector, "the queries hold NaN or infinity"),
    ],
)
def test_what_cannot_be_probed_is_refused(vectors, queries, error, message):
    with pytest.raises(error, match=message):
        probe(vectors, queries=queries)


def made(sign, rotated=0.0, fitted=(0.0, 0.0, 0.0, 0.0), *, candidates=0.0, dim=384, n=2000, rescored=True, levels=0.9):
    """A probe with the given shares in the top 10."""
    codes = {"sign": Overlap(candidates, sign), "rotated": Overlap(0, rotated), "levels": Overlap(1, levels)}
    return Probe(
        *(dim, n, 256, 50, True, rescored, 0.9, 0.2, 90.0),
        **codes,
        fitted=tuple(Overlap(0, top) for top in fitted),
    )


@pytest.mark.parametrize(
    ("found", "suits", "binarizer", "code_bytes"),
    [
        (made(0.72, 0.72, (0.40, 0.77, 0.88, 0.96)), True, "additive", 48),
        (made(0.72, 0.72, (0.66, 0.77, 0.88, 0.96)), True, "additive", 48),
        (made(0.72, 0.72, (0.74, 0.85, 0.92, 0.96)), True, "additive", 26),
        (made(0.72, 0.72, (0.66, 0.77, 0.88, 0.96), rescored=False), True, "additive", 96),
        (made(0.72, 0.72, (0.40, 0.77, 0.82, 0.96), rescored=False), True, "additive", 192),
        (made(0.72, 0.72, (0.40, 0.71, 0.88, 0.96)), True, "sign", 50),
        (made(0.60, 0.80, (0.40, 0.68, 0.80, 0.90)), True, "rotated-sign", 50),
        (made(0.72, 0.74, (0.40, 0.70, 0.80, 0.90)), True, "sign", 50),
        (made(0.24, 0.38, (0.40, 0.70, 0.75, 0.91)), False, "lloyd-max", 194),
        (made(0.24, 0.38, (0.40, 0.70, 0.86, 0.91)), False, "additive", 96),
        (made(0.30, 0.30, (0.40, 0.24, 0.50, 0.80)), False, "lloyd-max", 194),
        (made(0.30, 0.30, (0.40, 0.24, 0.50, 0.80), rescored=False), False, "lloyd-max", 194),
        (made(0.50, 0.50, (0.40, 0.50, 0.60, 0.90), candidates=0.99), True, "sign", 50),
        (made(0.30, 0.30, (), dim=32), False, "sign", 10),
        (made(0.30, 0.60, (), dim=32), False, "rotated-sign", 10),
        (made(0.30, 0.30, (0.40, 0.24, 0.50, 0.80), n=499), True, "sign", 50),
    ],
)
def test_advice_follows_from_what_was_measured(found, suits, binarizer, code_bytes):
    assert (found.suits_few_bits, found.binarizer, found.code_bytes) == (suits, binarizer, code_bytes)
    assert found.least_bytes == (0 if suits else found.bits * found.dim // 8)
    assert found.rotate == (binarizer == "rotated-sign")
    assert f"use '{binarizer}', {code_bytes} bytes a row" in found.verdict


@given(dim=st.integers(module.FITTED_DIM, 4096))
def test_advised_bytes_are_some_that_a_fit_takes(dim):
    for bits in module.BUDGETS:
        assert checked_code_bytes(module.fitted_bytes(dim, bits), dim) >= 8
    assert module.fitted_bytes(dim, 4) == -(-dim // 2)
