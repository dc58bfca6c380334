"""Recording the encoder of vectors that were given: `Store.record_encoder`."""

from __future__ import annotations

import numpy as np

from binrag.binarizers.artefact import cosines
from binrag.errors import EncoderMismatch, VectorsUnavailable
from binrag.storage import Reading
from binrag.storage.vectors import decode_vectors
from binrag.store.handle import Handle
from binrag.types import Document, Float32

N_CHECKED = 20
"""Documents whose texts are encoded and compared with their vectors, at most."""

_MIN_COSINE = 0.99
"""Sampled vectors are halves, and what made those given may have read texts in other batches."""


def record_encoder(handle: Handle) -> None:
    """Record the handle's encoder as the one that the vectors are of; see `Store.record_encoder`."""
    handle.database.check_writable()
    with handle.database.reading(own_writes=True) as reading:
        record, space = reading.get("encoder"), handle.space_of(reading)
        known = _sampled(reading, space.dim) if space is not None and record is None else None
    handle.encoder.check(record, space)
    if known is not None:
        _compare(handle, *known)
    with handle.database.writing() as writing:
        handle.encoder.write(writing, handle.space_of(writing))


def _sampled(reading: Reading, dim: int) -> tuple[list[Document], Float32]:
    """Return some documents that have a text, spread over the store, and their vectors."""
    sample = dict(reading.sample())
    rows = [(row, document) for row, document in sorted(reading.documents_of(list(sample)).items()) if document.text]
    if not rows:
        raise VectorsUnavailable(
            "no document has both a text and a vector, so it cannot be told whether the vectors are of this encoder; "
            "record it before the first vector is added"
        )
    some = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, N_CHECKED).astype(int))]
    return [document for _, document in some], decode_vectors([sample[row] for row, _ in some], "float16", dim)


def _compare(handle: Handle, documents: list[Document], vectors: Float32) -> None:
    encoder = handle.encoder.required(None)
    encoded = np.asarray(encoder.encode_document([str(document.text) for document in documents]), dtype=np.float64)
    found = cosines(encoded, vectors.astype(np.float64))
    worst = int(np.argmin(found))
    if not found[worst] > _MIN_COSINE:
        raise EncoderMismatch(
            f"the vector of document {documents[worst].id!r} is not what {encoder.encoder_id!r} makes of its text "
            f"(cosine {found[worst]:.4f}, expected more than {_MIN_COSINE}); open the store with the encoder "
            "that made them"
        )
