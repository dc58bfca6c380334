"""Folders and files that the system does not let us write, for a user other than root."""

import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fakes import ids_of
from processes import run_script

from binrag import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders have no mode bits on Windows")

PRELUDE = """
import os, sys, tempfile
import numpy as np
from binrag import *

# everything that is loaded at first use is loaded while we may still read it
with tempfile.TemporaryDirectory() as folder, Store.open(os.path.join(folder, "s"), lexical="en") as store:
    store.add(["one", "two", "three"], vectors=np.eye(3))
    store.index_words()
    store.search(np.ones(3), text="one", legs="hybrid")
    import traceback
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
path = sys.argv[1]

def raises(error, work, *words):
    try:
        work()
    except error as caught:
        assert all(word in str(caught) for word in words), str(caught)
        return
    raise AssertionError(f"{error.__name__} was not raised")
"""


@pytest.fixture
def folder():
    """A folder that other users may read; pytest's own are private."""
    made = Path(tempfile.mkdtemp(prefix="binrag-test-"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def filled(folder):
    path = folder / "store.binrag"
    with Store.open(path, lexical="en") as store:
        store.add(["one", "two", "three"], ids=list("123"), vectors=np.eye(3))
    path.chmod(0o644)
    return path


def as_another_user(code, path):
    run_script(PRELUDE + code, path)


def files(path):
    return sorted(file.name for file in path.parent.iterdir())


SEARCH = """
with Store.open(path, "r") as store:
    assert [hit.id for hit in store.search([0, 1, 0], k=1)] == ["2"]
    assert [hit.id for hit in store.search("two", legs="lexical")] == ["2"]
    assert [hit.id for hit in store.search([0, 1, 0], text="three", legs="hybrid")] == ["2", "3", "1"]
    assert [document.text for document in store.iter()] == ["one", "two", "three"]
    assert store.info().n_documents == store.stats().n_documents == 3
    raises(ReadOnlyStore, lambda: store.add(vectors=np.eye(3)), "opened with mode 'r'")
"""

REFUSED = """
for mode in ("rw", "c"):
    raises(ReadOnlyStore, lambda: Store.open(path, mode), path, "cannot be written", "mode 'r'")
raises(StoreExists, lambda: Store.open(path, "x"))
"""


def test_a_store_in_a_read_only_folder(filled):
    filled.parent.chmod(0o555)
    as_another_user(SEARCH + REFUSED, filled)
    assert files(filled) == [filled.name]


def test_a_read_only_file_in_a_read_only_folder(filled):
    filled.chmod(0o444)
    filled.parent.chmod(0o555)
    as_another_user(SEARCH + REFUSED, filled)


def test_a_read_only_file_in_a_folder_that_can_be_written(filled):
    filled.chmod(0o444)
    filled.parent.chmod(0o777)
    as_another_user(SEARCH + REFUSED, filled)
    assert filled.name in files(filled)


def test_a_store_may_not_be_created_in_a_read_only_folder(folder):
    folder.chmod(0o555)
    code = """
for mode in ("c", "x"):
    raises(ReadOnlyStore, lambda: Store.open(path, mode), path)
for mode in ("r", "rw"):
    raises(StoreNotFound, lambda: Store.open(path, mode), path)
"""
    as_another_user(code, folder / "new.binrag")
    assert list(folder.iterdir()) == []


def test_a_backup_cannot_go_to_a_read_only_folder(filled):
    filled.parent.chmod(0o555)
    code = SEARCH + "raises(BinragError, lambda: Store.open(path, 'r').backup(path + '-copy'), path)\n"
    as_another_user(code, filled)
    assert files(filled) == [filled.name]


def test_a_backup_from_a_read_only_folder(filled, folder):
    filled.parent.chmod(0o555)
    code = """
with tempfile.TemporaryDirectory() as other:
    copy = os.path.join(other, "copy")
    with Store.open(path, "r") as store:
        store.backup(copy)
    with Store.open(copy) as store:
        store.add(vectors=np.eye(3))
        assert store.count() == 6
"""
    as_another_user(code, filled)


def test_a_file_that_may_not_be_read(filled):
    filled.chmod(0o600)
    code = """
if os.stat(path).st_uid != os.getuid():
    for mode in ("r", "rw", "c"):
        raises(BinragError, lambda: Store.open(path, mode), path)
"""
    as_another_user(code, filled)


def kill_a_writer(peer, path):
    other = peer()
    other.run("store = Store.open(p); store.add(['four'], ids=['4'], vectors=[[0, 0.2, 1]])", p=str(path))
    other.run("block = store.transaction(); block.__enter__(); store.delete(['1', '2'])")
    other.kill()
    assert Path(f"{path}-wal").stat().st_size > 0
    for file in path.parent.iterdir():
        file.chmod(0o644)


def test_a_log_left_over_is_read_or_refused_but_never_ignored(filled, peer):
    kill_a_writer(peer, filled)
    filled.parent.chmod(0o555)
    code = """
try:
    store = Store.open(path, "r")
except ReadOnlyStore:
    print("refused")
else:
    with store:
        assert [document.id for document in store.iter()] == ["1", "2", "3", "4"]
        assert [hit.id for hit in store.search([0, 0.2, 1], k=1)] == ["4"]
        assert [hit.id for hit in store.search("four two", legs="lexical")] in (["2", "4"], ["4", "2"])
for mode in ("rw", "c"):
    raises(ReadOnlyStore, lambda: Store.open(path, mode))
"""
    as_another_user(code, filled)
    filled.parent.chmod(0o755)
    with Store.open(filled, "r") as store:
        assert ids_of(store.search([0, 0.2, 1], k=1)) == ["4"]
    assert files(filled) == [filled.name]


def test_a_log_left_over_without_its_index_is_refused(filled, peer):
    kill_a_writer(peer, filled)
    Path(f"{filled}-shm").unlink()
    filled.parent.chmod(0o555)
    as_another_user(
        "raises(ReadOnlyStore, lambda: Store.open(path, 'r'), path, 'write-ahead log', 'copy it')\n", filled
    )
    filled.parent.chmod(0o755)
    with Store.open(filled, "r") as store:
        assert store.count() == 4


def test_a_log_that_is_empty_does_not_hinder(filled):
    """What a copy of a store in use may leave: the file says it has a log, and the log holds nothing."""
    connection = sqlite3.connect(filled)
    connection.execute("PRAGMA journal_mode = WAL")
    data = filled.read_bytes()
    connection.close()
    for file in filled.parent.iterdir():
        file.unlink()
    filled.write_bytes(data)
    filled.chmod(0o644)
    filled.parent.chmod(0o555)
    as_another_user(SEARCH, filled)
    assert files(filled) == [filled.name]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="root alone may write everywhere")
def test_root_reads_a_read_only_folder_too(filled):
    filled.parent.chmod(0o555)
    with Store.open(filled, "r") as store:
        assert store.count() == 3
    assert files(filled) == [filled.name]
