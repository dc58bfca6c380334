"""Codes of tokens equal their definition, decode to near the tokens, and are the same in every process."""

import hashlib

import numpy as np
import pytest
import reference
from fakes import unit, vectors_of
from processes import run_script

from binrag.binarizers import TokenBinarizer
from binrag.errors import DimensionMismatch, InvalidInput
from binrag.types import TokenVectors


def tokens_of(lengths, dim, seed=0):
    """Tokens of a text around a direction of its own."""
    matrices = [
        unit(vectors_of(n, dim, seed + i) + 2 * vectors_of(1, dim, 900 + seed + i)) for i, n in enumerate(lengths)
    ]
    return TokenVectors.of(matrices, dim)


@pytest.mark.parametrize("n_planes", [1, 2])
@pytest.mark.parametrize("dim", [1, 20, 64, 100])
def test_codes_are_levels_of_rotated_differences_from_the_mean(dim, n_planes):
    tokens = tokens_of([5, 0, 1, 7], dim)
    binarizer = TokenBinarizer(dim, n_planes)
    codes = binarizer.transform(tokens)
    vectors, bits = reference.token_codes(tokens, n_planes, binarizer.rotation)
    assert (np.unpackbits(codes.codes, axis=1, count=bits.shape[1], bitorder="little") == bits).mean() > 0.999
    decoded = binarizer.decode(codes)
    assert decoded.offsets.tolist() == tokens.offsets.tolist()
    assert np.abs(decoded.vectors - vectors).max() < 3e-3  # factors are halves


def test_the_rotation_is_orthogonal():
    for dim in (1, 3, 64, 384):
        rotation = TokenBinarizer(dim).rotation
        assert np.abs(rotation @ rotation.T - np.eye(dim)).max() < 1e-5
    assert np.abs(TokenBinarizer(64, seed=1).rotation - TokenBinarizer(64).rotation).max() > 0.01


def test_documents_are_coded_one_by_one():
    tokens = tokens_of([5, 3, 9], 48)
    binarizer = TokenBinarizer(48, 2)
    whole = binarizer.transform(tokens)
    for i in range(3):
        alone = binarizer.transform(tokens.take(np.array([i])))
        taken = whole.take(np.array([i]))
        for name in ("codes", "rescale", "scales", "means", "offsets"):
            assert np.array_equal(getattr(alone, name), getattr(taken, name)), name


def test_two_bits_come_nearer_than_one():
    tokens = tokens_of([40] * 5, 128)
    far = []
    for n_planes in (1, 2):
        binarizer = TokenBinarizer(128, n_planes)
        far.append(np.abs(binarizer.decode(binarizer.transform(tokens)).vectors - tokens.vectors))
    assert far[1].mean() < 0.7 * far[0].mean()


@pytest.mark.parametrize("vectors", [np.zeros((3, 8)), [[1.0] * 8], [[1.0, -0.5] * 4] * 4])
def test_a_text_whose_tokens_are_all_the_same(vectors):
    tokens = TokenVectors.of([np.asarray(vectors, np.float32)], 8)
    binarizer = TokenBinarizer(8, 2)
    assert np.abs(binarizer.decode(binarizer.transform(tokens)).vectors - tokens.vectors).max() < 0.01


def test_bad_input():
    with pytest.raises(DimensionMismatch):
        TokenBinarizer(8).transform(tokens_of([2], 9))
    with pytest.raises(DimensionMismatch):
        TokenBinarizer(8).weights(np.ones((1, 9), np.float32))
    with pytest.raises(InvalidInput):
        TokenBinarizer(8, 3)
    with pytest.raises(InvalidInput):
        TokenBinarizer(5000)


SCRIPT = """
import hashlib, numpy as np
from binrag.binarizers import TokenBinarizer
from binrag.types import TokenVectors
vectors = (np.arange(20 * 48).reshape(20, 48) * 37 % 101 - 50).astype(np.float32) / 64
codes = TokenBinarizer(48, 2).transform(TokenVectors(vectors, np.array([0, 5, 20])))
print(hashlib.sha256(codes.codes.tobytes() + codes.rescale.tobytes() + codes.means.tobytes()).hexdigest())
"""


def test_two_processes_make_the_same_codes():
    assert run_script(SCRIPT) == run_script(SCRIPT)
    assert len(run_script(SCRIPT).strip()) == len(hashlib.sha256().hexdigest())


def test_the_rotation_does_not_change_between_versions():
    """Golden: a file keeps the seed, and what it draws has to be the same tomorrow."""
    assert TokenBinarizer(3).rotation.reshape(-1).tolist() == pytest.approx(GOLDEN_ROTATION, abs=1e-5)


GOLDEN_ROTATION = [-0.146447, -0.25, -0.957107, 0.853553, 0.457107, -0.25, 0.5, -0.853553, 0.146447]
