"""`compact` gives space back, and changes no answer: not for this handle, nor for others, nor when it is killed."""

import random
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from fakes import WordEncoder, ids_of, sentences, topical, vectors_of
from words_oracle import WordsOracle

from binrag import ALL_TENANTS, CorruptStore, ReadOnlyStore, Store, UnsupportedMode

N = 4096 + 300
DIM = 64
ROWS = topical(N, DIM)
TEXTS = sentences(N, n_words=20)
QUERIES = vectors_of(5, DIM, seed=8)
IDS = [str(i) for i in range(N)]


def filled(path, rows=range(N), **options):
    with Store.open(path, auto_fit=False, **options) as store:
        picked = list(rows)
        store.add(
            [TEXTS[i] for i in picked],
            ids=[IDS[i] for i in picked],
            vectors=ROWS[picked],
            metadata=[{"n": i} for i in picked],
        )


def worn(path, **options):
    """A store in which two thirds of the rows are dead, and what lives."""
    filled(path, **options)
    with Store.open(path) as store:
        store.add([TEXTS[0]], ids=["0"], vectors=ROWS[:1], metadata=[{"n": 0}])
        store.delete([id_ for i, id_ in enumerate(IDS) if i % 3])
    return [*range(3, N, 3), 0]


def answers(store):
    return [store.search_batch(QUERIES, k=k, n_candidates=n) for k, n in ((10, None), (1500, N))]


def check_words(store, live, is_folded=False):
    """All documents that hold a word are found by it; in a store just folded, in the order of a brute force."""
    for query in ("silver", "river 17 stone"):
        words = set(query.split())
        expected = {IDS[i] for i in live if words & set(TEXTS[i].split())}
        assert set(ids_of(store.search(query, k=N, legs="lexical"))) == expected
        if is_folded:
            WordsOracle().follow(store).check_words(store, query, k=30)


@pytest.mark.parametrize("keep", ["int8", "none"])
@pytest.mark.parametrize("kind", ["sign", "additive"])
def test_the_file_is_like_a_new_one_and_answers_are_the_same(path, keep, kind):
    live = worn(path, keep_vectors=keep)
    fresh = path.with_name("fresh")
    filled(fresh, live, keep_vectors=keep)
    with Store.open(path) as store:
        if kind == "additive":
            vectors = ROWS[live]
            store.train_binarizer("additive", code_bytes=16, force=True, vectors=vectors if keep == "none" else None)
        before, documents = answers(store), list(store.iter())
        done = store.compact()
        assert done.n_dropped == N + 1 - len(live)
        assert not done.was_held_back
        assert done.bytes_after < done.bytes_before / 1.5
        assert answers(store) == before
        assert list(store.iter()) == documents
        assert store.verify() == []
        stats = store.stats()
        assert (stats.n_rows, stats.n_dead_rows) == (len(live), 0)
        again = store.compact()
        assert (again.n_dropped, again.bytes_after) == (0, done.bytes_after)
    with Store.open(path) as store:
        assert answers(store) == before
        # rows go on from there
        store.add(vectors=ROWS[:2], ids=["new", "newer"])
        assert store.search(ROWS[1], k=2)[0].id in ("newer", "1")
        assert store.verify() == []
        store.delete(["new", "newer"])
        store.compact()
    if kind == "sign":
        assert path.stat().st_size <= 1.1 * fresh.stat().st_size


def test_stores_with_nothing_to_compact(path):
    with Store.open(path) as store:
        assert store.compact().n_dropped == 0
        store.add(vectors=ROWS[:3], ids=IDS[:3])
        assert store.compact().n_dropped == 0
        store.delete(IDS[:3])
        assert store.compact().n_dropped == 3
        assert (store.count(), store.search(ROWS[0]), store.verify()) == (0, [], [])
        store.add(vectors=ROWS[:3], ids=IDS[:3])
        assert [hit.id for hit in store.search(ROWS[1], k=1)] == ["1"]
        assert store.verify() == []


def test_a_tenants_rows_lie_together_in_the_order_they_had(path):
    tenants = [None, "b", "a", "ü"]

    def rows():
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT tenant, id FROM documents ORDER BY row").fetchall()

    def seen(store):
        hits = [store.search_batch(QUERIES, k=20, tenant=tenant) for tenant in tenants]
        filtered = [store.search(QUERIES[0], k=20, tenant=tenant, where={"n": {"$lt": 700}}) for tenant in tenants]
        return hits, filtered, [list(store.iter(tenant=tenant)) for tenant in tenants], store.count(where={"n": 3})

    with Store.open(path, auto_fit=False) as store, Store.open(path, "r") as other:
        for start in range(0, N, 400):
            some = range(start, min(start + 400, N))
            tenant = tenants[start // 400 % 4]
            store.add(vectors=ROWS[some], ids=[IDS[i] for i in some], tenant=tenant, metadata=[{"n": i} for i in some])
        store.add(vectors=ROWS[:600], ids=IDS[:600], metadata=[{"n": i} for i in range(600)], tenant="a")
        store.delete(where={"n": {"$gt": 4300}})
        before, documents = rows(), seen(store)
        assert seen(other) == documents
        store.compact()
        assert rows() == sorted(before, key=lambda pair: pair[0]) != before
        assert store.verify() == []
        assert seen(store) == seen(other) == documents
        for tenant in tenants[1:]:
            store.delete(where={}, tenant=tenant)
        unnamed = list(store.iter())
        store.compact()
        assert list(store.iter(tenant=ALL_TENANTS)) == unnamed
        assert (store.count(tenant="a"), store.verify()) == (0, [])


def test_other_handles_and_threads_go_on(path):
    live = worn(path, lexical="en")
    with Store.open(path) as store, Store.open(path, "r") as other, Store.open(path, "r") as late:
        expected = answers(other)
        wrong, stopped = [], threading.Event()

        def search():
            while not stopped.is_set():
                try:
                    assert answers(late) == expected
                    assert len(late.get(["3", "0"])) == 2
                    check_words(late, live)
                except BaseException as error:
                    wrong.append(error)

        thread = threading.Thread(target=search)
        thread.start()
        try:
            done = store.compact()
        finally:
            stopped.set()
            thread.join()
        assert done.n_dropped == N + 1 - len(live)
        assert not wrong
        assert answers(other) == expected == answers(store)
        for handle in (store, other, late):
            check_words(handle, live, is_folded=True)
        other.refresh()
        assert other.stats().n_dead_rows == 0


def test_a_reader_in_the_middle_holds_the_space_back_and_that_is_said(path):
    worn(path)
    with Store.open(path, lock_timeout=0.1) as store, Store.open(path, "r") as other:
        with other._handle.view() as (reading, snapshot):
            n_rows = snapshot.index.n_rows
            done = store.compact()
            assert done.was_held_back
            assert reading.head().n_rows == n_rows == N + 1
            assert len(reading.documents_by_row([N])) == 1
        again = store.compact()
        assert not again.was_held_back
        assert again.bytes_after < done.bytes_after


def test_an_iteration_goes_on_across_it(path):
    live = worn(path)
    with Store.open(path) as store:
        for stop in (1, 255, 256, 700, len(live) - 1):
            store.add(vectors=ROWS[:1], ids=[IDS[0]], metadata=[{"again": stop}])  # so that there is a dead row
            found = []
            for document in store.iter():
                found.append(document.id)
                if len(found) == stop:
                    store.delete([found[0], "none"])
                    store.compact()
                    store.add(vectors=ROWS[[int(found[0])]], ids=[found[0]])
            assert [id_ for id_ in found if id_ != found[0]] == [id_ for id_ in dict.fromkeys(found) if id_ != found[0]]
            assert {*found, IDS[0]} == {IDS[i] for i in live}


def test_an_iteration_that_lost_its_place_says_so(path):
    filled(path)
    with Store.open(path) as store:
        documents = store.iter()
        store.delete([next(documents).id for _ in range(256)])
        store.compact()
        with pytest.raises(UnsupportedMode, match="compacted"):
            next(documents)
        filtered = store.iter(where={})
        store.delete([next(filtered).id for _ in range(256)])
        store.compact()
        with pytest.raises(UnsupportedMode, match="compacted"):
            next(filtered)


def test_texts_encoded_for_a_recoding_are_not_given_to_other_rows(path):
    """Rows get other numbers while texts are encoded, before the lock and after the first page."""
    texts = sentences(300)
    calls = []

    class Meddling(WordEncoder):
        def encode_document(self, some):
            calls.append(len(some))
            if calls[-2:] == [256, 44]:  # the second page
                with Store.open(path) as other:
                    other.compact()
            return super().encode_document(some)

    with Store.open(path, encoder=WordEncoder(), keep_vectors="none") as store:
        store.add([*texts[:50], *texts], ids=[*(f"x{i}" for i in range(50)), *IDS[:300]])
        store.delete([f"x{i}" for i in range(50)])
        before = {hit.id: hit.score for hit in store.search(texts[150], k=300)}
        generation = store.info().generation
    with Store.open(path, encoder=Meddling()) as store, pytest.warns(UserWarning, match="encoding"):
        store.recode("sign")
        assert store.info().generation == generation + 2
        assert {hit.id: hit.score for hit in store.search(texts[150], k=300)} == before


def test_a_damaged_store_is_left_as_it_is(path):
    worn(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE documents SET text = 'other' WHERE row = 9")
        connection.commit()
    with Store.open(path) as store:
        before = store.count()
        with pytest.raises(CorruptStore, match="row 9"):
            store.compact()
        assert store.count() == before
        assert [finding.place for finding in store.verify()] == ["document '9' (row 9)"]


def test_it_is_refused_where_it_cannot_be_done(path):
    filled(path, range(3))
    with Store.open(path) as store, store.transaction(), pytest.raises(UnsupportedMode):
        store.compact()
    with Store.open(path, "r") as store, pytest.raises(ReadOnlyStore):
        store.compact()


def test_it_survives_a_kill_at_any_moment(path, peer):
    live = worn(path, lexical="en")
    original = path.read_bytes()
    with Store.open(path) as store:
        expected = answers(store)
        start = time.perf_counter()
        store.compact()
        seconds = time.perf_counter() - start
    draw = random.Random(0)
    outcomes = set()
    for _ in range(5):
        path.write_bytes(original)
        for suffix in ("-wal", "-shm", "-lock"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        process = peer()
        process.run("store = Store.open(path); result = 1", path=str(path))
        process.send("store.compact()")
        time.sleep(draw.random() * 1.5 * seconds)
        process.kill()
        with Store.open(path) as store:
            assert answers(store) == expected
            check_words(store, live, is_folded=store.stats().n_dead_rows == 0)
            assert store.verify() == []
            outcomes.add(store.stats().n_dead_rows)
    assert outcomes <= {0, N + 1 - len(live)}
