"""The process ends at every statement of SQL, and at every write, cut, sync and unlink of a file: before or after."""

import os

import pytest
from fakes import vectors_of
from faults import DIM, SETTINGS, WORDS_SETTINGS, check_sound, copy_store, failing_disk, observed, rounds

from binrag import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

WORK = {
    "add": "store.add(['one', 'two'], ids=['n1', 'n2'], vectors=vectors_of(2, DIM), metadata=[{'n': 1}, {'n': 2}])",
    "upsert": "store.add(['one', 'two'], ids=['3a', '3b'], vectors=vectors_of(2, DIM))",
    "delete": "store.delete(['1a', '1b', '2a', 'never'])",
    "transaction": """
    with store.transaction():
        store.delete(['1a'])
        store.add(['one'], ids=['2a'], vectors=vectors_of(1, DIM))
        store.delete(['2b'])
    """,
    "change": "store.update_metadata({'n': 5}, ['3a', '3b', '1a'])",
    "compact": "store.compact(progress=False)",
    "recode": "store.recode('rotated-sign', progress=False)",
}
WORDS_WORK = {**WORK, "index words": "store.index_words('any')"}
FOLDED = ("add", "compact", "index words")
"""What is also done to a store with an index of words, and folds it; after adding, by a commit of its own."""
FULL_BLOCK = {"add", "recode"}
"""What is also done to a store where it fills a block, or rewrites one."""

PRELUDE = """
from faults import *

warm()
small_folds(22)

def work(store):
    {}

def at_statement(path, stop):
    # a finished child ends with 0, one that stopped with 9
    store = Store.open(path, **SETTINGS)
    n, last = -1, None

    def count(statement):
        # of the rows of one executemany, the first counts
        nonlocal n, last
        n, last = n + (statement[:20] != last), statement[:20]
        if n == stop:
            os._exit(9)

    store._handle.database._writer(store._handle.database._state).set_trace_callback(count)
    work(store)

def at_step(path, stop, torn):
    disk().faults_watch(path.encode(), -1)
    disk().faults_at(stop, 1, EVERY_STEP, 0, torn)
    small_checkpoints(0)  # every commit is folded into the store
    with Store.open(path, **SETTINGS) as store:
        work(store)
"""


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Closed stores: one of some documents, and one whose next two fill a block."""
    folder = tmp_path_factory.mktemp("bases")
    with Store.open(folder / "small", **SETTINGS) as store:
        for n in range(10):
            store.add([f"{n} " * 500] * 2, ids=[f"{n}a", f"{n}b"], vectors=vectors_of(2, DIM, seed=n))
        store.delete(["4a", "9b"])
    with Store.open(folder / "block", **SETTINGS) as store:
        store.add(vectors=vectors_of(4094, DIM, seed=8), ids=map(str, range(4094)))
    with Store.open(folder / "words", **WORDS_SETTINGS) as store:
        for n in range(10):
            store.add([f"{n} one {'two ' * n}"] * 2, ids=[f"{n}a", f"{n}b"], vectors=vectors_of(2, DIM, seed=n))
        store.delete(["4a", "9b"])
    return folder


def crashes(nursery, base, folder, name, run, numbers):
    """Yield (number, path) of a copy for each child that ended half way, until one finishes; then check `after`."""
    for number in numbers:
        path = folder / f"{name}-{number}"
        copy_store(base, path)
        code = nursery.run(run, p=str(path), n=number)
        assert code in (0, 9), f"the child ended with {code}"
        yield number, path, code == 9
        if code == 0:
            return


CASES = [
    *((name, "small") for name in WORK),
    *((name, "block") for name in sorted(FULL_BLOCK)),
    *((name, "words") for name in FOLDED),
]
STEPS = [
    *((name, "small", torn) for torn in (0, 1) for name in WORK),
    *((name, "words", 1) for name in FOLDED if name != "index words"),
]


@pytest.mark.parametrize(("name", "base"), CASES)
def test_the_process_ends_at_any_statement(bases, memory_folder, peer, name, base):
    nursery = peer()
    nursery.run(PRELUDE.format(WORDS_WORK[name]))
    before, between, after = states(nursery, bases / base, memory_folder, name)
    found = []
    run = "result = exit_code(forked(at_statement, p, n))"
    stride = rounds(4, 1) if base == "block" else 1
    for number, path, stopped in crashes(nursery, bases / base, memory_folder, name, run, range(0, 200, stride)):
        found.append(observed(path))
        # the rows of a compaction are committed before their space is given back
        possible = (before, after) if name == "compact" else (before, between)
        assert found[-1] in (possible if stopped else (after,)), f"at statement {number}"
        assert found == sorted(found, key=[before, between, after].index), "what is committed stays"
        path.unlink()
    assert number > 5


def states(nursery, base, folder, name):
    """What is seen of a store before the work, after its commit, and after all of it; a fold changes no answer."""
    copy_store(base, folder / "before")
    copy_store(base, folder / "after")
    nursery.run("with Store.open(p) as store: work(store)", p=str(folder / "after"))
    before, after = observed(folder / "before"), observed(folder / "after")
    assert before != after
    if base.name != "words" or name != "add":
        return before, before, after
    documents, answers, (generation, n_rows), binarizer = after
    return before, (documents, answers, (generation - 1, n_rows), binarizer), after


@pytest.mark.parametrize(("name", "base", "torn"), STEPS)
def test_the_process_ends_at_any_step_of_the_files(bases, memory_folder, peer, name, base, torn):
    """Once it was after, it stays after: what is committed is not lost by what follows."""
    nursery = peer(LD_PRELOAD=str(failing_disk(memory_folder)))
    nursery.run(PRELUDE.format(WORDS_WORK[name]))
    known = states(nursery, bases / base, memory_folder, name)
    stride = rounds(16 if base == "words" else 8, 1)
    run = f"result = exit_code(forked(at_step, p, n, {torn}))"
    numbers = range(sorted(WORDS_WORK).index(name) % stride, 1000, stride)
    first = 0
    for number, path, stopped in crashes(nursery, bases / base, memory_folder, name, run, numbers):
        found = observed(path)
        path.unlink()
        assert found in known[first:], f"at step {number}"
        first = known.index(found)
        assert stopped or found == known[-1]
    assert number > 20


def test_the_process_ends_while_it_creates_a_store(memory_folder, peer):
    nursery = peer(LD_PRELOAD=str(failing_disk(memory_folder)))
    nursery.run(PRELUDE.format("pass"))
    for number in range(1000):
        path = memory_folder / f"new-{number}"
        code = nursery.run(f"result = exit_code(forked(at_step, p, {number}, 1))", p=str(path))
        with Store.open(path, **SETTINGS) as store:
            assert store.count() == 0
            store.add(["one"], ids=["1"], vectors=vectors_of(1, DIM))
            check_sound(store)
        if code == 0:
            break
    assert number > 5
