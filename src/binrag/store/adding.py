"""The first half of `Store.add`: documents encoded into a spool, before the store is locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from binrag.store.batches import Batch, Spool
from binrag.store.encoding import CheckedEncoder
from binrag.store.space import VectorSpace, checked_vectors


@dataclass(frozen=True, slots=True)
class Encoding:
    """What vectors of new documents have to fit.

    Attributes
    ----------
    encoder : CheckedEncoder
        The handle's.
    record : dict or None
        The store's record of its encoder.
    space : VectorSpace or None
        None before the first vector.
    dim : int or None
        As the settings say, before the first vector.
    """

    encoder: CheckedEncoder
    record: dict[str, Any] | None
    space: VectorSpace | None
    dim: int | None

    def spooled(
        self, source: Iterator[Batch], limit: int | None, batch_size: int, report: Callable[[int], None]
    ) -> Spool | None:
        """Encode the documents of one commit, `batch_size` texts a call, into a spool; None when there are no more."""
        spool = Spool()
        try:
            dim = self.space.dim if self.space else self.dim
            for batch in source:
                if batch.vectors is None:
                    self.encoder.check(self.record, self.space)
                    batch = self.encoder.encode_documents(batch, dim, batch_size, report)
                else:
                    batch = batch.with_vectors(checked_vectors(batch.vectors, dim, batch.name_of_vector))
                    report(len(batch.ids))
                dim = batch.vectors.shape[1]
                spool.append(batch)
                if limit is not None and spool.n_documents >= limit:
                    break
            if self.space is None and spool.n_documents:
                spool.similarity = self.encoder.similarity  # may load a model, so not while the store is locked
        except BaseException:
            spool.close()
            raise
        if not spool.n_documents:
            spool.close()
            return None
        return spool
