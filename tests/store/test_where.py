"""Filters in the store: what they choose equals a predicate over a dict, whatever happened to the rows before."""

import random

import numpy as np
import pytest
from words_oracle import WordsOracle

from binrag import InvalidFilter, InvalidInput, InvalidMetadata, ReadOnlyStore, Store
from binrag.filters import matches, parse
from binrag.store import entries

DIM = 8
N = 8600
RNG = np.random.default_rng(1)
VECTORS = RNG.standard_normal((N, DIM)).astype(np.float32)
FILTERS = [
    {"year": 2003},
    {"year": {"$gte": 2004}},
    {"year": {"$in": [2001, 2009]}, "lang": "en"},
    {"lang": {"$ne": "en"}},
    {"$or": [{"year": 2000}, {"lang": "fr"}]},
    {"author.name": "n7"},
    {"tags": {"$contains": "red"}},
    {"missing": {"$exists": False}},
    {"note": {"$text": "needle"}},
    {"nothing": 1},
    {},
]
QUERIES = ["stone", "river apple", "number 3 river", "the", "number 4000"]


def metadata_of(i, rng):
    found = {"year": 2000 + rng.randrange(10), "lang": rng.choice(["en", "fr", "de"])}
    if i % 3 == 0:
        found["author"] = {"name": f"n{i % 40}"}
    if i % 5 == 0:
        found["tags"] = rng.sample(["red", "green", "blue"], 2)
    if i % 7 == 0:
        found["note"] = "hay " * rng.randrange(100) + rng.choice(["needle", "straw"])
    return found if i % 11 else {}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kb.binrag"


def check(store, held, _=None, n_filters=3, k=12):
    """Some filters choose what the predicate does: by search, count and iter."""
    query = RNG.standard_normal(DIM).astype(np.float32)
    for where in random.sample(FILTERS, n_filters):
        wanted = {id_ for id_, metadata in held.items() if matches(parse(where), metadata)}
        assert store.count(where=where) == len(wanted), where
        if len(wanted) < 1000:
            own = {document.id: document.metadata for document in store.iter(where=where)}
            assert own == {id_: held[id_] for id_ in wanted}
        hits = store.search(query, k, where=where)
        assert len(hits) == min(k, len(wanted)), where
        assert all(hit.metadata == held[hit.id] and hit.id in wanted for hit in hits)


def text_of(name):
    """Some words that many documents hold, and one that two do."""
    i = int(name)
    return f"number {i // 2} {'river ' * (i % 4)}{'stone ' * (i % 3 == 0)}{'apple' if i % 50 == 0 else ''}"


def check_words(store, held, oracle):
    """A filter chooses what the predicate does among those that hold a word, and among all by both legs."""
    oracle.follow(store)
    assert {document.id: document.metadata for document in oracle.documents} == held
    vector = RNG.standard_normal(DIM).astype(np.float32)
    oracle.check(store, random.choice(QUERIES), vector, k=12, where=random.choice(FILTERS))


def check_order(store, held):
    """Filtered hits are those of the whole store that match, in its order, with its scores."""
    query = RNG.standard_normal(DIM).astype(np.float32)
    everything = store.search(query, len(held))
    assert len(everything) == len(held)
    for where in FILTERS:
        wanted = [hit for hit in everything if matches(parse(where), held[hit.id])]
        assert store.search(query, len(wanted) or 1, where=where) == wanted


@pytest.mark.parametrize("lexical", [None, "en"])
def test_filters_choose_what_the_predicate_does(path, lexical):
    """With an index of words: folded once, and rows since."""
    check_all = check_words if lexical else check
    rng, n = random.Random(2), 4400 if lexical else N
    random.seed(4)
    held = {str(i): metadata_of(i, rng) for i in range(n)}
    ids, oracle = list(held), WordsOracle()
    with Store.open(path, "x", dim=DIM, lexical=lexical) as store, Store.open(path, "r") as other:

        def add(names):
            texts, metadata = [text_of(name) for name in names], [held[name] for name in names]
            store.add(texts, vectors=VECTORS[[int(n) for n in names]], ids=names, metadata=metadata, progress=False)

        known = {}
        for first, stop in ((0, 3), (3, 4000), (4000, 4090), (4090, 4100), (4100, n - 200), (n - 200, n)):
            add(ids[first:stop])
            known |= {name: held[name] for name in ids[first:stop]}
            check_all(other, known, oracle)
        # replaced: in full blocks, in the tail, and both at once
        for names in (ids[5:9], ids[-5:], [ids[1], ids[-1]]):
            for name in names:
                held[name] = {"year": 2003, "lang": "xx"}
            add(names)
        check_all(other, held, oracle)
        for where in ({"year": 2003, "lang": "en"}, {"tags": {"$contains": "blue"}}):
            gone = [name for name in held if matches(parse(where), held[name])]
            assert store.delete(where=where) == len(gone) > 10
            for name in gone:
                del held[name]
            check_all(other, held, oracle)
        for changed in (list(held)[:3], list(held)[-3:], list(held)[::200]):
            assert store.update_metadata({"year": 2000, "fresh": [1]}, changed, remove=["lang"]) == len(changed)
            for name in changed:
                held[name] = {**held[name], "year": 2000, "fresh": [1]}
                held[name].pop("lang", None)
            check_all(other, held, oracle)
        order = [document.id for document in other.iter()]
        chosen = [name for name in held if held[name].get("lang") == "fr"]
        assert store.update_metadata({"lang": "de"}, where={"lang": "fr"}, replace=True) == len(chosen) > 100
        held |= {name: {"lang": "de"} for name in chosen}
        check_all(other, held, oracle)
        check_order(other, held)
        assert [document.id for document in other.iter()] == order
    with Store.open(path, "r") as store:
        check(store, held, n_filters=len(FILTERS))
        check_all(store, held, oracle)
        assert oracle.n_folds == (1 if lexical else 0)


def test_a_file_without_the_metadata_part_is_read_from_its_documents(path, monkeypatch):
    rng = random.Random(3)
    n = 5000
    held = {str(i): metadata_of(i, rng) for i in range(n)}
    with monkeypatch.context() as patch:
        patch.setattr("binrag.store.writer.put_metadata", lambda *arguments: None)
        with Store.open(path, dim=DIM) as store:
            store.add(vectors=VECTORS[:n], ids=list(held), metadata=held.values(), progress=False)
            with store._handle.database.reading() as reading:
                assert list(reading.blocks(entries.PART)) == []
    with Store.open(path) as store:
        check(store, held)
        store.update_metadata({"year": 2003}, ["17"])
        held["17"]["year"] = 2003
        check(store, held)


def test_a_transaction_sees_what_it_has_written(path):
    with Store.open(path, dim=DIM) as store:
        store.add(vectors=VECTORS[:4], ids=list("abcd"), metadata=[{"n": i} for i in range(4)])
        with store.transaction():
            assert store.count(where={"n": {"$gt": 1}}) == 2
            store.add(vectors=VECTORS[4:6], ids=list("ef"), metadata=[{"n": 9}] * 2)
            assert store.count(where={"n": {"$gt": 1}}) == 4
            assert store.delete(where={"n": {"$lt": 2}}) == 2
            assert store.update_metadata({"n": 0}, ["c"]) == 1
            assert [document.id for document in store.iter(where={"n": {"$ne": 9}})] == ["c", "d"]
            assert {hit.id for hit in store.search(VECTORS[0], where={"n": {"$lt": 2}})} == {
                "a",
                "b",
            }  # the last commit
        assert {hit.id for hit in store.search(VECTORS[0], where={"n": {"$lt": 3}})} == {"c"}
        with pytest.raises(KeyError), store.transaction():
            store.update_metadata({"n": 5}, where={})
            assert store.count(where={"n": 5}) == 4
            raise KeyError
        assert store.count(where={"n": 5}) == 0


def test_what_is_refused_changes_nothing(path):
    with Store.open(path, dim=DIM) as store:
        store.add(vectors=VECTORS[:2], ids=["a", "b"], metadata=[{"n": 1}, {"n": 2}])
        refused = [
            (InvalidInput, "neither ids nor where", lambda: store.delete()),
            (InvalidInput, "neither ids nor where", lambda: store.update_metadata({"n": 3})),
            (InvalidInput, "ids is 'a'", lambda: store.update_metadata({"n": 3}, "a")),
            (InvalidInput, "metadata is a list", lambda: store.update_metadata([("n", 3)], ["a"])),
            (InvalidInput, "to be set and to be removed", lambda: store.update_metadata({"n": 3}, ["a"], remove=["n"])),
            (InvalidInput, "remove is 'n'", lambda: store.update_metadata({}, ["a"], remove="n")),
            (InvalidMetadata, "metadata of '[ab]'", lambda: store.update_metadata({"n": {1, 2}}, ["b", "a"])),
            (InvalidFilter, "nope", lambda: store.delete(where={"n": {"$nope": 1}})),
            (InvalidFilter, "list", lambda: store.count(where=[1])),
            (InvalidFilter, "and", lambda: store.search(VECTORS[0], where={"$and": 3})),
        ]
        for kind, message, call in refused:
            with pytest.raises(kind, match=message):
                call()
        assert {document.id: document.metadata for document in store.iter()} == {"a": {"n": 1}, "b": {"n": 2}}
    with Store.open(path, "r") as store:
        for call in (lambda: store.delete(where={}), lambda: store.update_metadata({}, where={})):
            with pytest.raises(ReadOnlyStore):
                call()


def test_ids_and_a_filter_must_both_hold(path):
    with Store.open(path, dim=DIM) as store:
        store.add(vectors=VECTORS[:4], ids=list("abcd"), metadata=[{"n": i % 2} for i in range(4)])
        assert store.update_metadata({"seen": True}, ["a", "b", "zzz"], where={"n": 0}) == 1
        assert store.delete(["a", "b", "c", "a"], where={"n": 0}) == 2
        assert [document.id for document in store.iter()] == ["b", "d"]
        assert store.delete(where={}) == 2
        assert store.count() == 0


def test_filters_that_are_equal_and_mean_different_things(path):
    with Store.open(path, dim=DIM) as store:
        store.add(vectors=VECTORS[:2], ids=["a", "b"], metadata=[{"n": b"\x01"}, {"n": [1.0]}])
        for value, found in ((1, 2), (1.0, 1), (True, 2)):
            assert store.count(where={"n": {"$contains": value}}) == found
