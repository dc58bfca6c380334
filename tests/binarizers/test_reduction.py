import msgpack
import numpy as np
import pytest
from fakes import vectors_of
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import map_loss, share_of_float_top

from binrag import registry
from binrag.binarizers import RotatedSignBinarizer, SignBinarizer
from binrag.binarizers.reduction import ReducedBinarizer
from binrag.errors import DimensionMismatch, InvalidInput, TrainingError
from binrag.types import CodeShape

DIM = 64


def signs(rows, queries):
    assert queries is None or rows.shape[1] == queries.shape[1]
    return SignBinarizer(rows.shape[1])


def apart(n, n_queries, dim=DIM, seed=0):
    """Rows and queries whose variances fall along the axes in opposite directions."""
    falling = (0.9 ** np.arange(dim)).astype(np.float32)
    rows = vectors_of(n, dim, seed=seed) * falling + 0.5
    return rows, vectors_of(n_queries, dim, seed=seed + 1) * falling[::-1]


def moments(rows, queries, alpha):
    """K, of unit trace, and the covariance of the rows."""
    dim = rows.shape[1]
    doubles = queries.astype(float)
    k = alpha * doubles.T @ doubles / (doubles**2).sum() + (1 - alpha) * np.eye(dim) / dim
    return k, np.cov(rows.T.astype(float), bias=True)


def top_axes(matrix, n):
    return np.linalg.eigh(matrix)[1][:, ::-1][:, :n]


def test_with_all_dimensions_the_maps_undo_each_other():
    rows, queries = apart(500, 300)
    fitted = ReducedBinarizer.fit(rows, signs, DIM, queries)
    np.testing.assert_allclose(fitted.query_map.astype(float) @ fitted.row_map.T.astype(float), np.eye(DIM), atol=3e-6)


@pytest.mark.parametrize("alpha", [0.5, 0.999])
@pytest.mark.parametrize("n_dims", [1, 8, 20])
def test_no_map_loses_less(alpha, n_dims):
    """f(sphering) ≤ f(ES) ≤ f(PCA), and it is the sum of the squares that Eckart and Young leave."""
    rows, queries = apart(500, 300)
    k, covariance = moments(rows, queries, alpha)
    fitted = ReducedBinarizer.fit(rows, signs, n_dims, queries, alpha=alpha)
    loss = map_loss(fitted.query_map.astype(float), fitted.row_map.astype(float), k, covariance)
    root = np.linalg.cholesky(k)
    left = np.linalg.eigvalsh(root.T @ covariance @ root)[::-1][n_dims:].sum()
    assert loss == pytest.approx(left, rel=1e-3)
    pca = top_axes(covariance, n_dims)
    scale = np.trace(covariance)
    mixed = [top_axes((1 - beta) * covariance + beta * scale * k, n_dims) for beta in np.linspace(0, 1, 21)]
    pca_loss, es_loss = map_loss(pca, pca, k, covariance), min(map_loss(axes, axes, k, covariance) for axes in mixed)
    assert loss < es_loss <= pca_loss


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), step=st.floats(1e-3, 1))
def test_any_other_maps_lose_more(seed, step):
    rows, queries = apart(200, 100, seed=3)
    k, covariance = moments(rows, queries, 0.5)
    fitted = ReducedBinarizer.fit(rows, signs, 4, queries)
    a, b = fitted.query_map.astype(float), fitted.row_map.astype(float)
    other = (a + step * vectors_of(DIM, 4, seed=seed), b + step * vectors_of(DIM, 4, seed=seed + 1))
    assert map_loss(a, b, k, covariance) <= map_loss(*other, k, covariance) * (1 + 1e-4)


def test_a_quarter_of_the_dimensions_finds_more_than_that_many_principal_axes():
    places = np.arange(DIM)
    rows = (vectors_of(1500, DIM) * 0.97**places).astype(np.float32)
    queries = (vectors_of(800, DIM, seed=1) * 0.8 ** places[::-1]).astype(np.float32)
    fitted = ReducedBinarizer.fit(rows, signs, 16, queries[:700], alpha=0.99)
    asked = queries[700:]
    axes = top_axes(np.cov(rows.T.astype(float)), 16)
    by_map = share_of_float_top(rows, asked, (asked @ fitted.query_map) @ (rows @ fitted.row_map).T, 10)
    by_axes = share_of_float_top(rows, asked, (asked @ axes) @ (rows @ axes).T, 10)
    assert by_map > by_axes + 0.5


def test_codes_are_those_of_the_reduced_rows_and_scores_those_of_the_whole():
    rows, queries = apart(600, 300, dim=128)
    fitted = ReducedBinarizer.fit(rows, lambda rows, queries: SignBinarizer(64), 64, queries)
    codes = fitted.transform(rows)
    bits = np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little")
    reduced = (rows - rows.mean(axis=0)) @ fitted.row_map
    clear = np.abs(reduced) > 1e-5
    assert clear.mean() > 0.97
    assert np.array_equal(bits[clear], (reduced > 0)[clear])
    estimates = []
    for query in queries[:30]:
        prepared = fitted.query(query)
        assert np.array_equal(prepared.vector, query)
        code_bytes = codes.words.view(np.uint8)
        sums = prepared.tables[np.arange(code_bytes.shape[1]), code_bytes].sum(axis=1)
        estimates.append(codes.rescale.astype(float) * sums + prepared.offset)
    exact = queries[:30] @ rows.T
    assert np.corrcoef(np.ravel(estimates), exact.ravel())[0, 1] > 0.75
    # each query's mean estimate is its mean inner product: nothing of ⟨q, μ⟩ is lost
    assert np.abs(np.mean(estimates, axis=1) - exact.mean(axis=1)).max() < 0.1 * exact.std()


def test_the_inner_binarizer_is_fitted_to_reduced_rows_and_queries():
    rows, queries = apart(300, 50)
    seen = []

    def inner_fit(reduced, reduced_queries):
        seen.append((reduced, reduced_queries))
        return SignBinarizer(12)

    fitted = ReducedBinarizer.fit(rows, inner_fit, 12, queries)
    ((reduced, reduced_queries),) = seen
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(reduced, (rows - fitted.mean) @ fitted.row_map, atol=1e-5)
    np.testing.assert_allclose(reduced_queries, queries @ fitted.query_map, rtol=1e-4, atol=1e-4)
    assert (fitted.dim, fitted.n_bits, fitted.shape, fitted.code_bytes) == (DIM, 12, CodeShape(1), 10)


def test_without_queries_the_axes_are_the_principal_ones():
    rows, _ = apart(300, 1)
    fitted = ReducedBinarizer.fit(rows, signs, 8)
    axes = top_axes(np.cov(rows.T.astype(float)), 8)
    cosines = np.abs((fitted.row_map * axes).sum(axis=0)) / np.linalg.norm(fitted.row_map, axis=0)
    np.testing.assert_allclose(cosines, 1, atol=1e-4)


def test_it_comes_back_from_the_bytes_of_its_record():
    rows, queries = apart(300, 50, dim=100)
    fitted = ReducedBinarizer.fit(rows, lambda rows, queries: RotatedSignBinarizer(70, seed=4), 70, queries)
    record = msgpack.unpackb(msgpack.packb(registry.record_of(fitted)))
    again = registry.binarizer_from_record(record)
    assert type(again) is ReducedBinarizer
    assert (again.dim, again.code_bytes) == (100, 18)
    before, after = fitted.transform(rows), again.transform(rows)
    assert np.array_equal(before.words, after.words)
    assert np.array_equal(before.rescale, after.rescale)
    before, after = fitted.query(queries[0]), again.query(queries[0])
    assert np.array_equal(before.tables, after.tables)
    assert before.offset == after.offset
    assert registry.record_of(again) == registry.record_of(fitted)


def test_a_row_alone_has_the_code_it_has_in_a_batch():
    rows, queries = apart(200, 50, dim=128)
    fitted = ReducedBinarizer.fit(rows, signs, 65, queries)
    half = fitted.row_map[:, :32].astype(float)
    away = rows - fitted.mean
    away -= away @ half @ np.linalg.pinv(half)  # half of the reduced coordinates are nothing but rounding
    rows = np.concatenate([rows, (away + fitted.mean).astype(np.float32)])
    together = fitted.transform(rows)
    for row in range(0, 400, 3):
        alone = fitted.transform(rows[row : row + 1])
        assert np.array_equal(alone.words[0], together.words[row])
        assert alone.rescale[0] == together.rescale[row]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda rows: ReducedBinarizer.fit(rows, signs, 0), InvalidInput, "n_dims is 0"),
        (lambda rows: ReducedBinarizer.fit(rows, signs, 65), InvalidInput, "n_dims is 65, vectors of 64 dimensions"),
        (lambda rows: ReducedBinarizer.fit(rows[:20], signs, 20), TrainingError, "20 rows are too few"),
        (
            lambda rows: ReducedBinarizer.fit(rows, lambda *_: SignBinarizer(9), 8),
            InvalidInput,
            r"the maps have shapes \(64, 8\) and \(64, 8\), expected \(64, 9\)",
        ),
        (
            lambda rows: ReducedBinarizer.fit(rows, signs, 8).transform(rows[:, :63]),
            DimensionMismatch,
            "the vector has 63 dimensions, this binarizer codes 64",
        ),
        (
            lambda rows: ReducedBinarizer.fit(rows, signs, 8).query(rows[0, :63]),
            DimensionMismatch,
            "the vector has 63 dimensions",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(vectors_of(200, 64))
