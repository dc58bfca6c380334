"""A power cut, played: of what was written and not synced, the disk has anything.

A writer's every write, cut, sync and unlink is recorded. For a moment in that record, files are made of all that was
synced by then, and none, all or a random part of what was not, torn at the sectors' edges. They have to open as the
acknowledged commits, or with ``durability="os"`` as the first commits. Unlinking is taken to reach the disk at once.
"""

import itertools
import random
import struct
from pathlib import Path

import pytest
from faults import (
    MARK,
    SETTINGS,
    SYNC,
    TRUNCATE,
    UNLINK,
    WORDS_SETTINGS,
    WRITE,
    Commit,
    check_store,
    failing_disk,
    rounds,
)

SECTOR = 4096
N_COMMITS = 12
SUFFIXES = ("", "-wal", "-journal")

WRITER = """
from faults import *

library = disk()
library.faults_watch(p.encode(), os.open(l, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
small_checkpoints(300_000)
small_folds(20)
for number in range(n):
    if number % 5 == 0:
        if number:
            store.close()
        store = Store.open(p, durability=durability, **settings)
        library.faults_mark(number)
    Commit(5, number, n_pairs=12).write(store)
    library.faults_mark(number + 1)
store.close()
library.faults_mark(-1)
"""


class Files:
    """What the disk has of a store's files: bytes, and the writes and cuts since their last sync."""

    def __init__(self):
        self.synced = {}
        self.waiting = {}

    def step(self, kind, file, offset, data):
        if kind == UNLINK:
            self.synced.pop(file, None)
            self.waiting.pop(file, None)
        elif kind == SYNC:
            self.synced[file] = self.made(file, self.waiting.pop(file, []))
        else:
            self.waiting.setdefault(file, []).append((kind, offset, data))

    def made(self, file, steps):
        """Return a file's synced bytes with some of the waiting steps done."""
        made = bytearray(self.synced.get(file, b""))
        for kind, offset, data in steps:
            if kind == TRUNCATE:
                made = made[:data].ljust(data, b"\0")
            else:
                made = made.ljust(offset, b"\0")
                made[offset : offset + len(data)] = data
        return made

    def after_the_cut(self, choose):
        """Yield (file, bytes), with those of the waiting steps that `choose` leaves."""
        for file in {*self.synced, *self.waiting}:
            yield file, self.made(file, choose(self.waiting.get(file, [])))


def recorded(path):
    """Yield (kind, file, offset, data or length) of each step."""
    data, place = path.read_bytes(), 0
    while place < len(data):
        kind, file, offset, length = struct.unpack_from("<iiqq", data, place)
        place += 24
        content = length
        if kind == WRITE:
            content = data[place : place + length]
            place += length
        yield kind, file, offset, content


def some(draw):
    """Return what chooses a random part of the waiting steps, by sectors."""

    def choose(steps):
        chosen = []
        for kind, offset, data in steps:
            if kind == TRUNCATE:
                chosen += [(kind, offset, data)] if draw.random() < 0.5 else []
                continue
            # sectors by their place on the disk
            edges = [0, *range(SECTOR - offset % SECTOR, len(data), SECTOR), len(data)]
            for start, stop in itertools.pairwise(edges):
                if draw.random() < 0.5:
                    chosen.append((kind, offset + start, data[start:stop]))
        return chosen

    return choose


@pytest.mark.parametrize(
    ("durability", "settings"),
    [("commit", SETTINGS), ("os", SETTINGS), ("commit", WORDS_SETTINGS)],
    ids=["commit", "os", "words"],
)
def test_a_power_cut_at_any_moment(tmp_path, memory_folder, peer, durability, settings):
    path, log = memory_folder / "store.binrag", memory_folder / "log"
    writer = peer(LD_PRELOAD=str(failing_disk(tmp_path)))
    writer.run(WRITER, p=str(path), l=str(log), n=N_COMMITS, durability=durability, settings=settings)
    models = [{}]
    for number in range(N_COMMITS):
        models.append(Commit(5, number, n_pairs=12).after(models[-1]))
    steps = list(recorded(log))
    assert sum(kind == SYNC for kind, *_ in steps) > (N_COMMITS if durability == "commit" else 5)
    draw = random.Random(11)
    stride, files, n_acknowledged = rounds(9 if settings is SETTINGS else 27, 1), Files(), None
    image, lost = memory_folder / "image" / "store.binrag", 0
    image.parent.mkdir()
    for number, (kind, file, offset, data) in enumerate(steps):
        if kind == MARK:
            n_acknowledged = offset
        else:
            files.step(kind, file, offset, data)
        if n_acknowledged is None or (kind != MARK and number % stride):
            continue
        closed = n_acknowledged == -1
        first = N_COMMITS if closed else n_acknowledged if durability == "commit" else 0
        last = N_COMMITS if closed else n_acknowledged + 1
        for choose in (lambda steps: [], list, some(draw)):
            write_image(image, files.after_the_cut(choose))
            found = first + check_store(image, models[first : last + 1])
            lost += n_acknowledged - found if found < n_acknowledged else 0
    assert kind == MARK
    assert closed
    assert (lost > 0) == (durability == "os"), "what was not synced is lost: the cut was one"


def write_image(path, files):
    for suffix in (*SUFFIXES, "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    for file, data in files:
        Path(f"{path}{SUFFIXES[file]}").write_bytes(data)
