"""The flat index against the oracle, and its views against each other."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from fakes import lattice
from hypothesis import given
from hypothesis import strategies as st

from binrag import threads
from binrag.binarizers import SignBinarizer
from binrag.indexes import FlatIndex, flat, group_words
from binrag.indexes.flat import bytes_of, row_bytes
from binrag.ranking.rescore import rescore_codes
from binrag.types import Codes, CodeShape, Query

DIMS = (1, 2, 63, 64, 65, 127, 384, 1000)
ROWS = (0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097)


BY_TABLES = pytest.mark.parametrize("by_tables", [False, True], ids=["words", "tables"])


def query_of(words):
    return Query(np.ones(1, np.float32), words, np.zeros((8 * len(words), 256), np.float32), 0.0)


def costs_of(n_words, seed):
    """Costs of every half byte, the two of a byte 255 at most."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, np.where(draw.random((2, 8 * n_words, 1)) < 0.5, 4, 128), (2, 8 * n_words, 16)).astype(
        np.uint8
    )


def table_query(costs):
    return Query(np.ones(1, np.float32), None, np.zeros((costs.shape[1], 256), np.float32), 0.0, costs)


def pairs_of(candidates):
    return list(zip((-candidates.scores).astype(int).tolist(), candidates.rows.tolist(), strict=True))


def found(index, words, k, allowed=None):
    return pairs_of(index.retrieve(query_of(words), k, allowed))


def check(index, words, k, seed, live=None, allowed=None):
    """The index finds among these rows what the oracle of its scan finds."""
    flags = np.ones(len(words), dtype=bool) if live is None else np.asarray(live, dtype=bool)
    bitmap = None
    if allowed is not None:
        flags, bitmap = flags & np.asarray(allowed, dtype=bool), reference.bitmap_of(allowed)
    if index.shape.by_tables:
        costs = costs_of(words.shape[1], seed)
        expected = reference.table_topk(reference.bytes_of_words(words), costs, k, flags)
        assert pairs_of(index.retrieve(table_query(costs), k, bitmap)) == expected
    else:
        query = reference.random_words(1, words.shape[1], seed)[0]
        assert found(index, query, k, bitmap) == reference.hamming_topk(words, query, k, flags)


def codes_of(words, n_rest=3, n_rescale=2):
    rest = np.random.default_rng(len(words)).integers(0, 256, (len(words), n_rest)).astype(np.uint8)
    return Codes(words, rest, np.arange(len(words)).astype(np.float16) if n_rescale else None)


def shape_of(words, by_tables, n_rest=3, n_rescale=2):
    return CodeShape(words.shape[1], n_rest, n_rescale, by_tables)


@pytest.mark.parametrize("n_words", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 50])
def test_grouping_interleaves_rows(n, n_words):
    words = reference.random_words(n, n_words)
    assert np.array_equal(group_words(words), reference.grouped(words))
    by_bytes = group_words(words, by_tables=True)
    assert (by_bytes.shape, by_bytes.dtype) == ((-(-n // 16), n_words, 16), np.uint64)
    expected = reference.grouped(reference.bytes_of_words(words))
    assert np.array_equal(by_bytes.view(np.uint8).reshape(expected.shape), expected)


@pytest.mark.parametrize("n_words", [1, 2, 7])
@pytest.mark.parametrize("n", [0, 1, 16, 50])
def test_bytes_of_rows_and_of_groups(n, n_words):
    words = reference.random_words(n, n_words)
    expected = reference.bytes_of_words(words)
    for given_words in (words, np.asfortranarray(words), np.repeat(words, 2, axis=0)[::2], words.astype("<u8")):
        assert np.array_equal(row_bytes(given_words), expected)
    rows = np.arange(n)
    for by_tables in (False, True):
        grouped = group_words(words, by_tables)
        view = bytes_of(grouped, by_tables)
        assert (view.shape, view.dtype) == ((-(-n // 16), n_words, 8, 16), np.uint8)
        assert np.array_equal(view[rows // 16, :, :, rows % 16].reshape(expected.shape), expected)
        assert n == 0 or np.shares_memory(view, grouped)


@pytest.mark.parametrize("dim", DIMS)
def test_the_codes_of_integer_vectors_at_every_dimension(dim):
    vectors = lattice(200, dim, seed=dim)
    binarizer = SignBinarizer(dim)
    index = FlatIndex.from_codes(binarizer.transform(vectors))
    words = reference.words_of(reference.code_bits(vectors))
    for vector in lattice(3, dim, seed=1000 + dim):
        query = binarizer.query(vector)
        expected = reference.words_of(reference.code_bits(vector[None]))[0]
        assert np.array_equal(query.words, expected)
        for k in (1, 10, 199, 200, 1000):
            candidates = index.retrieve(query, k)
            oracle = reference.hamming_topk(words, expected, k)
            assert candidates.rows.tolist() == [row for _, row in oracle]
            assert candidates.scores.tolist() == [-d for d, _ in oracle]


@BY_TABLES
@pytest.mark.parametrize("n_rescale", [0, 2])
@pytest.mark.parametrize("n", ROWS)
def test_every_row_count(n, n_rescale, by_tables):
    words = reference.random_words(n, 1, seed=n, n_patterns=9)
    codes = codes_of(words, n_rescale=n_rescale)
    index = FlatIndex.from_codes(codes, by_tables)
    assert index.shape == shape_of(words, by_tables, n_rescale=n_rescale)
    for k in (1, 3, max(n, 1), n + 9):
        check(index, words, k, seed=7)


@BY_TABLES
@given(
    n=st.integers(0, 140),
    dead=st.sets(st.integers(0, 139)),
    banned=st.sets(st.integers(0, 139)),
    k=st.integers(1, 150),
    seed=st.integers(0, 10**6),
)
def test_only_live_and_allowed_rows(by_tables, n, dead, banned, k, seed):
    words = reference.random_words(n, 1, seed, n_patterns=4)
    live = [row not in dead for row in range(n)]
    allowed = [row not in banned for row in range(n)]
    empty = FlatIndex.empty(shape_of(words, by_tables))
    index = empty.extended(n, reference.bitmap_of(live), tail=(0, codes_of(words)))
    check(index, words, k, seed + 1, live)
    check(index, words, k, seed + 1, live, allowed)


@BY_TABLES
@pytest.mark.parametrize("n", [1, 65, 100, 200, 4097])
def test_allowed_may_be_as_short_as_the_rows_while_liveness_covers_whole_blocks(n, by_tables):
    words = reference.random_words(n, 1, seed=2)
    live = np.zeros(-(-n // 4096) * 64, dtype=np.uint64)
    live[: -(-n // 64)] = reference.bitmap_of([True] * n)
    index = FlatIndex.empty(shape_of(words, by_tables)).extended(n, live, tail=(0, codes_of(words)))
    check(index, words, 20, seed=3, allowed=[row % 3 == 0 for row in range(n)])


def stages_of(codes, sizes, by_tables):
    """Views of an index that grew in stages."""
    n_rescale = 0 if codes.rescale is None else 2
    n, views = 0, [FlatIndex.empty(shape_of(codes.words, by_tables, n_rescale=n_rescale))]
    for size in sizes:
        first, n = n, n + size
        part = codes[first:n]
        live = reference.bitmap_of([True] * n)
        views.append(views[-1].extended(n, live, tail=(first, part)))
    return views


def holds(index, codes):
    """The first rows of an index are these codes, byte for byte."""
    rows = np.arange(len(codes))
    words = index.codes[rows // 16, :, :, rows % 16].reshape(len(rows), 8 * codes.words.shape[1])
    assert np.array_equal(words, reference.bytes_of_words(codes.words))
    assert np.array_equal(index.rest[: len(codes)], codes.rest)
    if codes.rescale is None:
        assert (index.rescale.shape, index.rescale.dtype) == ((0,), np.float16)
    else:
        assert np.array_equal(index.rescale[: len(codes)], codes.rescale)


@BY_TABLES
@pytest.mark.parametrize("n_rescale", [0, 2])
@pytest.mark.parametrize("sizes", [[1] * 40, [17, 1, 14, 33, 5, 100], [4095, 1, 1, 4096, 7], [16, 16, 16], [0, 3, 0]])
def test_growing_in_stages_equals_building_at_once_and_leaves_older_views_alone(sizes, n_rescale, by_tables):
    total = sum(sizes)
    words = reference.random_words(total, 2, seed=total)
    codes = codes_of(words, n_rescale=n_rescale)
    views = stages_of(codes, sizes, by_tables)
    n = 0
    for view, size in zip(views, [0, *sizes], strict=True):
        n += size
        assert view.n_rows == n
        check(view, words[:n], n + 1, seed=1)
        holds(view, codes[:n])
    holds(FlatIndex.from_codes(codes, by_tables), codes)


@BY_TABLES
@pytest.mark.parametrize("n_rescale", [0, 2])
def test_tail_rows_that_come_again_as_a_block_change_nothing(n_rescale, by_tables):
    words = reference.random_words(4096 + 30, 2, seed=9)
    codes = codes_of(words, n_rescale=n_rescale)
    live = np.full(65, 2**64 - 1, dtype=np.uint64)
    old = FlatIndex.empty(shape_of(words, by_tables, n_rescale=n_rescale))
    old = old.extended(4000, live[:63], tail=(0, codes[:4000]))
    block = codes[:4096]
    blocks = [(0, group_words(block.words, by_tables), block.rest, block.rescale)]
    new = old.extended(4126, live, blocks, (4096, codes[4096:]))
    check(new, words, 50, seed=10)
    check(old, words[:4000], 50, seed=10)
    holds(new, codes)
    holds(old, codes[:4000])


def test_what_is_found_by_tables_is_what_the_whole_code_is_rescored_from():
    """Places of factors are the words' last byte, in either layout."""
    words = reference.random_words(100, 2, seed=1)
    codes = codes_of(words, n_rescale=0)
    draw = np.random.default_rng(0)
    tables, factors = draw.standard_normal((19, 256)), draw.random(256).astype(np.float32)
    query = Query(np.ones(1, np.float32), None, tables.astype(np.float32), 0.5, costs_of(2, 0), factors)
    expected = reference.decoded_scores(codes, query)
    for by_tables in (False, True):
        index = FlatIndex.from_codes(codes, by_tables)
        scored = rescore_codes(index.codes, index.rest, index.rescale, query, np.arange(100))
        assert scored.scores == pytest.approx(expected[scored.rows], abs=2e-3)


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
    for n_rescale in (0, 2):
        index = FlatIndex.from_codes(codes_of(reference.random_words(4096, 6), n_rest=5, n_rescale=n_rescale))
        assert index.nbytes == 4096 * (48 + 5 + n_rescale) + 4096 // 8
        arrays = index.words, index.rest, index.rescale, index.live
        assert index.nbytes == sum(array.nbytes for array in arrays)
        assert FlatIndex.empty(CodeShape(6, 5, n_rescale), 10_000).nbytes == 0


@pytest.mark.parametrize("n_words", [2, 3, 6])
@pytest.mark.parametrize("n", [0, 1, 15, 17, 65, 300])
def test_distances_by_tables(n, n_words):
    words = reference.random_words(n, n_words, seed=n, n_patterns=9)
    live = np.random.default_rng(n).random(n) < 0.8
    allowed = np.random.default_rng(n + 1).random(n) < 0.7
    empty = FlatIndex.empty(shape_of(words, by_tables=True))
    index = empty.extended(n, reference.bitmap_of(live), tail=(0, codes_of(words)))
    for seed, k in enumerate((1, 7, n + 1)):
        check(index, words, k, seed, live)
        check(index, words, k, seed, live, allowed)


@BY_TABLES
def test_threads_get_identical_results(by_tables):
    words = reference.random_words(5000, 6, seed=1)
    index = FlatIndex.from_codes(codes_of(words), by_tables)
    if by_tables:
        queries = [table_query(costs_of(6, seed)) for seed in range(40)]
    else:
        queries = [query_of(query) for query in reference.random_words(40, 6, seed=2)]
    alone = [pairs_of(index.retrieve(query, 100)) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda query: pairs_of(index.retrieve(query, 100)), queries)) == alone


@pytest.fixture
def small_parts(monkeypatch):
    """Tiles, ranges and a pool of threads that show with few queries and rows."""
    threads._pool.cache_clear()
    monkeypatch.setattr(threads, "n_processors", lambda: 4)
    monkeypatch.setattr(flat, "TILE", 5)
    monkeypatch.setattr(flat, "RANGE", 100)
    yield
    threads._pool.cache_clear()


def test_many_candidates_of_many_queries_are_not_asked_for_at_once(monkeypatch):
    """The scratch of a scan grows with both."""
    monkeypatch.setattr(flat, "TILE_CANDIDATES", 100)
    words, sizes, scan = reference.random_words(300, 1, seed=1), [], FlatIndex._scan
    monkeypatch.setattr(
        FlatIndex, "_scan", lambda self, tile, *rest: (sizes.append(len(tile)), scan(self, tile, *rest))[1]
    )
    index = FlatIndex.from_codes(codes_of(words))
    queries = [query_of(query) for query in reference.random_words(9, 1, seed=2)]
    for k, expected in ((10, [9]), (30, [3, 3, 3]), (300, [1] * 9)):
        sizes.clear()
        found = index.retrieve_batch(queries, k)
        assert sizes == expected
        assert list(map(pairs_of, found)) == [reference.hamming_topk(words, query.words, k) for query in queries]


@BY_TABLES
@pytest.mark.parametrize("n", [0, 1, 99, 400, 1111])
@pytest.mark.parametrize("n_queries", [0, 1, 2, 3, 17])
def test_a_batch_is_what_its_queries_are_alone(n, n_queries, by_tables, small_parts):
    """Whatever the threads, which share queries or, of few of them, rows."""
    words = reference.random_words(n, 6, seed=1, n_patterns=30)
    live = np.random.default_rng(n).random(n) < 0.8
    index = FlatIndex.empty(shape_of(words, by_tables)).extended(
        n, reference.bitmap_of(live), tail=(0, codes_of(words))
    )
    if by_tables:
        queries = [table_query(costs_of(6, seed)) for seed in range(n_queries)]
    else:
        queries = [query_of(query) for query in reference.random_words(n_queries, 6, seed=2)]
    for allowed in (None, np.random.default_rng(3).random(n) < 0.7, np.arange(n) % 50 == 3):
        bitmap = None if allowed is None else reference.bitmap_of(allowed)
        for k in (1, 20, n + 1):
            alone = [pairs_of(index.retrieve(query, k, bitmap)) for query in queries]
            for n_threads in (1, 2, 3, 4, 8):
                found = index.retrieve_batch(queries, k, bitmap, n_threads=n_threads)
                assert list(map(pairs_of, found)) == alone
                if n_threads == 3:
                    one_by_one = [index.retrieve(query, k, bitmap, n_threads=3) for query in queries]
                    assert list(map(pairs_of, one_by_one)) == alone
