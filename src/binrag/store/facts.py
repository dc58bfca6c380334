"""What a store is, from its records."""

from __future__ import annotations

from pathlib import Path

from binrag.storage import Reading
from binrag.storage.schema import FORMAT_VERSION
from binrag.store.autofit import state_of
from binrag.store.sampled import PROBE, recorded_probe
from binrag.store.settings import Settings
from binrag.store.space import VectorSpace
from binrag.store.words import LEXICAL
from binrag.types import StoreInfo, StoreStats


def info_of(path: Path, reading: Reading, space: VectorSpace | None, tenant: str | None) -> StoreInfo:
    """Return settings, encoder and binarizer of a store."""
    head, record, probed = reading.head(), reading.get("encoder"), recorded_probe(reading.get(PROBE))
    settings, words = Settings.read(reading), reading.get(LEXICAL)
    return StoreInfo(
        path=str(path),
        format_version=FORMAT_VERSION,
        n_documents=reading.count(tenant),
        dim=space.vector_dim if space else settings.dim,
        similarity=space.vector_similarity if space else None,
        encoder=record["encoder_id"] if record else None,
        binarizer=space.binarizer.component_id if space else str(settings.binarizer),
        n_bits=space.binarizer.n_bits if space else None,
        code_bytes=space.binarizer.code_bytes if space else None,
        keep_vectors=str(settings.keep_vectors),
        n_truncated=head.n_truncated,
        generation=head.generation,
        probe=probed.verdict if probed else None,
        auto_fit=state_of(reading, space),
        late_interaction=settings.late_interaction.record() if settings.late_interaction else None,
        lexical=words["language"] if words else None,
    )


def stats_of(reading: Reading, space: VectorSpace | None, file_bytes: int, memory_bytes: int) -> StoreStats:
    """Return what a store costs."""
    n_rows, n_documents, sizes = reading.head().n_rows, reading.count(None), reading.sizes()
    return StoreStats(
        n_documents=n_documents,
        n_rows=n_rows,
        n_dead_rows=n_rows - n_documents,
        file_bytes=file_bytes,
        memory_bytes=memory_bytes,
        dead_bytes=(n_rows - n_documents) * (space.binarizer.code_bytes if space else 0),
        code_disk_bytes=sizes["codes"],
        vector_disk_bytes=sizes["vectors"],
        sample_disk_bytes=sizes["sample"],
        text_disk_bytes=sizes["texts"],
        column_disk_bytes=sizes["columns"],
        word_disk_bytes=sizes["words"],
    )
