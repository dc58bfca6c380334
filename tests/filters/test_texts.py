"""Byte strings in one buffer behave as a list of them."""

from hypothesis import given
from hypothesis import strategies as st

from binrag.filters.texts import Texts, distinct

ALPHABET = st.sampled_from([b"", b"a", b"b", b"\0", b"\xff", b"abcdefg", b"abcdefgh", b"aaaaaaa" * 3])
STRINGS = st.lists(st.lists(ALPHABET, max_size=5).map(b"".join), max_size=30)


@given(st.lists(STRINGS, min_size=1, max_size=4))
def test_distinct_strings_are_sorted_as_python_sorts_them(parts):
    united, places = distinct([Texts.of(part) for part in parts])
    every = [value for part in parts for value in part]
    assert [united[i] for i in range(len(united))] == sorted(set(every))
    assert [united[i] for i in places.tolist()] == every


@given(STRINGS, ALPHABET)
def test_parts_are_found_within_one_string_only(strings, part):
    assert Texts.of(strings).with_part(part).tolist() == [part in value for value in strings]


@given(st.lists(st.text(st.sampled_from("aAßſKΣσςİi\0"), max_size=4), max_size=20), st.text("aAsKΣσςİi", max_size=2))
def test_case_is_ignored_as_python_lowers_it(strings, text):
    texts = Texts.of(value.encode() for value in strings)
    assert texts.with_lower(text.lower()).tolist() == [text.lower() in value.lower() for value in strings]


def test_order_is_that_of_code_points():
    strings = ["\U0001f600", "\ue000", "z", "é"]
    united, _ = distinct([Texts.of(value.encode() for value in strings)])
    assert [united[i].decode() for i in range(4)] == sorted(strings)
