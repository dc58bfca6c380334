"""Rescoring equals the formulas, and a row's score does not depend on what else is scored."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from fakes import lattice, vectors_of
from hypothesis import given
from hypothesis import strategies as st

from binrag.binarizers import RotatedSignBinarizer, SignBinarizer
from binrag.indexes import group_words
from binrag.indexes.flat import bytes_of
from binrag.ranking.rescore import integer_tables, rescore_codes, rescore_vectors
from binrag.types import Candidates, Codes, Query


def rescored(codes, query, rows):
    """The candidates, which are the same for words and for bytes interleaved."""
    rescale = np.zeros(0, np.float16) if codes.rescale is None else codes.rescale
    views = [bytes_of(group_words(codes.words, by_tables), by_tables) for by_tables in (False, True)]
    first, second = (rescore_codes(view, codes.rest, rescale, query, rows) for view in views)
    assert (first.rows.tolist(), first.scores.tolist()) == (second.rows.tolist(), second.scores.tolist())
    return first


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_tables_are_rounded_to_16_bits(scale):
    tables = vectors_of(7, 256) * np.float32(scale)
    integers, step = integer_tables(tables)
    assert integers.dtype == np.int16
    assert np.abs(integers).max() == 32767
    assert step == np.abs(tables).max().astype(float) / 32767
    assert np.abs(integers * step - tables).max() <= 0.5001 * step


def test_a_query_to_which_all_codes_are_equal():
    binarizer = SignBinarizer(64)
    codes = binarizer.transform(vectors_of(5, 64))
    query = replace(binarizer.query(vectors_of(1, 64)[0]), tables=np.zeros((8, 256), np.float32), offset=0.5)
    got = rescored(codes, query, np.array([3, 1, 2]))
    assert (got.rows.tolist(), got.scores.tolist()) == ([1, 2, 3], [0.5] * 3)


@pytest.mark.parametrize(("n_words", "n_rest"), [(1, 0), (1, 1), (2, 7), (6, 46), (0, 5)])
def test_sums_over_tables_equal_the_oracle(n_words, n_rest):
    draw = np.random.default_rng(n_rest)
    codes = Codes(
        reference.random_words(50, n_words) if n_words else np.zeros((50, 0), np.uint64),
        draw.integers(0, 256, (50, n_rest)).astype(np.uint8),
        draw.standard_normal(50).astype(np.float16),
    )
    tables = vectors_of(8 * n_words + n_rest, 256, seed=1)
    query = Query(np.zeros(1, np.float32), np.zeros(n_words, np.uint64), tables, -0.25)
    rows = draw.permutation(50)[:30]
    got = rescored(codes, query, rows)
    scores = reference.table_scores(reference.code_of(codes)[rows], codes.rescale[rows], tables, -0.25)
    assert list(zip(got.scores.tolist(), got.rows.tolist(), strict=True)) == reference.best_first(scores, rows.tolist())


@pytest.mark.parametrize(("n_words", "n_rest"), [(1, 0), (2, 7), (6, 46)])
def test_places_of_factors_are_the_last_byte_of_the_words(n_words, n_rest):
    """Its table is added up as any other byte's; it may be zeros, as those of binarizers are."""
    draw = np.random.default_rng(n_rest)
    words = draw.integers(0, 2**64, (80, n_words), dtype=np.uint64)
    codes = Codes(words, draw.integers(0, 256, (80, n_rest)).astype(np.uint8), None)
    factors = draw.standard_normal(256).astype(np.float32)
    factors[0] = 0
    codes.words[3, -1] &= np.uint64(2**56 - 1)
    query = Query(np.zeros(1, np.float32), None, vectors_of(8 * n_words + n_rest, 256), 0.75, None, factors)
    rows = draw.permutation(80)[:60]
    rows[0] = 3
    got = rescored(codes, query, rows)
    code = reference.code_of(codes)[rows]
    scores = reference.table_scores(code, factors[code[:, 8 * n_words - 1]], query.tables, 0.75)
    assert list(zip(got.scores.tolist(), got.rows.tolist(), strict=True)) == reference.best_first(scores, rows.tolist())
    assert got.scores[got.rows.tolist().index(3)] == 0.75
    alone = rescored(codes, query, rows[7:8])
    assert alone.scores[0] == got.scores[got.rows.tolist().index(rows[7])]


@pytest.mark.parametrize("dim", [1, 2, 63, 64, 65, 127, 384])
@pytest.mark.parametrize("with_mean", [False, True])
def test_code_scores_equal_the_formula(dim, with_mean):
    vectors = lattice(60, dim, seed=dim)
    mean = vectors_of(1, dim, seed=1)[0] if with_mean else None
    binarizer = SignBinarizer(dim, mean=mean)
    codes = binarizer.transform(vectors)
    query_vector = vectors_of(1, dim, seed=2)[0]
    query = binarizer.query(query_vector)
    rows = np.random.default_rng(3).permutation(60)[:40].astype(np.int64)
    got = rescored(codes, query, rows)

    bits = reference.code_bits(vectors, mean)[rows]
    offset = 0.0 if mean is None else float(query_vector.astype(np.float64) @ mean.astype(np.float64))
    scores = reference.code_scores(bits, reference.rescale_of(vectors, mean)[rows], query_vector, query.offset)
    assert query.offset == pytest.approx(offset, rel=1e-12, abs=1e-12)
    expected = reference.best_first(scores, rows.tolist())
    assert got.rows.tolist() == [row for _, row in expected]
    assert got.scores.tolist() == [score for score, _ in expected]


def test_a_code_estimates_its_own_vector_exactly_up_to_rounding():
    vectors = vectors_of(50, 384)
    mean = vectors.mean(axis=0)
    for binarizer in (
        SignBinarizer(384),
        SignBinarizer(384, mean=mean),
        RotatedSignBinarizer(384),
        RotatedSignBinarizer(384, mean=mean),
    ):
        codes = binarizer.transform(vectors)
        for row in (0, 17, 49):
            y = vectors[row] if binarizer.mean is None else vectors[row] - mean
            query = binarizer.query(y)
            got = rescored(codes, query, np.array([row]))
            assert got.scores[0] - query.offset == pytest.approx(float(y @ y), rel=1e-3)


def test_a_row_scores_the_same_alone_and_in_a_batch():
    binarizer = SignBinarizer(100)
    vectors = vectors_of(90, 100)
    codes = binarizer.transform(vectors)
    query = binarizer.query(vectors[3])
    together = rescored(codes, query, np.arange(90))
    exact = rescore_vectors(vectors, query, np.arange(90))
    for scores, alone in (
        (together, lambda r: rescored(codes, query, np.array([r]))),
        (exact, lambda r: rescore_vectors(vectors[r : r + 1], query, np.array([r]))),
    ):
        for row, score in zip(scores.rows.tolist(), scores.scores.tolist(), strict=True):
            assert alone(row).scores.tolist() == [score]


@pytest.mark.parametrize("dim", [1, 5, 64, 384])
def test_vector_scores_are_inner_products_best_first(dim):
    vectors = lattice(80, dim, seed=4)
    query_vector = lattice(1, dim, seed=5)[0]
    query = Query(query_vector, np.zeros(1, np.uint64), np.zeros((8, 256), np.float32), 0.0)
    rows = np.arange(80)[::-1].copy() * 3
    got = rescore_vectors(vectors, query, rows)
    scores = (vectors.astype(np.float64) @ query_vector.astype(np.float64)).tolist()  # integers: exact
    expected = reference.best_first(scores, rows.tolist())
    assert list(zip(got.scores.tolist(), got.rows.tolist(), strict=True)) == expected


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), st.integers(0, 50)), max_size=30))
def test_the_total_order(pairs):
    rows = list(dict(map(reversed, pairs)))
    scores = [score for score, _ in {row: (score, row) for score, row in pairs}.values()]
    ordered = Candidates.ordered(np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float64))
    expected = reference.best_first(scores, rows)
    assert list(zip(ordered.scores.tolist(), ordered.rows.tolist(), strict=True)) == expected
    assert ordered.top(3).rows.tolist() == [row for _, row in expected[:3]]


def test_no_rows_give_no_candidates():
    binarizer = SignBinarizer(70)
    codes = binarizer.transform(vectors_of(5, 70))
    query = binarizer.query(vectors_of(1, 70)[0])
    nothing = np.zeros(0, dtype=np.int64)
    assert len(rescored(codes, query, nothing).rows) == 0
    assert len(rescore_vectors(np.zeros((0, 70), np.float32), query, nothing).rows) == 0
