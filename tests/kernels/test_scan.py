"""The scans equal their oracles: the same rows in the same order, ties included."""

import numba
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir
from numba import njit

import binrag.kernels.scan
import binrag.kernels.tables
from binrag.kernels.bits import popcount
from binrag.kernels.scan import fill_distances, nearer_rows, scan_kernel
from binrag.kernels.tables import PERMUTES, vector_bytes

ROWS = (0, 1, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097)
WIDTHS = [0, *sorted(width for width in PERMUTES if width <= vector_bytes())]
SPARE = 3


def run_batch(kernel, rows, queries, filler, farthest, k, allowed=None, first=0, stop=None):
    """Run a kernel with arrays of just the documented sizes; lanes past the last row are of filler."""
    n = len(rows)
    grouped = reference.grouped(rows)
    lanes = np.arange(len(grouped) * 16).reshape(-1, 16)
    grouped = np.where((lanes < n)[:, None, :], grouped, filler[None, :, None])
    allowed = np.ones(n, dtype=bool) if allowed is None else allowed
    counts = np.full((len(queries), farthest + 2), 77, dtype=np.int64)
    scratch = np.full((2, len(queries), 4 * k), 77, dtype=np.int64)
    out = np.full((2, len(queries), k + SPARE), -7, dtype=np.int64)
    found = np.full(len(queries), -7, dtype=np.int64)
    bitmap = reference.bitmap_of(allowed)
    stop = n if stop is None else stop
    kernel(np.ascontiguousarray(grouped), first, stop, queries, bitmap, k, counts, *scratch, out[0], out[1], found)
    assert (out[:, :, k:] == -7).all()
    return [
        list(zip(distances[:own].tolist(), numbers[:own].tolist(), strict=True))
        for numbers, distances, own in zip(*out, found, strict=True)
    ]


def run(kernel, rows, query, filler, farthest, k, allowed):
    """Run it for one query, over all rows; where filler is a perfect match, none of it may be found."""
    return run_batch(kernel, rows, query[None], filler, farthest, k, allowed)[0]


def scan(words, query, k, allowed=None):
    n_words = words.shape[1]
    return run(scan_kernel(n_words), words, query, query, 64 * n_words, k, allowed)


def table_scan(code, costs, k, allowed=None, width=None, kernel=None):
    filler = (costs[0].argmin(axis=1) + 16 * costs[1].argmin(axis=1)).astype(np.uint8)
    farthest = int(costs.max(axis=2).sum(dtype=np.int64))
    kernel = kernel or scan_kernel(code.shape[1] // 8, width)
    return run(kernel, code, np.ascontiguousarray(costs), filler, farthest, k, allowed)


def random_code(n, n_words, seed, n_patterns=40, p_noise=0.03):
    """Bytes with many equal sums, and in every second case with all of a byte's values."""
    if seed % 2:
        return np.random.default_rng(seed).integers(0, 256, (n, 8 * n_words), dtype=np.uint8)
    return reference.bytes_of_words(reference.random_words(n, n_words, seed, n_patterns, p_noise))


def random_costs(n_words, kind, seed):
    """Costs of some kind, the two of a byte 255 at most, those of a row 65,534."""
    draw = np.random.default_rng(seed)
    n_bytes = 8 * n_words
    if kind == "ties":
        return draw.integers(0, 3, (2, n_bytes, 16), dtype=np.uint8)
    if kind == "zero":
        return np.zeros((2, n_bytes, 16), dtype=np.uint8)
    most = draw.integers(0, 256, n_bytes)
    if kind == "full":  # a byte's two costs add up to 255, or to nothing
        costs = np.stack((most, 255 - most))[:, :, None] * draw.integers(0, 2, (2, n_bytes, 16))
    elif kind == "one half":
        costs = 255 * draw.integers(0, 2, (2, n_bytes, 16)) * (np.arange(2) == seed % 2)[:, None, None]
    else:
        costs = draw.integers(0, np.stack((most, 255 - most))[:, :, None] + 1, (2, n_bytes, 16))
    return costs.astype(np.uint8)


KINDS = ("any", "ties", "full", "one half", "zero")


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


def at_sums(distances):
    """Codes of 16 bytes whose halves cost the given distances, up to 128, together."""
    halves = np.asarray(distances)[:, None] // 32 + (np.arange(32) < np.asarray(distances)[:, None] % 32)
    costs = np.broadcast_to(np.arange(16, dtype=np.uint8), (2, 16, 16))
    return (halves[:, :16] + 16 * halves[:, 16:]).astype(np.uint8), costs


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
    expected = reference.nearest(distances, k)
    assert scan(words, query, k) == expected
    code, costs = at_sums(distances)
    for width in WIDTHS:
        assert table_scan(code, costs, k, width=width) == expected


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
    code, costs = reference.bytes_of_words(words), random_costs(2, "ties", 7)
    for width in WIDTHS:
        assert table_scan(code, costs, k, allowed, width) == reference.table_topk(code, costs, k, allowed)


@pytest.fixture
def short_stretches(monkeypatch):
    """Stretches of 256 rows, of whatever words; what is compiled so is not for the cache."""
    monkeypatch.setattr(binrag.kernels.scan, "STRETCH", 1)
    monkeypatch.setattr(binrag.kernels.scan, "jit", numba.njit)


@pytest.mark.parametrize("by_tables", [False, True])
def test_a_batch_finds_what_each_query_finds_alone(by_tables, short_stretches):
    """Of any range of rows, and of few allowed ones; queries are of different thresholds from the first stretch on."""
    words = reference.random_words(1000, 2, seed=3)
    code = reference.bytes_of_words(words)
    queries = reference.random_words(7, 2, seed=4)
    kinds = [KINDS[i % len(KINDS)] for i in range(7)]
    costs = np.stack([random_costs(2, kind, i) for i, kind in enumerate(kinds)])
    kernel = scan_kernel.__wrapped__(2)
    draw = np.random.default_rng(0)
    for first, stop in ((0, 1000), (64, 1000), (256, 512), (448, 449), (960, 1000), (64, 64)):
        for share in (1.0, 0.5, 0.05, 0.005):
            allowed = draw.random(1000) < share
            inside = allowed & (np.arange(1000) >= first) & (np.arange(1000) < stop)
            for k in (1, 10, 300):
                if by_tables:
                    found = run_batch(kernel, code, costs, code[0], 65534, k, allowed, first, stop)
                    assert found == [reference.table_topk(code, own, k, inside) for own in costs]
                else:
                    found = run_batch(kernel, words, queries, words[0], 128, k, allowed, first, stop)
                    assert found == [reference.hamming_topk(words, own, k, inside) for own in queries]


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
    distances = np.array(distances, dtype=np.int64).reshape(-1)
    expected = reference.nearest(distances, k)
    assert scan(at_distances(distances), np.zeros(2, dtype=np.uint64), k) == expected
    assert table_scan(*at_sums(distances), k) == expected


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_words", [1, 2, 5, 6, 12])
def test_the_scan_by_tables_equals_its_oracle(n_words, width):
    for i, n in enumerate(ROWS):
        code = random_code(n, n_words, seed=n)
        costs = random_costs(n_words, KINDS[i % 3], seed=n)
        allowed = np.random.default_rng(n).random(n) < 0.6
        for k in (1, 2, 10, max(1, n - 1), max(1, n), n + 5):
            assert table_scan(code, costs, k, width=width) == reference.table_topk(code, costs, k)
        assert table_scan(code, costs, 10, allowed, width) == reference.table_topk(code, costs, 10, allowed)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 16, 65, 333])
def test_costs_of_all_kinds(n, kind, width):
    for seed in range(4):
        for n_words in (1, 2):
            code = random_code(n, n_words, seed)
            costs = random_costs(n_words, kind, seed)
            for k in (1, 20, n + 5):
                assert table_scan(code, costs, k, width=width) == reference.table_topk(code, costs, k)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_value_of_every_byte_has_its_own_costs(width):
    """Rows that differ in one byte from zeros, which cost nothing; every half of every byte has a table of its own."""
    p, v = (index.ravel() for index in np.meshgrid(np.arange(48), np.arange(256), indexing="ij"))
    code = np.zeros((len(p), 48), dtype=np.uint8)
    code[np.arange(len(p)), p] = v
    costs = np.random.default_rng(3).permuted(np.tile(np.arange(1, 17, dtype=np.uint8), (2, 48, 1)), axis=2)
    costs[1] *= 14
    costs[:, :, 0] = 0
    expected = reference.nearest(costs[0, p, v % 16].astype(int) + costs[1, p, v // 16], len(p))
    assert table_scan(code, costs, len(p), width=width) == expected


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("low", [0, 1, 127, 254, 255])
def test_the_largest_sums(low, width):
    """33 words: 257 bytes cost 255 each but for one, 65,534; and rows near it are told apart."""
    n_bytes, n = 264, 200
    costs = np.zeros((2, n_bytes, 16), dtype=np.uint8)
    costs[0, :257, 15], costs[1, :257, 15] = low, 255 - low
    costs[int(low == 0), 256, 15] -= 1
    code = np.full((n, n_bytes), 255, dtype=np.uint8)
    draw = np.random.default_rng(0)
    for row in range(0, n, 2):
        code[row, draw.integers(0, n_bytes)] = draw.choice([0, 15, 240])
    code[8, :] = 0
    assert costs.max(axis=2).sum(dtype=np.int64) == reference.table_distances(code, costs).max() == 65534
    for k in (1, 50, n):
        assert table_scan(code, costs, k, width=width) == reference.table_topk(code, costs, k)


@given(
    n=st.integers(0, 90),
    n_words=st.integers(1, 2),
    width=st.sampled_from(WIDTHS),
    kind=st.sampled_from(KINDS),
    n_patterns=st.integers(1, 6),
    k=st.integers(1, 100),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_random_cases_by_tables(n, n_words, width, kind, n_patterns, k, share, seed):
    code = random_code(n, n_words, seed, n_patterns, p_noise=0.01)
    costs = random_costs(n_words, kind, seed)
    allowed = np.random.default_rng(seed).random(n) < share
    assert table_scan(code, costs, k, allowed, width) == reference.table_topk(code, costs, k, allowed)


def test_vectors_are_as_wide_as_the_processor_permutes(monkeypatch):
    assert vector_bytes() in (0, *PERMUTES)
    monkeypatch.setattr("llvmlite.binding.get_process_triple", lambda: "x86_64-unknown-linux-gnu")
    monkeypatch.setattr("numba.config.CPU_NAME", None)
    monkeypatch.setattr("numba.config.CPU_FEATURES", None)
    features = {"avx512bw": False, "avx2": False, "ssse3": True}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: features)
    for more, width in (({}, 16), ({"avx2": True}, 32), ({"avx512bw": True}, 64), (dict.fromkeys(features, False), 0)):
        features.update(more)
        assert vector_bytes() == width
    features.update(dict.fromkeys(features, True))
    monkeypatch.setattr("numba.config.ENABLE_AVX", False)
    assert vector_bytes() == 16
    monkeypatch.setattr("numba.config.ENABLE_AVX", True)
    monkeypatch.setattr("numba.config.CPU_NAME", "generic")
    assert vector_bytes() == 0
    monkeypatch.setattr("numba.config.CPU_FEATURES", "+ssse3,-avx2,+sse4.2")
    assert vector_bytes() == 16


@pytest.fixture
def by_quarters(monkeypatch):
    """The instruction that permutes 64 bytes, put together from four on 16 where the processor has none."""
    if vector_bytes() < 16:
        pytest.skip("nothing to put it together from")
    declared = binrag.kernels.tables.cgutils.get_or_insert_function

    def from_quarters(module, kind, name):
        if name != PERMUTES[64][1]:
            return declared(module, kind, name)
        if "by_quarters" in module.globals:
            return module.globals["by_quarters"]
        quarter = ir.VectorType(ir.IntType(8), 16)
        permute = declared(module, ir.FunctionType(quarter, [quarter, quarter]), PERMUTES[16][1])
        function = ir.Function(module, kind, "by_quarters")
        function.linkage = "internal"
        builder = ir.IRBuilder(function.append_basic_block())

        def places(first, n, unit=1):
            return ir.Constant(ir.VectorType(ir.IntType(32), n), [first + unit * i for i in range(n)])

        parts = []
        for first in range(0, 64, 16):
            own = [builder.shuffle_vector(part, part, places(first, 16)) for part in function.args]
            parts.append(builder.call(permute, own))
        pairs = [builder.shuffle_vector(*parts[i : i + 2], places(0, 32)) for i in (0, 2)]
        builder.ret(builder.shuffle_vector(*pairs, places(0, 64)))
        return function

    monkeypatch.setattr(binrag.kernels.tables.cgutils, "get_or_insert_function", from_quarters)
    monkeypatch.setattr(binrag.kernels.scan, "jit", numba.njit)  # what it compiles is not for the cache


@pytest.mark.parametrize("n_words", [1, 2, 6])
def test_the_widest_vectors_whatever_the_processor(n_words, by_quarters):
    kernel = scan_kernel.__wrapped__(n_words, 64)
    for n in (1, 17, 333):
        for kind in KINDS:
            code, costs = random_code(n, n_words, n), random_costs(n_words, kind, n)
            for k in (1, 20, n + 5):
                assert table_scan(code, costs, k, kernel=kernel) == reference.table_topk(code, costs, k)


def masks(rows, query, distances, n_words, width):
    """Check which rows of each group are below limits, all of them and no others, and their distances."""
    found = njit(lambda codes, group, query, limit: nearer_rows(codes, group, query, limit, n_words, width))
    fill = njit(lambda codes, group, query, filled: fill_distances(codes, group, query, filled, n_words, width))
    filled = np.zeros(16, dtype=np.uint16)
    codes = reference.grouped(rows)
    for group, own in enumerate(distances.reshape(-1, 16)):
        for limit in {0, 1, 65535, *own.tolist(), *(own + 1).tolist()} - {65536}:
            expected = sum(1 << i for i, d in enumerate(own) if d < limit)
            assert found(codes, group, query, np.uint64(limit)) == expected
        fill(codes, group, query, filled)
        assert np.array_equal(filled, own)


@pytest.mark.parametrize("n_words", [1, 2, 6])
@pytest.mark.parametrize("width", [0, 16, 32, 64])
def test_the_rows_below_a_limit_by_tables(n_words, width, request):
    if width not in WIDTHS:
        if width != 64:
            pytest.skip("this processor has no such vectors")
        request.getfixturevalue("by_quarters")
    for i, kind in enumerate(KINDS):
        code, costs = random_code(64, n_words, seed=i), random_costs(n_words, kind, seed=i)
        masks(code, costs, reference.table_distances(code, costs), n_words, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_rows_below_the_largest_limits(width):
    costs = np.zeros((2, 264, 16), dtype=np.uint8)
    costs[0, :257, 15], costs[1, :257, 15] = 200, 55
    costs[1, 256, 15] -= 1
    code = np.full((16, 264), 255, dtype=np.uint8)
    code[np.arange(12), np.arange(0, 240, 20)] = [0, 15, 240] * 4
    masks(code, costs, reference.table_distances(code, costs), 33, width)


@pytest.mark.parametrize("n_words", [1, 2, 6])
def test_the_rows_below_a_limit_by_words(n_words):
    words, query = reference.random_words(64, n_words), reference.random_words(1, n_words)[0]
    masks(words, query, np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int64), n_words, 0)


def test_popcount():
    count = njit(lambda word: popcount(word))
    words = np.r_[
        np.array([0, 1, 2**63, 2**64 - 1, 0x5555555555555555], dtype=np.uint64),
        reference.random_words(50, 1)[:, 0],
    ]
    assert [int(count(word)) for word in words] == np.bitwise_count(words).tolist()
