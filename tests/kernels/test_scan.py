"""The scans equal their oracles: the same rows in the same order, ties included."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from binrag.kernels.bits import popcount
from binrag.kernels.scan import scan_kernel

ROWS = (0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097)
SPARE = 3


def scan(words, query, k, allowed=None, scales=None):
    """Run the kernel with arrays of just the documented sizes; lanes past the last row look like perfect matches."""
    n, n_words = words.shape
    planes = query[None] if scales is None else query
    n_planes = 0 if scales is None else len(planes)
    grouped = reference.grouped(words)
    lanes = np.arange(len(grouped) * 16).reshape(-1, 16)
    grouped = np.where((lanes < n)[:, None, :], grouped, planes[-1][None, :, None])
    allowed = np.ones(n, dtype=bool) if allowed is None else allowed
    scales = np.ones(n_words, dtype=np.int64) if scales is None else scales
    farthest = 64 * (2 ** max(n_planes, 1) - 1) * int(scales.sum())
    counts = np.full(farthest + 2, 77, dtype=np.int64)
    scratch = np.full((2, 4 * k), 77, dtype=np.int64)
    out = np.full((2, k + SPARE), -7, dtype=np.int64)
    found = scan_kernel(n_words, n_planes)(
        np.ascontiguousarray(grouped),
        n,
        planes,
        scales,
        reference.bitmap_of(allowed),
        k,
        counts,
        scratch[0],
        scratch[1],
        out[0, :k],
        out[1, :k],
    )
    assert (out[:, k:] == -7).all()
    return list(zip(out[1, :found].tolist(), out[0, :found].tolist(), strict=True))


@pytest.mark.parametrize("n_words", [1, 2, 6])
@pytest.mark.parametrize("n", ROWS)
def test_it_equals_the_oracle(n, n_words):
    words = reference.random_words(n, n_words, seed=n)
    query = reference.random_words(1, n_words, seed=n)[0]
    for k in (1, 2, 10, max(1, n - 1), max(1, n), n + 5):
        assert scan(words, query, k) == reference.hamming_topk(words, query, k)


@pytest.mark.parametrize("n_words", [3, 16, 64])
def test_more_words(n_words):
    words = reference.random_words(333, n_words, seed=1)
    query = reference.random_words(1, n_words, seed=2)[0]
    for k in (1, 20, 400):
        assert scan(words, query, k) == reference.hamming_topk(words, query, k)


def at_distances(distances):
    """Codes of 128 bits at the given distances from a query of zeros."""
    bits = np.arange(128)[None] < np.asarray(distances)[:, None]
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").reshape(len(bits), 2)


@pytest.mark.parametrize(
    "distances",
    [
        np.arange(1000) * 128 // 999,
        (np.arange(1000) * 128 // 999)[::-1],
        np.full(1000, 64),
        np.full(1000, 0),
        np.full(1000, 128),
        np.tile([128, 0], 500),
        np.repeat(np.arange(128, 27, -1), 10),
        np.r_[np.full(900, 5), np.full(100, 4)],
        np.r_[np.full(40, 128), np.arange(127, -1, -1), np.full(200, 0)],
    ],
    ids=["ascending", "descending", "tied", "zero", "farthest", "alternating", "stairs", "late-winners", "refill"],
)
@pytest.mark.parametrize("k", [1, 2, 7, 50, 999, 1000])
def test_adversarial_orders(distances, k):
    words = at_distances(distances)
    query = np.zeros(2, dtype=np.uint64)
    expected = sorted((int(d), r) for r, d in enumerate(distances))[:k]
    assert scan(words, query, k) == expected


N = 3 * 4096 + 70
BITMAPS = {
    "none": np.zeros(N, dtype=bool),
    "half": np.random.default_rng(0).random(N) < 0.5,
    "few": np.random.default_rng(1).random(N) < 0.001,
    "first row": np.arange(N) == 0,
    "last row": np.arange(N) == N - 1,
    "no middle block": np.arange(N) // 4096 != 1,
    "only the middle block": np.arange(N) // 4096 == 1,
    "block edges": np.isin(np.arange(N), [4095, 4096, 8191, 8192, 12287, 12288]),
    "only the tail": np.arange(N) >= 12288,
}


@pytest.mark.parametrize("name", BITMAPS)
@pytest.mark.parametrize("k", [1, 10, 5000])
def test_allowed_rows(name, k):
    words = reference.random_words(N, 2, seed=5)
    query = reference.random_words(1, 2, seed=6)[0]
    allowed = BITMAPS[name]
    assert scan(words, query, k, allowed) == reference.hamming_topk(words, query, k, allowed)


@given(
    n=st.integers(0, 90),
    n_words=st.integers(1, 2),
    n_patterns=st.integers(1, 6),
    k=st.integers(1, 100),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_random_cases(n, n_words, n_patterns, k, share, seed):
    words = reference.random_words(n, n_words, seed, n_patterns, p_noise=0.01)
    query = reference.random_words(1, n_words, seed, n_patterns, p_noise=0.01)[0]
    allowed = np.random.default_rng(seed).random(n) < share
    assert scan(words, query, k, allowed) == reference.hamming_topk(words, query, k, allowed)


@given(
    distances=st.lists(st.integers(0, 128), max_size=60),
    k=st.integers(1, 20),
)
def test_random_orders_of_distances(distances, k):
    words = at_distances(np.array(distances, dtype=np.int64).reshape(-1))
    expected = sorted((d, r) for r, d in enumerate(distances))[:k]
    assert scan(words, np.zeros(2, dtype=np.uint64), k) == expected


@pytest.mark.parametrize(("n_words", "n_planes"), [(1, 1), (1, 4), (2, 3), (5, 4), (6, 4), (12, 5)])
@pytest.mark.parametrize("n", [0, 1, 16, 17, 65, 999])
def test_the_weighted_scan_equals_its_oracle(n, n_words, n_planes):
    words = reference.random_words(n, n_words, seed=n)
    planes = reference.random_words(n_planes, n_words, seed=n + 1)
    allowed = np.random.default_rng(n).random(n) < 0.6
    largest = 65535 // (64 * (2**n_planes - 1))
    for scales in (
        np.ones(n_words, dtype=np.int64),
        np.random.default_rng(n).integers(0, largest // n_words + 1, n_words),
        np.eye(1, n_words, dtype=np.int64)[0] * largest,
        np.zeros(n_words, dtype=np.int64),
    ):
        for k in (1, 10, n + 5):
            expected = reference.weighted_topk(words, planes, scales, k)
            assert scan(words, planes, k, scales=scales) == expected
            expected = reference.weighted_topk(words, planes, scales, k, allowed)
            assert scan(words, planes, k, allowed, scales) == expected


@given(
    n=st.integers(0, 50),
    n_planes=st.integers(1, 4),
    n_patterns=st.integers(1, 5),
    scales=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    k=st.integers(1, 60),
    seed=st.integers(0, 10**6),
)
def test_random_weighted_cases(n, n_planes, n_patterns, scales, k, seed):
    words = reference.random_words(n, 2, seed, n_patterns, p_noise=0.01)
    planes = reference.random_words(n_planes, 2, seed, n_patterns, p_noise=0.01)
    expected = reference.weighted_topk(words, planes, scales, k)
    assert scan(words, planes, k, scales=np.array(scales)) == expected


@given(
    n_planes=st.integers(1, 6),
    word=st.integers(0, 2**64 - 1),
    levels=st.lists(st.integers(0, 63), min_size=64, max_size=64),
    scale=st.integers(1, 16),
)
def test_a_weighted_distance_is_a_product_with_odd_levels(n_planes, word, levels, scale):
    """Σ_j b_j u_j = Σ_i 2^i (64 − 2 popcount(b ^ plane_i)) where u_j = Σ_i 2^i (±1 by bit j of plane i) is odd."""
    bits = [[level >> i & 1 for level in levels] for i in range(n_planes)]
    u = [sum(2**i if plane[j] else -(2**i) for i, plane in enumerate(bits)) for j in range(64)]
    assert all(level % 2 == 1 and abs(level) < 2**n_planes for level in u)
    planes = np.array([[sum(1 << j for j in range(64) if plane[j])] for plane in bits], dtype=np.uint64)
    product = sum(level if word >> j & 1 else -level for j, level in enumerate(u))
    [(distance, _)] = scan(np.array([[word]], np.uint64), planes, 1, scales=np.array([scale]))
    assert scale * product == scale * 64 * (2**n_planes - 1) - 2 * distance


def test_popcount():
    count = njit(lambda word: popcount(word))
    words = np.r_[
        np.array([0, 1, 2**63, 2**64 - 1, 0x5555555555555555], dtype=np.uint64),
        reference.random_words(50, 1)[:, 0],
    ]
    assert [int(count(word)) for word in words] == np.bitwise_count(words).tolist()
