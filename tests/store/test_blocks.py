"""Rows move from the tail into blocks of 4,096; no way of adding them changes an answer."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from fakes import vectors_of

from binrag import Store
from binrag.storage import Reading

N = 2 * 4096 + 300
DIM = 12
ROWS = vectors_of(N, DIM)
QUERIES = vectors_of(6, DIM, seed=8)
IDS = [str(i) for i in range(N)]


def answers(store):
    return [store.search_batch(QUERIES, k=k, n_candidates=n) for k, n in ((10, None), (30, 40), (150, N))]


def add(store, start, stop):
    store.add(vectors=ROWS[start:stop], ids=IDS[start:stop])


def layout(path):
    """(tail rows, numbers of the codes' blocks, rows of the liveness blocks)."""
    with closing(sqlite3.connect(path)) as connection:
        tail = [row for (row,) in connection.execute("SELECT row FROM tail ORDER BY row")]
        codes = [no for (no,) in connection.execute("SELECT no FROM blocks WHERE part = 'codes' ORDER BY no")]
        rescale = [no for (no,) in connection.execute("SELECT no FROM blocks WHERE part = 'rescale' ORDER BY no")]
        live = [n for (n,) in connection.execute("SELECT n_rows FROM blocks WHERE part = 'live' ORDER BY no")]
    assert codes == rescale
    return tail, codes, live


@pytest.fixture(scope="module", params=["none", "int8"])
def bulk(request, tmp_path_factory):
    """(keep_vectors, answers after one bulk add)."""
    with Store.open(tmp_path_factory.mktemp("bulk") / "s", keep_vectors=request.param) as store:
        add(store, 0, N)
        return request.param, answers(store)


SIZES = {
    "single rows at the edges": [4094, *[1] * 5, 4092, *[1] * 6, N],
    "just a block": [4096, 4096, N],
    "one short and one over": [4095, 4097, N],
    "two blocks at once after a tail": [17, 8192, N],
    "small": [300] * 29,
    "mixed": [1, 15, 16, 17, 63, 64, 65, 4000, 1, 3999, 2, N],
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_adds_do_not_matter(path, bulk, name):
    keep, expected = bulk
    with Store.open(path, keep_vectors=keep) as store, Store.open(path, "r") as watching:
        start = 0
        for size in SIZES[name]:
            stop = min(start + size, N)
            add(store, start, stop)
            start = stop
            # a handle that grows its view step by step sees what one that loads all at once sees
            hits = watching.search(QUERIES[0], k=20)
            with Store.open(path, "r") as fresh:
                assert fresh.search(QUERIES[0], k=20) == hits == store.search(QUERIES[0], k=20)
        assert start == N
        assert answers(store) == answers(watching) == expected
        assert store.stats() == watching.stats()
    with Store.open(path, "r") as again:
        assert answers(again) == expected
    assert layout(path) == (list(range(8192, N)), [0, 1], [4096, 4096, N - 8192])


@pytest.mark.parametrize("n", [1, 4095, 4096, 4097, 8191, 8192, 8193])
def test_full_runs_are_in_blocks_and_the_rest_in_the_tail(path, n):
    with Store.open(path, keep_vectors="none") as store:
        add(store, 0, n)
    folded = n // 4096
    live = [4096] * folded + ([n % 4096] if n % 4096 else [])
    assert layout(path) == (list(range(4096 * folded, n)), list(range(folded)), live)


def test_deletes_and_upserts_on_both_sides_of_the_edges(path):
    gone = [0, 1, 4094, 4095, 4096, 4097, 8190, 8191, 8192, N - 1]
    replaced = [2, 4093, 4098, 8189, 8193]
    with Store.open(path, keep_vectors="float16") as store, Store.open(path, "r") as watching:
        add(store, 0, N)
        assert len(watching.search(QUERIES[0])) == 10
        store.delete([IDS[row] for row in gone])
        for row in replaced:
            store.add(vectors=-ROWS[row : row + 1], ids=[IDS[row]])
        expected = ROWS.copy()
        expected[replaced] *= -1
        alive = sorted(set(range(N)) - set(gone))
        for view in (store, watching):
            for row in (*replaced, 5, 4100, 8200):
                hits = view.search(expected[row], k=1, n_candidates=N)
                assert (hits[0].id, hits[0].score) == (IDS[row], pytest.approx(1, abs=1e-3))
            found = {hit.id for hit in view.search(np.ones(DIM), k=N, n_candidates=2 * N)}
            assert found == {IDS[row] for row in alive}
    with Store.open(path, "r") as again:
        assert again.count() == len(alive)
        assert {hit.id for hit in again.search(np.ones(DIM), k=N, n_candidates=2 * N)} == found
        assert again.stats().n_dead_rows == len(gone) + len(replaced)


def test_a_whole_block_can_die(path):
    with Store.open(path, keep_vectors="none") as store:
        add(store, 0, N)
        store.delete(IDS[4096:8192])
        hits = store.search(QUERIES[0], k=N, n_candidates=N)
        assert {int(hit.id) for hit in hits} == set(range(4096)) | set(range(8192, N))
        assert store.search(QUERIES[0], k=5, n_candidates=N) == hits[:5]


def test_a_view_loads_only_what_is_new(path, monkeypatch):
    loaded = []
    real_tail, real_blocks = Reading.tail, Reading.blocks

    def tail(self, first_row):
        rows = real_tail(self, first_row)
        loaded.append([row.row for row in rows])
        return rows

    def blocks(self, part, newer_than=-1):
        for block in real_blocks(self, part, newer_than):
            loaded.append((part, block.no))
            yield block

    with Store.open(path, keep_vectors="none") as store, Store.open(path, "r") as watching:
        add(store, 0, 4096 + 4000)
        watching.search(QUERIES[0])
        monkeypatch.setattr(Reading, "tail", tail)
        monkeypatch.setattr(Reading, "blocks", blocks)
        watching.search(QUERIES[0])
        assert loaded == []
        add(store, 8096, 8098)
        loaded.clear()
        watching.search(QUERIES[0])
        assert loaded == [[8096, 8097], ("live", 1)]
        add(store, 8098, 8200)
        loaded.clear()
        watching.search(QUERIES[0])
        assert sorted(loaded, key=str) == [
            ("codes", 1),
            ("live", 1),
            ("live", 2),
            ("rescale", 1),
            list(range(8192, 8200)),
        ]
        store.delete(["5"])
        loaded.clear()
        watching.search(QUERIES[0])
        assert loaded == [[], ("live", 0)]
