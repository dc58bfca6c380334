"""get, delete, count and iter."""

import numpy as np
import pytest
from fakes import ids_of, sentences, unit, vectors_of

from binrag import Document, InvalidFilter, Store, VectorsUnavailable

TEXTS = sentences(700)
IDS = [f"id{i}" for i in range(700)]


@pytest.fixture
def filled(store):
    store.add(TEXTS, ids=IDS)
    return store


def test_get_keeps_the_order_and_skips_what_is_missing(filled):
    found = filled.get(["id5", "nothing", "id3", "id699", "id5", ""])
    assert [document.id for document in found] == ["id5", "id3", "id699", "id5"]
    assert found[1] == Document("id3", TEXTS[3], {})
    assert filled.get([]) == []
    assert filled.get(iter(["id1"]))[0].id == "id1"


def test_get_takes_only_what_matches(filled):
    ids = [document.id for document in filled.iter()]
    filled.update_metadata({"kind": "odd"}, ids[1::2])
    assert [document.id for document in filled.get([*ids[::-1], ids[1], "none"], where={"kind": "odd"})] == [
        *ids[1::2][::-1],
        ids[1],
    ]
    assert filled.get([], where={"kind": "odd"}) == []
    with pytest.raises(InvalidFilter, match="kind"):
        filled.get(ids, where={"kind": None})


def test_get_many(filled):
    backwards = IDS[::-1] * 3
    assert [document.id for document in filled.get(backwards)] == backwards


def test_ids_are_compared_exactly(store):
    store.add(["a", "b", "c", "d"], ids=["Id", "id", "id ", "ıd"])
    assert [document.text for document in store.get(["ıd", "id ", "id", "Id", "ID"])] == ["d", "c", "b", "a"]


@pytest.mark.parametrize(("keep", "error"), [("int8", 1 / 254), ("float16", 2**-11)])
def test_kept_vectors_by_id(path, keep, error):
    rows = vectors_of(600, 12)
    with Store.open(path, keep_vectors=keep) as store:
        assert store.vectors(["a"]) == {}
        store.add(vectors=rows, ids=IDS[:600])
        store.add(vectors=-rows[:1], ids=["id0"], tenant="acme")
        store.delete(["id1"])
        found = store.vectors(["id599", "nothing", "id1", *IDS[:550]])
        assert set(found) == {"id599", *IDS[:550]} - {"id1"}
        for id_, vector in found.items():
            assert (vector.dtype, vector.shape) == (np.float32, (12,))
            np.testing.assert_allclose(vector, unit(rows)[int(id_[2:])], atol=error * 1.001)
        (own,) = store.vectors(["id0", "id2"], tenant="acme").values()
        np.testing.assert_allclose(own, -unit(rows)[0], atol=error * 1.001)


def test_without_kept_vectors_there_are_none_to_return(path):
    with Store.open(path, keep_vectors="none") as store:
        store.add(vectors=np.eye(3), ids=["a", "b", "c"])
        with pytest.raises(VectorsUnavailable, match=r"store.binrag keeps no vectors"):
            store.vectors(["a"])


def test_delete(filled):
    assert filled.delete(["id0", "id1", "nothing", "id0"]) == 2
    assert filled.delete(["id0"]) == 0
    assert filled.delete([]) == 0
    assert filled.count() == 698
    assert filled.get(["id0", "id1", "id2"]) == [Document("id2", TEXTS[2], {})]
    hits = filled.search(TEXTS[0], k=700, n_candidates=700)
    assert sorted(ids_of(hits)) == sorted(IDS[2:])


def test_delete_everything_and_begin_again(filled):
    assert filled.delete(IDS) == 700
    assert filled.count() == 0
    assert list(filled.iter()) == []
    assert filled.search(TEXTS[0]) == []
    filled.add(["new apple"], ids=["id0"])
    assert ids_of(filled.search("apple")) == ["id0"]
    assert filled.stats().n_dead_rows == 700


def test_delete_in_bulk_takes_a_generator(filled):
    assert filled.delete(id_ for id_ in IDS if id_ != "id9") == 699
    assert [document.id for document in filled.iter()] == ["id9"]


def test_a_deleted_document_leaves_no_text_and_no_vector(filled):
    before = filled.stats()
    filled.delete(IDS[:600])
    after = filled.stats()
    assert after.text_disk_bytes < before.text_disk_bytes / 6
    assert after.vector_disk_bytes == before.vector_disk_bytes / 7


def test_iter_yields_all_in_the_order_they_were_added(filled):
    filled.add(["again"], ids=["id300"])
    filled.delete(["id0", "id256", "id512"])
    expected = [id_ for id_ in IDS if id_ not in ("id0", "id256", "id300", "id512")] + ["id300"]
    assert [document.id for document in filled.iter()] == expected


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 512])
def test_iter_at_the_edges_of_a_page(store, n):
    store.add(TEXTS[:n], ids=IDS[:n])
    assert [document.id for document in store.iter()] == IDS[:n]


def test_writing_while_iterating(filled):
    seen = []
    for document in filled.iter():
        seen.append(document.id)
        filled.delete([document.id])
    assert seen == IDS
    assert filled.count() == 0


def test_an_iterator_that_is_left_alone_holds_nothing(filled):
    iterator = filled.iter()
    next(iterator)
    filled.add(["new"], ids=["new"])
    assert filled.count() == 701
    filled.close()
