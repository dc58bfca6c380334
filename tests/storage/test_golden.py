"""Stores that were written by each format version still hold what they held, and answer what they answered."""

import base64
import gzip
import json
import sqlite3
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

import pytest
from golden.make import ALL_TYPES, ENCODERS, LEGS

from binrag import ALL_TENANTS, Store, verify
from binrag.storage.schema import FORMAT_VERSION

FOLDER = Path(__file__).parent.parent / "golden"
VERSIONS = range(FORMAT_VERSION + 1)
NAMES = {0: ["signs", "tables", "block", "tokens", "words"]}
READERS = {"$bytes": base64.b64decode, "$datetime": datetime.fromisoformat, "$date": date.fromisoformat}


def parsed(fields):
    """Read what stands for a type that JSON lacks."""
    ((key, value),) = fields.items() if len(fields) == 1 else [("", None)]
    return READERS[key](value) if key in READERS else fields


EXPECTED = {
    version: json.loads((FOLDER / f"expected-{version}.json").read_text(encoding="utf-8"), object_hook=parsed)
    for version in VERSIONS
}


@pytest.fixture(params=[(version, name) for version in VERSIONS for name in NAMES[version]], ids="{0[1]}-{0[0]}".format)
def golden(request, path):
    """A copy of a golden store, and what is expected of it."""
    version, name = request.param
    path.write_bytes(gzip.decompress((FOLDER / f"{name}-{version}.store.gz").read_bytes()))
    return path, {**EXPECTED[version][name], "name": name}


def opened(path, expected, mode="r"):
    return Store.open(path, mode, encoder=ENCODERS.get(expected["name"]))


def check_answers(store, expected, is_anew=False):
    """`is_anew`: the statistics of words are those of other rows, and with them their scores."""
    legs = LEGS.get(expected["name"], "dense")
    for answer in expected["answers"]:
        selection = {key: answer[key] for key in ("where", "tenant") if key in answer}
        assert store.count(**selection) == answer["count"], selection
        for query, hits in zip(expected["queries"], answer["hits"], strict=True):
            found = store.search(query, 5, legs=legs, **selection)
            if is_anew and legs == "lexical":
                assert {hit.id for hit in found} == {id_ for id_, _ in hits}, selection
                continue
            assert [hit.id for hit in found] == [id_ for id_, _ in hits], selection
            assert [hit.score for hit in found] == pytest.approx([score for _, score in hits], abs=1e-6)


def test_documents_are_what_they_were(golden):
    path, expected = golden
    with opened(path, expected) as store:
        found = [[d.tenant, d.id, d.text, d.metadata] for d in store.iter(tenant=ALL_TENANTS)]
        assert repr(found) == repr(expected["documents"])  # 1, 1.0 and True are told apart
        assert (store.info().binarizer, store.info().n_truncated) == (expected["binarizer"], expected["n_truncated"])


def test_ledger_entries_are_what_they_were(golden):
    path, expected = golden
    has_entries = expected["name"] == "signs"
    with opened(path, expected) as store:
        assert store.ledger("pages").keys() == (["d0", "d2"] if has_entries else [])
        assert store.ledger("pages").keys(groups=["first"]) == (["d0"] if has_entries else [])
        assert store.ledger("pages", tenant="acme").exists(["d0", "d2"]) == [False, has_entries]


def test_answers_are_what_they_were(golden):
    path, expected = golden
    with opened(path, expected) as store:
        check_answers(store, expected)
    assert verify(path) == []


def test_a_golden_store_can_be_written_and_compacted(golden):
    path, expected = golden
    with opened(path, expected, "rw") as store:
        vector = [1.0] * store.info().dim
        if expected["name"] == "tokens":
            vector = [vector] * 2
        n = store.count(tenant=ALL_TENANTS)
        store.add(["new"], vectors=[vector], ids=["new"], metadata=[{"new": True}])
        assert store.search(vector, 1, where={"new": True})[0].id == "new"
        assert store.delete(["new"]) == 1
        assert store.compact().n_dropped > 0
        assert store.count(tenant=ALL_TENANTS) == n
        check_answers(store, expected, is_anew=True)
    assert verify(path) == []


def test_the_golden_stores_have_what_they_are_for():
    """A full block, a tail, bytes beyond the words of codes, named tenants, tokens, an index of words, all types."""
    parts = {}
    for name in NAMES[0]:
        data = gzip.decompress((FOLDER / f"{name}-0.store.gz").read_bytes())
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(data)
            assert connection.execute("PRAGMA user_version").fetchone() == (0,)
            parts[name] = {part for (part,) in connection.execute("SELECT DISTINCT part FROM blocks")}
            assert connection.execute("SELECT count(*) FROM tail").fetchone()[0] > 0
            rest = connection.execute("SELECT max(length(rest)) FROM tail").fetchone()[0]
            assert (rest > 0) == (name == "tables")
    assert parts == {
        "signs": {"live", "metadata"},
        "tables": {"live"},
        "block": {"codes", "rescale", "live", "metadata"},
        "tokens": {"live"},
        "words": {"live", "lexical"},
    }
    first = EXPECTED[0]["signs"]["documents"][0]
    assert repr(first) == repr([None, "d0", "every type of metadata", ALL_TYPES])
