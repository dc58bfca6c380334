import asyncio
import copy
import inspect
import pickle
import threading
from pathlib import Path
from typing import Any

import fsspec
import llama_index.retrievers.binrag
import numpy as np
import pytest
from llama_index.core.schema import ImageNode, IndexNode, Node, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import WORDS, filters, node_of, node_of_word, where
from pydantic import ValidationError

from binrag import Store


def ids_of(store: BinragVectorStore, query: list[float], **fields: Any) -> list[str]:
    fields = {"similarity_top_k": 9, **fields}
    return store.query(VectorStoreQuery(query_embedding=query, **fields)).ids or []


def test_class() -> None:
    assert "BasePydanticVectorStore" in [base.__name__ for base in BinragVectorStore.__mro__]
    assert issubclass(BinragVectorStore, BasePydanticVectorStore)
    assert BinragVectorStore.class_name() == "BinragVectorStore"


def test_the_namespace_is_shared_with_the_framework() -> None:
    for package in (llama_index, llama_index.vector_stores, llama_index.retrievers):
        assert getattr(package, "__file__", None) is None, f"{package.__name__} must have no __init__.py"


def test_similarities_are_cosines_best_first(filled: BinragVectorStore) -> None:
    query = np.array([0.9, 0.5, 0.1])
    cosines = {f"id-{w}": v @ query / np.linalg.norm(v) / np.linalg.norm(query) for w, v in WORDS.items()}
    result = filled.query(VectorStoreQuery(query_embedding=query.tolist(), similarity_top_k=3))
    expected = sorted(cosines, key=lambda id_: -cosines[id_])[:3]
    assert result.ids == [node.node_id for node in result.nodes] == expected
    assert result.similarities == pytest.approx([cosines[id_] for id_ in expected], abs=0.01)


@pytest.mark.parametrize(
    "node",
    [
        TextNode(
            id_="n",
            text=" kept  as it is\n",
            metadata={"title": "T", "nested": {"list": [1, None, True, 0.5]}},
            excluded_embed_metadata_keys=["title"],
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id="source", metadata={"file": "a.txt"}),
                NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
            },
            start_char_idx=3,
            end_char_idx=9,
        ),
        TextNode(id_="n", text=""),
        IndexNode(id_="n", text="see there", index_id="other"),
        ImageNode(id_="n", text="a caption", image_url="http://example.org/a.png"),
        Node(id_="n", text_resource={"text": "resource"}, metadata={"a": 1}),
    ],
    ids=lambda node: type(node).__name__,
)
def test_a_node_comes_back_as_it_was(vector_store: BinragVectorStore, node: Any) -> None:
    given = node.model_copy(deep=True)
    given.embedding = [1.0, 2.0, 3.0]
    before = given.model_copy(deep=True)
    vector_store.add([given])
    (found,) = vector_store.query(VectorStoreQuery(query_embedding=[1.0, 2.0, 3.0])).nodes
    assert type(found) is type(node)
    assert found == node
    assert given == before


def test_a_text_is_stored_once(filled: BinragVectorStore) -> None:
    (stored,) = filled.client.get(["id-cat"])
    assert stored.text == "text of cat"
    assert "text of cat" not in str(stored.metadata)


def test_plain_documents_are_found_as_text_nodes(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kb.binrag") as store:
        store.add(["plain"], ids=["p"], metadata=[{"a": 1}], vectors=[[1.0, 0.0]])
        store.add(ids=["bare"], vectors=[[0.0, 1.0]])
        plain, bare = (
            BinragVectorStore(store=store).query(VectorStoreQuery(query_embedding=[1.0, 0.1], similarity_top_k=2)).nodes
        )
    assert plain == TextNode(id_="p", text="plain", metadata={"a": 1})
    assert bare == TextNode(id_="bare", text="")


def test_a_node_replaces_the_one_with_its_id(filled: BinragVectorStore) -> None:
    changed = node_of_word("sea")
    changed.id_, changed.text = "id-cat", "now of the sea"
    assert filled.add([changed]) == ["id-cat"]
    assert filled.client.count() == 4
    assert filled.client.get(["id-cat"])[0].text == "now of the sea"


def test_delete_takes_a_source_documents_nodes_in_one_commit(filled: BinragVectorStore) -> None:
    filled.add([TextNode(id_=f"many-{n}", text="x", embedding=[1.0, n, 2.0]) for n in range(600)])
    sourced = [node_of_word("cat", "c") for n in range(600)]
    for n, node in enumerate(sourced):
        node.id_ = f"c-{n}"
    filled.add(sourced)
    generation = filled.client.info().generation
    filled.delete("c")
    assert filled.client.count() == 604
    assert filled.client.info().generation == generation + 1
    filled.delete("a")
    assert sorted(ids_of(filled, [1.0, 1.0, 1.0], similarity_top_k=604))[:2] == ["id-pet", "id-sea"]
    filled.delete("unknown")
    filled.delete("id-pet")
    assert filled.client.count() == 602


def test_delete_and_add_may_share_a_transaction(filled: BinragVectorStore) -> None:
    with pytest.raises(RuntimeError, match="stop"), filled.client.transaction():
        filled.delete("a")
        filled.add([node_of_word("sea", "a")])
        raise RuntimeError("stop")
    assert sorted(ids_of(filled, [1.0, 1.0, 1.0])) == ["id-cat", "id-dog", "id-pet", "id-sea"]
    with filled.client.transaction():
        filled.delete("a")
        filled.add([node_of_word("cat", "b")])
    assert sorted(ids_of(filled, [1.0, 1.0, 1.0])) == ["id-cat", "id-pet", "id-sea"]


def test_delete_reads_no_document(filled: BinragVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "iter", None)
    filled.delete("a")
    assert filled.client.count() == 2


@pytest.mark.parametrize(
    ("node_ids", "asked", "left"),
    [
        (["id-cat", "id-sea", "?"], None, ["id-dog", "id-pet"]),
        ([], None, ["id-cat", "id-dog", "id-pet", "id-sea"]),
        (None, filters(where("ref_doc_id", "==", "a")), ["id-pet", "id-sea"]),
        (None, filters(where("ref_doc_id", "==", "?")), ["id-cat", "id-dog", "id-pet", "id-sea"]),
        (["id-cat", "id-sea"], filters(where("ref_doc_id", "==", "a")), ["id-dog", "id-pet", "id-sea"]),
        (["id-cat"], filters(), ["id-dog", "id-pet", "id-sea"]),
        ([], filters(where("ref_doc_id", "==", "a")), ["id-cat", "id-dog", "id-pet", "id-sea"]),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_delete_nodes(
    filled: BinragVectorStore, node_ids: Any, asked: Any, left: list[str], is_async: bool
) -> None:
    if is_async:
        await filled.adelete_nodes(node_ids, asked)
    else:
        filled.delete_nodes(node_ids, asked)
    assert [node.node_id for node in filled.get_nodes()] == left


def test_delete_nodes_without_saying_which_deletes_none(filled: BinragVectorStore) -> None:
    for asked in (None, filters()):
        with pytest.raises(ValueError, match=r"neither node_ids nor filters; clear\(\) deletes all"):
            filled.delete_nodes(filters=asked)
    assert filled.client.count() == 4


def test_clear_leaves_an_empty_store_that_takes_nodes(filled: BinragVectorStore) -> None:
    generation = filled.client.info().generation
    filled.clear()
    assert filled.client.info().generation == generation + 1
    assert filled.get_nodes() == []
    assert ids_of(filled, [1.0, 0.0, 0.0]) == []
    filled.add([node_of_word("cat")])
    assert ids_of(filled, [1.0, 0.0, 0.0]) == ["id-cat"]


def test_get_nodes_in_order_and_whole(filled: BinragVectorStore) -> None:
    found = filled.get_nodes(["id-sea", "?", "id-cat"])
    assert [node.node_id for node in found] == ["id-sea", "id-cat"]
    for node, word in zip(found, ("sea", "cat"), strict=True):
        given = node_of_word(word, "a" if word == "cat" else None)
        unit = np.array(given.embedding) / np.linalg.norm(given.embedding)
        assert node.embedding == pytest.approx(unit, abs=0.01)
        assert node.model_copy(update={"embedding": given.embedding}) == given
    assert filled.get_nodes([]) == []
    assert [node.node_id for node in filled.get_nodes()] == ["id-cat", "id-dog", "id-pet", "id-sea"]
    asked = filters(where("ref_doc_id", "in", ["a", "b"]))
    assert [node.node_id for node in filled.get_nodes(filters=asked)] == ["id-cat", "id-dog", "id-pet"]
    assert [node.node_id for node in filled.get_nodes(["id-sea", "id-pet", "id-cat"], asked)] == ["id-pet", "id-cat"]
    filled.add(filled.get_nodes())
    assert filled.client.count() == 4


def test_wrong_arguments_are_refused_and_store_nothing(vector_store: BinragVectorStore, tmp_path: Path) -> None:
    cat, dog = node_of_word("cat"), node_of_word("dog")
    dog.embedding = None
    with pytest.raises(ValueError, match="embedding not set"):
        vector_store.add([cat, dog])
    dog.embedding = [1.0, 2.0]
    with pytest.raises(ValueError, match="not a matrix of numbers"):
        vector_store.add([cat, dog])
    for vector, words in (([float("nan"), 1.0, 0.0], "has nan at dimension 0"), ([0.0, 0.0, 0.0], "zero")):
        dog.embedding = vector
        with pytest.raises(ValueError, match=words):
            vector_store.add([cat, dog])
    assert vector_store.client.count() == 0
    vector_store.add([cat])
    dog.embedding = [1.0, 2.0]
    for call, words in (
        (lambda: vector_store.add([dog]), "3"),
        (lambda: vector_store.add([cat], wheer=1), "add got wheer"),
        (lambda: vector_store.delete("a", wheer=1), "delete got wheer"),
        (lambda: vector_store.delete_nodes(["a"], wheer=1), "delete_nodes got wheer"),
        (lambda: vector_store.delete_nodes("id-cat"), "'id-cat'"),
        (lambda: vector_store.get_nodes("id-cat"), "'id-cat'"),
        (lambda: BinragVectorStore(), "either path"),
        (lambda: BinragVectorStore(tmp_path / "a.binrag", store=vector_store.client), "not both"),
        (lambda: BinragVectorStore(store=vector_store.client, mode="r"), "settings beside an open store"),
        (lambda: BinragVectorStore(store=vector_store.client, keep_vectors="none"), "settings beside an open store"),
        (lambda: BinragVectorStore(vector_store.path, dim=4), "dim=4"),
        (lambda: BinragVectorStore(tmp_path / "a.binrag", binarizer="signs"), "binarizer is 'signs'"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    assert vector_store.client.count() == 1
    for unknown in ({"keep_vector": "none"}, {"mode": "x"}, {"durability": "never"}):
        with pytest.raises(ValidationError, match=next(iter(unknown))):
            BinragVectorStore(tmp_path / "a.binrag", **unknown)
    with pytest.raises(FileNotFoundError):
        BinragVectorStore(tmp_path / "b.binrag", mode="r")
    assert [file.name for file in tmp_path.glob("*.binrag")] == ["kb.binrag"]


def test_a_read_only_store_is_not_written(filled: BinragVectorStore) -> None:
    reader = BinragVectorStore(filled.path, mode="r")
    for call in (
        lambda: reader.add([node_of_word("cat")]),
        lambda: reader.delete("a"),
        lambda: reader.delete_nodes(["id-cat"]),
        lambda: reader.clear(),
    ):
        with pytest.raises(PermissionError):
            call()
    assert len(reader.get_nodes()) == 4
    reader.client.close()


def test_a_closed_store_says_so(filled: BinragVectorStore) -> None:
    filled.client.close()
    for call in (
        lambda: filled.add([node_of_word("cat")]),
        lambda: filled.delete("a"),
        lambda: filled.clear(),
        lambda: filled.get_nodes(),
        lambda: filled.get_nodes(["id-cat"]),
        lambda: ids_of(filled, [1.0, 0.0, 0.0]),
        lambda: pickle.dumps(filled),
        lambda: copy.deepcopy(filled),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "kb.binrag"
    ann, bob, unnamed = (BinragVectorStore(path, tenant=tenant) for tenant in ("ann", "bob", None))
    for store, word in ((ann, "cat"), (bob, "dog"), (unnamed, "sea")):
        store.add([node_of("same", WORDS[word], "source", of=word)])
    for store, word in ((ann, "cat"), (bob, "dog"), (unnamed, "sea")):
        assert [node.metadata["of"] for node in store.get_nodes()] == [word]
        result = store.query(VectorStoreQuery(WORDS["pet"], 9, node_ids=["same"], doc_ids=["source"]))
        assert [node.metadata["of"] for node in result.nodes] == [word]
    ann.delete("source")
    bob.clear()
    assert (ann.get_nodes(), bob.get_nodes(), len(unnamed.get_nodes())) == ([], [], 1)
    for again in (pickle.loads(pickle.dumps(ann)), BinragVectorStore.from_dict(ann.to_dict()), copy.deepcopy(ann)):
        assert again.tenant == "ann"
        assert again.get_nodes() == []
    with Store.open(path, tenant="ann") as given:
        assert BinragVectorStore(store=given).tenant == "ann"


def test_a_store_with_other_settings_may_be_given(tmp_path: Path) -> None:
    with Store.open(tmp_path / "kb.binrag", keep_vectors="none", durability="os", lock_timeout=3.0) as store:
        given = BinragVectorStore(store=store)
        given.add([node_of_word("cat"), node_of_word("sea")])
        assert given.client is store
        assert (given.path, given.mode) == (str(tmp_path / "kb.binrag"), "rw")
        assert (given.durability, given.lock_timeout) == ("os", 3.0)
        assert ids_of(given, [1.0, 0.0, 0.0]) == ["id-cat", "id-sea"]
        assert [node.embedding for node in given.get_nodes()] == [None, None]


def test_settings_of_a_new_file_are_kept_by_it(tmp_path: Path) -> None:
    path = tmp_path / "kb.binrag"
    settings = {"keep_vectors": "float16", "binarizer": "rotated-sign", "seed": 7, "dim": 3, "durability": "os"}
    store = BinragVectorStore(path, n_threads=1, lock_timeout=2.0, **settings)
    store.add([node_of_word("cat")])
    info = store.client.info()
    assert (info.keep_vectors, info.binarizer, info.dim) == ("float16", "rotated-sign", 3)
    assert store.client.options == {"durability": "os", "lock_timeout": 2.0, "n_threads": 1, "tenant": None}
    store.client.recode("sign")
    again = BinragVectorStore.from_dict(store.to_dict())
    assert again.client.options == store.client.options
    assert ids_of(again, [1.0, 0.0, 0.0]) == ["id-cat"]
    with pytest.raises(NotImplementedError, match="keep_vectors='int8' was asked for"):
        BinragVectorStore(path, keep_vectors="int8")


async def test_async_twins_do_not_run_on_the_event_loops_thread(
    vector_store: BinragVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    names = ("add", "delete", "delete_nodes", "clear", "get_nodes", "query")
    for name in names:
        method = getattr(BinragVectorStore, name)

        def seen(*args: Any, _method: Any = method, _name: str = name, **kwargs: Any) -> Any:
            threads.append((_name, threading.get_ident()))
            return _method(*args, **kwargs)

        monkeypatch.setattr(BinragVectorStore, name, seen)
    assert await vector_store.async_add([node_of_word("cat", "a"), node_of_word("dog")]) == ["id-cat", "id-dog"]
    query = VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0], similarity_top_k=5)
    results = await asyncio.gather(*(vector_store.aquery(query, n_candidates=9) for _ in range(32)))
    assert all(result.ids == ["id-cat", "id-dog"] for result in results)
    await vector_store.adelete("a")
    asked = filters(where("ref_doc_id", "==", "None"))
    assert [node.node_id for node in await vector_store.aget_nodes(["id-cat", "id-dog"], asked)] == ["id-dog"]
    await vector_store.adelete_nodes(filters=filters(where("ref_doc_id", "==", "a")))
    assert vector_store.client.count() == 1
    await vector_store.aclear()
    assert vector_store.client.count() == 0
    assert {name for name, _ in threads} == set(names)
    assert threading.get_ident() not in {thread for _, thread in threads}
    for call in (vector_store.adelete("a", wheer=1), vector_store.adelete_nodes(["a"], wheer=1)):
        with pytest.raises(ValueError, match="wheer"):
            await call


def test_no_async_method_is_left_to_the_base_class() -> None:
    names = [name for name, method in vars(BasePydanticVectorStore).items() if inspect.iscoroutinefunction(method)]
    assert len(names) >= 6
    for name in names:
        assert getattr(BinragVectorStore, name) is not getattr(BasePydanticVectorStore, name), name


def test_persist_copies_to_a_store_and_leaves_json_alone(filled: BinragVectorStore, tmp_path: Path) -> None:
    for path in (tmp_path / "default__vector_store.json", tmp_path / "none" / "vector_store.json", filled.path):
        filled.persist(str(path))
    filled.persist(str(tmp_path / "vector_store.json"), fs=fsspec.filesystem("memory"))
    assert not list(tmp_path.glob("**/*.json"))
    copied = tmp_path / "copy.binrag"
    filled.persist(str(copied), fs=fsspec.filesystem("file"))
    filled.clear()
    again = BinragVectorStore.from_persist_path(str(copied))
    assert len(again.get_nodes()) == 4
    assert again.mode == "rw"
    again.client.close()
    with pytest.raises(FileExistsError):
        filled.persist(str(copied))
    with pytest.raises(NotImplementedError, match="local file"):
        filled.persist("other.binrag", fs=fsspec.filesystem("memory"))
    with pytest.raises(NotImplementedError, match="local file"):
        BinragVectorStore.from_persist_path(str(copied), fs=fsspec.filesystem("memory"))
    with pytest.raises(FileNotFoundError):
        BinragVectorStore.from_persist_path(str(tmp_path / "none.binrag"))
    assert not (tmp_path / "none.binrag").exists()


def _by_dict(store: BinragVectorStore) -> BinragVectorStore:
    return BinragVectorStore.from_dict(store.to_dict())


def _by_json(store: BinragVectorStore) -> BinragVectorStore:
    return BinragVectorStore.from_json(store.to_json())


def _by_pickle(store: BinragVectorStore) -> BinragVectorStore:
    return pickle.loads(pickle.dumps(store))


def _by_deep_model_copy(store: BinragVectorStore) -> BinragVectorStore:
    return store.model_copy(deep=True)


def _by_update(store: BinragVectorStore) -> BinragVectorStore:
    return store.model_copy(update={"mode": "r"})


@pytest.mark.parametrize("copied", [_by_dict, _by_json, _by_pickle, copy.deepcopy, _by_deep_model_copy, _by_update])
def test_a_copy_opens_the_file_again(filled: BinragVectorStore, copied: Any) -> None:
    other = copied(filled)
    assert other.client is not filled.client
    assert (other.path, other.class_name()) == (filled.path, "BinragVectorStore")
    assert ids_of(other, [1.0, 0.0, 0.0]) == ids_of(filled, [1.0, 0.0, 0.0])
    filled.client.close()
    assert len(other.get_nodes()) == 4
    if copied is _by_update:
        with pytest.raises(PermissionError):
            other.clear()
    else:
        other.clear()
    other.client.close()


def test_a_relative_path_stays_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = BinragVectorStore("kb.binrag")
    store.add([node_of_word("cat")])
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    for copied in (_by_dict, _by_pickle, _by_update, copy.deepcopy):
        assert len(copied(store).get_nodes()) == 1
    store.client.close()


@pytest.mark.parametrize("copied", [copy.copy, BinragVectorStore.model_copy])
def test_a_shallow_copy_shares_the_store(filled: BinragVectorStore, copied: Any) -> None:
    assert copied(filled).client is filled.client


def encode(texts: list[str]) -> list[list[float]]:
    return [WORDS.get(text, [0.1, 0.1, 1.0]) for text in texts]


@pytest.mark.parametrize("copied", [_by_pickle, copy.deepcopy])
def test_a_copy_keeps_all_that_a_given_store_was_opened_with(tmp_path: Path, copied: Any) -> None:
    with Store.open(tmp_path / "kb.binrag", encoder=encode, lock_timeout=3.0) as store:
        given = BinragVectorStore(store=store)
        given.add([node_of_word("cat"), node_of_word("dog")])
        other = copied(given)
    assert (other.mode, other.client.mode, other.client.options["lock_timeout"]) == ("rw", "rw", 3.0)
    assert [hit.id for hit in other.client.search("dog", 1)] == ["id-dog"]
    other.client.close()


def test_a_pickle_does_not_make_a_store_that_is_gone(filled: BinragVectorStore) -> None:
    pickled = pickle.dumps(filled)
    filled.client.close()
    Path(filled.path).rename(f"{filled.path}-moved")
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)
    assert not Path(filled.path).exists()


def test_it_serializes_to_its_fields(filled: BinragVectorStore) -> None:
    assert filled.to_dict() == {
        "class_name": "BinragVectorStore",
        "stores_text": True,
        "is_embedding_query": True,
        "path": filled.path,
        "mode": "c",
        "tenant": None,
        "durability": "commit",
        "lock_timeout": 10.0,
        "n_threads": None,
    }
