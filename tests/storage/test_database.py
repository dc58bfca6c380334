"""The database under a store: its format, transactions and connections."""

import sqlite3
import sys
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import pytest
from processes import run_script

from binrag.errors import (
    BinragError,
    CorruptStore,
    StorageFull,
    StoreClosed,
    UnsupportedMode,
)
from binrag.storage import Database, connect, database
from binrag.storage.meta import Head

FORMAT = {
    "application_id": 0x42524147,
    "user_version": 0,
    "page_size": 16384,
    "journal_mode": "delete",
    "encoding": "UTF-8",
    "integrity_check": "ok",
}
SCHEMA = {
    "meta": ["key", "value", "checksum"],
    "documents": ["row", "tenant", "id", "text", "metadata", "checksum"],
    "vectors": ["row", "vector", "checksum"],
    "sample": ["place", "row", "vector", "checksum"],
    "tail": ["row", "codes", "rest", "rescale", "checksum"],
    "blocks": ["part", "no", "generation", "n_rows", "checksum", "data"],
    "ledger": ["tenant", "namespace", "key", "group_id", "updated", "checksum"],
}

RECORD = {"binarizer": "sign", "keep_vectors": "int8", "seed": 0, "a": 1}


@pytest.fixture
def db(path):
    opened = Database.open(path, "c", 1.0, {"settings": RECORD})
    yield opened
    opened.close()


def documents(reading):
    return [(row, document.id) for row, document in reading.documents_after("", -1, 10**6)]


def test_the_format_of_a_closed_file(path):
    Database.open(path, "x", 1.0, {}).close()
    with closing(sqlite3.connect(path)) as connection:
        found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in FORMAT}
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in tables}
    assert found == FORMAT
    assert columns == SCHEMA


def test_keys_are_found_without_reading_values(path):
    """Every search reads `head`, and the binarizer beside it may have megabytes."""
    Database.open(path, "c", 1.0, {"binarizer": {"config": bytes(10**7)}}).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cache_size = 20")
        assert connection.execute("SELECT wr FROM pragma_table_list('meta')").fetchone() == (0,)
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT value FROM meta WHERE key = 'head'").fetchone()[-1]
        assert "USING INDEX" in plan


def test_while_a_writer_is_open(db, path):
    with db.transaction() as writing:
        writing.put("a", 1)
    with closing(connect.connect_writer(path)) as writer:
        assert writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert writer.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert writer.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
        assert writer.isolation_level is None


def test_a_reader_cannot_write(db):
    with db.reading() as reading, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reading._connection.execute("DELETE FROM meta")


def test_the_first_records(db):
    with db.reading() as reading:
        assert reading.get("settings") == RECORD
        assert reading.get("nothing") is None
        assert reading.head() == Head(0, 0, 0)


def test_the_generation_rises_with_every_transaction_that_writes(db):
    for expected in (1, 2, 3):
        with db.transaction() as writing:
            assert writing.generation == expected
            writing.put("a", expected)
        with db.reading() as reading:
            assert reading.head().generation == expected
    with db.transaction():
        pass
    with db.reading() as reading:
        assert reading.head().generation == 3


def test_what_raises_leaves_nothing(db):
    with pytest.raises(KeyError), db.transaction() as writing:
        writing.put("a", 1)
        raise KeyError
    with db.reading() as reading:
        assert reading.get("a") is None
        assert reading.head().generation == 0


def test_a_savepoint_undoes_its_part_only(db):
    with db.transaction() as outer:
        outer.put("a", 1)
        with db.writing() as part:
            part.put("b", 2)
        with pytest.raises(KeyError), db.writing() as part:
            part.put("a", 3)
            part.put("c", 3)
            raise KeyError
    with db.reading() as reading:
        assert [reading.get(key) for key in "abc"] == [1, 2, None]


def test_reading_sees_the_last_commit_and_own_writes_only_when_asked(db):
    with db.transaction() as writing:
        writing.put("a", 1)
        with db.reading() as reading:
            assert reading.get("a") is None
        with db.reading(own_writes=True) as reading:
            assert reading.get("a") == 1
        assert db.in_transaction
    assert not db.in_transaction


def test_a_reading_is_one_commits_state(db):
    with db.transaction() as writing:
        writing.put("first", 1)
    with db.reading() as reading:
        assert reading.get("a") is None
        with db.transaction() as writing:
            writing.put("a", 1)
        assert reading.get("a") is None
    with db.reading() as reading:
        assert reading.get("a") == 1


def test_transactions_do_not_nest(db):
    with db.transaction() as writing:
        writing.put("a", 1)
        with pytest.raises(UnsupportedMode, match="transactions do not nest"), db.transaction():
            pass
    with db.reading() as reading:
        assert reading.get("a") == 1


def test_documents_of_other_tenants_are_apart(db):
    with db.transaction() as writing:
        writing.add_documents(0, "", [("x", "mine", None)])
        writing.add_documents(1, "other", [("x", "theirs", None)])
        writing.put_head(replace(writing.head(), n_rows=2, n_named=1))
    with db.reading() as reading:
        assert reading.count("") == reading.count("other") == 1
        assert reading.documents_by_id("other", ["x"])["x"].text == "theirs"
        assert documents(reading) == [(0, "x")]


def test_many_ids_at_once(db):
    ids = [f"id{i}" for i in range(2500)]
    with db.transaction() as writing:
        writing.add_documents(0, "", [(id_, None, None) for id_ in ids])
        writing.add_vectors(0, np.full((2500, 1), ord("v"), np.uint8))
        assert set(writing.documents_by_id("", ids)) == set(ids)
        assert len(writing.documents_by_row(range(2500))) == 2500
        assert len(writing.vectors(range(2500))) == 2500
        assert writing.remove_documents("", [*ids[1:], "unknown"]) == list(range(1, 2500))
        assert documents(writing) == [(0, "id0")]
        with pytest.raises(CorruptStore, match="kept vector of row 1 is missing"):
            writing.vectors([0, 1])


def test_the_log_is_folded_into_the_file_while_open(db, path, monkeypatch):
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 200_000)
    for i in range(30):
        with db.transaction() as writing:
            writing.put(f"a{i}", b"x" * 50_000)
        assert connect.wal_bytes(path) < 400_000
    assert path.stat().st_size > 1_000_000


def test_a_long_reader_holds_the_log_back_and_nothing_waits_for_it(db, path, monkeypatch):
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 200_000)
    with db.transaction() as writing:
        writing.put("first", 1)
    with db.reading() as reading:
        assert reading.get("a0") is None
        for i in range(10):
            with db.transaction() as writing:
                writing.put(f"a{i}", b"x" * 50_000)
        assert reading.get("a0") is None
    for i in range(10, 20):
        with db.transaction() as writing:
            writing.put(f"a{i}", b"x" * 50_000)
    assert connect.wal_bytes(path) < 1_000_000
    with db.reading() as reading:
        assert [len(reading.get(f"a{i}")) for i in range(20)] == [50_000] * 20


@pytest.fixture
def full(monkeypatch):
    """Let the file grow by a few pages only."""
    real = connect.connect_writer

    def limited(*arguments):
        writer = real(*arguments)
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages + 3}")
        return writer

    monkeypatch.setattr(connect, "connect_writer", limited)


def test_a_full_disk_is_a_typed_error_and_nothing_is_stored(full, db):
    with pytest.raises(StorageFull, match=r"no room to write .*store.binrag") as error, db.writing() as writing:
        writing.put("a", 1)
        writing.put("b", b"x" * 1_000_000)
    assert isinstance(error.value, OSError)
    with db.reading() as reading:
        assert reading.get("a") is None
    with db.writing() as writing:
        writing.put("a", 1)
    with db.reading() as reading:
        assert reading.get("a") == 1


def test_a_full_disk_inside_a_part_of_a_transaction(full, db):
    with pytest.raises(StorageFull, match="no room to write"), db.transaction() as writing:
        writing.put("a", 1)
        with db.writing() as part:
            part.put("b", b"x" * 1_000_000)
    with db.writing() as writing:
        writing.put("c", 1)
    with db.reading() as reading:
        assert [reading.get(key) for key in "abc"] == [None, None, 1]


def test_after_a_full_disk_the_whole_transaction_is_over(full, db):
    """SQLite rolls back all of it, so nothing that follows may be committed as if the rest were there."""
    with pytest.raises(BinragError), db.transaction() as writing:
        writing.put("a", 1)
        with suppress(BinragError), db.writing() as part:
            part.put("b", b"x" * 1_000_000)
        with suppress(BinragError), db.writing() as part:
            part.put("c", 1)
    with db.reading() as reading:
        assert [reading.get(key) for key in "abc"] == [None, None, None]
        assert reading.head().generation == 0


def test_an_error_of_the_callers_own_sqlite_is_not_ours(db):
    with pytest.raises(sqlite3.OperationalError) as error, db.transaction() as writing:
        writing.put("a", 1)
        with closing(sqlite3.connect(":memory:")) as other:
            other.execute("SELECT * FROM no_such_table")
    assert not isinstance(error.value, BinragError)
    with db.reading() as reading:
        assert reading.get("a") is None


def test_closed(db, path):
    db.close()
    db.close()
    for use in (db.reading, db.transaction, db.writing):
        with pytest.raises(StoreClosed, match=r"store.binrag was closed"), use():
            pass
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_closing_inside_a_transaction_is_refused(db):
    with db.transaction() as writing:
        writing.put("a", 1)
        with pytest.raises(UnsupportedMode, match=r"close\(\) inside transaction"):
            db.close()
    with db.reading() as reading:
        assert reading.get("a") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is set by a POSIX call")
def test_a_log_that_cannot_be_folded_is_no_failure_of_the_commit(path):
    """What raised is not stored, and what did not raise is, when the file may not grow any more."""
    printed = run_script(
        """
        import resource, signal, sys
        import numpy as np
        from binrag import BinragError, Store
        from binrag.storage import database
        database._CHECKPOINT_BYTES = 0  # fold after every commit
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Store.open(sys.argv[1]) as store:
            store.add(vectors=np.eye(3))
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, -1))
            stored = failed = 0
            while failed < 2 and stored < 1000:
                try:
                    store.add(["x" * 20_000], vectors=[[1, 2, 3]])
                    stored += 1
                except BinragError:
                    failed += 1
                assert store.count() == 3 + stored, f"{store.count()} documents after {stored} adds that returned"
                assert len(store.search([1, 2, 3], k=2000, n_candidates=2000)) == 3 + stored
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
            store.add(["x"], vectors=[[1, 2, 3]])
            print(stored, failed, store.count())
        """,
        path,
    )
    stored, failed, count = map(int, printed.split())
    assert (failed, count) == (2, stored + 4)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (count,)
