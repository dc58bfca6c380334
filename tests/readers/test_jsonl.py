import json

import pytest

from binrag.readers import BadLine, Record, read_jsonl


def read(*lines, **options):
    return list(read_jsonl([line.encode() if isinstance(line, str) else line for line in lines], "in", **options))


def test_all_fields_of_a_line_are_read():
    line = json.dumps({"id": "a", "text": "hello", "metadata": {"n": [1, {"x": None}]}, "vector": [1, 0.5]})
    assert read(line) == [Record("a", "hello", {"n": [1, {"x": None}]}, [1, 0.5])]


def test_a_line_without_id_gets_the_same_id_again_and_another_content_another_one():
    (a,), (b,), (c,) = read('{"text": "x"}'), read('{"text":   "x"}'), read('{"text": "x", "metadata": {"n": 1}}')
    assert a.id == b.id != c.id


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff{}", "not JSON"),
        ("[1]", "JSON list, expected an object"),
        ('{"text": "x", "title": "y"}', "unknown field 'title'"),
        ('{"text": 3}', "text is a int"),
        ('{"id": "a"}', "no text and no vector"),
        ('{"text": "  "}', "no text and no vector"),
        ('{"text": "x", "id": 7}', "id is 7"),
        ('{"text": "x", "id": ""}', "id is ''"),
        ('{"text": "x", "metadata": [1]}', "metadata of the line is a list"),
        ('{"text": "x", "metadata": {"a": {"b": NaN}}}', "a.b is nan"),
        ('{"text": "x", "metadata": {"n": 99999999999999999999999}}', "more than 64 bits"),
        ('{"text": "\\ud800"}', "surrogates"),
        ('{"vector": "x"}', "not a list of finite numbers"),
        ('{"vector": [1, true]}', "not a list of finite numbers"),
        ('{"vector": [1, NaN]}', "not a list of finite numbers"),
        ('{"vector": [0, 0]}', "all zeros"),
        ('{"vector": [1, 2, 3]}', "has 3 dimensions, expected 2"),
    ],
)
def test_a_bad_line_says_where_it_is_and_what_is_wrong(line, reason):
    good, bad, after = read('{"text": "good"}', line, '{"text": "after"}', dim=2)
    assert (good.text, after.text) == ("good", "after")
    assert isinstance(bad, BadLine)
    assert str(bad).startswith("in:2: ")
    assert reason in bad.reason


def test_blank_lines_count_but_are_no_documents():
    _, bad = read('{"text": "x"}', "", "  ", "{")
    assert bad.number == 4


def test_the_first_vector_sets_the_dimension_of_the_others():
    first, second = read('{"vector": [1, 2]}', '{"vector": [1, 2, 3]}')
    assert isinstance(first, Record)
    assert "has 3 dimensions, expected 2" in second.reason
