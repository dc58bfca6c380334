"""Whether stored codes are those of the kept vectors, and columns of metadata those of the documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from binrag.errors import CorruptStore
from binrag.filters import unlike_rows
from binrag.indexes.flat import row_bytes
from binrag.store.space import VectorSpace
from binrag.types import Finding, Float32, KeepVectors, UInt8

FEWEST = 16
"""Rows that are enough to compare."""

_ALIKE = 0.25
"""Codes that are closer to their vectors' codes than chance by less than this share are not of these vectors."""

_STABLE = 0.5
"""So much closer than chance have codes to be that are made of vectors as far off as the kept ones may be."""

_DIFFERENT = 0.02
"""The share of bits in which codes of one row and the next have to differ on average, to be told apart."""


def closeness(space: VectorSpace, stored: UInt8, kept: Float32, keep: KeepVectors) -> float | None:
    """Return how much closer than chance codes are to those of kept vectors, if that is suspiciously little.

    Parameters
    ----------
    space : VectorSpace
    stored : uint8 (n, code bytes without a rescale factor)
        Codes, row-major.
    kept : float32 (n, dim)
        Their vectors, as kept in `keep`.

    Returns
    -------
    float or None
        0 for codes of other vectors, 1 for those of these; None where nothing is suspicious, or nothing can be told.

    Kept vectors are not quite those that were coded, so vectors as far off as these may be are coded too: only where
    their codes are much closer than chance, stored ones have to be.
    """
    steps = np.abs(kept).max(axis=1, keepdims=True) / np.float32(127 if keep == "int8" else 2048)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, kept.shape).astype(np.float32) * steps
    made, near = (_bits(space, vectors) for vectors in (kept, kept + noise))
    others = np.roll(made, 1, axis=0)
    room = 1 - (made == others).mean()

    def share(bits: UInt8) -> float:
        return float(((bits == made).mean() - (bits == others).mean()) / room)

    if room < _DIFFERENT or share(near) < _STABLE:
        return None
    found = share(np.unpackbits(stored, axis=1))
    return found if found < _ALIKE else None


def _bits(space: VectorSpace, vectors: Float32) -> UInt8:
    codes = space.coded(space.prepared(vectors))
    return np.unpackbits(np.hstack((row_bytes(codes.words), codes.rest)), axis=1)


def metadata_findings(
    data: bytes, entries: Sequence[dict[str, Any] | None], first: int, place: str
) -> Iterator[Finding]:
    """Compare what filters see of a block's rows with what their documents say.

    Parameters
    ----------
    data : bytes
        The block of the part ``metadata``.
    entries : sequence of dict or None
        What filters have to see of the rows from `first` on; None where that is not known, or there is no document.
    place : str
        What to call the block.
    """
    try:
        rows = unlike_rows(data, entries, place)
    except CorruptStore as error:
        yield Finding("record", place, str(error).removeprefix(f"{place} "))
        return
    if rows:
        others = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        yield Finding(
            "code", place, f"filters see other metadata than the document of row {first + rows[0]}{others} has"
        )
