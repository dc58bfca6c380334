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
