"""The kernel of MaxSim equals its definition, number for number."""

import numpy as np
import pytest

from binrag.kernels.maxsim import QUERY_TOKENS, add_maxsim


@pytest.mark.parametrize("n_bytes", [1, 7, 48])
@pytest.mark.parametrize("n_tokens", [1, 5, QUERY_TOKENS])
def test_scores_equal_the_definition(n_bytes, n_tokens):
    draw = np.random.default_rng(n_bytes)
    offsets = np.array([0, 4, 4, 5, 40])
    codes = draw.integers(0, 256, (40, n_bytes)).astype(np.uint8)
    factors = draw.random(40).astype(np.float32)
    most = 32767 // (2 * n_bytes)
    tables = draw.integers(-most, most + 1, (n_bytes, 2, 16, QUERY_TOKENS)).astype(np.int16)
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    add_maxsim(codes, factors, offsets, tables, n_tokens, 0.5, scores)
    for i in range(4):
        expected = 0.0
        for j in range(n_tokens):
            best = -np.inf
            for t in range(offsets[i], offsets[i + 1]):
                total = sum(
                    int(tables[p, 0, v % 16, j]) + int(tables[p, 1, v // 16, j]) for p, v in enumerate(codes[t])
                )
                best = max(best, float(factors[t] * np.float32(total)))
            expected += best
        assert scores[i] == i + 1 + expected * 0.5
    assert scores[1] == -np.inf
