"""Choosing codewords by iterated conditional modes, and the sums that refit them."""

from itertools import pairwise

import numpy as np
import pytest
from reference import choose_codewords

from binrag.kernels.additive import add_by_class, class_sums, codeword_kernel


def problem(rank, n_codebooks=5, dim=24, n=60, seed=0):
    rng = np.random.default_rng(seed)
    bases = np.stack([np.linalg.qr(rng.standard_normal((dim, rank)))[0].T for _ in range(n_codebooks)])
    codewords = rng.standard_normal((n_codebooks, rank, 256)) / 3
    return (
        rng.standard_normal((n, dim)).astype(np.float32),
        bases.astype(np.float32),
        codewords.astype(np.float32),
        rng.integers(0, 256, (n, n_codebooks), dtype=np.uint8),
    )


def run(rows, bases, codewords, starts, sweeps):
    flat = bases.reshape(-1, bases.shape[2])
    products = (flat @ flat.T).reshape(*bases.shape[:2], -1)
    has_codes = starts.dtype == np.uint8
    z, chosen = rows @ flat.T, starts.copy() if has_codes else np.zeros((len(rows), len(bases)), np.uint8)
    given = np.zeros((0, len(flat)), np.float32) if has_codes else starts
    codeword_kernel(bases.shape[1])(z, given, codewords, products, (codewords**2).sum(axis=1), chosen, sweeps)
    return z, chosen


def projected(rows, bases):
    return rows @ bases.reshape(-1, bases.shape[2]).T


@pytest.mark.parametrize("rank", [1, 3, 8, 16])
@pytest.mark.parametrize("has_codes", [True, False])
@pytest.mark.parametrize("sweeps", [0, 1, 2, 6])
def test_it_chooses_what_the_reference_chooses(rank, has_codes, sweeps):
    rows, bases, codewords, codes = problem(rank)
    starts = codes if has_codes else projected(rows, bases)
    z, chosen = run(rows, bases, codewords, starts, sweeps)
    assert np.array_equal(chosen, choose_codewords(rows, bases, codewords, starts, sweeps))
    decoded = sum(codewords[p][:, chosen[:, p]].T @ bases[p] for p in range(len(bases)))
    np.testing.assert_allclose(z, projected(rows - decoded, bases), atol=1e-4)


def test_ties_go_to_the_lowest_codeword():
    rows, bases, codewords, _ = problem(4)
    codewords[:, :, 128:] = codewords[:, :, :128]
    assert run(rows, bases, codewords, projected(rows, bases), 1)[1].max() < 128


def test_more_sweeps_never_come_out_farther():
    rows, bases, codewords, codes = problem(8, n_codebooks=12)
    errors = []
    for sweeps in range(1, 6):
        chosen = run(rows, bases, codewords, codes, sweeps)[1]
        decoded = sum(codewords[p][:, chosen[:, p]].T @ bases[p] for p in range(len(bases)))
        errors.append(((rows - decoded) ** 2).sum(axis=1))
    for before, after in pairwise(errors):
        assert (after <= before + 1e-4).all()
    assert errors[-1].sum() < 0.99 * errors[0].sum()


def test_class_sums_and_their_inverse():
    rng = np.random.default_rng(1)
    rows, codes = rng.standard_normal((300, 7)).astype(np.float32), rng.integers(0, 256, 300, dtype=np.uint8)
    sums, counts = np.zeros((256, 7), np.float32), np.zeros(256, np.int64)
    class_sums(rows, codes, sums, counts)
    np.testing.assert_allclose(sums, [rows[codes == v].sum(axis=0) for v in range(256)], atol=1e-5)
    assert np.array_equal(counts, np.bincount(codes, minlength=256))
    changed = rows.copy()
    add_by_class(changed, codes, sums)
    np.testing.assert_allclose(changed, rows + sums[codes], atol=1e-6)
