"""The records of ``meta`` that are maps: the counters, and what the others hold at least."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from binrag.errors import CorruptStore


@dataclass(frozen=True, slots=True)
class Head:
    """The counters that every write transaction renews.

    Attributes
    ----------
    generation : int
        Write transactions committed.
    n_rows : int
        Rows ever appended; the next row's number.
    n_truncated : int
        Texts added that were longer than the encoder reads.
    n_sampled : int
        Vectors in the sample.
    coded : int
        Generation whose transaction wrote all codes there were: with the first vector, by recoding, or by compacting.
    numbered : int
        Generation of the last compaction, which gave rows other numbers; 0 before the first.
    n_named : int
        Rows ever appended for a tenant that has a name.
    """

    generation: int = 0
    n_rows: int = 0
    n_truncated: int = 0
    n_sampled: int = 0
    coded: int = 0
    numbered: int = 0
    n_named: int = 0


_MOST = 2**48
"""More than any counter can reach: rows and their bits fit 64-bit integers."""

_COUNTERS = tuple(field.name for field in fields(Head))


def record_of(head: Head) -> dict[str, int]:
    """Return the counters as a record."""
    return {name: getattr(head, name) for name in _COUNTERS}


def head_of(record: Any) -> Head:
    """Return the counters of a record.

    Raises
    ------
    CorruptStore
        If it is none.
    """
    try:
        head = Head(**record)
    except TypeError as error:
        raise CorruptStore(f"meta record 'head' has other counters than a store's: {error}") from None
    counts = [getattr(head, name) for name in _COUNTERS]
    if not all(type(count) is int and 0 <= count < _MOST for count in counts) or head.coded > head.generation:
        raise CorruptStore(f"meta record 'head' holds {head}, which no store has")
    return head


_FIELDS: dict[str, dict[str, type]] = {
    "settings": {"binarizer": str, "keep_vectors": str, "seed": int},
    "space": {"dim": int, "similarity": str},
    "binarizer": {"component_id": str, "config": dict},
    "encoder": {"encoder_id": str, "similarity": str, "dim": int, "document": bytes, "query": bytes},
    "auto_fit": {"outcome": str},
    "lexical": {"language": str, "n_rows": int, "generation": int},
    "probe": {},
}
"""What the maps of ``meta`` hold at least; some may be nil instead."""


def check_record(key: str, record: Any) -> None:
    """Raise `CorruptStore` if a record of ``meta`` is not a map with what is read of it."""
    if record is None or key not in _FIELDS:
        return
    if not isinstance(record, dict):
        raise CorruptStore(f"meta record {key!r} is a {type(record).__name__}, expected a map")
    for name, kind in _FIELDS[key].items():
        if type(record.get(name)) is not kind:  # a bool is no int here
            raise CorruptStore(f"meta record {key!r} has {name} {record.get(name)!r:.50}, expected a {kind.__name__}")
