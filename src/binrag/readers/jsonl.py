"""Input files to documents: JSON lines with ``id``, ``text``, ``metadata``, ``vector`` and ``tenant``."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import xxhash

from binrag.errors import InvalidInput, InvalidMetadata
from binrag.filters.parsing import DATES, date_of
from binrag.storage.records import pack_metadata
from binrag.types import Metadata

FIELDS = ("id", "text", "metadata", "vector", "tenant")
_CONTENT = ("text", "metadata", "vector")
TYPED = frozenset({"$date", "$binary", "$literal"})
"""The keys of dicts with one key that stand for what JSON lacks: a date or datetime, bytes, or such a dict itself."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line: a document to add.

    Attributes
    ----------
    id : str
        The line's id, or one made from its content, so that the same line gets the same id again.
    text : str or None
        ``None`` only where there is a vector.
    metadata : dict
        Empty if the line has none.
    vector : list of float or None
        ``None``: to be encoded.
    tenant : str or None
        ``None``: the line names none.
    """

    id: str
    text: str | None
    metadata: Metadata
    vector: list[float] | None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no document: where it is and what is wrong with it."""

    source: str
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.source}:{self.number}: {self.reason}"


def read_jsonl(lines: Iterable[bytes], source: str, dim: int | None = None) -> Iterator[Record | BadLine]:
    """Read JSON lines; blank ones are passed over.

    Parameters
    ----------
    lines : iterable of bytes
        The lines.
    source : str
        What to call the input in messages.
    dim : int, optional
        The expected dimension of vectors; by default that of the first.

    Yields
    ------
    Record or BadLine
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = _record(line, dim)
        except InvalidInput as error:
            yield BadLine(source, number, str(error))
            continue
        if record.vector is not None:
            dim = dim or len(record.vector)
        yield record


def _record(line: bytes, dim: int | None) -> Record:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidInput(f"a JSON {type(fields).__name__}, expected an object with {', '.join(FIELDS)}")
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise InvalidInput(f"unknown field {unknown[0]!r}, expected {', '.join(FIELDS)}; put it into metadata")
    text, vector = fields.get("text"), _vector(fields.get("vector"), dim)
    if text is not None and not isinstance(text, str):
        raise InvalidInput(f"text is a {type(text).__name__}, expected a string")
    if vector is None and not (text or "").strip():
        raise InvalidInput("no text and no vector, expected one of them")
    metadata = _metadata(fields.get("metadata") or {})
    try:
        pack_metadata(metadata, "the line")
        (text or "").encode()
    except (InvalidMetadata, UnicodeEncodeError) as error:
        raise InvalidInput(str(error)) from None
    return Record(_id(fields), text, metadata, vector, _tenant(fields.get("tenant")))


def _metadata(given: Any) -> Any:
    """Return metadata with what stands for a type that JSON lacks replaced."""
    if not isinstance(given, dict):
        return given
    try:
        return {key: _typed(value) for key, value in given.items()}
    except RecursionError:
        raise InvalidInput("metadata are nested too deep") from None


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and TYPED & set(value):
        ((name, given),) = value.items()
        return {"$date": _date, "$binary": _binary, "$literal": _literal}[name](given)
    return {key: _typed(item) for key, item in value.items()}


def _date(given: Any) -> date:
    found = date_of(given)
    if found is None:
        raise InvalidInput(f"$date is {given!r:.80}, expected {DATES}")
    return found


def _binary(given: Any) -> bytes:
    try:
        return base64.b64decode(given, validate=True)
    except (TypeError, ValueError):
        raise InvalidInput(f"$binary is {given!r:.80}, expected bytes in base64") from None


def _literal(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidInput(f"$literal is {given!r:.80}, expected an object, which is taken as it is")
    return {key: _typed(item) for key, item in given.items()}


def _tenant(given: Any) -> str | None:
    if given is not None and (not isinstance(given, str) or not given):
        raise InvalidInput(f"tenant is {given!r:.80}, expected a non-empty string")
    return given


def _id(fields: dict[str, Any]) -> str:
    given = fields.get("id")
    if given is None:
        content = json.dumps([fields.get(name) for name in _CONTENT], sort_keys=True)
        return str(xxhash.xxh3_128_hexdigest(content.encode()))
    if not isinstance(given, str) or not given:
        raise InvalidInput(f"id is {given!r}, expected a non-empty string")
    return given


def _vector(value: Any, dim: int | None) -> list[float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(x) in (int, float) and math.isfinite(x) for x in value):
        raise InvalidInput("vector is not a list of finite numbers")
    if not any(value):
        raise InvalidInput("vector is empty or all zeros: it has no direction to compare")
    if dim is not None and len(value) != dim:
        raise InvalidInput(f"vector has {len(value)} dimensions, expected {dim}")
    return value
