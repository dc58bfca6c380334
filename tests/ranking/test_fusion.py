"""Fusion against the definitions, ties included."""

import numpy as np
import pytest
import reference

from binrag.errors import InvalidInput
from binrag.ranking import fusion
from binrag.types import Candidates, IdfCoverage, ReciprocalRank, WeightedSum


def legs_of(seed):
    """Two legs that share some rows, with tied scores."""
    rng = np.random.default_rng(seed)
    legs = []
    for n in rng.integers(0, 12, size=2):
        rows = rng.choice(15, size=n, replace=False)
        legs.append(Candidates.ordered(rows.astype(np.int64), np.round(rng.random(n), 1)))
    return legs


def as_dict(leg):
    return dict(zip(leg.rows.tolist(), leg.scores.tolist(), strict=True))


def check(fused, legs, expected):
    assert fused.candidates.rows.tolist() == [row for _, row in expected]
    assert np.allclose(fused.candidates.scores, [score for score, _ in expected], rtol=1e-12, atol=0)
    for column, leg in enumerate(legs):
        for row, rank, score in zip(
            fused.candidates.rows.tolist(), fused.ranks[:, column], fused.scores[:, column], strict=True
        ):
            where = leg.rows.tolist()
            assert rank == (where.index(row) + 1 if row in where else 0)
            if row in where:
                assert score == as_dict(leg)[row]


@pytest.mark.parametrize("seed", range(30))
def test_reciprocal_ranks(seed):
    legs = legs_of(seed)
    rows = [leg.rows.tolist() for leg in legs]
    check(fusion.by_ranks(*legs, ReciprocalRank()), legs, reference.reciprocal_ranks(rows, (1, 1), 60))
    check(fusion.by_ranks(*legs, ReciprocalRank((0.3, 2), 5)), legs, reference.reciprocal_ranks(rows, (0.3, 2), 5))


@pytest.mark.parametrize("scale", ["min-max", "z"])
@pytest.mark.parametrize("seed", range(30))
def test_weighted_scores(seed, scale):
    legs = legs_of(seed)
    for weights in ((0.5, 0.5), (1, 0), (0.25, 0.5)):
        fused = fusion.by_scores(*legs, WeightedSum(weights, scale))
        expected = {row: score for score, row in reference.weighted_scores(list(map(as_dict, legs)), weights, scale)}
        assert {row: pytest.approx(score, abs=1e-12) for row, score in expected.items()} == as_dict(fused.candidates)
        order = np.lexsort((fused.candidates.rows, -fused.candidates.scores))
        assert order.tolist() == list(range(len(order)))


@pytest.mark.parametrize("seed", range(30))
def test_coverage(seed):
    legs = legs_of(seed)
    rows = fusion.union(*legs)
    assert rows.tolist() == sorted({*legs[0].rows.tolist(), *legs[1].rows.tolist()})
    rng = np.random.default_rng(seed)
    coverage = np.round(rng.random(len(rows)), 1)
    dense = np.array([as_dict(legs[0]).get(row, -0.5) for row in rows.tolist()])
    for weight, exponent in ((0.2, 3.0), (0.0, 1.0), (2, 0.5)):
        fused = fusion.by_coverage(*legs, rows, dense, coverage, IdfCoverage(weight, exponent))
        scores = [d + weight * c**exponent for d, c in zip(dense.tolist(), coverage.tolist(), strict=True)]
        check(fused, legs, reference.best_first(scores, rows.tolist()))
        of = dict(zip(rows.tolist(), dense.tolist(), strict=True))
        assert fused.scores[:, 0].tolist() == [of[row] for row in fused.candidates.rows.tolist()]


def test_a_leg_that_found_a_row_leaves_the_other_score_open():
    dense, lexical = Candidates(np.array([4]), np.array([0.5])), Candidates(np.array([2]), np.array([7.0]))
    fused = fusion.by_ranks(dense, lexical, ReciprocalRank())
    assert fused.candidates.rows.tolist() == [2, 4]
    assert fused.ranks.tolist() == [[0, 1], [1, 0]]
    assert np.array_equal(fused.scores, [[np.nan, 7.0], [0.5, np.nan]], equal_nan=True)


@pytest.mark.parametrize("weights", [(-0.1, 1), (0, 0), (1,), (1, 1, 1), (float("nan"), 1), (float("inf"), 1), "ab", 1])
def test_weights_without_a_meaning_are_refused(weights):
    for kind in (ReciprocalRank, WeightedSum):
        with pytest.raises(InvalidInput, match=r"weights is .*, expected two numbers"):
            kind(weights)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReciprocalRank(rank_constant=0), "rank_constant is 0"),
        (lambda: ReciprocalRank(rank_constant=True), "rank_constant is True"),
        (lambda: WeightedSum(scale="sum"), "scale is 'sum'"),
        (lambda: IdfCoverage(-1), "weight is -1"),
        (lambda: IdfCoverage(float("nan")), "weight is nan"),
        (lambda: IdfCoverage("1"), "weight is '1'"),
        (lambda: IdfCoverage(1, 0), "exponent is 0"),
    ],
)
def test_other_settings_without_a_meaning_are_refused(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_scores_that_are_not_of_the_rows_of_both_legs_are_refused():
    legs = legs_of(1)
    rows = fusion.union(*legs)
    zeros = np.zeros(len(rows))
    with pytest.raises(ValueError, match="expected those of"):
        fusion.by_coverage(*legs, rows[1:], zeros[1:], zeros[1:], IdfCoverage())


def test_coverage_without_a_weight_has_that_for_cosines():
    legs = legs_of(1)
    rows = fusion.union(*legs)
    own = (*legs, rows, np.zeros(len(rows)), np.ones(len(rows)))
    fused = fusion.by_coverage(*own, IdfCoverage())
    assert set(fused.candidates.scores.tolist()) == {fusion.WEIGHT} == {0.2}
