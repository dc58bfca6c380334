"""LangChain's record of what was indexed, in the file of the documents."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.indexing import RecordManager
from langchain_core.runnables import run_in_executor

from binrag import Store
from langchain_binrag.vectorstores import BinragVectorStore


class BinragRecordManager(RecordManager):
    """What `langchain_core.indexing.index` has written to a store, kept in the same file.

    ``with store.transaction(): index(…)`` makes documents and records one commit, and holds the store locked for other
    writers while texts are encoded. Without it `index` commits batches, documents first and then their records, and a
    deletion takes records along: a process that dies between has to add documents again, and loses none. Those that
    it added last may be in the store without a record; they are cleaned up if they are seen again and left out later.
    `aindex` does not take part in a transaction, which belongs to a thread.

    Parameters
    ----------
    store : binrag.Store or BinragVectorStore
        Where the documents are.
    namespace : str
        Tells the records of one source of documents from those of others in the same store.
    tenant : str, optional
        Whose documents they are about; by default the only one of the store or vector store, else the unnamed one.

    Raises
    ------
    ValueError
        A name that is none, or of a tenant that the store is not for.
    """

    def __init__(self, store: Store | BinragVectorStore, namespace: str, *, tenant: str | None = None) -> None:
        super().__init__(namespace)
        if isinstance(store, BinragVectorStore):
            tenant = store._whose(tenant)
            store = store.store
        self._ledger = store.ledger(namespace, tenant=tenant)

    def create_schema(self) -> None:
        """Do nothing: every store can keep records."""

    async def acreate_schema(self) -> None:
        """Do nothing: every store can keep records."""

    def get_time(self) -> float:
        """Return the time in seconds since 1970, after that of every record."""
        return self._ledger.time()

    async def aget_time(self) -> float:
        """As `get_time`."""
        return await run_in_executor(None, self.get_time)

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Record keys as written now.

        Parameters
        ----------
        keys : list of str
            Ids of documents.
        group_ids : list of (str or None), optional
            Where each comes from; as many as keys.
        time_at_least : float, optional
            A time that must not lie ahead.

        Raises
        ------
        ValueError
            Unequal lengths, or a time ahead; nothing was recorded.
        """
        self._ledger.put(list(keys), None if group_ids is None else list(group_ids), not_before=time_at_least)

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As `update`."""
        await run_in_executor(None, self.update, keys, group_ids=group_ids, time_at_least=time_at_least)

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Return whether each key is recorded."""
        return self._ledger.exists(list(keys))

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As `exists`."""
        return await run_in_executor(None, self.exists, keys)

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Return the keys that were recorded strictly before and after two times, and for one of several groups.

        No groups have no keys; None are all.
        """
        groups = None if group_ids is None else list(group_ids)
        return self._ledger.keys(before=before, after=after, groups=groups, limit=limit)

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As `list_keys`."""
        return await run_in_executor(None, self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit)

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Forget keys; those that are not recorded are no error."""
        self._ledger.delete(list(keys))

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As `delete_keys`."""
        await run_in_executor(None, self.delete_keys, keys)
