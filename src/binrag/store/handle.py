"""What an open store consists of, for the calls that make it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from binrag.errors import InvalidInput, UnsupportedMode
from binrag.storage import Database, Reading, Writing
from binrag.store.columns import Columns
from binrag.store.encoding import CheckedEncoder
from binrag.store.settings import Settings
from binrag.store.snapshot import Snapshot
from binrag.store.space import VectorSpace
from binrag.store.words import Words
from binrag.threads import Mutex
from binrag.types import ALL_TENANTS, KeepVectors, Tenant

MAX_NAME_BYTES = 1024
"""Bytes of a tenant's name, and of those in a ledger, at most."""


class Handle:
    """One open store.

    Attributes
    ----------
    database : Database
    encoder : CheckedEncoder
    settings : Settings
        As the file records them.
    n_threads : int
        Threads of a search, at most.
    tenant : str or None
        The only tenant that this handle sees; None where it may be asked for any.
    snapshot : Snapshot
        The newest commit that was loaded.
    columns : Columns
        Metadata that filters asked for.
    words : Words
        The index of words, if a search asked for it.
    fitting : Mutex
        Held while codes are fitted.
    """

    def __init__(
        self, database: Database, encoder: CheckedEncoder, settings: Settings, n_threads: int, tenant: str | None
    ) -> None:
        self.database = database
        self.encoder = encoder
        self.settings = settings
        self.n_threads = n_threads
        self.tenant = tenant
        self.snapshot = Snapshot()
        self.columns = Columns()
        self.words = Words()
        self._space: VectorSpace | None = None
        self.fitting = Mutex()
        self._refreshing = Mutex()

    @property
    def options(self) -> dict[str, Any]:
        """What `Store.open` takes to make another handle like this one, beside path, mode and encoder."""
        self.database.check_open()
        return {**self.database.options, "n_threads": self.n_threads, "tenant": self.tenant}

    @property
    def keep(self) -> KeepVectors:
        """How vectors are kept on disk."""
        return self.settings.keep

    def space_of(self, reading: Reading) -> VectorSpace | None:
        """Return the space as `reading` sees it; one that is committed is kept for the next call."""
        space = VectorSpace.read(reading, self._space)
        if not isinstance(reading, Writing):
            self._space = space
        return space

    @contextmanager
    def view(self) -> Iterator[tuple[Reading, Snapshot]]:
        """Read in one transaction, with the snapshot of exactly its commit."""
        while True:
            with self.database.reading() as reading:
                head = reading.head()
                with self._refreshing:
                    snapshot = self.snapshot
                    if head.generation >= snapshot.generation:
                        snapshot = self.snapshot = snapshot.refreshed(reading, head)
                if snapshot.generation == head.generation:
                    yield reading, snapshot
                    return

    def one_tenant(self, asked: Tenant) -> str:
        """Return the tenant that a call is about, as the file names it: "" for the unnamed one.

        Raises
        ------
        InvalidInput
            If it is no name, all of them, or not the one that the store was opened for.
        """
        tenant = self.tenants(asked)
        if tenant is None:
            raise InvalidInput("tenant is ALL_TENANTS, and this call is about the documents of one; name it")
        return tenant

    def tenants(self, asked: Tenant) -> str | None:
        """Return the tenant that a call is about, as the file names it; None for all.

        Raises
        ------
        InvalidInput
            If it is no name, or not the one that the store was opened for.
        """
        if asked is not None and asked is not ALL_TENANTS:
            asked = checked_tenant(asked)
        if self.tenant is None:
            return None if asked is ALL_TENANTS else asked or ""
        if asked not in (None, self.tenant):
            raise InvalidInput(
                f"tenant is {asked!r}, and the store was opened for tenant {self.tenant!r} alone; open it without one"
            )
        return self.tenant

    def check_whole(self, call: str) -> None:
        """Raise `UnsupportedMode` if the store was opened for one tenant: `call` is about the whole file."""
        if self.tenant is not None:
            raise UnsupportedMode(
                f"{call} is about the whole file, and the store was opened for tenant {self.tenant!r} alone; open it "
                "without tenant"
            )

    def check_of_one_vector(self, call: str) -> None:
        """Raise `UnsupportedMode` if the store is of token vectors: `call` is about codes of one vector a document."""
        if self.settings.late_interaction is not None:
            raise UnsupportedMode(
                f"{call} is for stores of one vector a document; this one holds token vectors, coded as the "
                "LateInteraction says that it was made with: make a new store to change that"
            )

    def close(self) -> None:
        """Close the store, and let go of what was loaded."""
        self.database.close()
        self.snapshot = Snapshot()
        self.columns = Columns()
        self.words = Words()


def checked_tenant(tenant: object) -> str:
    """Return a tenant's name.

    Raises
    ------
    InvalidInput
        If it is not a string of 1 to 1,024 bytes.
    """
    if not isinstance(tenant, str):
        raise InvalidInput(f"tenant is {tenant!r}, expected a name, None for the unnamed tenant, or ALL_TENANTS")
    size = n_utf8_bytes("tenant", tenant)
    if not 0 < size <= MAX_NAME_BYTES:
        raise InvalidInput(
            f"tenant has {size:,} bytes, expected a name of 1 to {MAX_NAME_BYTES:,}; None is the unnamed tenant"
        )
    return tenant


def n_utf8_bytes(what: str, name: str) -> int:
    """Return how many bytes a name has in the file.

    Raises
    ------
    InvalidInput
        If it is not valid Unicode text.
    """
    try:
        return len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{what} {name!r} is not valid Unicode text: {error}") from None
