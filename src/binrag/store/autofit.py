"""Codes that a store of ``binarizer="auto"`` fits to its own vectors, once it has enough of them.

It happens after a commit, and never at its expense: what goes wrong here leaves the store as it was, with a warning.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from binrag.errors import AutoFitWarning, BinragError, StoreClosed, StoreLocked
from binrag.storage import Database, Reading
from binrag.store.encoding import CheckedEncoder
from binrag.store.sampled import PROBE, Sample
from binrag.store.settings import Settings
from binrag.store.space import VectorSpace
from binrag.types import Progress, Training

if TYPE_CHECKING:  # what a fit takes is imported when one is due
    from binrag.probe import Probe

AUTO_FIT = "auto_fit"
"""The record of what a fit came to."""

N_HELD_OUT = 200
"""Vectors that fitted codes are judged by, at most."""

N_DOCUMENTS = 5000
"""Documents that make a store fit codes; more in more than 1,200 dimensions, which a fit needs more rows for."""

MAX_ROWS = 10_000
"""Vectors that are fitted to: more gain little in the seconds that this may take."""

MARGIN = 0.02
"""What fitted codes have to find more of float32's top 10 than signs, to be worth their bytes."""

_log = logging.getLogger("binrag")


def n_needed(dim: int) -> int:
    """Return how many documents a store of this dimension fits codes at."""
    return max(N_DOCUMENTS, 4 * dim + N_HELD_OUT)


def state_of(reading: Reading, space: VectorSpace | None) -> str | None:
    """Return in words when the store fits codes, what keeps it from that, or what it came to; None for other codes."""
    settings, record = Settings.read(reading), reading.get(AUTO_FIT)
    if record:
        return str(record["outcome"])
    if settings.binarizer != "auto" or not _is_plain(space):
        return None
    if obstacle := _obstacle(settings, space):
        return obstacle
    return f"due at {n_needed(space.dim if space else settings.dim or 1):,} documents"


def _is_plain(space: VectorSpace | None) -> bool:
    """Whether the codes are what "auto" begins with; those that come with binrag for an encoder are fitted already."""
    return space is None or space.binarizer.component_id == "sign"


def _obstacle(settings: Settings, space: VectorSpace | None) -> str | None:
    from binrag.binarizers.fitting import MIN_DIM

    dim = space.dim if space else settings.dim
    if not settings.fits_itself:
        return "off: auto_fit=False, or code_bytes that were asked for"
    if settings.keep_vectors == "none":
        return "off: no vectors are kept to fit to; train_binarizer('quick') encodes the texts again, or takes vectors"
    if dim is not None and dim < MIN_DIM:
        return f"off: below {MIN_DIM} dimensions codes stay signs"
    return None


def is_due(reading: Reading, space: VectorSpace | None) -> bool:
    """Whether the store has what a fit needs, and has not tried yet. Cheap where it is not due."""
    if space is None or not _is_plain(space) or reading.head().n_rows < n_needed(space.dim):
        return False
    settings = Settings.read(reading)
    if settings.binarizer != "auto" or _obstacle(settings, space) or reading.get(AUTO_FIT):
        return False
    return reading.count(None) >= n_needed(space.dim)


def fit(database: Database, encoder: CheckedEncoder, space: VectorSpace, progress: Progress) -> None:
    """Fit codes to a store for which that is due, recode it, and say so; it raises nothing but interrupts.

    Parameters
    ----------
    space : VectorSpace
        The store's, of the last commit.
    progress : bool or None
        Whether a bar is shown for recoding.
    """
    try:
        _fit(database, encoder, space, progress)
    except (StoreLocked, StoreClosed):
        pass  # another writer is at work: the next commit finds the fit still due
    except Exception as error:
        _give_up(database, space, error)


def _fit(database: Database, encoder: CheckedEncoder, space: VectorSpace, progress: Progress) -> None:
    from binrag.store.recoding import recode
    from binrag.store.training import TrainingJob, default_code_bytes

    with database.reading() as reading:
        if not is_due(reading, space):
            return
        sampled, n_documents = Sample.read(reading, space), reading.count(None)
    _log.warning(
        "%s has %s documents: fitting codes to their vectors takes some seconds, once (auto_fit=False leaves signs)",
        database.path,
        f"{n_documents:,}",
    )
    probed = sampled.probe()
    kind, code_bytes = "quick", default_code_bytes("quick", space.dim)
    if probed.least_bytes > code_bytes:
        kind, code_bytes = probed.binarizer, probed.code_bytes
    keep = sampled.settings.keep
    job = TrainingJob(database, encoder, space, keep, sampled.seed, None, force=True, max_rows=MAX_ROWS)
    binarizer, training = job.fit(kind, code_bytes)
    gains = training.recall_after >= training.recall_before + MARGIN
    outcome = _outcome(probed, training, n_documents, space.binarizer.code_bytes, gains)
    with database.writing() as writing:
        current = VectorSpace.read(writing, space)
        if not is_due(writing, current):  # another handle was faster
            return
        if gains:
            recode(database, encoder, current, binarizer, None, progress, name="auto")
        writing.put(PROBE, probed.record())
        writing.put(AUTO_FIT, {"n_documents": n_documents, "outcome": outcome})
    if probed.suits_few_bits:
        _log.warning("%s: %s", database.path, outcome)
    else:
        _warn(f"{database.path}: few bits don't suit the vectors: {probed.grounds}. So: {outcome}")


def _outcome(probed: Probe, training: Training, n_documents: int, sign_bytes: int, gains: bool) -> str:
    shares = (
        f"of float32's top 10 they find {training.recall_after:.2f} alone, signs of {sign_bytes} bytes "
        f"{training.recall_before:.2f}"
    )
    bits = "" if probed.suits_few_bits else " that few bits don't suit"
    made = f"{training.kind!r} codes of {training.code_bytes} bytes a row"
    if gains:
        return f"at {n_documents:,} documents{bits}: fitted {made} in {training.seconds:.0f} s; {shares}"
    return f"at {n_documents:,} documents{bits}: left signs, {made} would gain too little; {shares}"


def _give_up(database: Database, space: VectorSpace, error: Exception) -> None:
    """Say why the store stays on signs, and keep it from trying again at every commit."""
    outcome = f"failed, codes stay signs: {error}; train_binarizer() tries again"
    with suppress(BinragError), database.writing() as writing:
        if is_due(writing, VectorSpace.read(writing, space)):
            writing.put(AUTO_FIT, {"n_documents": writing.count(None), "outcome": outcome})
    _warn(f"{database.path}: the documents are stored, but fitting codes to their vectors {outcome}")


def _warn(message: str) -> None:
    try:
        warnings.warn(message, AutoFitWarning, stacklevel=7)
    except AutoFitWarning:  # the documents are committed: no filter makes their add fail
        _log.warning("%s", message)
