"""The writer lock."""

import os
import socket

import pytest

from binrag.errors import StoreLocked
from binrag.storage.lock import WriterLock


def test_one_holder_at_a_time_who_is_named(path):
    first, second = WriterLock(path), WriterLock(path)
    first.acquire(1)
    with pytest.raises(StoreLocked, match=f"0.1 s by another writer .*process {os.getpid()} on") as error:
        second.acquire(0.1)
    assert socket.gethostname() in str(error.value)
    assert isinstance(error.value, TimeoutError)
    first.release()
    second.acquire(0)
    second.release()


def test_a_holder_whose_line_is_shorter_than_the_last_ones(path):
    lock = WriterLock(path)
    lock.acquire(1)
    lock.release()
    lock_file = path.with_name(f"{path.name}-lock")
    lock_file.write_text("process 123456789012 on " + "x" * 300)
    lock.acquire(1)
    with pytest.raises(StoreLocked) as error:
        WriterLock(path).acquire(0.1)
    assert "xxx" not in str(error.value)
    lock.release()


def test_a_waiter_gets_the_lock_after_the_file_was_removed(path):
    first, second, third = WriterLock(path), WriterLock(path), WriterLock(path)
    first.acquire(1)
    first.remove()
    first.release()
    second.acquire(1)
    with pytest.raises(StoreLocked):
        third.acquire(0.1)
    second.release()
    assert [file.name for file in path.parent.iterdir()] == ["store.binrag-lock"]


def test_the_lock_file_lies_beside_the_store(path):
    lock = WriterLock(path)
    lock.acquire(1)
    assert [file.name for file in path.parent.iterdir()] == ["store.binrag-lock"]
    lock.remove()
    lock.release()
    assert list(path.parent.iterdir()) == []


def test_a_killed_holder_leaves_no_lock(path, peer):
    other = peer()
    other.run("from binrag.storage.lock import WriterLock; lock = WriterLock(p); lock.acquire(1)", p=str(path))
    with pytest.raises(StoreLocked, match=f"process {other.pid} on"):
        WriterLock(path).acquire(0.1)
    other.kill()
    lock = WriterLock(path)
    lock.acquire(1)
    lock.release()
