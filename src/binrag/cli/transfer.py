"""``binrag export``: a store's documents as JSON lines that ``binrag import`` (and ``add``) reads."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice
from typing import Any

from binrag.cli.commands import selection
from binrag.readers import TYPED
from binrag.store import Store
from binrag.types import Document, Float32

_PAGE = 256


def export(options: argparse.Namespace) -> int:
    """Print documents, a JSON line each."""
    n_unreadable = 0
    with Store.open(options.store, "r") as store:
        documents = store.iter(**selection(options))
        while page := list(islice(documents, _PAGE)):
            vectors = _vectors(store, page) if options.vectors else {}
            for document in page:
                vector = vectors.get((document.tenant, document.id))
                n_unreadable += vector is None and not (document.text or "").strip()
                print(json.dumps(_line(document, vector)))
        sys.stdout.flush()  # a reader that went away is noticed here, not when the interpreter ends
    if n_unreadable:
        print(
            f"binrag: {n_unreadable:,} documents have no text, and no store can be made of them without their vectors: "
            "see --vectors",
            file=sys.stderr,
        )
    return 0


def _vectors(store: Store, documents: Sequence[Document]) -> dict[tuple[str | None, str], Float32]:
    ids: dict[str | None, list[str]] = {}
    for document in documents:
        ids.setdefault(document.tenant, []).append(document.id)
    found = {tenant: store.vectors(own, tenant=tenant) for tenant, own in ids.items()}
    return {(tenant, id_): vector for tenant, vectors in found.items() for id_, vector in vectors.items()}


def _line(document: Document, vector: Float32 | None) -> dict[str, Any]:
    return dict(_fields(document, vector))


def _fields(document: Document, vector: Float32 | None) -> Iterator[tuple[str, Any]]:
    yield "id", document.id
    if document.tenant is not None:
        yield "tenant", document.tenant
    if document.text is not None:
        yield "text", document.text
    if document.metadata:
        yield "metadata", {key: _plain(value) for key, value in document.metadata.items()}
    if vector is not None:
        yield "vector", [float(f"{x:.9g}") for x in vector.tolist()]  # nine digits tell all float32 apart


def _plain(value: Any) -> Any:
    """Return a value as `binrag.readers` reads it, with the types that JSON lacks."""
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, bytes):
        return {"$binary": base64.b64encode(value).decode("ascii")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        plain = {key: _plain(item) for key, item in value.items()}
        return {"$literal": plain} if len(value) == 1 and TYPED & set(value) else plain
    return value
