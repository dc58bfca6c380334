"""Opening: modes, settings, and what is refused."""

import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from fakes import WordEncoder, ids_of, vectors_of

from binrag import (
    BinarizerMismatch,
    DimensionMismatch,
    FormatVersionError,
    InvalidInput,
    NotAStore,
    ReadOnlyStore,
    Store,
    StoreExists,
    StoreNotFound,
    UnsupportedMode,
)

VECTORS = vectors_of(5, 8)


@pytest.fixture
def filled(path):
    with Store.open(path) as store:
        store.add(["a", "b", "c", "d", "e"], ids=list("abcde"), vectors=VECTORS)
    return path


def test_c_creates_and_opens(path):
    with Store.open(path) as store:
        assert store.count() == 0
        store.add(vectors=VECTORS)
    with Store.open(path, "c") as store:
        assert store.count() == 5
        assert store.path == path


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_path_may_be_a_string(path, kind):
    Store.open(kind(path)).close()
    assert path.exists()


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store.open("kb.binrag") as store:
        store.add(vectors=VECTORS)
        store.add(vectors=VECTORS)
    assert [file.name for file in tmp_path.iterdir()] == ["kb.binrag"]


@pytest.mark.parametrize("name", ["a b#c?d%20&e=f.binrag", "ünï.binrag", "mode=memory"])
def test_paths_that_look_like_uris(tmp_path, name):
    with Store.open(tmp_path / name) as store:
        store.add(vectors=VECTORS)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with Store.open(tmp_path / name, "r") as store:
        assert store.count() == 5


def test_r_reads_and_refuses_every_write(filled):
    before = filled.read_bytes()
    with Store.open(filled, "r") as store:
        assert len(store.search(VECTORS[0], k=3)) == 3
        for write in (lambda: store.add(vectors=VECTORS), lambda: store.delete(["a"]), lambda: enter(store)):
            with pytest.raises(ReadOnlyStore, match="opened with mode 'r'; open it with 'rw' or 'c'") as error:
                write()
            assert isinstance(error.value, PermissionError)
        assert store.count() == 5
        assert len(store.search(VECTORS[0], k=3)) == 3
    assert filled.read_bytes() == before
    assert [file.name for file in filled.parent.iterdir()] == [filled.name]


def enter(store):
    with store.transaction():
        pass


def test_rw_reads_and_writes(filled):
    with Store.open(filled, "rw") as store:
        store.add(vectors=VECTORS)
        assert store.count() == 10


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_r_and_rw_do_not_create(path, mode):
    with pytest.raises(StoreNotFound, match=r"there is no file .*store.binrag.*'c'") as error:
        Store.open(path, mode)
    assert isinstance(error.value, FileNotFoundError)
    assert list(path.parent.iterdir()) == []


def test_x_creates_only(path):
    with Store.open(path, "x") as store:
        store.add(vectors=VECTORS)
    before = path.read_bytes()
    with pytest.raises(StoreExists, match=r"store.binrag exists; mode 'x' only creates") as error:
        Store.open(path, "x")
    assert isinstance(error.value, FileExistsError)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", ["c", "x", "r", "rw"])
def test_the_folder_has_to_exist(tmp_path, mode):
    with pytest.raises(StoreNotFound):
        Store.open(tmp_path / "no" / "such" / "folder.binrag", mode)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["c", "r", "rw", "x"])
def test_a_folder_is_no_store(tmp_path, mode):
    with pytest.raises(NotAStore, match="is a folder, expected a file"):
        Store.open(tmp_path, mode)


@pytest.mark.parametrize("mode", ["w", "a", "", None, 1, "rb"])
def test_unknown_modes(path, mode):
    with pytest.raises(InvalidInput, match=r"mode is .*expected one of r, rw, c, x"):
        Store.open(path, mode)
    assert not path.exists()


def other_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.execute("INSERT INTO notes VALUES ('precious')")
        connection.commit()


FOREIGN = {
    "a short text": lambda path: path.write_text("dear diary"),
    "a long text": lambda path: path.write_text("dear diary\n" * 9999),
    "another database": other_database,
    "zeros": lambda path: path.write_bytes(bytes(50_000)),
}


@pytest.mark.parametrize("mode", ["r", "rw", "c"])
@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_no_stores_are_refused_and_left_alone(path, name, mode):
    FOREIGN[name](path)
    before = path.read_bytes()
    with pytest.raises(NotAStore, match=r"store.binrag is not a binrag store") as error:
        Store.open(path, mode)
    assert isinstance(error.value, ValueError)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if not file.name.endswith("-lock")] == [path.name]


@pytest.mark.parametrize("mode", ["r", "rw"])
def test_an_empty_file_is_no_store(path, mode):
    path.touch()
    with pytest.raises(NotAStore):
        Store.open(path, mode)
    assert path.stat().st_size == 0


def test_an_empty_file_becomes_a_store_in_mode_c(path):
    path.touch()
    with Store.open(path) as store:
        store.add(vectors=VECTORS)
        assert store.count() == 5


@pytest.mark.parametrize("mode", ["r", "rw", "c"])
@pytest.mark.parametrize("version", [1, 999])
def test_a_newer_format_is_refused(filled, mode, version):
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = filled.read_bytes()
    message = f"has format version {version}, this version of binrag reads 0; update binrag"
    with pytest.raises(FormatVersionError, match=message):
        Store.open(filled, mode)
    assert filled.read_bytes() == before


def test_an_unknown_binarizer_is_a_newer_format(filled):
    from binrag.storage.records import checksum, pack, unpack

    with closing(sqlite3.connect(filled)) as connection:
        (data,) = connection.execute("SELECT value FROM meta WHERE key = 'binarizer'").fetchone()
        data = pack({**unpack(data, "binarizer"), "component_id": "learned"})
        values = (data, checksum("binarizer", data))
        connection.execute("UPDATE meta SET value = ?, checksum = ? WHERE key = 'binarizer'", values)
        connection.commit()
    with pytest.raises(FormatVersionError, match="'learned', this version of binrag knows"):
        Store.open(filled)


SETTINGS = {
    "binarizer": ["pq", 1, ""],
    "keep_vectors": ["float32", None.__class__, True, 8],
    "dim": [0, -1, 4097, 1.5, True, "8"],
    "seed": [-1, 1.5, "0", 2**64],
    "lock_timeout": [-1, math.nan, "1", None],
    "n_threads": [0, -1, 1.5, "2", True],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SETTINGS.items() for value in values])
def test_settings_that_no_store_can_have(path, name, value):
    with pytest.raises(InvalidInput, match=f"{name} is .*expected"):
        Store.open(path, **{name: value})
    assert not path.exists()


@pytest.mark.parametrize("lock_timeout", [0, 0.5, math.inf, 10**12])
def test_any_time_to_wait(path, lock_timeout):
    with Store.open(path, lock_timeout=lock_timeout) as store:
        store.add(vectors=VECTORS)
        assert store.count() == 5


def test_settings_are_recorded(path):
    Store.open(path, binarizer="rotated-sign", dim=8, keep_vectors="float16", seed=7).close()
    with Store.open(path) as store:
        info = store.info()
        assert (info.binarizer, info.dim, info.keep_vectors) == ("rotated-sign", 8, "float16")
        with pytest.raises(DimensionMismatch, match="has 9 dimensions, the store's vectors have 8"):
            store.add(vectors=vectors_of(1, 9))
        store.add(vectors=VECTORS)
    with Store.open(path, binarizer="rotated-sign", dim=8, keep_vectors="float16", seed=7) as store:
        assert store.count() == 5


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"dim": 9}, DimensionMismatch, "dim=9 was asked for, .* have 8 dimensions"),
        ({"binarizer": "sign"}, BinarizerMismatch, "binarizer='sign' was asked for, .* is 'rotated-sign'"),
        ({"seed": 4}, BinarizerMismatch, "seed=4 was asked for, .* is 3"),
        ({"keep_vectors": "none"}, UnsupportedMode, "keep_vectors='none' was asked for, .* with 'float16'"),
    ],
)
@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize("mode", ["r", "rw", "c"])
def test_settings_that_contradict_the_file_are_refused(path, setting, error, message, with_rows, mode):
    with Store.open(path, binarizer="rotated-sign", dim=8, keep_vectors="float16", seed=3) as store:
        if with_rows:
            store.add(vectors=VECTORS)
    with pytest.raises(error, match=message):
        Store.open(path, mode, **setting)
    with Store.open(path) as store:
        assert store.count() == 5 * with_rows


def test_the_dimension_of_the_first_vectors_counts_from_then_on(filled):
    with pytest.raises(DimensionMismatch, match=r"dim=9 was asked for, .* have 8"):
        Store.open(filled, dim=9)
    Store.open(filled, dim=8).close()


def test_seeds_draw_different_rotations(tmp_path):
    words = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        with Store.open(tmp_path / name, binarizer="rotated-sign", seed=seed, keep_vectors="none") as store:
            store.add(vectors=vectors_of(200, 64), ids=map(str, range(200)))
            words[name] = store.search(vectors_of(1, 64, seed=9)[0], k=20)
    assert words["a"] == words["b"]
    assert words["a"] != words["c"]


def test_reopening_gives_the_same_hits_bit_by_bit(tmp_path):
    queries = vectors_of(5, 24, seed=9)
    for keep in ("none", "int8", "float16"):
        path = tmp_path / keep
        with Store.open(path, keep_vectors=keep) as store:
            store.add(vectors=vectors_of(300, 24), ids=map(str, range(300)), metadata=[{"n": i} for i in range(300)])
            before = store.search_batch(queries)
        for mode in ("r", "rw", "c"):
            with Store.open(path, mode) as store:
                assert store.search_batch(queries) == before


def test_two_handles_in_one_process(filled):
    with Store.open(filled) as first, Store.open(filled) as second:
        first.add(["f"], ids=["f"], vectors=[np.ones(8)])
        assert ids_of(second.search(np.ones(8), k=1)) == ["f"]
        second.delete(["f"])
        assert first.get(["f"]) == []
    assert [file.name for file in filled.parent.iterdir()] == [filled.name]


def test_texts_need_nothing_but_the_path_and_the_encoder(path):
    with Store.open(path, encoder=WordEncoder()) as store:
        store.add(["red apple", "blue river"], ids=["1", "2"])
    with Store.open(path, encoder=WordEncoder()) as store:
        assert ids_of(store.search("apple", k=1)) == ["1"]


@pytest.mark.parametrize("mode", ["c", "rw", "r"])
def test_another_programs_database_is_left_as_it_was(path, mode):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(NotAStore):
        Store.open(path, mode)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
