"""A store and fork(): the child gets its own connections, the parent's stay sound."""

import os

import numpy as np
import pytest
from processes import run_script

from binrag import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PRELUDE = """
import os, sys, threading, time
import numpy as np
from binrag import *

store = Store.open(sys.argv[1], lock_timeout=0.5)
store.add(["one", "two", "three"], ids=list("123"), vectors=np.eye(3))
assert [hit.id for hit in store.search([0, 1, 0], k=1)] == ["2"]

def in_child(work, leave=os._exit):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        leave(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"the child ended with {code}"

def raises(error, work):
    try:
        work()
    except error:
        return
    raise AssertionError(f"{error} was not raised")
"""


def run(path, code):
    run_script(PRELUDE + code, path)
    with Store.open(path) as store:
        assert len(store.search(np.ones(3), k=100, n_candidates=100)) == store.count()
        return [document.id for document in store.iter()]


@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_a_child_searches_and_the_parent_works_on(path, leave):
    found = run(
        path,
        f"""
def work():
    assert [hit.id for hit in store.search([0, 1, 0], k=1)] == ["2"]
    assert store.count() == len(store.search([1, 1, 1])) == 3 + i

for i in range(3):
    in_child(work, {leave})
    store.add(ids=[f"p{{i}}"], vectors=[[1, 0, i]])
    assert store.count() == len(store.search([1, 1, 1])) == 4 + i
    in_child(lambda: None, {leave})
store.close()
assert os.listdir(os.path.dirname(sys.argv[1])) == [os.path.basename(sys.argv[1])]
""",
    )
    assert found == ["1", "2", "3", "p0", "p1", "p2"]


def test_a_child_writes_and_the_parent_sees_it(path):
    found = run(
        path,
        """
def work():
    store.add(ids=["c"], vectors=[[5, 5, 1]])
    store.delete(["1"])
    store.close()
    store.close()

in_child(work)
assert [hit.id for hit in store.search([5, 5, 1], k=1)] == ["c"]
assert store.count() == 3
store.add(ids=["p"], vectors=[[1, 0, 0]])
in_child(store.close)
store.delete(["2"])
""",
    )
    assert found == ["3", "c", "p"]


@pytest.mark.parametrize("opens", ["", "store = Store.open(sys.argv[1])"], ids=["inherited", "opened in the child"])
def test_the_parent_may_close_while_the_child_works_on(path, opens):
    """SQLite believes that the locks of connections in a child's memory are the child's; they are not."""
    found = run(
        path,
        f"""
def work():
    global store
    {opens}
    assert store.count() == len(store.search([1, 1, 1])) == 3
    store.add(ids=["c1"], vectors=[[1, 1, 0]])
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)
    # the parent has closed the store, and another process has written to it
    assert store.count() == len(store.search([1, 1, 1])) == 5
    store.add(ids=["c2"], vectors=[[1, 1, 1]])
    assert store.count() == len(store.search([1, 1, 1])) == 6
    store.close()

to_parent, to_child = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    try:
        work()
        os._exit(0)
    finally:
        import traceback
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
assert os.read(to_parent[0], 1)
store.close()
import subprocess
code = "import sys, binrag; binrag.Store.open(sys.argv[1]).add(ids=['late'], vectors=[[0, 1, 1]])"
subprocess.run([sys.executable, "-c", code, sys.argv[1]], check=True)
os.write(to_child[1], b"x")
assert os.waitpid(pid, 0)[1] == 0
""",
    )
    assert found == ["1", "2", "3", "c1", "late", "c2"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_parent_and_child_write_in_turns_at_the_same_time(path):
    found = run(
        path,
        """
def write(name):
    with Store.open(sys.argv[1], lock_timeout=60) as other:
        for i in range(40):
            (store if i % 2 else other).add(ids=[f"{name}{i}"], vectors=[[1, 1, i]])

store._handle.database._lock_timeout = 60
sys.stdout.flush()
pid = os.fork()
write("p" if pid else "c")
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""",
    )
    assert sorted(found) == sorted(["1", "2", "3", *[f"{w}{i}" for w in "pc" for i in range(40)]])


@pytest.mark.parametrize("leave", ["os._exit", "sys.exit"])
def test_inside_a_transaction_the_child_is_refused_and_the_parent_commits(path, leave):
    found = run(
        path,
        f'''
def work():
    for use in (
        lambda: store.search([1, 1, 1]),
        lambda: store.count(),
        lambda: store.get(["1"]),
        lambda: list(store.iter()),
        lambda: store.add(vectors=np.eye(3)),
        lambda: store.delete(["1"]),
        lambda: store.transaction().__enter__(),
        lambda: store.info(),
        lambda: Store.open(sys.argv[1]),
        lambda: Store.open(sys.argv[1], "r"),
    ):
        raises(StoreClosed, use)

def third():
    code = """
import sys
from binrag import *
other = Store.open(sys.argv[1], lock_timeout=0)
assert other.count() == 3
try:
    other.delete(["1"])
except StoreLocked:
    sys.exit(7)
"""
    import subprocess
    assert subprocess.run([sys.executable, "-c", code, sys.argv[1]]).returncode == 7

with store.transaction():
    store.add(ids=["p"], vectors=[[1, 1, 1]])
    in_child(work, {leave})
    in_child(lambda: None, {leave})
    third()
    assert store.count() == 4
    store.delete(["1"])
assert store.count() == 3
''',
    )
    assert found == ["2", "3", "p"]


def test_a_child_that_leaves_the_parents_transaction_commits_nothing(path):
    found = run(
        path,
        """
def leave_normally():
    raises(StoreClosed, lambda: block.__exit__(None, None, None))

def leave_by_an_error():
    try:
        block.__exit__(KeyError, KeyError(), None)
    except KeyError:
        pass

for leave in (leave_normally, leave_by_an_error):
    block = store.transaction()
    block.__enter__()
    store.add(ids=[leave.__name__], vectors=[[1, 1, 1]])
    in_child(leave)
    with Store.open(sys.argv[1], "r") as other:
        assert other.get([leave.__name__]) == []
    block.__exit__(None, None, None)
    assert store.count() == 4 + (leave is leave_by_an_error)
""",
    )
    assert found == ["1", "2", "3", "leave_normally", "leave_by_an_error"]


def test_a_child_of_another_threads_transaction_sees_nothing_of_it(path):
    """It may be refused altogether: its copy of SQLite believes to hold the writer's locks."""
    found = run(
        path,
        """
from binrag.storage import process
process._FORK_SECONDS = 0.5  # how long a fork waits for the transaction to end
inside, done = threading.Event(), threading.Event()

def hold():
    with store.transaction():
        store.delete(["1"])
        inside.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
inside.wait()

def work():
    raises((StoreLocked, StoreClosed), lambda: store.delete(["2"]))
    try:
        assert sorted(hit.id for hit in store.search([1, 1, 1])) == ["1", "2", "3"]
        assert store.count() == 3
    except StoreClosed:
        pass

in_child(work)
done.set()
thread.join()
in_child(lambda: store.delete(["3"]))
assert store.count() == 1
""",
    )
    assert found == ["2"]


def test_a_fork_while_other_threads_search(path):
    """The child comes into the world with no lock of another thread's held, and no connection half used."""
    run(
        path,
        """
stop = threading.Event()

def search():
    while not stop.is_set():
        store.search([1, 1, 1])

def write():
    while not stop.is_set():
        store.add(ids=["w"], vectors=[[1, 2, 3]])

threads = [threading.Thread(target=target, daemon=True) for target in (search, search, search, write)]
for thread in threads:
    thread.start()
store._handle.database._lock_timeout = 60

def work():
    import faulthandler
    faulthandler.dump_traceback_later(10, exit=True)
    assert len(store.search([0, 0, 1])) >= 3
    assert store.count() >= 3

for _ in range(40):
    in_child(work)
stop.set()
for thread in threads:
    thread.join()
""",
    )


def test_a_fork_while_another_thread_encodes(path):
    """The check of the encoder, which that thread is in, is not locked for ever in the child."""
    run(
        path,
        """
from fakes import WordEncoder

class Slow(WordEncoder):
    def _vectors(self, texts):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            done.wait()
        return super()._vectors(texts)

inside, done = threading.Event(), threading.Event()
with Store.open(sys.argv[1], encoder=Slow(3)) as other:
    thread = threading.Thread(target=other.search, args=["river"], daemon=True)
    thread.start()
    inside.wait()

    def work():
        import faulthandler
        faulthandler.dump_traceback_later(10, exit=True)
        assert len(other.search("river")) == 3

    in_child(work)
    done.set()
    thread.join()
    assert len(other.search("river")) == 3
""",
    )
