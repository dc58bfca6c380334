"""Searching among some ids, hits that are unlike each other, and copies of a store."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import reference
from fakes import WordEncoder, ids_of, sentences, vectors_of

from binrag import ALL_TENANTS, InvalidInput, Mmr, Store, StoreClosed

N = 300
IDS = [f"id{i}" for i in range(N)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("selection") / "store.binrag"
    with Store.open(path, encoder=WordEncoder(), auto_fit=False) as store:
        store.add(sentences(N), ids=IDS, metadata=[{"n": i} for i in range(N)])
        store.add(sentences(9), ids=IDS[:9], metadata=[{"n": -1}] * 9, tenant="other")
        store.delete(["id7"])
    return path


@pytest.fixture
def store(path):
    with Store.open(path, "r", encoder=WordEncoder()) as opened:
        yield opened


@pytest.mark.parametrize("ids", [[], ["none"], ["id7"], ["id3"], IDS[5:20], ["id3", "id3", "none"], IDS])
@pytest.mark.parametrize("where", [None, {"n": {"$lt": 10}}])
def test_only_these_ids_are_hits(store, ids, where):
    every = store.search("apple river stone", N, where=where, n_candidates=N)
    expected = [hit for hit in every if hit.id in ids]
    assert store.search("apple river stone", N, where=where, ids=ids, n_candidates=N) == expected
    assert store.search("apple river stone", 4, where=where, ids=iter(ids), n_candidates=N) == expected[:4]


def test_ids_are_a_tenants(store):
    hits = store.search("apple", 20, ids=IDS, tenant="other")
    assert {(hit.tenant, hit.metadata["n"]) for hit in hits} == {("other", -1)}
    assert len(hits) == 9
    with pytest.raises(InvalidInput, match="tenant"):
        store.search("apple", ids=IDS, tenant=ALL_TENANTS)


def test_ids_of_a_store_without_rows(tmp_path):
    with Store.open(tmp_path / "store.binrag", dim=3) as store:
        assert store.search([1, 2, 3], ids=["a"]) == []


@pytest.mark.parametrize("ids", ["id3", 3, [3]])
def test_ids_that_are_none(store, ids):
    with pytest.raises(InvalidInput, match="ids"):
        store.search("apple", ids=ids)


@pytest.mark.parametrize("keep", ["float16", "int8", "none"])
@pytest.mark.parametrize("diversity", [0, 0.3, 1])
def test_hits_are_chosen_as_the_reference_chooses(tmp_path, keep, diversity):
    vectors = vectors_of(60, 16, seed=2) + 1
    with Store.open(tmp_path / "store.binrag", keep_vectors=keep, dim=16) as store:
        store.add(vectors=vectors, ids=IDS[:60])
        query = vectors_of(1, 16, seed=3)[0]
        best = store.search(query, 12)
        if keep == "none":  # what a sign code stands for is the row's signs, rescaled
            stored = np.sign(reference.unit(vectors))
            stored = {i: v / abs(np.dot(v, u)) for i, v, u in zip(IDS, stored, reference.unit(vectors), strict=False)}
        else:
            stored = store.vectors(IDS[:60])
        places = reference.mmr([hit.score for hit in best], [stored[hit.id] for hit in best], 6, diversity)
        assert ids_of(store.search(query, 6, diversity=Mmr(diversity, n_pool=12))) == [best[i].id for i in places]
        assert store.search(query, 6, diversity=Mmr(0)) == best[:6]
        assert len(store.search(query, 60, diversity=Mmr(0.5, n_pool=1))) == 60


def test_near_copies_make_room_for_others(tmp_path):
    rows = np.repeat(np.eye(8, dtype=np.float32), 5, axis=0) + vectors_of(40, 8, seed=1) * 0.01
    query = np.array([1.0, 0.9, 0.8, 0.7, 0, 0, 0, 0])
    with Store.open(tmp_path / "store.binrag") as store:
        store.add(vectors=rows, ids=IDS[:40], metadata=[{"source": i // 5} for i in range(40)])
        plain = {hit.metadata["source"] for hit in store.search(query, 4)}
        diverse = {hit.metadata["source"] for hit in store.search(query, 4, diversity=Mmr(0.5))}
    assert (plain, diverse) == ({0}, {0, 1, 2, 3})


def test_diversity_has_to_be_one(store):
    with pytest.raises(InvalidInput, match="Mmr"):
        store.search("apple", diversity=0.5)


COPIES = {"pickle": lambda store: pickle.loads(pickle.dumps(store)), "copy": copy.copy, "deepcopy": copy.deepcopy}
both = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@both
def test_a_copy_is_another_handle(store, copied):
    other = copied(store)
    assert other.search("apple river") == store.search("apple river")
    assert (other.mode, other.path) == ("r", store.path)
    store.close()
    assert other.count() == N - 1
    other.close()


@both
def test_a_copy_has_the_same_settings(tmp_path, copied):
    opened = partial(Store.open, tmp_path / "store.binrag", "x", tenant="acme", durability="os", n_threads=1)
    with opened(lock_timeout=3.0) as store, copied(store) as other:
        other.add(["text"], vectors=[[1.0, 2.0]], ids=["a"])
        assert store.get(["a"])[0].tenant == "acme"
        assert other.mode == "rw"
        assert other.options == store.options


def test_a_deep_copy_shares_the_encoder(store):
    with copy.deepcopy(store) as other:
        assert other._handle.encoder.encoder is store._handle.encoder.encoder


@both
def test_a_closed_store_has_no_copy(store, copied):
    store.close()
    with pytest.raises(StoreClosed):
        copied(store)
