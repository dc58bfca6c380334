"""One writer, four readers in threads, four in processes, and compactions: for minutes, nothing drifts."""

import logging
import threading
import time

import pytest
from fakes import vectors_of
from faults import (
    DIM,
    WORDS_SETTINGS,
    Commit,
    check_sound,
    documents_of,
    expected_documents,
    read_until,
    resident_bytes,
    rounds,
    warm,
)

from binrag import Store

_log = logging.getLogger(__name__)

BASE = [f"s{n}{half}" for n in range(200) for half in "ab"]
SECONDS = rounds(12, 600)
SLACK = 32 * 2**20
"""Bytes by which a process may grow after its first third: what allocators and caches keep."""

READER = """
with Store.open(p, "r") as store:
    n = read_until(store, first, seed)
    early = resident_bytes()
    result = [n + read_until(store, end, seed), early, resident_bytes()]
"""


@pytest.mark.timeout(SECONDS + 300)
def test_a_writer_and_eight_readers(path, peer, monkeypatch):
    """Every search of every reader sees whole commits; memory and file stay what they were after the first third."""
    for name, value in (("MIN_TAIL", 100), ("GROWTH", 1000)):
        monkeypatch.setattr(f"binrag.lexical.index.{name}", value)
    with Store.open(path, lock_timeout=60, **WORDS_SETTINGS) as store:
        store.add(
            [f"{id_}, version 0, x" for id_ in BASE],
            ids=BASE,
            vectors=vectors_of(len(BASE), DIM),
            metadata=[{"version": "0"}] * len(BASE),
        )
        warm()
        processes = [peer() for _ in range(4)]
        for process in processes:
            process.run("from faults import *\nwarm()")
        start = time.time()
        first, end = start + SECONDS / 3, start + SECONDS
        for seed, process in enumerate(processes):
            process.send(READER, p=str(path), first=first, end=end, seed=seed)
        outcomes = []
        readers = [threading.Thread(target=read, args=[store, path, i, end, outcomes]) for i in range(4)]
        for reader in readers:
            reader.start()
        sizes, n_commits, model, early = write(store, first, end)
        for reader in readers:
            reader.join()
        found = [process.answer() for process in processes]
        assert all(isinstance(outcome, int) and outcome > 0 for outcome in outcomes), outcomes
        assert all(n > 0 for n, _, _ in found)
        store.compact(progress=False)
        assert documents_of(store)[-len(model) :] == expected_documents(model)
        check_sound(store)
    grown = [late - before for _, before, late in [*found, (0, early, resident_bytes())]]
    _log.info(
        "%d commits, %d checks, growth %s, compacted to %s",
        n_commits,
        sum(outcomes) + sum(f[0] for f in found),
        grown,
        sizes[-3:],
    )
    assert max(grown) < SLACK, f"bytes by which the readers and this process grew: {grown}"
    early_size = max(size for at, size in sizes if at < first)
    assert max(size for _, size in sizes) < 1.3 * early_size + 2**20, "bytes after compactions"


def write(store, first, end):
    """Commit until the end; return (time, bytes) after compactions, commits, what they made, memory after a third."""
    sizes, model, early = [], {}, 0
    number = 0
    while time.time() < end:
        commit = Commit(9, number)
        commit.write(store)
        model = commit.after(model)
        if number % 20 == 0:
            sizes.append((time.time(), store.compact(progress=False).bytes_after))
        if time.time() < first:
            early = resident_bytes()
        number += 1
    return sizes, number, model, early


def read(shared, path, i, end, outcomes):
    """Read with the writer's handle or with one of its own; append how often, or the error."""
    try:
        if i % 2:
            outcomes.append(read_until(shared, end, 10 + i))
            return
        with Store.open(path, "r") as own:
            outcomes.append(read_until(own, end, 10 + i))
    except BaseException as error:
        outcomes.append(error)
