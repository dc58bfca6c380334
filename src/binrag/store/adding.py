"""`Store.add`: documents encoded into a spool before the store is locked, and written from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from binrag.errors import BinragError
from binrag.store import autofit, words, writer
from binrag.store.batches import Batch, Spool
from binrag.store.encoding import CheckedEncoder, warn_of_truncated
from binrag.store.handle import Handle
from binrag.store.settings import first_space
from binrag.store.space import VectorSpace, checked_vectors
from binrag.store.words import fold_if_due
from binrag.types import Progress

if TYPE_CHECKING:  # few stores are of token vectors
    from binrag.encoders.late_interaction import LateInteraction
    from binrag.store.tokens import TokenCoder


def add(
    handle: Handle,
    source: Iterator[Batch],
    tenant: str,
    per_commit: int | None,
    batch_size: int,
    report: Callable[[int], None],
    progress: Progress,
    beside: Callable[[], object] | None = None,
) -> list[str]:
    """Add batches, in one commit or in commits of so many documents; see `Store.add`.

    Each commit begins by calling `beside`, whose own changes become part of it.
    """
    added: list[str] = []
    while spool := _encoding(handle).spooled(source, per_commit, batch_size, report):
        with spool:
            some, is_due = _write(handle, spool, tenant, beside)
        added += some
        if is_due:
            fit_if_due(handle, progress)
        if per_commit is None:  # one spool held everything
            break
    return added


def _write(handle: Handle, spool: Spool, tenant: str, beside: Callable[[], object] | None) -> tuple[list[str], bool]:
    """Return the ids, and whether codes are to be fitted now."""
    added: list[str] = []
    n_truncated = 0
    is_due = False
    with handle.database.writing() as writing:
        if beside is not None:
            beside()
        space = handle.space_of(writing)
        if spool.is_encoded:
            handle.encoder.write(writing, space)
        for batch in spool:
            if space is None:
                space = first_space(writing, batch.vectors.shape[1], spool.similarity, spool.tokens)
            space.check_tokens(spool.tokens)
            space.check_dim(batch.vectors)
            writer.append(writing, tenant, space, handle.keep, batch)
            added += batch.ids
            n_truncated += batch.n_truncated
        with suppress(BinragError):  # damage is for whoever reads it to report
            is_due = autofit.is_due(writing, space) or words.is_due(writing)
    warn_of_truncated(n_truncated, len(added))
    return added, is_due


def fit_if_due(handle: Handle, progress: Progress) -> None:
    """Fit codes and fold words if a commit of this thread made that due; the commit stands, whatever comes of it."""
    if handle.database.in_transaction:
        return
    with suppress(BinragError):  # the next commit finds it still due
        fold_if_due(handle.database, handle.words)
    with suppress(BinragError):  # damage is for whoever reads it to report
        with handle.database.reading() as reading:
            space = handle.space_of(reading)
            due = autofit.is_due(reading, space)
        if due and space is not None:
            with handle.fitting:
                autofit.fit(handle.database, handle.encoder, space, False if callable(progress) else progress)


def _encoding(handle: Handle) -> Encoding:
    with handle.database.reading(own_writes=True) as reading:
        settings, space = handle.settings, handle.space_of(reading)
        return Encoding(handle.encoder, reading.get("encoder"), space, settings.dim, settings.late_interaction)


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
    late_interaction : LateInteraction or None
        Of a store of token vectors, how it holds them.
    """

    encoder: CheckedEncoder
    record: dict[str, Any] | None
    space: VectorSpace | None
    dim: int | None
    late_interaction: LateInteraction | None

    def spooled(
        self, source: Iterator[Batch], limit: int | None, batch_size: int, report: Callable[[int], None]
    ) -> Spool | None:
        """Encode the documents of one commit, `batch_size` texts a call, into a spool; None when there are no more."""
        spool = Spool()
        coder = self._coder()
        coded = coder.encoded if coder is not None else None
        try:
            dim = self.space.dim if self.space else self.dim
            for batch in source:
                if batch.vectors is None:
                    self.encoder.check(self.record, self.space)
                    batch = self.encoder.encode_documents(batch, dim, batch_size, report, coded)
                elif coder is not None:
                    batch = replace(batch, **coder.given(batch.vectors, batch.ids, report), is_held=False)
                else:
                    batch = batch.with_vectors(checked_vectors(batch.vectors, dim, batch.name_of_vector))
                    report(len(batch.ids))
                dim = batch.vectors.shape[1]
                spool.append(batch)
                if limit is not None and spool.n_documents >= limit:
                    break
            spool.tokens = coder.space if coder is not None else None
            if self.space is None and spool.n_documents:
                spool.similarity = self.encoder.similarity  # may load a model, so not while the store is locked
        except BaseException:
            spool.close()
            raise
        if not spool.n_documents:
            spool.close()
            return None
        return spool

    def _coder(self) -> TokenCoder | None:
        if self.late_interaction is None:
            return None
        from binrag.store.tokens import TokenCoder

        known = self.space.tokens if self.space else None
        similarity = known.similarity if known else self.encoder.similarity
        return TokenCoder(self.late_interaction, similarity, self.dim, known)
