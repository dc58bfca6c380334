"""Costs of half bytes: the tables in steps of one size, and sums that the scan can hold."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from binrag.binarizers.costs import scan_costs


def separable(low, high):
    """tables[p, v + 16 w] = low[p, v] + high[p, w]."""
    return (np.asarray(high)[:, :, None] + np.asarray(low)[:, None, :]).reshape(-1, 256)


def losses_of(halves):
    return halves.max(axis=-1, keepdims=True) - halves


def holds(costs, n_bytes):
    """The bounds of a byte and of a row; and the best of every half costs nothing."""
    assert (costs.shape, costs.dtype) == ((2, n_bytes, 16), np.uint8)
    largest = costs.max(axis=2).astype(int)
    assert largest.sum(axis=0).max(initial=0) <= 255
    assert largest.sum() <= 65534
    assert (costs.min(axis=2) == 0).all()


def step_of(halves):
    """As small as a byte in 8 bits and a row in 16 allow: 254 and 65,534, with half a step to spare for rounding."""
    largest = losses_of(halves).max(axis=2)
    return max(largest.sum(axis=0).max() / 254, largest.sum() / (65534 - 2 * halves.shape[1]))


@pytest.mark.parametrize("n_bytes", [1, 8, 96, 300, 512, 5000])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_separable_tables_come_back_to_within_half_a_step(n_bytes, scale):
    draw = np.random.default_rng(n_bytes)
    halves = draw.standard_normal((2, n_bytes, 16)) * draw.random((2, n_bytes, 1)) ** 4 * scale
    costs = scan_costs(separable(*halves).astype(np.float32))
    holds(costs, n_bytes)
    step = step_of(halves)
    assert np.abs(costs * step - losses_of(halves)).max() <= 0.501 * step


def test_distances_follow_scores():
    draw = np.random.default_rng(1)
    tables = separable(*draw.standard_normal((2, 48, 16))).astype(np.float32)
    code = draw.integers(0, 256, (500, 48), dtype=np.uint8)
    scores = tables[np.arange(48), code].sum(axis=1, dtype=float)
    assert np.corrcoef(reference.table_distances(code, scan_costs(tables)), scores)[0, 1] < -0.9999


def test_of_other_tables_the_nearest_separable_ones():
    """By least squares over 32 indicators, from the definition."""
    draw = np.random.default_rng(2)
    tables = draw.standard_normal((6, 256)).astype(np.float32)
    tables[3:] += separable(*draw.standard_normal((2, 3, 16))).astype(np.float32)
    v = np.arange(256)
    indicators = np.hstack([(v % 16)[:, None] == np.arange(16), (v // 16)[:, None] == np.arange(16)]).astype(float)
    halves = np.linalg.lstsq(indicators, tables.T.astype(float))[0].T.reshape(6, 2, 16).transpose(1, 0, 2)
    costs, step = scan_costs(tables), step_of(halves)
    holds(costs, 6)
    assert np.abs(costs * step - losses_of(halves)).max() <= 0.501 * step


@pytest.mark.parametrize("value", [0.0, 1.0, -3e38, 1e-45])
@pytest.mark.parametrize("n_bytes", [0, 1, 7, 16000])
def test_tables_that_tell_nothing_apart_cost_nothing(n_bytes, value):
    costs = scan_costs(np.full((n_bytes, 256), value, dtype=np.float32))
    holds(costs, n_bytes)
    assert not costs.any()


@pytest.mark.parametrize("value", [3e38, -3e38, 1.0, 1e-45, -1e-45])
@pytest.mark.parametrize("n_bytes", [1, 8, 500])
def test_one_entry_that_is_not_zero(n_bytes, value):
    tables = np.zeros((n_bytes, 256), dtype=np.float32)
    tables[n_bytes // 2, 0x3A] = value
    costs = scan_costs(tables)
    holds(costs, n_bytes)
    assert not np.delete(costs, n_bytes // 2, axis=1).any()
    low, high = costs[:, n_bytes // 2]
    assert (low == (127 if value < 0 else 0))[0xA]
    assert (high == (127 if value < 0 else 0))[3]
    assert (np.delete(low, 0xA) == (0 if value < 0 else 127)).all()
    assert (np.delete(high, 3) == (0 if value < 0 else 127)).all()


@pytest.mark.parametrize("n_bytes", [256, 257, 258, 300, 1000, 16000])
def test_rows_of_many_bytes_keep_to_16_bits(n_bytes):
    """All bytes at their largest: rounded up everywhere, they still fit."""
    for most in (1.0, 0.4999, 0.75):
        halves = np.zeros((2, n_bytes, 16))
        halves[:, :, 0] = most * np.random.default_rng(n_bytes).choice([1, 0.5, 0.251], (2, n_bytes))
        costs = scan_costs(separable(*halves).astype(np.float32))
        holds(costs, n_bytes)
        assert costs.max(axis=2).sum(dtype=int) > 30_000  # in steps no larger than needed


@given(
    n_bytes=st.sampled_from([1, 2, 8, 64, 259, 600]),
    scale=st.sampled_from([0.0, 1e-44, 1e-20, 1.0, 1e20, 3e38]),
    power=st.integers(1, 30),
    seed=st.integers(0, 10**6),
)
def test_the_bounds_hold_for_any_tables(n_bytes, scale, power, seed):
    draw = np.random.default_rng(seed)
    tables = (draw.uniform(-1, 1, (n_bytes, 256)) ** power * draw.random((n_bytes, 1)) ** power * scale).astype(
        np.float32
    )
    if seed % 2:
        tables = separable(tables[:, :16] / 2, tables[:, 16:32] / 2)
    holds(scan_costs(tables), n_bytes)
