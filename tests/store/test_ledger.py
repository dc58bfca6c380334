"""The ledger: what an indexer has written, in the same file and the same transactions as the documents."""

import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import binrag
from binrag import CorruptStore, InvalidInput, ReadOnlyStore, Store, StoreClosed

KEYS = [f"k{i}" for i in range(6)]
GROUPS = ["a", "b", None]


@pytest.fixture
def store(path):
    with Store.open(path) as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands at 1,000 seconds until it is set."""
    now = [1000.0]
    monkeypatch.setattr("binrag.store.ledger.time.time_ns", lambda: round(now[0] * 1e9))
    return now


key_lists = st.lists(st.sampled_from(KEYS), max_size=5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), key_lists, st.sampled_from(GROUPS), st.integers(-2, 3)),
        st.tuples(st.just("delete"), key_lists, st.none(), st.just(0)),
        st.tuples(st.just("reopen"), st.just([]), st.none(), st.just(0)),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, at=st.integers(997, 1010), groups=st.none() | st.lists(st.sampled_from(["a", "b", "c"])))
def test_it_is_a_dict_from_key_to_group_and_time(tmp_path_factory, clock, steps, at, groups):
    path = tmp_path_factory.mktemp("ledger") / "store.binrag"
    expected, clock[0], newest = {}, 1000.0, 0.0
    store = Store.open(path)
    for kind, keys, group, tick in steps:
        ledger = store.ledger("pages")
        if kind == "put":
            clock[0] += tick  # a clock may go back
            newest = max([clock[0], *(round(moment + 1e-6, 6) for _, moment in expected.values())])
            ledger.put(keys, [group] * len(keys))
            expected |= dict.fromkeys(keys, (group, newest))
        elif kind == "delete":
            assert ledger.delete(keys) == len(expected.keys() & set(keys))
            expected = {key: entry for key, entry in expected.items() if key not in keys}
        else:
            store.close()
            store = Store.open(path)
    ledger, other = store.ledger("pages"), store.ledger("others")
    assert ledger.exists(KEYS) == [key in expected for key in KEYS]
    assert ledger.time() == max([clock[0], *(round(moment + 1e-6, 6) for _, moment in expected.values())])
    assert other.keys() == store.ledger("pages", tenant="acme").keys() == []
    wanted = [None] if groups is None else dict.fromkeys(groups)

    def selected(keep):
        return [
            key
            for wish in wanted
            for key, (group, moment) in sorted(expected.items())
            if wish in (None, group) and keep(moment)
        ]

    assert ledger.keys(groups=groups) == selected(lambda moment: True)
    assert ledger.keys(groups=groups, before=at) == selected(lambda moment: moment < at)
    assert ledger.keys(groups=groups, after=at) == selected(lambda moment: moment > at)
    assert ledger.keys(groups=groups, after=at - 3, before=at, limit=2) == selected(lambda m: at - 3 < m < at)[:2]
    store.close()
    assert binrag.verify(path) == []


def test_times_are_those_of_the_clock(store):
    ledger = store.ledger("pages")
    before = time.time()
    ledger.put(["k"])
    assert before - 0.001 <= ledger.time() <= time.time() + 0.001
    assert ledger.keys(before=before) == []
    assert ledger.keys(after=before - 1) == ["k"]


def test_a_deleted_document_is_no_entry(store):
    store.add(vectors=np.eye(4), ids=list("abcd"), metadata=[{"n": i} for i in range(4)])
    store.add(vectors=np.eye(4), ids=list("abcd"), tenant="acme")
    for namespace, tenant in (("pages", None), ("others", None), ("pages", "acme")):
        store.ledger(namespace, tenant=tenant).put(["a", "b", "c", "x"])
    with pytest.raises(RuntimeError), store.transaction():
        store.delete(["a"])
        raise RuntimeError
    assert store.ledger("pages").exists(["a"]) == [True]
    store.delete(["a", "x", "none"])
    store.delete(where={"n": 1})
    store.add(vectors=np.eye(4)[:1], ids=["c"])  # replaced, not deleted
    for namespace, tenant, left in (("pages", None, "cx"), ("others", None, "cx"), ("pages", "acme", "abcx")):
        assert store.ledger(namespace, tenant=tenant).keys() == list(left)


def test_many_keys(store):
    keys = [f"k{i:04}" for i in range(1700)]
    ledger = store.ledger("pages")
    ledger.put(keys, [f"g{i % 700}" for i in range(1700)])
    assert ledger.keys() == keys
    assert sorted(ledger.keys(groups=[f"g{i}" for i in range(700)])) == keys
    assert ledger.exists(["none", *keys]) == [False, *[True] * 1700]
    assert ledger.delete([*keys[:1600], "none"]) == 1600
    assert ledger.keys() == keys[1600:]


def test_it_commits_with_the_documents(store, path):
    ledger = store.ledger("pages")
    with pytest.raises(RuntimeError), store.transaction():
        store.add(vectors=np.eye(4), ids=list("abcd"))
        ledger.put(["a"])
        assert ledger.exists(["a"]) == [True]
        assert ledger.keys() == ["a"]
        raise RuntimeError
    assert (ledger.keys(), store.count()) == ([], 0)
    with store.transaction(), Store.open(path, "r") as other:
        store.add(vectors=np.eye(4), ids=list("abcd"))
        ledger.put(["a"])
        assert other.ledger("pages").keys() == []
    with Store.open(path, "r") as other:
        assert (other.ledger("pages").keys(), other.count()) == (["a"], 4)


def test_a_tenants_handle_has_its_own(store, path):
    store.ledger("pages", tenant="acme").put(["k"])
    with Store.open(path, tenant="acme") as own:
        assert own.ledger("pages").keys() == ["k"]
        with pytest.raises(InvalidInput, match="tenant"):
            own.ledger("pages", tenant="other")
    assert store.ledger("pages").keys() == []


def test_a_backup_and_a_compaction_keep_it(store, tmp_path):
    store.add(vectors=np.eye(4), ids=list("abcd"))
    store.ledger("pages").put(["k"], ["g"])
    store.delete(["a"])
    store.compact()
    store.backup(tmp_path / "copy.binrag")
    with Store.open(tmp_path / "copy.binrag", "r") as copy:
        assert copy.ledger("pages").keys(groups=["g"]) == ["k"]


def sql(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.fixture
def filled(path):
    with Store.open(path) as store:
        store.add(["one", "two"], vectors=np.eye(2), ids=["d0", "d1"])
        store.ledger("pages").put(["d0", "d1"], ["g", None])
    return path


@pytest.mark.parametrize(
    "damage", ["updated = updated + 1", "group_id = 'h'", "key = CAST(x'ff' AS TEXT)", "updated = 'x'", "tenant = 'x'"]
)
def test_damage_is_found_and_left_out_of_a_repair(filled, tmp_path, damage):
    sql(filled, f"UPDATE ledger SET {damage} WHERE key = 'd0'")
    (finding,) = binrag.verify(filled)
    assert (finding.kind, "ledger entry" in finding.place) == ("checksum", True)
    if damage != "tenant = 'x'":
        with Store.open(filled, "r") as store, pytest.raises(CorruptStore):
            store.ledger("pages").keys()
    done = binrag.repair(filled, tmp_path / "new.binrag")
    assert done.n_lost == 0
    with Store.open(tmp_path / "new.binrag", "r") as store:
        assert store.ledger("pages").keys() == ["d1"]


def test_a_time_that_is_none_is_a_typed_error(filled):
    sql(filled, "UPDATE ledger SET updated = 'later' WHERE key = 'd0'")
    with Store.open(filled) as store:
        for use in (store.ledger("pages").time, lambda: store.ledger("pages").put(["d2"])):
            with pytest.raises(CorruptStore, match="an entry whose time is 'later'"):
                use()


def test_a_repair_that_loses_documents_leaves_the_ledger_out(filled, tmp_path):
    sql(filled, "UPDATE documents SET text = 'other' WHERE id = 'd0'")
    done = binrag.repair(filled, tmp_path / "new.binrag")
    assert done.n_lost == 1
    assert "the ledger" in [finding.place for finding in done.findings]
    with Store.open(tmp_path / "new.binrag", "r") as store:
        assert (store.count(), store.ledger("pages").keys()) == (1, [])


def test_bad_input(store, path):
    ledger = store.ledger("pages")
    for call in [
        lambda: store.ledger(3),
        lambda: store.ledger("x" * 1025),
        lambda: store.ledger("\ud800"),
        lambda: ledger.put("k"),
        lambda: ledger.put(["k", 1]),
        lambda: ledger.put(["k"], ["a", "b"]),
        lambda: ledger.put(["k"], [1]),
        lambda: ledger.put(["k"], not_before="now"),
        lambda: ledger.put(["k"], not_before=time.time() + 60),
        lambda: ledger.exists("k"),
        lambda: ledger.keys(limit=0),
        lambda: ledger.keys(before=float("nan")),
        lambda: ledger.keys(groups=[None]),
        lambda: ledger.delete("k"),
    ]:
        with pytest.raises(InvalidInput):
            call()
    assert ledger.keys() == []
    with Store.open(path, "r") as reader:
        for call in (lambda: reader.ledger("pages").put(["k"]), lambda: reader.ledger("pages").delete(["k"])):
            with pytest.raises(ReadOnlyStore):
                call()
    assert repr(ledger) == f"Ledger({str(path)!r}, 'pages')"
    store.close()
    with pytest.raises(StoreClosed):
        ledger.keys()
