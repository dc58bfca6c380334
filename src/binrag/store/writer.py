"""Appends rows: documents, kept vectors, codes and liveness, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from binrag.errors import CorruptStore
from binrag.indexes import group_words
from binrag.storage import Reading, TailRow, Writing
from binrag.storage.records import unpack
from binrag.storage.vectors import encode_vectors
from binrag.store.batches import Batch
from binrag.store.entries import entries_between, entry, put_metadata
from binrag.store.space import VectorSpace
from binrag.types import BLOCK, Codes, Float32, KeepVectors, UInt64

_BITMAP_WORDS = BLOCK // 64


def append(writing: Writing, tenant: str, space: VectorSpace, keep: KeepVectors, batch: Batch) -> None:
    """Append a batch; a document that had one of its ids is replaced."""
    batch = batch.latest()
    dead = writing.remove_documents(tenant, batch.ids)
    head = writing.head()
    first, stop = head.n_rows, head.n_rows + len(batch.ids)
    vectors = space.prepared(batch.vectors)
    writing.add_documents(first, tenant, zip(batch.ids, batch.texts, batch.metadata, strict=True))
    n_sampled = head.n_sampled
    if batch.tokens is not None:
        writing.add_blobs(first, batch.tokens)
    else:
        if keep != "none":
            writing.add_vectors(first, encode_vectors(vectors, keep))
        n_sampled = _add_sample(writing, first, vectors, n_sampled)
    append_codes(writing, first, space.coded(vectors), space.binarizer.shape.by_tables)
    _append_metadata(writing, first, stop, tenant, batch)
    mark(writing, stop, live=range(first, stop), dead=dead)
    n_truncated = head.n_truncated + batch.n_truncated
    n_named = head.n_named + (stop - first if tenant else 0)
    writing.put_head(replace(head, n_rows=stop, n_truncated=n_truncated, n_sampled=n_sampled, n_named=n_named))


def remove_rows(writing: Writing, rows: list[int]) -> None:
    """Delete the documents of these rows."""
    writing.remove_rows(rows)
    mark(writing, writing.head().n_rows, live=(), dead=rows)


def put_metadata_of_rows(writing: Writing, rows: list[int]) -> None:
    """Write anew what filters see of the blocks that these rows, whose documents changed, are in."""
    n_rows = writing.head().n_rows
    for no in sorted({row // BLOCK for row in rows}):
        first, stop = no * BLOCK, min((no + 1) * BLOCK, n_rows)
        put_metadata(writing, no, stop - first, entries_between(writing, first, stop))


def _append_metadata(writing: Writing, first: int, stop: int, tenant: str, batch: Batch) -> None:
    """Write what filters see of every run of 4,096 rows that is full now."""
    folded, fold_to = (row // BLOCK * BLOCK for row in (first, stop))
    if fold_to == folded:
        return
    entries = entries_between(writing, folded, first)
    entries += [entry(tenant, unpack(data, "metadata") if data else {}) for data in batch.metadata[: fold_to - first]]
    for start in range(folded, fold_to, BLOCK):
        put_metadata(writing, start // BLOCK, BLOCK, entries[start - folded : start - folded + BLOCK])


def _add_sample(writing: Writing, first: int, vectors: Float32, n_sampled: int) -> int:
    rows = writing.sampled(range(first, first + len(vectors)), n_sampled)
    if not rows:
        return n_sampled
    blobs = encode_vectors(vectors[np.array(rows) - first], "float16")
    return writing.add_sample(zip(rows, (blob.tobytes() for blob in blobs), strict=True), n_sampled)


def live_rows(writing: Reading, first: int, stop: int) -> list[int]:
    """Return the rows from `first`, where a block starts, to `stop` that hold a document; at most a block's."""
    bits = np.unpackbits(_bitmap(writing, first // BLOCK).view(np.uint8), bitorder="little")
    return (first + np.flatnonzero(bits[: stop - first])).tolist()


def append_codes(writing: Writing, first: int, codes: Codes, by_tables: bool) -> None:
    """Put codes in the tail, and fold every full run of 4,096 rows into blocks.

    Rows below the last multiple of 4,096 are in blocks, the others in the tail.
    """
    stop = first + len(codes)
    folded, fold_to = (row // BLOCK * BLOCK for row in (first, stop))
    if fold_to > folded:
        codes = joined(writing.tail(folded), codes)
        for start in range(0, fold_to - folded, BLOCK):
            put_codes(writing, (folded + start) // BLOCK, codes[start : start + BLOCK], by_tables)
        writing.cut_tail(fold_to)
        first, codes = fold_to, codes[fold_to - folded :]
    put_tail(writing, first, codes)


def put_codes(writing: Writing, no: int, codes: Codes, by_tables: bool) -> None:
    """Write the codes of a full block, grouped for their scan."""
    writing.put_block("codes", no, BLOCK, group_words(codes.words, by_tables).astype("<u8").tobytes())
    if codes.rest.shape[1]:
        writing.put_block("rest", no, BLOCK, codes.rest.tobytes())
    if codes.rescale is not None:
        writing.put_block("rescale", no, BLOCK, codes.rescale.astype("<f2").tobytes())


def put_tail(writing: Writing, first: int, codes: Codes) -> None:
    """Append codes to the tail."""
    rescale = np.zeros((len(codes), 0)) if codes.rescale is None else codes.rescale.astype("<f2")
    columns = codes.words.astype("<u8"), codes.rest, rescale
    writing.add_tail(
        TailRow(row, *(value.tobytes() for value in values))
        for row, values in enumerate(zip(*columns, strict=True), first)
    )


def joined(tail: list[TailRow], codes: Codes) -> Codes:
    """Put tail rows before codes.

    Raises
    ------
    CorruptStore
        If a row's code has another size than these codes.
    """
    if not tail:
        return codes
    widths = 8 * codes.words.shape[1], codes.rest.shape[1], 0 if codes.rescale is None else codes.rescale.itemsize
    for row in tail:
        sizes = len(row.codes), len(row.rest), len(row.rescale)
        if sizes != widths:
            raise CorruptStore(f"codes, rest and rescale of tail row {row.row} have {sizes} bytes, expected {widths}")
    n = len(tail)
    words = np.frombuffer(b"".join(r.codes for r in tail), dtype="<u8").reshape(n, -1)
    rest = np.frombuffer(b"".join(r.rest for r in tail), dtype=np.uint8).reshape(n, -1)
    rescale = None
    if codes.rescale is not None:
        own = np.frombuffer(b"".join(r.rescale for r in tail), dtype="<f2")
        rescale = np.concatenate((own, codes.rescale))
    return Codes(np.concatenate((words, codes.words)), np.concatenate((rest, codes.rest)), rescale)


def mark(writing: Writing, n_rows: int, live: Iterable[int], dead: Iterable[int]) -> None:
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


def _bitmap(writing: Reading, no: int) -> UInt64:
    block = writing.block("live", no)
    if block is None:
        return np.zeros(_BITMAP_WORDS, dtype="<u8")
    return np.frombuffer(block.data, dtype="<u8")
