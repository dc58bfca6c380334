"""A writer killed at random instants: what it was told is stored is there, and nothing by halves."""

import logging
import os
import random
import signal
import time

import pytest
from fakes import vectors_of
from faults import (
    DIM,
    SETTINGS,
    WORDS_SETTINGS,
    Commit,
    check_answers,
    check_store,
    documents_of,
    expected_documents,
    rounds,
)
from words_oracle import WordsOracle

from binrag import Store

_log = logging.getLogger(__name__)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PRELUDE = """
from faults import *

warm()
small_checkpoints()
small_folds()

def write_on(path, log, seed, durability, settings):
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    while True:
        # closing and opening again folds the log: kills meet that too
        with Store.open(path, lock_timeout=30, durability=durability, **settings) as store:
            for _ in range(4):
                Commit(seed, number).write(store)
                os.write(log, b".")
                number += 1
"""


@pytest.mark.parametrize(
    ("durability", "settings"),
    [("commit", SETTINGS), ("os", SETTINGS), ("commit", WORDS_SETTINGS)],
    ids=["commit", "os", "words"],
)
def test_a_killed_writer_leaves_what_it_acknowledged(memory_folder, peer, durability, settings):
    """Each round goes on with the store that the last kill left. Words are folded every few commits."""
    nursery = peer()
    nursery.run(PRELUDE)
    draw = random.Random(7)
    path, log = memory_folder / "store.binrag", memory_folder / "acknowledged"
    model = {}
    n_commits, n_under_way = 0, 0
    for seed in range(rounds(10, 100)):
        log.unlink(missing_ok=True)
        child = nursery.run(
            "result = forked(write_on, p, l, seed, durability, settings)",
            p=str(path),
            l=str(log),
            seed=seed,
            durability=durability,
            settings=settings,
        )
        deadline = time.monotonic() + 60
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        assert nursery.run(f"result = exit_code({child})") == -signal.SIGKILL
        n_acknowledged = log.stat().st_size
        for number in range(n_acknowledged):
            model = Commit(seed, number).after(model)
        states = [model, Commit(seed, n_acknowledged).after(model)]
        found = check_store(path, states, seed)
        model = states[found]
        n_commits += n_acknowledged
        n_under_way += found
    assert n_commits > seed
    _log.info("%d kills, %d commits acknowledged, %d more found whole", seed + 1, n_commits, n_under_way)
    check_rebuilt(path, memory_folder / "rebuilt", model, settings)
    if "lexical" in settings:
        with Store.open(path) as store:
            store.index_words()
            oracle = WordsOracle().follow(store)
            for text in ("3a version", "7b 12a x 2", "version 9"):
                oracle.check(store, text, vectors_of(1, DIM)[0], k=30)


def check_rebuilt(path, other, model, settings):
    """A search of any depth finds what it finds in a store that was written at once."""
    with Store.open(other, **settings) as fresh, Store.open(path, "r") as store:
        texts, vectors, metadata = zip(*model.values(), strict=True)
        fresh.add(texts, ids=list(model), vectors=list(vectors), metadata=metadata)
        for n_candidates in (None, 20, 50):
            for query in vectors_of(10, DIM, seed=1):
                found, expected = (s.search(query, k=10, n_candidates=n_candidates) for s in (store, fresh))
                assert [(hit.id, hit.score, hit.text) for hit in found] == [
                    (hit.id, hit.score, hit.text) for hit in expected
                ]


def test_the_oracle_notices(path):
    """What the rounds above compare with does tell a lost commit, a half one and a wrong answer."""
    commits = [Commit(0, number) for number in range(4)]
    model = {}
    with Store.open(path, **SETTINGS) as store:
        for commit in commits:
            commit.write(store)
            model = commit.after(model)
        assert documents_of(store) == expected_documents(model)
    assert check_store(path, [{}, model]) == 1
    with pytest.raises(AssertionError):
        check_store(path, [{}, Commit(0, 4).after(model)])
    with Store.open(path) as store:
        half = next(iter(model))
        text, vector, metadata = model[half]
        wrong = {**model, half: (text, -vector, metadata)}
        with pytest.raises(AssertionError):
            check_answers(store, wrong)
        store.delete([half])
    with pytest.raises(AssertionError):
        check_store(path, [{}, model])


TOKENS = """
from faults import *
import binrag.lexical.index

binrag.lexical.index.MIN_TAIL = 40  # words are folded every ten commits
how = LateInteraction(FdeConfig(4, 2, 8, final_projection_dim=64))
small_checkpoints()

def matrices_of(number):
    return np.random.default_rng(number).standard_normal((4, 1 + number % 3, 16))

def write_on(path, log, first):
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = first
    while True:
        with Store.open(path, lock_timeout=30, late_interaction=how) as store:
            for _ in range(4):
                names = [f"{number % 50}-{i}" for i in range(4)]
                store.add([f"commit {number}"] * 4, ids=names, vectors=matrices_of(number))
                os.write(log, b".")
                number += 1

def seen(path):
    with Store.open(path) as store:
        numbers = {}
        for document in store.iter():
            numbers.setdefault(int(document.text.split()[1]), []).append(document.id)
        for number, ids in numbers.items():
            assert sorted(ids) == [f"{number % 50}-{i}" for i in range(4)]
            for i, matrix in enumerate(matrices_of(number)):
                assert store.search(matrix, k=1)[0].id == f"{number % 50}-{i}"
            assert {hit.id for hit in store.search(str(number), k=50, legs="lexical")} == set(ids)
        assert store.verify() == []
        return sorted(numbers)

if not os.path.exists(p):
    with Store.open(p, late_interaction=how, lexical="en") as store:
        store.add(vectors=matrices_of(0), ids=["0-0", "0-1", "0-2", "0-3"], texts=["commit 0"] * 4)
        store.search(matrices_of(0)[0])
"""


def test_a_killed_writer_of_tokens_and_words_leaves_what_it_acknowledged(memory_folder, peer):
    """A document has its code, the codes of its tokens, its text and its words, all of one commit."""
    nursery = peer()
    draw = random.Random(8)
    path, log = memory_folder / "store.binrag", memory_folder / "acknowledged"
    nursery.run(TOKENS, p=str(path))
    n_commits = 1
    for _ in range(rounds(5, 50)):
        log.unlink(missing_ok=True)
        child = nursery.run("result = forked(write_on, p, l, first)", p=str(path), l=str(log), first=n_commits)
        deadline = time.monotonic() + 60
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        assert nursery.run(f"result = exit_code({child})") == -signal.SIGKILL
        acknowledged = n_commits + log.stat().st_size
        found = nursery.run("result = seen(p)", p=str(path))
        n_commits = found[-1] + 1
        assert n_commits in (acknowledged, acknowledged + 1)
        assert found == list(range(max(0, n_commits - 50), n_commits))
    assert n_commits > 10
