"""``docs/file-format.md`` is true: what reads stores by that page alone finds what was put in.

Nothing of binrag is imported here but what makes the files.
"""

import re
import sqlite3
import struct
import time
import unicodedata
from collections import Counter
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import groupby, pairwise

import msgpack
import numpy as np
import pytest
import xxhash
from level_binarizer import LevelBinarizer

from binrag import FdeConfig, LateInteraction, Lexical, Store
from binrag.registry import register

BLOCK, DIM = 4096, 20
N = BLOCK + 30
FIELDS = {
    "meta": "key, value",
    "documents": "row, tenant, id, text, metadata",
    "vectors": "row, vector",
    "sample": "row, vector",
    "tail": "row, codes, rest, rescale",
    "blocks": "part, no, generation, n_rows, data",
    "ledger": "tenant, namespace, key, group_id, updated",
}
EVERYTHING = {
    "nothing": None,
    "yes": True,
    "int": -7,
    "big": 2**64 - 1,
    "float": 1.5,
    "text": "Zoë",
    "bytes": b"\x00\xff",
    "naive": datetime(2024, 2, 29, 12, 30, 15, 250),
    "aware": datetime(1969, 7, 20, 20, 17, tzinfo=timezone(timedelta(hours=-5))),
    "date": date(1815, 12, 10),
    "list": [1, "two", None, [b"\x03", 1], {"a": 1}],
    "dict": {"inner": {"deep": 1.5}},
    "people": [{"name": "Ada"}, {"name": "Bo"}],
    "long": "x" * 127,
    "long_bytes": b"x" * 127,
    "long_list": list(range(1000, 1100)),
    "fits": "y" * 126,
}
COLUMNS = {
    "nothing": (1, None),
    "yes": (6, 1),
    "int": (6, -7),
    "big": (8, 2**64 - 1),
    "float": (7, 1.5),
    "text": (9, "Zoë"),
    "bytes": (10, b"\x00\xff"),
    "naive": (11, 1709209815000250),
    "aware": (12, -14164980000000),
    "date": (13, date(1815, 12, 10).toordinal()),
    "list": (14, [(6, 1), (9, "two"), (1, None), (14, [(10, b"\x03"), (6, 1)]), (5, None)]),
    "list.a": (14, [(6, 1)]),
    "dict": (5, None),
    "dict.inner": (5, None),
    "dict.inner.deep": (7, 1.5),
    "people": (14, [(5, None), (5, None)]),
    "people.name": (14, [(9, "Ada"), (9, "Bo")]),
    "long": (2, None),
    "long_bytes": (3, None),
    "long_list": (4, None),
    "fits": (9, "y" * 126),
}


def checksum(fields):
    framed = b""
    for value in fields:
        if value is None:
            framed += b"n"
            continue
        kind = {int: b"i", str: b"s", bytes: b"b"}[type(value)]
        data = {int: lambda x: struct.pack("<q", x), str: str.encode, bytes: bytes}[type(value)](value)
        framed += kind + struct.pack("<q", len(data)) + data
    return struct.unpack("<q", struct.pack("<Q", xxhash.xxh3_64_intdigest(framed)))[0]


def record(data):
    def extension(code, text):
        return {1: datetime, 2: date}[code].fromisoformat(text.decode())

    return msgpack.unpackb(data, ext_hook=extension)


def decoded(blob, dim, kind):
    (scale,) = struct.unpack("<f", blob[:4])
    levels = np.frombuffer(blob[4:], {"int8": "i1", "float16": "<f2"}[kind])
    assert len(levels) == dim
    return np.float32(scale) * levels.astype(np.float32)


def read_values(entries):
    """What codes stand for, from 1 on."""
    found, kinds = [(0, None)], [kind for kind, _, _ in entries]
    assert kinds == sorted(set(kinds))
    for kind, count, values in entries:
        if kind <= 5:
            assert (count, values) == (1, None)
            own = [None]
        elif kind == 7:
            own = np.frombuffer(values, "<f8").tolist()
        elif kind == 8:
            own = values
        elif kind in (9, 10):
            ends = np.cumsum(np.frombuffer(values[:count], np.uint8)) + count
            own = [values[start:end] for start, end in zip([count, *ends[:-1]], ends, strict=True)]
            own = [value.decode() for value in own] if kind == 9 else own
        elif kind == 14:
            lengths, items, codes = values
            inner = read_codes(codes, read_values(items))
            ends = np.cumsum(np.frombuffer(lengths, np.uint8))
            own = [inner[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        else:
            own = np.frombuffer(values, f"<i{len(values) // count}").tolist()
        assert len(own) == count
        found += [(kind, value) for value in own]
    return found


def read_codes(codes, values):
    width = 1 if len(values) <= 2**8 else 2 if len(values) <= 2**16 else 4
    return [values[code] for code in np.frombuffer(codes, f"<u{width}").tolist()]


def read_columns(blob):
    """A dict a row, from path to (kind, value)."""
    n_rows, columns = msgpack.unpackb(blob)
    assert list(columns) == sorted(columns)
    found = [{} for _ in range(n_rows)]
    for path, binary in columns.items():
        rows, entries, codes = msgpack.unpackb(binary)
        rows = range(n_rows) if rows is None else np.frombuffer(rows, "<u2").tolist()
        values = read_values(entries)
        own = [values[1]] * len(rows) if codes is None else read_codes(codes, values)
        assert codes is not None or len(values) == 2
        for row, (kind, value) in zip(rows, own, strict=True):
            if kind:
                found[row][path] = kind, value
    return found


UNSPACED = [(0xE00, 0xEFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF)]
UNSPACED += [(0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7FF), (0xF900, 0xFAFF)]
UNSPACED += [(0x1B000, 0x1B16F), (0x20000, 0x3FFFF)]
STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they"
)
STOP_WORDS += " this to was will with"


def is_unspaced(character):
    return any(first <= ord(character) <= last for first, last in UNSPACED)


def runs_of(text):
    runs = [""]
    for character in unicodedata.normalize("NFKC", text):
        is_mark = unicodedata.category(character)[0] == "M" and ord(character) < 0x20000
        if character.isalnum() or character == "_" or (runs[-1] and is_mark):
            runs[-1] += character
        else:
            runs.append("")
    return [run[:64] for run in runs if run]


def with_pieces(run):
    pieces = []
    for part in filter(None, run.split("_")):
        pieces += re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", part) if part.isascii() else [part]
    return [unicodedata.normalize("NFKC", word.casefold()) for word in [run, *(pieces if len(pieces) > 1 else [])]]


def singular(word):
    if len(word) < 4 or word[-1] != "s" or word[-2:] in ("us", "ss"):
        return word
    if word[-3:] == "ies" and word[-4:] not in ("eies", "aies"):
        return word[:-3] + "y"
    return word if word[-3:] in ("aes", "ees", "oes") else word[:-1]


def words_of(text, language, stop_words=None):
    words = []
    for run in runs_of(text):
        for unspaced, stretch in groupby(run, is_unspaced):
            part = "".join(stretch)
            words += [*part, *map("".join, pairwise(part))] if unspaced else with_pieces(part)
    if stop_words is None:
        stop_words = STOP_WORDS.split() if language == "en" else []
    kept = [word for word in words if word not in stop_words]
    return [singular(word) for word in kept] if language == "en" else kept


class File:
    """A store's file, read by the page."""

    def __init__(self, path):
        with closing(sqlite3.connect(path)) as connection:
            names = "application_id", "user_version", "page_size", "journal_mode"
            self.header = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
            self.tables = {}
            for table, fields in FIELDS.items():
                self.tables[table] = connection.execute(f"SELECT {fields} FROM {table}").fetchall()
                sums = [value for (value,) in connection.execute(f"SELECT checksum FROM {table}")]
                assert sums == [checksum(row) for row in self.tables[table]], table
            self.places = dict(connection.execute("SELECT row, place FROM sample"))
        self.meta = {key: record(value) for key, value in self.tables["meta"]}
        self.head = self.meta["head"]
        self.blocks = {(part, no): (g, n, data) for part, no, g, n, data in self.tables["blocks"]}
        self.documents = {
            row: (tenant, id_, text, {} if metadata is None else record(metadata))
            for row, tenant, id_, text, metadata in self.tables["documents"]
        }
        assert all(generation <= self.head["generation"] for generation, _, _ in self.blocks.values())

    def live(self):
        rows = []
        for (part, no), (_, n_rows, data) in self.blocks.items():
            if part == "live":
                assert len(data) == 512
                assert n_rows == min(BLOCK, self.head["n_rows"] - BLOCK * no)
                rows += [BLOCK * no + r for r in range(BLOCK) if data[r // 8] >> (r % 8) & 1]
        return sorted(rows)

    def words(self, n_words, by_tables):
        """The words of every row, of blocks and tail."""
        found = np.zeros((self.head["n_rows"], n_words), dtype=np.uint64)
        for (part, no), (_, n_rows, data) in self.blocks.items():
            if part == "codes":
                assert n_rows == BLOCK
                for r in range(BLOCK):
                    if by_tables:
                        own = np.frombuffer(data, np.uint8).reshape(256, 8 * n_words, 16)[r // 16, :, r % 16]
                        found[BLOCK * no + r] = np.ascontiguousarray(own).view("<u8")
                    else:
                        found[BLOCK * no + r] = np.frombuffer(data, "<u8").reshape(256, n_words, 16)[r // 16, :, r % 16]
        for row, codes, _, _ in self.tables["tail"]:
            found[row] = np.frombuffer(codes, "<u8")
        return found

    def folded(self):
        """The header of the index of words, how many words each row holds, and for each word its rows and counts."""
        blocks = [self.blocks["lexical", no] for no in range(sum(part == "lexical" for part, _ in self.blocks))]
        record = self.meta["lexical"]
        assert {(generation, n) for generation, n, _ in blocks} == {(record["generation"], record["n_rows"])}
        header, stream = msgpack.unpackb(blocks[0][2]), b"".join(data for _, _, data in blocks[1:])
        arrays, place = [], 0
        for size, width in (("n_rows", 4), ("n_terms", 4), ("n_postings", 4), ("n_postings", 2), ("n_terms", 2)):
            arrays.append(np.frombuffer(stream, f"<u{width}", header[size], place).tolist())
            place += width * header[size]
        lengths, sizes, rows, counts, widths = arrays
        text, postings = stream[place:], {}
        assert len(text) == header["n_bytes"] == sum(widths)
        for size, width in zip(sizes, widths, strict=True):
            postings[text[:width]] = dict(zip(rows[:size], counts[:size], strict=True))
            assert list(postings[text[:width]]) == sorted(rows[:size])
            text, rows, counts = text[width:], rows[size:], counts[size:]
        assert list(postings) == sorted(postings)
        assert len(postings) == header["n_terms"]
        return header, lengths, {word.decode(): own for word, own in postings.items()}

    def further(self, part, dtype, width):
        """`rest` or `rescale` of every row."""
        found = np.zeros((self.head["n_rows"], width), dtype=dtype)
        for (name, no), (_, n_rows, data) in self.blocks.items():
            if name == part:
                assert n_rows == BLOCK
                found[BLOCK * no : BLOCK * (no + 1)] = np.frombuffer(data, dtype).reshape(BLOCK, width)
        for row, _, rest, rescale in self.tables["tail"]:
            found[row] = np.frombuffer({"rest": rest, "rescale": rescale}[part], dtype)
        return found


def signs_of(words, dim):
    return np.stack([words[:, j // 64] >> np.uint64(j % 64) & np.uint64(1) for j in range(dim)], axis=1)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vectors_of(n, dim):
    return np.random.default_rng(3).standard_normal((n, dim)).astype(np.float32)


def metadata_of(i):
    return EVERYTHING if i == 0 else {"n": i % 300, "x": i / 2} | ({"rare": "r"} if i % 100 == 1 else {})


@pytest.fixture(scope="module")
def signs(tmp_path_factory):
    """Signs and int8 vectors: 4,100 rows of the unnamed tenant, 26 of "acme"; three deleted, one of the block."""
    path = tmp_path_factory.mktemp("format") / "signs"
    rows = vectors_of(N, DIM)
    with Store.open(path, binarizer="sign", seed=5) as store:
        metadata, ids = [metadata_of(i) for i in range(N)], [f"d{i}" for i in range(N)]
        store.add([f"t{i}" for i in range(4100)], vectors=rows[:4100], ids=ids[:4100], metadata=metadata[:4100])
        store.add(vectors=rows[4100:], texts=[None] * 26, ids=ids[4100:], metadata=metadata[4100:], tenant="acme")
        store.delete(["d2", "d4097"])
        store.delete(["d4101"], tenant="acme")
        store.ledger("pages").put(["k0", "k1"], ["book", None])
        store.ledger("pages", tenant="acme").put(["k0"])
    return File(path), rows


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """Codes by tables, with rest, and float16 vectors: added as signs, one deleted, then recoded."""
    path = tmp_path_factory.mktemp("format") / "levels"
    register(LevelBinarizer)
    rows = vectors_of(N, 8)
    with Store.open(path, binarizer="rotated-sign", keep_vectors="float16") as store:
        store.add(vectors=rows, ids=[f"d{i}" for i in range(N)])
        store.delete(["d7"])
        store.recode(LevelBinarizer(8))
        store.delete(["d9"])
    return File(path), rows


def test_the_header_and_the_records_of_meta(signs, levels):
    file, _ = signs
    assert file.header == [0x42524147, 0, 16384, "delete"]
    counters = {"n_rows": N, "n_truncated": 0, "n_named": 26, "n_sampled": len(file.tables["sample"])}
    assert file.head == {**counters, "generation": 6, "coded": 1, "numbered": 0}
    assert file.meta["settings"] == {
        "binarizer": "sign",
        "dim": None,
        "keep_vectors": "int8",
        "seed": 5,
        "code_bytes": None,
        "auto_fit": False,
    }
    assert file.meta["space"] == {"dim": DIM, "similarity": "cosine"}
    assert file.meta["binarizer"] == {"component_id": "sign", "config": {"dim": DIM, "mean": None}}
    file, _ = levels
    assert file.meta["binarizer"] == {"component_id": "test-levels", "config": {"dim": 8, "shift": 0.0}}
    assert file.meta["settings"]["binarizer"] == "test-levels"
    assert (file.head["generation"], file.head["coded"]) == (4, 3)


def test_the_ledger(signs):
    entries = sorted(signs[0].tables["ledger"])
    expected = [("", "pages", "k0", "book"), ("", "pages", "k1", None), ("acme", "pages", "k0", None)]
    assert [entry[:4] for entry in entries] == expected
    assert all(datetime(2024, 1, 1).timestamp() * 1e6 < entry[4] <= time.time() * 1e6 for entry in entries)


def test_documents_and_which_rows_live(signs):
    file, _ = signs
    expected = sorted(set(range(N)) - {2, 4097, 4101})
    assert file.live() == sorted(file.documents) == expected
    for row in expected:
        tenant, text = ("", f"t{row}") if row < 4100 else ("acme", None)
        assert repr(file.documents[row]) == repr((tenant, f"d{row}", text, metadata_of(row)))


def test_kept_vectors_and_the_sample(signs, levels):
    for (file, rows), kind, error in ((signs, "int8", 0.5 / 127), (levels, "float16", 2**-11)):
        kept = dict(file.tables["vectors"])
        assert sorted(kept) == sorted(file.documents)
        expected = unit(rows)
        for row, blob in kept.items():
            peak = np.abs(expected[row]).max()
            assert np.abs(decoded(blob, len(rows[0]), kind) - expected[row]).max() <= error * peak * 1.01
        places = {row: row * 0x9E3779B97F4A7C15 % 2**64 - 2**63 for row in file.documents}
        first = sorted(range(N), key=lambda row: row * 0x9E3779B97F4A7C15 % 2**64)[:4096]
        assert file.places == {row: places[row] for row in first if row in places}
        assert file.head["n_sampled"] == len(file.places)
        for row, blob in file.tables["sample"]:
            assert np.abs(decoded(blob, len(rows[0]), "float16") - expected[row]).max() <= 2**-11


def test_codes_of_blocks_and_tail(signs, levels):
    file, rows = signs
    assert [row for row, *_ in file.tables["tail"]] == list(range(BLOCK, N))
    words = file.words(1, by_tables=False)
    assert (signs_of(words, DIM) == (rows > 0)).all()  # dead rows too
    assert (words >> np.uint64(DIM) == 0).all()
    assert (file.further("rescale", "<f2", 1) > 0).all()
    assert all(rest == b"" for _, _, rest, _ in file.tables["tail"])
    assert {part for part, _ in file.blocks} == {"codes", "rescale", "live", "metadata"}


def test_codes_by_tables_have_their_bytes_apart(levels):
    file, rows = levels
    assert {part for part, _ in file.blocks} == {"codes", "rest", "rescale", "live", "metadata"}
    expected = LevelBinarizer(8).transform(unit(rows))
    alive = np.arange(N) != 7  # dead when the codes were written; d9 died later
    words, rest = file.words(1, by_tables=True), file.further("rest", np.uint8, 8)
    assert (words[alive] == expected.words[alive]).all()
    assert np.abs(rest[alive].astype(int) - expected.rest[alive]).max() <= 1  # from kept vectors
    assert (file.further("rescale", "<f2", 1)[alive] == 1).all()
    assert not words[7].any()
    assert not rest[7].any()


def test_generations_say_who_wrote_a_block(signs, levels):
    generations = {key: generation for key, (generation, _, _) in signs[0].blocks.items()}
    assert generations == {("codes", 0): 1, ("rescale", 0): 1, ("metadata", 0): 1, ("live", 0): 3, ("live", 1): 4}
    generations = {key: generation for key, (generation, _, _) in levels[0].blocks.items()}
    codes = {(part, 0): 3 for part in ("codes", "rest", "rescale")}
    assert generations == {**codes, ("metadata", 0): 1, ("live", 0): 4, ("live", 1): 1}


def test_metadata_by_key(signs, path):
    file, _ = signs
    _, n_rows, data = file.blocks["metadata", 0]
    columns = read_columns(data)
    assert (n_rows, len(columns)) == (BLOCK, BLOCK)
    assert columns[0] == {f"metadata.{path}": value for path, value in COLUMNS.items()}
    for row in range(1, BLOCK):  # the values of documents deleted since are still there
        rare = {"metadata.rare": (9, "r")} if row % 100 == 1 else {}
        number = row / 2
        assert columns[row] == {"metadata.n": (6, row % 300), "metadata.x": (7, number), **rare}
    with Store.open(path) as store:
        store.add(vectors=np.eye(3), metadata=[{"a": 1}, {"a": 1.0}, None], tenant="acme")
        store.update_metadata({"b": datetime(1970, 1, 1, 1, tzinfo=UTC)}, where={"a": {"$exists": True}}, tenant="acme")
        store.add(vectors=np.eye(3), tenant="acme")
    _, n_rows, data = File(path).blocks["metadata", 0]  # the rows there were when metadata was last changed
    tenant, hour = {"tenant": (9, "acme")}, {"metadata.b": (12, 3_600_000_000)}
    assert n_rows == 3
    assert read_columns(data) == [{**tenant, **hour, "metadata.a": (6, 1)}] * 2 + [tenant]


def test_a_compaction_numbers_rows_by_tenant(path):
    with Store.open(path) as store:
        store.add(vectors=np.eye(3), ids=["a", "b", "c"], tenant="x")
        store.add(vectors=np.eye(3), ids=["a", "b", "c"])
        store.delete(["b"], tenant="x")
        store.compact()
    file = File(path)
    assert [(row, *file.documents[row][:2]) for row in sorted(file.documents)] == [
        (0, "", "a"),
        (1, "", "b"),
        (2, "", "c"),
        (3, "x", "a"),
        (4, "x", "c"),
    ]
    counters = {"generation": 4, "coded": 4, "numbered": 4, "n_rows": 5, "n_named": 2, "n_sampled": 5}
    assert file.head == {**counters, "n_truncated": 0}
    assert file.live() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bits", [1, 2])
def test_codes_of_tokens(path, bits):
    """A row's codes one after another: signs of the rotated token vector, whether it is large, and the factor."""
    matrices = [unit(vectors_of(n, DIM)) for n in (1, 3, 2)]
    how = LateInteraction(FdeConfig(2, 1, 4, final_projection_dim=None), token_bits=bits)
    with Store.open(path, late_interaction=how) as store:
        store.add(vectors=matrices, ids=["a", "b", "c"])
        store.delete(["a"])
    file = File(path)
    settings, space = file.meta["settings"], file.meta["space"]
    assert (settings["binarizer"], settings["keep_vectors"]) == ("row-levels", "none")
    assert settings["late_interaction"] == space["late_interaction"]
    assert (space["dim"], space["similarity"]) == (DIM, "cosine")
    assert space["late_interaction"]["token_bits"] == bits
    assert space["late_interaction"]["fde"]["n_repetitions"] == 2
    assert file.meta["binarizer"] == {"component_id": "row-levels", "config": {"dim": 16, "n_planes": 1, "flips": None}}
    assert file.tables["sample"] == []
    config = space["token_binarizer"]
    assert (config["dim"], config["n_planes"]) == (DIM, bits)
    flips = np.frombuffer(config["flips"], np.int8).reshape(4, DIM)
    width = 8 + 2  # 20 or 40 bits fit a word
    blobs = dict(file.tables["vectors"])
    assert {row: len(blob) for row, blob in blobs.items()} == {1: 3 * width, 2: 2 * width}
    for row, blob in blobs.items():
        for i, vector in enumerate(matrices[row]):
            code = blob[i * width : (i + 1) * width]
            y = rotated(vector.astype(float), flips)
            found = np.unpackbits(np.frombuffer(code[:-2], np.uint8), bitorder="little")[: bits * DIM].astype(bool)
            assert (found[:DIM] == (y > 0)).all()
            level = np.where(y > 0, 1.0, -1.0)
            if bits == 2:
                is_large = np.abs(y) > np.sqrt((y**2).mean())
                assert (found[DIM:] == (is_large == (y > 0))).all()
                level *= np.where(is_large, 3, 1)
            assert np.frombuffer(code[-2:], "<f2")[0] == pytest.approx((y @ y) / (y @ level), rel=2e-3)


TEXTS = [
    "The stories of parseDate, parse_date and PARSE_DATE2: __init__ it is",
    "Zoë's Größe_Max STRASSE e\u0301tudes हिन्दी ２０２４ Ⅻ",
    None,
    "黒い猫 Python入門_a ไทยabc 한국어 黒",
    "buses glass shoes classes eies gas gone bees heroes virus",
    "x" * 70 + " again again again again",
    "dead at the fold",
    "the and of",
]


@pytest.mark.parametrize("stop_words", [None, ["Again", "ÄRGER", "the"], []])
@pytest.mark.parametrize("language", ["en", "any"])
def test_the_index_of_words(path, monkeypatch, language, stop_words):
    monkeypatch.setattr("binrag.lexical.blocks.BYTES", 100)
    own = {} if stop_words is None else {"stop_words": sorted(word.casefold() for word in stop_words)}
    with Store.open(path, lexical=Lexical(language, stop_words)) as store:
        store.add(TEXTS, vectors=np.ones((8, 2)), ids=[f"d{i}" for i in range(8)])
        found = store.search("again", legs="lexical")
        assert not found if stop_words else found[0].id == "d5"
        file = File(path)
        assert file.meta["lexical"] == {"language": language, "n_rows": 0, "generation": 0, **own}
        assert {part for part, _ in file.blocks} == {"live"}
        store.delete(["d6"])
        store.index_words(Lexical(language, stop_words))
        store.add(["again, after the fold"], vectors=np.ones((1, 2)), ids=["d3"])  # and 3 is dead since
    file = File(path)
    assert file.meta["lexical"] == {"language": language, "n_rows": 8, "generation": 3, **own}
    header, lengths, postings = file.folded()
    sizes = {"n_rows": 8, "n_terms": len(postings), "n_postings": sum(map(len, postings.values()))}
    sizes["n_bytes"] = sum(len(word.encode()) for word in postings)
    tokenizer = {"version": 1, "language": "en" if language == "en" else None, **own}
    assert header == {"tokenizer": tokenizer, "k1": 1.5, "b": 0.75, **sizes}
    held = [[] if row in (2, 6) else words_of(text, language, own.get("stop_words")) for row, text in enumerate(TEXTS)]
    assert lengths == list(map(len, held))
    counted = [Counter(words) for words in held]
    words = {word for own in held for word in own}
    assert postings == {word: {row: own[word] for row, own in enumerate(counted) if word in own} for word in words}


def test_scores_of_words_are_those_of_the_page(path):
    texts = ["a b", "b b c", "c", "d a a a"]
    with Store.open(path, lexical="any") as store:
        store.add(texts, vectors=np.ones((4, 2)), ids=list("0123"))
        store.index_words("any")
        hits = {hit.id: hit.score for hit in store.search("a b", legs="lexical")}
    header, lengths, postings = File(path).folded()
    n, average, expected = 4, sum(lengths) / 4, Counter()
    for own in (postings["a"], postings["b"]):
        idf = np.log(1 + (n - len(own) + 0.5) / (len(own) + 0.5))
        for row, tf in own.items():
            norm = header["k1"] * (1 - header["b"] + header["b"] * lengths[row] / average)
            expected[str(row)] += idf * tf / (norm + tf)
    assert hits == pytest.approx(expected, rel=1e-6)


def rotated(vector, flips):
    """Four rounds of sign flips and a Walsh–Hadamard transform of 16 of the 20 coordinates: the first, the last, …"""
    for i, flip in enumerate(flips):
        vector = vector * flip
        part = slice(0, 16) if i % 2 == 0 else slice(4, 20)
        own = vector[part]
        signs = np.array([[(-1) ** bin(a & b).count("1") for b in range(16)] for a in range(16)])
        vector[part] = signs @ own / 4
    return vector
