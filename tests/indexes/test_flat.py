"""The flat index against the oracle, and its views against each other."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from fakes import lattice
from hypothesis import given
from hypothesis import strategies as st

from binrag.binarizers import SignBinarizer
from binrag.indexes import FlatIndex, group_words
from binrag.types import Codes, Query

DIMS = (1, 2, 63, 64, 65, 127, 384, 1000)
ROWS = (0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097)


def query_of(words):
    return Query(np.ones(1, np.float32), words[None], np.zeros((8 * len(words), 256), np.float32), 0.0)


def found(index, words, k, allowed=None):
    candidates = index.retrieve(query_of(words), k, allowed)
    return list(zip((-candidates.scores).astype(int).tolist(), candidates.rows.tolist(), strict=True))


def codes_of(words, n_rest=3):
    rest = np.random.default_rng(len(words)).integers(0, 256, (len(words), n_rest)).astype(np.uint8)
    return Codes(words, rest, np.arange(len(words)).astype(np.float16))


@pytest.mark.parametrize("n_words", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 50])
def test_grouping_interleaves_rows(n, n_words):
    words = reference.random_words(n, n_words)
    assert np.array_equal(group_words(words), reference.grouped(words))


@pytest.mark.parametrize("dim", DIMS)
def test_the_codes_of_integer_vectors_at_every_dimension(dim):
    vectors = lattice(200, dim, seed=dim)
    binarizer = SignBinarizer(dim)
    index = FlatIndex.from_codes(binarizer.transform(vectors))
    words = reference.words_of(reference.code_bits(vectors))
    for vector in lattice(3, dim, seed=1000 + dim):
        query = binarizer.query(vector)
        expected = reference.words_of(reference.code_bits(vector[None]))[0]
        assert np.array_equal(query.planes, expected[None])
        for k in (1, 10, 199, 200, 1000):
            candidates = index.retrieve(query, k)
            oracle = reference.hamming_topk(words, expected, k)
            assert candidates.rows.tolist() == [row for _, row in oracle]
            assert candidates.scores.tolist() == [-d for d, _ in oracle]


@pytest.mark.parametrize("n", ROWS)
def test_every_row_count(n):
    words = reference.random_words(n, 1, seed=n, n_patterns=9)
    index = FlatIndex.from_codes(codes_of(words))
    query = reference.random_words(1, 1, seed=7)[0]
    for k in (1, 3, max(n, 1), n + 9):
        assert found(index, query, k) == reference.hamming_topk(words, query, k)


@given(
    n=st.integers(0, 140),
    dead=st.sets(st.integers(0, 139)),
    banned=st.sets(st.integers(0, 139)),
    k=st.integers(1, 150),
    seed=st.integers(0, 10**6),
)
def test_only_live_and_allowed_rows(n, dead, banned, k, seed):
    words = reference.random_words(n, 1, seed, n_patterns=4)
    live = [row not in dead for row in range(n)]
    allowed = [row not in banned for row in range(n)]
    index = FlatIndex.empty(1, 3).extended(n, reference.bitmap_of(live), tail=(0, codes_of(words)))
    query = reference.random_words(1, 1, seed + 1)[0]
    both = [a and b for a, b in zip(live, allowed, strict=True)]
    assert found(index, query, k) == reference.hamming_topk(words, query, k, live)
    assert found(index, query, k, reference.bitmap_of(allowed)) == reference.hamming_topk(words, query, k, both)


@pytest.mark.parametrize("n", [1, 65, 100, 200, 4097])
def test_allowed_may_be_as_short_as_the_rows_while_liveness_covers_whole_blocks(n):
    words = reference.random_words(n, 1, seed=2)
    live = np.zeros(-(-n // 4096) * 64, dtype=np.uint64)
    live[: -(-n // 64)] = reference.bitmap_of([True] * n)
    index = FlatIndex.empty(1, 3).extended(n, live, tail=(0, codes_of(words)))
    allowed = [row % 3 == 0 for row in range(n)]
    query = reference.random_words(1, 1, seed=3)[0]
    expected = reference.hamming_topk(words, query, 20, allowed)
    assert found(index, query, 20, reference.bitmap_of(allowed)) == expected


def stages_of(words, sizes):
    """Views of an index that grew in stages."""
    codes, n, views = codes_of(words), 0, [FlatIndex.empty(words.shape[1], 3)]
    for size in sizes:
        first, n = n, n + size
        part = codes[first:n]
        live = reference.bitmap_of([True] * n)
        views.append(views[-1].extended(n, live, tail=(first, part)))
    return views


@pytest.mark.parametrize("sizes", [[1] * 40, [17, 1, 14, 33, 5, 100], [4095, 1, 1, 4096, 7], [16, 16, 16], [0, 3, 0]])
def test_growing_in_stages_equals_building_at_once_and_leaves_older_views_alone(sizes):
    total = sum(sizes)
    words = reference.random_words(total, 2, seed=total)
    query = reference.random_words(1, 2, seed=1)[0]
    views = stages_of(words, sizes)
    n = 0
    for view, size in zip(views, [0, *sizes], strict=True):
        n += size
        assert view.n_rows == n
        assert found(view, query, n + 1) == reference.hamming_topk(words[:n], query, n + 1)
        assert found(view, query, 5) == found(FlatIndex.from_codes(codes_of(words[:n])), query, 5)
    whole = FlatIndex.from_codes(codes_of(words))
    rows = np.arange(total)
    assert np.array_equal(views[-1].words[rows // 16, :, rows % 16], words)
    assert np.array_equal(views[-1].rest[:total], codes_of(words).rest)
    assert np.array_equal(views[-1].rescale[:total], whole.rescale[:total])


def test_tail_rows_that_come_again_as_a_block_change_nothing():
    words = reference.random_words(4096 + 30, 1, seed=9)
    codes = codes_of(words)
    live = np.full(65, 2**64 - 1, dtype=np.uint64)
    old = FlatIndex.empty(1, 3).extended(4000, live[:63], tail=(0, codes[:4000]))
    block = (0, group_words(words[:4096]), codes.rest[:4096], codes.rescale[:4096])
    new = old.extended(4126, live, [block], (4096, codes[4096:]))
    query = reference.random_words(1, 1, seed=10)[0]
    assert found(new, query, 50) == reference.hamming_topk(words, query, 50)
    assert found(old, query, 50) == reference.hamming_topk(words[:4000], query, 50)


def test_a_new_liveness_does_not_reach_older_views():
    words = reference.random_words(100, 1)
    old = FlatIndex.from_codes(codes_of(words))
    new = old.extended(100, reference.bitmap_of([row % 2 == 0 for row in range(100)]))
    query = words[1]
    assert found(old, query, 100) == reference.hamming_topk(words, query, 100)
    assert [row for _, row in found(new, query, 100)] == [
        row for _, row in reference.hamming_topk(words, query, 100) if row % 2 == 0
    ]


def test_memory_is_counted_by_the_rows_in_view():
    index = FlatIndex.from_codes(codes_of(reference.random_words(4096, 6), n_rest=5))
    assert index.nbytes == 4096 * (48 + 5 + 2) + 4096 // 8
    assert FlatIndex.empty(6, 5, 10_000).nbytes == 0


def weighted_query(n_words, n_planes, seed):
    draw = np.random.default_rng(seed)
    planes = draw.integers(0, 2**64, (n_planes, n_words), dtype=np.uint64)
    largest = 65535 // (64 * (2**n_planes - 1) * n_words)
    scales = draw.integers(0, largest + 1, n_words).astype(np.int32)
    return Query(np.ones(1, np.float32), planes, np.zeros((8 * n_words, 256), np.float32), 0.0, scales)


@pytest.mark.parametrize(("n_words", "n_planes"), [(1, 1), (2, 4), (5, 4), (6, 2), (3, 8)])
@pytest.mark.parametrize("n", [0, 1, 15, 17, 65, 300])
def test_weighted_distances(n, n_words, n_planes):
    words = reference.random_words(n, n_words, seed=n, n_patterns=9)
    live = np.random.default_rng(n).random(n) < 0.8
    allowed = np.random.default_rng(n + 1).random(n) < 0.7
    index = FlatIndex.empty(n_words, 3).extended(n, reference.bitmap_of(live), tail=(0, codes_of(words)))
    query = weighted_query(n_words, n_planes, seed=n)
    for k in (1, 7, n + 1):
        for flags, bitmap in ((live, None), (live & allowed, reference.bitmap_of(allowed))):
            candidates = index.retrieve(query, k, bitmap)
            got = list(zip((-candidates.scores).astype(int).tolist(), candidates.rows.tolist(), strict=True))
            assert got == reference.weighted_topk(words, query.planes, query.scales, k, flags)


def test_threads_get_identical_results():
    words = reference.random_words(5000, 6, seed=1)
    index = FlatIndex.from_codes(codes_of(words))
    queries = reference.random_words(40, 6, seed=2)
    alone = [found(index, query, 100) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda query: found(index, query, 100), queries)) == alone
