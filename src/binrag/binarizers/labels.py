"""Which byte value each codeword gets, so that a linear function of the bits comes close to the codewords."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from binrag.types import Float64, UInt8

_N_TURNS = 4
_MAX_SWAPS = 1500
_SIGNS = (((np.arange(256)[:, None] >> np.arange(8)) & 1) * 2 - 1).astype(np.float64)


def linear_labels(codewords: npt.NDArray[np.floating], shares: Float64) -> UInt8:
    """Return byte values for 256 codewords.

    Starts from halves: bits are dealt to principal axes as `allocated_bits` does, and each splits every group at its
    median. Then, by turns, the linear function is fitted, and pairs of codewords swap numbers as long as the squared
    error falls.

    Parameters
    ----------
    codewords : float (256, rank)
        Centred by their shares.
    shares : float64 (256,)
        How often each is used, summing to 1.

    Returns
    -------
    uint8 (256,)
        A permutation: the byte value of each codeword.
    """
    weights = (shares + 1e-4)[:, None]
    axes = np.linalg.svd(codewords * np.sqrt(weights), full_matrices=False)[2]
    places = codewords @ axes.T
    labels = _halved(places, weights)
    for _ in range(_N_TURNS):
        signs = _SIGNS[labels]
        decoder = np.linalg.solve((signs * weights).T @ signs + 1e-9 * np.eye(8), (signs * weights).T @ places)
        targets = _SIGNS @ decoder
        distances = (places**2).sum(axis=1)[:, None] - 2 * places @ targets.T + (targets**2).sum(axis=1)
        if not _swap(labels, weights * distances):
            break
    return labels.astype(np.uint8)


def _halved(places: Float64, weights: Float64) -> npt.NDArray[np.int64]:
    """Split the codewords in halves along one axis after another, one bit each."""
    left = (weights * places**2).sum(axis=0)
    residuals, labels = places.copy(), np.zeros(256, dtype=np.int64)
    groups = [np.arange(256)]
    for bit in range(8):
        axis = int(left.argmax())
        left[axis] /= 4
        halves = []
        for group in groups:
            order = group[np.argsort(residuals[group, axis], kind="stable")]
            middle = len(order) // 2
            labels[order[middle:]] |= 1 << bit
            halves += [order[:middle], order[middle:]]
        groups = halves
        sign = ((labels >> bit) & 1) * 2.0 - 1
        residuals[:, axis] -= sign * (weights[:, 0] * sign * residuals[:, axis]).sum()
    return labels


def _swap(labels: npt.NDArray[np.int64], costs: Float64) -> int:
    """Swap the numbers of pairs, best first, while that lowers Σ costs[v, labels[v]]; return how often."""
    for n in range(_MAX_SWAPS):
        crossed = costs[:, labels]
        own = np.diag(crossed)
        gains = own[:, None] + own - crossed - crossed.T
        first, second = divmod(int(gains.argmax()), 256)
        if gains[first, second] <= 1e-12 * own.sum():
            return n
        labels[first], labels[second] = labels[second], labels[first]
    return _MAX_SWAPS
