"""Byte tables in the small numbers that the scan by tables adds up."""

from __future__ import annotations

import numpy as np

from binrag.types import Float32, UInt8

MOST = 254
"""What the two costs of a byte are together, at most, before each is rounded."""

MAX_SUM = 65_534
"""The largest sum of a row's costs."""


def scan_costs(tables: Float32) -> UInt8:
    """Return what each half of each byte costs a row, in steps of one size.

    A byte's table is taken as a sum of a function of the low half and one of the high half; where it is none, as the
    nearest such sum. The highest entry of a half costs nothing.

    Parameters
    ----------
    tables : float32 (n_bytes, 256)
        What byte p adds to a row's score when its value is v; up to 16,000 bytes.

    Returns
    -------
    uint8 (2, n_bytes, 16)
        ``costs[0, p, v]`` for the low half of byte p, ``costs[1, p, v]`` for the high half. The two of a byte are 255
        at most, and the largest of all halves sum to 65,534 at most.
    """
    squares = tables.reshape(-1, 16, 16).astype(np.float64)
    halves = np.stack((squares.mean(axis=1), squares.mean(axis=2)))
    losses = halves.max(axis=2, keepdims=True) - halves
    largest = losses.max(axis=2)
    step = max(largest.sum(axis=0).max(initial=0.0) / MOST, largest.sum() / (MAX_SUM - 2 * len(tables)))
    return np.asarray(np.rint(losses / (step or 1.0)), dtype=np.uint8)
