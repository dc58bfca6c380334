"""What every index has to do, whichever it is."""

from dataclasses import replace

import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers import SignBinarizer
from binrag.binarizers.costs import scan_costs
from binrag.indexes import FlatIndex
from binrag.types import Candidates

INDEXES = {"flat": FlatIndex.from_codes}
N = 700


@pytest.fixture(params=[False, True], ids=["words", "tables"])
def by_tables(request):
    return request.param


@pytest.fixture(params=sorted(INDEXES))
def index(request, by_tables):
    return INDEXES[request.param](SignBinarizer(100).transform(vectors_of(N, 100)), by_tables)


@pytest.fixture
def query(by_tables):
    asked = SignBinarizer(100).query(vectors_of(1, 100, seed=5)[0])
    return replace(asked, words=None, costs=scan_costs(asked.tables)) if by_tables else asked


def test_candidates_are_ordered_and_different(index, query):
    candidates = index.retrieve(query, 50)
    assert isinstance(candidates, Candidates)
    assert (candidates.rows.dtype, candidates.scores.dtype) == (np.int64, np.float64)
    pairs = list(zip(candidates.scores.tolist(), candidates.rows.tolist(), strict=True))
    assert pairs == reference.best_first(*zip(*pairs, strict=True))
    assert len(set(candidates.rows.tolist())) == 50


@pytest.mark.parametrize("n", [1, N - 1, N, N + 1, 10 * N])
def test_as_many_as_there_are(index, query, n):
    assert len(index.retrieve(query, n).rows) == min(n, N)


def test_fewer_candidates_are_the_first_of_more(index, query):
    more = index.retrieve(query, 200).rows.tolist()
    assert index.retrieve(query, 20).rows.tolist() == more[:20]


def test_only_allowed_rows(index, query):
    flags = [row % 7 == 0 for row in range(N)]
    rows = index.retrieve(query, N, reference.bitmap_of(flags)).rows.tolist()
    assert sorted(rows) == list(range(0, N, 7))
    assert len(index.retrieve(query, N, reference.bitmap_of([False] * N)).rows) == 0


def test_the_same_answer_again(index, query):
    first, second = index.retrieve(query, 100), index.retrieve(query, 100)
    assert first.rows.tolist() == second.rows.tolist()
    assert first.scores.tolist() == second.scores.tolist()
