import numpy as np
import pytest

from benchmarks import bbq


def coded_by_loops(x, bits):
    """One row, number by number, as Lucene's OptimizedScalarQuantizer describes it."""
    n_steps = 2**bits - 1
    width = {1: 0.798, 2: 1.493, 4: 2.514, 8: 3.922}[bits]
    a = max(x.mean() - width * x.std(), x.min())
    b = min(x.mean() + width * x.std(), x.max())
    norm2 = float(x @ x)

    def decode(a, b):
        levels = [int(np.floor((min(max(v, a), b) - a) / (b - a) * n_steps + 0.5)) for v in x]
        return np.array([a + (b - a) * level / n_steps for level in levels]), levels

    def loss(decoded):
        error = x - decoded
        return 0.9 * float(x @ error) ** 2 / norm2 + 0.1 * float(error @ error)

    decoded, levels = decode(a, b)
    for _ in range(5):
        share = np.array(levels) / n_steps
        ax, bx = float(x @ (1 - share)), float(x @ share)
        scale = 0.9 / norm2
        left = np.array(
            [
                [scale * ax * ax + 0.1 * ((1 - share) ** 2).sum(), scale * ax * bx + 0.1 * ((1 - share) * share).sum()],
                [scale * ax * bx + 0.1 * ((1 - share) * share).sum(), scale * bx * bx + 0.1 * (share**2).sum()],
            ]
        )
        new = np.linalg.solve(left, [ax, bx])
        new_decoded, new_levels = decode(*new)
        if loss(new_decoded) > loss(decoded):
            break
        (a, b), decoded, levels = new, new_decoded, new_levels
    return decoded


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_are_those_of_the_loops(bits):
    rows = np.random.default_rng(bits).standard_normal((20, 48)).astype(np.float32) * 0.1
    got = bbq.bbq_code(rows, bits)
    expected = [coded_by_loops(row.astype(np.float64), bits) for row in rows]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert all(len(np.unique(row)) <= 2**bits for row in got)


def test_more_bits_come_closer():
    rows = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    errors = [float(((bbq.bbq_code(rows, bits) - rows) ** 2).mean()) for bits in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.5
    assert errors[3] < 1e-3


def test_rows_without_spread_are_kept():
    rows = np.array([[0.0] * 8, [0.25] * 8], dtype=np.float32)
    np.testing.assert_allclose(bbq.bbq_code(rows, 1), rows, atol=1e-6)
