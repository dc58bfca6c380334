"""Searches by words and by both legs, in stores that change: equal to what the parts give for all texts at once."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from fakes import WordEncoder, WordTokenEncoder, ids_of, sentences

import binrag
from binrag import (
    ALL_TENANTS,
    CorruptStore,
    InvalidInput,
    Lexical,
    Mmr,
    Rerank,
    Store,
    UnsupportedMode,
)
from binrag.lexical import LexicalIndex, Tokenizer
from binrag.ranking.fusion import WEIGHT
from binrag.storage import Writing
from binrag.store import words

TEXTS = sentences(60)
IDS = [f"d{i}" for i in range(60)]
QUERIES = ["silver river 7", "copper", "engine paper garden 12", "silver silver stone"]
EN = Tokenizer("en")


def scratch(texts, query):
    """Scores of all texts, by an index of them alone, and how much of the query they hold."""
    index = LexicalIndex.fold([EN.words(text) for text in texts], EN)
    return index.score(EN.words(query)), index.coverage(EN.words(query), np.arange(len(texts)))


def ordered(scores, names):
    """(name, score) of those above zero, best first, ties by row."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    return [(names[i], scores[i]) for i in order if scores[i] > 0]


def check_lexical(store, texts, names, **options):
    for query in QUERIES:
        expected = ordered(scratch(texts, query)[0], names)
        hits = store.search(query, k=len(texts), legs="lexical", **options)
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], rel=1e-5)
        found, wanted = dict.fromkeys(ids_of(hits)), dict.fromkeys(name for name, _ in expected)
        assert found.keys() == wanted.keys()
        if len({round(float(score), 4) for _, score in expected}) == len(expected):
            assert list(found) == list(wanted)


@pytest.fixture(params=["vectors", "none", "tokens"])
def store(request, path):
    encoder = (WordTokenEncoder if request.param == "tokens" else WordEncoder)(64)
    options = {"keep_vectors": "none"} if request.param == "none" else {}
    with Store.open(path, encoder=encoder, lexical="en", **options) as store:
        store.add(TEXTS, ids=IDS, metadata=[{"n": i} for i in range(60)])
        yield store


def test_words_find_what_bm25_finds_in_all_texts(store):
    check_lexical(store, TEXTS, IDS)
    assert store.search("nowhere", legs="lexical") == []
    assert store.search_batch(QUERIES, k=5, legs="lexical") == [store.search(q, k=5, legs="lexical") for q in QUERIES]


def test_both_legs_give_the_vectors_score_raised_by_the_words(store):
    for query in QUERIES:
        dense = {hit.id: hit.score for hit in store.search(query, k=60, n_candidates=1000)}
        covered = dict(zip(IDS, scratch(TEXTS, query)[1], strict=True))
        expected = {id_: score + WEIGHT * covered[id_] ** 2 for id_, score in dense.items()}
        hits = store.search(query, k=60, legs="hybrid", n_candidates=1000)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-6)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_what_changes_is_found_as_it_is_now(store):
    texts = dict(zip(IDS, TEXTS, strict=True))
    store.add(["silver lake"], ids=["d3"])
    store.delete(["d4", "d5"])
    assert "d3" in ids_of(store.search("lake", legs="lexical"))
    assert not {"d4", "d5"} & set(ids_of(store.search("silver river 4 5", k=60, legs="lexical")))
    texts = {**{id_: text for id_, text in texts.items() if id_ not in ("d3", "d4", "d5")}, "d3": "silver lake"}
    store.index_words()  # statistics of what there is now
    check_lexical(store, list(texts.values()), list(texts))
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.add(["unheard"], ids=["new"])
        raise ZeroDivisionError
    assert store.search("unheard", legs="lexical") == []
    assert store.verify() == []


def test_stop_words_can_be_chosen(path):
    texts = ["to be or not to be", "The Who", "Die Ärzte", "the wall"]
    rules = Lexical("en", ["DIE", "\uff37all"])  # any case, any width
    with Store.open(path, encoder=WordEncoder(16), lexical=rules) as store:
        store.add(texts, ids=list("abcd"))
        assert ids_of(store.search("to be", legs="lexical")) == ["a"]
        assert ids_of(store.search("the", legs="lexical")) == ["d", "b"]
        assert store.search("die walls", legs="lexical") == [] == store.search("wall", legs="lexical")
        assert ids_of(store.search("die ärzte", legs="lexical")) == ["c"]
        before = store.search("the who", legs="lexical")
        store.compact()
        assert store.search("the who", legs="lexical") == before
        assert store.verify() == []
    for same in (None, rules, Lexical("en", frozenset({"die", "wall"}))):
        with Store.open(path, encoder=WordEncoder(16), lexical=same) as store:
            assert store.search("the who", legs="lexical") == before
    for other in ("en", "any", Lexical("en", []), Lexical("any", ["die", "wall"])):
        with pytest.raises(UnsupportedMode, match="was asked for, the store was made with Lexical"):
            Store.open(path, lexical=other)
    repaired = path.with_name("repaired")
    assert binrag.repair(path, repaired).n_lost == 0
    with Store.open(repaired, "rw", encoder=WordEncoder(16), lexical=rules) as store:
        assert ids_of(store.search("the", legs="lexical")) == ["d", "b"]
        store.index_words("en")
        assert store.search("the", legs="lexical") == []
        assert ids_of(store.search("die", legs="lexical")) == ["c"]
        store.index_words(Lexical("any", []))
        assert ids_of(store.search("be", legs="lexical")) == ["a"]


@pytest.mark.parametrize("stop_words", ["die", b"die", 3, [3], [""], ["a b"], ["a\n"], [None]])
def test_stop_words_that_are_none_are_refused(stop_words):
    with pytest.raises(InvalidInput, match="stop"):
        Lexical("en", stop_words)


def test_indexing_words_reports_how_far_it_is(store, monkeypatch):
    monkeypatch.setattr("binrag.store.words.REPORTED", 25)
    reports = []
    store.index_words("any", progress=lambda done, total: reports.append((done, total)))
    assert reports == [(25, 60), (50, 60), (60, 60)]
    assert store.info().lexical == "any"
    assert ids_of(store.search("7", legs="lexical"))[0] == "d7"


def test_filters_tenants_and_ids_hold_for_words(store):
    for legs in ("lexical", "hybrid"):
        hits = store.search("silver river", k=60, legs=legs, where={"n": {"$lt": 20}})
        assert {int(hit.id[1:]) for hit in hits} <= set(range(20))
        assert set(ids_of(store.search("silver river 7", k=60, legs=legs, ids=["d7", "d8"]))) <= {"d7", "d8"}
        store.add(["silver secret"], ids=["s"], tenant="acme")
        assert ids_of(store.search("silver", legs=legs, tenant="acme")) == ["s"]
        assert "s" not in ids_of(store.search("secret", k=60, legs=legs))
        assert "s" in ids_of(store.search("secret", k=60, legs=legs, tenant=ALL_TENANTS))


def test_other_handles_see_it(store, path):
    with Store.open(path, "r", encoder=store._handle.encoder.encoder) as other:
        assert other.search("silver", legs="lexical") == store.search("silver", legs="lexical")
        store.add(["silver"], ids=["new"])
        for legs in ("lexical", "hybrid"):
            assert other.search("silver", legs=legs) == store.search("silver", legs=legs)
        assert "new" in ids_of(other.search("silver", legs="lexical"))


def test_hits_by_words_can_be_diverse_reranked_and_cut(store):
    for legs in ("lexical", "hybrid"):
        plain = store.search("silver river", k=8, legs=legs)
        assert store.search("silver river", k=8, legs=legs, diversity=Mmr(0)) == plain
        assert len(store.search("silver river", k=8, legs=legs, diversity=Mmr(0.7))) == len(plain)
        limit = plain[2].score
        assert store.search("silver river", k=8, legs=legs, min_score=limit) == [h for h in plain if h.score >= limit]
        by_length = Rerank(lambda query, texts: [-len(text) for text in texts], 20)
        found = store.search("silver river", k=3, legs=legs, rerank=by_length)
        assert [len(hit.text) for hit in found] == sorted(len(hit.text) for hit in found)


BLOCK_TEXTS = sentences(4096 + 30, seed=3, n_words=4)


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """Bytes of a store whose first 4,126 rows are folded, and 20 rows since."""
    path = tmp_path_factory.mktemp("folded") / "s"
    with Store.open(path, encoder=WordEncoder(8), lexical="en", auto_fit=False) as store:
        names = [f"d{i}" for i in range(len(BLOCK_TEXTS) + 20)]
        store.add(BLOCK_TEXTS, ids=names[: len(BLOCK_TEXTS)])
        store.add(sentences(20, seed=4), ids=names[len(BLOCK_TEXTS) :])
    return path.read_bytes()


@pytest.fixture
def large(folded, path):
    path.write_bytes(folded)
    with Store.open(path, encoder=WordEncoder(8)) as store:
        yield store


def record_of(store):
    with store._handle.database.reading() as reading:
        return reading.get(words.LEXICAL)


def test_words_are_folded_when_there_are_enough(large):
    assert record_of(large)["n_rows"] == len(BLOCK_TEXTS)
    texts = [*BLOCK_TEXTS, *sentences(20, seed=4)]
    index = LexicalIndex.fold([EN.words(text) for text in BLOCK_TEXTS], EN)
    for query in ("copper", "silver silver stone", "engine paper garden"):
        hits = large.search(query, k=10, legs="lexical")
        exact = scratch(texts, query)[0]
        own = np.array([exact[int(hit.id[1:])] for hit in hits])
        assert [hit.score for hit in hits] == pytest.approx(own, rel=0.02)  # of other statistics by half a percent
        in_fold = [hit for hit in hits if int(hit.id[1:]) < len(BLOCK_TEXTS)]
        scores = index.score(EN.words(query))
        assert [hit.score for hit in in_fold] == [float(scores[int(hit.id[1:])]) for hit in in_fold]


def test_filters_tenants_and_ids_hold_in_a_folded_index_and_its_tail(large):
    names = ["d3", "d4000", "d4130", "d4140"]
    texts = {document.id: document.text for document in large.get(names)}
    large.update_metadata({"chosen": True}, names)
    large.add(["silver"], ids=["s"], tenant="acme")
    for legs in ("lexical", "hybrid"):
        for name in names:
            for options in ({"ids": names}, {"where": {"chosen": True}}):
                hits = large.search(texts[name], k=10, legs=legs, **options)
                assert hits[0].id == name
                assert set(ids_of(hits)) <= set(names)
        assert ids_of(large.search("silver", legs=legs, tenant="acme")) == ["s"]
        assert "s" not in ids_of(large.search("silver", k=50, legs=legs))
    large.delete(["d4000", "d4140"])
    for name in ("d4000", "d4140"):
        assert name not in ids_of(large.search(texts[name], k=50, legs="lexical"))


def test_compacting_folds_anew(large):
    large.delete([f"d{i}" for i in range(0, 4000, 3)])
    large.compact()
    left = [f"d{i}" for i in range(len(BLOCK_TEXTS) + 20) if i >= 4000 or i % 3]
    assert record_of(large)["n_rows"] == len(left)
    texts = {document.id: document.text for document in large.iter()}
    assert list(texts) == left
    for query in QUERIES:
        expected = ordered(scratch(list(texts.values()), query)[0], left)
        hits = large.search(query, k=20, legs="lexical")
        assert [(hit.id, hit.score) for hit in hits] == [(name, float(score)) for name, score in expected[:20]]
    assert large.verify() == []
    large.add(["silver"], ids=["new"])
    large.compact()  # nothing was deleted, and one row is not folded
    assert record_of(large)["n_rows"] == len(left) + 1


@pytest.mark.parametrize("seed", range(4))
def test_words_find_the_documents_that_hold_them_whatever_was_done_before(path, monkeypatch, seed):
    """Against a dict, with folds every few rows, by two handles."""
    monkeypatch.setattr("binrag.lexical.index.MIN_TAIL", 7)
    draw, model, n_folds = np.random.default_rng(seed), {}, set()
    vocabulary = ["silver", "river", "copper", "stone", "engine"]
    with Store.open(path, dim=2, lexical="en") as store, Store.open(path, "r") as other:
        for step in range(60):
            ids = [f"d{i}" for i in draw.choice(25, size=draw.integers(1, 5), replace=False)]
            action = draw.choice(["add", "add", "add", "delete", "compact", "roll back"])
            texts = [" ".join(draw.choice(vocabulary, size=draw.integers(1, 4))) for _ in ids]
            added = {
                "texts": texts,
                "ids": ids,
                "vectors": np.ones((len(ids), 2)),
                "metadata": [{"n": step}] * len(ids),
            }
            if action == "add":
                store.add(**added)
                model.update(zip(ids, [(text, step) for text in texts], strict=True))
            elif action == "delete":
                store.delete(ids)
                model = {id_: value for id_, value in model.items() if id_ not in ids}
            elif action == "compact":
                store.compact()
            else:
                with pytest.raises(ZeroDivisionError), store.transaction():
                    store.add(**added)
                    raise ZeroDivisionError
            n_folds.add(record_of(store)["generation"])
            for word in vocabulary[:3]:
                expected = {id_ for id_, (text, _) in model.items() if word in text.split()}
                recent = {id_ for id_ in expected if model[id_][1] > step - 10}
                for reader in (store, other):
                    assert set(ids_of(reader.search(word, k=50, legs="lexical"))) == expected
                    where = {"n": {"$gt": step - 10}}
                    assert set(ids_of(reader.search(word, k=50, legs="lexical", where=where))) == recent
        assert store.verify() == []
    assert len(n_folds) > 3


@pytest.fixture
def cut(monkeypatch):
    """Rows whose texts were cut into words, (first, stop, whether the store was locked), and what is done after it."""
    seen, afterwards = [], []
    original = words.words_between

    def noting(reading, tokenizer, first, stop):
        yield from original(reading, tokenizer, first, stop)
        seen.append((first, stop, isinstance(reading, Writing)))
        while afterwards:
            afterwards.pop()()

    monkeypatch.setattr(words, "words_between", noting)
    monkeypatch.setattr("binrag.lexical.index.MIN_TAIL", 10)
    return seen, afterwards


def add_some(store, texts, ids=None):
    return store.add(texts, ids=ids, vectors=np.ones((len(texts), 2)))


def exact(store):
    """The scores of every row that lives, by a new index of their texts."""
    documents = list(store.iter(tenant=ALL_TENANTS))
    texts, names = [document.text for document in documents], [document.id for document in documents]
    return {query: ordered(scratch(texts, query)[0], names) for query in QUERIES}


def found(store):
    hits = {query: store.search(query, k=500, legs="lexical", tenant=ALL_TENANTS) for query in QUERIES}
    return {query: [(hit.id, np.float32(hit.score)) for hit in some] for query, some in hits.items()}


def test_a_fold_cuts_each_text_once_and_none_while_the_store_is_locked(path, cut):
    seen, _ = cut
    with Store.open(path, dim=2, lexical="en") as store:
        for first in range(0, 60, 5):
            add_some(store, TEXTS[first : first + 5], IDS[first : first + 5])
        assert seen == [(first, first + 10, False) for first in range(0, 60, 10)]
        assert found(store) == exact(store)
        store.delete(IDS[:9])
        add_some(store, TEXTS[:10])
        assert seen[6:] == [(60, 70, False)]
        assert found(store) == exact(store)  # dead rows left the statistics
        add_some(store, ["silver"])
        store.compact()
        assert seen[7:] == [(70, 71, True)]
        assert found(store) == exact(store)
        assert store.verify() == []
    with Store.open(path) as store:
        assert found(store) == exact(store)


def test_a_compaction_folds_rows_in_their_new_order(path, cut):
    with Store.open(path, dim=2, lexical="en") as store, Store.open(path, "r") as other:
        for i in range(60):
            store.add([TEXTS[i]], ids=[IDS[i]], vectors=[[1, 1]], tenant=["b", None, "a"][i % 3])
        store.delete(IDS[30:45], tenant="a")
        found(other)
        store.compact()
        assert record_of(store)["n_rows"] == 55
        assert found(store) == found(other) == exact(store)
        store.add([TEXTS[0]], ids=["last"], vectors=[[1, 1]])
        store.compact()  # no row is dead, and they are out of order
        assert found(store) == found(other) == exact(store)
        assert store.verify() == []


def between_added(other):
    with other._handle.database.transaction():  # after which nothing is folded
        add_some(other, ["silver copper", "engine"])


def between_compacted(other):
    other.delete(IDS[:3])
    other.compact()


def between_folded(other):
    add_some(other, TEXTS[20:30])


def between_indexed(other):
    other.index_words("any")


@pytest.mark.parametrize(
    ("call", "between", "n_cut_late"),
    [
        ("add", between_added, 2),
        ("add", between_compacted, 10),  # by the compaction, those since the fold
        ("add", between_folded, 0),
        ("add", between_indexed, 0),
        ("index_words", between_added, 2),
        ("index_words", between_compacted, 3 + 12),  # by the compaction, and then all, whose numbers are others now
        ("index_words", between_folded, 10),
        ("index_words", between_indexed, 0),
    ],
)
def test_others_may_write_between_the_cut_and_the_lock(path, cut, call, between, n_cut_late):
    seen, afterwards = cut
    with Store.open(path, dim=2, lexical="en") as store, Store.open(path, lock_timeout=0.1) as other:
        add_some(store, TEXTS[:12], IDS[:12])
        add_some(store, TEXTS[12:15], IDS[12:15])
        afterwards.append(lambda: between(other))
        if call == "add":
            add_some(store, TEXTS[15:22], IDS[15:22])
        else:
            store.index_words()
        assert not afterwards
        assert store.verify() == []
        assert record_of(store)["n_rows"] == store.stats().n_rows
        if call == "add" and between is between_indexed:
            assert record_of(store)["language"] == "any"
            store.index_words("en")
        for handle in (store, other):
            assert found(handle) == exact(handle)
        assert sum(stop - first for first, stop, is_locked in seen if is_locked) == n_cut_late


@pytest.mark.parametrize("is_folded", [False, True])
def test_what_a_transaction_wrote_and_undid_is_not_kept(path, cut, is_folded):
    with Store.open(path, dim=2, lexical="en") as store:
        add_some(store, TEXTS[:12], IDS[:12])
        before = found(store)
        with pytest.raises(ZeroDivisionError), store.transaction():
            add_some(store, ["silver unheard"] * 5)
            if is_folded:
                store.index_words()
            with store._handle.database.reading(own_writes=True) as own:
                index, tail = store._handle.words.view(own)
            assert len(index.retrieve(["unheard"], 10, tail=tail).rows) == 5
            assert found(store) == before
            raise ZeroDivisionError
        with store.transaction():
            add_some(store, ["silver river"] * 5)
            if is_folded:
                store.index_words()  # in a transaction of the same number
        assert store.search("unheard", legs="lexical") == []
        store.index_words()
        assert found(store) == exact(store)


def test_an_index_of_no_rows_takes_the_statistics_of_those_that_follow(path):
    with Store.open(path, dim=2) as store:
        store.index_words()
        add_some(store, TEXTS, IDS)
        assert found(store) == exact(store)


def damaged(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM blocks WHERE part = 'lexical' AND no = 0",
        "DELETE FROM blocks WHERE part = 'lexical' AND no = 1",
        "DELETE FROM blocks WHERE part = 'lexical'",
        "UPDATE blocks SET data = zeroblob(length(data)) WHERE part = 'lexical' AND no = 1",
        "DELETE FROM meta WHERE key = 'lexical'",
    ],
)
def test_damage_is_found_and_repaired(large, path, sql):
    large.close()
    damaged(path, sql)
    assert binrag.verify(path)
    with Store.open(path, encoder=WordEncoder(8)) as store, pytest.raises((CorruptStore, UnsupportedMode)):
        store.search("silver", legs="lexical")
    if "meta" not in sql:
        shutil.copy(path, path.with_name("copy"))
        with Store.open(path.with_name("copy"), encoder=WordEncoder(8)) as store:
            with pytest.raises(CorruptStore, match=r"store.index_words\(\) makes it again|damaged"):
                store.delete(["d1"]) and store.compact()
            store.index_words()
            assert len(store.search("silver", k=10, legs="lexical")) == 10
            assert store.verify() == []
    binrag.repair(path, path.with_name("new"))
    assert binrag.verify(path.with_name("new")) == []
    with Store.open(path.with_name("new"), encoder=WordEncoder(8)) as store:
        store.index_words()
        assert len(store.search("silver", k=10, legs="hybrid")) == 10


def test_a_store_is_given_words_later(path):
    with Store.open(path, encoder=WordEncoder(8)) as store:
        store.add(TEXTS, ids=IDS)
        for legs in ("lexical", "hybrid"):
            with pytest.raises(UnsupportedMode, match=r"no index of words; store.index_words\(\) makes one"):
                store.search("silver", legs=legs)
        store.index_words("any")
        assert "d7" in ids_of(store.search("7", legs="lexical"))
        assert record_of(store)["language"] == "any"
        store.index_words("en")
        check_lexical(store, TEXTS, IDS)
    with pytest.raises(UnsupportedMode, match="lexical='any' was asked for, the store was made with 'en'"):
        Store.open(path, lexical="any")
    with Store.open(path, lexical="en") as store:
        assert len(store.search("silver", legs="lexical")) > 0  # needs no encoder


def test_bad_input(store, path):
    for legs in ("both", None, ["dense"], ""):
        with pytest.raises(InvalidInput, match="legs is"):
            store.search("silver", legs=legs)
    for legs in ("lexical", "hybrid"):
        with pytest.raises(InvalidInput, match="the query is empty"):
            store.search("  ", legs=legs)
        with pytest.raises(
            InvalidInput, match=r"reads the text of a query, and queries\[0\] is a ndarray, expected str"
        ):
            store.search(np.ones(64), legs=legs)
    with pytest.raises(InvalidInput, match="neither was asked for"):
        store.search("silver", text="silver")
    with pytest.raises(InvalidInput, match="got 0 texts for 1 queries"):
        store.search_batch(["silver"], texts=[], legs="hybrid")
    with pytest.raises(InvalidInput, match="got 2 texts for 1 queries"):
        store.search_batch(["silver"], texts=["a", "b"], legs="hybrid")
    with pytest.raises(InvalidInput, match="legs='lexical' scans none"):
        store.search("silver", legs="lexical", n_candidates=100)
    for language in ("de", True, ["en"]):
        with pytest.raises(InvalidInput, match="lexical is"):
            store.index_words(language)
        with pytest.raises(InvalidInput, match="lexical is"):
            Store.open(path.with_name("new"), lexical=language)
    assert not path.with_name("new").exists()


def test_a_vector_may_come_with_its_text(store):
    encoder = store._handle.encoder.encoder
    for query in QUERIES:
        vector = encoder.encode_query([query])[0]
        for legs in ("lexical", "hybrid"):
            own, other = store.search(vector, text=query, legs=legs), store.search(query, legs=legs)
            assert ids_of(own) == ids_of(other)
            assert [hit.score for hit in own] == pytest.approx([hit.score for hit in other])
        by_length = Rerank(lambda query, texts: [len(query)] * len(texts))
        assert {hit.score for hit in store.search(vector, text=query, rerank=by_length)} == {len(query)}


def test_documents_without_a_text_are_found_by_their_vectors_alone(path):
    with Store.open(path, encoder=WordEncoder(64), lexical="en") as store:
        assert store.search("silver", legs="hybrid") == store.search("silver", legs="lexical") == []
        store.add([None, "silver"], vectors=WordEncoder(64).encode_document(["silver river", "silver"]), ids=["a", "b"])
        assert ids_of(store.search("silver", legs="lexical")) == ["b"]
        assert ids_of(store.search("silver", legs="hybrid")) == ["b", "a"]
