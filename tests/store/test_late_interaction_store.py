"""A store of token vectors: searched by MaxSim, and in all else a store like any other."""

import copy
import json
import pickle
import random
import sqlite3
import tracemalloc
from contextlib import closing

import numpy as np
import pytest
import reference
from fakes import WORDS, WordEncoder, WordTokenEncoder, ids_of, sentences, unit, vectors_of
from processes import run_script

import binrag
from binrag import (
    ALL_TENANTS,
    BinragError,
    CorruptStore,
    DimensionMismatch,
    EncoderMismatch,
    FdeConfig,
    InvalidInput,
    InvalidVector,
    LateInteraction,
    Mmr,
    Store,
    TokenEncoder,
    UnsupportedMode,
    VectorsUnavailable,
)
from binrag.binarizers import RowLevelsBinarizer
from binrag.storage.records import checksum, pack, unpack
from binrag.types import TokenVectors

DIM = 32
SMALL = LateInteraction(FdeConfig(4, 2, 8, final_projection_dim=64))
TEXTS = sentences(60)
IDS = [f"d{i}" for i in range(60)]
QUERIES = ["stone river 3", "silver", "engine paper copper window"]


def opened(path, *arguments, **options):
    return Store.open(path, *arguments, encoder=WordTokenEncoder(DIM), **options)


@pytest.fixture
def store(path):
    with opened(path, late_interaction=SMALL) as store:
        store.add(TEXTS, ids=IDS, metadata=[{"n": i, "even": i % 2 == 0} for i in range(60)])
        yield store


def tokens_of(text):
    return WordTokenEncoder(DIM).encode_query([text])[0]


def floats(text, texts=TEXTS):
    """The mean over the query's tokens of the most that each is like one of a text's, by float vectors."""
    query = tokens_of(text)
    return np.array([reference.maxsim(query, tokens_of(other)) / len(query) for other in texts])


@pytest.mark.parametrize("token_bits", [1, 2])
def test_scores_are_maxsim_of_what_codes_stand_for(path, token_bits):
    with opened(path, late_interaction=LateInteraction(SMALL.fde, token_bits=token_bits)) as store:
        store.add(TEXTS, ids=IDS)
        with store._handle.view() as (reading, snapshot):
            space = snapshot.space.tokens
            codes = space.unpacked(reading.vectors(range(60)))
            decoded = TokenVectors(space.binarizer.decode(codes.codes, codes.rescale), codes.offsets)
        for text in QUERIES:
            query = tokens_of(text)
            scores = np.array([reference.maxsim(query, decoded[i]) / len(query) for i in range(60)])
            hits = store.search(text, k=60)
            assert sorted(ids_of(hits)) == sorted(IDS)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            for hit in hits:
                assert hit.score == pytest.approx(scores[IDS.index(hit.id)], abs=2e-3)
            assert np.corrcoef(scores, floats(text))[0, 1] > (0.9 if token_bits == 1 else 0.97)


def test_what_has_a_word_of_the_query_comes_first(store):
    hits = store.search("silver", k=60)
    has_word = ["silver" in TEXTS[IDS.index(hit.id)].split() for hit in hits]
    assert has_word == sorted(has_word, reverse=True)
    assert 0 < sum(has_word) < 60
    assert hits[0].score == pytest.approx(1, abs=0.15)
    assert store.search("silver …", k=5) == store.search("silver", k=5)  # a token that is left out


def test_vectors_may_be_given(path):
    matrices = [tokens_of(text) for text in TEXTS]
    with (
        Store.open(path, late_interaction=SMALL) as store,
        opened(path.with_name("other"), late_interaction=SMALL) as by,
    ):
        store.add(TEXTS[:20], vectors=matrices[:20], ids=IDS[:20])
        store.add(vectors=iter(matrices[20:]), ids=IDS[20:])
        by.add(TEXTS, ids=IDS)
        for text in QUERIES:
            own, other = store.search(tokens_of(text), k=60), by.search(text, k=60)
            assert ids_of(own) == ids_of(other)
            assert [hit.score for hit in own] == pytest.approx([hit.score for hit in other])
        batch = [tokens_of(text) for text in QUERIES]
        assert store.search_batch(batch, k=3) == [store.search(query, k=3) for query in batch]
        assert store.search(np.ones((3, DIM)), k=1) == store.search([[2.0] * DIM] * 3, k=1)  # by the cosine
        store.add(vectors=np.ones((2, 4, DIM)), ids=["x", "y"])
        assert store.info().n_documents == 62


def test_the_file_says_what_it_is(store, path):
    about = store.info()
    assert (about.dim, about.similarity, about.encoder) == (DIM, "cosine", "words")
    assert (about.binarizer, about.n_bits, about.code_bytes) == ("row-levels", 64, 10)
    assert (about.keep_vectors, about.auto_fit) == ("none", None)
    assert LateInteraction.from_record(about.late_interaction) == SMALL
    json.dumps(about.late_interaction)
    stats = store.stats()
    n_tokens = sum(len(tokens_of(text)) for text in TEXTS)
    assert stats.vector_disk_bytes == n_tokens * (8 + 2)
    assert stats.document_bytes["vectors"] == pytest.approx(n_tokens * 10 / 60)
    assert stats.sample_disk_bytes == 0
    with opened(path) as other:  # how it was made need not be said again
        assert other.search("silver", k=3) == store.search("silver", k=3)
        assert other.info() == about


def test_documents_are_replaced_deleted_selected(store):
    def oracle(keep):
        scores = floats("silver", TEXTS)
        return [i for i in np.argsort(-scores, kind="stable") if keep(i)]

    where = {"even": True}
    assert store.count(where=where) == 30
    assert ids_of(store.search("silver", k=4, where=where)) == [IDS[i] for i in oracle(lambda i: i % 2 == 0)[:4]]
    assert len(store.search("silver", k=50, where=where)) == 30
    assert ids_of(store.search("silver", k=3, ids=["d7"])) == ["d7"]
    store.add(["silver silver"], ids=["d0"], metadata=[{"n": -1}])
    assert ids_of(store.search("silver", k=1, where={"n": -1})) == ["d0"]
    store.delete(["d0", *IDS[10:]])
    assert sorted(ids_of(store.search("silver", k=60))) == sorted(IDS[1:10])
    store.add(["silver"], ids=["d1"], tenant="acme")
    assert [(hit.tenant, hit.id) for hit in store.search("silver", tenant="acme")] == [("acme", "d1")]
    assert len(store.search("silver", k=60)) == 9
    assert len(store.search("silver", k=60, tenant=ALL_TENANTS)) == 10
    store.update_metadata({"n": 99}, ["d2"])
    assert ids_of(store.search("silver", where={"n": 99})) == ["d2"]
    assert store.verify() == []


def test_a_commit_is_all_or_nothing(store):
    before = store.search("silver", k=60)
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.add(["silver silver"], ids=["new"])
        store.delete(["d3"])
        raise ZeroDivisionError
    with pytest.raises(InvalidVector):
        store.add(["silver", "…"], ids=["new", "without tokens"])
    assert store.search("silver", k=60) == before
    with store.transaction():
        store.add(["silver silver"], ids=["new"])
        assert store.get(["new"])
    assert store.count() == 61


def test_hits_may_be_diverse(store):
    store.add(["quartz zebra"] * 3, ids=["a", "b", "c"])
    plain, diverse = (ids_of(store.search("quartz zebra", k=3, diversity=d)) for d in (None, Mmr(0.7)))
    assert sorted(plain) == ["a", "b", "c"]
    assert len({"a", "b", "c"} & set(diverse)) == 1
    assert store.search("silver", k=5, diversity=Mmr(0)) == store.search("silver", k=5)


def test_blocks_and_a_compaction(path):
    """More than 4,096 rows: blocks, a tail, dead rows; then rows of other numbers."""
    draw = np.random.default_rng(0)
    matrices = [unit(draw.standard_normal((1 + i % 3, DIM))) for i in range(4096 + 50)]
    small = LateInteraction(FdeConfig(2, 1, None, final_projection_dim=None))
    ids = [f"d{i}" for i in range(len(matrices))]
    with Store.open(path, late_interaction=small) as store:
        store.add(vectors=matrices, ids=ids)
        queries = [matrices[i] for i in (3, 4000, 4100)]
        assert [ids_of(store.search(query, k=1)) for query in queries] == [["d3"], ["d4000"], ["d4100"]]
        store.delete([id_ for i, id_ in enumerate(ids) if i % 3 == 1])
        before = store.search_batch(queries, k=20)
        assert store.verify() == []
        store.compact()
        assert store.verify() == []
        assert store.search_batch(queries, k=20) == before
    with Store.open(path) as store:
        assert store.search_batch(queries, k=20) == before


def test_handles_see_what_others_commit(store, path):
    with opened(path, "r") as other:
        assert other.count() == 60
        store.add(["copper silver"], ids=["new"])
        assert "new" in ids_of(other.search("copper silver", k=3))
        for again in (copy.copy(other), pickle.loads(pickle.dumps(other))):
            with again:
                assert again.search("silver", k=3) == other.search("silver", k=3)


def test_threads_and_batches_change_no_hit(store):
    with opened(store.path, n_threads=1) as one, opened(store.path, n_threads=4) as four:
        assert one.search_batch(QUERIES * 5) == four.search_batch(QUERIES * 5)
        assert one.search_batch(QUERIES) == [one.search(query) for query in QUERIES]


def test_grouping_and_two_bits_of_encodings(path):
    with opened(path, late_interaction=LateInteraction(SMALL.fde, 2, 2, 0.9)) as store:
        store.add(TEXTS, ids=IDS)
        assert store.info().code_bytes == 18
        once, twice = store.search("silver river", k=5), store.search("silver river silver river", k=5)
        assert ids_of(once) == ids_of(twice)
        assert [hit.score for hit in once] == pytest.approx([hit.score for hit in twice], abs=1e-3)


def test_token_vectors_are_compared_as_the_encoder_says(path):
    encoder = WordTokenEncoder(DIM, similarity="dot")
    with Store.open(path, encoder=encoder, late_interaction=SMALL) as store:
        store.add(TEXTS)
        assert store.info().similarity == "dot"
    with pytest.raises(EncoderMismatch, match="compared by dot"), opened(path) as store:
        store.add(["x"])


def test_functions_and_names_are_encoders_of_tokens_if_the_store_is(path):
    def encode(texts):
        return WordTokenEncoder(DIM).encode_document(texts)

    with Store.open(path, encoder=encode, late_interaction=SMALL) as store:
        store.add(TEXTS[:3])
    with Store.open(path, encoder=TokenEncoder(encode)) as store:  # the same vectors, wrapped
        assert len(store.search("silver")) == 3
    with pytest.raises(UnsupportedMode, match=r"WordEncoder, gives one vector a text.*a vector for each"):
        Store.open(path, encoder=WordEncoder(DIM))


def test_kinds_of_stores_are_told_apart(path, store):
    single = path.with_name("single")
    with Store.open(single, encoder=WordEncoder(DIM)) as other:
        other.add(TEXTS[:5])
        with pytest.raises(InvalidVector, match=r"shape \(1, 2, 32\)"):
            other.search(np.ones((2, DIM)))
    with pytest.raises(UnsupportedMode, match="a vector for each token, and the store holds one a document"):
        opened(single)
    with pytest.raises(UnsupportedMode, match="was made with 'one vector a document'"):
        Store.open(single, late_interaction=SMALL)
    with pytest.raises(UnsupportedMode, match=r"late_interaction=.*was asked for"):
        opened(path, late_interaction=LateInteraction())
    with opened(path, late_interaction=SMALL) as again:
        assert again.count() == 60


REFUSED = {
    "binarizer": ({"binarizer": "sign"}, "binarizer='sign'"),
    "a binarizer": ({"binarizer": RowLevelsBinarizer(64)}, "binarizer='row-levels'"),
    "code_bytes": ({"code_bytes": 48}, "code_bytes=48"),
    "keep_vectors": ({"keep_vectors": "int8"}, "keep_vectors='int8'"),
    "auto_fit": ({"auto_fit": True}, "auto_fit=True"),
    "seed": ({"seed": 3}, "seed=3"),
    "a dict": ({"late_interaction": {}}, "late_interaction is a dict"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_make_no_sense_are_refused(path, name):
    options, message = REFUSED[name]
    with pytest.raises(InvalidInput, match=message):
        opened(path, **{"late_interaction": SMALL, **options})
    assert not path.exists()


def test_encodings_of_too_many_dimensions_are_refused(path):
    wide = LateInteraction(FdeConfig(40, 3, 32, final_projection_dim=None))
    with (
        Store.open(path, late_interaction=wide) as store,
        pytest.raises(InvalidInput, match="10,240 dimensions, a store codes 4,096 at most"),
    ):
        store.add(vectors=[np.ones((2, DIM))])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fde": {}}, "fde is a dict"),
        ({"fde_bits": 3}, "fde_bits is 3"),
        ({"token_bits": True}, "token_bits is True"),
        ({"group_tokens": 0}, "group_tokens is 0"),
        ({"group_tokens": "all"}, "group_tokens is 'all'"),
    ],
)
def test_bad_late_interaction(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        LateInteraction(**arguments)


NAN = np.full((2, DIM), np.nan)
BAD = {
    "another dimension": (np.ones((2, 7)), DimensionMismatch, "have 7 dimensions, expected 32"),
    "no tokens": (np.zeros((0, DIM)), InvalidVector, "no token vectors that count"),
    "zeros": (np.zeros((3, DIM)), InvalidVector, "no token vectors that count"),
    "NaN": (NAN, InvalidVector, "holds NaN or infinity"),
    "one vector": (np.ones(DIM), InvalidVector, r"shape \(32,\), expected \(n_tokens, dim\)"),
    "no numbers": ([["a"] * DIM], InvalidVector, "no matrix of numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], InvalidVector, "no matrix of numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_token_vectors_are_refused_and_nothing_is_stored(store, name):
    matrix, error, message = BAD[name]
    with pytest.raises(error, match=message):
        store.search(matrix)
    with pytest.raises(error, match=message) as raised:
        store.add(vectors=[np.ones((2, DIM)), matrix], ids=["fine", "bad"])
    assert "'bad'" in str(raised.value)
    assert store.count() == 60


def test_bad_token_vectors_on_first_use_are_refused(path):
    with Store.open(path, late_interaction=SMALL, dim=DIM) as store:
        assert store.search(np.ones((2, DIM))) == []
        with pytest.raises(DimensionMismatch, match="have 7 dimensions, expected 32"):
            store.search(np.ones((2, 7)))
        with pytest.raises(DimensionMismatch, match="have 7 dimensions, expected 32"):
            store.add(vectors=[np.ones((2, 7))])
        with pytest.raises(EncoderMismatch, match="without an encoder"):
            store.add(["text"])


@pytest.mark.parametrize("values", [[np.ones((1, 7))], [], [NAN], [np.zeros((0, DIM))], [np.ones(DIM)]])
def test_an_encoder_that_gives_bad_token_vectors_is_named(path, values):
    good = WordTokenEncoder(DIM)
    texts = [*binrag.store.encoding.CANARIES, "bad"]

    def encode(given):
        return [matrix for text, matrix in zip(given, good.encode_document(given), strict=True) if text != "bad"] + (
            values if "bad" in given else []
        )

    with Store.open(path, encoder=encode, late_interaction=SMALL) as store:
        store.add(texts[:-1])
        with pytest.raises((EncoderMismatch, InvalidVector)):
            store.add(["bad"])
        with pytest.raises((EncoderMismatch, InvalidVector)):
            store.search("bad")
        assert store.count() == 3


def test_empty_queries_and_calls_about_one_vector_are_refused(store):
    with pytest.raises(InvalidInput, match="the query is empty"):
        store.search(" ")
    with pytest.raises(InvalidVector, match="the query has no token vectors that count"):
        store.search("…")
    for call in (store.probe, lambda: store.recode("sign"), store.train_binarizer):
        with pytest.raises(UnsupportedMode, match="for stores of one vector a document"):
            call()
    with pytest.raises(VectorsUnavailable):
        store.vectors(["d1"])
    assert store.stats().training_gain is None


def test_another_encoder_is_refused(store, path):
    for other in (WordTokenEncoder(DIM, seed=1, name="other"), WordTokenEncoder(16, name="smaller")):
        with Store.open(path, encoder=other) as store:
            for use in (lambda: store.add(["x"]), lambda: store.search("x")):
                with pytest.raises(EncoderMismatch, match=r"other|smaller"):
                    use()


def test_truncated_texts_are_counted(path):
    with (
        Store.open(path, encoder=WordTokenEncoder(DIM, max_words=3), late_interaction=SMALL) as store,
        pytest.warns(binrag.TruncatedTextWarning),
    ):
        store.add(["one two three four", "one"])
        assert store.info().n_truncated == 1


def test_long_documents_take_bounded_memory(path):
    """10,000 tokens a document: what is held beside the tokens does not grow with documents or repetitions."""
    matrix = vectors_of(10_000, 64)
    with Store.open(path, late_interaction=LateInteraction(FdeConfig(40, 3, 16, final_projection_dim=256))) as store:
        store.add(vectors=[matrix[:10]], ids=["small"])
        store.search(matrix[:4])
        tracemalloc.start()
        store.add(vectors=(matrix for _ in range(5)))
        store.search(matrix[:40])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert store.count() == 6
    assert peak < 30 * matrix.nbytes


SCRIPT = """
import sys, hashlib
from fakes import WordTokenEncoder, sentences
from binrag import FdeConfig, LateInteraction, Store
how = LateInteraction(FdeConfig(4, 2, 8))
with Store.open(sys.argv[1], encoder=WordTokenEncoder(32), late_interaction=how) as store:
    store.add(sentences(30))
    with store._handle.database.reading() as reading:
        rows = reading.tail(0)
        blobs = [*(row.codes + row.rescale for row in rows), *reading.vectors(range(30))]
        print(hashlib.sha256(b"".join(blobs)).hexdigest())
"""


def test_two_processes_write_the_same_codes(path):
    outputs = {run_script(SCRIPT, path.with_name(name)) for name in "ab"}
    assert len(outputs) == 1


# damage


def damaged(path, sql, *values):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql, values)
        connection.commit()


def put_blob(path, row, blob):
    damaged(path, "UPDATE vectors SET vector = ?, checksum = ? WHERE row = ?", blob, checksum(row, blob), row)


def put_record(path, key, change):
    with closing(sqlite3.connect(path)) as connection:
        (data,) = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        value = pack(change(unpack(data, key)))
        connection.execute("UPDATE meta SET value = ?, checksum = ? WHERE key = ?", (value, checksum(key, value), key))
        connection.commit()


@pytest.mark.parametrize("blob", [b"", b"x" * 9, b"x" * 11])
def test_token_codes_of_a_wrong_size_are_found(store, path, blob):
    put_blob(path, 3, blob)
    with pytest.raises(CorruptStore, match="token codes of a document are damaged"):
        store.search("silver", k=60)
    assert [(finding.kind, finding.place) for finding in binrag.verify(path)] == [("record", "vector of row 3")]


def test_token_codes_that_are_missing_or_changed_are_found(store, path):
    damaged(path, "DELETE FROM vectors WHERE row = 3")
    damaged(path, "UPDATE vectors SET vector = zeroblob(10) WHERE row = 4")
    found = {(finding.kind, finding.place) for finding in binrag.verify(path)}
    assert found == {("missing", "kept vector of row 3"), ("checksum", "vector of row 4")}
    with pytest.raises(CorruptStore):
        store.search("silver", k=60)


def test_codes_that_are_not_those_of_the_tokens_are_found(store, path):
    with closing(sqlite3.connect(path)) as connection:
        blobs = dict(connection.execute("SELECT row, vector FROM vectors"))
    shuffled = list(blobs)
    random.Random(0).shuffle(shuffled)
    for row, other in zip(blobs, shuffled, strict=True):
        put_blob(path, row, blobs[other])
    assert [finding.kind for finding in binrag.verify(path)] == ["code"]


RECORDS = {
    "another dimension": ("space", lambda record: {**record, "dim": 31}),
    "huge": ("space", lambda record: {**record, "dim": 2**40}),
    "no config": ("space", lambda record: {**record, "late_interaction": None}),
    "another config": (
        "space",
        lambda record: {**record, "late_interaction": {**record["late_interaction"], "token_bits": 1}},
    ),
    "no binarizer of tokens": ("space", lambda record: {**record, "token_binarizer": {}}),
    "a dimension of one": ("space", lambda record: {"dim": 64, "similarity": "dot"}),
    "other settings": ("settings", lambda record: {**record, "late_interaction": LateInteraction().record()}),
    "bad settings": ("settings", lambda record: {**record, "late_interaction": {"fde": 3}}),
    "another binarizer": ("binarizer", lambda record: {**record, "config": {**record["config"], "n_planes": 2}}),
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_do_not_fit_are_typed_errors_and_found(store, path, name):
    store.close()
    key, change = RECORDS[name]
    put_record(path, key, change)
    assert binrag.verify(path)
    with pytest.raises(BinragError), opened(path) as broken:
        broken.search("silver")


def repaired(path):
    target = path.with_name("repaired")
    done = binrag.repair(path, target)
    assert binrag.verify(target) == []
    with opened(target) as store:
        hits = store.search("silver", k=60)
        about = store.info()
    target.unlink()
    return done, hits, about


def test_repair_of_a_sound_store_changes_nothing(store, path):
    before = store.search("silver", k=60)
    done, hits, about = repaired(path)
    assert (done.n_saved, done.n_lost, hits) == (60, 0, before)
    assert about.late_interaction == SMALL.record()


@pytest.mark.parametrize("key", ["space", "binarizer", "settings", "encoder"])
def test_repair_without_one_of_the_records(store, path, key):
    before = store.search("silver", k=60)
    store.close()
    damaged(path, "UPDATE meta SET value = x'00' WHERE key = ?", key)
    done, hits, about = repaired(path)
    assert (done.n_saved, done.n_lost, hits) == (60, 0, before)
    assert about.late_interaction == SMALL.record()


def test_repair_where_codes_are_damaged(store, path):
    before = {hit.id: hit.score for hit in store.search("silver", k=60)}
    store.close()
    damaged(path, "UPDATE tail SET codes = zeroblob(8) WHERE row < 20")
    damaged(path, "UPDATE vectors SET vector = zeroblob(10) WHERE row = 30")
    done, hits, _ = repaired(path)
    assert (done.n_saved, done.n_lost) == (59, 1)
    assert {hit.id: hit.score for hit in hits} == {id_: score for id_, score in before.items() if id_ != "d30"}
    assert any("codes of its tokens cannot be read" in finding.problem for finding in done.findings)


def test_words_are_told_apart():
    """What the tests above rely on."""
    assert len(set(WORDS)) == len(WORDS)
    assert "…" not in WORDS
