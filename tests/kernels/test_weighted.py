"""Sums over tables equal their definition, exactly."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from binrag.kernels.weighted import table_sums


def layouts(words):
    """Byte 8 w + b of row r at [r // 16, w, b, r % 16]: of interleaved words, and of interleaved bytes."""
    grouped = reference.grouped(words)
    yield grouped.view(np.uint8).reshape(*grouped.shape, 8).transpose(0, 1, 3, 2)
    yield reference.grouped(reference.bytes_of_words(words)).reshape(len(grouped), words.shape[1], 8, 16)


def sums_of(words, rest, rows, tables):
    found = []
    for codes in layouts(words):
        sums = np.full(len(rows), -1, dtype=np.int64)
        table_sums(codes, rest, np.asarray(rows, dtype=np.int64), tables, sums)
        found.append(sums.tolist())
    assert found[0] == found[1]
    return found[0]


def expected_sums(words, rest, rows, tables):
    code = reference.bytes_of_words(words).tolist()
    return [sum(int(tables[p, v]) for p, v in enumerate([*code[row], *rest[row].tolist()])) for row in rows]


@pytest.mark.parametrize(("n_words", "n_rest"), [(1, 0), (2, 1), (6, 48), (1, 9), (64, 0)])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100])
def test_sums_equal_the_definition(n, n_words, n_rest):
    draw = np.random.default_rng(4)
    words = reference.random_words(n, n_words, seed=3)
    rest = draw.integers(0, 256, (n + 5, n_rest)).astype(np.uint8)
    tables = draw.integers(-32768, 32768, (8 * n_words + n_rest, 256)).astype(np.int16)
    rows = draw.permutation(n)
    assert sums_of(words, rest, rows, tables) == expected_sums(words, rest, rows, tables)


@pytest.mark.parametrize("entry", [-32768, 32767])
def test_the_largest_sums_do_not_overflow(entry):
    words, rest = reference.random_words(2, 64), np.zeros((2, 40_000), np.uint8)
    tables = np.full((512 + 40_000, 256), entry, dtype=np.int16)
    assert sums_of(words, rest, [0, 1], tables) == [40_512 * entry] * 2


@given(st.integers(0, 2**64 - 1), st.binary(max_size=5), st.integers(0, 10**6))
def test_random_codes(word, rest, seed):
    tables = np.random.default_rng(seed).integers(-32768, 32768, (8 + len(rest), 256)).astype(np.int16)
    words, rest = np.array([[word]], dtype=np.uint64), np.frombuffer(rest, dtype=np.uint8)[None]
    assert sums_of(words, rest, [0], tables) == expected_sums(words, rest, [0], tables)
