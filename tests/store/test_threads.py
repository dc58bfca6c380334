"""One store, many threads."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from fakes import WordEncoder, ids_of, sentences, vectors_of

from binrag import Store, StoreClosed, threads
from binrag.indexes import flat
from binrag.storage import Reading


@pytest.mark.parametrize(
    ("keep", "legs"), [("none", "dense"), ("int8", "dense"), ("int8", "lexical"), ("none", "hybrid")]
)
def test_eight_threads_get_identical_results(path, keep, legs):
    search = partial(Store.search, legs=legs)
    texts = sentences(5000)
    queries = sentences(40, seed=3)
    with Store.open(path, encoder=WordEncoder(64), keep_vectors=keep, lexical="en") as store:
        store.add(texts[:4500], ids=texts[:4500])
        store.add(texts[4500:], ids=texts[4500:])
        alone = [search(store, query) for query in queries]
    with Store.open(path, "r", encoder=WordEncoder(64)) as store, ThreadPoolExecutor(8) as pool:
        # the first search of every thread loads the codes, and the words
        assert list(pool.map(partial(search, store), queries)) == alone
        assert list(pool.map(partial(search, store), queries * 3)) == alone * 3


@pytest.mark.parametrize("binarizer", ["sign", "levels"])
def test_any_number_of_threads_finds_the_same(path, binarizer, monkeypatch):
    """One query and many, which they share by rows or by queries."""
    monkeypatch.setattr(threads, "n_processors", lambda: 4)
    monkeypatch.setattr(flat, "RANGE", 64)
    threads._pool.cache_clear()
    queries = vectors_of(150, 64, seed=1)
    with Store.open(path, n_threads=1) as store:
        store.add(vectors=vectors_of(2000, 64), ids=list(map(str, range(2000))))
        if binarizer != "sign":
            store.train_binarizer(binarizer, force=True)
        alone = [store.search(query) for query in queries]
        assert store.search_batch(queries) == alone
    for n_threads in (2, 4, 100, None):
        with Store.open(path, "r", n_threads=n_threads) as store:
            assert store.search_batch(queries) == alone
            assert store.search(queries[0]) == alone[0]
            assert store.search_batch(queries[:3]) == alone[:3]
    threads._pool.cache_clear()


def test_readers_beside_a_writer_see_whole_commits_in_order(path, monkeypatch):
    """Every commit adds two documents and takes one away; words are folded every few of them."""
    monkeypatch.setattr("binrag.lexical.index.MIN_TAIL", 10)
    monkeypatch.setattr("binrag.lexical.index.GROWTH", 1000)
    errors, stop = [], threading.Event()

    with Store.open(path, lexical="en") as store:
        store.add(vectors=vectors_of(4000, 8), ids=[f"s{i}" for i in range(4000)])

        def read():
            last = 0
            try:
                while not stop.is_set():
                    hits = store.search(np.ones(8), k=20_000, n_candidates=20_000)
                    assert len(set(ids_of(hits))) == len(hits) >= last
                    last = len(hits)
                    count = store.count()
                    assert count >= last
                    named = ids_of(store.search("silver", k=20_000, legs="lexical"))
                    assert len(set(named)) == len(named) >= max(0, 2 * ((last - 4000) // 2))
                    assert all(id_[-2:] in ("-1", "-2") for id_ in named)
                    assert sum(1 for _ in store.iter()) >= count - 1
                    assert len(store.get(["s1", "s2"])) == 2
                    assert all(a.score >= b.score for a, b in itertools.pairwise(hits))
            except BaseException as error:
                errors.append(error)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        n, end = 0, time.monotonic() + 2
        while time.monotonic() < end and not errors:
            with store.transaction():
                store.add(["silver"] * 3, vectors=vectors_of(3, 8, seed=n), ids=[f"{n}-{i}" for i in range(3)])
                store.delete([f"{n}-0"])
            n += 1
        stop.set()
        for reader in readers:
            reader.join()
        assert errors == []
        assert n > 5
        assert store.count() == 4000 + 2 * n
        assert len(store.search("silver", k=20_000, legs="lexical")) == 2 * n


def test_writers_in_threads_take_turns(path):
    with Store.open(path, encoder=WordEncoder(), lock_timeout=60) as store, ThreadPoolExecutor(6) as pool:

        def write(i):
            with store.transaction():
                store.add([f"river {i}"], ids=[f"t{i}"])
                return store.get([f"t{i}"])[0].text

        assert list(pool.map(write, range(60))) == [f"river {i}" for i in range(60)]
        list(pool.map(lambda i: store.add([f"stone {i}"], ids=[f"u{i}"]), range(60)))
        list(pool.map(lambda i: store.delete([f"u{i}"]), range(60)))
        assert store.count() == 60
        assert len(store.search("river", k=100)) == 60


def test_a_store_opened_in_one_thread_is_used_and_closed_in_another(path):
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        store = first.submit(Store.open, path).result()
        second.submit(store.add, vectors=np.eye(3)).result()
        assert first.submit(store.count).result() == 3
        second.submit(store.close).result()
        with pytest.raises(StoreClosed):
            first.submit(store.count).result()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_closing_while_others_search(path):
    store = Store.open(path)
    store.add(vectors=vectors_of(3000, 8))
    outcomes = []

    def read():
        try:
            while True:
                store.search(np.ones(8))
        except BaseException as error:
            outcomes.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    time.sleep(0.2)
    store.close()
    for reader in readers:
        reader.join(20)
    assert [type(outcome) for outcome in outcomes] == [StoreClosed] * 4
    with Store.open(path, "r") as again:
        assert again.count() == 3000


def test_a_view_does_not_change_under_a_search_in_progress(path):
    """search_batch answers all its queries from one commit, though another thread writes meanwhile."""
    with Store.open(path, keep_vectors="none") as store:
        store.add(vectors=vectors_of(2000, 8), ids=[f"s{i}" for i in range(2000)])
        stop = threading.Event()

        def write():
            n = 0
            while not stop.is_set():
                store.add(vectors=vectors_of(1, 8, seed=n), ids=[f"n{n}"])
                n += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(10):
                batch = store.search_batch(np.tile(np.ones(8), (8, 1)), k=100, n_candidates=5000)
                assert all(hits == batch[0] for hits in batch)
        finally:
            stop.set()
            writer.join()


def test_a_view_is_never_newer_than_what_it_reads(path, monkeypatch):
    """Between the begin of a read and its look at the view, another thread renews the view."""
    real, looks = Reading.head, []

    def head(self):
        found = real(self)
        looks.append(threading.current_thread())
        if len(looks) == 1:
            other.add(ids=["new"], vectors=[[0, 0, 1]])
            thread = threading.Thread(target=store.refresh)
            thread.start()
            thread.join()
        return found

    with Store.open(path) as store, Store.open(path) as other:
        store.add(vectors=np.eye(3), ids=["0", "1", "2"])
        assert len(store.search([1, 1, 1])) == 3
        monkeypatch.setattr(Reading, "head", head)
        assert sorted(ids_of(store.search([1, 1, 1]))) == ["0", "1", "2", "new"]
