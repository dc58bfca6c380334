"""Several processes with one file: commits are seen, writers take turns, and a kill loses nothing."""

import os
import time

import numpy as np
import pytest
from fakes import ids_of, vectors_of
from processes import PeerError

from binrag import Store, StoreExists, StoreLocked


@pytest.fixture
def filled(path):
    with Store.open(path, lexical="en") as store:
        store.add(["one", "two", "three"], ids=list("123"), vectors=np.eye(3))
    return path


def files(path):
    return sorted(file.name for file in path.parent.iterdir())


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_commits_of_another_process_are_seen_at_once(filled, peer, mode):
    other = peer()
    other.run("store = Store.open(p)", p=str(filled))
    with Store.open(filled, mode) as store:
        assert ids_of(store.search([0, 0, 1], k=1)) == ["3"]
        other.run("store.add(['four'], ids=['4'], vectors=[[0, 0.1, 1]])")
        assert store.get(["4"])[0].text == "four"
        assert store.count() == 4
        assert ids_of(store.search([0, 0.1, 1], k=1)) == ["4"]
        assert ids_of(store.search("four", legs="lexical")) == ["4"]
        other.run("store.delete(['4'])")
        assert ids_of(store.search([0, 0.1, 1], k=1)) == ["3"]
        other.run("store.add(['drei'], ids=['3'], vectors=[[1, 0, 0.1]])")
        hit = store.search([1, 0, 0.1], k=1)[0]
        assert (hit.id, hit.text) == ("3", "drei")
        assert ids_of(store.search("three four drei", legs="lexical")) == ["3"]
        other.run("store.index_words('any')")
        assert ids_of(store.search("three four drei two", legs="lexical")) == ["2", "3"]
        other.run("store.add(vectors=np.random.default_rng(0).standard_normal((9000, 3)))")
        assert store.count() == len(store.search([1, 1, 1], k=10**6, n_candidates=10**6)) == 9003
    other.run("store.close()")
    assert files(filled) == [filled.name]


def test_what_is_not_committed_is_not_seen(filled, peer):
    other = peer()
    other.run("store = Store.open(p); block = store.transaction(); block.__enter__()", p=str(filled))
    other.run("store.add(['four'], ids=['4'], vectors=[[0, 0, 1]]); store.delete(['1'])")
    with Store.open(filled) as store:
        assert sorted(ids_of(store.search([0, 0, 1]))) == ["1", "2", "3"]
        assert [document.id for document in store.iter()] == ["1", "2", "3"]
        other.run("block.__exit__(None, None, None)")
        assert sorted(ids_of(store.search([0, 0, 1]))) == ["2", "3", "4"]


def test_a_second_writer_waits_and_is_told_who_holds_the_store(filled, peer):
    other = peer()
    other.run("store = Store.open(p); block = store.transaction(); block.__enter__()", p=str(filled))
    other.run("store.delete(['1'])")
    with Store.open(filled, lock_timeout=0.3) as store:
        started = time.monotonic()
        with pytest.raises(StoreLocked, match=f"process {other.pid} on .*; wait for it to finish"):
            store.add(vectors=np.eye(3))
        assert time.monotonic() - started >= 0.3
        assert len(store.search([1, 0, 0])) == 3
        other.run("block.__exit__(None, None, None)")
        store.add(vectors=np.eye(3))
        assert store.count() == 5


def test_a_writer_gets_its_turn_while_it_waits(filled, peer):
    other = peer()
    other.run("store = Store.open(p); block = store.transaction(); block.__enter__()", p=str(filled))
    other.send("store.delete(['1']); time.sleep(0.5); block.__exit__(None, None, None); result = time.time()")
    with Store.open(filled, lock_timeout=30) as store:
        store.delete(["2"])
        done = time.time()
        assert other.answer() <= done
        assert [document.id for document in store.iter()] == ["3"]


def test_two_writers_at_once_lose_nothing(path, peer):
    writers = [peer(), peer()]
    n = 150
    for name, writer in zip("ab", writers, strict=True):
        writer.run("store = Store.open(p, lock_timeout=60, lexical='en')", p=str(path))
        writer.run("from faults import small_folds; small_folds(10)")
        writer.run("draw = np.random.default_rng(seed)", seed=ord(name))
    with Store.open(path) as store:
        store.add(vectors=vectors_of(4000, 6), ids=[f"s{i}" for i in range(4000)])
        for name, writer in zip("ab", writers, strict=True):
            writer.send(
                f"""
                for i in range({n}):
                    store.add([f"{name} {{i}}"], ids=[f"{name}{{i}}"], vectors=draw.standard_normal((1, 6)))
                    if i % 10 == 9:
                        store.delete([f"{name}{{i}}"])
                """
            )
        counts = [store.count()]
        while counts[-1] < 4000 + 2 * n * 9 // 10 and len(counts) < 10**6:
            counts.append(store.count())
            hits = store.search(np.ones(6), k=3)
            assert len(hits) == 3
        for writer in writers:
            writer.answer()
        expected = {f"s{i}" for i in range(4000)} | {f"{w}{i}" for w in "ab" for i in range(n) if i % 10 != 9}
        assert {document.id for document in store.iter()} == expected
        assert set(ids_of(store.search(np.ones(6), k=10**6, n_candidates=10**6))) == expected
        with Store.open(path, "r") as fresh:
            query = np.arange(6) - 2.5
            assert fresh.search(query, k=50) == store.search(query, k=50)
            for handle in (store, fresh):
                for i in (0, 8, n - 2):
                    assert set(ids_of(handle.search(str(i), legs="lexical"))) == {f"a{i}", f"b{i}"}
                assert handle.search(str(n - 1), legs="lexical") == []


def test_a_writer_killed_in_a_transaction_leaves_the_last_commit(filled, peer):
    other = peer()
    other.run("store = Store.open(p)", p=str(filled))
    other.run("store.add(['four'], ids=['4'], vectors=[[1, 1, 1]])")
    other.run("block = store.transaction(); block.__enter__()")
    other.run("store.add(vectors=np.ones((9000, 3))); store.delete(['1', '2', '3', '4'])")
    other.kill()
    with Store.open(filled, lock_timeout=2) as store:
        assert [document.id for document in store.iter()] == ["1", "2", "3", "4"]
        assert ids_of(store.search([1, 1, 1], k=1)) == ["4"]
        store.add(["five"], ids=["5"], vectors=[[1, 1, 0]])
        assert ids_of(store.search([1, 1, 0], k=1)) == ["5"]
        assert store.stats().n_rows == 5
    assert files(filled) == [filled.name]


def test_a_reader_goes_on_when_the_writer_is_killed(filled, peer):
    other = peer()
    with Store.open(filled, "r") as store:
        other.run("store = Store.open(p); store.delete(['1'])", p=str(filled))
        assert store.count() == 2
        other.run("block = store.transaction(); block.__enter__(); store.delete(['2'])")
        other.kill()
        assert sorted(ids_of(store.search([1, 1, 1]))) == ["2", "3"]
    with Store.open(filled) as store:
        assert sorted(ids_of(store.search([1, 1, 1]))) == ["2", "3"]


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.5])
def test_what_a_killed_writer_had_committed_is_there(path, tmp_path, peer, seconds):
    """The log names every add that returned; the store has those, and at most the one that was under way."""
    log = tmp_path / "log"
    other = peer()
    other.run("store = Store.open(p); log = open(l, 'a', buffering=1)", p=str(path), l=str(log))
    other.send(
        """
        for i in range(10**6):
            store.add([f"text {i}", "x"], ids=[f"a{i}", f"b{i}"], vectors=[[i, 1], [i, 2]])
            log.write(f"{i}\\n")
        """
    )
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(seconds)
    other.kill()
    n = len(log.read_text().splitlines())
    assert n > 0
    with Store.open(path) as store:
        found = [document.id for document in store.iter()]
        assert found in ([f"{w}{i}" for i in range(n) for w in "ab"], [f"{w}{i}" for i in range(n + 1) for w in "ab"])
        assert sorted(ids_of(store.search([1, 1], k=10**6, n_candidates=10**6))) == sorted(found)
        store.add(["after"], ids=["after"], vectors=[[5, 5]])
        assert store.count() == len(found) + 1


def test_one_of_several_creators_wins(path, peer):
    others = [peer() for _ in range(3)]
    at = time.time() + 1
    for other in others:
        other.send(
            """
            while time.time() < at:
                pass
            try:
                store = Store.open(p, "x")
                result = True
            except StoreExists:
                result = False
            """,
            p=str(path),
            at=at,
        )
    assert sorted(other.answer() for other in others) == [False, False, True]
    with pytest.raises(StoreExists):
        Store.open(path, "x")


def test_creators_in_mode_c_share_one_store(path, peer):
    others = [peer() for _ in range(3)]
    at = time.time() + 1
    for i, other in enumerate(others):
        other.send(
            """
            while time.time() < at:
                pass
            store = Store.open(p, lock_timeout=30)
            store.add(ids=[name], vectors=[[1, 2, 3]])
            store.close()
            """,
            p=str(path),
            at=at,
            name=str(i),
        )
    for other in others:
        other.answer()
    with Store.open(path, "r") as store:
        assert sorted(document.id for document in store.iter()) == ["0", "1", "2"]
    assert files(path) == [path.name]


def test_the_last_process_leaves_one_file(filled, peer):
    other = peer()
    store = Store.open(filled)
    store.delete(["1"])
    other.run("store = Store.open(p, 'r'); result = store.count()", p=str(filled))
    store.close()
    assert len(files(filled)) > 1
    assert other.run("result = [hit.id for hit in store.search([0, 0, 1])]") == ["3", "2"]
    other.run("store.close()")
    assert files(filled) == [filled.name]


def test_a_process_that_ends_without_closing_leaves_a_sound_store(filled, peer):
    other = peer()
    other.run("store = Store.open(p); store.delete(['1'])", p=str(filled))
    with pytest.raises(PeerError):
        other.run("os._exit(3)")
    with Store.open(filled) as store:
        assert store.count() == 2
        store.delete(["2"])
    assert files(filled) == [filled.name]
    with Store.open(filled, "r") as store:
        assert [document.id for document in store.iter()] == ["3"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_backups_run_beside_a_writer(path, tmp_path, peer):
    other = peer()
    other.run("store = Store.open(p); store.add(vectors=np.eye(3))", p=str(path))
    other.send("[store.add(vectors=np.eye(3)) for _ in range(100)]")
    with Store.open(path, "r") as store:
        for i in range(5):
            store.backup(tmp_path / f"copy{i}")
            with Store.open(tmp_path / f"copy{i}", "r") as copy:
                assert copy.count() % 3 == 0
                assert len(copy.search([1, 2, 3], k=1000, n_candidates=1000)) == copy.count()
    other.answer()
