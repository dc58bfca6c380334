import numpy as np
import pytest
import reference
from fakes import vectors_of

from binrag.binarizers import RowLevelsBinarizer
from binrag.binarizers.rotation import rotate
from binrag.errors import InvalidInput


def decoded(binarizer, codes):
    """Return x̂, as seen by the weights of the axes."""
    bits = np.unpackbits(reference.bytes_of_words(codes.words), axis=1, bitorder="little")
    bits = np.concatenate([bits, np.unpackbits(codes.rest, axis=1, bitorder="little")], axis=1)[:, : binarizer.n_bits]
    signs = 2 * bits.astype(float) - 1
    return codes.rescale.astype(float)[:, None] * signs @ binarizer.weights(np.eye(binarizer.dim, dtype=np.float32)).T


@pytest.mark.parametrize("n_planes", [1, 2])
@pytest.mark.parametrize("dim", [1, 64, 100])
@pytest.mark.parametrize("seed", [None, 4])
def test_codes_decode_to_the_definition(dim, n_planes, seed):
    rotated = seed is not None
    binarizer = RowLevelsBinarizer.rotated(dim, n_planes, seed=seed) if rotated else RowLevelsBinarizer(dim, n_planes)
    vectors = vectors_of(20, dim)
    _, levels = reference.row_levels(rotate(vectors, binarizer.flips), n_planes)
    turned_back = rotate(np.eye(dim, dtype=np.float32), binarizer.flips).T.astype(float)
    expected = levels @ turned_back
    expected *= ((vectors**2).sum(axis=1) / (vectors * expected).sum(axis=1))[:, None]
    assert decoded(binarizer, binarizer.transform(vectors)) == pytest.approx(expected, rel=2e-3, abs=2e-3)


def test_a_rotation_is_better_where_a_few_coordinates_hold_most():
    vectors = vectors_of(200, 128)
    vectors[:, :4] *= 20
    errors = []
    for binarizer in (RowLevelsBinarizer(128), RowLevelsBinarizer.rotated(128)):
        found = decoded(binarizer, binarizer.transform(vectors))
        errors.append(np.mean(((found - vectors) ** 2).sum(axis=1) / (vectors**2).sum(axis=1)))
    assert errors[1] < 0.6 < 2 < errors[0]


def test_the_seed_decides_the_rotation():
    one, two, other = (RowLevelsBinarizer.rotated(30, seed=seed).flips for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_bad_settings_are_refused():
    with pytest.raises(InvalidInput, match="the dimension is 4097"):
        RowLevelsBinarizer(4097)
    with pytest.raises(InvalidInput, match="n_planes is 3, expected 1 or 2"):
        RowLevelsBinarizer.rotated(8, 3)
