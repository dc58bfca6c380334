"""The blocks of fixed dimensional encodings (MUVERA): sums and averages of token vectors by partition."""

from __future__ import annotations

from typing import Any

import numpy as np

from binrag.kernels.bits import popcount
from binrag.kernels.jit import jit


@jit
def _fill_empty(block: Any, vectors: Any, counts: Any, firsts: Any) -> None:
    """Put in every empty partition the token whose partition differs in the fewest bits, the first of such."""
    n_partitions = block.shape[0]
    for c in range(n_partitions):
        if counts[c] > 0:
            continue
        least, nearest = np.int64(64), np.int64(-1)
        for other in range(n_partitions):
            if counts[other] > 0:
                distance = np.int64(popcount(np.uint64(c ^ other)))
                if distance < least or (distance == least and firsts[other] < nearest):
                    least, nearest = distance, firsts[other]
        block[c] = vectors[nearest]


@jit
def fill_blocks(
    vectors: Any, offsets: Any, partitions: Any, averaged: bool, filled: bool, blocks: Any, counts: Any, firsts: Any
) -> None:
    """Sum or average each text's token vectors by partition, for one repetition.

    vectors : float32 (n_tokens, dim)
    offsets : int64 (n + 1,); tokens of text i are rows offsets[i] up to offsets[i + 1]
    partitions : uint16 (n_tokens,), 0 to n_partitions - 1
    averaged : whether to divide sums by the number of their tokens
    filled : whether a partition without a token gets a copy of one; not in a text without any
    blocks : float32 (n, n_partitions, dim), filled; zeros in a partition that has no token
    counts, firsts : int64 (n_partitions,), scratch
    """
    n_partitions, dim = blocks.shape[1:]
    for i in range(blocks.shape[0]):
        block = blocks[i]
        block[:] = 0
        counts[:] = 0
        for t in range(offsets[i], offsets[i + 1]):
            c = partitions[t]
            if counts[c] == 0:
                firsts[c] = t
            counts[c] += 1
            for j in range(dim):
                block[c, j] += vectors[t, j]
        if averaged:
            for c in range(n_partitions):
                n_tokens = np.float32(counts[c])
                if n_tokens > 1:
                    for j in range(dim):
                        block[c, j] /= n_tokens
        if filled and offsets[i + 1] > offsets[i]:
            _fill_empty(block, vectors, counts, firsts)


@jit
def add_sketch(encodings: Any, signs: Any, first: int, sketch: Any) -> None:
    """Add every coordinate, by its sign, to the sketch, in turn; after its last place comes its first.

    encodings : float32 (n, m)
    signs : float32 (m,), -1 or 1
    first : the place of the first coordinate, 0 to n_final - 1
    sketch : float32 (n, n_final), added to
    """
    for i in range(encodings.shape[0]):
        place = first
        for j in range(encodings.shape[1]):
            sketch[i, place] += signs[j] * encodings[i, j]
            place += 1
            if place == sketch.shape[1]:
                place = 0
