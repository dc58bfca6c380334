"""Files made to harm: a typed error in bounded time and memory, and nothing that the file brings along runs."""

import os
import random
import resource
import sqlite3
import time
from contextlib import closing

import hostile
import msgpack
import pytest
from fakes import vectors_of
from faults import rounds
from hostile import IDS, binarizers, make_store, read, run, use

import binrag
from binrag import CorruptStore, FdeConfig, FormatVersionError, LateInteraction, NotAStore, Store
from binrag.binarizers import SignBinarizer
from binrag.storage.records import checksum, pack, unpack

QUERIES = vectors_of(20, 64, seed=8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Bytes and documents of a small store."""
    path = tmp_path_factory.mktemp("sound") / "store.binrag"
    make_store(path, SignBinarizer(64))
    with Store.open(path, "r") as store:
        return path.read_bytes(), store.get(IDS)


@pytest.fixture
def copy(sound, path):
    path.write_bytes(sound[0])
    return path


def answers(path, ids):
    """What has to be the same for a change to be harmless."""
    with Store.open(path, "r") as store:
        return (
            store.get(ids),
            store.get(ids[:9], tenant="other"),
            store.search_batch(QUERIES, k=10),
            store.count(where={"n": {"$lt": 20}}),
            store.count(tenant="other"),
        )


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize(("n_rows", "few", "many"), [(30, 100, 1500), (4140, 15, 500)])
def test_a_flipped_bit_is_found_or_harms_no_answer(path, record_property, n_rows, few, many):
    make_store(path, SignBinarizer(64), n_rows)
    data, ids = path.read_bytes(), [f"id{i}" for i in range(n_rows)]
    expected, draw, n_harmless = answers(path, ids), random.Random(5), 0
    n = rounds(few, many)
    for _ in range(n):
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        if not binrag.verify(path):
            n_harmless += 1
            assert answers(path, ids) == expected, (place, bit)
    record_property("found, harmless", (n - n_harmless, n_harmless))
    assert n_harmless < n


def test_hostile_files_give_typed_errors_and_end_no_process(memory_folder):
    """Mutated files, and files rewritten by one who computes checksums; each is a seed, which a failure names."""
    sound = []
    for i, binarizer in enumerate(binarizers()):
        make_store(memory_folder / f"{i}.binrag", binarizer)
        sound.append((memory_folder / f"{i}.binrag").read_bytes())
    tokens = memory_folder / "tokens.binrag"
    make_store(tokens, LateInteraction(FdeConfig(2, 2, 16, final_projection_dim=64)))
    sound.append(tokens.read_bytes())
    make_store(memory_folder / "blocks.binrag", SignBinarizer(64), 4140)
    sound.append((memory_folder / "blocks.binrag").read_bytes())
    for data in sound:
        (memory_folder / "warm.binrag").write_bytes(data)
        assert use(memory_folder / "warm.binrag")
    seeds = range(10, rounds(210, 10_010))
    seen = run(sound, memory_folder / "hostile.binrag", seeds)
    assert seen.keys() == set(seeds)
    assert {seed: end for seed, end in seen.items() if end not in ("opened", "refused")} == {}
    assert {"opened", "refused"} <= set(seen.values())


@pytest.mark.parametrize("harm", ["exit", "error", "memory", "silence"])
def test_harm_to_the_reader_is_seen(sound, path, monkeypatch, harm):
    """What `run` says of seeds that end the process, raise another error, take memory, or do not come back."""
    kept = []

    def harmful(path):
        if not kept:
            kept.append(1)
            {
                "exit": lambda: os._exit(11),
                "error": lambda: [][0],
                "memory": lambda: kept.append(b"x" * (hostile.MOST_BYTES + 10**7)),
                "silence": lambda: time.sleep(60),
            }[harm]()
        return True

    monkeypatch.setattr(hostile, "use", harmful)
    if harm == "silence":
        monkeypatch.setattr(hostile, "SECONDS", 1)
    seen = run([sound[0]] * 2, path, range(3, 5))
    ended = {"exit": "ended the process with 11", "error": "failed", "memory": "grew", "silence": "hung"}[harm]
    assert seen[3] == ended


SCHEMAS = {
    "a trigger": "CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM documents; END",
    "a table more": "CREATE TABLE mine (x)",
    "a column more": "ALTER TABLE documents ADD COLUMN more",
    "a column that is computed": "ALTER TABLE documents ADD COLUMN more AS (zeroblob(1000000000))",
    "an index on an expression": "CREATE INDEX i ON documents (zeroblob(100))",
    "a partial index": "CREATE INDEX i ON documents (id) WHERE row > 3",
    "a view for a table": "ALTER TABLE vectors RENAME TO v; CREATE VIEW vectors AS SELECT * FROM v",
    "no table": "DROP TABLE tail",
    "no index": "DROP INDEX blocks_by_generation",
    "a virtual table": "CREATE VIRTUAL TABLE f USING fts5(x)",
    "other types": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'text TEXT', 'text BLOB')",
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("mode", ["r", "rw"])
def test_another_schema_is_refused_on_opening(copy, name, mode):
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        for statement in SCHEMAS[name].split("; "):
            if "TRIGGER" in statement or "fts5" in statement:
                statement = SCHEMAS[name]
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                assert "fts5" in str(error)
                pytest.skip("this SQLite has no fts5")
            if statement == SCHEMAS[name]:
                break
    with pytest.raises(CorruptStore, match="does not have the tables of a store"):
        Store.open(copy, mode)
    assert "schema" in {finding.kind for finding in binrag.verify(copy)}


def test_statistics_of_sqlite_are_no_harm(copy, sound):
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("ANALYZE")
        connection.commit()
    assert binrag.verify(copy) == []
    assert read(copy)[0] == sound[1]


def renew(path, key, change):
    """Change a record of meta and its checksum: sound bytes, bad words."""
    with closing(sqlite3.connect(path)) as connection:
        (data,) = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        data = change(data)
        connection.execute("UPDATE meta SET value = ?, checksum = ? WHERE key = ?", (data, checksum(key, data), key))
        connection.commit()


def with_fields(**fields):
    return lambda data: pack({**unpack(data, ""), **fields})


RECORDS = {
    "no map": ("head", lambda _: pack([1, 2])),
    "nothing": ("head", lambda _: b""),
    "other counters": ("head", lambda _: pack({"x": 1})),
    "rows without end": ("head", with_fields(n_rows=2**62)),
    "many rows": ("head", with_fields(n_rows=2**40)),
    "a negative": ("head", with_fields(n_rows=-5)),
    "a float": ("head", with_fields(generation=1.5)),
    "other settings": ("settings", with_fields(keep_vectors="int4")),
    "unknown settings": ("settings", with_fields(colour=1)),
    "dim": ("space", with_fields(dim=2**40)),
    "similarity": ("space", with_fields(similarity="x")),
    "no config": ("binarizer", with_fields(config=None)),
    "dim of codes": ("binarizer", with_fields(config={"dim": 2**40, "mean": None})),
    "mean": ("binarizer", with_fields(config={"dim": 64, "mean": b"123"})),
    "text for a number": ("binarizer", with_fields(config={"dim": "64", "mean": None})),
    "a deep record": ("space", lambda _: b"\x91" * 100_000 + b"\xc0"),
    "a bomb": ("space", lambda _: b"\xdd\x00\x0f\xff\xf0" * 1000 + b"\xc0" * 1_100_000),
    "a long array": ("space", lambda _: b"\xdd\xff\xff\xff\xff"),
    "a long text": ("space", lambda _: b"\xdb\xff\xff\xff\xff"),
    "a bad date": ("space", lambda _: msgpack.packb(msgpack.ExtType(1, b"never"))),
    "a bad extension": ("space", lambda _: msgpack.packb(msgpack.ExtType(99, b""))),
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_with_sound_checksums_and_bad_words(copy, name):
    key, change = RECORDS[name]
    renew(copy, key, change)
    before, start = peak(), time.perf_counter()
    findings = binrag.verify(copy)
    assert findings
    with pytest.raises((CorruptStore, FormatVersionError)), Store.open(copy, "r") as store:
        store.search(QUERIES[0])
    assert time.perf_counter() - start < 20
    assert peak() - before < 300_000


def test_metadata_with_sound_checksums_and_bad_words(copy):
    bombs = [b"\x91" * 2000 + b"\xc0", pack([1]), b"\xdf\xff\xff\xff\xff", b"\xdd\x00\x0f\xff\xff" * 900 + bytes(2**20)]
    for bomb in bombs:
        with closing(sqlite3.connect(copy)) as connection:
            values = connection.execute("SELECT row, tenant, id, text FROM documents WHERE row = 8").fetchone()
            update = "UPDATE documents SET metadata = ?, checksum = ? WHERE row = 8"
            connection.execute(update, (bomb, checksum(*values, bomb)))
            connection.commit()
        before = peak()
        assert [finding.place for finding in binrag.verify(copy)] == ["document 'id8' (row 8)"]
        with Store.open(copy, "r") as store, pytest.raises(CorruptStore):
            store.get(["id8"])
        assert peak() - before < 300_000


@pytest.mark.parametrize("size", [0, 1, 15, 16, 99, 100, 1000, 16383, 16384, 16385, 40000])
def test_cut_files(sound, path, size):
    path.write_bytes(sound[0][:size])
    with pytest.raises((CorruptStore, NotAStore)):
        read(path)
    assert binrag.verify(path)
