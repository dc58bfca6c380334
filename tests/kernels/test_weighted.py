"""Weighted sums over bits equal their definition, exactly."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from binrag.kernels.weighted import fill_byte_tables, weighted_sums


def tables_of(weights):
    tables = np.full((len(weights) // 8, 256), 99, dtype=np.int32)
    fill_byte_tables(np.asarray(weights, dtype=np.int32), tables)
    return tables


def bits_of(words):
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(bool)


def test_a_table_holds_the_signed_sum_of_every_byte():
    weights = np.array([3, -5, 0, 32767, -32767, 7, 1, 2, 10, 20, 30, 40, 50, 60, 70, 80])
    tables = tables_of(weights)
    for p in range(2):
        for value in range(256):
            expected = sum(w if value >> j & 1 else -w for j, w in enumerate(weights[8 * p : 8 * p + 8].tolist()))
            assert tables[p, value] == expected


@pytest.mark.parametrize("n_words", [1, 2, 6, 64])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100])
def test_sums_equal_the_definition(n, n_words):
    words = reference.random_words(n, n_words, seed=3)
    weights = np.random.default_rng(4).integers(-32767, 32768, 64 * n_words)
    rows = np.random.default_rng(5).permutation(n).astype(np.int64)
    sums = np.full(n, -1, dtype=np.int64)
    weighted_sums(reference.grouped(words), rows, tables_of(weights), sums)
    signs = np.where(bits_of(words), 1, -1)
    assert sums.tolist() == [int(signs[row] @ weights) for row in rows]


def test_the_largest_sums_do_not_overflow():
    n_words = 64
    words = np.array([[2**64 - 1] * n_words, [0] * n_words], dtype=np.uint64)
    sums = np.zeros(2, dtype=np.int64)
    tables = tables_of(np.full(64 * n_words, 32767))
    weighted_sums(reference.grouped(words), np.array([0, 1]), tables, sums)
    assert sums.tolist() == [4096 * 32767, -4096 * 32767]


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(-32767, 32767), min_size=64, max_size=64))
def test_random_words(word, weights):
    words = np.array([[word]], dtype=np.uint64)
    sums = np.zeros(1, dtype=np.int64)
    weighted_sums(reference.grouped(words), np.array([0]), tables_of(weights), sums)
    assert sums[0] == sum(w if word >> j & 1 else -w for j, w in enumerate(weights))
