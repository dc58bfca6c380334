"""The table of what indexers have written: keys with a group and a time, in the store's own transactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from binrag.errors import CorruptStore
from binrag.storage.records import check, checksum
from binrag.storage.tables import Reading, Writing, chunks


class LedgerTable:
    """The entries of one namespace of a tenant.

    Parameters
    ----------
    reading : Reading
        The transaction; a `Writing` for what changes the table.
    tenant, namespace : str
        Whose entries these are; "" is the unnamed tenant.
    """

    def __init__(self, reading: Reading, tenant: str, namespace: str) -> None:
        self._connection = reading._connection
        self._own = (tenant, namespace)

    def newest(self) -> int:
        """Return the time of the newest entry in microseconds, 0 if there is none."""
        query = "SELECT coalesce(max(updated), 0) FROM ledger WHERE tenant = ? AND namespace = ?"
        newest = self._connection.execute(query, self._own).fetchone()[0]
        if not isinstance(newest, int):  # SQLite takes any kind of value in any column
            raise CorruptStore(f"the ledger of {self._own[1]!r} has an entry whose time is {newest!r:.50}")
        return newest

    def entries(
        self,
        keys: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> Iterator[tuple[str, str | None, int]]:
        """Yield key, group and time of entries in the order of their keys, group after group if some are given.

        Parameters
        ----------
        keys, groups : sequence of str, optional
            Only these; not both.
        before, after : int, optional
            Only those whose time, in microseconds, is less than that, more than that.
        """
        conditions, values = ["tenant = ?", "namespace = ?"], list[str | int](self._own)
        for sign, limit in (("<", before), (">", after)):
            if limit is not None:
                conditions.append(f"updated {sign} ?")
                values.append(limit)
        column, names = ("key", keys) if groups is None else ("group_id", groups)
        if names is None:
            yield from self._read(conditions, values)
            return
        for some, marks in chunks(names):
            yield from self._read([*conditions, f"{column} IN ({marks})"], [*values, *some])

    def _read(self, conditions: list[str], values: list[str | int]) -> Iterator[tuple[str, str | None, int]]:
        query = f"""
            SELECT key, group_id, updated, checksum FROM ledger
            WHERE {" AND ".join(conditions)} ORDER BY key
        """
        for key, group, updated, stored in self._connection.execute(query, values):
            check(stored, "ledger", f"ledger entry {key!r}", *self._own, key, group, updated)
            yield key, group, updated

    def put(self, entries: Iterable[tuple[str, str | None]], updated: int) -> None:
        """Write entries, a key and its group, under a time in microseconds; those of the same keys are replaced."""
        insert = """
            INSERT INTO ledger (tenant, namespace, key, group_id, updated, checksum) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (tenant, key, namespace) DO UPDATE
            SET group_id = excluded.group_id, updated = excluded.updated, checksum = excluded.checksum
        """
        fields = ((*self._own, key, group, updated) for key, group in entries)
        self._connection.executemany(insert, ((*values, checksum(*values)) for values in fields))

    def delete(self, keys: Sequence[str]) -> int:
        """Delete the entries of these keys; return how many there were."""
        n_deleted = 0
        for some, marks in chunks(keys):
            query = f"DELETE FROM ledger WHERE tenant = ? AND namespace = ? AND key IN ({marks})"
            n_deleted += self._connection.execute(query, (*self._own, *some)).rowcount
        return n_deleted


def forget(writing: Writing, rows: Sequence[int]) -> None:
    """Delete the entries, of all namespaces, whose keys are the ids of the documents of these rows."""
    for some, marks in chunks(rows):
        documents = f"SELECT tenant, id FROM documents WHERE row IN ({marks})"
        writing._connection.execute(f"DELETE FROM ledger WHERE (tenant, key) IN ({documents})", some)


def copy_entries(writing: Writing, entries: Iterable[tuple[str, str, str, str | None, int]]) -> None:
    """Write entries that are sound: tenant, namespace, key, group, time."""
    for tenant, namespace, key, group, updated in entries:
        LedgerTable(writing, tenant, namespace).put([(key, group)], updated)
