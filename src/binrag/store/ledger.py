"""What an indexer has written into a store, kept in the same file."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice

from binrag.errors import InvalidInput
from binrag.storage import Database, Reading
from binrag.storage.ledger import LedgerTable
from binrag.store.batches import checked_ids
from binrag.store.handle import MAX_NAME_BYTES, n_utf8_bytes
from binrag.store.settings import checked_count

_MICROSECONDS = 1_000_000


class Ledger:
    """Keys that an indexer has written, each with a group and a time; see `Store.ledger`.

    What is put, and what is deleted, commits with the documents of the same `Store.transaction`, and by itself outside
    of one. Inside a transaction its own changes are seen. `Store.delete` deletes, in its own commit, the entries that
    have a document's id as their key: whoever puts keys after the documents can miss a document, but no entry is left
    of one that is gone.
    """

    def __init__(self, database: Database, tenant: str, namespace: str) -> None:
        self._database = database
        self._tenant = tenant
        self._namespace = _checked_name(namespace, "namespace")

    @property
    def namespace(self) -> str:
        """The name that the entries are under."""
        return self._namespace

    def time(self) -> float:
        """Return the time that an entry put now would have: seconds since 1970, after that of every other entry."""
        with self._database.reading(own_writes=True) as reading:
            return self._now(reading) / _MICROSECONDS

    def put(
        self, keys: Iterable[str], groups: Iterable[str | None] | None = None, *, not_before: float | None = None
    ) -> None:
        """Write keys at the time that it is now; those that are there get the new group and time.

        Parameters
        ----------
        keys : list of str
            The keys.
        groups : list of (str or None), optional
            As many as keys.
        not_before : float, optional
            Seconds since 1970, such as an earlier answer of `time`. A clock that is behind it is refused, since `keys`
            would take the entries for old ones.

        Raises
        ------
        InvalidInput
            Nothing was written.
        ReadOnlyStore, StoreLocked, StorageFull
        """
        self._database.check_writable()
        names = checked_ids(keys)
        own = [None] * len(names) if groups is None else list(groups)
        if len(own) != len(names):
            raise InvalidInput(f"got {len(names)} keys and {len(own)} groups, expected as many")
        own = [None if group is None else _checked_name(group, "group") for group in own]
        with self._database.writing() as writing:
            now = self._now(writing)
            if not_before is not None and now < _microseconds(not_before, "not_before"):
                raise InvalidInput(
                    f"the clock says {now / _MICROSECONDS:.6f} seconds since 1970, which is before not_before = "
                    f"{not_before:.6f}; set the clock right"
                )
            self._table(writing).put(zip(names, own, strict=True), now)

    def exists(self, keys: Iterable[str]) -> list[bool]:
        """Return for each key whether it is there."""
        names = checked_ids(keys)
        with self._database.reading(own_writes=True) as reading:
            found = {key for key, _, _ in self._table(reading).entries(keys=names)}
        return [name in found for name in names]

    def keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        groups: Iterable[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Return keys, in order; with `groups`, group after group.

        Parameters
        ----------
        before, after : float, optional
            Only entries that are older, newer, than that: seconds since 1970.
        groups : list of str, optional
            Only entries of these groups.
        limit : int, optional
            So many at most.
        """
        names = None if groups is None else list(dict.fromkeys(_checked_name(group, "group") for group in groups))
        until = None if before is None else _microseconds(before, "before")
        since = None if after is None else _microseconds(after, "after")
        n = None if limit is None else checked_count("limit", limit)
        with self._database.reading(own_writes=True) as reading:
            return [key for key, _, _ in islice(self._table(reading).entries(None, names, until, since), n)]

    def delete(self, keys: Iterable[str]) -> int:
        """Delete keys and return how many there were; unknown ones are no error."""
        self._database.check_writable()
        names = checked_ids(keys)
        with self._database.writing() as writing:
            return self._table(writing).delete(names)

    def _table(self, reading: Reading) -> LedgerTable:
        return LedgerTable(reading, self._tenant, self._namespace)

    def _now(self, reading: Reading) -> int:
        return max(time.time_ns() // 1000, self._table(reading).newest() + 1)

    def __repr__(self) -> str:
        return f"Ledger({str(self._database.path)!r}, {self._namespace!r})"


def _microseconds(seconds: object, name: str) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not abs(seconds) < 2**40:
        raise InvalidInput(f"{name} is {seconds!r}, expected seconds since 1970, a number")
    return round(seconds * _MICROSECONDS)


def _checked_name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{what} is {value!r}, expected a str")
    size = n_utf8_bytes(what, value)
    if size > MAX_NAME_BYTES:
        raise InvalidInput(f"{what} has {size:,} bytes, expected {MAX_NAME_BYTES:,} at most")
    return value
