"""Adding: what is accepted, what it becomes, and that a call is stored whole or not at all."""

import itertools
from datetime import UTC, date, datetime

import numpy as np
import pytest
from fakes import WORDS, WordEncoder, ids_of, length_encoder, sentences, vectors_of

from binrag import Document, InvalidInput, InvalidMetadata, InvalidVector, Store, UnsupportedMode

METADATA = {
    "none": None,
    "flag": True,
    "int": -5,
    "big": 2**64 - 1,
    "float": 0.1,
    "text": "naïve 🙂",
    "bytes": b"\x00\xff",
    "naive": datetime(2024, 5, 6, 7, 8, 9, 123),
    "aware": datetime(2024, 5, 6, tzinfo=UTC),
    "date": date(2024, 5, 6),
    "nested": {"list": [1, [2, {"deep": date(1, 1, 1)}]], "empty": {}},
    "tuple": (1, (2, 3)),
    "numpy": [np.int64(3), np.float32(0.5), np.bool_(False), np.str_("s")],
}
STORED = {**METADATA, "tuple": [1, [2, 3]], "numpy": [3, 0.5, False, "s"]}


def test_a_document_comes_back_as_it_was(store):
    assert store.add(["some text"], ids=["x"], metadata=[METADATA]) == ["x"]
    expected = Document("x", "some text", STORED)
    assert store.get(["x"]) == [expected]
    assert list(store.iter()) == [expected]
    hit = store.search("some text", k=1)[0]
    assert (hit.id, hit.text, hit.metadata) == ("x", "some text", STORED)
    for value, stored in zip(store.get(["x"])[0].metadata.values(), STORED.values(), strict=True):
        assert type(value) is type(stored)
    assert [type(value) for value in hit.metadata["numpy"]] == [int, float, bool, str]


@pytest.mark.parametrize(
    "text", ["a\0b", "🙂" * 500, "line\nbreak\r\n", " padded ", "' OR 1=1 --", "\u202eright", "x" * 10**6]
)
def test_any_text_and_any_id(store, text):
    store.add([text, "other"], ids=[text, "other"], metadata=[{text: text}, None])
    assert store.get([text]) == [Document(text, text, {text: text})]
    assert store.delete([text]) == 1
    assert store.count() == 1


def test_ids_are_generated(store):
    ids = store.add(["same", "same", "same"])
    assert len(set(ids)) == 3
    assert [document.id for document in store.get(ids)] == ids
    assert store.count() == 3


def test_metadata_may_be_left_out_for_some(store):
    store.add(["a", "b", "c"], ids=list("abc"), metadata=[{"n": 1}, None, {}])
    assert [document.metadata for document in store.iter()] == [{"n": 1}, {}, {}]


def test_vectors_without_texts(store):
    store.add(ids=["v"], vectors=[np.ones(32)])
    assert store.get(["v"]) == [Document("v", None, {})]
    assert store.search(np.ones(32), k=1)[0].text is None


def test_vectors_with_texts_are_not_encoded(path):
    encoder = WordEncoder(8)
    with Store.open(path, encoder=encoder) as store:
        store.add(["a", "", "   "], ids=list("abc"), vectors=np.eye(8)[:3])
        assert encoder.n_encoded == 0
        assert [document.text for document in store.iter()] == ["a", "", "   "]
        assert ids_of(store.search(np.eye(8)[1], k=1)) == ["b"]
        assert store.info().encoder is None


INPUTS = {
    "lists": lambda values: list(values),
    "tuples": lambda values: tuple(values),
    "generators": lambda values: (value for value in values),
    "maps": lambda values: (value for value in values),
    "arrays": lambda values: np.array(list(values)),
    "object arrays": lambda values: np.array(list(values), dtype=object),
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("n", [1, 7, 600])
def test_any_iterable(store, kind, n):
    texts = sentences(n)
    ids = [f"id{i}" for i in range(n)]
    metadata = [{"n": i} for i in range(n)]
    make = INPUTS[kind]
    assert store.add(make(texts), ids=make(ids), metadata=make(metadata)) == ids
    assert list(store.iter()) == [Document(*fields) for fields in zip(ids, texts, metadata, strict=True)]


@pytest.mark.parametrize("make", [list, np.array, iter, lambda rows: rows.tolist(), lambda rows: (r for r in rows)])
def test_any_iterable_of_vectors(path, make):
    rows = vectors_of(600, 12)
    with Store.open(path, keep_vectors="float16") as store:
        store.add(vectors=make(rows), ids=map(str, range(600)))
        for i in (0, 255, 256, 599):
            assert ids_of(store.search(rows[i], k=1)) == [str(i)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8, ">f4"])
def test_any_number_type(path, dtype):
    rows = np.array([[1, 2, 0, 3], [3, 0, 1, 1]], dtype=dtype)
    with Store.open(path) as store:
        store.add(vectors=rows, ids=["0", "1"])
        assert ids_of(store.search(rows[1], k=2)) == ["1", "0"]


@pytest.mark.parametrize("batch_size", [1, 7, 256, 10_000])
def test_the_batch_size_changes_the_calls_and_nothing_else(tmp_path, batch_size):
    texts = sentences(300)
    sizes = []

    def spy(some):
        if some[0] in texts:
            sizes.append(len(some))
        return length_encoder(some)

    with Store.open(tmp_path / "a", encoder=spy) as store:
        store.add(texts, ids=texts, batch_size=batch_size)
        assert sizes == [min(batch_size, 300 - start) for start in range(0, 300, batch_size)]
        hits = store.search(texts[7], k=10)
    with Store.open(tmp_path / "b", encoder=spy) as store:
        store.add(texts, ids=texts)
        assert store.search(texts[7], k=10) == hits


def test_an_upsert_replaces_everything(store):
    store.add(["red apple", "blue river"], ids=["1", "2"], metadata=[{"v": 1}, {"v": 1}])
    assert store.add(["green stone"], ids=["1"]) == ["1"]
    assert store.count() == 2
    assert store.get(["1", "2"]) == [Document("1", "green stone", {}), Document("2", "blue river", {"v": 1})]
    assert ids_of(store.search("green stone", k=5)) == ["1", "2"]
    assert store.search("red apple", k=1)[0].text != "red apple"
    assert [document.id for document in store.iter()] == ["2", "1"]


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_the_last_of_an_id_in_one_call_wins(store, batch_size):
    texts = ["first cloud", "only engine", "second cloud", "third cloud"]
    ids = ["a", "b", "a", "a"]
    assert store.add(texts, ids=ids, batch_size=batch_size, metadata=[{"n": i} for i in range(4)]) == ids
    assert list(store.iter()) == [Document("b", "only engine", {"n": 1}), Document("a", "third cloud", {"n": 3})]
    hits = store.search("third cloud", k=10)
    assert sorted(ids_of(hits)) == ["a", "b"]
    assert hits[0].text == "third cloud"


def test_nothing_to_add(store):
    assert store.add([]) == []
    assert store.add(iter([]), ids=[], metadata=[]) == []
    assert store.add(vectors=np.zeros((0, 4))) == []
    assert store.count() == 0
    assert store.info().dim is None
    assert store.info().generation == 0
    assert store.search("anything") == []


LENGTHS = [
    {"texts": ["a", "b"], "ids": ["1"]},
    {"texts": ["a"], "ids": ["1", "2"]},
    {"texts": ["a", "b"], "metadata": [{}]},
    {"texts": ["a", "b"], "vectors": np.ones((3, 32))},
    {"vectors": np.ones((2, 32)), "ids": ["1", "2", "3"]},
]


@pytest.mark.parametrize("given", LENGTHS, ids=str)
@pytest.mark.parametrize("kind", ["lists", "generators", "mixed"])
def test_unequal_lengths_store_nothing(store, given, kind):
    store.add(["before"], ids=["before"])
    make = {"lists": list, "generators": iter, "mixed": iter}[kind]
    given = {name: make(values) if kind != "mixed" or name == "ids" else values for name, values in given.items()}
    with pytest.raises(InvalidInput, match=r"length|expected as many") as error:
        store.add(**given)
    assert "nothing" in str(error.value)
    assert [document.id for document in store.iter()] == ["before"]


def test_unequal_lengths_far_in_store_nothing(store):
    texts = sentences(1000)
    with pytest.raises(InvalidInput, match="one ended before document 1000"):
        store.add(texts, ids=(str(i) for i in range(999)))
    with pytest.raises(InvalidInput, match="length"):
        store.add((text for text in texts), ids=(str(i) for i in range(1001)))
    assert store.count() == 0


def raising(values, error, after):
    yield from values[:after]
    raise error


@pytest.mark.parametrize("after", [0, 1, 255, 256, 257, 999])
def test_a_generator_that_raises_half_way_stores_nothing(store, after):
    store.add(["before"], ids=["before"])
    texts = sentences(1000)
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        store.add(raising(texts, error, after))
    assert caught.value is error
    assert [document.id for document in store.iter()] == ["before"]
    assert ids_of(store.search(texts[0])) == ["before"]
    store.add(texts[:3])
    assert store.count() == 4


def test_a_bad_document_far_in_stores_nothing(store):
    good = sentences(600)
    store.add(["before"], ids=["before"])
    rows = [{"n": i} for i in range(600)]
    for error, change in (
        (InvalidInput, {"texts": [*good[:599], ""]}),
        (InvalidInput, {"texts": [*good[:599], 5]}),
        (InvalidMetadata, {"texts": good, "metadata": [*rows[:599], {"n": {1}}]}),
        (InvalidInput, {"texts": good, "ids": [*map(str, range(599)), ""]}),
        (InvalidVector, {"vectors": [*np.ones((599, 32)), np.full(32, np.nan)]}),
    ):
        with pytest.raises(error):
            store.add(**change)
        assert store.count() == 1


def test_a_hundred_thousand_from_a_generator(path):
    n = 100_000
    read = 0

    def texts():
        nonlocal read
        for i in range(n):
            read += 1
            yield f"{WORDS[i % 30]} {i}"

    with Store.open(path, encoder=length_encoder, keep_vectors="int8") as store:
        ids = store.add(texts(), ids=(f"d{i}" for i in range(n)), batch_size=2048)
        assert (read, len(ids), ids[-1]) == (n, n, "d99999")
        assert store.count() == n
        assert store.info().generation == 1
        for i in (0, 4095, 4096, 50_000, 99_999):
            text = f"{WORDS[i % 30]} {i}"
            assert store.get([f"d{i}"])[0].text == text
            best = store.search(text, k=3)
            assert best[0].score > 0.9
            assert all(a.score >= b.score for a, b in itertools.pairwise(best))


def test_commit_every_keeps_what_was_committed(store):
    texts = sentences(1000)
    with pytest.raises(KeyError):
        store.add(raising(texts, KeyError(), 25), ids=map(str, range(25)), commit_every=10)
    assert [document.id for document in store.iter()] == list(map(str, range(20)))
    assert store.info().generation == 2
    assert len(store.search(texts[0], k=50)) == 20


@pytest.mark.parametrize(("commit_every", "batch_size"), [(1, 256), (7, 3), (100, 256), (300, 256), (5000, 256)])
def test_commit_every_commits_just_so_often(store, commit_every, batch_size):
    n = 620
    store.add(sentences(n), commit_every=commit_every, batch_size=batch_size)
    assert store.count() == n
    assert store.info().generation == -(-n // commit_every)


def test_commit_every_inside_a_transaction_is_refused(store):
    with store.transaction():
        with pytest.raises(UnsupportedMode, match="commit_every inside transaction"):
            store.add(["a"], commit_every=1)
        store.add(["b"], ids=["b"])
    assert [document.id for document in store.iter()] == ["b"]


@pytest.mark.parametrize("sized", [True, False])
def test_progress_is_reported(store, sized):
    calls = []
    texts = sentences(600)
    store.add(texts if sized else iter(texts), progress=lambda done, total: calls.append((done, total)))
    total = 600 if sized else None
    assert calls == [(256, total), (512, total), (600, total)]


def test_a_progress_bar_is_shown_on_demand(store, capsys):
    store.add(sentences(10), progress=True)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "doc/s" in shown
    store.add(sentences(2000), progress=False)
    store.add(sentences(2000))
    assert capsys.readouterr().err == ""


def test_a_callback_that_raises_stores_nothing(store):
    def progress(done, total):
        raise KeyError

    with pytest.raises(KeyError):
        store.add(sentences(5), progress=progress)
    assert store.count() == 0


def test_a_generator_may_use_the_store(store):
    store.add(["one apple"], ids=["1"])

    def texts():
        yield store.get(["1"])[0].text + " again"
        store.add(["two rivers"], ids=["2"])
        yield store.search("rivers", k=1)[0].text + " again"

    store.add(texts(), ids=iter(["3", "4"]), batch_size=1)
    assert [(document.id, document.text) for document in store.iter()] == [
        ("1", "one apple"),
        ("2", "two rivers"),
        ("3", "one apple again"),
        ("4", "two rivers again"),
    ]


def test_a_large_add_is_spooled(store, monkeypatch):
    from binrag.store import batches

    monkeypatch.setattr(batches, "_SPOOL_BYTES", 1000)
    texts = sentences(1500)
    store.add(texts, ids=map(str, range(1500)), metadata=({"n": i} for i in range(1500)))
    assert list(store.iter()) == [Document(str(i), texts[i], {"n": i}) for i in range(1500)]


def test_what_the_caller_holds_is_not_spooled(store, monkeypatch):
    from binrag.store import batches

    monkeypatch.setattr(batches, "VECTORS_AT_ONCE", 4)
    monkeypatch.setattr(batches, "msgpack", None)  # what is spooled is packed by it
    vectors = vectors_of(10, 8)
    ids, texts = [f"d{i}" for i in range(10)], [None, *sentences(9)]
    store.add(texts, ids=ids, metadata=[{"n": i} for i in range(10)], vectors=vectors)
    assert list(store.iter()) == [Document(ids[i], texts[i], {"n": i}) for i in range(10)]
    assert [store.search(vector, k=1)[0].id for vector in vectors] == ids


@pytest.mark.parametrize("of", [lambda v: v.astype(np.float64), list, iter, lambda v: v.tolist()])
def test_vectors_of_any_kind_are_stored_alike(store, monkeypatch, of):
    from binrag.store import batches

    monkeypatch.setattr(batches, "VECTORS_AT_ONCE", 4)
    vectors = vectors_of(10, 8)
    ids = [f"d{i}" for i in range(10)]
    store.add(sentences(10), ids=ids, vectors=of(vectors))
    assert [store.search(vector, k=1)[0].id for vector in vectors] == ids


def test_an_empty_id_in_an_array(store):
    with pytest.raises(InvalidInput, match=r"ids\[1\] is empty"):
        store.add(ids=np.array(["a", ""]), vectors=np.eye(8)[:2])
