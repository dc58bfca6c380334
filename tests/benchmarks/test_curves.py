import numpy as np
import pytest

from benchmarks import code_tables, curves

N = 400
RNG = np.random.default_rng(0)


def flat(value):
    return np.full(4, value)


def measured(recall, row_bytes, **changed):
    settings = {
        "data": "a",
        "fitted_on": "a",
        "is_ours": False,
        "family": "PQ",
        "name": f"PQ{row_bytes}",
        "variant": "plain",
        "seeds": 1,
        "row_bytes": row_bytes,
        "model_bytes": 1000,
        "n_rows": 500,
        "fit_seconds": 1.0,
        "rows_a_second": 10.0,
        "recall_10": recall,
        "recall_100": recall,
        "ndcg_10": recall,
        "float_ndcg_10": np.ones_like(recall),
    }
    return curves.Measured(**{**settings, **changed})


def test_the_frontier_leaves_out_what_fewer_bytes_beat():
    points = [(64, flat(0.5)), (48, flat(0.6)), (48, flat(0.4)), (96, flat(0.6)), (128, flat(0.7))]
    assert [(size, values[0]) for size, values in curves.frontier(points)] == [(48, 0.6), (128, 0.7)]


def test_a_curve_is_straight_over_the_logarithm_of_bytes():
    points = [(32, flat(0.5)), (128, flat(0.9)), (512, flat(0.95))]
    assert curves.interpolated(points, 64)[0] == pytest.approx(0.7)
    assert curves.interpolated(points, 48)[0] == pytest.approx(0.5 + 0.4 * np.log(1.5) / np.log(4))
    assert curves.interpolated(points, 32)[0] == 0.5
    assert curves.interpolated(points, 128)[0] == 0.9
    assert curves.interpolated(points, 4096)[0] == 0.95
    assert curves.interpolated(points, 31) is None
    assert curves.interpolated([], 31) is None


def test_a_curve_is_interpolated_query_by_query():
    points = [(10, np.array([0.0, 1.0])), (1000, np.array([1.0, 0.6]))]
    assert curves.interpolated(points, 100).tolist() == pytest.approx([0.5, 0.8]) or (
        curves.frontier(points)[-1][0] == 1000
    )


def test_leads_are_paired_and_the_strongest_comes_first():
    hard = RNG.random(N)
    ours = measured(hard, 96, is_ours=True, family="x", variant="nested")
    near = [measured(hard - 0.03, 64), measured(hard - 0.01, 144)]
    far = [measured(hard - 0.3, 80, family="SQ")]
    above = [measured(hard + 0.1, 100, family="RaBitQ")]
    elsewhere = [measured(hard + 0.1, 64, data="b"), measured(hard + 0.1, 64, fitted_on="own")]
    strongest, weakest = curves.leads(ours, [*far, *near, *above, *elsewhere])
    assert (strongest.family, weakest.family) == ("PQ", "SQ")
    assert strongest.difference == pytest.approx(0.02)
    assert strongest.interval == pytest.approx((0.02, 0.02)), "both sides differ alike on every query"
    assert strongest.is_ahead


def test_a_lead_within_the_noise_is_none():
    ours = measured(RNG.random(N) + 0.001, 96, is_ours=True, family="x", variant="nested")
    (lead,) = curves.leads(ours, [measured(RNG.random(N), 96)])
    assert lead.interval[0] < 0 < lead.interval[1]
    assert not lead.is_ahead


def test_targets_name_the_strongest_peer_and_whether_all_are_beaten():
    hard = RNG.random(N)
    ours = measured(hard, 96, is_ours=True, family="x", name="x 96", variant="nested", plane_100=np.full(N, 0.97))
    found = [ours, measured(hard - 0.1, 96), measured(hard + 0.05, 90, family="OPQ", variant="centred, rescaled")]
    (row,) = code_tables.targets(found)
    assert (row["size"], row["shape"], row["code"]) == (96, "nested", "x 96")
    assert row["scan_top10_in_100"] == pytest.approx(0.97)
    assert row["strongest"]["family"] == "OPQ"
    assert not row["strongest"]["is_ahead_of_all"]
    assert "| OPQ, centred, rescaled |" in code_tables.target_table([row])
    (row,) = code_tables.targets(found[:2])
    assert row["strongest"]["is_ahead_of_all"]
    (row,) = code_tables.targets(found[:1])
    assert row["strongest"] is None
    assert "| – | – | – | – |" in code_tables.target_table([row])


def test_means_are_over_the_sets_that_were_not_fitted_on():
    values = RNG.random(N)
    found = [
        measured(values, 48, data=data, fitted_on=fitted_on, ndcg_10=share * values, float_ndcg_10=values)
        for data, fitted_on, share in [("a", "a", 0.1), ("b", "a", 0.8), ("c", "a", 1.0), ("b", "own", 0.5)]
    ]
    (row,) = code_tables.means(found, "a")
    assert row["sets"] == ["b", "c"]
    assert row["ndcg_ratio"] == pytest.approx(0.9)
    assert row["ndcg_ratio_interval"] == pytest.approx((0.9, 0.9))
    (row,) = code_tables.means(found, "own")
    assert row["ndcg_ratio"] == pytest.approx(0.5)


def test_the_model_is_told_by_row():
    row = code_tables.figures(measured(np.ones(3), 48))
    assert row["model_bytes_a_row"] == 2.0
    assert row["two_stage_recall_at_10"] is None
