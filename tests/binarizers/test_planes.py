"""Weight planes: the integer identity, the limit of 16 bits, and how close they come to the weights."""

import numpy as np
import pytest
import reference

from binrag.binarizers.planes import MAX_DISTANCE, weight_planes


def falling_weights(n_words, seed=0):
    draw = np.random.default_rng(seed).standard_normal(64 * n_words)
    return draw / (1 + np.arange(64 * n_words)) ** 0.7


@pytest.mark.parametrize("n_planes", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n_words", [1, 2, 5, 24])
def test_distances_are_the_integer_weights_sums(n_words, n_planes):
    """Σ_j u_j b_j = Σ_w s_w 64 (2^P − 1) − 2 · distance, exactly."""
    planes, scales = weight_planes(falling_weights(n_words), n_planes)
    assert (planes.shape, planes.dtype) == ((n_planes, n_words), np.uint64)
    assert (scales.shape, scales.dtype) == ((n_words,), np.int32)
    farthest = 64 * (2**n_planes - 1) * int(scales.sum())
    assert 0 < farthest <= MAX_DISTANCE
    words = reference.random_words(30, n_words)
    distances = {r: d for d, r in reference.weighted_topk(words, planes, scales, 30)}
    signs = 2 * np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(int) - 1
    sums = signs @ reference.plane_weights(planes, scales)
    assert sums.tolist() == [farthest - 2 * distances[r] for r in range(30)]


@pytest.mark.parametrize(("n_planes", "cosine"), [(1, 0.798), (2, 0.940), (3, 0.981), (4, 0.9942)])
def test_normal_weights_come_as_near_as_uniform_levels_can(n_planes, cosine):
    """The cosine of a normal variable with its best uniform levels, whatever the size of the words' weights."""
    cosines = []
    for seed in range(40):
        weights = (np.random.default_rng(seed).standard_normal((5, 64)) * [[9], [3], [2], [2], [1]]).ravel()
        integers = reference.plane_weights(*weight_planes(weights, n_planes))
        cosines.append(weights @ integers / np.sqrt((weights @ weights) * (integers @ integers)))
    assert np.mean(cosines) > cosine - 0.003


def test_a_scale_a_word_beats_one_for_all():
    weights = falling_weights(6, seed=3)

    def error(integers):
        unit = (integers @ weights) / (integers @ integers)
        return ((weights - unit * integers) ** 2).sum()

    planes, scales = weight_planes(weights)
    step = np.abs(weights).max() / 15
    common = np.clip(2 * np.floor(weights / (2 * step)) + 1, -15, 15)
    assert error(reference.plane_weights(planes, scales)) < 0.3 * error(common)


def test_the_size_of_the_weights_does_not_matter():
    weights = falling_weights(3)
    for factor in (0.25, 2.0**40):
        for one, other in zip(weight_planes(weights), weight_planes(factor * weights), strict=True):
            assert np.array_equal(one, other)


def test_words_without_weight_have_no_scale():
    weights = np.r_[np.zeros(64), falling_weights(1), np.zeros(64)]
    assert (weight_planes(weights)[1] > 0).tolist() == [False, True, False]
    planes, scales = weight_planes(np.zeros(128))
    assert planes.shape == (4, 2)
    assert not scales.any()
