import numpy as np
import pytest

from benchmarks import spaces


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((200, 12)) + 0.5).astype(np.float32)
    queries = (rng.standard_normal((30, 12)) * np.arange(1, 13)).astype(np.float32)
    return rows, queries


@pytest.mark.parametrize("name", spaces.SPACES)
def test_a_space_keeps_inner_products_but_for_the_mean(data, name):
    rows, queries = data
    space = spaces.space(name, rows, queries)
    expected = queries @ (rows - space.mean).T
    np.testing.assert_allclose(space.query(queries) @ space.row(rows).T, expected, atol=2e-3)


def test_an_error_counts_as_the_queries_see_it(data):
    rows, queries = data
    space = spaces.space("weighted", rows, queries, alpha=0.5)
    error = np.random.default_rng(1).standard_normal(12).astype(np.float32)
    seen = np.mean((queries @ error) ** 2)
    expected = 0.5 * seen + 0.5 * (error @ error) / 12
    np.testing.assert_allclose(((error @ space.forward) ** 2).sum(), expected, rtol=1e-4)


def test_rows_stand_in_for_queries(data):
    rows, _ = data
    np.testing.assert_array_equal(
        spaces.space("weighted", rows, None).forward, spaces.space("weighted", rows, rows).forward
    )


@pytest.mark.parametrize(("name", "n_bytes"), [("plain", 0), ("centred", 48), ("weighted", 48 + 4 * 144)])
def test_model_bytes_of_a_space(data, name, n_bytes):
    assert spaces.space(name, *data).model_bytes == n_bytes


def test_a_rescaled_row_is_exact_against_itself(data):
    rows, _ = data
    decoded = np.sign(rows) * 0.3
    scaled = spaces.rescaled(rows, decoded)
    np.testing.assert_allclose((rows * scaled).sum(axis=1), (rows * rows).sum(axis=1), rtol=2**-10)
    assert not spaces.rescaled(rows, -decoded).any()


def test_top_rows_are_in_the_total_order():
    scores = np.array([[1, 3, 2, 3, 0], [5, 5, 5, 5, 5]], dtype=np.float32)
    assert spaces.top_rows(scores, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert spaces.top_rows(scores, 9)[0].tolist() == [1, 3, 2, 0, 4]


def test_ranking_goes_by_inner_product_and_bias(data):
    rows, queries = data
    bias = np.random.default_rng(2).standard_normal(200).astype(np.float32) * 50
    got = spaces.ranking(queries, rows, 7, bias)
    for query, ranked in zip(queries, got, strict=True):
        expected = np.argsort(-(rows @ query + bias), kind="stable")[:7]
        assert ranked.tolist() == expected.tolist()
