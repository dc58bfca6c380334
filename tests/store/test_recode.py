"""Recoding: the answers of a store made so from the start; until the commit, the old ones."""

import sqlite3
import time
import warnings
from contextlib import closing

import numpy as np
import pytest
import reference
from fakes import WordEncoder, ids_of, sentences, vectors_of
from level_binarizer import LevelBinarizer

from binrag import (
    BinarizerMismatch,
    DimensionMismatch,
    InvalidInput,
    InvalidVector,
    ReadOnlyStore,
    Store,
    VectorsUnavailable,
    registry,
)
from binrag.binarizers import RotatedSignBinarizer, SignBinarizer
from binrag.storage.vectors import decode_vectors, encode_vectors

N, DIM = 4096 + 4096 + 137, 24
ROWS = vectors_of(N + 100, DIM)
QUERIES = vectors_of(8, DIM, seed=3)
IDS = [f"d{i}" for i in range(N)]


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(registry._BINARIZERS, "test-levels", LevelBinarizer)


def fill(store, n=N):
    """Add n documents, replace some and delete some."""
    store.add(vectors=ROWS[:n], ids=IDS[:n])
    store.add(vectors=ROWS[N : N + 40], ids=IDS[5:45])
    store.delete(IDS[2:8])
    return store


def live_vectors(store):
    """The vectors of `fill`'s documents, in the order of iter()."""
    latest = {**dict(zip(IDS, ROWS, strict=False)), **dict(zip(IDS[5:45], ROWS[N:], strict=False))}
    return np.stack([latest[document.id] for document in store.iter()])


def answers(store):
    return [store.search_batch(QUERIES, k=k, n_candidates=n) for k, n in ((10, None), (30, 40), (100, N))]


def codes(store):
    """Codes of the live rows as a search has them."""
    store.refresh()
    index, space = store._handle.snapshot.index, store._handle.snapshot.space
    bits = np.unpackbits(index.live.view(np.uint8), bitorder="little")[: index.n_rows]
    rows = np.flatnonzero(bits)
    data = index.codes[rows // 16, :, :, rows % 16]
    return space.binarizer.component_id, data.tolist(), index.rest[rows].tolist(), index.rescale[rows].tolist()


def parts(path):
    with closing(sqlite3.connect(path)) as connection:
        return {part for (part,) in connection.execute("SELECT DISTINCT part FROM blocks")}


@pytest.mark.parametrize("keep", ["none", "int8"])
def test_a_store_with_a_binarizer_of_ones_own(path, keep):
    binarizer = LevelBinarizer(DIM, 0.125)
    with Store.open(path, binarizer=binarizer, keep_vectors=keep) as store:
        info = store.info()
        assert (info.binarizer, info.dim) == ("test-levels", DIM)
        fill(store)
        info = store.info()
        assert (info.binarizer, info.n_bits, info.code_bytes) == ("test-levels", 9 * DIM, DIM + 10)
        expected = answers(store)
        products = reference.unit(live_vectors(store)) @ reference.unit(QUERIES[:1])[0]
        ids = [document.id for document in store.iter()]
        hits = store.search(QUERIES[0], k=20, n_candidates=N)
        assert [hit.score for hit in hits] == pytest.approx(sorted(products, reverse=True)[:20], abs=0.01)
        assert [hit.score for hit in hits] == pytest.approx([products[ids.index(hit.id)] for hit in hits], abs=0.01)
    assert parts(path) == {"codes", "rest", "rescale", "live", "metadata"}
    for again in ({}, {"binarizer": LevelBinarizer(DIM, 0.125)}, {"binarizer": "test-levels", "code_bytes": DIM + 10}):
        with Store.open(path, **again) as store:
            assert answers(store) == expected
            assert store._handle.snapshot.space.binarizer.shift == 0.125


MADE = {
    "levels": lambda: LevelBinarizer(DIM, 0.125),
    "rotated": lambda: RotatedSignBinarizer(DIM, seed=4),
    "centred": lambda: SignBinarizer(DIM, mean=np.full(DIM, 0.01, np.float32)),
}


@pytest.mark.parametrize("start", MADE)
@pytest.mark.parametrize("goal", MADE)
def test_it_equals_a_store_made_so_from_the_start(path, tmp_path, start, goal):
    with Store.open(tmp_path / "other", binarizer=MADE[goal](), keep_vectors="none") as other:
        expected, expected_codes, stats = answers(fill(other)), codes(other), other.stats()
    with Store.open(path, binarizer=MADE[start](), keep_vectors="none") as store:
        fill(store)
        before = codes(store)
        assert store.recode(MADE[goal](), vectors=live_vectors(store)) is None
        assert answers(store) == expected
        assert codes(store) == expected_codes
        assert (codes(store) == before) == (start == goal)
        assert store.stats().code_disk_bytes == stats.code_disk_bytes
    assert ("rest" in parts(path)) == (goal == "levels")
    with Store.open(path) as store:
        assert answers(store) == expected


@pytest.mark.parametrize("n", [0, 1, 4095, 4096, 4097])
def test_every_number_of_rows(path, tmp_path, n):
    with Store.open(tmp_path / "other", binarizer="rotated-sign") as other, Store.open(path, dim=DIM) as store:
        for each in (other, store):
            each.add(vectors=ROWS[:n])
        store.recode("rotated-sign", vectors=iter(ROWS[:n]))
        assert store.info().binarizer == "rotated-sign"
        store.add(vectors=ROWS[n : n + 3])
        other.add(vectors=ROWS[n : n + 3])
        assert codes(store) == codes(other)


@pytest.mark.parametrize("keep", ["int8", "float16"])
def test_from_kept_vectors(path, tmp_path, keep):
    seen = []
    with Store.open(path, keep_vectors=keep) as store:
        fill(store)
        store.recode(LevelBinarizer(DIM), progress=lambda done, total: seen.append((done, total)))
        kept = decode_vectors(encode_vectors(reference.unit(live_vectors(store)), keep), keep, DIM)
        with Store.open(tmp_path / "other", binarizer=LevelBinarizer(DIM)) as other:
            other.add(vectors=kept)
            assert codes(store) == codes(other)
        assert seen[-1] == (N - 6, N - 6)
        assert len(seen) == 3
        found = store.search_batch(QUERIES, k=5)
    with Store.open(path, "r") as store:
        assert store.search_batch(QUERIES, k=5) == found


def test_from_texts(path, tmp_path):
    texts, seen = sentences(5000), []
    goal = LevelBinarizer(32)
    with Store.open(tmp_path / "other", encoder=WordEncoder(), binarizer=goal, keep_vectors="none") as other:
        other.add(texts, ids=texts)
        expected = codes(other)
    with Store.open(path, encoder=WordEncoder(), keep_vectors="none") as store:
        store.add(texts, ids=texts)
        with pytest.warns(UserWarning, match=r"encoding 5,000 texts again takes about \d+\.\d minutes") as caught:
            store.recode(goal, progress=lambda done, total: seen.append((done, total)))
        assert caught[0].filename == __file__
        assert codes(store) == expected
        assert seen[-1] == (5000, 5000)


class Meddling(WordEncoder):
    """Does something to the store while it encodes."""

    def __init__(self):
        super().__init__()
        self.meddle = None

    def encode_document(self, texts):
        meddle, self.meddle = self.meddle, None
        if meddle:
            meddle()
        return super().encode_document(texts)


def test_texts_that_change_while_others_are_encoded(path, tmp_path):
    texts, late, encoder = sentences(700), sentences(600, seed=1), Meddling()

    def change(store):
        store.delete(texts[:5])
        store.add(late, ids=late)
        store.add(["stone river"], ids=texts[8:9])

    opened = Store.open(path, encoder=encoder, keep_vectors="none")
    with opened as store, Store.open(path, encoder=WordEncoder()) as peer:
        store.add(texts, ids=texts)
        encoder.meddle = lambda: change(peer)
        with pytest.warns(UserWarning, match="encoding"):
            store.recode(LevelBinarizer(32))
        assert encoder.meddle is None
        with Store.open(tmp_path / "other", encoder=WordEncoder(), binarizer=LevelBinarizer(32)) as other:
            other.add(texts, ids=texts)
            change(other)
            assert codes(store) == codes(peer) == codes(other)
            assert store.count() == 1295


@pytest.mark.parametrize("case", ["no encoder", "never encoded", "a document without text"])
def test_no_vectors_to_be_had(path, case):
    with Store.open(path, encoder=WordEncoder(), keep_vectors="none") as store:
        if case != "never encoded":
            store.add(sentences(3))
        store.add([None], vectors=vectors_of(1, 32), ids=["bare"])
        before = codes(store)
    encoder = None if case == "no encoder" else WordEncoder()
    with Store.open(path, encoder=encoder) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        named = {"no encoder": "encoder='words'", "a document without text": "'bare' has no text"}.get(case, "keeps no")
        with pytest.raises(VectorsUnavailable, match=f"{named}.*vectors=") as error:
            store.recode(LevelBinarizer(32))
        assert isinstance(error.value, RuntimeError)
        assert codes(store) == before


def stop(done, total):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"vectors": ROWS[: N - 7]}, InvalidInput, f"has {N - 6} documents, got only {N - 7} vectors"),
        ({"vectors": ROWS[: N - 5]}, InvalidInput, f"has {N - 6} documents, got more vectors"),
        ({"vectors": [[1.0] * DIM, [np.nan] * DIM] * ((N - 6) // 2)}, InvalidVector, "vector 1 has nan"),
        ({"vectors": ROWS[: N - 6, :5]}, DimensionMismatch, "5 dimensions"),
        ({"vectors": 7}, InvalidInput, "vectors is a int"),
        ({"vectors": "text"}, InvalidInput, "vectors is a str"),
        ({"binarizer": LevelBinarizer(DIM + 1)}, DimensionMismatch, f"codes {DIM + 1} dimensions, .* have {DIM}"),
        ({"binarizer": "pq"}, InvalidInput, "binarizer is 'pq', expected one of"),
        ({"binarizer": "test-levels"}, InvalidInput, "expected one of .*, or a fitted binarizer"),
        ({"binarizer": None}, InvalidInput, "the binarizer is a NoneType"),
        ({"binarizer": SignBinarizer}, InvalidInput, "the binarizer is a type"),
        ({"progress": stop}, KeyboardInterrupt, None),
    ],
)
def test_what_fails_leaves_the_old_codes(path, arguments, error, message):
    with Store.open(path) as store:
        fill(store)
        before, found, info = codes(store), answers(store), store.info()
        with pytest.raises(error, match=message):
            store.recode(**{"binarizer": LevelBinarizer(DIM), **arguments})
        assert (codes(store), answers(store), store.info()) == (before, found, info)
    with Store.open(path, binarizer="auto") as store:
        assert answers(store) == found


@pytest.mark.parametrize("field", ["words", "rest", "rescale", "no rescale"])
def test_a_binarizer_that_does_not_give_what_it_declares(path, monkeypatch, field):
    given = r"nothing for 94 vectors, expected float16 \(94,\)" if field == "no rescale" else r"uint8 \(94, 1\)"
    field = field.removeprefix("no ")

    def wrong(self, vectors):
        codes = whole(self, vectors)
        other = None if given.startswith("nothing") else codes.rest[:, :1]
        return type(codes)(**{**{n: getattr(codes, n) for n in ("words", "rest", "rescale")}, field: other})

    with Store.open(path) as store:
        fill(store, 100)
        before = codes(store)
        whole = LevelBinarizer.transform
        monkeypatch.setattr(LevelBinarizer, "transform", wrong)
        with pytest.raises(BinarizerMismatch, match=f"'test-levels' gave {field} of {given}"):
            store.recode(LevelBinarizer(DIM))
        assert codes(store) == before


def test_a_read_only_store(path):
    Store.open(path).close()
    with Store.open(path, "r") as store, pytest.raises(ReadOnlyStore):
        store.recode("sign")


def test_the_settings_name_the_new_binarizer(path):
    with Store.open(path, binarizer="sign", code_bytes=10, dim=DIM) as store:
        fill(store, 100)
        store.recode(LevelBinarizer(DIM))
    with Store.open(path) as store:
        assert (store.info().binarizer, store.info().code_bytes) == ("test-levels", DIM + 10)
    for good in (
        {"binarizer": "test-levels"},
        {"binarizer": LevelBinarizer(DIM)},
        {"code_bytes": DIM + 10},
    ):
        Store.open(path, **good).close()
    for bad, message in (
        ({"binarizer": "sign"}, "binarizer='sign' was asked for, the store's is 'test-levels'"),
        ({"binarizer": SignBinarizer(DIM)}, "binarizer='sign' was asked for, the store's is 'test-levels'"),
        ({"binarizer": LevelBinarizer(DIM, 1.0)}, "codes are of another 'test-levels' binarizer"),
        ({"code_bytes": 10}, f"code_bytes=10 was asked for, the store's codes take {DIM + 10} bytes"),
    ):
        with pytest.raises(BinarizerMismatch, match=message):
            Store.open(path, **bad)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"binarizer": LevelBinarizer(8), "dim": 9}, DimensionMismatch, "codes 8 dimensions, the vectors have 9"),
        ({"binarizer": LevelBinarizer(8), "code_bytes": 9}, InvalidInput, "code_bytes=9 .* take 18 bytes"),
        ({"binarizer": "sign", "code_bytes": 9, "dim": 8}, InvalidInput, "code_bytes=9 .* take 10 bytes"),
        ({"binarizer": "test-levels"}, InvalidInput, "binarizer is 'test-levels', expected one of .* or a fitted"),
        ({"binarizer": object()}, InvalidInput, "the binarizer is a object"),
        ({"code_bytes": 0}, InvalidInput, "code_bytes is 0"),
        ({"code_bytes": "96"}, InvalidInput, "code_bytes is '96'"),
    ],
)
def test_settings_that_no_new_store_can_have(path, arguments, error, message):
    with pytest.raises(error, match=message):
        Store.open(path, **arguments)
    assert not path.exists()


def test_a_name_that_makes_no_binarizer_in_an_empty_file(path):
    path.touch()
    with Store.open(path, binarizer="test-levels") as store:
        with pytest.raises(InvalidInput, match="'test-levels' binarizer has to be fitted"):
            store.add(vectors=ROWS)
        store.recode(LevelBinarizer(DIM))
        store.add(vectors=ROWS[:2])
        assert codes(store)[0] == "test-levels"


def test_code_bytes_that_the_first_vectors_cannot_have(path):
    with Store.open(path, code_bytes=9) as store:
        with pytest.raises(InvalidInput, match=r"code_bytes=9 .* take 10 bytes"):
            store.add(vectors=ROWS)
        assert store.count() == 0


def test_a_store_without_vectors(path):
    with Store.open(path) as first, Store.open(path) as second:
        first.recode(LevelBinarizer(DIM))
        assert first.info().binarizer == second.info().binarizer == "test-levels"
        with pytest.raises(DimensionMismatch):
            second.add(vectors=vectors_of(1, DIM + 1))
        second.add(vectors=ROWS[:3])
        assert codes(first)[0] == "test-levels"
    with Store.open(path.with_name("other")) as store:
        store.recode(LevelBinarizer(DIM))
        store.recode("rotated-sign")
        store.add(vectors=ROWS[:3])
        assert codes(store)[0] == "rotated-sign"


def test_other_handles_follow_and_write_new_codes(path, tmp_path):
    with Store.open(path) as store, Store.open(path) as peer, Store.open(path, "r") as reader:
        fill(store)
        before = codes(reader)
        assert codes(peer) == before
        with store.transaction():
            store.recode(LevelBinarizer(DIM), vectors=live_vectors(store))
            assert codes(store) == codes(reader) == before
        peer.add(vectors=ROWS[:50], ids=IDS[500:550])
        with Store.open(tmp_path / "other", binarizer=LevelBinarizer(DIM)) as other:
            fill(other)
            other.add(vectors=ROWS[:50], ids=IDS[500:550])
            assert codes(store) == codes(peer) == codes(reader) == codes(other)


def test_an_undone_transaction_leaves_nothing_behind(path):
    with Store.open(path) as store:
        fill(store, 200)
        before = codes(store)
        with pytest.raises(KeyError), store.transaction():
            store.recode(LevelBinarizer(DIM))
            store.add(vectors=-ROWS[:3], ids=["x", "y", "z"])
            raise KeyError
        assert codes(store) == before
        store.add(vectors=-ROWS[:3], ids=["x", "y", "z"])
        assert codes(store)[0] == "sign"
        assert ids_of(store.search(-ROWS[1], k=1)) == ["y"]


PEER = "from level_binarizer import LevelBinarizer; from binrag import registry; registry.register(LevelBinarizer)"


def test_readers_in_another_process_see_the_old_codes_then_the_new(path, peer):
    other = peer()
    other.run(PEER)
    name = "result = store.refresh() and store._handle.snapshot.space.binarizer.component_id"
    search = "result = [hit.id for hit in store.search(np.ones(24), k=50, n_candidates=60)]"
    with Store.open(path, keep_vectors="none") as store:
        fill(store)
        other.run("store = Store.open(p, 'r')", p=str(path))
        before = ids_of(store.search(np.ones(DIM), k=50, n_candidates=60))
        assert other.run(search) == before
        with store.transaction():
            store.recode(LevelBinarizer(DIM), vectors=live_vectors(store))
            assert (other.run(name), other.run(search)) == ("sign", before)
        after = ids_of(store.search(np.ones(DIM), k=50, n_candidates=60))
        assert (other.run(name), other.run(search)) == ("test-levels", after)
        assert after != before


def test_killed_in_the_middle(path, peer):
    with Store.open(path) as store:
        fill(store)
        before, found = codes(store), answers(store)
    other = peer()
    other.run(PEER)
    other.run("store = Store.open(p)", p=str(path))
    signal = path.with_name("half")
    other.send(
        """
        def halfway(done, total):
            if done > total / 2:
                open(signal, "w").close()
                time.sleep(60)
        store.recode(LevelBinarizer(24), progress=halfway)
        """,
        signal=str(signal),
    )
    deadline = time.monotonic() + 60
    while not signal.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert signal.exists()
    with Store.open(path, "r") as store:
        assert answers(store) == found
    other.kill()
    with Store.open(path, lock_timeout=5) as store:
        assert codes(store) == before
        store.recode(LevelBinarizer(DIM))
        assert codes(store)[0] == "test-levels"


def sample_of(store):
    with store._handle.database.reading() as reading:
        rows = [row for row, _ in reading.sample()]
        assert reading.head().n_sampled == len(rows)
        return rows, store._handle.space_of(reading).sample(reading)


@pytest.mark.parametrize("keep", ["none", "int8", "float16"])
def test_the_sample_holds_vectors_of_live_rows(path, keep):
    with Store.open(path, keep_vectors=keep) as store:
        fill(store, 300)
        rows, vectors = sample_of(store)
        assert rows == [*range(2), *range(45, 300), *range(303, 340)]
        expected = reference.float16_of(reference.unit(ROWS[[*range(2), *range(45, 300), *range(N + 3, N + 40)]]))
        assert np.array_equal(vectors, expected)
        assert store.stats().sample_disk_bytes == len(rows) * (4 + 2 * DIM)
        store.recode("rotated-sign", vectors=live_vectors(store))
        assert sample_of(store)[0] == rows
        store.delete([document.id for document in store.iter()])
        assert len(sample_of(store)[0]) == store.stats().sample_disk_bytes == 0
        store.add(vectors=ROWS[:10])
        assert sample_of(store)[0] == list(range(340, 350))


@pytest.mark.parametrize("batch_size", [100, 4096, 10_000])
def test_the_sample_is_spread_evenly_and_does_not_depend_on_batches(path, batch_size):
    with Store.open(path) as store:
        store.add(vectors=vectors_of(10_000, 2), batch_size=batch_size)
        rows, _ = sample_of(store)
        assert len(rows) == 4096
        assert np.histogram(rows, bins=10, range=(0, 10_000))[0] == pytest.approx(409.6, abs=3)
        places = sorted((row * 0x9E3779B97F4A7C15 % 2**64, row) for row in range(10_000))
        assert rows == sorted(row for _, row in places[:4096])


def test_a_full_sample_takes_new_rows_when_others_leave(path):
    with Store.open(path) as store:
        store.add(vectors=vectors_of(5000, 2), ids=map(str, range(5000)))
        store.delete([str(i) for i in range(1000)])
        n = len(sample_of(store)[0])
        assert 3200 < n < 3300
        store.add(vectors=vectors_of(2000, 2))
        rows, _ = sample_of(store)
        assert len(rows) == 4096
        assert min(rows) >= 1000
        assert sum(row >= 5000 for row in rows) >= 4096 - n
