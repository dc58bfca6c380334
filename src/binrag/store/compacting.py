"""`Store.compact`: rows without gaps, and a file without free pages."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np

from binrag.errors import MissingDependency
from binrag.indexes import FlatIndex
from binrag.storage import Database, Writing
from binrag.storage.connect import translated
from binrag.storage.renumbering import Renumbering
from binrag.store.entries import entries_between, put_metadata
from binrag.store.progress import progress_of
from binrag.store.snapshot import Snapshot
from binrag.store.words import LEXICAL, fold, new_record
from binrag.store.writer import mark, put_codes, put_tail
from binrag.types import BLOCK, Compaction, Int64, Progress


def compact(database: Database, progress: Progress) -> Compaction:
    """Compact a store; see `Store.compact`."""
    before = database.file_bytes()
    with database.transaction() as writing, translated(database.path):
        n_dropped = _renumber(writing, progress)
    is_held_back = database.vacuum()
    return Compaction(before, database.file_bytes(), n_dropped, is_held_back)


def _renumber(writing: Writing, progress: Progress) -> int:
    """Give the rows that live new numbers, from 0 on, a tenant's together; return how many dead ones there were."""
    head, renumbering = writing.head(), Renumbering(writing)
    order = renumbering.order()
    n_dropped = head.n_rows - len(order)
    if n_dropped == 0 and (np.diff(order) > 0).all():
        words = writing.get(LEXICAL)
        if words is not None and words["n_rows"] < head.n_rows:
            _fold(writing)
        return 0
    snapshot = Snapshot().refreshed(writing, head)
    with progress_of(progress, len(order), "compacting") as report:
        n_sampled = renumbering.renumber(order, report)
    # no number of a row means what it did, so readers start from nothing
    counts = {"n_rows": len(order), "n_sampled": n_sampled, "n_named": renumbering.n_named()}
    writing.put_head(replace(head, **counts, coded=writing.generation, numbered=writing.generation))
    if snapshot.index is not None:
        _write_codes(writing, snapshot.index, order)
    words = writing.get(LEXICAL)
    if words is not None:
        writing.put(LEXICAL, new_record(words["language"]))  # the part went with the others, and its rows' numbers
        _fold(writing)
    return n_dropped


def _fold(writing: Writing) -> None:
    """Fold the words of all rows; without bm25s they wait for a later fold."""
    with suppress(MissingDependency):
        fold(writing)


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
