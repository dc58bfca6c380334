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
from binrag.types import BLOCK, GROUP, Codes, CodeShape, Float16, UInt8, UInt64


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
        space = VectorSpace.read(reading, self.space)
        if space is None:
            return Snapshot(head.generation)
        loaded = self if space is self.space else Snapshot()  # of other codes, nothing counts
        index = loaded.index or FlatIndex.empty(space.binarizer.shape)
        folded = head.n_rows // BLOCK * BLOCK
        first = max(folded, index.n_rows)
        rows = reading.tail(first)
        if [row.row for row in rows] != list(range(first, first + len(rows))) or first + len(rows) != head.n_rows:
            raise CorruptStore(f"the tail has {len(rows)} rows from row {first} on, expected {head.n_rows - first}")
        tail = joined(rows, Codes.zeros(0, space.binarizer.shape))
        blocks = _blocks(reading, loaded.generation, range(index.n_rows // BLOCK, folded // BLOCK), index.shape)
        live = liveness(reading, head.n_rows, loaded.generation, index.live, index.n_rows)
        return Snapshot(head.generation, space, index.extended(head.n_rows, live, blocks, (first, tail)))


def _blocks(
    reading: Reading, newer_than: int, numbers: range, shape: CodeShape
) -> Iterator[tuple[int, UInt64, UInt8, Float16 | None]]:
    widths = shape.widths
    readers = {part: reading.blocks(part, newer_than) for part, width in widths.items() if width}
    for no in numbers:
        data = {"rest": b""}
        for part, blocks in readers.items():
            block = next(blocks, None)
            if block is None or block.no != no or len(block.data) != widths[part] * BLOCK:
                raise CorruptStore(f"block {no} of part {part!r} is missing or has a wrong length")
            data[part] = block.data
        words = np.frombuffer(data["codes"], dtype="<u8").reshape(BLOCK // GROUP, shape.n_words, GROUP)
        rest = np.frombuffer(data["rest"], dtype=np.uint8).reshape(BLOCK, shape.n_rest)
        rescale = np.frombuffer(data["rescale"], dtype="<f2") if shape.n_rescale else None
        yield no * BLOCK, words, rest, rescale


def liveness(
    reading: Reading,
    n_rows: int,
    newer_than: int = -1,
    known: UInt64 | None = None,
    n_known: int = 0,
) -> UInt64:
    """Return which rows hold a document: uint64, bit r % 64 of word r // 64, whole blocks.

    Parameters
    ----------
    reading : Reading
    n_rows : int
        Rows that there are.
    newer_than, known, n_known : int, uint64 (≥ ceil(n_known / 64),), int
        The bitmap as of an older generation, which had `n_known` rows.
    """
    n_blocks, words = -(-n_rows // BLOCK), BLOCK // 64
    if n_blocks > n_known // BLOCK + 1 and (found := reading.n_blocks("live")) != n_blocks:
        # said before memory is taken for so many rows
        raise CorruptStore(f"part 'live' has {found} blocks, {n_rows} rows need {n_blocks}: some are missing")
    live = np.zeros((n_blocks, words), dtype=np.uint64)
    if known is not None:
        live.reshape(-1)[: len(known)] = known
    # every block that gained rows was written, so it is among the newer ones
    expected = set(range(n_known // BLOCK, n_blocks)) if n_rows > n_known else set()
    for block in reading.blocks("live", newer_than):
        rows = min(BLOCK, n_rows - block.no * BLOCK)
        if not 0 <= block.no < n_blocks or block.n_rows != rows or len(block.data) != 8 * words:
            raise CorruptStore(f"block {block.no} of part 'live' has {block.n_rows} rows, expected {rows}")
        live[block.no] = np.frombuffer(block.data, dtype="<u8")
        expected.discard(block.no)
    if expected:
        raise CorruptStore(f"block {min(expected)} of part 'live' is missing")
    return live.reshape(-1)
