"""Random metadata and filters: few paths and few values of every kind, so that they meet."""

from datetime import date, datetime, timedelta, timezone

from binrag import (
    All,
    And,
    Any,
    Contains,
    Eq,
    Exists,
    Ge,
    Gt,
    In,
    IsEmpty,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    TextMatch,
)

EAST = timezone(timedelta(hours=2))
SCALARS = [
    *(None, True, False, 0, 1, -1, 2, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(0.0, -0.0, 1.0, 0.5, 2.0**53, 2.0**63, 1e300, -1e-300),
    *("", "a", "b", "ab", "Ab", "ä", "a\0", "true", "\U0001f600", "z" * 126, "z" * 127, "ab" * 200, "ä" * 63, "ä" * 64),
    *(b"", b"a", b"ab", b"\x01\x02", b"z" * 126, b"z" * 127),
    *(date(2024, 1, 1), date(2024, 1, 2)),
    *(datetime(2024, 1, 1), datetime(2024, 1, 1, 2), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)),
    datetime(2024, 1, 1, tzinfo=timezone.utc),  # noqa: UP017
    *(datetime(2024, 1, 1, 2, tzinfo=EAST), datetime(2024, 1, 1, 3, tzinfo=EAST), datetime(1, 1, 1, tzinfo=EAST)),
]
LISTS = [[], ["a"], ["a", "b"], [1, "a"], [True, 1.0], [None], [["a"], "b"], [["a"]], ["ab"], [1] * 70, [1.0] * 70]
LISTS += [["a" * 60, "b" * 60, "a"], [date(2024, 1, 1)], [datetime(2024, 1, 1, 2, tzinfo=EAST)], [b"a"], [0], [[]]]
DICTS = [
    {},
    {"b": 1},
    {"b": "a"},
    {"b": {"c": ["a"]}},
    {"b.c": "b", "b": {"c": 1}},
    {"b": None},
    {"c": [], "": {"b": 2}},
]
LISTS_OF_DICTS = [
    *([{"b": "a"}, {"b": "b"}], [{"b": ["a", "b"]}, {"b": "ab"}, 1], [{}], [{"b": []}], [{"c": 1}, "b"], [[{"b": 1}]]),
    [{"b": [{"c": 1}, {"c": "a"}]}, {"b": {"c": 2}}],
]
PATHS = ["a", "b", "a.b", "a.b.c", "a.c", "a..b", "nothing", "a.", ""]
COMPARED = [Eq, Ne, Lt, Le, Gt, Ge, Contains]
LISTED = [In, NotIn, Any, All]


def random_metadata(rng):
    """One document's metadata, or None."""
    if rng.random() < 0.1:
        return rng.choice([None, {}])
    keys = rng.sample(["a", "b", "a.b", "a.b.c", ""], rng.choice([1, 1, 2, 3]))
    return {key: rng.choice(rng.choice([SCALARS, SCALARS, SCALARS, LISTS, DICTS, LISTS_OF_DICTS])) for key in keys}


def random_leaf(rng):
    """A condition."""
    path = rng.choice(PATHS)
    kind = rng.choice([*COMPARED, *COMPARED, *LISTED, *LISTED, TextMatch, IsEmpty, Exists])
    if kind in COMPARED:
        return kind(path, rng.choice(rng.choice([SCALARS, SCALARS, LISTS])))
    if kind in LISTED:
        return kind(
            path, [rng.choice(rng.choice([SCALARS, SCALARS, LISTS])) for _ in range(rng.choice([0, 1, 2, 3, 30]))]
        )
    if kind is TextMatch:
        return TextMatch(path, rng.choice(["", "a", "B", "b", "Ä", "zz", "z" * 127]), rng.random() < 0.5)
    return kind(path)


def random_filter(rng, depth=3):
    """A tree of conditions."""
    if depth == 0 or rng.random() < 0.4:
        return random_leaf(rng)
    if rng.random() < 0.3:
        return Not(random_filter(rng, depth - 1))
    return rng.choice([And, Or])(*(random_filter(rng, depth - 1) for _ in range(rng.choice([0, 1, 2, 2, 3]))))
