"""Searches by words from the shell."""

import json

import pytest


@pytest.fixture
def texts(tmp_path):
    lines = [
        {"id": "a", "text": "the silver river", "vector": [1.0, 0.1]},
        {"id": "b", "text": "a copper kettle", "vector": [0.1, 1.0]},
        {"id": "c", "text": "silver silver", "vector": [1.0, 1.0]},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def ids(run, *arguments):
    code, out, err = run("search", "kb.binrag", *arguments, "--json")
    assert code == 0, err
    return [hit["id"] for hit in json.loads(out)]


def test_a_store_can_be_made_with_words(run, texts):
    assert run("add", "kb.binrag", texts, "--quiet", "--lexical", "en")[0] == 0
    assert ids(run, "the silver", "--legs", "lexical") == ["c", "a"]  # "the" says nothing in English
    assert ids(run, "kettles", "--legs", "lexical") == ["b"]
    code, _, err = run("add", "kb.binrag", texts, "--quiet", "--lexical", "any")
    assert code != 0
    assert "lexical='any' was asked for, the store was made with 'en'" in err


def test_or_be_given_them_later(run, texts):
    assert run("add", "kb.binrag", texts, "--quiet")[0] == 0
    code, _, err = run("search", "kb.binrag", "silver", "--legs", "lexical")
    assert code != 0
    assert "no index of words" in err
    code, out, _ = run("words", "kb.binrag", "--language", "any", "--json")
    assert (code, json.loads(out)) == (0, {"count": 3, "language": "any"})
    assert ids(run, "the", "--legs", "lexical") == ["a"]
    assert "the words of 3 documents" in run("words", "kb.binrag")[1]
    assert ids(run, "the", "--legs", "lexical") == []
    assert run("verify", "kb.binrag")[0] == 0


def test_how_both_are_brought_together_can_be_chosen_and_shown(run, texts):
    assert run("add", "kb.binrag", texts, "--quiet", "--lexical", "en")[0] == 0
    hybrid = ("silver", "--legs", "hybrid", "--encoder", "unused")
    code, _, err = run("search", "kb.binrag", "silver", "--fusion", "ranks")
    assert code == 1, err
    assert "fusion is of both legs" in err
    for weights in (("-1", "1"), ("0", "0")):
        code, _, err = run("search", "kb.binrag", *hybrid, "--fusion", "ranks", "--weights", *weights)
        assert code == 1, err
        assert "expected two numbers" in err
    code, _, err = run("search", "kb.binrag", *hybrid, "--weights", "1", "1")
    assert code == 1, err
    assert "--weights is for --fusion ranks, min-max or z" in err
    code, out, err = run(
        "search", "kb.binrag", "silver", "--legs", "lexical", "--explain", "--json", "--diversity", "mmr"
    )
    assert code == 0, err
    first = json.loads(out)[0]
    assert first["legs"] == {"lexical": {"rank": 1, "score": first["score"]}}
    assert 0 < first["relevance"] < 1
    code, out, err = run("search", "kb.binrag", "silver", "--legs", "lexical", "--explain")
    assert f"lexical #1 {first['score']:.3f}" in out


def test_stop_words_come_from_a_file(run, texts, tmp_path):
    stop = tmp_path / "stop.txt"
    stop.write_text("Silver\nkettle a\n", encoding="utf-8")
    code, _, err = run("add", "kb.binrag", texts, "--quiet", "--stop-words", str(stop))
    assert code == 1
    assert "--stop-words goes with --lexical" in err
    assert run("add", "kb.binrag", texts, "--quiet", "--lexical", "en", "--stop-words", str(stop))[0] == 0
    assert ids(run, "the", "--legs", "lexical") == ["a"]
    assert ids(run, "silver kettle", "--legs", "lexical") == []
    assert run("words", "kb.binrag", "--quiet")[0] == 0
    assert ids(run, "silver kettle", "--legs", "lexical") != []
    assert run("words", "kb.binrag", "--quiet", "--stop-words", str(stop))[0] == 0
    assert ids(run, "silver kettle", "--legs", "lexical") == []
    code, _, err = run("words", "kb.binrag", "--stop-words", str(tmp_path / "none"))
    assert code == 1
    assert "cannot read the stop words" in err
