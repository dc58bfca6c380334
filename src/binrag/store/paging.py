"""Documents page by page, each page in a transaction of its own, so that nobody is held up meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from binrag.errors import UnsupportedMode
from binrag.filters import Filter, matches
from binrag.storage import Database, Reading
from binrag.store.columns import Columns, rows_of
from binrag.types import Document

_PAGE = 256


def documents_of(database: Database, tenant: str | None) -> Iterator[Document]:
    """Yield a tenant's documents, or all with None, in row order.

    Documents added, replaced or deleted meanwhile may or may not be seen; every other is, once.

    Raises
    ------
    UnsupportedMode
        If the store was compacted meanwhile, and which documents were yielded cannot be told any more.
    """
    last, numbered, page = -1, None, list[tuple[int, Document]]()
    while True:
        with database.reading(own_writes=True) as reading:
            now = reading.head().numbered
            if numbered not in (None, now):
                last = _moved(reading, tenant, [document.id for _, document in page])
            numbered = now
            page = reading.documents_after(tenant, last, _PAGE)
        yield from (document for _, document in page)
        if len(page) < _PAGE:
            return
        last = page[-1][0]


def matching_documents(database: Database, columns: Columns, tenant: str | None, where: Filter) -> Iterator[Document]:
    """Yield a tenant's documents that match, or all tenants' with None, in row order.

    Documents added, changed or deleted meanwhile may or may not be seen, but none that does not match any more.

    Raises
    ------
    UnsupportedMode
        If the store was compacted meanwhile.
    """
    with database.reading(own_writes=True) as reading:
        rows, numbered = rows_of(reading, columns, tenant, where), reading.head().numbered
    for start in range(0, len(rows), _PAGE):
        with database.reading(own_writes=True) as reading:
            if reading.head().numbered != numbered:
                raise _lost()
            found = reading.documents_of(rows[start : start + _PAGE].tolist())
        yield from (document for _, document in sorted(found.items()) if matches(where, document.metadata))


def _moved(reading: Reading, tenant: str | None, ids: Sequence[str]) -> int:
    """Return the row after which to go on, now that rows have other numbers; `ids` are those of the last page.

    Those that are still where they were lie one after another, and before all that was added or replaced since.
    """
    if tenant is None and not reading.head().n_named:
        tenant = ""
    rows = [] if tenant is None else list(reading.rows_by_id(tenant, ids))
    if not rows:
        raise _lost()
    last = rows[0]
    for row in rows[1:]:
        if row != last + 1:
            break
        last = row
    return last


def _lost() -> UnsupportedMode:
    return UnsupportedMode("the store was compacted while its documents were read one after another; start again")
