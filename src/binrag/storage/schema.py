"""What a store file looks like to SQLite; ``docs/file-format.md`` says the same in prose."""

from __future__ import annotations

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
)
