"""Several handles in one process, handles that outlive their file, and what closing leaves."""

import asyncio
import gc
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fakes import ids_of, vectors_of
from faults import check_sound

from binrag import BinragError, Store, StoreClosed, StoreLocked

DIM = 8


def ids(store):
    return [document.id for document in store.iter()]


def files(path):
    return sorted(file.name for file in path.parent.iterdir())


def put(store, *names):
    store.add([f"text {name}" for name in names], ids=names, vectors=vectors_of(len(names), DIM, seed=len(names[0])))


def test_two_handles_write_in_turns_and_see_each_other(path):
    with Store.open(path) as first, Store.open(path) as second:
        for i in range(20):
            one, other = (first, second) if i % 2 else (second, first)
            put(one, f"a{i}", f"b{i}")
            assert set(ids_of(other.search(np.ones(DIM), k=100, n_candidates=100))) == set(ids(other))
            assert other.count() == i + 2
            assert other.delete([f"b{i}"]) == 1
            assert first.search(np.ones(DIM), k=7) == second.search(np.ones(DIM), k=7)
        check_sound(first)
    assert files(path) == [path.name]


def test_handles_of_several_threads_write_at_once(path):
    def write(name):
        with Store.open(path, lock_timeout=60) as own:
            for i in range(15):
                put(own if i % 2 else shared, f"{name}{i}")
        return [f"{name}{i}" for i in range(15)]

    with Store.open(path, lock_timeout=60) as shared, ThreadPoolExecutor(4) as pool:
        written = [name for names in pool.map(write, "abcd") for name in names]
        assert sorted(ids(shared)) == sorted(written)
        check_sound(shared)
    assert files(path) == [path.name]


def test_a_writer_that_waits_is_told_which_process_holds_the_store(path):
    with Store.open(path) as first, Store.open(path, lock_timeout=0) as second, first.transaction():
        put(first, "a")
        with pytest.raises(StoreLocked, match=rf"process {os.getpid()} on .* since \d{{4}}-"):
            put(second, "b")
        assert second.count() == 0


async def test_from_asyncio(path):
    """A store is used through threads there: searches in parallel, writers in turns."""

    def add(i):
        put(store, f"n{i}")
        return store.get([f"n{i}"])[0].text

    with await asyncio.to_thread(Store.open, path, lock_timeout=60) as store:
        await asyncio.to_thread(store.add, vectors=vectors_of(500, DIM), ids=[f"s{i}" for i in range(500)])
        queries = vectors_of(24, DIM, seed=1)
        alone = [store.search(query, k=3) for query in queries]
        assert await asyncio.gather(*(asyncio.to_thread(store.search, query, 3) for query in queries)) == alone
        works = [
            work
            for i in range(12)
            for work in (asyncio.to_thread(add, i), asyncio.to_thread(store.search, queries[i], 3))
        ]
        done = await asyncio.gather(*works)
        assert done[::2] == [f"text n{i}" for i in range(12)]
        assert all(len(hits) == 3 for hits in done[1::2])
        assert store.count() == 512


async def test_a_cancelled_wait_leaves_the_store_usable(path):
    """The thread goes on when nobody waits for it any more; what it writes is whole."""
    with Store.open(path, lock_timeout=60) as store:
        task = asyncio.create_task(asyncio.to_thread(put, store, *map(str, range(100, 400))))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(put, store, "a")
        assert store.count() in (1, 301)


def test_a_notebook_cell_that_runs_again(path):
    """The name is bound to a new handle while the old one is not closed, and nobody closes the last one."""
    for i in range(5):
        store = Store.open(path)
        put(store, f"c{i}")
        assert store.count() == i + 1
        assert ids_of(store.search(np.ones(DIM), k=10)) != []
    del store
    gc.collect()
    assert files(path) == [path.name]


def test_a_handle_that_is_left_in_a_transaction_is_not_in_the_way(path):
    """A cell was interrupted in the block: what it wrote is undone, and the next one writes."""

    def interrupted():
        store = Store.open(path, lock_timeout=0)
        with store.transaction():
            put(store, "half")
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with Store.open(path, lock_timeout=0) as store:
            put(store, "whole")
            assert ids(store) == ["whole"]


def test_closing_again_and_using_after(path):
    store = Store.open(path)
    put(store, "a")
    for _ in range(3):
        store.close()
    with pytest.raises(StoreClosed, match="was closed; open it again"):
        store.count()
    with Store.open(path) as again:
        store.close()
        assert again.count() == 1
        put(again, "b")
        store.close()
        assert ids(again) == ["a", "b"]


def descriptors(path):
    folder = Path("/proc/self/fd")
    targets = [str(entry.readlink()) for entry in folder.iterdir() if entry.is_symlink()]
    return [target for target in targets if target.startswith(str(path))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not show open files")
def test_closing_gives_back_every_descriptor(path):
    store, reader = Store.open(path), Store.open(path, "r")
    put(store, "a", "b")
    with ThreadPoolExecutor(4) as pool:
        for handle in (store, reader):
            list(pool.map(handle.search, vectors_of(20, DIM)))
    with pytest.raises(BinragError):
        store.add(vectors=np.zeros((1, DIM)))
    assert descriptors(path)
    reader.close()
    store.close()
    assert descriptors(path) == []
    assert files(path) == [path.name]


def test_a_file_deleted_after_closing_makes_way_for_another(path):
    for dim in (3, 5, 4):
        with Store.open(path, "x") as store:
            store.add(["one"], ids=["1"], vectors=np.ones((1, dim)))
            assert store.info().dim == dim
            assert ids_of(store.search(np.ones(dim))) == ["1"]
        path.unlink()
        assert files(path) == []


posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps an open file where it is")


@posix
@pytest.mark.parametrize("removed", [[""], ["", "-wal", "-shm", "-lock"]], ids=["the file", "all files"])
def test_a_file_deleted_under_a_handle(path, removed):
    """The old handle says so instead of writing to nowhere, and the new file has nothing of the old one."""
    old, idle = Store.open(path), Store.open(path, "r")
    put(old, "old1", "old2")
    assert idle.count() == 2
    for suffix in removed:
        Path(f"{path}{suffix}").unlink()
    for use in (old.count, lambda: put(old, "lost"), lambda: old.search(np.ones(DIM)), idle.count, lambda: ids(idle)):
        with pytest.raises(StoreClosed, match="removed, moved or replaced while it was open"):
            use()
    with Store.open(path) as new:
        put(new, "new")
        for use in (old.count, lambda: put(old, "lost"), idle.count):
            with pytest.raises(StoreClosed):
                use()
        assert ids(new) == ["new"]
        old.close()
        put(new, "newer")
        idle.close()
        put(new, "newest")
        assert ids(new) == ["new", "newer", "newest"]
        check_sound(new)
    with Store.open(path) as new:
        assert ids(new) == ["new", "newer", "newest"]
        check_sound(new)
    assert files(path) == [path.name]


@posix
def test_a_file_deleted_under_a_transaction(path):
    store = Store.open(path)
    put(store, "a")
    with pytest.raises(StoreClosed, match="removed, moved or replaced"), store.transaction():
        put(store, "b")
        path.unlink()
    with Store.open(path) as new:
        assert new.count() == 0


@posix
def test_a_file_deleted_under_a_handle_of_another_process(path, peer):
    other = peer()
    other.run("store = Store.open(p); store.add(ids=['1'], vectors=[[1, 2, 3]])", p=str(path))
    path.unlink()
    with Store.open(path) as new:
        put(new, "new")
        for use in ("store.count()", "store.add(ids=['2'], vectors=[[1, 2, 3]])", "store.search([1, 2, 3])"):
            other.run(
                f"""
                try:
                    {use}
                except StoreClosed:
                    pass
                else:
                    raise AssertionError
                """
            )
        other.run("store.close()")
        assert ids(new) == ["new"]
        check_sound(new)


@posix
def test_a_store_that_moved_is_opened_at_its_new_place(path):
    with Store.open(path) as store:
        put(store, "a")
    other = path.with_name("moved")
    with Store.open(path, "r") as reader:
        shutil.move(path, other)
        with pytest.raises(StoreClosed):
            reader.count()
    with Store.open(other) as store:
        assert ids(store) == ["a"]


def test_the_working_directory_may_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Store.open("kb.binrag") as store:
        put(store, "a")
        monkeypatch.chdir(tmp_path / "elsewhere")
        found = []
        with store._handle.database.reading():  # so that the thread needs a connection of its own
            thread = threading.Thread(target=lambda: found.append(store.count()))
            thread.start()
            thread.join()
        assert found == [1]
        put(store, "b")
        assert store.count() == 2
    assert [entry.name for entry in (tmp_path / "elsewhere").iterdir()] == []
