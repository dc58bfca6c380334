"""Calls about documents themselves: get, delete, update, count, iterate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from binrag.errors import InvalidInput, VectorsUnavailable
from binrag.filters import Filter, matches
from binrag.storage import Writing
from binrag.storage.ledger import forget
from binrag.storage.records import pack_metadata
from binrag.storage.vectors import decode_vectors
from binrag.store import paging, writer
from binrag.store.batches import checked_ids
from binrag.store.columns import rows_of
from binrag.store.handle import Handle
from binrag.types import Document, Float32

_PAGE = 256


def get(handle: Handle, ids: Iterable[str], tenant: str, where: Filter | None) -> list[Document]:
    """Return the documents of these ids; see `Store.get`."""
    names = checked_ids(ids)
    with handle.database.reading(own_writes=True) as reading:
        found = reading.documents_by_id(tenant, names)
    allowed = {name for name, document in found.items() if where is None or matches(where, document.metadata)}
    return [found[name] for name in names if name in allowed]


def vectors(handle: Handle, ids: Iterable[str], tenant: str) -> dict[str, Float32]:
    """Return kept vectors by id; see `Store.vectors`."""
    names = checked_ids(ids)
    with handle.database.reading(own_writes=True) as reading:
        space, keep = handle.space_of(reading), handle.keep
        if keep == "none":
            raise VectorsUnavailable(
                f"{handle.database.path} keeps no vectors; they can be made again from the texts, by the encoder"
            )
        rows = reading.rows_by_id(tenant, names)
        if space is None or not rows:
            return {}
        return dict(zip(rows.values(), decode_vectors(reading.vectors(list(rows)), keep, space.dim), strict=True))


def count(handle: Handle, tenant: str | None, where: Filter | None) -> int:
    """Count documents; see `Store.count`."""
    with handle.database.reading(own_writes=True) as reading:
        return reading.count(tenant) if where is None else len(rows_of(reading, handle.columns, tenant, where))


def iterate(handle: Handle, tenant: str | None, where: Filter | None) -> Iterator[Document]:
    """Yield documents; see `Store.iter`."""
    if where is None:
        yield from paging.documents_of(handle.database, tenant)
        return
    yield from paging.matching_documents(handle.database, handle.columns, tenant, where)


def delete(handle: Handle, ids: Iterable[str] | None, tenant: str | None, where: Filter | None) -> int:
    """Delete documents; see `Store.delete`."""
    names = _names(handle, ids, where)
    with handle.database.writing() as writing:
        rows = _chosen(handle, writing, names, tenant, where)
        forget(writing, rows)
        writer.remove_rows(writing, rows)
        return len(rows)


def update_metadata(
    handle: Handle,
    metadata: Mapping[str, Any],
    ids: Iterable[str] | None,
    tenant: str | None,
    where: Filter | None,
    remove: Iterable[str],
    replaces: bool,
) -> int:
    """Change metadata; see `Store.update_metadata`."""
    names = _names(handle, ids, where)
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"metadata is a {type(metadata).__name__}, expected a dict of the keys to set")
    if isinstance(remove, str):
        raise InvalidInput(f"remove is {remove!r}, expected a list of keys such as [{remove!r}]")
    dropped, given = set(remove), dict(metadata)
    if both := dropped & set(given):
        raise InvalidInput(f"the key {min(both)!r} is to be set and to be removed; leave out one of them")
    with handle.database.writing() as writing:
        rows = _chosen(handle, writing, names, tenant, where)
        for start in range(0, len(rows), _PAGE):
            for row, document in writing.documents_of(rows[start : start + _PAGE]).items():
                kept = {} if replaces else {k: v for k, v in document.metadata.items() if k not in dropped}
                writing.put_metadata(row, document, pack_metadata({**kept, **given}, repr(document.id)))
        writer.put_metadata_of_rows(writing, rows)
        return len(rows)


def assign(handle: Handle, documents: Mapping[str, Document], tenant: str) -> None:
    """Give a tenant's documents, by id, the id and the metadata of others; no document that stays has one of the ids.

    Texts, vectors and codes stay. Unknown ids are no error.
    """
    with handle.database.writing() as writing:
        rows = writing.rows_by_id(tenant, list(documents))
        stored = writing.documents_of(list(rows))
        renamed = [row for row, document in stored.items() if documents[document.id].id != document.id]
        forget(writing, renamed)
        for row in renamed:  # ids may change places, so all are free before one is given
            writing.put_metadata(row, replace(stored[row], id=f"\0{row}"), None)
        for row, document in stored.items():
            new = documents[document.id]
            writing.put_metadata(row, replace(document, id=new.id), pack_metadata(new.metadata, repr(new.id)))
        writer.put_metadata_of_rows(writing, list(rows))


def _names(handle: Handle, ids: Iterable[str] | None, where: Filter | None) -> list[str] | None:
    handle.database.check_writable()
    if ids is None and where is None:
        raise InvalidInput("got neither ids nor where; expected one of them: where={} is all documents")
    return None if ids is None else checked_ids(ids)


def _chosen(
    handle: Handle, writing: Writing, names: list[str] | None, tenant: str | None, where: Filter | None
) -> list[int]:
    """Return the rows of documents that have one of the names, if any are given, and match."""
    if names is None:
        return list(rows_of(writing, handle.columns, tenant, where).tolist())
    assert tenant is not None
    rows = list(writing.rows_by_id(tenant, names))
    if where is None:
        return rows
    return [row for row, document in writing.documents_of(rows).items() if matches(where, document.metadata)]
