"""Documents added, renamed and deleted in one commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from binrag.store import adding, documents
from binrag.store.batches import batches
from binrag.store.progress import progress_of
from binrag.store.store import Store
from binrag.types import Document, Progress


@dataclass(slots=True)
class Changes:
    """What is to be done to a store's documents.

    Attributes
    ----------
    gone : list of str
        Ids of those to delete, which comes first.
    renamed : dict of str to Document
        Those that keep their text, by id, and the id and the metadata that they get.
    added : list of Document
        To be encoded, and added; or put in the place of those that have their ids then.
    """

    gone: list[str] = field(default_factory=list)
    renamed: dict[str, Document] = field(default_factory=dict)
    added: list[Document] = field(default_factory=list)


def make(store: Store, changes: Changes, batch_size: int, progress: Progress) -> None:
    """Make changes to a store in one commit; texts are encoded before it is locked."""
    handle = store._handle
    tenant = handle.one_tenant(None)

    def others() -> None:
        if changes.gone:
            documents.delete(handle, changes.gone, tenant, None)
        if changes.renamed:
            documents.assign(handle, changes.renamed, tenant)

    if changes.added:
        texts, ids, metadata = zip(*((new.text, new.id, new.metadata) for new in changes.added), strict=True)
        source = batches(texts, ids, metadata, None, batch_size, None)
        with progress_of(progress, len(texts), "adding") as report:
            adding.add(handle, source, tenant, None, batch_size, report, progress, others)
    elif changes.gone or changes.renamed:
        with store.transaction():
            others()
