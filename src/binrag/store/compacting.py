"""`Store.compact`: rows without gaps, and a file without free pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from binrag.indexes import FlatIndex
from binrag.storage import Writing
from binrag.storage.connect import translated
from binrag.storage.renumbering import Renumbering
from binrag.store.entries import entries_between, put_metadata
from binrag.store.handle import Handle
from binrag.store.progress import progress_of
from binrag.store.snapshot import Snapshot
from binrag.store.words import LEXICAL, Loaded, put
from binrag.store.writer import mark, put_codes, put_tail
from binrag.types import BLOCK, Compaction, Int64, Progress


def compact(handle: Handle, progress: Progress) -> Compaction:
    """Compact a store; see `Store.compact`."""
    database = handle.database
    before = database.file_bytes()
    with database.transaction() as writing, translated(database.path):
        n_dropped, words = _renumber(writing, handle, progress)
    if words is not None:
        handle.words.take(words)
    is_held_back = database.vacuum()
    return Compaction(before, database.file_bytes(), n_dropped, is_held_back)


def _renumber(writing: Writing, handle: Handle, progress: Progress) -> tuple[int, Loaded | None]:
    """Give the rows that live new numbers, from 0 on, a tenant's together, and fold the words of all.

    Returns
    -------
    (int, Loaded or None)
        How many dead rows there were, and the index of words if it was written.
    """
    head, renumbering = writing.head(), Renumbering(writing)
    order, record = renumbering.order(), writing.get(LEXICAL)
    n_dropped = head.n_rows - len(order)
    is_in_order = n_dropped == 0 and bool((np.diff(order) > 0).all())
    # cut into words by the old numbers, before anything is written
    words = handle.words.loaded(writing) if record and not (is_in_order and record["n_rows"] == head.n_rows) else None
    if not is_in_order:
        _write_rows(writing, renumbering, order, progress)
    if words is None:
        return n_dropped, None
    new_rows = np.full(head.n_rows, -1, dtype=np.int64)
    new_rows[order] = np.arange(len(order))
    return n_dropped, put(writing, record, words, new_rows, len(order))


def _write_rows(writing: Writing, renumbering: Renumbering, order: Int64, progress: Progress) -> None:
    """Write row ``order[i]`` under the number i, in every table."""
    head = writing.head()
    snapshot = Snapshot().refreshed(writing, head)
    with progress_of(progress, len(order), "compacting") as report:
        n_sampled = renumbering.renumber(order, report)
    # no number of a row means what it did, so readers start from nothing
    counts = {"n_rows": len(order), "n_sampled": n_sampled, "n_named": renumbering.n_named()}
    writing.put_head(replace(head, **counts, coded=writing.generation, numbered=writing.generation))
    if snapshot.index is not None:
        _write_codes(writing, snapshot.index, order)


def _write_codes(writing: Writing, index: FlatIndex, order: Int64) -> None:
    n_rows = len(order)
    for first in range(0, n_rows, BLOCK):
        codes = index.codes_of(order[first : first + BLOCK])
        if len(codes) == BLOCK:
            put_codes(writing, first // BLOCK, codes, index.shape.by_tables)
            put_metadata(writing, first // BLOCK, BLOCK, entries_between(writing, first, first + BLOCK))
        else:
            put_tail(writing, first, codes)
        mark(writing, n_rows, live=range(first, first + len(codes)), dead=())
