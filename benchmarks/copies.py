"""Copies of documents that are not quite the same: texts with words replaced, vectors a little off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from binrag.types import Float32

NEW_SHARE = 0.1
"""Share of a copy's words that are replaced by words of other texts."""


def changed_texts(texts: Sequence[str], n: int) -> Iterator[str]:
    """Yield n texts: the data's own, in order and again, a tenth of the words of each replaced by some of another."""
    rng = np.random.default_rng(0)
    words = [text.split() for text in texts]
    for i in range(n):
        own, other = list(words[i % len(words)]), words[int(rng.integers(len(words)))]
        if i >= len(words) and own and other:
            for place, pick in zip(*rng.random((2, max(1, int(NEW_SHARE * len(own))))), strict=True):
                own[int(place * len(own))] = other[int(pick * len(other))]
        yield " ".join(own)


def changed_vectors(vectors: Float32, cosine: float, draw: np.random.Generator) -> Float32:
    """Return unit vectors, each at about a cosine with one of the unit vectors given: float32 (…, dim), as these."""
    off = draw.standard_normal(vectors.shape).astype(np.float32)
    off *= np.float32(np.sqrt(1 / cosine**2 - 1)) / np.linalg.norm(off, axis=-1, keepdims=True)
    off += vectors
    found: Float32 = off / np.linalg.norm(off, axis=-1, keepdims=True)
    return found
