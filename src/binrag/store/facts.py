"""What a store is, from its records."""

from __future__ import annotations

from pathlib import Path

from binrag.probe import Probe
from binrag.storage import Reading
from binrag.storage.schema import FORMAT_VERSION
from binrag.store.settings import Settings
from binrag.store.space import VectorSpace
from binrag.types import StoreInfo


def info_of(path: Path, reading: Reading, space: VectorSpace | None, tenant: str) -> StoreInfo:
    """Return settings, encoder and binarizer of a store."""
    head, record, probed = reading.head(), reading.get("encoder"), reading.get("probe")
    settings = Settings(**reading.require("settings"))
    return StoreInfo(
        path=str(path),
        format_version=FORMAT_VERSION,
        n_documents=reading.count(tenant),
        dim=space.dim if space else settings.dim,
        similarity=space.similarity if space else None,
        encoder=record["encoder_id"] if record else None,
        binarizer=space.binarizer.component_id if space else str(settings.binarizer),
        n_bits=space.binarizer.n_bits if space else None,
        code_bytes=space.binarizer.code_bytes if space else None,
        keep_vectors=str(settings.keep_vectors),
        n_truncated=head.n_truncated,
        generation=head.generation,
        probe=Probe.from_record(probed).verdict if probed else None,
    )
