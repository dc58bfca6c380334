"""Files made to harm, by seed, and a process to read them in that may end or hang without taking the tests along."""

import os
import random
import resource
import select
import signal
import sqlite3
import sys
import traceback
import warnings
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from fakes import sentences, vectors_of
from faults import exit_code

import binrag
from binrag import BinragError, CorruptStore, LateInteraction, Store
from binrag.binarizers import (
    AdditiveBinarizer,
    AllocatedBinarizer,
    ItqBinarizer,
    LevelsBinarizer,
    LinearBinarizer,
    LloydMaxBinarizer,
    MedianSignBinarizer,
    RecurrentBinarizer,
    ReducedBinarizer,
    RotatedSignBinarizer,
    SignBinarizer,
)
from binrag.storage.records import checksum, pack, unpack
from binrag.storage.tables import place_of

DIM, PAGE = 64, 16384
QUERIES = vectors_of(3, DIM, seed=8)
IDS = [f"id{i}" for i in range(30)]
WHERE = {"$or": [{"n": {"$lt": 20}}, {"tags": "a"}]}
MOST_BYTES = 400_000_000
SECONDS = 60

BOMBS = [
    b"",
    b"\xc1",
    b"\x91" * 100_000 + b"\xc0",
    b"\x91" * 900 + b"\xc0",
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xdd\x00\x0f\xff\xff" * 900 + bytes(2**20),
    b"\xc7\x05\x01never",
    b"\xd4\x63\x00",
    b"\x82\xa1x\x01\xa1x\x02",
    b"\x81\x01\x02",
    b"\xa2\xff\xfe",
]
LEAVES = [
    *(None, True, -1, 0, 1, 3, 63, 65, 2**16, 2**31, 2**40, 2**62, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, float("nan")),
    *("", "x", "sign", "additive", "x" * 2000, b"", b"\xff", bytes(7), b"\xff" * 256, [], {}, [[]] * 3, [None, 1, "x"]),
    {"x": {"y": [1]}},
]
CELLS = [None, 0, 1, -1, 2**62, -(2**63), "", "x", b"", b"\xff", bytes(64), b"\xff" * 300, b"\x81\xa1n\xc0"]


def binarizers():
    """Binarizers of every kind that files can bring."""
    rows = vectors_of(400, DIM, seed=3)
    return [
        SignBinarizer(DIM),
        RotatedSignBinarizer(DIM, mean=rows.mean(axis=0)),
        ItqBinarizer.fit(rows, code_bytes=10, n_iterations=2),
        MedianSignBinarizer.fit(rows, code_bytes=10),
        LevelsBinarizer.fit(rows, code_bytes=18),
        LloydMaxBinarizer.fit(rows, code_bytes=18),
        AllocatedBinarizer.fit(rows, code_bytes=18),
        LinearBinarizer.fit(rows, code_bytes=18, n_rounds=1),
        LinearBinarizer.fit(rows, code_bytes=18, shape="nested", n_rounds=1),
        AdditiveBinarizer.fit(rows, code_bytes=18, n_rounds=1),
        RecurrentBinarizer.fit(rows, code_bytes=18, n_hidden=4),
        ReducedBinarizer.fit(rows, lambda reduced, queries: SignBinarizer(32), n_dims=32),
    ]


def make_store(path, how, n=30):
    """A store with texts, metadata, two tenants and dead rows; of more than 4,096 rows it has blocks.

    `how` is a binarizer, or a `LateInteraction`: then each document has a token. Words are indexed, and folded but for
    the last row.
    """
    ids = [f"id{i}" for i in range(n)]
    of_tokens = isinstance(how, LateInteraction)
    options = {"late_interaction": how} if of_tokens else {"binarizer": how, "keep_vectors": "float16"}

    def vectors(*arguments, **seed):
        found = vectors_of(*arguments, **seed)
        return found[:, None] if of_tokens else found

    with Store.open(path, **options) as store:
        metadata = [{"n": i, "tags": ["a"], "f": i / 3, "s": {"b": b"x"}} for i in range(n)]
        store.add(sentences(n, n_words=30), ids=ids, vectors=vectors(n, DIM), metadata=metadata)
        store.add(sentences(9), ids=ids[:9], vectors=vectors(9, DIM, seed=4), tenant="other")
        store.delete(ids[20:22])
        store.index_words()
        store.add(["again"], ids=["id7"], vectors=vectors(1, DIM, seed=6))
        store.ledger("keys").put(ids[:9], ["group", None, "other"] * 3)


def _fill(data, place, draw):
    n = min(draw.choice([1, 2, 4, 8, 100, 5000, PAGE]), len(data) - place)
    data[place : place + n] = draw.choice([b"\xff", b"\0", b"\x80", b"\x7f", b"\1"]) * n


def _flip(data, place, draw):
    data[place] ^= 1 << draw.randrange(8)


def _randomize(data, place, draw):
    data[place : place + 64] = draw.randbytes(len(data[place : place + 64]))


def _swap_pages(data, place, draw):
    a, b = (at // PAGE * PAGE for at in (place, draw.randrange(len(data))))
    if max(a, b) + PAGE <= len(data):
        data[a : a + PAGE], data[b : b + PAGE] = data[b : b + PAGE], data[a : a + PAGE]


def _cut(data, place, draw):
    if draw.random() < 0.3:
        del data[max(1, place) :]


def _miscount_pages(data, place, draw):
    if len(data) > 100:
        size = int.from_bytes(data[28:32], "big") + draw.choice([-1, 1, 1000, 2**31])
        data[28:32] = (size % 2**32).to_bytes(4, "big")


def _break_page(data, place, draw):
    """Damage a page's header (kind, first free byte, number and place of its cells), or where a cell is."""
    page = place // PAGE * PAGE
    first = draw.choice([page + draw.randrange(8), page + 8 + 2 * draw.randrange(40)])
    for at in range(first, min(first + draw.randrange(1, 5), len(data))):
        data[at] = draw.choice([0, 0xFF, draw.randrange(256)])


def mutated(data, draw):
    """Some change to a file's bytes: bits, runs, pages moved about, lengths and places that are wrong, a cut."""
    data = bytearray(data)
    changes = [_fill, _fill, _flip, _randomize, _swap_pages, _cut, _miscount_pages, _break_page, _break_page]
    for _ in range(draw.choice([1, 1, 2, 5, 30])):
        place = draw.randrange(len(data)) if draw.random() < 0.7 else draw.randrange(min(len(data), 2 * PAGE))
        draw.choice(changes)(data, place, draw)
    return bytes(data)


def _other(value, draw):
    """Another value in the place of one in a record."""
    if isinstance(value, bytes) and draw.random() < 0.7:
        n = len(value)
        at = draw.randrange(n + 1)
        return draw.choice(
            [
                value[:at],
                value + bytes(draw.choice([1, 4, 256])),
                b"\xff" * n,
                b"\x7f" * n,
                bytes(n),
                draw.randbytes(n),
                value[:at] + b"\xff" * len(value[at : at + 4]) + value[at + 4 :],
                value * 2,
            ]
        )
    if isinstance(value, int) and draw.random() < 0.5:
        return value + draw.choice([-1, 1, 8, -64, 64, value])
    return draw.choice(LEAVES)


def _changed(value, draw):
    """A record with one place in it changed."""
    if isinstance(value, dict) and value and draw.random() < 0.97:
        key = draw.choice(list(value))
        if draw.random() < 0.05:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.95:
        i = draw.randrange(len(value))
        if draw.random() < 0.1:
            return draw.choice([value[:i], value + value])
        return [*value[:i], _changed(value[i], draw), *value[i + 1 :]]
    if isinstance(value, bytes) and draw.random() < 0.5:  # a record in a record
        with suppress(Exception):
            inner = unpack(value, "")
            if isinstance(inner, (dict, list)):
                return _packed(_changed(inner, draw))
    return _other(value, draw)


def _packed(value):
    try:
        return pack(value)
    except (ValueError, OverflowError, TypeError):
        return b"\xc0"


def rewritten(path, draw):
    """Change a sound store as one who computes checksums could: values, types, sizes and places, bombs."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema = connection.execute("SELECT rowid, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for _ in range(draw.choice([1, 1, 1, 2, 4])):
            with suppress(sqlite3.IntegrityError):
                draw.choice([_rewrite_meta, _rewrite_meta, _rewrite_row])(connection, draw)
        connection.execute("PRAGMA writable_schema = ON")
        connection.executemany("UPDATE sqlite_master SET sql = ?2 WHERE rowid = ?1", schema)
        connection.execute("COMMIT")


def _rewrite_meta(connection, draw):
    keys = ["binarizer"] * 4 + ["head", "head", "settings", "space", "probe", "auto_fit", "encoder"]
    key = draw.choice(keys)
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    value = {"outcome": "", "dim": DIM}
    if found and isinstance(found[0], bytes):
        with suppress(CorruptStore):  # it was rewritten before
            value = unpack(found[0], "")
    data = draw.choice(BOMBS) if draw.random() < 0.1 else _packed(_changed(value, draw))
    insert = "INSERT OR REPLACE INTO meta (key, value, checksum) VALUES (?, ?, ?)"
    connection.execute(insert, (key, data, checksum(key, data)))


ROWS = {
    "documents": ("row", "tenant", "id", "text", "metadata"),
    "vectors": ("row", "vector"),
    "sample": ("row", "vector"),
    "tail": ("row", "codes", "rest", "rescale"),
    "blocks": ("part", "no", "generation", "n_rows", "data"),
    "ledger": ("tenant", "namespace", "key", "group_id", "updated"),
}


def _rewrite_row(connection, draw):
    table = draw.choice(["documents", "vectors", "sample", "tail", "blocks", "blocks", "ledger"])
    names = ROWS[table]
    rows = connection.execute(f"SELECT rowid, {', '.join(names)} FROM {table}").fetchall()
    if not rows:
        return
    rowid, *values = draw.choice(rows)
    i = draw.randrange(len(names)) if draw.random() < 0.5 else len(names) - 1
    value = values[i]
    if isinstance(value, bytes) and draw.random() < 0.7:
        value = draw.choice(BOMBS) if draw.random() < 0.2 else _changed(value, draw)
        value = value if isinstance(value, bytes) else _packed(value)
    else:
        value = draw.choice(CELLS)
    values[i] = value
    if names[0] == "row" and not isinstance(values[0], int):
        values[0] = 2**40
    if table == "sample":
        connection.execute("UPDATE sample SET place = ? WHERE rowid = ?", (place_of(values[0]), rowid))
        rowid = place_of(values[0])
    with suppress(OverflowError):
        assigned = ", ".join(f"{name} = ?" for name in names)
        update = f"UPDATE {table} SET {assigned}, checksum = ? WHERE rowid = ?"
        connection.execute(update, (*values, checksum(*values), rowid))


def write_hostile(sound, path, seed):
    """Write the file of a seed: every other one has sound checksums. The last of the sound ones is taken seldom."""
    draw = random.Random(seed)
    *small, large = sound
    data = large if seed % 200 < 2 else small[seed // 2 % len(small)]
    for suffix in ("-wal", "-shm", "-lock", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    if seed % 2:
        path.write_bytes(data)
        rewritten(path, draw)
    else:
        path.write_bytes(mutated(data, draw))


def read(path):
    """Open, search and read all: what was seen, as far as it could be; only a BinragError may come of it."""
    seen = []
    with Store.open(path, "r") as store:
        for call in (
            lambda: store.get(IDS),
            lambda: store.search_batch(QUERIES, k=10),
            lambda: store.search_batch(np.reshape(QUERIES, (len(QUERIES), 1, -1)), k=10),
            lambda: store.search(QUERIES[0], where=WHERE),
            lambda: list(store.iter()),
            lambda: (store.ledger("keys").keys(), store.ledger("keys").exists(IDS), store.ledger("keys").time() > 0),
            lambda: store.search("again apple", legs="lexical"),
            lambda: store.search("apple", legs="lexical", where=WHERE),
            store.count,
            lambda: store.count(where=WHERE),
            lambda: store.count(tenant="other"),
            lambda: store.search(QUERIES[1], tenant="other"),
            store.info,
            store.stats,
        ):
            try:
                seen.append(call())
            except BinragError:
                seen.append(None)
    return seen


def use(path):
    """Do all that is done with a file that came from somewhere; return whether it opened."""
    binrag.verify(path)
    target = path.with_name("repaired.binrag")
    with suppress(BinragError):
        binrag.repair(path, target)
        with Store.open(target, "r") as store:
            store.get(IDS)
            store.search(QUERIES[0], k=5)
    target.unlink(missing_ok=True)
    try:
        read(path)
    except BinragError:
        return False
    return True


def peak_bytes():
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _work(sound, path, seeds, pipe):
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    most = peak_bytes()
    for seed in seeds:
        os.write(pipe, f"{seed} ".encode())
        write_hostile(sound, path, seed)
        try:
            opened = use(path)
        except Exception:
            traceback.print_exc()
            os.write(pipe, b"failed ")
            continue
        grew, most = peak_bytes() - most > MOST_BYTES, max(most, peak_bytes() - MOST_BYTES)
        os.write(pipe, b"grew " if grew else b"opened " if opened else b"refused ")


def run(sound, path, seeds):
    """Use the files of some seeds in a child; return what was seen of each, by seed: the last word says how it ended.

    The words are: opened, refused, failed (another error than a `BinragError`), grew (by more than 400 MB), hung, ended
    the process. A child that ends or is silent for a minute is followed by another, from the next seed on.
    """
    seen = {}
    seeds = list(seeds)
    while seeds:
        source, target = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.close(source)
                _work(sound, path, seeds, target)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(target)
        words, hung = b"", False
        while True:
            if not select.select([source], [], [], SECONDS)[0]:
                hung = True
                os.kill(pid, signal.SIGKILL)
                break
            part = os.read(source, 65536)
            if not part:
                break
            words += part
        os.close(source)
        code = exit_code(pid)
        started = []
        for word in words.decode().split():
            if word.isdigit():
                started.append(int(word))
                seen[int(word)] = "started"
            else:
                seen[started[-1]] = word
        if seen.get(started[-1]) == "started":
            seen[started[-1]] = "hung" if hung else f"ended the process with {code}"
        seeds = seeds[len(started) :]
    return seen
