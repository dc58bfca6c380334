import pytest

from binrag.errors import FormatVersionError, InvalidInput
from binrag.lexical import Tokenizer

PLAIN, ENGLISH = Tokenizer(None), Tokenizer()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("… — !", []),
        ("Read the docs", ["read", "the", "docs"]),
        ("snake_case x_1", ["snake_case", "snake", "case", "x_1", "x", "1"]),
        ("parseJSONFile", ["parsejsonfile", "parse", "json", "file"]),
        ("__init__", ["__init__"]),
        ("SHA256 v2", ["sha256", "sha", "256", "v2", "v", "2"]),
        ("Grösse STRASSE Straße", ["grösse", "strasse", "strasse"]),
        ("Größe_Max", ["grösse_max", "grösse", "max"]),
        ("ﬁle ２０２４ cafe\u0301", ["file", "2024", "café"]),
        ("黒い猫", ["黒", "い", "猫", "黒い", "い猫"]),
        ("Python入門", ["python", "入", "門", "入門"]),
        ("हिन्दी", ["हिन्दी"]),
        ("a\ud800b", ["a", "b"]),
        ("x" * 100, ["x" * 64]),
    ],
)
def test_words(text, words):
    assert PLAIN.words(text) == words


def test_ascii_takes_the_same_path_as_the_rest():
    text = "The parseJSONFile of snake_case, SHA256 and it's 3.14"
    assert PLAIN.words(text) == PLAIN.words(text + " …")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cats and the dogs", ["cat", "dog"]),
        ("stories classes bus glass shoes gas", ["story", "classe", "bus", "glass", "shoes", "gas"]),
        ("is_valid", ["is_valid", "valid"]),
        ("list_items", ["list_item", "list", "item"]),
    ],
)
def test_english_leaves_out_stop_words_and_plurals(text, words):
    assert ENGLISH.words(text) == words


def test_the_record_makes_the_same_tokenizer():
    for tokenizer in (PLAIN, ENGLISH):
        assert Tokenizer.from_record(tokenizer.record()) == tokenizer


@pytest.mark.parametrize(
    "record",
    [{}, {"version": 2, "language": "en"}, {"version": 1, "language": "de"}, {"version": 1, "language": None, "x": 1}],
)
def test_other_rules_are_not_guessed(record):
    with pytest.raises(FormatVersionError, match="update binrag"):
        Tokenizer.from_record(record)


def test_other_languages_are_refused():
    with pytest.raises(InvalidInput, match="'fr'"):
        Tokenizer("fr")
