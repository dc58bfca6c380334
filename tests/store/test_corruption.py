"""Damage is found, named, and never answered from."""

import random
import sqlite3
from contextlib import closing, suppress

import numpy as np
import pytest
from fakes import WordEncoder, sentences

from binrag import BinragError, CorruptStore, Document, NotAStore, Store

N = 4096 + 40
TEXTS = sentences(N)
IDS = [f"id{i}" for i in range(N)]
QUERY = "silver river 17 copper"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A closed store with a full block and a tail, and an index of words."""
    path = tmp_path_factory.mktemp("sound") / "store.binrag"
    with Store.open(path, encoder=WordEncoder(), lexical="en") as store:
        store.add(TEXTS, ids=IDS, metadata=[{"n": i} for i in range(N)])
    return path.read_bytes()


@pytest.fixture
def damaged(sound, path):
    """Return what flips one bit of a column, by SQL, and returns the path; ``damaged.path`` is the path."""
    path.write_bytes(sound)

    def damage(table, column, where):
        with closing(sqlite3.connect(path)) as connection:
            query = f"SELECT CAST({column} AS BLOB), typeof({column}) FROM {table} WHERE {where}"
            value, kind = connection.execute(query).fetchone()
            middle = len(value) // 2
            flipped = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
            changed = connection.execute(f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {where}", (flipped,))
            assert changed.rowcount == 1
            connection.commit()
        return path

    damage.path = path
    return damage


def read_everything(path):
    with Store.open(path, "r", encoder=WordEncoder()) as store:
        store.search(TEXTS[17], k=100)
        store.search(TEXTS[17], k=100, legs="hybrid")
        list(store.iter())
        store.info()
        store.stats()
        with store._handle.database.reading() as reading:
            reading.sample()


PLACES = [
    ("documents", "text", "row = 17", r"document 'id17' \(row 17\)"),
    ("documents", "metadata", "row = 17", r"document 'id17' \(row 17\)"),
    ("documents", "id", "row = 17", r"document '.*' \(row 17\)"),
    ("documents", "checksum", "row = 17", r"document 'id17' \(row 17\)"),
    ("vectors", "vector", "row = 17", "vector of row 17"),
    ("vectors", "checksum", "row = 17", "vector of row 17"),
    ("sample", "vector", "row = 17", "sampled vector of row 17"),
    ("tail", "codes", "row = 4100", "tail row 4100"),
    ("tail", "rescale", "row = 4100", "tail row 4100"),
    ("tail", "checksum", "row = 4100", "tail row 4100"),
    ("blocks", "data", "part = 'codes' AND no = 0", "block 0 of part 'codes'"),
    ("blocks", "data", "part = 'rescale'", "block 0 of part 'rescale'"),
    ("blocks", "data", "part = 'live' AND no = 0", "block 0 of part 'live'"),
    ("blocks", "data", "part = 'live' AND no = 1", "block 1 of part 'live'"),
    ("blocks", "data", "part = 'lexical' AND no = 0", "block 0 of part 'lexical'"),
    ("blocks", "data", "part = 'lexical' AND no = 1", "block 1 of part 'lexical'"),
    ("meta", "value", "key = 'lexical'", "meta record 'lexical'"),
    ("blocks", "checksum", "part = 'codes' AND no = 0", "block 0 of part 'codes'"),
    ("meta", "value", "key = 'head'", "meta record 'head'"),
    ("meta", "value", "key = 'settings'", "meta record 'settings'"),
    ("meta", "value", "key = 'space'", "meta record 'space'"),
    ("meta", "value", "key = 'binarizer'", "meta record 'binarizer'"),
    ("meta", "value", "key = 'encoder'", "meta record 'encoder'"),
    ("meta", "checksum", "key = 'head'", "meta record 'head'"),
]


@pytest.mark.parametrize(("table", "column", "where", "place"), PLACES, ids=lambda value: str(value)[:20])
def test_a_flipped_bit_is_found_and_its_place_named(damaged, table, column, where, place):
    path = damaged(table, column, where)
    with pytest.raises(CorruptStore, match=f"checksum mismatch in {place}") as error:
        read_everything(path)
    assert isinstance(error.value, ValueError)


def test_the_undamaged_file_reads(damaged):
    read_everything(damaged.path)


def sql(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize("byte", ["ff", "c3", "80"])
def test_a_text_that_is_no_text_any_more(damaged, byte):
    sql(damaged.path, f"UPDATE documents SET text = CAST(x'61{byte}62' AS TEXT) WHERE row = 17")
    with Store.open(damaged.path, "r", encoder=WordEncoder()) as store:
        for read in (lambda: store.get(["id17"]), lambda: list(store.iter()), lambda: store.search(TEXTS[17], k=1)):
            with pytest.raises(CorruptStore, match="row 17"):
                read()
        assert store.get(["id18"]) == [Document("id18", TEXTS[18], {"n": 18})]


MISSING = {
    "a document": ("DELETE FROM documents WHERE row = 17", "row 17"),
    "a vector": ("DELETE FROM vectors WHERE row = 17", "row 17"),
    "a tail row": ("DELETE FROM tail WHERE row = 4100", "tail"),
    "the last tail row": (f"DELETE FROM tail WHERE row = {N - 1}", "tail"),
    "the tail": ("DELETE FROM tail", "tail"),
    "codes": ("DELETE FROM blocks WHERE part = 'codes'", "codes"),
    "rescale factors": ("DELETE FROM blocks WHERE part = 'rescale'", "rescale"),
    "liveness": ("DELETE FROM blocks WHERE part = 'live' AND no = 1", "live"),
    "the first liveness": ("DELETE FROM blocks WHERE part = 'live' AND no = 0", "live"),
    "words": ("DELETE FROM blocks WHERE part = 'lexical'", "lexical"),
    "some words": ("DELETE FROM blocks WHERE part = 'lexical' AND no = 1", "lexical"),
    "the head": ("DELETE FROM meta WHERE key = 'head'", "head"),
    "the settings": ("DELETE FROM meta WHERE key = 'settings'", "settings"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_missed(damaged, name):
    statement, place = MISSING[name]
    sql(damaged.path, statement)
    with pytest.raises(CorruptStore, match=place):
        read_everything(damaged.path)


@pytest.mark.parametrize(("table", "row"), [("documents", 17), ("vectors", 17), ("tail", 4100)])
def test_rows_that_changed_places_are_found(damaged, table, row):
    sql(
        damaged.path,
        f"UPDATE {table} SET row = 99999 WHERE row = {row}",
        f"UPDATE {table} SET row = {row} WHERE row = {row + 1}",
        f"UPDATE {table} SET row = {row + 1} WHERE row = 99999",
    )
    with pytest.raises(CorruptStore, match=rf"checksum mismatch in .*row ({row}|{row + 1})\b"):
        read_everything(damaged.path)


def test_damage_elsewhere_does_not_hide_what_is_sound(damaged):
    damaged("documents", "text", "row = 17")
    with Store.open(damaged.path, encoder=WordEncoder()) as store:
        assert store.get(["id18"])[0].text == TEXTS[18]
        store.add(["a repaired apple"], ids=["id17"])
        assert store.get(["id17"])[0].text == "a repaired apple"
    read_everything(damaged.path)


@pytest.mark.parametrize("kept", [0, 0.001, 0.01, 0.3, 0.5, 0.9, -16384])
def test_a_file_cut_short(sound, path, kept):
    path.write_bytes(sound[:kept] if kept < 0 else sound[: int(len(sound) * kept)])
    with pytest.raises((CorruptStore, NotAStore)):
        read_everything(path)


@pytest.mark.parametrize("seed", range(8))
def test_a_byte_flipped_anywhere_is_an_error_or_has_no_effect(small, path, seed):
    """Whatever is hit: a typed error, or documents and scores as they were. Never other words, never a crash."""
    original, expected, hits, by_words = small
    draw = random.Random(seed)
    for _ in range(20):
        data = bytearray(original)
        place = draw.randrange(len(data))
        data[place] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with suppress(BinragError), Store.open(path, "r") as store:
            with suppress(BinragError):
                assert all(expected[document.id] == document for document in store.iter()), place
            with suppress(BinragError):
                assert all(expected[document.id] == document for document in store.get(list(expected))), place
            with suppress(BinragError):
                assert {hit.id: hit for hit in store.search(np.ones(48), k=60)}.items() <= hits.items(), place
            with suppress(BinragError):
                assert {hit.id: hit for hit in store.search(QUERY, k=60, legs="lexical")} == by_words, place
            with suppress(BinragError):
                store.stats()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(bytes, documents by id, hits by id, hits by words) of a store of 60 documents, the last of them not folded."""
    path = tmp_path_factory.mktemp("small") / "store.binrag"
    texts = sentences(60, n_words=120)
    vectors = np.random.default_rng(0).standard_normal((60, 48))
    with Store.open(path, keep_vectors="float16", lexical="en") as store:
        for some in (slice(50), slice(50, 60)):
            metadata = [{"n": i} for i in range(60)][some]
            store.add(texts[some], ids=IDS[:60][some], metadata=metadata, vectors=vectors[some])
            if some.start is None:
                store.index_words()
        documents = {document.id: document for document in store.iter()}
        hits = {hit.id: hit for hit in store.search(np.ones(48), k=60)}
        by_words = {hit.id: hit for hit in store.search(QUERY, k=60, legs="lexical")}
    return path.read_bytes(), documents, hits, by_words
