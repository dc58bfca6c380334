"""What filters see of a row: its tenant and its metadata, apart, so that no key of a user's is taken for a tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from binrag.filters import pack_columns
from binrag.storage import Reading, Writing
from binrag.types import Document

PART = "metadata"
"""The part of the blocks."""

TENANT = "tenant"
METADATA = "metadata."
"""What the paths of a user's keys begin with."""


def entry(tenant: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the columns hold of a document."""
    found = {METADATA + key: value for key, value in metadata.items()}
    if tenant:
        found[TENANT] = tenant
    return found


def put_metadata(writing: Writing, no: int, n_rows: int, entries: Sequence[dict[str, Any] | None]) -> None:
    """Write the metadata of a block, one entry a row; see `entry`."""
    writing.put_block(PART, no, n_rows, pack_columns(entries))


def entries_between(reading: Reading, first: int, stop: int) -> list[dict[str, Any] | None]:
    """Return the entries of the rows from `first` up to `stop`, from their documents; None for rows without one."""
    entries: list[dict[str, Any] | None] = [None] * (stop - first)
    for row, document in reading.documents_between(first, stop):
        entries[row - first] = entry_of(document)
    return entries


def entry_of(document: Document) -> dict[str, Any]:
    """Return the entry of a document."""
    return entry(document.tenant or "", document.metadata)
