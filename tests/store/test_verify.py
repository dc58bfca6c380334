"""`verify` finds what is damaged, all of it, once, and says where; it has nothing to say about a sound store."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from fakes import WordEncoder, sentences, topical, vectors_of
from words_oracle import WordsOracle

import binrag
from binrag import CorruptStore, Finding, Store, StoreClosed, StoreNotFound, UnsupportedMode
from binrag.filters import pack_columns
from binrag.storage.records import checksum, pack

N = 4096 + 40
TEXTS = sentences(N)
IDS = [f"id{i}" for i in range(N)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A closed store with a full block, a tail, dead rows in both, and words in a header, three blocks and a tail."""
    path = tmp_path_factory.mktemp("sound") / "store.binrag"
    with (
        pytest.MonkeyPatch.context() as patch,
        Store.open(path, encoder=WordEncoder(), auto_fit=False, lexical="en") as store,
    ):
        patch.setattr("binrag.lexical.blocks.BYTES", 90_000)
        store.add(TEXTS, ids=IDS, metadata=[{"n": i} for i in range(N)])
        store.delete(["id5", "id4100"])
        store.add([TEXTS[6]], ids=["id6"])
        store.ledger("pages").put(["key"], ["group"])
    return path.read_bytes()


@pytest.fixture
def copy(sound, path):
    path.write_bytes(sound)
    return path


def sql(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))
        connection.commit()


def found(path):
    return [(finding.kind, finding.place) for finding in binrag.verify(path)]


def test_a_sound_store_has_no_findings_and_is_not_touched(copy, sound):
    assert binrag.verify(copy) == []
    assert copy.read_bytes() == sound
    assert [file.name for file in copy.parent.iterdir()] == [copy.name]
    with Store.open(copy, "r") as store:
        assert store.verify() == []
    with pytest.raises(StoreClosed):
        store.verify()


def test_stores_of_every_kind_are_sound(path):
    def kinds():
        yield {}
        yield {"keep_vectors": "none"}
        yield {"keep_vectors": "float16", "binarizer": "rotated-sign"}
        yield {"lexical": "any"}

    for i, options in enumerate(kinds()):
        place = path.with_name(f"s{i}")
        with Store.open(place, **options, auto_fit=False) as store:
            assert store.verify() == []  # nothing in it yet
            store.add(TEXTS, vectors=topical(N, 70), ids=map(str, range(N)))
            store.delete([str(i) for i in range(0, N, 3)])
            assert store.verify() == []
            if store.info().keep_vectors != "none":
                store.train_binarizer("nested", force=True)
                assert store.verify() == []
        assert binrag.verify(place) == []


def test_what_others_write_meanwhile_is_no_finding(store):
    store.add(["an apple", "a river"])
    with Store.open(store.path, encoder=WordEncoder()) as other, other.transaction():
        other.add(["a stone"])
        assert store.verify() == []
    assert store.verify() == []


def flipped(table, column, where):
    def damage(path):
        with closing(sqlite3.connect(path)) as connection:
            query = f"SELECT CAST({column} AS BLOB), typeof({column}) FROM {table} WHERE {where}"
            value, kind = connection.execute(query).fetchone()
            middle = len(value) // 2
            value = value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
            assert connection.execute(
                f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {where}", (value,)
            ).rowcount
            connection.commit()

    return damage


def renewed(key, change):
    """Change a record of meta and its checksum with it: sound bytes, wrong words."""

    def damage(path):
        with Store.open(path, "r") as store, store._handle.database.reading() as reading:
            record = pack(change(reading.get(key)))
        sql(path, ("UPDATE meta SET value = ?, checksum = ? WHERE key = ?", (record, checksum(key, record), key)))

    return damage


def replaced(part, no, data, n_rows=4096, generation=1):
    def damage(path):
        fields = (part, no, generation, n_rows, data)
        sql(
            path,
            (
                "INSERT OR REPLACE INTO blocks (part, no, generation, n_rows, data, checksum) VALUES (?,?,?,?,?,?)",
                (*fields, checksum(*fields)),
            ),
        )

    return damage


def by_sql(*statements):
    return lambda path: sql(path, *statements)


CASES = {
    "text": (flipped("documents", "text", "row = 17"), [("checksum", "document 'id17' (row 17)")]),
    "text, no UTF-8": (
        by_sql("UPDATE documents SET text = CAST(x'61ff62' AS TEXT) WHERE row = 17"),
        [("checksum", "document b'id17' (row 17)")],
    ),
    "metadata": (flipped("documents", "metadata", "row = 4099"), [("checksum", "document 'id4099' (row 4099)")]),
    "a number for text": (
        by_sql("UPDATE documents SET metadata = 1.5 WHERE row = 17"),
        [("checksum", "document 'id17' (row 17)")],
    ),
    "vector": (flipped("vectors", "vector", "row = 17"), [("checksum", "vector of row 17")]),
    "sample": (flipped("sample", "vector", "row = 17"), [("checksum", "sampled vector of row 17")]),
    "tail": (flipped("tail", "codes", "row = 4101"), [("checksum", "tail row 4101")]),
    "codes": (flipped("blocks", "data", "part = 'codes'"), [("checksum", "block 0 of part 'codes'")]),
    "live": (flipped("blocks", "data", "part = 'live' AND no = 1"), [("checksum", "block 1 of part 'live'")]),
    "head": (flipped("meta", "value", "key = 'head'"), [("checksum", "meta record 'head'")]),
    "space": (flipped("meta", "value", "key = 'space'"), [("checksum", "meta record 'space'")]),
    "two": (
        lambda path: (flipped("documents", "text", "row = 17")(path), flipped("tail", "codes", "row = 4101")(path)),
        [("checksum", "document 'id17' (row 17)"), ("checksum", "tail row 4101")],
    ),
    "no document": (by_sql("DELETE FROM documents WHERE row = 17"), [("missing", "document of row 17")]),
    "no vector": (by_sql("DELETE FROM vectors WHERE row = 17"), [("missing", "kept vector of row 17")]),
    "no tail row": (by_sql("DELETE FROM tail WHERE row = 4101"), [("missing", "tail row 4101")]),
    "no codes": (by_sql("DELETE FROM blocks WHERE part = 'codes'"), [("missing", "block 0 of part 'codes'")]),
    "no liveness": (
        by_sql("DELETE FROM blocks WHERE part = 'live' AND no = 0"),
        [("missing", "block 0 of part 'live'")],
    ),
    "no head": (by_sql("DELETE FROM meta WHERE key = 'head'"), [("missing", "meta record 'head'")]),
    "no binarizer": (by_sql("DELETE FROM meta WHERE key = 'binarizer'"), [("missing", "meta record 'binarizer'")]),
    "a sampled vector less": (by_sql("DELETE FROM sample WHERE row = 17"), [("count", "meta record 'head'")]),
    "generation": (
        renewed("head", lambda head: {**head, "generation": 2}),
        [("count", f"block {no} of part 'live'") for no in (0, 1)],
    ),
    "rows": (renewed("head", lambda head: {**head, "n_rows": 2**40}), [("count", "meta record 'head'")]),
    "negative": (renewed("head", lambda head: {**head, "n_rows": -1}), [("record", "meta record 'head'")]),
    "other words": (renewed("settings", lambda _: {"colour": 1}), [("record", "meta record 'settings'")]),
    "no map": (renewed("space", lambda _: [1]), [("record", "meta record 'space'")]),
    "unknown binarizer": (
        renewed("binarizer", lambda record: {**record, "component_id": "x"}),
        [("record", "meta record 'binarizer'")],
    ),
    "short codes": (replaced("codes", 0, b"123", generation=3), [("record", "block 0 of part 'codes'")]),
    "old codes": (
        replaced("codes", 0, bytes(4096 * 8), generation=0),
        [("count", "block 0 of part 'codes'"), ("code", "the codes of rows 0 to 4064")],
    ),
    "metadata of other documents": (
        replaced("metadata", 0, pack_columns([{"metadata.n": i // 2} for i in range(4096)])),
        [("code", "block 0 of part 'metadata'")],
    ),
    "metadata of dead rows": (
        replaced("metadata", 0, pack_columns([{"metadata.n": 7 if i in (5, 6) else i} for i in range(4096)])),
        [],
    ),
    "metadata that is none": (replaced("metadata", 0, b"123"), [("record", "block 0 of part 'metadata'")]),
    "a block too many": (replaced("codes", 7, bytes(4096 * 8)), [("extra", "block 7 of part 'codes'")]),
    "bits past the last row": (
        replaced("live", 1, b"\xef" + b"\xff" * 511, n_rows=41),
        [("extra", "block 1 of part 'live'")],
    ),
    "rows of a block": (
        lambda path: flipped_rows(path),
        [("count", "block 0 of part 'live'")],
    ),
    "words": (flipped("blocks", "data", "part = 'lexical' AND no = 1"), [("checksum", "block 1 of part 'lexical'")]),
    "words' header": (
        flipped("blocks", "data", "part = 'lexical' AND no = 0"),
        [("checksum", "block 0 of part 'lexical'")],
    ),
    "words' checksum": (
        flipped("blocks", "checksum", "part = 'lexical' AND no = 1"),
        [("checksum", "block 1 of part 'lexical'")],
    ),
    "no words": (by_sql("DELETE FROM blocks WHERE part = 'lexical'"), [("record", "part 'lexical'")]),
    "no header of words": (
        by_sql("DELETE FROM blocks WHERE part = 'lexical' AND no = 0"),
        [("missing", "part 'lexical'")],
    ),
    "no second block of words": (
        by_sql("DELETE FROM blocks WHERE part = 'lexical' AND no = 2"),
        [("missing", "part 'lexical'")],
    ),
    "no last block of words": (
        by_sql(
            "DELETE FROM blocks WHERE part = 'lexical' AND no = (SELECT max(no) FROM blocks WHERE part = 'lexical')"
        ),
        [("record", "part 'lexical'")],
    ),
    "a block of words too many": (
        lambda path: replaced("lexical", n_word_blocks(path), b"1234")(path),
        [("record", "part 'lexical'")],
    ),
    "a block of words far off": (replaced("lexical", 99, b"1234"), [("missing", "part 'lexical'")]),
    "a negative block of words": (replaced("lexical", -1, b"1234"), [("missing", "part 'lexical'")]),
    "words in another order": (
        lambda path: swapped(1, 2)(path),
        [("record", "part 'lexical'")],
    ),
    "words of no commit": (
        lambda path: replaced("lexical", 0, block_of(path, 0), generation=99)(path),
        [("count", "block 0 of part 'lexical'")],
    ),
    "words' header that is none": (replaced("lexical", 0, b"123"), [("record", "part 'lexical'")]),
    "words' record": (flipped("meta", "value", "key = 'lexical'"), [("checksum", "meta record 'lexical'")]),
    "words without a record": (by_sql("DELETE FROM meta WHERE key = 'lexical'"), [("count", "part 'lexical'")]),
    "words' rows": (renewed("lexical", lambda record: {**record, "n_rows": 17}), [("count", "part 'lexical'")]),
    "words of no rows": (renewed("lexical", lambda record: {**record, "n_rows": 0}), [("count", "part 'lexical'")]),
    "words' language": (
        renewed("lexical", lambda record: {**record, "language": "xx"}),
        [("record", "meta record 'lexical'")],
    ),
    "words' other language": (
        renewed("lexical", lambda record: {**record, "language": "any"}),
        [("record", "part 'lexical'")],
    ),
    "words' other fields": (renewed("lexical", lambda _: {"language": "en"}), [("record", "meta record 'lexical'")]),
    "words' rows, no number": (
        renewed("lexical", lambda record: {**record, "n_rows": "x"}),
        [("record", "meta record 'lexical'")],
    ),
    "words' generation": (
        renewed("lexical", lambda record: {**record, "generation": None}),
        [("record", "meta record 'lexical'")],
    ),
    "a trigger": (
        by_sql("CREATE TRIGGER t AFTER DELETE ON documents BEGIN DELETE FROM vectors; END"),
        [("schema", "trigger 't'")],
    ),
    "a table": (by_sql("CREATE TABLE mine (x)"), [("schema", "table 'mine'")]),
    "no index": (by_sql("DROP INDEX blocks_by_generation"), [("schema", "index 'blocks_by_generation'")]),
    "a view": (
        by_sql("ALTER TABLE vectors RENAME TO v", "CREATE VIEW vectors AS SELECT * FROM v"),
        [("schema", "table 'v'"), ("schema", "view 'vectors'"), ("schema", "table 'vectors'")],
    ),
    "header": (by_sql("PRAGMA application_id = 17"), [("file", "the header")]),
}


def block_of(path, no):
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT data FROM blocks WHERE part = 'lexical' AND no = ?"
        return connection.execute(query, (no,)).fetchone()[0]


def n_word_blocks(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM blocks WHERE part = 'lexical'").fetchone()[0]


def swapped(one, other):
    """Blocks of words that changed places, with the right checksums."""

    def damage(path):
        first, second = block_of(path, one), block_of(path, other)
        replaced("lexical", one, second)(path)
        replaced("lexical", other, first)(path)

    return damage


def flipped_rows(path):
    with closing(sqlite3.connect(path)) as connection:
        (data,) = connection.execute("SELECT data FROM blocks WHERE part = 'live' AND no = 0").fetchone()
    replaced("live", 0, data, n_rows=4095, generation=2)(path)


@pytest.mark.parametrize("name", CASES)
def test_damage_is_found_once_with_its_place(copy, name):
    damage, expected = CASES[name]
    damage(copy)
    places = found(copy)
    assert len(places) == len(set(places))

    assert sorted(places) == sorted(expected)


WORDS = [name for name in CASES if "words" in name and name not in ("other words", "words of no commit")]


@pytest.mark.parametrize("name", WORDS)
def test_damaged_words_are_no_answers(copy, name):
    CASES[name][0](copy)
    with pytest.raises((CorruptStore, UnsupportedMode)), Store.open(copy, "r") as store:
        store.search("silver", legs="lexical")


@pytest.mark.parametrize("name", ["words", "words without a record", "words' language"])
def test_documents_whose_words_are_damaged_are_all_saved(copy, name):
    """And words are found in them, at once or after they are indexed."""
    with Store.open(copy, "r") as store:
        documents = list(store.iter())
    CASES[name][0](copy)
    target = copy.with_name("new")
    done = binrag.repair(copy, target)
    assert (done.n_saved, done.n_lost, binrag.verify(target)) == (len(documents), 0, [])
    with Store.open(target) as store:
        assert list(store.iter()) == documents
        if name == "words":
            WordsOracle().follow(store).check_words(store, "silver river 17")
        store.index_words()
        WordsOracle().follow(store).check_words(store, "silver river 17")


def test_the_check_goes_on_where_sqlite_gives_up(copy, sound):
    """A page of documents is overwritten: SQLite calls it malformed, and what else is damaged is found too."""
    flipped("vectors", "vector", "row = 17")(copy)
    flipped("documents", "text", "row = 4110")(copy)
    data = bytearray(copy.read_bytes())
    place = data.index(TEXTS[2000].encode()) // 16384 * 16384
    data[place : place + 16384] = b"\xa5" * 16384
    copy.write_bytes(data)
    findings = binrag.verify(copy)
    places = [finding.place for finding in findings]
    assert any(finding.kind == "file" and finding.place.startswith("documents, row ") for finding in findings)
    assert {"vector of row 17", "document 'id4110' (row 4110)"} <= set(places)
    assert not any(finding.kind in ("missing", "extra") for finding in findings)
    with Store.open(copy, "r") as store, pytest.raises(CorruptStore):
        list(store.iter())


@pytest.mark.parametrize("name", ["empty", "text", "zeros", "short", "half", "header", "schema"])
def test_a_file_that_cannot_be_opened_is_described(copy, sound, name):
    contents = {
        "empty": b"",
        "text": b"hello, world\n" * 1000,
        "zeros": bytes(100_000),
        "short": sound[:50],
        "half": sound[: len(sound) // 2],
        "header": b"X" * 40 + sound[40:],
        "schema": sound[:100] + bytes(16284) + sound[16384:],
    }
    copy.write_bytes(contents[name])
    findings = binrag.verify(copy)
    assert findings
    assert {finding.kind for finding in findings} <= {"file", "schema", "checksum", "missing", "count"}
    assert str(findings[0]).count(": ") >= 2


def test_what_is_no_damage_is_raised(path):
    with pytest.raises(StoreNotFound):
        binrag.verify(path)
    with pytest.raises(StoreNotFound):
        binrag.verify(path.parent)


def coded_by(change, path, vectors, **options):
    """Write codes of other vectors, without damage: what a fault of ours would look like."""
    with Store.open(path, auto_fit=False, **options) as store:
        store.add(vectors=vectors, ids=map(str, range(len(vectors))))
        store.recode("sign", vectors=change(vectors))
        return [finding.place for finding in store.verify() if finding.kind == "code"]


@pytest.mark.parametrize("n", [200, 4096 + 200])
def test_codes_of_other_vectors_are_found(path, n):
    rows = topical(n, 64)
    expected = (
        ["the codes of rows 0 to 199"] if n == 200 else ["the codes of rows 0 to 4064", "the codes of rows 4096 to"]
    )
    places = coded_by(lambda vectors: np.roll(vectors, 1, axis=0), path, rows)
    assert [place[: len(wanted)] for place, wanted in zip(places, expected, strict=True)] == expected
    assert coded_by(lambda vectors: vectors, path.with_name("right"), rows) == []


@pytest.mark.parametrize("kind", ["one large coordinate", "all the same", "sparse", "large", "tiny"])
def test_vectors_that_are_kept_badly_raise_no_alarm(path, kind):
    rows = vectors_of(300, 64)
    if kind == "one large coordinate":  # int8 keeps the others as zeros
        rows[:, 7] = 1e4
    elif kind == "all the same":
        rows[:] = rows[0]
    elif kind == "sparse":
        rows[np.random.default_rng(0).random(rows.shape) < 0.97] = 0
        rows[:, 0] += 0.1
    else:
        rows *= 1e15 if kind == "large" else 1e-15
    with Store.open(path) as store:
        store.add(vectors=rows)
        assert store.verify() == []


def test_progress_counts_rows(copy):
    seen = []
    with Store.open(copy, "r") as store:
        store.verify(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4096, N + 1), (N + 1, N + 1)]
    assert isinstance(Finding("file", "a", "b"), Finding)
