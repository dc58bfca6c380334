"""Tenants: each sees its own documents, whatever the others do."""

import random

import numpy as np
import pytest
from words_oracle import WordsOracle

from binrag import ALL_TENANTS, InvalidInput, Store, UnsupportedMode

DIM = 8
RNG = np.random.default_rng(0)


def vectors(n):
    return RNG.standard_normal((n, DIM)).astype(np.float32)


def ids_of(found):
    return sorted((one.tenant or "", one.id) for one in found)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kb.binrag"


def test_one_id_names_a_document_of_each_tenant(path):
    with Store.open(path) as store:
        for tenant in (None, "a", "b"):
            store.add([f"text of {tenant}"], ids=["x"], vectors=vectors(1), tenant=tenant)
        for tenant in (None, "a", "b"):
            (document,) = store.get(["x"], tenant=tenant)
            assert (document.text, document.tenant) == (f"text of {tenant}", tenant)
            (hit,) = store.search(vectors(1)[0], tenant=tenant)
            assert (hit.text, hit.tenant) == (f"text of {tenant}", tenant)
            assert store.count(tenant=tenant) == 1
        assert store.count(tenant=ALL_TENANTS) == store.info().n_documents == 3
        assert len(store.search(vectors(1)[0], tenant=ALL_TENANTS)) == 3
        assert store.delete(["x"], tenant="a") == 1
        assert ids_of(store.iter(tenant=ALL_TENANTS)) == ids_of([*store.get(["x"]), *store.get(["x"], tenant="b")])
        assert store.count(tenant="a") == store.count(tenant="nobody") == 0
        assert store.search(vectors(1)[0], tenant="nobody") == []


def test_before_there_is_a_named_tenant(path):
    with Store.open(path) as store:
        store.add(vectors=vectors(3), ids=["a", "b", "c"])
        assert store.count() == 3
        assert store.count(tenant="x") == 0
        assert (
            store.search(vectors(1)[0], tenant="x")
            == store.get(["a"], tenant="x")
            == list(store.iter(tenant="x"))
            == []
        )
        assert len(store.search(vectors(1)[0], tenant=ALL_TENANTS)) == 3


def test_a_handle_of_one_tenant_sees_no_other(path):
    with Store.open(path) as store:
        store.add(["ours", "theirs"], ids=["1", "2"], vectors=vectors(2))
    with Store.open(path, tenant="a") as store:
        store.add(["mine"], ids=["1"], vectors=vectors(1))
        assert ids_of(store.iter()) == ids_of(store.get(["1", "2"])) == [("a", "1")]
        assert ids_of(store.search(vectors(1)[0], tenant="a")) == [("a", "1")]
        assert store.count() == store.info().n_documents == store.delete(where={}) == 1
        for tenant in ("b", ALL_TENANTS):
            for call in (
                lambda tenant: store.search(vectors(1)[0], tenant=tenant),
                lambda tenant: store.count(tenant=tenant),
                lambda tenant: store.iter(tenant=tenant),
                lambda tenant: store.get(["1"], tenant=tenant),
                lambda tenant: store.delete(["1"], tenant=tenant),
                lambda tenant: store.update_metadata({"a": 1}, ["1"], tenant=tenant),
                lambda tenant: store.add(["x"], vectors=vectors(1), tenant=tenant),
            ):
                with pytest.raises(InvalidInput, match="opened for tenant 'a' alone"):
                    call(tenant)
        for call in (
            lambda: store.recode("sign"),
            lambda: store.train_binarizer(),
            lambda: store.backup(path.with_suffix(".copy")),
            store.stats,
            store.probe,
        ):
            with pytest.raises(UnsupportedMode, match="about the whole file"):
                call()
    with Store.open(path) as store:
        assert store.count() == 2


@pytest.mark.parametrize("tenant", ["", 7, "x" * 1025, "\ud800", b"a"])
def test_what_is_no_name(path, tenant):
    with pytest.raises(InvalidInput, match="tenant"):
        Store.open(path, tenant=tenant)
    with Store.open(path) as store:
        for call in (
            lambda: store.add(vectors=vectors(1), tenant=tenant),
            lambda: store.search(vectors(1)[0], tenant=tenant),
            lambda: store.count(tenant=tenant),
        ):
            with pytest.raises(InvalidInput, match="tenant"):
                call()
        assert store.count(tenant=ALL_TENANTS) == 0


def test_calls_about_ids_are_about_one_tenant(path):
    with Store.open(path) as store:
        for call in (
            lambda: store.get(["a"], tenant=ALL_TENANTS),
            lambda: store.delete(["a"], tenant=ALL_TENANTS),
            lambda: store.update_metadata({}, ["a"], tenant=ALL_TENANTS),
            lambda: store.add(vectors=vectors(1), tenant=ALL_TENANTS),
        ):
            with pytest.raises(InvalidInput, match="of one; name it"):
                call()


QUERIES = ["river", "stone of t7", "i3 river river", "i4 apple t1 lake"]


def texts(ids, tenant):
    return [f"{id_} of {tenant or 'nobody'}: {'river ' * (len(id_ + str(tenant)) % 3)}stone" for id_ in ids]


@pytest.mark.parametrize(("n_tenants", "lexical"), [(1000, None), (60, "en")])
def test_many_tenants_never_meet(path, monkeypatch, n_tenants, lexical):
    """With an index of words, which is folded every few steps."""
    monkeypatch.setattr("binrag.lexical.index.MIN_TAIL", 20)
    monkeypatch.setattr("binrag.lexical.index.GROWTH", 1000)
    rng, oracle = random.Random(0), WordsOracle()
    names = [None, *(f"t{i}" for i in range(1, n_tenants))]
    held = {}  # (tenant, id) to metadata
    with Store.open(path, dim=DIM, lexical=lexical) as store, Store.open(path, "r") as reader:
        with store.transaction():
            for tenant in names:
                n = rng.randint(1, 6)
                ids = [f"i{i}" for i in rng.sample(range(8), n)]
                metadata = [{"n": rng.randint(0, 3)} for _ in ids]
                store.add(texts(ids, tenant), vectors=vectors(n), ids=ids, metadata=metadata, tenant=tenant)
                held |= {(tenant, id_): m for id_, m in zip(ids, metadata, strict=True)}
        oracle.follow(reader)
        for step in range(120):
            tenant, n = rng.choice(names), rng.randint(0, 3)
            own = {id_: m for (whose, id_), m in held.items() if whose == tenant}
            action = rng.choice(["add", "delete", "delete where", "update", "update where"])
            ids = [f"i{i}" for i in rng.sample(range(8), 3)]
            if action == "add":
                store.add(texts(ids, tenant), vectors=vectors(3), ids=ids, metadata=[{"n": n}] * 3, tenant=tenant)
                held |= {(tenant, id_): {"n": n} for id_ in ids}
            elif action == "delete":
                assert store.delete(ids, tenant=tenant) == len(set(ids) & set(own))
                held = {key: m for key, m in held.items() if key[0] != tenant or key[1] not in ids}
            elif action == "delete where":
                gone = {(tenant, id_) for id_, m in own.items() if m["n"] == n}
                assert store.delete(where={"n": n}, tenant=tenant) == len(gone)
                held = {key: m for key, m in held.items() if key not in gone}
            else:
                by = {"where": {"n": n}} if action == "update where" else {"ids": ids}
                changed = {i for i, m in own.items() if (m["n"] == n if "where" in by else i in ids)}
                assert store.update_metadata({"n": 0, "step": step}, tenant=tenant, **by) == len(changed)
                held |= {(tenant, id_): {"n": 0, "step": step} for id_ in changed}
            oracle.follow(reader)
            for whose in (tenant, rng.choice(names)):
                where = rng.choice([None, {"n": n}])
                oracle.check(reader, QUERIES[step % 4], vectors(1)[0], 1 + step % 5, tenant=whose, where=where)
                own = {(t, id_): m for (t, id_), m in held.items() if t == whose}
                hits = reader.search(vectors(1)[0], k=20, tenant=whose)
                assert {(hit.tenant, hit.id): hit.metadata for hit in hits} == own
                assert {(d.tenant, d.id): d.metadata for d in reader.iter(tenant=whose)} == own
                assert reader.count(tenant=whose) == len(own)
                assert reader.count(tenant=whose, where={"n": n}) == sum(m["n"] == n for m in own.values())
        assert {(d.tenant, d.id): d.metadata for d in reader.iter(tenant=ALL_TENANTS)} == held
        assert reader.count(tenant=ALL_TENANTS) == len(held)
        oracle.check(reader, "river stone", vectors(1)[0], k=50, tenant=ALL_TENANTS, where={"n": 1})
        assert (oracle.n_folds > 2) == (lexical is not None)
    with Store.open(path) as store:
        for tenant in rng.sample(names, 20):
            own = sorted(id_ for t, id_ in held if t == tenant)
            assert sorted(hit.id for hit in store.search(vectors(1)[0], k=20, tenant=tenant)) == own
