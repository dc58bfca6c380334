import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_binrag import BinragRecordManager, BinragVectorStore
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from binrag import ALL_TENANTS, ReadOnlyStore, Store

MODES = [None, "incremental", "full", "scoped_full"]


@pytest.fixture
def vectorstore(tmp_path: Path) -> Iterator[BinragVectorStore]:
    made = BinragVectorStore(tmp_path / "kb.binrag", DeterministicFakeEmbedding(size=8))
    yield made
    made.close()


def page(text: str) -> Document:
    """A document; its text begins with its source."""
    return Document(page_content=text, metadata={"source": text[0]})


BEFORE = [page(text) for text in ("a one", "a two", "b one", "b two", "c one")]
AFTER = [page(text) for text in ("a one", "a new", "b three", "c one", "c two")]


def arguments_of(cleanup: str | None, **kwargs: Any) -> dict[str, Any]:
    return {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256", "batch_size": 2, **kwargs}


def texts_of(vectorstore: BinragVectorStore) -> list[str]:
    return sorted(document.text for document in vectorstore.store.iter(tenant=ALL_TENANTS))


STEPS = [(BEFORE, {}), (BEFORE, {}), (AFTER, {}), (AFTER[:2], {"force_update": True}), (BEFORE, {}), ([], {})]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("cleanup", MODES)
async def test_indexing_does_what_it_does_in_memory(
    vectorstore: BinragVectorStore, cleanup: str | None, is_async: bool
) -> None:
    records, memory = BinragRecordManager(vectorstore, "pages"), InMemoryRecordManager("pages")
    reference = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    records.create_schema()
    await records.acreate_schema()
    for documents, options in STEPS:
        expected = index(documents, memory, reference, **arguments_of(cleanup, **options))
        if is_async:
            done = await aindex(documents, records, vectorstore, **arguments_of(cleanup, **options))
        else:
            done = index(documents, records, vectorstore, **arguments_of(cleanup, **options))
        assert done == expected
        assert texts_of(vectorstore) == sorted(entry["text"] for entry in reference.store.values())
        assert sorted(records.list_keys()) == sorted(memory.records)


class Died(BaseException):
    """Stands for the end of the process."""


WRITES = [
    (BinragVectorStore, "add_documents"),
    (BinragVectorStore, "delete"),
    (BinragRecordManager, "update"),
    (BinragRecordManager, "delete_keys"),
]


def dying_at(monkeypatch: pytest.MonkeyPatch, n: int) -> list[str]:
    """Make the n-th write, counted from 0, raise before it does anything; return the writes that were begun."""
    begun: list[str] = []

    def dying(name: str, write: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            begun.append(name)
            if len(begun) > n:
                raise Died
            return write(*args, **kwargs)

        return called

    for kind, name in WRITES:
        monkeypatch.setattr(kind, name, dying(name, getattr(kind, name)))
    return begun


@pytest.mark.parametrize("cleanup", MODES)
def test_whatever_write_it_dies_before_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: str | None
) -> None:
    """A next run stores all that it is given, the new documents or the old ones again.

    It clears away as ever, but for what was added without a record and is not seen again.
    """
    last: list[str] = []
    for n in range(100):
        for then in (AFTER, BEFORE):
            vectorstore = BinragVectorStore(tmp_path / f"{n} {then is AFTER}", DeterministicFakeEmbedding(size=8))
            records = BinragRecordManager(vectorstore, "pages")
            index(BEFORE, records, vectorstore, **arguments_of(cleanup))
            with monkeypatch.context() as patch:
                begun = dying_at(patch, n)
                try:
                    index(AFTER, records, vectorstore, **arguments_of(cleanup))
                    finished = True
                except Died:
                    finished = False
                    last.append(begun[-1])
            index(then, records, vectorstore, **arguments_of(cleanup))
            found, wanted = texts_of(vectorstore), {document.page_content for document in then}
            assert wanted <= set(found), (n, begun)
            if cleanup == "full" and then is AFTER:
                assert wanted == set(found), (n, begun)
            unknown = {document.id for document in vectorstore.store.iter()} - set(records.list_keys())
            assert records.exists([*unknown]) == [False] * len(unknown)
            assert len(records.list_keys()) + len(unknown) == len(found)  # no record of what is not there
            assert not unknown or (then is BEFORE and begun[-2:] == ["add_documents", "update"]), (n, begun)
            vectorstore.close()
        if finished:
            break
    assert set(last) == {name for _, name in WRITES if cleanup or not name.startswith("delete")}


@pytest.mark.parametrize("n", [1, 5, 7])
def test_in_a_transaction_all_or_nothing_is_written(
    vectorstore: BinragVectorStore, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    records = BinragRecordManager(vectorstore, "pages")
    with vectorstore.store.transaction():
        assert index(BEFORE, records, vectorstore, **arguments_of("incremental"))["num_added"] == 5
        assert len(records.list_keys()) == 5
        with Store.open(vectorstore.store.path, "r") as other:
            assert (other.count(), other.ledger("pages").keys()) == (0, [])
    before, keys = texts_of(vectorstore), records.list_keys()
    with monkeypatch.context() as patch, pytest.raises(Died), vectorstore.store.transaction():
        dying_at(patch, n)
        index(AFTER, records, vectorstore, **arguments_of("incremental"))
    assert (texts_of(vectorstore), records.list_keys()) == (before, keys)
    with vectorstore.store.transaction():
        index(AFTER, records, vectorstore, **arguments_of("incremental"))
    assert texts_of(vectorstore) == sorted(document.page_content for document in AFTER)


KILLED = """
import os, sys
from langchain_binrag import BinragRecordManager, BinragVectorStore
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import index

vectorstore = BinragVectorStore(sys.argv[1], DeterministicFakeEmbedding(size=8))
records = BinragRecordManager(vectorstore, "pages")
records.delete_keys = lambda keys: os._exit(9)
index([], records, vectorstore, cleanup="full", key_encoder="sha256")
"""


def test_killed_between_the_deletions_documents_come_back(vectorstore: BinragVectorStore) -> None:
    records = BinragRecordManager(vectorstore, "pages")
    index(BEFORE, records, vectorstore, **arguments_of("full"))
    killed = subprocess.run([sys.executable, "-c", KILLED, vectorstore.store.path], check=False)
    assert killed.returncode == 9
    assert (vectorstore.store.count(), records.list_keys()) == (0, [])
    assert index(BEFORE, records, vectorstore, **arguments_of("full"))["num_added"] == 5
    assert vectorstore.store.count() == 5


def test_a_clock_that_goes_back_does_not_keep_what_is_to_go(
    vectorstore: BinragVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = BinragRecordManager(vectorstore, "pages")
    for seconds, documents in ((2000, BEFORE), (1000, AFTER), (1000, BEFORE)):
        monkeypatch.setattr("time.time_ns", lambda seconds=seconds: seconds * 10**9)
        index(documents, records, vectorstore, **arguments_of("full"))
        assert texts_of(vectorstore) == sorted(document.page_content for document in documents)


async def test_the_interface(vectorstore: BinragVectorStore) -> None:
    records = BinragRecordManager(vectorstore.store, "pages")
    start = records.get_time()
    assert start < 4e9
    records.update(["a", "b"], group_ids=["g", None], time_at_least=start)
    between = await records.aget_time()
    await records.aupdate(("c",), group_ids=("h",))
    assert records.namespace == "pages"
    assert records.exists(["c", "x", "a"]) == await records.aexists(["c", "x", "a"]) == [True, False, True]
    for given, expected in (
        ({}, ["a", "b", "c"]),
        ({"before": start}, []),
        ({"after": start, "before": between}, ["a", "b"]),
        ({"after": between - 1e-6}, ["c"]),
        ({"group_ids": ["h", "g"]}, ["a", "c"]),
        ({"group_ids": []}, []),
        ({"limit": 2}, ["a", "b"]),
    ):
        assert sorted(records.list_keys(**given)) == sorted(await records.alist_keys(**given)) == expected
    records.delete_keys(["a", "x"])
    await records.adelete_keys(["b"])
    assert records.list_keys() == ["c"]
    assert BinragRecordManager(vectorstore, "mails").list_keys() == []


def test_bad_input_and_other_tenants(vectorstore: BinragVectorStore) -> None:
    records = BinragRecordManager(vectorstore, "pages")
    for call, message in (
        (lambda: records.update(["a", "b"], group_ids=["g"]), "2 keys and 1 groups"),
        (lambda: records.update(["a"], time_at_least=records.get_time() + 60), "clock"),
        (lambda: records.list_keys(limit=0), "limit is 0"),
        (lambda: BinragRecordManager(vectorstore, 3), "namespace is 3"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert records.list_keys() == []
    ada = BinragVectorStore(store=vectorstore.store, tenant="ada")
    for documents, target in ((BEFORE, vectorstore), (AFTER, ada), (AFTER, ada), (BEFORE[1:], vectorstore)):
        index(documents, BinragRecordManager(target, "pages"), target, **arguments_of("full"))
    assert vectorstore.store.count() == 4
    assert vectorstore.store.count(tenant="ada") == 5
    with pytest.raises(ValueError, match="for tenant 'ada' alone"):
        BinragRecordManager(ada, "pages", tenant="bob")
    assert len(BinragRecordManager(vectorstore.store, "pages", tenant="ada").list_keys()) == 5
    with Store.open(vectorstore.store.path, "r") as store, pytest.raises(ReadOnlyStore):
        BinragRecordManager(store, "pages").update(["a"])
