"""Sign codes: against sentence-transformers, against the formulas, and through their records."""

import msgpack
import numpy as np
import pytest
import reference
from fakes import lattice, vectors_of

from binrag.binarizers import RotatedSignBinarizer, SignBinarizer
from binrag.errors import FormatVersionError, InvalidInput, InvalidVector
from binrag.registry import binarizer_from_record, record_of

DIMS = (1, 2, 7, 8, 63, 64, 65, 127, 384, 1000, 4096)


def weights_of(query, dim):
    """What each bit weighs: half of what setting it adds."""
    set_ = query.tables[:, 1 << np.arange(8)] - query.tables[:, :1]
    return set_.reshape(-1)[:dim] / 2


def bits_of(codes, dim):
    return np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little")[:, :dim].astype(bool)


@pytest.mark.parametrize("dim", [8, 64, 384, 1024])
def test_the_bits_are_those_of_sentence_transformers(dim):
    quantization = pytest.importorskip("sentence_transformers.util", reason="the encoders extra brings it")
    vectors = np.r_[vectors_of(100, dim), lattice(100, dim)]
    theirs = quantization.quantize_embeddings(vectors, precision="ubinary")
    ours = bits_of(SignBinarizer(dim).transform(vectors), dim)
    assert np.array_equal(ours, np.unpackbits(theirs, axis=1).astype(bool))


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("with_mean", [False, True])
def test_codes_equal_the_definition(dim, with_mean):
    vectors = lattice(20, dim, seed=dim)
    mean = vectors_of(1, dim, seed=1)[0] if with_mean else None
    codes = SignBinarizer(dim, mean=mean).transform(vectors)
    assert np.array_equal(codes.words, reference.words_of(reference.code_bits(vectors, mean)))
    assert codes.words.dtype == np.uint64
    assert np.array_equal(codes.rescale, reference.rescale_of(vectors, mean))
    assert codes.rescale.dtype == np.float16


@pytest.mark.parametrize("dim", [1, 7, 64, 65, 130])
def test_the_query(dim):
    mean = vectors_of(1, dim, seed=1)[0]
    vector = vectors_of(1, dim, seed=2)[0]
    query = SignBinarizer(dim, mean=mean).query(vector)
    assert np.array_equal(query.tables, reference.byte_tables(vector, 8 * -(-dim // 64)))
    assert np.array_equal(query.words, reference.words_of(reference.code_bits(vector[None]))[0])
    assert query.costs is None
    assert query.factors is None
    assert query.offset == pytest.approx(float(vector.astype(np.float64) @ mean.astype(np.float64)), rel=1e-12)
    assert SignBinarizer(dim).query(vector).offset == 0.0


def test_a_row_that_equals_the_mean_has_no_direction():
    mean = vectors_of(1, 20)[0]
    codes = SignBinarizer(20, mean=mean).transform(np.array([mean, 2 * mean]))
    assert codes.rescale[0] == 0
    assert codes.rescale[1] > 0


@pytest.mark.parametrize(("scale", "word"), [(1e6, "large"), (1e-7, "small")])
def test_a_norm_out_of_the_range_of_float16_is_refused(scale, word):
    vectors = vectors_of(5, 16)
    vectors[3] *= scale
    with pytest.raises(InvalidVector, match=f"vector 3 has norm .* too {word} for a float16") as error:
        SignBinarizer(16).transform(vectors)
    assert f"{np.linalg.norm(vectors[3]):.3g}" in str(error.value)


@pytest.mark.parametrize("dim", [*range(1, 71), 384])
def test_the_rotation_is_orthogonal(dim):
    # bits and weights of the query show R q without reaching inside
    rotated = np.stack(
        [weights_of(RotatedSignBinarizer(dim, seed=3).query(row), dim) for row in np.eye(dim, dtype=np.float32)]
    )
    assert rotated @ rotated.T == pytest.approx(np.eye(dim), abs=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8, 13, 64, 100])
def test_the_rotation_equals_its_definition(dim):
    binarizer = RotatedSignBinarizer(dim, seed=5)
    width = 2 ** int(np.log2(dim))
    expected = np.eye(dim)
    for i, flips in enumerate(binarizer.flips):
        expected = expected * flips
        part = slice(0, width) if i % 2 == 0 else slice(dim - width, dim)
        expected[:, part] = expected[:, part] @ reference.hadamard(width)
    vector = vectors_of(1, dim)[0]
    assert weights_of(binarizer.query(vector), dim) == pytest.approx(vector @ expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dim", [2, 64, 100])
def test_rotated_codes_are_the_signs_of_the_rotated_vectors(dim):
    mean = vectors_of(1, dim, seed=8)[0]
    binarizer = RotatedSignBinarizer(dim, mean=mean, seed=1)
    vectors = vectors_of(30, dim, seed=9)
    rotated = np.stack([weights_of(binarizer.query(vector - mean), dim) for vector in vectors])
    codes = binarizer.transform(vectors)
    assert np.array_equal(bits_of(codes, dim), rotated > 0)
    assert codes.rescale.astype(float) == pytest.approx(reference.rescale_of(rotated).astype(float), rel=2e-3)


def test_the_rotation_spreads_a_single_coordinate():
    weights = weights_of(RotatedSignBinarizer(64).query(np.eye(64, dtype=np.float32)[0]), 64)
    assert np.abs(weights).max() < 0.6


def test_the_seed_decides_the_rotation():
    vectors = vectors_of(50, 100)
    words = {seed: RotatedSignBinarizer(100, seed=seed).transform(vectors).words for seed in (0, 1)}
    assert np.array_equal(words[0], RotatedSignBinarizer(100, seed=0).transform(vectors).words)
    assert not np.array_equal(words[0], words[1])


def test_the_rotation_does_not_change_between_versions():
    """Golden: files keep the flips, but a store made tomorrow with today's seed has to agree with today's."""
    flips = RotatedSignBinarizer(8, seed=0).flips
    assert ((flips > 0).astype(int) @ (1 << np.arange(8))).tolist() == GOLDEN_FLIPS


GOLDEN_FLIPS = [7, 254, 111, 118]


@pytest.mark.parametrize("dim", [0, -1, 4097])
@pytest.mark.parametrize("kind", [SignBinarizer, RotatedSignBinarizer])
def test_dimensions_out_of_range(kind, dim):
    with pytest.raises(InvalidInput, match=f"the dimension is {dim}, .* 1 to 4096"):
        kind(dim)


def test_a_mean_of_another_shape():
    with pytest.raises(InvalidInput, match=r"shape \(3,\), expected \(4,\)"):
        SignBinarizer(4, mean=np.zeros(3, np.float32))


def test_an_unknown_component():
    record = record_of(SignBinarizer(4))
    with pytest.raises(
        FormatVersionError, match=r"'quantum', this version of binrag knows .*rotated-sign, .*sign; update"
    ):
        binarizer_from_record({**record, "component_id": "quantum"})


def test_a_record_says_which_class_it_is_of():
    for binarizer in (SignBinarizer(9), RotatedSignBinarizer(9)):
        assert type(binarizer_from_record(msgpack.unpackb(msgpack.packb(record_of(binarizer))))) is type(binarizer)
