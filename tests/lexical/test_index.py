"""The index and its tail against the definition and against bm25s, bit by bit."""

import subprocess
import sys

import bm25s
import msgpack
import numpy as np
import pytest
import reference

from binrag.errors import CorruptStore, FormatVersionError, InvalidInput
from binrag.lexical import LexicalIndex, Tail, Tokenizer, needs_fold

PLAIN = Tokenizer(None)
QUERIES = (["w0"], ["w1", "w7", "w30"], ["w5", "w5", "nothing"], ["w2", "new", "w11", "w3"], ["nothing"], [])


def documents_of(n, seed=0, new=()):
    """Words with a Zipf-like distribution, many documents alike, so that scores tie; some without words."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        words = [f"w{int(i)}" for i in 40 * rng.random(rng.integers(1, 9)) ** 2]
        made.append([None, [], [*words, *new], words, words, words][rng.integers(6)])
    return [*made, *made[: n // 3]]


def best_of(scores, n, allowed=None):
    rows = [r for r in range(len(scores)) if scores[r] > 0 and (allowed is None or allowed[r])]
    return [(float(scores[r]), r) for r in sorted(rows, key=lambda r: (-scores[r], r))[:n]]


def listed(matches):
    return list(zip(matches.scores.tolist(), matches.rows.tolist(), strict=True))


@pytest.fixture(scope="module")
def documents():
    return documents_of(90)


@pytest.fixture(scope="module")
def index(documents):
    return LexicalIndex.fold(documents, PLAIN)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_scores_and_coverage_are_those_of_the_definition(documents, index, query):
    expected = reference.bm25(documents, query)
    assert index.score(query).dtype == np.float32
    assert index.score(query).tolist() == expected.tolist()
    for n in (1, 7, 1000):
        matches = index.retrieve(query, n)
        assert listed(matches) == best_of(expected, n)
        covered = np.array(reference.covered(documents, query))
        assert np.allclose(index.coverage(query, matches.rows), covered[matches.rows], rtol=1e-12)
    assert np.allclose(index.coverage(query, np.arange(len(documents))[::-1]), covered[::-1], rtol=1e-12)


def test_scores_have_the_bits_of_bm25s(documents, index):
    held = [row for row, words in enumerate(documents) if words]
    model = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    model.index([documents[row] for row in held], show_progress=False)
    for query in QUERIES[:3]:
        assert index.score(query)[held].tobytes() == model.get_scores(query).tobytes()


def test_only_allowed_rows_are_returned(documents, index):
    allowed = np.random.default_rng(1).random(len(documents)) < 0.3
    for query in QUERIES:
        expected = best_of(reference.bm25(documents, query), 9, allowed)
        assert listed(index.retrieve(query, 9, reference.bitmap_of(allowed))) == expected
    with pytest.raises(ValueError, match="the bitmap has 1 words"):
        index.retrieve(["w0"], 9, np.zeros(1, np.uint64))


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_tail_is_scored_by_the_statistics_of_the_fold(documents, index, query):
    tail = Tail(len(documents))
    later = documents_of(40, seed=1, new=["new"])
    for first in range(0, len(later), 17):
        tail = tail.extended(later[first : first + 17])
    together = [*documents, *later]
    expected = reference.bm25(together, query, len(documents))
    assert index.score(query, tail).tolist() == expected.tolist()
    matches = index.retrieve(query, 12, tail=tail)
    assert listed(matches) == best_of(expected, 12)
    covered = np.array(reference.covered(together, query, len(documents)))
    assert np.allclose(index.coverage(query, matches.rows, tail), covered[matches.rows], rtol=1e-12)
    again = LexicalIndex.fold(together, PLAIN)
    assert again.score(query).tolist() == reference.bm25(together, query).tolist()


def test_a_row_scores_the_same_in_the_tail_as_in_the_fold(documents, index):
    """A copy of a counted row adds up to the same bits, so that it ties with it."""
    tail = Tail(len(documents)).extended(documents)
    for query in QUERIES:
        scores = index.score(query, tail)
        assert scores[: len(documents)].tobytes() == scores[len(documents) :].tobytes()


def test_views_of_a_tail_stay_as_they_were(index):
    older = Tail(index.n_rows).extended([["w1"], None])
    newer = older.extended([["w1", "w1"]])
    other = older.extended([["w2"], ["w1"]])
    assert [view.n_rows for view in (older, newer, other)] == [2, 3, 4]
    found = [np.flatnonzero(index.score(["w1"], view)[index.n_rows :]).tolist() for view in (older, newer, other)]
    assert found == [[0], [0, 2], [0, 3]]
    assert other.lengths.tolist() == [1, 0, 1, 1]


def test_a_tail_of_other_rows_is_refused(index):
    with pytest.raises(InvalidInput, match=f"expected {index.n_rows}"):
        index.score(["w1"], Tail(index.n_rows - 1))


@pytest.mark.parametrize("documents", [[], [None, []], [["a"]]], ids=str)
def test_few_or_no_words(documents):
    index = LexicalIndex.fold(documents, PLAIN)
    again = LexicalIndex.from_blocks(list(index.to_blocks()), "here")
    tail = Tail(len(documents)).extended([["a", "b"], None])
    for made in (index, again):
        assert (
            made.score(["a"], tail).tolist()
            == reference.bm25([*documents, ["a", "b"], None], ["a"], len(documents)).tolist()
        )
        assert len(made.retrieve(["b"], 3).rows) == 0


def test_blocks_bring_back_the_same_index(documents, index, monkeypatch):
    whole = list(index.to_blocks())
    monkeypatch.setattr("binrag.lexical.blocks.BYTES", 100)
    blocks = list(index.to_blocks())
    assert max(map(len, blocks[1:])) == 100
    assert b"".join(blocks) == b"".join(whole)
    again = LexicalIndex.from_blocks(blocks, "here")
    assert again.tokenizer == index.tokenizer
    assert list(again.to_blocks()) == blocks
    for query in QUERIES:
        assert again.score(query).tobytes() == index.score(query).tobytes()


def test_the_same_rows_make_the_same_bytes(documents, index):
    assert list(LexicalIndex.fold(iter(documents), PLAIN).to_blocks()) == list(index.to_blocks())


def test_damage_is_found_or_harmless(index):
    """Whatever byte is changed: an error that names the place, or an index whose every search stays in bounds."""
    blocks = list(index.to_blocks())
    rng = np.random.default_rng(0)
    n_found = 0
    for _ in range(400):
        damaged = [bytearray(block) for block in blocks]
        block = damaged[rng.integers(2)]
        block[rng.integers(len(block))] ^= 1 << int(rng.integers(8))
        try:
            read = LexicalIndex.from_blocks([bytes(block) for block in damaged], "the lexical index")
        except CorruptStore as error:
            assert "the lexical index is damaged" in str(error)
            n_found += 1
        except FormatVersionError:
            n_found += 1
        else:
            assert read.postings.rows.max() < read.n_rows
            for query in QUERIES:
                read.retrieve(query, 5)
    assert n_found > 300


@pytest.mark.parametrize(
    "change",
    [
        lambda b: [],
        lambda b: b[:1],
        lambda b: b[1:],
        lambda b: [b[0], b[1][:-1]],
        lambda b: [b[0], b[1] + b"\0"],
        lambda b: [b"\xc1", b[1]],
    ],
)
def test_missing_and_foreign_blocks_are_refused(index, change):
    with pytest.raises(CorruptStore, match="here is damaged"):
        LexicalIndex.from_blocks(change(list(index.to_blocks())), "here")


STREAM = {"lengths": "<u4", "sizes": "<u4", "rows": "<u4", "counts": "<u2", "widths": "<u2", "words": "u1"}


@pytest.mark.parametrize(
    ("where", "changed", "message"),
    [
        ("lengths", [1, 1], "another number of words"),
        ("lengths", [2, 2], "another number of words"),
        ("lengths", [2, 0], "another number of words"),
        ("sizes", [3, 0], "postings are cut wrongly"),
        ("sizes", [1, 1], "postings are cut wrongly"),
        ("rows", [1, 0, 0], "out of range or out of order"),
        ("rows", [0, 0, 0], "out of range or out of order"),
        ("rows", [0, 2, 0], "out of range or out of order"),
        ("rows", [0, 1, 2**32 - 1], "out of range or out of order"),
        ("rows", [0, 1, 1], "another number of words"),
        ("counts", [1, 0, 1], "a count is 0"),
        ("counts", [1, 2, 1], "another number of words"),
        ("counts", [1, 65535, 1], "another number of words"),
        ("widths", [2, 0], "words are cut wrongly"),
        ("widths", [1, 2], "words are cut wrongly"),
        ("words", [98, 97], "words are out of order"),
        ("words", [97, 97], "words are out of order"),
        ("words", [97, 255], "can't decode"),
    ],
)
def test_contents_that_cannot_be_are_refused(where, changed, message):
    header, stream = LexicalIndex.fold([["a", "b"], ["a"]], PLAIN).to_blocks()
    first = {"lengths": 0, "sizes": 8, "rows": 16, "counts": 28, "widths": 34, "words": 38}[where]
    data = np.array(changed, STREAM[where]).tobytes()
    with pytest.raises(CorruptStore, match=message):
        LexicalIndex.from_blocks([header, stream[:first] + data + stream[first + len(data) :]], "here")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_rows", -1),
        ("n_rows", True),
        ("n_rows", 2**31 + 1),
        ("n_rows", 1),
        ("n_postings", 2),
        ("n_terms", 3),
        ("n_bytes", 1),
        ("k1", 0.0),
        ("k1", 1),
        ("b", 1.5),
        ("b", float("nan")),
        ("tokenizer", None),
        ("more", 0),
    ],
)
def test_headers_that_cannot_be_are_refused(name, value):
    header, stream = LexicalIndex.fold([["a", "b"], ["a"]], PLAIN).to_blocks()
    changed = msgpack.packb({**msgpack.unpackb(header), name: value})
    with pytest.raises(CorruptStore, match="here is damaged"):
        LexicalIndex.from_blocks([changed, stream], "here")


def held_by(index):
    """What `reference.inverted` says, and the length of each row."""
    own = index.postings
    stretches = zip(own.indptr[:-1].tolist(), own.indptr[1:].tolist(), strict=True)
    pairs = [list(zip(own.rows[a:b].tolist(), own.counts[a:b].tolist(), strict=True)) for a, b in stretches]
    return list(zip((word.decode() for word in own.vocabulary), pairs, strict=True)), index.lengths.tolist()


@pytest.mark.parametrize("order", ["kept", "shuffled", "by two tenants"])
@pytest.mark.parametrize("seed", range(4))
def test_a_fold_of_a_fold_and_its_tail_is_that_of_all_rows_under_their_new_numbers(order, seed):
    draw = np.random.default_rng(seed)
    first = documents_of(draw.integers(50), seed)
    later = documents_of(draw.integers(50), seed + 10, new=["ж", "日本", "z"])
    together = [*first, *later]
    n = len(together)
    by_tenant = np.argsort(np.arange(n) % 2, kind="stable")
    numbers = {"kept": np.arange(n), "shuffled": draw.permutation(n), "by two tenants": np.argsort(by_tenant)}[order]
    new_rows = np.where(draw.random(n) < 0.4, -1, numbers)
    tail = Tail(len(first)).extended(later)
    tail.extended([["not in view", "w1"]])
    made = LexicalIndex.fold(first, PLAIN).folded(tail, new_rows, n + 2)
    expected = reference.renumbered(together, new_rows, n + 2)
    assert held_by(made) == (reference.inverted(expected), [len(words or ()) for words in expected])
    assert list(made.to_blocks()) == list(LexicalIndex.fold(expected, PLAIN).to_blocks())
    for query in QUERIES:
        assert made.score(query).tolist() == reference.bm25(expected, query).tolist()


def test_words_that_no_row_holds_any_more_go():
    index = LexicalIndex.fold([["a", "b"], ["b"]], PLAIN)
    tail = Tail(2).extended([["c"], ["d"]])
    assert list(index.folded(tail, np.array([-1, 1, -1, 0]), 2).postings.vocabulary) == [b"b", b"d"]
    none = index.folded(tail, np.full(4, -1), 0)
    assert (len(none.postings), len(none.postings.vocabulary), none.score(["b"]).tolist()) == (0, 0, [])


def test_a_word_counts_65_535_times_at_most_in_the_index_and_in_the_tail():
    documents = [["a"] * 70_000 + ["b"], ["a"] * 65_535 + ["b"], ["a", "b", "b"]]
    index = LexicalIndex.fold(documents, PLAIN)
    again = LexicalIndex.from_blocks(list(index.to_blocks()), "here")
    tail = Tail(3).extended(documents)
    for query in (["a"], ["b", "a"]):
        expected = reference.bm25([*documents, *documents], query, 3).tolist()
        assert index.score(query, tail).tolist() == again.score(query, tail).tolist() == expected
    assert again.lengths.tolist() == [70_001, 65_536, 3]


def test_rows_that_could_not_be_read_leave_a_tail_as_it_was(index):
    def broken():
        yield ["w1", "w2"]
        raise ZeroDivisionError

    tail = Tail(index.n_rows).extended([["w1"]])
    with pytest.raises(ZeroDivisionError):
        tail.extended(broken())
    scores = index.score(["w1"], tail.extended([None, ["w1"]]))
    assert np.flatnonzero(scores[index.n_rows :]).tolist() == [0, 2]


def test_a_fold_is_due_after_three_percent_and_some_thousands():
    due = [(0, 4095, False), (0, 4096, True), (40_000, 4096, True), (1_000_000, 31_249, False), (10**6, 31_250, True)]
    assert [needs_fold(n_folded, n_tail) for n_folded, n_tail, _ in due] == [is_due for *_, is_due in due]


def test_numba_is_imported_by_the_fold_and_by_no_import():
    program = (
        "import sys, binrag, binrag.lexical as lexical\n"
        "assert not {'bm25s', 'numba'} & set(sys.modules)\n"
        "lexical.LexicalIndex.fold([['a']], lexical.Tokenizer())\n"
        "assert 'bm25s' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
