import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from binrag.binarizers.fitting import uniform_codes
from binrag.scalars import STEPS, allocated_bits


def test_bits_go_where_variance_is_left():
    assert allocated_bits(np.array([16.0, 4.0, 1.0, 0.1]), 7).tolist() == [4, 2, 1, 0]
    assert allocated_bits(np.array([1e9, 0.0, 1e-9]), 17).tolist() == [8, 1, 8]
    assert allocated_bits(np.ones(5), 12).tolist() == [3, 3, 2, 2, 2]


@given(variances=st.lists(st.floats(0, 100), min_size=1, max_size=20), n_bits=st.integers(0, 200))
def test_bits_go_where_the_variance_left_is_largest(variances, n_bits):
    widths = allocated_bits(np.array(variances), n_bits)
    assert widths.sum() == min(n_bits, 8 * len(variances))
    assert widths.min() >= 0
    assert widths.max() <= 8
    last = [v / 4.0 ** (w - 1) for v, w in zip(variances, widths, strict=True) if w > 0]
    following = [v / 4.0**w for v, w in zip(variances, widths, strict=True) if w < 8]
    assert min(last, default=np.inf) >= max(following, default=-np.inf)


@pytest.mark.parametrize("width", range(1, 9))
def test_the_uniform_steps_are_the_best(width):
    """For normal values, every other step has the larger squared error."""
    values = np.random.default_rng(0).standard_normal((400_000, 1))

    def error(step):
        codes = uniform_codes(values / step, np.array([width]))
        return ((values - step / 2 * (2 * codes - (2**width - 1))) ** 2).mean()

    best = STEPS[width - 1]
    assert error(best) < min(error(0.93 * best), error(1.07 * best))
