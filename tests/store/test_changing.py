"""Documents added, renamed and deleted in one commit."""

import pytest
from fakes import WordEncoder, vectors_of

from binrag import Document, InvalidMetadata, Store
from binrag.store.changing import Changes, make
from binrag.types import BLOCK


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "kb.binrag", encoder=WordEncoder(8), auto_fit=False) as opened:
        yield opened


def test_renamed_documents_keep_their_vectors_and_are_found_by_their_new_metadata(store):
    """In a block of rows that is full, too, whose metadata filters see in a blob."""
    n = BLOCK + 10
    store.add(ids=[f"d{i}" for i in range(n)], metadata=[{"n": i} for i in range(n)], vectors=vectors_of(n, 8))
    swapped = {f"d{a}": Document(f"d{b}", None, {"n": b}) for a, b in ((1, 2), (2, 3), (3, 1), (BLOCK + 1, n))}
    before = store.vectors(list(swapped))
    make(store, Changes(gone=["d5"], renamed=swapped), 8, False)
    for old, new in swapped.items():
        assert [found.id for found in store.iter(where={"n": new.metadata["n"]})] == [new.id]
        assert store.vectors([new.id])[new.id].tolist() == before[old].tolist()
        assert store.search(before[old], 1)[0].id == new.id
    assert store.count() == n - 1
    assert store.verify() == []


def test_what_fails_changes_nothing(store):
    store.add(["apple", "river"], ids=["a", "b"])
    changes = Changes(["b"], {"a": Document("c", "apple", {"x": float("nan")})}, [Document("d", "stone")])
    with pytest.raises(InvalidMetadata, match="'c'"):
        make(store, changes, 8, False)
    assert [document.id for document in store.iter()] == ["a", "b"]


def test_nothing_to_do_is_no_commit(store):
    generation = store.refresh()
    make(store, Changes(), 8, False)
    assert store.refresh() == generation


def test_texts_are_encoded_before_the_store_is_locked(store, tmp_path):
    class Waiting(WordEncoder):
        def encode_document(self, texts):
            with Store.open(store.path, lock_timeout=0.1) as other:
                other.add(vectors=vectors_of(1, 8), ids=["other"])
            return super().encode_document(texts)

    store.add(vectors=vectors_of(1, 8), ids=["old"])
    with Store.open(store.path, encoder=Waiting(8), lock_timeout=0.1) as waiting:
        make(waiting, Changes(gone=["old"], added=[Document("a", "apple")]), 8, False)
    assert [document.id for document in store.iter()] == ["other", "a"]
