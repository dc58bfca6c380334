"""Stores whose codes are scanned by tables, and hold the places of their rescale factors: additive ones."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import reference
from fakes import WordEncoder, vectors_of

from binrag import CorruptStore, Store
from binrag.binarizers import SignBinarizer
from binrag.binarizers.additive import AdditiveBinarizer

DIM, N = 64, 4096 + 150
IDS = [f"d{i}" for i in range(N)]


def vectors(n, seed=0):
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((DIM, DIM)))[0]
    return ((vectors_of(n, DIM, seed) / np.sqrt(1 + np.arange(DIM))) @ turn + 0.05).astype(np.float32)


ROWS, LATER, QUERIES = vectors(N), vectors(60, seed=1), vectors(6, seed=2)
FIRST = [0, 7, 4094, 4095, 4096, N - 1]
"""Rows on both sides of edges, to be replaced; those after them are deleted."""


@pytest.fixture(scope="module")
def binarizer():
    return AdditiveBinarizer.fit(reference.unit(vectors(900, seed=3)), code_bytes=18, n_rounds=2)


def fill(store):
    """Add, replace some and delete some, across the edge of the block."""
    store.add(vectors=ROWS, ids=IDS)
    store.add(vectors=LATER[: len(FIRST)], ids=[IDS[row] for row in FIRST])
    store.delete([IDS[row + 1] for row in FIRST[:-1] if row + 1 not in FIRST])
    return store


def documents():
    """What `fill` leaves, by id, in the order of rows."""
    found = dict(zip(IDS, ROWS, strict=True))
    for row, vector in zip(FIRST, LATER, strict=False):
        del found[IDS[row]]
        found[IDS[row]] = vector
    for row in FIRST[:-1]:
        if row + 1 not in FIRST:
            del found[IDS[row + 1]]
    return found


def answers(store):
    return [store.search_batch(QUERIES, k=k, n_candidates=n) for k, n in ((10, None), (30, 40), (100, 2 * N))]


def sql(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


@pytest.fixture(scope="module")
def filled(binarizer, tmp_path_factory):
    """(bytes of the file, answers) of a store that keeps no vectors."""
    path = tmp_path_factory.mktemp("filled") / "s"
    with Store.open(path, binarizer=binarizer, keep_vectors="none") as store:
        expected = answers(fill(store))
    return path.read_bytes(), expected


def test_answers_are_those_of_the_oracles(binarizer, filled):
    """The candidates of the scan by tables, in the order of the sums of the whole codes."""
    found = documents()
    ids, codes = list(found), binarizer.transform(reference.unit(np.stack(list(found.values()))))
    for query, hits in zip(QUERIES, filled[1][1], strict=True):
        prepared = binarizer.query(reference.unit(query[None])[0])
        scores = reference.decoded_scores(codes, prepared)
        scanned = reference.table_topk(reference.bytes_of_words(codes.words), prepared.costs, 40)
        assert {hit.id for hit in hits} <= {ids[row] for _, row in scanned}
        best = sorted((scores[row] for _, row in scanned), reverse=True)[:30]
        assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-3)
        assert [hit.score for hit in hits] == pytest.approx([scores[ids.index(hit.id)] for hit in hits], abs=1e-3)


def test_it_is_as_it_was_when_opened_again(binarizer, filled, path):
    path.write_bytes(filled[0])
    for mode, given in (
        ("r", {}),
        ("rw", {"binarizer": binarizer}),
        ("c", {"binarizer": "additive", "code_bytes": 18}),
    ):
        with Store.open(path, mode, **given) as store:
            assert answers(store) == filled[1]
            info, stats = store.info(), store.stats()
            assert (info.binarizer, info.code_bytes, info.n_documents) == ("additive", 18, len(documents()))
            assert stats.n_rows - stats.n_dead_rows == len(documents())
            n_groups = -(-stats.n_rows // 16)
            assert stats.code_disk_bytes == 18 * stats.n_rows + 2 * 512  # liveness too
            assert 0 <= stats.memory_bytes - 18 * 16 * n_groups <= 2 * 4096 // 8


def test_what_is_in_the_file(binarizer, filled, path):
    """Blocks of codes hold bytes of 16 rows side by side; there is no block of factors, and none in the tail."""
    path.write_bytes(filled[0])
    sizes = sql(path, "SELECT part, no, length(data) FROM blocks WHERE part NOT IN ('live', 'metadata') ORDER BY part")
    assert sizes == [("codes", 0, 8 * 4096), ("rest", 0, 10 * 4096)]
    codes = binarizer.transform(reference.unit(ROWS))
    [(data,)] = sql(path, "SELECT data FROM blocks WHERE part = 'codes'")
    expected = reference.grouped(reference.bytes_of_words(codes.words[:4096]))
    assert np.array_equal(np.frombuffer(data, np.uint8).reshape(256, 8, 16), expected)
    tail = sql(path, "SELECT codes, rest, length(rescale), typeof(rescale) FROM tail ORDER BY row")
    assert len(tail) == N + len(FIRST) - 4096
    assert {row[2:] for row in tail} == {(0, "blob")}
    assert [row[0] for row in tail][: N - 4096] == [words.tobytes() for words in codes.words[4096:].astype("<u8")]
    assert [row[1] for row in tail][: N - 4096] == [rest.tobytes() for rest in codes.rest[4096:]]


@pytest.mark.parametrize("sizes", [[4095, 1, 1, 200], [1, 4094, 2, 150], [4096, 150], [3000, 1246], [16] * 266])
def test_sizes_of_adds_do_not_matter(binarizer, path, sizes):
    with (
        Store.open(path, binarizer=binarizer, keep_vectors="none") as store,
        Store.open(path.with_name("bulk"), binarizer=binarizer, keep_vectors="none") as bulk,
        Store.open(path, "r") as watching,
    ):
        start = 0
        for size in sizes:
            store.add(vectors=ROWS[start : start + size], ids=IDS[start : start + size])
            start += size
            if size > 16:
                assert watching.search(QUERIES[0], k=20) == store.search(QUERIES[0], k=20)
        bulk.add(vectors=ROWS, ids=IDS)
        assert answers(store) == answers(watching) == answers(bulk)
    with Store.open(path, "r") as again, Store.open(path.with_name("bulk"), "r") as bulk:
        assert answers(again) == answers(bulk)


def test_kept_vectors_have_the_last_word(binarizer, path):
    with Store.open(path, binarizer=binarizer) as store:
        fill(store)
        found = documents()
        products = reference.unit(np.stack(list(found.values()))) @ reference.unit(QUERIES).T
        for query, scores in zip(QUERIES, products.T, strict=True):
            hits = store.search(query, k=10, n_candidates=500)
            assert [hit.score for hit in hits] == pytest.approx(np.sort(scores)[::-1][:10], abs=0.01)


@pytest.mark.parametrize("other", ["sign", "additive"])
def test_recoding_to_and_from_it(binarizer, path, filled, other):
    """To an additive one of more bytes, too: which it is decides what bytes mean."""
    another = SignBinarizer(DIM)
    if other == "additive":
        another = AdditiveBinarizer.fit(reference.unit(vectors(900, seed=4)), code_bytes=24, n_rounds=1)
    given = np.stack(list(documents().values()))
    with Store.open(path.with_name("other"), binarizer=another, keep_vectors="none") as store:
        expected = answers(fill(store))
    with Store.open(path, binarizer=another, keep_vectors="none") as store, Store.open(path, "r") as watching:
        fill(store)
        assert answers(watching) == expected
        store.recode(binarizer, vectors=given)
        assert answers(store) == answers(watching) == filled[1]
        assert {part for (part,) in sql(path, "SELECT DISTINCT part FROM blocks")} == {
            "codes",
            "rest",
            "live",
            "metadata",
        }
        assert sql(path, "SELECT DISTINCT length(rescale) FROM tail") == [(0,)]
        store.add(vectors=LATER[50:], ids=[f"n{i}" for i in range(10)])
        store.delete([f"n{i}" for i in range(10)])
        assert answers(store) == answers(watching) == filled[1]
        store.recode(another, vectors=given)
        assert answers(store) == answers(watching) == expected
    with Store.open(path, "r") as store:
        assert answers(store) == expected
        assert store.info().code_bytes == another.code_bytes


FLIPPED = [
    ("blocks", "data", "part = 'codes'", "block 0 of part 'codes'"),
    ("blocks", "data", "part = 'rest'", "block 0 of part 'rest'"),
    ("tail", "codes", "row = 4100", "tail row 4100"),
    ("tail", "rest", "row = 4100", "tail row 4100"),
]


@pytest.mark.parametrize(("table", "column", "where", "place"), FLIPPED, ids=str)
@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_a_flipped_bit_is_found(filled, path, table, column, where, place, at):
    path.write_bytes(filled[0])
    with closing(sqlite3.connect(path)) as connection:
        [(value,)] = connection.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchall()
        value = bytearray(value)
        value[int(at * (len(value) - 1))] ^= 16
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (bytes(value),))
        connection.commit()
    with Store.open(path, "r") as store, pytest.raises(CorruptStore, match=f"checksum mismatch in {place}"):
        store.search(QUERIES[0])


@pytest.mark.parametrize("part", ["codes", "rest"])
def test_a_missing_block_is_missed(filled, path, part):
    path.write_bytes(filled[0])
    sql(path, f"DELETE FROM blocks WHERE part = '{part}'")
    with Store.open(path, "r") as store, pytest.raises(CorruptStore, match=part):
        store.search(QUERIES[0])


def test_vectors_of_any_length(binarizer, path):
    """Far longer and shorter than those it was fitted to: no warning, and those on the query's side come first."""
    long = np.concatenate([QUERIES * np.float32(1e6), -QUERIES * np.float32(1e6), ROWS[:50] * np.float32(1e-6)])
    encoder = WordEncoder(DIM, similarity="dot")
    with Store.open(path, encoder=encoder, binarizer=binarizer, keep_vectors="none") as store:
        store.add(vectors=long, ids=IDS[: len(long)])
        for i, query in enumerate(QUERIES):
            ids = [hit.id for hit in store.search(query, k=len(long), n_candidates=len(long))]
            assert ids.index(IDS[i]) < ids.index(IDS[i + 6])
