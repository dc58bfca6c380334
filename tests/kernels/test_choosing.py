"""Choosing codewords, half a byte each: the definition, value for value, and the sums that refit them."""

from itertools import pairwise

import numpy as np
import pytest
import reference
from fakes import lattice, vectors_of
from hypothesis import given
from hypothesis import strategies as st

from binrag.kernels.additive import choose, count_codewords, product_codes, subtract_codewords


def first_codes(groups, starts):
    products = 2 * np.einsum("pdv,pdw->pvw", starts[:, 0], starts[:, 1])
    codes = np.full(groups.shape[:2], 77, dtype=np.uint8)
    product_codes(groups, starts, (starts**2).sum(axis=2), products, codes)
    return codes


@pytest.mark.parametrize("size", [1, 2, 3, 8, 11])
@pytest.mark.parametrize("n_bytes", [1, 5, 12])
@pytest.mark.parametrize("n", [0, 1, 40])
def test_groups_get_the_nearest_and_the_nearest_to_the_rest(n, n_bytes, size):
    """Integers, so that sums are exact, and ties are ties: between them the least."""
    for high in (1, 9):
        groups = lattice(n, n_bytes * size, seed=n, high=2 * high).reshape(n, n_bytes, size)
        starts = lattice(n_bytes * 2 * size, 16, seed=size, high=high).reshape(n_bytes, 2, size, 16)
        assert np.array_equal(first_codes(groups, starts), reference.product_codes(groups, starts))


def test_groups_of_any_numbers_alone_and_in_a_batch():
    groups = vectors_of(500, 6 * 8).reshape(500, 6, 8)
    starts = vectors_of(6 * 2 * 8, 16, seed=1).reshape(6, 2, 8, 16)
    codes = first_codes(groups, starts)
    assert np.array_equal(codes, reference.product_codes(groups, starts))
    for row in range(0, 500, 50):
        assert np.array_equal(first_codes(groups[row : row + 1], starts)[0], codes[row])


def problem(n, n_bytes, seed=0, most=30_000):
    """Integers that are no codewords' products: choosing asks for a symmetric matrix alone."""
    draw = np.random.default_rng(seed)
    base = draw.integers(-4 * most, 4 * most + 1, (n, 32 * n_bytes)).astype(np.int32)
    half = draw.integers(-(most // 2), most // 2 + 1, (32 * n_bytes,) * 2)
    gram = (half + half.T).astype(np.int16)
    return base, gram, draw.integers(0, 256, (n, n_bytes), dtype=np.uint8)


def chosen(base, gram, starts, sweeps):
    codes = starts.copy()
    choose(base.astype(np.float32), gram, codes, sweeps)
    return codes


@pytest.mark.parametrize("sweeps", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(("n", "n_bytes"), [(0, 3), (1, 1), (15, 1), (16, 2), (17, 2), (5, 3)])
def test_choosing_equals_the_oracle(n, n_bytes, sweeps):
    for most in (2, 30_000):
        base, gram, starts = problem(n, n_bytes, seed=n, most=most)
        expected = reference.choose_codewords(base, gram, starts, sweeps)
        assert np.array_equal(chosen(base, gram, starts, sweeps), expected)


@given(n_bytes=st.integers(1, 2), most=st.sampled_from([0, 1, 2, 16_000]), seed=st.integers(0, 10**6))
def test_random_choices(n_bytes, most, seed):
    base, gram, starts = problem(3, n_bytes, seed, 2 * most)
    expected = reference.choose_codewords(base, gram, starts, 2)
    assert np.array_equal(chosen(base, gram, starts, 2), expected)


@pytest.mark.parametrize("value", [0, 1, 15, 16, 0x5A, 255])
def test_where_all_are_equal_a_value_stays(value):
    base, gram = np.zeros((18, 96), np.int32), np.zeros((96, 96), np.int16)
    starts = np.full((18, 3), value, dtype=np.uint8)
    assert np.array_equal(chosen(base, gram, starts, 4), starts)


@pytest.mark.parametrize(
    ("cheap", "expected"),
    [
        ([(3, 9), (4, 0)], 3 + 16 * 9),  # the least low half comes first,
        ([(3, 9), (3, 7), (12, 1)], 3 + 16 * 7),  # then the least high half
        ([(15, 15)], 255),
        ([(5, 5), (6, 0)], 5 + 16 * 5),
    ],
)
def test_ties_go_to_the_least_low_half_then_to_the_least_high_half(cheap, expected):
    base, gram = np.zeros((1, 32), np.int32), np.zeros((32, 32), np.int16)
    for low, high in cheap:
        gram[low, 16 + high] = gram[16 + high, low] = -5
    assert chosen(base, gram, np.full((1, 1), 6 + 16 * 6, np.uint8), 4)[0, 0] == expected
    present = cheap[-1][0] + 16 * cheap[-1][1]  # is as good as any: it stays
    assert chosen(base, gram, np.full((1, 1), present, np.uint8), 4)[0, 0] == present


def test_a_row_alone_gets_what_it_gets_in_a_batch():
    base, gram, starts = problem(100, 12)
    codes = chosen(base, gram, starts, 4)
    for row in range(0, 100, 7):
        assert np.array_equal(chosen(base[row : row + 1], gram, starts[row : row + 1], 4)[0], codes[row])
    assert np.array_equal(chosen(base[5:60], gram, starts[5:60], 4), codes[5:60])


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_2_to_the_26th(sign):
    """512 codewords whose products all are the largest, and a base beside them: values differ by one unit still."""
    n_bytes, width = 256, 32 * 256
    gram = np.full((width, width), sign * 32767, dtype=np.int16)
    draw = np.random.default_rng(0)
    base = sign * (2**24 - draw.integers(0, 100, (2, width)))
    codes = chosen(base, gram, draw.integers(0, 256, (2, n_bytes), dtype=np.uint8), 2)
    low, high = base.reshape(2, n_bytes, 2, 16).transpose(2, 0, 1, 3)
    for costs, halves in ((low, codes % 16), (high, codes // 16)):
        assert np.array_equal(np.take_along_axis(costs, halves[:, :, None], 2)[:, :, 0], costs.min(axis=2))


def test_the_base_is_rounded():
    """To the nearest integer, of two the even one: what differs by less is a tie."""
    _, gram, starts = problem(200, 2, most=2)
    base = np.random.default_rng(5).integers(-16, 17, (200, 64)).astype(np.float32) / 4
    integers = np.rint(base).astype(np.int64)
    assert np.array_equal(chosen(base, gram, starts, 4), reference.choose_codewords(integers, gram, starts, 4))


def test_the_base_goes_no_farther_than_2_to_the_24th():
    base, gram, starts = problem(20, 2)
    starts[:10] = 0
    base = base.astype(np.float32)
    base[:10, :16] = [-1e30, -np.inf, *np.linspace(-3e7, 3e7, 12), 2.0**24, -(2.0**24)]
    integers = np.clip(base, -(2**24), 2**24).astype(np.int64)
    assert np.array_equal(chosen(base, gram, starts, 4), reference.choose_codewords(integers, gram, starts, 4))


def test_more_sweeps_never_cost_more():
    base, gram, starts = problem(60, 8)
    costs = []
    for sweeps in range(5):
        codes = chosen(base, gram, starts, sweeps)
        costs.append([reference.codeword_cost(row, gram, code) for row, code in zip(base, codes, strict=True)])
    for before, after in pairwise(costs):
        assert all(b >= a for b, a in zip(before, after, strict=True))
    assert sum(costs[1]) > sum(costs[2]) > sum(costs[4])


def test_in_the_end_no_other_value_of_a_byte_costs_less():
    base, gram, starts = problem(6, 3)
    for row, code in zip(base, chosen(base, gram, starts, 100), strict=True):
        least = reference.codeword_cost(row, gram, code)
        for p in range(3):
            for value in range(256):
                assert reference.codeword_cost(row, gram, [*code[:p], value, *code[p + 1 :]]) >= least


def test_the_cost_is_the_squared_error():
    """What the kernel's integers stand for: base and gram of real codewords, ‖y − Σ c‖² − ‖y‖²."""
    codewords, rows = lattice(64, 7, seed=1).astype(int), lattice(5, 7, seed=2, high=9).astype(int)
    gram = 2 * codewords @ codewords.T
    for row, code in zip(rows, np.random.default_rng(3).integers(0, 256, (5, 2)), strict=True):
        base = (codewords**2).sum(axis=1) - 2 * codewords @ row
        left = row - codewords[reference.codeword_numbers(code)].sum(axis=0)
        assert reference.codeword_cost(base, gram, code) == 2 * (left @ left - row @ row)


@pytest.mark.parametrize(("n", "n_bytes", "dim"), [(0, 2, 3), (1, 1, 1), (17, 5, 24), (300, 3, 64)])
def test_codewords_are_subtracted_byte_by_byte(n, n_bytes, dim):
    rows, codewords = vectors_of(n, dim), vectors_of(32 * n_bytes, dim, seed=1)
    codes = np.random.default_rng(2).integers(0, 256, (n, n_bytes), dtype=np.uint8)
    left = rows.copy()
    subtract_codewords(left, codes, codewords)
    expected = rows.copy()
    for row, code in zip(expected, codes, strict=True):
        numbers = reference.codeword_numbers(code)
        for low, high in zip(numbers[::2], numbers[1::2], strict=True):
            row -= codewords[low] + codewords[high]
    assert np.array_equal(left, expected)
    if n:
        np.testing.assert_allclose(rows - left, reference.decoded_bytes(codes, codewords), atol=1e-4)


@pytest.mark.parametrize(("n", "n_bytes", "dim"), [(0, 2, 3), (1, 1, 1), (50, 4, 9), (400, 2, 5)])
def test_codewords_are_counted_by_pairs(n, n_bytes, dim):
    """The normal equations of rows = one-hot codes · codewords; what was there is added to."""
    rows = lattice(n, dim, high=50)
    codes = np.random.default_rng(2).integers(0, 256, (n, n_bytes), dtype=np.uint8)
    chosen_ones = np.zeros((n, 32 * n_bytes), dtype=np.float32)
    for i, code in enumerate(codes):
        chosen_ones[i, reference.codeword_numbers(code)] = 1
    counts, sums = np.full((32 * n_bytes,) * 2, 3, np.float32), np.full((32 * n_bytes, dim), -2, np.float32)
    count_codewords(rows, codes, counts, sums)
    assert np.array_equal(counts, chosen_ones.T @ chosen_ones + 3)
    assert np.array_equal(sums, chosen_ones.T @ rows - 2)
