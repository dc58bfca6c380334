"""The cold tier's bytes."""

import numpy as np
import pytest
import reference
from fakes import lattice, vectors_of

from binrag.errors import CorruptStore
from binrag.storage.vectors import decode_vectors, encode_vectors, width_of

DIMS = (1, 2, 63, 64, 65, 384, 4096)


@pytest.mark.parametrize("dim", DIMS)
def test_int8_equals_the_definition(dim):
    vectors = vectors_of(20, dim)
    for blob, vector in zip(encode_vectors(vectors, "int8"), vectors, strict=True):
        levels, scale = reference.int8_of(vector)
        assert len(blob) == 4 + dim
        assert np.frombuffer(blob[:4], "<f4")[0] == scale
        got = np.frombuffer(blob[4:], np.int8).astype(int)
        assert np.abs(got).max() == 127
        # the levels themselves, but where the quotient lies on the edge between two
        assert np.abs(got - levels).max() <= 1
        assert (got == levels).mean() > 0.99 or dim < 100


@pytest.mark.parametrize("dim", DIMS)
def test_int8_is_within_half_a_level(dim):
    vectors = vectors_of(50, dim) * np.logspace(-6, 6, 50)[:, None].astype(np.float32)
    again = decode_vectors(list(encode_vectors(vectors, "int8")), "int8", dim)
    levels = np.abs(vectors).max(axis=1, keepdims=True) / 127
    assert (np.abs(again - vectors) <= 0.5001 * levels).all()


@pytest.mark.parametrize("dim", DIMS)
def test_float16_equals_the_definition(dim):
    vectors = vectors_of(50, dim) * np.logspace(-6, 6, 50)[:, None].astype(np.float32)
    blobs = encode_vectors(vectors, "float16")
    assert {len(blob) for blob in blobs} == {4 + 2 * dim}
    again = decode_vectors(blobs, "float16", dim)
    assert again.dtype == np.float32
    assert np.array_equal(again, reference.float16_of(vectors))
    assert (np.abs(again - vectors) <= np.abs(vectors).max(axis=1, keepdims=True) * 2**-11).all()


@pytest.mark.parametrize("keep", ["int8", "float16"])
def test_a_row_alone_has_the_bytes_it_has_in_a_batch(keep):
    vectors = np.r_[vectors_of(20, 65), lattice(20, 65)]
    together = encode_vectors(vectors, keep)
    alone = [encode_vectors(vectors[i : i + 1], keep) for i in range(40)]
    assert np.array_equal(np.concatenate(alone), together)


@pytest.mark.parametrize("keep", ["int8", "float16"])
def test_no_rows(keep):
    assert decode_vectors([], keep, 5).shape == (0, 5)
    assert encode_vectors(np.zeros((0, 5), np.float32), keep).shape == (0, width_of(keep, 5))


@pytest.mark.parametrize(("keep", "width"), [("int8", 9), ("float16", 14)])
def test_blobs_of_a_wrong_length(keep, width):
    blobs = [blob.tobytes() for blob in encode_vectors(vectors_of(3, 5), keep)]
    for wrong in (blobs[1][:-1], blobs[1] + b"\0", b""):
        with pytest.raises(CorruptStore, match=f"{width} bytes of {keep} in 5 dimensions"):
            decode_vectors([blobs[0], wrong], keep, 5)
