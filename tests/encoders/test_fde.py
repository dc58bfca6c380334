"""MUVERA's encodings: equal to their definition, what the paper says of them, and the same everywhere."""

import tracemalloc

import msgpack
import numpy as np
import pytest
import reference
from fakes import unit, vectors_of
from processes import run_script

from binrag.encoders.fde import CHUNK, Fde, FdeConfig
from binrag.errors import DimensionMismatch, InvalidInput
from binrag.types import TokenVectors

SMALL = {"n_repetitions": 3, "n_simhash_projections": 2, "projection_dim": 5, "final_projection_dim": None}


def tokens_of(lengths, dim, seed=0):
    return TokenVectors.of([unit(vectors_of(n, dim, seed + i)) for i, n in enumerate(lengths)], dim)


def blocks_of(fde, encoding):
    return encoding.reshape(fde.config.n_repetitions, fde.n_partitions, -1)


@pytest.mark.parametrize("k", [0, 1, 4])
@pytest.mark.parametrize("projection_dim", [None, 1, 7, 12, 13])
@pytest.mark.parametrize("fill", [False, True])
def test_encodings_equal_the_definition(k, projection_dim, fill):
    fde = Fde(12, FdeConfig(3, k, projection_dim, fill, None, 5))
    assert (fde.projections is None) == (projection_dim in (None, 12, 13))
    tokens = tokens_of([9, 0, 1, 40, 3], 12)
    found = fde.encode_document(tokens)
    assert (found.shape, found.dtype) == ((5, 3 * 2**k * min(projection_dim or 12, 12)), np.float32)
    assert fde.dim == found.shape[1]
    given = (fde.hyperplanes, fde.projections)
    for i in range(5):
        assert found[i] == pytest.approx(reference.fde(tokens[i], *given, is_query=False, fill=fill), abs=1e-5)
        expected = reference.fde(tokens[i], *given, is_query=True, fill=fill)
        assert fde.encode_query(tokens[i]) == pytest.approx(expected, abs=1e-5)


def test_a_document_is_encoded_as_if_it_were_alone(monkeypatch):
    """And so in chunks: of one document with many tokens, and of several with few."""
    fde, tokens = Fde(8, FdeConfig(**SMALL)), tokens_of([3, 700, 0, 5, 5, 5, 0], 8)
    together = fde.encode_document(tokens)
    for size in (1, 100, 3000):
        monkeypatch.setattr("binrag.encoders.fde.CHUNK", size)
        assert np.array_equal(fde.encode_document(tokens), together)
    for i in range(len(tokens)):
        assert np.array_equal(fde.encode_document(TokenVectors.of([tokens[i]], 8))[0], together[i])


@pytest.mark.parametrize("final", [None, 16])
def test_the_first_repetitions_are_the_same_however_many_there_are(final):
    few, many = (Fde(16, FdeConfig(n, 2, 4, final_projection_dim=final, seed=3)) for n in (2, 7))
    assert np.array_equal(few.hyperplanes, many.hyperplanes[:2])
    assert np.array_equal(few.projections, many.projections[:2])
    if final is None:
        tokens = tokens_of([20, 4], 16)
        assert np.array_equal(few.encode_document(tokens), many.encode_document(tokens)[:, : few.dim])
    assert len(np.unique(many.hyperplanes[:, 0, 0])) == 7


def test_seeds_and_the_two_kinds_of_draws_are_independent():
    a, b = (Fde(400, FdeConfig(2, 3, 3, False, None, seed)) for seed in (0, 1))
    normals = a.hyperplanes.reshape(-1)
    assert abs(np.corrcoef(normals, b.hyperplanes.reshape(-1))[0, 1]) < 0.1
    signs = a.projections.transpose(0, 2, 1).reshape(-1)
    assert abs(np.corrcoef(np.sign(normals), signs)[0, 1]) < 0.1
    firsts = {a._draw(kind, r).random_raw() for kind in range(3) for r in range(50)} | {b._draw(0, 0).random_raw()}
    assert len(firsts) == 151
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.1
    assert normals.mean() == pytest.approx(0, abs=0.1)
    assert normals.std() == pytest.approx(1, abs=0.05)
    assert (normals**4).mean() == pytest.approx(3, abs=0.6)


def test_a_document_of_many_tokens_takes_little_memory_beside_them():
    """Its partitions in all repetitions are kept, in two bytes each; what else is held does not grow with it."""
    fde, tokens = Fde(64, FdeConfig(1000, 3, 8)), tokens_of([10_000], 64)
    fde.encode_query(tokens[0][:1])
    tracemalloc.start()
    try:
        fde.encode_document(tokens)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1000 * 10_000 + 8 * CHUNK


def test_the_draws_are_made_once(monkeypatch):
    fde, tokens = Fde(8, FdeConfig(3, 2, 4, final_projection_dim=16)), tokens_of([5], 8)
    monkeypatch.setattr(Fde, "_draw", None)
    assert fde.encode_query(tokens[0]).any()


SCRIPT = """
import numpy as np, zlib
from binrag.encoders.fde import Fde, FdeConfig
from binrag.types import TokenVectors
draw = np.random.default_rng(1).standard_normal((30, 12)).astype(np.float32)
found = b""
for final in (None, 9):
    fde = Fde(12, FdeConfig(3, 2, 5, True, final, 7))
    found += fde.encode_document(TokenVectors(draw, np.array([0, 20, 20, 30]))).tobytes()
    found += fde.encode_query(draw).tobytes()
print(zlib.crc32(found))
"""


def test_two_processes_agree_bit_for_bit():
    outputs = {run_script(SCRIPT).strip() for _ in range(2)}
    assert len(outputs) == 1
    assert outputs.pop().isdigit()


def test_draws_do_not_change_between_versions():
    """Golden: a file keeps the seed, and what it draws has to be the same tomorrow."""
    fde = Fde(4, FdeConfig(2, 1, 2, False, 3, 0))
    assert fde.hyperplanes.reshape(-1) == pytest.approx(GOLDEN_NORMALS, abs=1e-5)
    assert (fde.projections.reshape(-1) > 0).astype(int) @ (1 << np.arange(16)) == GOLDEN_SIGNS
    assert np.concatenate(fde._final_signs).tolist() == GOLDEN_FINAL_SIGNS


GOLDEN_NORMALS = [0.031263, 0.145528, 0.703271, 0.503085, -0.180853, -0.272951, -0.94751, 0.296664]
GOLDEN_SIGNS = 14404
GOLDEN_FINAL_SIGNS = [-1, -1, 1, -1, -1, 1, 1, 1]


@pytest.mark.parametrize("final", [None, 24])
def test_products_are_unbiased_for_one_token_each(final):
    """E ⟨F(q), F(p)⟩ / n_repetitions = ⟨q, p⟩ over seeds, with filling: p is in all partitions."""
    q, p = unit(vectors_of(2, 16, seed=4) + 0.7)
    found = []
    for seed in range(200):
        fde = Fde(16, FdeConfig(4, 3, 8, True, final, seed))
        document = fde.encode_document(TokenVectors.of([p[None]], 16))[0]
        found.append(float(document @ fde.encode_query(q[None])) / 4)
    error = np.std(found, ddof=1) / np.sqrt(200)
    assert 0 < error < 0.05
    assert abs(np.mean(found) - float(q @ p)) < 3 * error


def test_partitions_without_a_token():
    """In a query zeros; in a document, filled, none of them is."""
    fde = Fde(16, FdeConfig(5, 3, 8, True, None))
    alike = unit(vectors_of(1, 16)) * np.float32([[1], [2], [3]])  # in one partition
    query = blocks_of(fde, fde.encode_query(alike))
    assert (query.any(axis=2).sum(axis=1) == 1).all()
    document = blocks_of(fde, fde.encode_document(TokenVectors.of([alike], 16))[0])
    assert document.any(axis=2).all()
    unfilled = Fde(16, FdeConfig(5, 3, 8, False, None)).encode_document(TokenVectors.of([alike], 16))[0]
    assert np.array_equal(blocks_of(fde, unfilled).any(axis=2), query.any(axis=2))


@pytest.mark.parametrize("final", [1, 7, 60, 100])
def test_a_final_projection_adds_coordinates_in_turn(final):
    whole, sketched = (Fde(12, FdeConfig(3, 2, 5, True, dim)) for dim in (None, final))
    tokens = tokens_of([5, 0, 30], 12)
    signs = np.concatenate(sketched._final_signs)
    assert 0.2 < (signs > 0).mean() < 0.8
    expected = np.zeros((3, final))
    for i, row in enumerate(whole.encode_document(tokens)):
        for j, value in enumerate(row):
            expected[i, j % final] += signs[j] * value
    assert sketched.encode_document(tokens) == pytest.approx(expected, abs=1e-5)


def test_a_final_projection_keeps_products_roughly():
    wide, sketched = (Fde(32, FdeConfig(20, 2, 16, final_projection_dim=final)) for final in (None, 1000))
    assert sketched.dim == 1000
    tokens = tokens_of([30] * 60, 32)
    query = tokens_of([6], 32, seed=999)[0]
    products = [fde.encode_document(tokens) @ fde.encode_query(query) for fde in (wide, sketched)]
    assert np.corrcoef(*products)[0, 1] > 0.7


def test_it_comes_back_from_its_config():
    fde = Fde(9, FdeConfig(3, 2, 4, True, 50, 2**40))
    again = Fde.from_config(msgpack.unpackb(msgpack.packb(fde.get_config())))
    assert again.config == fde.config
    tokens = tokens_of([4, 6], 9)
    assert np.array_equal(again.encode_document(tokens), fde.encode_document(tokens))


@pytest.mark.parametrize("token_dim", [1, 48, 384])
def test_the_defaults_are_for_tokens_of_any_dimension(token_dim):
    fde = Fde(token_dim)
    assert fde.dim == 2560
    assert fde.encode_document(tokens_of([3, 0], token_dim)).any(axis=1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_repetitions", 0),
        ("n_repetitions", None),
        ("n_repetitions", 2.0),
        ("n_simhash_projections", -1),
        ("n_simhash_projections", 11),
        ("projection_dim", 0),
        ("final_projection_dim", 0),
        ("seed", -1),
        ("seed", True),
        ("fill_empty_partitions", 1),
    ],
)
def test_a_bad_setting_is_refused(name, value):
    with pytest.raises(InvalidInput, match=f"{name} is {value!r}, expected"):
        FdeConfig(**{name: value})


def test_what_does_not_fit_the_tokens_is_refused():
    with pytest.raises(InvalidInput, match="token vectors have 0 dimensions, expected 1 at least"):
        Fde(0)
    with pytest.raises(InvalidInput, match="1000 repetitions of 1024 blocks of 4 dimensions are 4,096,000"):
        Fde(8, FdeConfig(1000, 10, 4))
    with pytest.raises(InvalidInput, match="hyperplanes for token vectors of 3,000 dimensions are 30,000,000 numbers"):
        Fde(3000, FdeConfig(1000, 10, 1))
    with pytest.raises(InvalidInput, match=r"projections for .* are 18,000,000 numbers, expected 16,777,216 at most"):
        Fde(3000, FdeConfig(1000, 0, 6))
    with pytest.raises(
        InvalidInput, match=r"partitions for .* are 20,480,000 numbers, .* ask for fewer repetitions or"
    ):
        Fde(20_000, FdeConfig(1, 10, 1))
    with pytest.raises(DimensionMismatch, match="have 7 dimensions, this encoding is of vectors of 8"):
        Fde(8, FdeConfig(1, 1, 4, False, None)).encode_query(vectors_of(3, 7))


@pytest.mark.parametrize("projection_dim", [6, 12])
def test_fastembed_makes_the_same_of_the_same_draws(projection_dim):
    """It differs in one thing: a tie of nearest partitions goes to the lowest of them, here to the first token."""
    muvera = pytest.importorskip("fastembed.postprocess.muvera", reason="`make test-oracle` brings it").Muvera
    ours = Fde(12, FdeConfig(4, 3, projection_dim, True, None))
    theirs = muvera(12, k_sim=3, dim_proj=projection_dim, r_reps=4)
    for simhash, normals in zip(theirs.simhash_projections, ours.hyperplanes, strict=True):
        simhash.simhash_vectors = normals.T.astype(float)
    theirs.dim_reduction_projections = ours.projections
    tokens = tokens_of([60, 9, 3, 1], 12, seed=6)
    n_tied = 0
    for i, document in enumerate(ours.encode_document(tokens)):
        assert ours.encode_query(tokens[i]) == pytest.approx(theirs.process_query(tokens[i]), abs=1e-5)
        expected = blocks_of(ours, theirs.process_document(tokens[i]))
        for own, other, simhash in zip(blocks_of(ours, document), expected, theirs.simhash_projections, strict=True):
            used = set(simhash.get_cluster_ids(tokens[i]).tolist())
            for c in range(8):
                distances = sorted((c ^ other).bit_count() for other in used)
                if len(distances) > 1 and distances[0] == distances[1]:
                    n_tied += 1
                else:
                    assert own[c] == pytest.approx(other[c], abs=1e-5)
    assert 0 < n_tied < 40
