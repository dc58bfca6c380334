"""What a store's sample of vectors tells: whether few bits suit them, and what fitted codes would gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from binrag import pipeline
from binrag.errors import CorruptStore
from binrag.indexes import FlatIndex
from binrag.protocols import Binarizer
from binrag.storage import Reading
from binrag.store.settings import Settings
from binrag.store.space import VectorSpace
from binrag.types import Float32, TrainingGain

if TYPE_CHECKING:  # imported when something is measured
    from binrag.probe import Probe

PROBE = "probe"
"""The record of the last probe."""

_SIGNS = "sign"


@dataclass(frozen=True, slots=True)
class Sample:
    """The sampled vectors of one commit, and what is known about them; it can be looked at after the reading ended.

    Attributes
    ----------
    space : VectorSpace or None
        None before the first vector.
    vectors : float32 (n, dim)
        Up to 4,096, prepared.
    settings : Settings
    probed : Probe or None
        The last one that the file keeps, if the sample has not doubled since.
    """

    space: VectorSpace | None
    vectors: Float32
    settings: Settings
    probed: Probe | None

    @classmethod
    def read(cls, reading: Reading, space: VectorSpace | None) -> Sample:
        """Read the sample."""
        vectors = space.sample(reading) if space else np.zeros((0, 1), dtype=np.float32)
        record = reading.get(PROBE)
        probed = recorded_probe(record)
        if probed is not None and len(vectors) >= 2 * (probed.n_documents + probed.n_queries):
            probed = None
        return cls(space, vectors, Settings.read(reading), probed)

    @property
    def is_judged(self) -> bool:
        """Whether a probe has enough to judge by."""
        from binrag.probe import JUDGED_ROWS

        return len(self.vectors) >= JUDGED_ROWS * 8 / 7

    @property
    def seed(self) -> int:
        """What draws the queries, as the store's settings say."""
        return self.settings.seed or 0

    def probe(self) -> Probe:
        """Measure what few bits would do; `InvalidInput` for fewer than 48 vectors."""
        from binrag.probe import probe

        return probe(self.vectors, rescored=self.settings.keep_vectors != "none", seed=self.seed)

    def gain(self) -> TrainingGain | None:
        """Measure what fitted codes would gain; None where there are too few vectors or dimensions.

        Plain signs are among what the probe measured; other codes are made of the sample once.
        """
        from binrag.probe import BUDGETS, FITTED_DIM, fitted_bytes, split

        if self.space is None or self.space.dim < FITTED_DIM or not self.is_judged:
            return None
        probed, binarizer = self.probed or self.probe(), self.space.binarizer
        is_plain = binarizer.component_id == _SIGNS and binarizer.get_config()["mean"] is None
        recall = probed.sign.top if is_plain else recall_of(binarizer, *split(self.vectors, self.seed))
        tops = {fitted_bytes(probed.dim, bits): code.top for bits, code in zip(BUDGETS, probed.fitted, strict=True)}
        same = max((n for n in tops if n <= binarizer.code_bytes), default=None)
        kind, default = "additive", fitted_bytes(probed.dim, 2)
        if probed.least_bytes > default:
            kind, default, tops = probed.binarizer, probed.code_bytes, {**tops, probed.code_bytes: probed.levels.top}
        return TrainingGain(
            n_documents=probed.n_documents,
            n_queries=probed.n_queries,
            code_bytes=binarizer.code_bytes,
            recall=recall,
            same_bytes=same,
            recall_same_bytes=None if same is None else tops[same],
            default_bytes=default,
            recall_default=tops[default],
            command="train_binarizer()" if kind == "additive" else f"train_binarizer({kind!r}, code_bytes={default})",
        )


def recorded_probe(record: dict[str, Any] | None) -> Probe | None:
    """Return the probe that a file keeps, if it does.

    Raises
    ------
    CorruptStore
        If the record is none of a probe.
    """
    if not record:
        return None
    from binrag.probe import Probe

    try:
        return Probe.from_record(record)
    except (KeyError, TypeError) as error:
        raise CorruptStore(f"meta record {PROBE!r} cannot be understood: {error!r}") from error


class KnownGain:
    """The gain that a handle measured last; it holds until the codes change or the sample doubles."""

    def __init__(self) -> None:
        self._known: tuple[VectorSpace | None, int, TrainingGain | None] | None = None

    def of(self, sampled: Sample) -> TrainingGain | None:
        """Return the gain on a sample, measured if it has to be."""
        n = len(sampled.vectors)
        if self._known is None or self._known[0] is not sampled.space or n >= 2 * self._known[1]:
            self._known = sampled.space, n, sampled.gain()
        return self._known[2]


def recall_of(binarizer: Binarizer, rows: Float32, queries: Float32) -> float:
    """Return the share of float32's exact top 10 among rows that codes find alone, float32 (n, dim) both."""
    index = FlatIndex.from_codes(binarizer.transform(rows), binarizer.shape.by_tables)
    found = 0
    k = min(10, len(rows))
    for query in queries:
        exact = np.argpartition(-(rows @ query), k - 1)[:k]
        best = pipeline.retrieve(index, binarizer.query(query), pipeline.default_candidates(index, k)).top(k).rows
        found += len(np.intersect1d(exact, best))
    return found / (k * len(queries))
