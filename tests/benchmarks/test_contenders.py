import numpy as np
import pytest

from benchmarks import contenders
from benchmarks.spaces import ranking
from binrag.errors import MissingDependency

DIM, N = 384, 640


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((N, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_name(name):
    return next(case for case in contenders.contenders(DIM) if case.name == name)


def fitted(name, rows):
    if name.startswith("turbovec"):
        pytest.importorskip("turbovec")  # it is needed for coding, not for fitting
    try:
        return by_name(name).fit(rows, 0)
    except MissingDependency as error:
        pytest.skip(str(error))


def bytes_kept(coded):
    """Bytes of codes, whatever they come in."""
    if isinstance(coded, tuple):
        return sum(part.nbytes for part in coded)
    if isinstance(coded, np.ndarray):
        return coded.nbytes
    if hasattr(coded, "to_bytes"):
        return len(coded.to_bytes())
    return len(contenders.faiss().serialize_index(coded))


EXPECTED = {
    "float32": 1536,
    "int8": 384 + 4,
    "SQ4": 192,
    "SQ8": 384,
    "PCA96,SQ4": 48,
    "PCA85,SQ6": 64,
    "RaBitQ1": 48 + 8,
    "RaBitQ2": 48 + 8 + 48 + 12,
    "RaBitQ4": 48 + 8 + 144 + 12,
    "PCA320,RaBitQ1": 48,
    "PCA304,RaBitQ2": 96,
    "turbovec2": 96 + 4,
    "turbovec4": 192 + 4,
    "PQ48": 48,
}


@pytest.mark.parametrize(("name", "n_bytes"), EXPECTED.items())
def test_bytes_a_row_are_those_that_a_row_adds(rows, name, n_bytes):
    model = fitted(name, rows)
    assert model.row_bytes == n_bytes
    assert N % 64 == 0, "whole blocks of 32 rows, as some peers keep them"
    few, many = (bytes_kept(model.encode(rows[:n])) for n in (N // 2, N))
    assert (many - few) / (N // 2) == pytest.approx(n_bytes, abs=1)


@pytest.mark.parametrize(("name", "n_bytes"), [("BBQ1", 48 + 14), ("BBQ2", 96 + 14), ("BBQ4", 192 + 14)])
def test_bytes_of_bbq_are_its_bits_and_corrections(rows, name, n_bytes):
    model = by_name(name).fit(rows, 0)
    assert model.row_bytes == n_bytes
    bits = 8 * (n_bytes - 14) // DIM
    decoded, _ = model.encode(rows[:50])
    assert max(len(np.unique(row)) for row in decoded) <= 2**bits


@pytest.mark.parametrize("name", ["PQ48", "OPQ46_368", "OPQ46_184", "RQ46", "LSQ46", "RQ190", "PLSQ8x24"])
def test_slow_peers_are_in_the_table_with_seeds_of_their_own(name):
    case = by_name(name)
    assert case.is_slow
    assert case.is_random


@pytest.mark.parametrize(
    ("fit", "n_bytes"),
    [
        (lambda x: contenders.residual(x, 0, n=2), 2),
        (lambda x: contenders.local_search(x, 0, n=2, iterations=2), 2),
        (lambda x: contenders.local_search(x, 0, n=4, splits=2, iterations=2), 4),
        (lambda x: contenders.factory(x, 1, key="OPQ2_16,PQ2x8np"), 2),
    ],
)
def test_additive_codes_of_few_bytes_bring_rows_closer(fit, n_bytes):
    pytest.importorskip("faiss")
    rows = np.random.default_rng(1).standard_normal((500, 16)).astype(np.float32)
    model = fit(rows)
    assert model.row_bytes == n_bytes
    decoded = model.decode(model.encode(rows))
    assert ((rows - decoded) ** 2).sum() < 0.75 * (rows**2).sum()


@pytest.mark.parametrize("name", ["float32", "int8", "SQ8", "RaBitQ4", "BBQ4", "turbovec4"])
def test_long_codes_rank_nearly_as_floats_do(rows, name):
    model = fitted(name, rows)
    queries = rows[:40] + 0.03 * np.random.default_rng(2).standard_normal((40, DIM)).astype(np.float32)
    got = model.rank(model.encode(rows), queries, 10)
    assert got.shape == (40, 10)
    assert got[:, 0].tolist() == list(range(40))
    exact = ranking(queries, rows, 10)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(exact, got, strict=True)]) > 0.8


def test_a_seed_turns_rabitq(rows):
    pytest.importorskip("faiss")
    case = by_name("RaBitQ1")
    assert case.is_random
    first, again, other = (case.fit(rows, seed) for seed in (0, 0, 1))
    rankings = [model.rank(model.encode(rows), rows[:20], 50) for model in (first, again, other)]
    np.testing.assert_array_equal(rankings[0], rankings[1])
    assert not np.array_equal(rankings[0], rankings[2])


def test_a_seed_orders_the_rows_anew():
    rows = np.arange(20, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(contenders.shuffled(rows, 0), rows)
    assert not np.array_equal(contenders.shuffled(rows, 1), rows)
    assert sorted(contenders.shuffled(rows, 1)[:, 0]) == list(range(20))


def test_names_are_unique_and_families_have_one_name_a_size():
    for dim in (64, 100, 384, 768, 1024):
        names = [case.name for case in contenders.contenders(dim)]
        assert len(set(names)) == len(names), dim


def test_a_missing_package_is_named(monkeypatch, rows):
    monkeypatch.setitem(__import__("sys").modules, "turbovec", None)
    with pytest.raises(MissingDependency, match="pip install turbovec"):
        by_name("turbovec2").fit(rows, 0).encode(rows)
