"""`repair` saves what is sound into a store that is, and leaves the damaged file as it was."""

import random
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from fakes import WordEncoder, sentences, topical, vectors_of

import binrag
from binrag import ALL_TENANTS, CorruptStore, Store, StoreExists, StoreNotFound

N = 4096 + 60
DIM = 64
TEXTS = sentences(N)
IDS = [f"id{i}" for i in range(N)]
ROWS = topical(N, DIM)
QUERIES = vectors_of(5, DIM, seed=8)


def make(path, **options):
    with Store.open(path, auto_fit=False, **options) as store:
        store.add(TEXTS, ids=IDS, metadata=[{"n": i} for i in range(N)], vectors=ROWS)
        store.delete(["id5", "id4100"])
        store.add([TEXTS[6]], ids=["id6"], metadata=[{"n": 6}], vectors=ROWS[6:7])
        store.add(TEXTS[:3], ids=IDS[:3], vectors=ROWS[:3], tenant="other")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Bytes of stores, by how they keep vectors, with a full block, a tail, dead rows and tenants."""
    folder = tmp_path_factory.mktemp("made")
    for keep in ("int8", "float16", "none"):
        make(folder / keep, keep_vectors=keep)
    return {keep: (folder / keep).read_bytes() for keep in ("int8", "float16", "none")}


@pytest.fixture
def copy(made, path):
    path.write_bytes(made["int8"])
    return path


def contents(path):
    with Store.open(path, "r") as store:
        return list(store.iter(tenant=ALL_TENANTS)), store.search_batch(QUERIES, k=50, tenant=ALL_TENANTS)


def repaired(path):
    """(what came of it, documents, hits) of a repair; the new store is sound, and the old file as it was."""
    before, target = path.read_bytes(), path.with_name("new")
    done = binrag.repair(path, target)
    assert path.read_bytes() == before
    assert binrag.verify(target) == []
    documents, hits = contents(target)
    assert len(documents) == done.n_saved
    target.unlink()
    return done, documents, hits


@pytest.mark.parametrize("keep", ["int8", "float16", "none"])
def test_a_sound_store_comes_back_as_it_was(made, path, keep):
    path.write_bytes(made[keep])
    documents, hits = contents(path)
    done, same, same_hits = repaired(path)
    assert (done.n_saved, done.n_lost, done.findings) == (N - 2 + 3, 0, ())
    assert (same, same_hits) == (documents, hits)


def flip(path, table, column, where):
    with closing(sqlite3.connect(path)) as connection:
        query = f"SELECT CAST({column} AS BLOB), typeof({column}), rowid FROM {table} WHERE {where}"
        for value, kind, row in connection.execute(query).fetchall():
            middle = len(value) // 2
            value = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
            connection.execute(f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE rowid = ?", (value, row))
        connection.commit()


@pytest.mark.parametrize("row", [17, 4110])
def test_a_damaged_document_is_lost_and_named(copy, row):
    documents, _ = contents(copy)
    flip(copy, "documents", "text", f"row = {row}")
    done, saved, _ = repaired(copy)
    assert saved == [document for document in documents if document.id != f"id{row}"]
    assert done.n_lost == 1
    assert [finding.place for finding in done.findings] == [f"document 'id{row}' (row {row})"]


@pytest.mark.parametrize(
    ("table", "column", "where"),
    [
        ("vectors", "vector", "row = 17"),
        ("vectors", "vector", "1"),
        ("sample", "vector", "1"),
        ("tail", "codes", "row = 4101"),
        ("blocks", "data", "part = 'codes'"),
        ("blocks", "data", "part = 'rescale'"),
        ("blocks", "data", "part = 'live'"),
        ("blocks", "data", "part = 'metadata'"),
        ("meta", "value", "key = 'head'"),
        ("meta", "value", "key = 'space'"),
        ("meta", "value", "key = 'settings'"),
        ("meta", "value", "key = 'binarizer'"),
        ("meta", "value", "1"),
    ],
)
def test_what_can_be_made_again_is(copy, table, column, where):
    """No document is lost, and searches find what they found, or nearly."""
    documents, hits = contents(copy)
    flip(copy, table, column, where)
    done, saved, found = repaired(copy)
    assert (saved, done.n_lost) == (documents, 0)
    assert done.findings
    for expected, got in zip(hits, found, strict=True):
        alike = {hit.id for hit in expected[:10]} & {hit.id for hit in got[:20]}
        assert len(alike) >= (5 if where == "1" and table == "vectors" else 9)


def test_vectors_and_codes_both_gone(copy):
    flip(copy, "vectors", "vector", "row IN (17, 18)")
    flip(copy, "tail", "codes", "row = 4101")
    flip(copy, "sample", "vector", "row IN (17, 4101)")
    flip(copy, "vectors", "vector", "row = 4101")
    flip(copy, "blocks", "data", "part = 'codes'")
    done, saved, _ = repaired(copy)
    lost = {finding.place for finding in done.findings if finding.kind == "lost"}
    assert lost <= {"document 'id17' (row 17)", "document 'id18' (row 18)", "document 'id4101' (row 4101)"}
    assert {"document 'id17' (row 17)", "document 'id4101' (row 4101)"} <= lost
    assert done.n_lost == len(lost)
    assert len(saved) == N + 1 - len(lost)


def test_codes_alone(made, path):
    """With no vectors kept, a code that is gone takes its document along, unless the vector was sampled."""
    path.write_bytes(made["none"])
    documents, _ = contents(path)
    flip(path, "blocks", "data", "part = 'codes'")
    done, saved, _ = repaired(path)
    assert 0 < done.n_lost < N
    assert done.n_lost + done.n_saved == len(documents)
    assert all(document in documents for document in saved[:50])


@pytest.mark.parametrize("seed", range(4))
def test_pages_that_sqlite_cannot_read(copy, seed):
    """Whatever pages are gone: the others' documents are saved, no word of them changed."""
    documents, _ = contents(copy)
    known = {(document.tenant, document.id): document for document in documents}
    data = bytearray(copy.read_bytes())
    draw = random.Random(seed)
    pages = draw.sample(range(2, len(data) // 16384), 4)
    for page in pages:
        data[page * 16384 : (page + 1) * 16384] = draw.randbytes(16384)
    copy.write_bytes(data)
    try:
        done, saved, _ = repaired(copy)
    except CorruptStore as error:
        assert "nothing" in str(error)
        return
    assert all(known[document.tenant, document.id] == document for document in saved)
    assert len(saved) + done.n_lost <= len(documents)
    assert done.findings


def test_a_file_cut_short_keeps_its_first_documents(copy):
    data = copy.read_bytes()
    copy.write_bytes(data[: len(data) * 9 // 10 // 16384 * 16384])
    done, saved, _ = repaired(copy)
    assert len(saved) > 0
    assert done.findings


def test_what_is_left_behind_by_a_kill_is_read(path, peer):
    """Commits in the write-ahead log of a writer that was killed are the store's."""
    process = peer()
    process.run(
        "s = Store.open(path); s.add(vectors=np.eye(8), ids=list('abcdefgh')); s.delete(['a']); result = 1",
        path=str(path),
    )
    process.kill()
    assert path.with_name(path.name + "-wal").stat().st_size
    done, saved, _ = repaired_small(path)
    assert [document.id for document in saved] == list("bcdefgh")
    assert done.findings == ()


def repaired_small(path):
    before, target = path.read_bytes(), path.with_name("new")
    done = binrag.repair(path, target)
    assert path.read_bytes() == before
    assert binrag.verify(target) == []
    with Store.open(target, "r") as store:
        return done, list(store.iter()), None


def test_empty_stores_and_texts_with_an_encoder(path):
    target = path.with_name("new")
    with Store.open(path, encoder=WordEncoder(), keep_vectors="float16") as store:
        assert binrag.repair(path, target).n_saved == 0
        target.unlink()
        store.add(TEXTS[:30], ids=IDS[:30])
        about = store.info()
        assert binrag.repair(path, target).n_saved == 30  # others have it open, and its log is not folded
    with Store.open(target, encoder=WordEncoder()) as store:
        assert store.search(TEXTS[4], k=1)[0].id == "id4"
        new = store.info()
        assert (new.encoder, new.binarizer, new.keep_vectors) == (about.encoder, about.binarizer, about.keep_vectors)
    with Store.open(target, binarizer="auto", encoder=WordEncoder()):
        pass  # the settings are the same


def test_what_cannot_be_repaired_says_so_and_leaves_no_file(copy):
    target = copy.with_name("new")
    with pytest.raises(StoreNotFound):
        binrag.repair(copy.with_name("nothing"), target)
    with pytest.raises(StoreExists):
        binrag.repair(copy, copy)
    for contents in (b"", b"no store" * 999, bytes(16384) + copy.read_bytes()[16384:]):
        copy.write_bytes(contents)
        with pytest.raises(CorruptStore, match=r"nothing of .* can be saved"):
            binrag.repair(copy, target)
    assert not target.exists()


def test_a_repair_that_fails_leaves_no_file(copy):
    target = copy.with_name("new")

    def fail(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        binrag.repair(copy, target, progress=fail)
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]
    assert np.isfinite(ROWS).all()
