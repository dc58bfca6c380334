"""Disks that are full, that fail and that may not be written: typed errors, nothing acknowledged lost, and on again."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fakes import vectors_of
from faults import DIM, SETTINGS, STORE, SYNC, WORDS_SETTINGS, WRITE, check_sound, failing_disk, steps
from words_oracle import WordsOracle, record_of

from binrag import StorageFailed, StorageFull, Store


def filled(store, n=20):
    store.add([f"text {i}" for i in range(n)], ids=[f"f{i}" for i in range(n)], vectors=vectors_of(n, DIM))


def ids(store):
    return [document.id for document in store.iter()]


@contextmanager
def no_room(store, n_pages=2):
    """Let the store's file grow by a few pages only."""
    writer = store._handle.database._writer(store._handle.database._state)
    n = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {n + n_pages}")
    yield
    writer.execute("PRAGMA max_page_count = 1000000000")


def big(store, name="big"):
    store.add(["x" * 200_000], ids=[name], vectors=vectors_of(1, DIM))


CALLS = {
    "add": big,
    "upsert": lambda store: big(store, "f3"),
    "add in commits": lambda store: store.add(
        ["x" * 200_000] * 3, ids=["1", "2", "3"], vectors=vectors_of(3, DIM), commit_every=1
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_room_for_a_call(path, name):
    with Store.open(path, **SETTINGS) as store:
        filled(store)
        before, answers = ids(store), store.search(np.ones(DIM), k=5)
        with no_room(store):
            with pytest.raises(StorageFull, match=r"no room to write .*store\.binrag.*nothing of this call was stored"):
                CALLS[name](store)
            assert ids(store) == before
            assert store.search(np.ones(DIM), k=5) == answers
            check_sound(store)
            assert store.delete(["f0"]) == 1, "what makes no file grow goes on"
        CALLS[name](store)
        check_sound(store)
        assert store.count() == 19 + {"add": 1, "add in commits": 3}.get(name, 0)


def test_no_room_for_a_fold_of_words(path, monkeypatch):
    """The commit before it stands, and words are found; it is made up for when there is room."""
    monkeypatch.setattr("binrag.lexical.index.MIN_TAIL", 25)
    with Store.open(path, **WORDS_SETTINGS) as store:
        filled(store)
        words = " ".join(f"word{i}" for i in range(20_000))
        store.add([words], ids=["long"], vectors=vectors_of(1, DIM))
        with no_room(store, n_pages=4):
            for name in ("1", "2", "3", "4", "5"):
                store.add(["text more"], ids=[name], vectors=vectors_of(1, DIM))
            assert record_of(store)["n_rows"] == 0
            with pytest.raises(StorageFull):
                store.index_words()
            assert record_of(store)["n_rows"] == 0
            WordsOracle().follow(store).check(store, "more 7", np.ones(DIM))
            check_sound(store)
        store.add(["text"], ids=["6"], vectors=vectors_of(1, DIM))
        assert record_of(store)["n_rows"] == 27
        WordsOracle().follow(store).check(store, "more 7 word19999", np.ones(DIM))
        check_sound(store)


def test_no_room_for_a_compaction(path):
    with Store.open(path, **WORDS_SETTINGS) as store:
        filled(store, 300)
        store.add([" ".join(f"word{i}" for i in range(20_000))], ids=["long"], vectors=vectors_of(1, DIM))
        store.delete(["f0", "f7"])
        before, answers = ids(store), store.search(np.ones(DIM), k=5)
        with no_room(store):
            with pytest.raises(StorageFull):
                store.compact(progress=False)
            assert (ids(store), store.search(np.ones(DIM), k=5)) == (before, answers)
            check_sound(store)
        assert store.compact(progress=False).n_dropped == 2
        assert (ids(store), store.search(np.ones(DIM), k=5)) == (before, answers)
        check_sound(store)


def test_no_room_in_a_transaction(path):
    """SQLite undid all of it: the block cannot go on, and the next one is another."""
    with Store.open(path, **SETTINGS) as store:
        filled(store)
        before = ids(store)
        with no_room(store):
            with pytest.raises(StorageFull, match="undid the whole transaction"), store.transaction():
                store.add(["small"], ids=["s"], vectors=vectors_of(1, DIM))
                with pytest.raises(StorageFull):
                    big(store)
                with pytest.raises(StorageFull, match="leave transaction"):
                    store.delete(["f1"])
            assert ids(store) == before
        with store.transaction():
            big(store)
            store.delete(["f1"])
        assert ids(store) == [*[id_ for id_ in before if id_ != "f1"], "big"]


def test_a_load_in_commits_keeps_those_before_the_full_disk(path):
    with Store.open(path, **SETTINGS) as store:
        filled(store)
        with no_room(store, n_pages=30), pytest.raises(StorageFull):
            store.add(["x" * 30_000] * 50, ids=map(str, range(50)), vectors=vectors_of(50, DIM), commit_every=1)
        kept = ids(store)[20:]
        assert 2 < len(kept) < 50
        assert kept == list(map(str, range(len(kept))))
        check_sound(store)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes, for those who may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True)
    except OSError:
        pytest.skip("this system has no mount")
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill_up(folder):
    """Write files until there is no room; return them."""
    ballast = folder / f"ballast{len(list(folder.iterdir()))}"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(1000))
    return [ballast]


@pytest.mark.parametrize("durability", ["commit", "os"])
def test_a_disk_that_is_really_full(small_disk, durability):
    path, reserve = small_disk / "store.binrag", small_disk / "reserve"
    reserve.write_bytes(bytes(2_000_000))
    store = Store.open(path, durability=durability, **SETTINGS)
    filled(store)
    expected = ids(store)
    with pytest.raises(StorageFull):
        for i in range(200):
            store.add(["x" * 20_000], ids=[f"x{i}"], vectors=vectors_of(1, DIM))
            expected.append(f"x{i}")
    assert len(expected) > 22
    ballast = fill_up(small_disk)
    assert ids(store) == expected
    store.close()
    ballast += fill_up(small_disk)
    with Store.open(path, "r") as reader:
        assert ids(reader) == expected
        assert len(reader.search(np.ones(DIM), k=500, n_candidates=500)) == len(expected)
    with pytest.raises(StorageFull), Store.open(path, "rw") as store:
        big(store)
    with pytest.raises(StorageFull):
        Store.open(small_disk / "new", **SETTINGS)
    for file in (reserve, *ballast):
        file.unlink()
    with Store.open(path) as store:
        assert ids(store) == expected
        check_sound(store)
        store.delete([id_ for id_ in expected if id_.startswith("x")])
        filled(store, 30)
        assert store.count() == 30
        check_sound(store)


def test_no_room_for_a_backup(small_disk, tmp_path):
    with Store.open(tmp_path / "store", **SETTINGS) as store:
        store.add(["x" * 60_000] * 100, vectors=vectors_of(100, DIM))
        with pytest.raises(StorageFull):
            store.backup(small_disk / "copy")
        assert list(small_disk.iterdir()) == []
        store.backup(tmp_path / "copy")
    with Store.open(tmp_path / "copy", "r") as copy:
        assert copy.count() == 100


def test_no_room_for_what_is_encoded(small_disk, path, encoder, monkeypatch):
    """Vectors wait in a temporary file until the store is locked."""
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    monkeypatch.setattr("binrag.store.batches._SPOOL_BYTES", 1000)
    with Store.open(path, encoder=encoder) as store:
        store.add(["one"], ids=["1"])
        with pytest.raises(StorageFull, match=f"no room for a temporary file in {small_disk}.*TMPDIR"):
            store.add(f"{'many words ' * 100} {i}" for i in range(5000))
        assert ids(store) == ["1"]
        store.add(["two"], ids=["2"])
        assert ids(store) == ["1", "2"]


FAILING = """
from faults import *
import errno

store = Store.open(p, **SETTINGS)
store.add([f"text {i}" for i in range(20)], ids=[f"f{i}" for i in range(20)], vectors=vectors_of(20, DIM))

def fail(mask, n=10**9, error=errno.EIO, first=0):
    disk().faults_watch(p.encode(), -1)
    disk().faults_at(first, n, mask, error, 0)

def works():
    disk().faults_watch(p.encode(), -1)

def kind_of(work):
    try:
        work()
    except BinragError as error:
        return type(error).__name__, str(error)
    return None, ""

def one(name):
    store.add([name * 9000], ids=[name], vectors=vectors_of(1, DIM))
"""


@pytest.fixture
def failing(path, tmp_path, peer):
    """A process whose disk can be made to fail, with a store of f0 … f19."""
    other = peer(LD_PRELOAD=str(failing_disk(tmp_path)))
    other.run(FAILING, p=str(path))
    return other


EXPECTED = [f"f{i}" for i in range(20)]


@pytest.mark.parametrize(
    ("mask", "errno", "kind"),
    [
        (steps(SYNC), "EIO", StorageFailed),
        (steps(WRITE), "EIO", StorageFailed),
        (steps(WRITE), "ENOSPC", StorageFull),
        (steps(WRITE), "EDQUOT", StorageFailed),
        (steps(SYNC), "ENOSPC", StorageFailed),
    ],
    ids=["sync", "write", "full", "quota", "full at sync"],
)
def test_a_disk_that_fails(failing, path, mask, errno, kind):
    """The commit that failed is not there, the handle goes on once the disk does, and so do others."""
    name, message = failing.run(f"fail({mask}, error=errno.{errno}); result = kind_of(lambda: one('a'))")
    assert name == kind.__name__, message
    assert str(path) in message
    assert failing.run("result = kind_of(lambda: one('a'))")[0] == kind.__name__
    assert failing.run("result = kind_of(lambda: store.delete(['f0']))")[0] == kind.__name__
    assert sorted(failing.run("result = ids_of(store.search(np.ones(DIM), k=50))")) == sorted(EXPECTED)
    assert failing.run("result = [d.id for d in store.iter()]") == EXPECTED
    with Store.open(path, "r") as other:
        assert ids(other) == EXPECTED
    failing.run("works(); one('b')")
    assert failing.run("result = [d.id for d in store.iter()]") == [*EXPECTED, "b"]
    failing.kill()
    with Store.open(path) as store:
        assert ids(store) == [*EXPECTED, "b"]
        check_sound(store)


@pytest.mark.parametrize("mask", [steps(SYNC), steps(WRITE)], ids=["sync", "write"])
def test_a_kill_right_after_a_commit_that_failed(failing, path, mask):
    """It may be there whole, as if the kill had come a moment later; it is never there by halves."""
    failing.run(f"fail({mask}); kind_of(lambda: one('a'))")
    failing.kill()
    with Store.open(path) as store:
        assert ids(store) in (EXPECTED, [*EXPECTED, "a"])
        check_sound(store)


@pytest.mark.parametrize("kind", [SYNC, WRITE], ids=["sync", "write"])
def test_a_fold_that_fails_does_not_fail_the_commit(failing, path, kind):
    """The commit stands in the log, which stays."""
    mask = steps(kind, files=[STORE])
    failing.run(f"small_checkpoints(0); fail({mask})")
    for name in "ab":
        assert failing.run(f"result = kind_of(lambda: one('{name}'))") == [None, ""]
    assert failing.run("result = disk().faults_steps()") > 0
    assert failing.run("result = [d.id for d in store.iter()]") == [*EXPECTED, "a", "b"]
    failing.run("works(); one('c'); store.close()")
    assert not Path(f"{path}-wal").exists()
    with Store.open(path) as store:
        assert ids(store) == [*EXPECTED, "a", "b", "c"]
        check_sound(store)


@pytest.mark.parametrize("mask", [steps(SYNC), steps(WRITE)], ids=["sync", "write"])
def test_a_disk_that_fails_while_the_store_is_closed(failing, path, mask):
    failing.run(f"one('a'); fail({mask}); store.close()")
    failing.kill()
    with Store.open(path) as store:
        assert ids(store) == [*EXPECTED, "a"]
        check_sound(store)
