"""What a store file looks like to SQLite; ``docs/file-format.md`` says the same in prose."""

from __future__ import annotations

import re
from collections.abc import Iterable

APPLICATION_ID = 0x42524147
"""``PRAGMA application_id``: the ASCII letters BRAG."""

FORMAT_VERSION = 0
"""``PRAGMA user_version``. 0 until the first release: no migrations are owed yet."""

PAGE_SIZE = 16384

TABLES = (
    """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE documents (
        row INTEGER PRIMARY KEY NOT NULL,
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        text TEXT,
        metadata BLOB,
        checksum INTEGER NOT NULL,
        UNIQUE (tenant, id)
    )
    """,
    """
    CREATE TABLE vectors (
        row INTEGER PRIMARY KEY NOT NULL,
        vector BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE sample (
        place INTEGER PRIMARY KEY NOT NULL,
        row INTEGER NOT NULL,
        vector BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE tail (
        row INTEGER PRIMARY KEY NOT NULL,
        codes BLOB NOT NULL,
        rest BLOB NOT NULL,
        rescale BLOB NOT NULL,
        checksum INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE blocks (
        part TEXT NOT NULL,
        no INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        n_rows INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (part, no)
    )
    """,
    "CREATE INDEX blocks_by_generation ON blocks (generation)",
    """
    CREATE TABLE ledger (
        tenant TEXT NOT NULL,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        group_id TEXT,
        updated INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (tenant, key, namespace)
    )
    """,
    "CREATE INDEX ledger_by_group ON ledger (tenant, namespace, group_id)",
    "CREATE INDEX ledger_by_time ON ledger (tenant, namespace, updated)",
)


def definition_of(table: str) -> str:
    """Return the SQL that makes a table."""
    return next(sql for sql in TABLES if _normal(sql).startswith(f"CREATE TABLE {table} "))


_DEFINED = re.compile(r"CREATE (TABLE|INDEX) (\w+)(?: ON (\w+))?")

Entry = tuple[str, str, str, str | None]
"""A row of ``sqlite_master``: type, name, table, SQL."""


def _normal(sql: str) -> str:
    return " ".join(sql.split())


def _expected() -> dict[tuple[str, str, str], str | None]:
    found: dict[tuple[str, str, str], str | None] = {
        ("index", f"sqlite_autoindex_{table}_1", table): None for table in ("meta", "documents", "blocks", "ledger")
    }
    for sql in TABLES:
        match = _DEFINED.match(_normal(sql))
        assert match is not None
        kind, name, table = match.groups()
        found[kind.lower(), name, table or name] = _normal(sql)
    return found


EXPECTED = _expected()
"""What ``sqlite_master`` has to hold: (type, name, table) to SQL with single spaces; None for SQLite's own indexes."""


def foreign(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """Compare rows of ``sqlite_master`` with what a store has.

    What runs code when a table is read or written (a trigger, a view in a table's place, a generated column, an index
    on an expression) is another entry or other SQL, so nothing of it gets past this.

    Returns
    -------
    list of (place, problem)
        Empty for a store's schema. Tables that ``ANALYZE`` makes are passed over.
    """
    found, problems = set(), []
    for kind, name, table, sql in entries:
        entry, shown = (kind, name, table), f"{kind} {name!r}"
        if kind == "table" and str(name).startswith("sqlite_stat"):
            continue
        if entry not in EXPECTED:
            problems.append((shown, "it is not part of a store"))
        elif EXPECTED[entry] != (None if sql is None else _normal(str(sql))):
            problems.append((shown, f"it is not defined as in a store, but as: {_normal(str(sql))[:200]}"))
        elif entry in found:
            problems.append((shown, "it is there twice"))
        found.add(entry)
    problems += [
        (f"{kind} {name!r}", "it is missing") for kind, name, table in EXPECTED if (kind, name, table) not in found
    ]
    return problems
