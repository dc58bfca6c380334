"""Coordinate descent over bits: the code b ∈ {−1, +1}^m that a linear decoder turns into what is nearest to a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from binrag.kernels.jit import jit


@jit
def descend(products: Any, gram: Any, n_sweeps: int, residual: Any, bits: Any) -> None:
    """Lower ‖y − Wᵀ b‖² one bit at a time, until a sweep changes nothing or `n_sweeps` are done.

    All bits start as 0, not chosen yet, so that the first sweep is a greedy pursuit in their order. With the
    residual r = W y − W Wᵀ b, bit a is best at the sign of r_a + ‖W_a‖² b_a.

    products : float32 (n, m), W y of each row
    gram : float32 (m, m), W Wᵀ
    n_sweeps : ≥ 1
    residual : float32 (m,), scratch
    bits : float32 (n, m), filled with −1 and 1
    """
    n, m = bits.shape
    for i in range(n):
        b = bits[i]
        b[:] = 0
        residual[:] = products[i]
        for _ in range(n_sweeps):
            changed = False
            for a in range(m):
                best = np.float32(1) if residual[a] + gram[a, a] * b[a] > 0 else np.float32(-1)
                change = best - b[a]  # ±1 or ±2: times a float32 it rounds nothing
                if change != 0:
                    b[a] = best
                    changed = True
                    for j in range(m):
                        residual[j] -= change * gram[a, j]
            if not changed:
                break
