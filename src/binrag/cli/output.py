"""Results as text for people and as JSON for programs."""

from __future__ import annotations

import base64
import json
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import Any

from binrag.types import Document, Hit, LegScore


def as_json(value: Any) -> str:
    """Return JSON: datetimes and dates as ISO 8601, bytes as base64."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"cannot print a {type(value).__name__} as JSON")


def as_dict(found: Document | Hit) -> dict[str, Any]:
    """Return a document's or a hit's fields; the tenant if it has a name, the legs if they were asked for."""
    fields = asdict(found)
    return {name: value for name, value in fields.items() if value is not None or name not in ("tenant", "legs")}


def hits_as_json(hits: Iterable[Hit]) -> str:
    """Return hits as a JSON list."""
    return as_json([as_dict(hit) for hit in hits])


def snippet(text: str | None, width: int) -> str:
    """Return the beginning of a text on one line."""
    if not text:
        return "(no text)"
    return textwrap.shorten(" ".join(text.split()), max(width, 20), placeholder=" …")


def hits_as_text(hits: Iterable[Hit], indent: str = "") -> str:
    """Return hits as two lines each: rank, score and id; the beginning of the text. Between them, legs if there are."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 120) - len(indent) - 12
    lines = []
    for rank, hit in enumerate(hits, 1):
        lines.append(f"{indent}{rank:3}  {hit.score:.3f}  {hit.id}")
        if hit.legs is not None:
            lines.append(f"{indent}            {_legs_as_text(hit.legs)}")
        lines.append(f"{indent}            {snippet(hit.text, width)}")
    return "\n".join(lines) or f"{indent}no documents"


def _legs_as_text(legs: dict[str, LegScore]) -> str:
    """Return what the legs say: each one's rank and score, a dash for what is not known."""
    said = []
    for name, leg in legs.items():
        rank = "-" if leg.rank is None else f"#{leg.rank}"
        said.append(f"{name} {rank} {'-' if leg.score is None else f'{leg.score:.3f}'}")
    return ", ".join(said)


def document_as_text(document: Document) -> str:
    """Return a document with its metadata."""
    named = [] if document.tenant is None else [f"tenant: {document.tenant}"]
    lines = [f"id: {document.id}", *named, *(f"{key}: {value}" for key, value in document.metadata.items())]
    return "\n".join([*lines, "", document.text or "(no text)"])


def bytes_as_text(n: int) -> str:
    """Return a number of bytes with a unit."""
    size = float(n)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
