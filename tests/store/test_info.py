"""info() and stats() tell the truth; backup and close leave what they promise."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from fakes import WordEncoder, sentences, vectors_of

from binrag import (
    Store,
    StoreClosed,
    StoreExists,
    StoreInfo,
    StoreNotFound,
    TruncatedTextWarning,
)


def files(folder):
    return sorted(file.name for file in folder.iterdir())


def journal_mode(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_info_of_a_new_store(store, path):
    assert store.info() == StoreInfo(
        path=str(path),
        format_version=0,
        n_documents=0,
        dim=None,
        similarity=None,
        encoder=None,
        binarizer="auto",
        n_bits=None,
        code_bytes=None,
        keep_vectors="int8",
        n_truncated=0,
        generation=0,
        auto_fit="due at 5,000 documents",
    )


def test_info_of_a_filled_store(path):
    settings = {"binarizer": "rotated-sign", "keep_vectors": "float16"}
    with Store.open(path, encoder=WordEncoder(100), **settings) as store:
        store.add(sentences(7), ids=map(str, range(7)))
        store.delete(["0"])
        expected = StoreInfo(
            path=str(path),
            format_version=0,
            n_documents=6,
            dim=100,
            similarity="cosine",
            encoder="words",
            binarizer="rotated-sign",
            n_bits=100,
            code_bytes=18,
            keep_vectors="float16",
            n_truncated=0,
            generation=2,
        )
        assert store.info() == expected
    with Store.open(path, "r") as store:
        assert store.info() == expected


def test_truncated_texts_are_counted_warned_about_and_shown(path):
    texts = ["one two three", "one two three four", "a b c d e f", "short"]
    with Store.open(path, encoder=WordEncoder(max_words=3)) as store:
        with pytest.warns(TruncatedTextWarning, match="2 of 4 texts are longer than the encoder reads") as caught:
            store.add(texts)
        assert caught[0].filename == __file__, "the warning points into the library"
        with pytest.warns(TruncatedTextWarning, match="1 of 300 texts"):
            store.add([*sentences(299, n_words=2), "x y z w"])
        store.add(["fine"])
        assert store.info().n_truncated == 3
        store.add(vectors=np.ones((1, 32)), texts=["far too long for that encoder"])
        assert store.info().n_truncated == 3
    with Store.open(path) as store:
        assert store.info().n_truncated == 3


@pytest.mark.parametrize(("keep", "vector_bytes"), [("none", 0), ("int8", 104), ("float16", 204)])
@pytest.mark.parametrize("n", [0, 1, 20, 4096, 5000])
def test_stats_count_bytes(path, keep, vector_bytes, n):
    with Store.open(path, keep_vectors=keep, binarizer="sign") as store:
        texts = [f"text é {i}" for i in range(n)]
        store.add(texts, ids=[f"i{i}" for i in range(n)], vectors=vectors_of(n, 100))
        stats = store.stats()
        assert (stats.n_documents, stats.n_rows, stats.n_dead_rows) == (n, n, 0)
        assert stats.vector_disk_bytes == n * vector_bytes
        assert stats.sample_disk_bytes == min(n, 4096) * 204
        assert stats.text_disk_bytes == sum(len(text.encode()) for text in texts) + sum(len(f"i{i}") for i in range(n))
        n_blocks = -(-n // 4096)
        assert stats.code_disk_bytes == n * 18 + n_blocks * 512
        n_groups = -(-n // 16)
        assert stats.memory_bytes == n_groups * 16 * 18 + n_blocks * 512
        log = Path(f"{path}-wal")
        assert stats.file_bytes == path.stat().st_size + (log.stat().st_size if log.exists() else 0)
    with Store.open(path, "r") as store:
        assert store.stats().file_bytes == path.stat().st_size


def test_stats_count_dead_rows(store):
    store.add(sentences(10), ids=map(str, range(10)))
    store.add(sentences(4), ids=map(str, range(4)))
    store.delete(["9"])
    stats = store.stats()
    assert (stats.n_documents, stats.n_rows, stats.n_dead_rows) == (9, 14, 5)
    assert stats.dead_bytes == 5 * store.info().code_bytes == 5 * 10
    store.compact()
    assert store.stats().dead_bytes == 0


def test_a_backup_is_the_store(store, path, tmp_path, encoder):
    texts = sentences(5000)
    store.add(texts, ids=texts, metadata=[{"n": i} for i in range(5000)])
    store.delete(texts[:10])
    copy = tmp_path / "copy.binrag"
    store.backup(copy)
    assert files(tmp_path) == sorted({"copy.binrag", *files(tmp_path)})
    assert not [name for name in files(tmp_path) if name.startswith("copy.binrag-")]
    assert journal_mode(copy) == "delete"
    store.add(["later"], ids=["later"])
    with Store.open(copy, "r", encoder=encoder) as other:
        assert other.count() == 4990
        assert other.get(["later"]) == []
        assert list(other.iter()) == list(store.iter())[:-1]
    store.delete(["later"])
    with Store.open(str(copy), encoder=encoder) as other:
        for query in sentences(5, seed=8):
            assert other.search(query) == store.search(query)
        other.add(["only there"], ids=["there"])
        assert store.get(["there"]) == []


@pytest.mark.parametrize("mode", ["r", "c"])
def test_a_backup_of_a_closed_store_reopened(store, path, tmp_path, mode):
    store.add(sentences(3))
    store.close()
    with Store.open(path, mode) as again:
        again.backup(tmp_path / "copy")
    with Store.open(tmp_path / "copy") as copy:
        assert copy.count() == 3


def test_a_backup_inside_a_transaction_has_the_last_commit(store, tmp_path):
    store.add(["before"])
    with store.transaction():
        store.add(["inside"])
        store.backup(tmp_path / "copy")
    with Store.open(tmp_path / "copy") as copy:
        assert [document.text for document in copy.iter()] == ["before"]


def test_a_backup_replaces_nothing(store, path, tmp_path):
    store.add(["text"])
    target = tmp_path / "precious"
    target.write_text("precious")
    for existing in (target, path):
        with pytest.raises(StoreExists, match="a backup never replaces a file"):
            store.backup(existing)
    assert target.read_text() == "precious"
    assert store.count() == 1


def test_a_backup_into_no_folder(store, tmp_path):
    with pytest.raises(StoreNotFound):
        store.backup(tmp_path / "no" / "copy")
    assert not (tmp_path / "no").exists()


def test_closing_leaves_one_file(store, path):
    store.add(sentences(100))
    assert f"{path.name}-wal" in files(path.parent)
    store.close()
    assert files(path.parent) == [path.name]
    assert journal_mode(path) == "delete"
    store.close()


@pytest.mark.parametrize("modes", [["c", "c"], ["c", "r"], ["r", "c"], ["r", "r"], ["c", "r", "rw", "r"]])
def test_the_last_handle_leaves_one_file(path, modes):
    with Store.open(path) as store:
        store.add(vectors=np.eye(3))
    handles = [Store.open(path, mode) for mode in modes]
    for handle in handles:
        if handle._handle.database.writable:
            handle.add(vectors=np.eye(3))
        assert len(handle.search(np.ones(3), k=50)) == handle.count()
    n = handles[0].count()
    for handle in handles:
        assert handle.count() == n
        handle.close()
    assert files(path.parent) == [path.name]
    assert journal_mode(path) == "delete"
    with Store.open(path, "r") as store:
        assert store.count() == n


def test_the_context_manager_closes(path):
    with Store.open(path) as store:
        store.add(vectors=np.eye(3))
    with pytest.raises(StoreClosed):
        store.count()
    assert files(path.parent) == [path.name]


def test_a_store_that_is_dropped_is_closed(path):
    store = Store.open(path)
    store.add(vectors=np.eye(3))
    del store
    assert files(path.parent) == [path.name]


USES = {
    "add": lambda store: store.add(vectors=np.eye(3)),
    "add nothing": lambda store: store.add([]),
    "search": lambda store: store.search(np.ones(3)),
    "search_batch": lambda store: store.search_batch([np.ones(3)]),
    "get": lambda store: store.get(["0"]),
    "vectors": lambda store: store.vectors(["0"]),
    "delete": lambda store: store.delete(["0"]),
    "update_metadata": lambda store: store.update_metadata({"a": 1}, ["a"]),
    "count": lambda store: store.count(),
    "iter": lambda store: list(store.iter()),
    "transaction": lambda store: store.transaction().__enter__(),
    "refresh": lambda store: store.refresh(),
    "recode": lambda store: store.recode("sign"),
    "train_binarizer": lambda store: store.train_binarizer(),
    "probe": lambda store: store.probe(),
    "info": lambda store: store.info(),
    "stats": lambda store: store.stats(),
    "backup": lambda store: store.backup(store.path.parent / "copy"),
    "verify": lambda store: store.verify(),
    "compact": lambda store: store.compact(),
    "ledger": lambda store: store.ledger("pages").keys(),
    "index_words": lambda store: store.index_words(),
    "record_encoder": lambda store: store.record_encoder(),
}


@pytest.mark.parametrize("name", USES)
def test_a_closed_store_says_so(path, name):
    with Store.open(path) as store:
        store.add(vectors=np.eye(3), ids=["0", "1", "2"])
    with pytest.raises(StoreClosed, match=r"store.binrag was closed; open it again") as error:
        USES[name](store)
    assert isinstance(error.value, ValueError)
    assert files(path.parent) == [path.name]
    assert path.name in repr(store)
    assert store.path == path


def test_every_public_method_is_tried_on_a_closed_store():
    methods = {name for name in dir(Store) if not name.startswith("_") and callable(getattr(Store, name))}
    assert methods - {"open", "close"} <= set(USES)


def test_refresh_returns_the_generation(store, path):
    assert store.refresh() == 0
    with Store.open(path, encoder=WordEncoder()) as other:
        other.add(["a"])
        assert store.refresh() == 1
        other.add(["b"])
        other.delete([])
        assert store.refresh() == store.info().generation == 2
