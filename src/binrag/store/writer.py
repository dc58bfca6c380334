"""Appends rows: documents, kept vectors, codes and liveness, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from binrag.indexes import group_words
from binrag.storage import TailRow, Writing
from binrag.storage.vectors import encode_vectors
from binrag.store.batches import Batch
from binrag.store.space import VectorSpace
from binrag.types import BLOCK, Codes, KeepVectors, UInt64

_BITMAP_WORDS = BLOCK // 64


def append(writing: Writing, tenant: str, space: VectorSpace, keep: KeepVectors, batch: Batch) -> None:
    """Append a batch; a document that had one of its ids is replaced."""
    batch = batch.latest()
    head = writing.head()
    first, stop = head.n_rows, head.n_rows + len(batch.ids)
    vectors = space.prepared(batch.vectors)
    dead = writing.remove_documents(tenant, batch.ids)
    writing.add_documents(first, tenant, zip(batch.ids, batch.texts, batch.metadata, strict=True))
    if keep != "none":
        writing.add_vectors(first, encode_vectors(vectors, keep))
    _append_codes(writing, first, space.binarizer.transform(vectors))
    _mark(writing, stop, live=range(first, stop), dead=dead)
    writing.put_head(replace(head, n_rows=stop, n_truncated=head.n_truncated + batch.n_truncated))


def remove(writing: Writing, tenant: str, ids: list[str]) -> int:
    """Delete the documents of these ids that exist; return how many there were."""
    dead = writing.remove_documents(tenant, ids)
    _mark(writing, writing.head().n_rows, live=(), dead=dead)
    return len(dead)


def _append_codes(writing: Writing, first: int, codes: Codes) -> None:
    """Put codes in the tail, and fold every full run of 4,096 rows into blocks.

    Rows below the last multiple of 4,096 are in blocks, the others in the tail.
    """
    stop = first + len(codes.rescale)
    folded, fold_to = (row // BLOCK * BLOCK for row in (first, stop))
    if fold_to > folded:
        codes = joined(writing.tail(folded), codes)
        for start in range(0, fold_to - folded, BLOCK):
            no, rows = (folded + start) // BLOCK, slice(start, start + BLOCK)
            writing.put_block("codes", no, BLOCK, group_words(codes.words[rows]).astype("<u8").tobytes())
            writing.put_block("rescale", no, BLOCK, codes.rescale[rows].astype("<f2").tobytes())
        writing.cut_tail(fold_to)
        rest = slice(fold_to - folded, None)
        first, codes = fold_to, Codes(codes.words[rest], codes.rescale[rest])
    words, rescale = codes.words.astype("<u8"), codes.rescale.astype("<f2")
    writing.add_tail(
        TailRow(row, w.tobytes(), f.tobytes()) for row, (w, f) in enumerate(zip(words, rescale, strict=True), first)
    )


def joined(tail: list[TailRow], codes: Codes) -> Codes:
    """Put tail rows before codes."""
    if not tail:
        return codes
    n_words = codes.words.shape[1]
    words = np.frombuffer(b"".join(r.codes for r in tail), dtype="<u8").reshape(-1, n_words)
    rescale = np.frombuffer(b"".join(r.rescale for r in tail), dtype="<f2")
    return Codes(np.concatenate([words, codes.words]), np.concatenate([rescale, codes.rescale]))


def _mark(writing: Writing, n_rows: int, live: Iterable[int], dead: Iterable[int]) -> None:
    """Set and clear bits of the liveness part, one blob of 512 bytes a block of rows."""
    bitmaps: dict[int, UInt64] = {}
    for rows, alive in ((live, True), (dead, False)):
        array = np.fromiter(rows, dtype=np.int64)
        for no in np.unique(array // BLOCK).tolist():
            if no not in bitmaps:
                bitmaps[no] = _bitmap(writing, no)
            bits = np.unpackbits(bitmaps[no].view(np.uint8), bitorder="little")
            bits[array[array // BLOCK == no] % BLOCK] = alive
            bitmaps[no] = np.packbits(bits, bitorder="little").view("<u8")
    for no, bitmap in bitmaps.items():
        writing.put_block("live", no, min(BLOCK, n_rows - no * BLOCK), bitmap.tobytes())


def _bitmap(writing: Writing, no: int) -> UInt64:
    block = writing.block("live", no)
    if block is None:
        return np.zeros(_BITMAP_WORDS, dtype="<u8")
    return np.frombuffer(block.data, dtype="<u8")
