"""transaction(): several calls, one commit."""

import threading

import numpy as np
import pytest
from fakes import ids_of, sentences

from binrag import InvalidMetadata, InvalidVector, Store, StoreLocked, UnsupportedMode


@pytest.fixture
def filled(store):
    store.add(["old apple", "old river"], ids=["a", "r"])
    return store


def ids(store):
    return [document.id for document in store.iter()]


def test_it_commits_together(filled, path, encoder):
    generation = filled.info().generation
    with Store.open(path, encoder=encoder) as other:
        with filled.transaction():
            filled.add(["new cloud"], ids=["c"])
            filled.delete(["a"])
            filled.add(["new stone"], ids=["s"])
            assert ids(other) == ["a", "r"]
            assert sorted(ids_of(other.search("cloud"))) == ["a", "r"]
        assert ids(filled) == ids(other) == ["r", "c", "s"]
        assert sorted(ids_of(other.search("cloud"))) == sorted(ids_of(filled.search("cloud"))) == ["c", "r", "s"]
        assert filled.info().generation == generation + 1


def test_own_writes_are_visible_but_not_to_search(filled):
    with filled.transaction():
        filled.add(["new apple"], ids=["n"], metadata=[{"v": 1}])
        filled.delete(["r"])
        assert filled.get(["n", "r"])[0].metadata == {"v": 1}
        assert len(filled.get(["n", "r"])) == 1
        assert filled.count() == 2
        assert ids(filled) == ["a", "n"]
        assert sorted(ids_of(filled.search("apple"))) == ["a", "r"]
        assert filled.search_batch(["apple"])[0] == filled.search("apple")
    assert sorted(ids_of(filled.search("apple"))) == ["a", "n"]


def test_other_threads_do_not_see_it(filled):
    seen = []
    with filled.transaction():
        filled.add(["new apple"], ids=["n"])
        thread = threading.Thread(target=lambda: seen.extend([filled.count(), ids(filled), filled.get(["n"])]))
        thread.start()
        thread.join()
    assert seen == [2, ["a", "r"], []]


def test_it_rolls_back(filled):
    before = (filled.info(), filled.search("apple"))
    with pytest.raises(KeyError), filled.transaction():
        filled.add(sentences(5000))
        filled.add(["replaced"], ids=["a"])
        filled.delete(["r"])
        assert filled.count() == 5001
        raise KeyError
    assert (filled.info(), filled.search("apple")) == before
    assert filled.get(["a"])[0].text == "old apple"
    filled.add(["after"], ids=["z"])
    assert ids(filled) == ["a", "r", "z"]
    assert filled.stats().n_rows == 3


def test_a_call_that_fails_inside_leaves_nothing_of_it_and_the_rest_commits(filled):
    with filled.transaction():
        filled.add(["kept cloud"], ids=["k"])
        for error, call in (
            (InvalidMetadata, lambda: filled.add(["x", "y"], ids=["a", "y"], metadata=[{}, {"n": {1}}])),
            (InvalidVector, lambda: filled.add(vectors=[np.ones(32), np.zeros(32)])),
        ):
            with pytest.raises(error):
                call()
        filled.delete(["r"])
    assert ids(filled) == ["a", "k"]
    assert filled.get(["a"])[0].text == "old apple"


def test_a_call_that_fails_while_it_writes_leaves_nothing_of_it(filled, monkeypatch):
    from binrag.store import writer

    real, calls = writer.append, []

    def failing(writing, *arguments):
        real(writing, *arguments)
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError

    with filled.transaction():
        filled.add(["kept cloud"], ids=["k"])
        calls.clear()
        monkeypatch.setattr(writer, "append", failing)
        with pytest.raises(MemoryError):
            filled.add([f"text {n}" for n in range(10)], ids=["a", *"123456789"], batch_size=1)
        monkeypatch.setattr(writer, "append", real)
        assert ids(filled) == ["a", "r", "k"]
        filled.add(["late stone"], ids=["l"])
    assert ids(filled) == ["a", "r", "k", "l"]
    assert filled.get(["a"])[0].text == "old apple"
    assert sorted(ids_of(filled.search("stone"))) == ["a", "k", "l", "r"]
    assert filled.stats().n_rows == 4


def test_a_call_on_its_own_that_fails_while_it_writes_leaves_nothing(filled, monkeypatch):
    from binrag.store import writer

    real = writer.append

    def failing(writing, *arguments):
        real(writing, *arguments)
        raise MemoryError

    monkeypatch.setattr(writer, "append", failing)
    with pytest.raises(MemoryError):
        filled.add(["one"], ids=["a"])
    monkeypatch.undo()
    assert filled.get(["a"])[0].text == "old apple"
    assert filled.stats().n_rows == 2


def test_nested_ones_are_refused(filled):
    with filled.transaction():
        filled.add(["new"], ids=["n"])
        with pytest.raises(UnsupportedMode, match="do not nest"), filled.transaction():
            pass
    assert ids(filled) == ["a", "r", "n"]


def test_an_empty_one_changes_nothing(filled):
    before = filled.info()
    with filled.transaction():
        pass
    with filled.transaction():
        filled.delete(["nothing"])
    assert filled.info().n_documents == before.n_documents
    assert filled.info().generation == before.generation


def test_many_adds_in_one_cross_the_edges_of_blocks(filled):
    with filled.transaction():
        for start in range(0, 9000, 900):
            filled.add(vectors=np.ones((900, 32)), ids=map(str, range(start, start + 900)))
        filled.delete(map(str, range(100, 9000)))
    assert filled.count() == 102
    hits = filled.search(np.ones(32), k=500, n_candidates=9002)
    assert set(ids_of(hits)) == {"a", "r", *map(str, range(100))}


def test_another_thread_waits_or_is_told_who_holds_it(path, encoder):
    with Store.open(path, encoder=encoder, lock_timeout=0.1) as store:
        errors = []

        def write():
            try:
                store.add(["x"])
            except StoreLocked as error:
                errors.append(str(error))

        with store.transaction():
            store.add(["held"])
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
        assert len(errors) == 1
        assert "locked for 0.1 s by another thread of this process" in errors[0]
        write()
        assert store.count() == 2


def test_another_handle_waits_or_is_told_who_holds_it(filled, path, encoder):
    import os

    with Store.open(path, encoder=encoder, lock_timeout=0.1) as other, filled.transaction():
        filled.add(["x"])
        with pytest.raises(StoreLocked, match=f"process {os.getpid()} on"):
            other.add(["y"])
        with pytest.raises(StoreLocked), other.transaction():
            pass


def test_the_first_vectors_may_come_in_one_that_rolls_back(store):
    with pytest.raises(KeyError), store.transaction():
        store.add(vectors=np.ones((2, 5)))
        raise KeyError
    assert store.info().dim is None
    store.add(["text"], ids=["t"])
    assert (store.info().dim, store.info().encoder) == (32, "words")
    assert ids_of(store.search("text")) == ["t"]


def test_the_encoder_of_one_that_rolled_back_is_not_recorded(store):
    with pytest.raises(KeyError), store.transaction():
        store.add(["text"])
        raise KeyError
    assert store.info().encoder is None
    store.add(["text"])
    assert store.info().encoder == "words"
