"""What a search sees: the codes and the space of one commit, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from binrag.errors import CorruptStore
from binrag.indexes import FlatIndex
from binrag.storage import Head, Reading
from binrag.store.space import VectorSpace
from binrag.store.writer import joined
from binrag.types import BLOCK, GROUP, Codes, Float16, UInt64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An immutable view of one generation; `index` and `space` are None before the first vector."""

    generation: int = -1
    space: VectorSpace | None = None
    index: FlatIndex | None = None

    def refreshed(self, reading: Reading, head: Head) -> Snapshot:
        """Return the view of the generation that `reading` sees, loading only what is newer than this one."""
        if head.generation == self.generation:
            return self
        space = self.space or VectorSpace.read(reading)
        if space is None:
            return Snapshot(head.generation)
        n_words = -(-space.binarizer.n_bits // 64)
        index = self.index or FlatIndex.empty(n_words)
        folded = head.n_rows // BLOCK * BLOCK
        first = max(folded, index.n_rows)
        rows = reading.tail(first)
        if len(rows) != head.n_rows - first:
            raise CorruptStore(f"the tail has {len(rows)} rows from row {first} on, expected {head.n_rows - first}")
        tail = joined(rows, Codes(np.zeros((0, n_words), np.uint64), np.zeros(0, np.float16)))
        blocks = _blocks(reading, self.generation, index.n_rows // BLOCK, folded // BLOCK, n_words)
        live = _liveness(reading, self.generation, index, head.n_rows)
        return Snapshot(head.generation, space, index.extended(head.n_rows, live, blocks, (first, tail)))


def _blocks(
    reading: Reading, newer_than: int, first_no: int, stop_no: int, n_words: int
) -> Iterator[tuple[int, UInt64, Float16]]:
    pairs = zip(reading.blocks("codes", newer_than), reading.blocks("rescale", newer_than), strict=True)
    expected = first_no
    for codes, rescale in pairs:
        if codes.no != expected or rescale.no != expected or codes.n_rows != BLOCK:
            raise CorruptStore(f"block {expected} of part 'codes' or 'rescale' is missing")
        expected += 1
        try:
            words = np.frombuffer(codes.data, dtype="<u8").reshape(BLOCK // GROUP, n_words, GROUP)
        except ValueError as error:
            raise CorruptStore(f"block {codes.no} of part 'codes' has a wrong length: {error}") from None
        yield codes.no * BLOCK, words, np.frombuffer(rescale.data, dtype="<f2")
    if expected != stop_no:
        raise CorruptStore(f"block {expected} of part 'codes' is missing")


def _liveness(reading: Reading, newer_than: int, index: FlatIndex, n_rows: int) -> UInt64:
    n_blocks, words = -(-n_rows // BLOCK), BLOCK // 64
    live = np.zeros((n_blocks, words), dtype=np.uint64)
    live.reshape(-1)[: len(index.live)] = index.live
    # every block that gained rows was written, so it is among the newer ones
    expected = set(range(index.n_rows // BLOCK, n_blocks)) if n_rows > index.n_rows else set()
    for block in reading.blocks("live", newer_than):
        rows = min(BLOCK, n_rows - block.no * BLOCK)
        if block.n_rows != rows or len(block.data) != 8 * words:
            raise CorruptStore(f"block {block.no} of part 'live' has {block.n_rows} rows, expected {rows}")
        live[block.no] = np.frombuffer(block.data, dtype="<u8")
        expected.discard(block.no)
    if expected:
        raise CorruptStore(f"block {min(expected)} of part 'live' is missing")
    return live.reshape(-1)
