"""MaxSim over codes and over vectors equals its definition."""

import numpy as np
import pytest
import reference
from fakes import unit, vectors_of

from binrag.binarizers import RowLevelsBinarizer
from binrag.errors import InvalidInput
from binrag.ranking.late_interaction import TokenQuery, group_tokens, rescore_token_vectors, rescore_tokens
from binrag.types import TokenCodes, TokenVectors

LENGTHS = [5, 0, 1, 60, 2]


def tokens_of(lengths, dim, seed=0):
    return TokenVectors.of([unit(vectors_of(n, dim, seed + i)) for i, n in enumerate(lengths)], dim)


def coded(tokens, binarizer):
    return TokenCodes.of(binarizer.transform(tokens.vectors), tokens.offsets)


def by_row(candidates, rows):
    assert sorted(candidates.rows.tolist()) == sorted(rows)
    assert list(zip(candidates.scores, candidates.rows, strict=True)) == reference.best_first(
        candidates.scores.tolist(), candidates.rows.tolist()
    )
    scores = dict(zip(candidates.rows.tolist(), candidates.scores.tolist(), strict=True))
    return [scores[row] for row in rows]


@pytest.mark.parametrize("n_planes", [1, 2])
@pytest.mark.parametrize(("dim", "n_query_tokens"), [(1, 1), (20, 32), (64, 33), (100, 7), (384, 70)])
def test_scores_over_codes_equal_maxsim_of_what_they_decode_to(dim, n_query_tokens, n_planes):
    tokens, query = tokens_of(LENGTHS, dim), unit(vectors_of(n_query_tokens, dim, seed=50))
    binarizer = RowLevelsBinarizer(dim, n_planes)
    codes = coded(tokens, binarizer)
    _, levels = reference.row_levels(tokens.vectors, n_planes)
    decoded = levels * codes.rescale.astype(float)[:, None]
    rows = np.array([7, 3, 100, 4, 9])
    scores = by_row(rescore_tokens(codes, TokenQuery.of(binarizer.weights(query)), rows), rows.tolist())
    expected = [
        reference.maxsim(query, decoded[a:b]) for a, b in zip(codes.offsets[:-1], codes.offsets[1:], strict=True)
    ]
    assert scores[1] == expected[1] == -np.inf
    assert scores == pytest.approx(expected, abs=2e-3 * n_query_tokens)


def test_float_scores_equal_the_definition():
    tokens, query = tokens_of(LENGTHS, 24), unit(vectors_of(6, 24, seed=50))
    rows = np.array([7, 3, 100, 4, 9])
    scores = by_row(rescore_token_vectors(tokens, query, rows), rows.tolist())
    assert scores == pytest.approx([reference.maxsim(query, tokens[i]) for i in range(5)], abs=1e-5)
    assert len(rescore_token_vectors(tokens_of([], 24), query, np.zeros(0, np.int64)).rows) == 0


@pytest.mark.parametrize("n_planes", [1, 2])
def test_estimates_are_near_the_float_scores(n_planes):
    tokens, query = tokens_of([30] * 60, 128), unit(vectors_of(8, 128, seed=500))
    rows = np.arange(60)
    binarizer = RowLevelsBinarizer(128, n_planes)
    codes = rescore_tokens(coded(tokens, binarizer), TokenQuery.of(binarizer.weights(query)), rows)
    floats = rescore_token_vectors(tokens, query, rows)
    correlation = np.corrcoef(by_row(codes, rows.tolist()), by_row(floats, rows.tolist()))[0, 1]
    assert correlation > (0.5 if n_planes == 1 else 0.8)


def test_the_largest_sums_fit_their_16_bits():
    """All bits agree with the weights: what is added is as large as it can be."""
    query = np.ones((1, 4096), dtype=np.float32)
    binarizer = RowLevelsBinarizer(4096, 2)
    tokens = TokenVectors.of([query * np.float32(0.01), -query * np.float32(0.01)], 4096)
    scores = rescore_tokens(coded(tokens, binarizer), TokenQuery.of(binarizer.weights(query)), np.arange(2)).scores
    assert scores == pytest.approx([40.96, -40.96], rel=1e-3)


def test_documents_are_taken_by_row():
    tokens = tokens_of(LENGTHS, 16)
    codes = coded(tokens, RowLevelsBinarizer(16, 2))
    rows = np.array([3, 1, 3, 0])
    taken, taken_codes = tokens.take(rows), codes.take(rows)
    for i, row in enumerate(rows):
        assert np.array_equal(taken[i], tokens[row])
        own, given = (slice(*found.offsets[j : j + 2]) for found, j in ((taken_codes, i), (codes, row)))
        assert np.array_equal(taken_codes.codes[own], codes.codes[given])
        assert np.array_equal(taken_codes.rescale[own], codes.rescale[given])
    assert len(codes.take(np.zeros(0, np.int64))) == 0


def test_bytes_of_a_document():
    codes = coded(tokens_of(LENGTHS, 384), RowLevelsBinarizer(384))
    assert codes.document_bytes.tolist() == [n * 50 for n in LENGTHS]
    assert coded(tokens_of([3], 100), RowLevelsBinarizer(100, 2)).document_bytes.tolist() == [3 * (16 + 9 + 2)]


def test_tokens_that_are_alike_become_their_sum():
    a, b = np.eye(4, dtype=np.float32)[:2]
    near_a = unit((a + 0.3 * b)[None])[0]
    grouped = group_tokens(np.stack([a, b, near_a, a]), 0.9)
    assert grouped == pytest.approx(np.stack([2 * a + near_a, b]))
    assert np.array_equal(group_tokens(np.stack([a, b, near_a]), 0.999), np.stack([a, b, near_a]))
    assert group_tokens(np.zeros((0, 4), np.float32), 0.7).shape == (0, 4)
    # a token counts itself, even where it is not of unit length
    assert group_tokens(0.5 * np.stack([a, a]), 0.7) == pytest.approx(0.5 * np.stack([a, a]))


def test_tokens_grouped_at_their_equals_score_the_same():
    tokens, query = tokens_of([9, 4], 16), unit(vectors_of(3, 16, seed=50))
    twice = np.concatenate([query, query])
    found = [rescore_token_vectors(tokens, q, np.arange(2)).scores for q in (twice, group_tokens(twice, 0.9999))]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match="the query has no tokens that count"):
        TokenQuery.of(np.zeros((0, 64), np.float32))
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(InvalidInput, match="expected above 0 and at most 1"):
            group_tokens(np.eye(3, dtype=np.float32), threshold)
    codes = coded(tokens_of([3], 64), RowLevelsBinarizer(64))
    with pytest.raises(ValueError, match="have 8 bytes, the query is for 16"):
        rescore_tokens(codes, TokenQuery.of(np.ones((1, 128), np.float32)), np.arange(1))
