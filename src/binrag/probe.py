"""What few bits would do to some vectors, measured on a sample before anything is coded.

No figure of the vectors alone tells whether a code keeps their ranking, so the probe codes the sample in several ways
and counts what comes back. The other figures (sign information, norm of the mean, effective dimension) say why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.errors import DimensionMismatch, InvalidInput, InvalidVector
from binrag.scalars import STEPS, allocated_bits
from binrag.types import Float32, Float64, Int64

MAX_ROWS, MAX_QUERIES = 4096, 256

MIN_ROWS = 48
"""The fewest rows that can be probed."""

JUDGED_ROWS = 500
"""From this many documents the probe advises; among fewer, any code looks good."""

FITTED_DIM = 64
"""From this many dimensions codes can be fitted."""

BUDGETS = (0.5, 1, 2, 4)
"""Bits a dimension that are tried with fitted codes."""

ENOUGH_RESCORED, ENOUGH_ALONE = 0.65, 0.85
"""Share of float's top 10 in a code's own top 10 that will do: where kept vectors rescore candidates, and where not.

Signs keep .70–.77 of what text encoders rank, at most .60 of static token vectors and .42 of random directions,
whatever the number of rows from 500 to 4,096. Four bits in Lloyd–Max levels, of which the scan looks at all, keep
.79–.90 of random directions, one-sided counts and static token vectors.
"""

ENOUGH_CANDIDATES = 0.95
"""Share in the scan's candidates that will do too: in dense clusters the top 10 is a matter of chance."""

MARGIN = 0.03
"""What a rotation has to bring in the top 10 to be advised."""

_K = 10
_MAX_AXES = 1024


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of float's top 10 a code brings back.

    Attributes
    ----------
    candidates : float
        Share among the best `Probe.n_candidates` of the scan.
    top : float
        Share in the top 10 by code and float query, no vector read.
    """

    candidates: float
    top: float


@dataclass(frozen=True, slots=True)
class Probe:
    """What the probe measured, and what it advises because of that.

    Attributes
    ----------
    dim, n_documents, n_queries, n_candidates : int
        Dimension, rows searched, queries asked, and rows taken from a scan: 1 in 40 of the documents, 10 to 100.
    held_out : bool
        Whether the queries were rows of the sample, as none were given.
    rescored : bool
        Whether kept vectors are to rescore the candidates.
    sign_information : float
        Mean binary entropy of the coordinates' signs, 0 to 1 bit; not centred.
    mean_norm : float
        Norm of the mean row, in mean norms of the rows: 1 if all point one way.
    effective_dim : float
        Participation ratio of the variances along the principal axes, (Σ λ)² / Σ λ², with the sample's own share
        taken out.
    sign, rotated : Overlap
        Of one bit a dimension, by Hamming distance, as the vectors are and after a random rotation.
    levels : Overlap
        Of 4-bit levels, centred and rotated, every row looked at.
    fitted : tuple of Overlap
        Of ½, 1, 2 and 4 bits a dimension dealt out along the principal axes of rows other than those coded; empty
        below 64 dimensions.
    """

    dim: int
    n_documents: int
    n_queries: int
    n_candidates: int
    held_out: bool
    rescored: bool
    sign_information: float
    mean_norm: float
    effective_dim: float
    sign: Overlap
    rotated: Overlap
    levels: Overlap
    fitted: tuple[Overlap, ...]

    @property
    def judged(self) -> bool:
        """Whether the sample was large enough for advice."""
        return self.n_documents >= JUDGED_ROWS

    @property
    def suits_few_bits(self) -> bool:
        """False if signs, rotated or not, lose too much of the ranking."""
        return not self.judged or any(
            code.top >= ENOUGH_RESCORED or code.candidates >= ENOUGH_CANDIDATES for code in (self.sign, self.rotated)
        )

    @property
    def bits(self) -> float:
        """Bits a dimension that will do: ½, 1, 2 or 4."""
        if not self.judged or not self.fitted:
            return 1
        tops = {bits: code.top for bits, code in zip(BUDGETS, self.fitted, strict=True)}
        signs = max(self.sign.top, self.rotated.top)
        tops[1] = max(tops[1], signs)
        tops[0.5] = tops[0.5] if tops[0.5] >= signs else 0.0  # half the bytes have to keep as much
        # where signs lose the ranking, their scan cannot be trusted to find what kept vectors would put right
        alone = not (self.rescored and self.suits_few_bits)
        least, enough = 0 if self.suits_few_bits else 2, ENOUGH_ALONE if alone else ENOUGH_RESCORED
        bits = next((bits for bits in BUDGETS if bits >= least and tops[bits] >= enough), BUDGETS[-1])
        return bits if alone else min(bits, 1)

    @property
    def binarizer(self) -> str:
        """The kind to use: ``"sign"``, ``"rotated-sign"``, ``"additive"`` or ``"lloyd-max"``."""
        signs = "rotated-sign" if self.rotated.top > self.sign.top + MARGIN else "sign"
        if not self.judged or not self.fitted:
            return signs
        if self.bits == BUDGETS[-1] and not self.suits_few_bits:
            return "lloyd-max"
        gains = self.fitted[1].top > max(self.sign.top, self.rotated.top)
        return "additive" if gains or self.bits != 1 else signs

    @property
    def rotate(self) -> bool:
        """Whether a random rotation is advised; fitted codes bring their own axes."""
        return self.binarizer == "rotated-sign"

    @property
    def code_bytes(self) -> int:
        """Bytes a row to spend, the rescale factor counted."""
        if self.binarizer == "lloyd-max":
            return math.ceil(self.bits * self.dim / 8) + 2
        if self.binarizer == "additive":
            return fitted_bytes(self.dim, self.bits)
        return 8 * -(-self.dim // 64) + 2

    @property
    def least_bytes(self) -> int:
        """Bytes a row, the rescale factor counted, below which a fit is refused: 0 if few bits suit the vectors."""
        return 0 if self.suits_few_bits else math.floor(self.bits * self.dim / 8)

    @property
    def grounds(self) -> str:
        """Why few bits don't suit the vectors, in words."""
        return "; ".join(self.reasons) or "neighbours differ by less than the error of a code"

    @property
    def reasons(self) -> list[str]:
        """What about the vectors makes few bits lose their ranking; empty if nothing does."""
        reasons = []
        if self.sign_information < 0.2:
            reasons.append(
                f"the signs of the coordinates say little ({self.sign_information:.2f} of 1 bit each): the values are "
                "one-sided"
            )
        if self.mean_norm > 0.7:
            reasons.append(f"the vectors point much the same way (their mean has length {self.mean_norm:.2f} of 1)")
        if self.effective_dim > 0.8 * self.dim:
            reasons.append(
                f"all directions are used alike ({self.effective_dim:.0f} effective dimensions of {self.dim}), and the "
                "nearest rows are barely nearer than others"
            )
        return reasons

    @property
    def verdict(self) -> str:
        """The advice and its grounds, in a few sentences."""
        advice = f"use {self.binarizer!r}, {self.code_bytes} bytes a row"
        if not self.judged:
            return f"{self.n_documents} rows are too few to judge by, {JUDGED_ROWS} are needed; {advice}"
        judgement = "few bits suit these vectors"
        if not self.suits_few_bits:
            judgement = f"few bits don't suit these vectors: {self.grounds}"
        codes = {"signs": self.sign, "signs after a rotation": self.rotated}
        codes |= {f"{bits:g} fitted bits a dimension": code for bits, code in zip(BUDGETS, self.fitted, strict=False)}
        codes |= {"4-bit levels": self.levels}
        queries = "queries that are rows held out" if self.held_out else "the given queries"
        return (
            f"{judgement}; {advice}. Of float's top 10, this share is in the code's: "
            + ", ".join(f"{name} {code.top:.2f}" for name, code in codes.items())
            + f" ({self.n_documents:,} rows, {self.n_queries} {queries}; a larger corpus keeps less)."
        )

    def record(self) -> dict[str, Any]:
        """Return what `from_record` rebuilds the probe from, as msgpack types."""
        return {**asdict(self), "fitted": [asdict(code) for code in self.fitted]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Probe:
        """Rebuild from `record`."""
        codes = {name: Overlap(**record[name]) for name in ("sign", "rotated", "levels")}
        return cls(**{**record, **codes, "fitted": tuple(Overlap(**code) for code in record["fitted"])})


def fitted_bytes(dim: int, bits: float) -> int:
    """Return the bytes of a fitted code of about some bits a dimension, those of its rescale factor among them."""
    return max(math.ceil(bits * dim / 8), 8 + 2, -(-dim // 16) + 2)


def probe(
    vectors: npt.NDArray[Any], *, queries: npt.NDArray[Any] | None = None, rescored: bool = True, seed: int = 0
) -> Probe:
    """Measure on a sample what codes would do to a ranking by inner product.

    Parameters
    ----------
    vectors : float (n, dim)
        A sample of the rows, in any float type, as they would be coded; of more than 4,096, as many are drawn.
    queries : float (n_queries, dim), optional
        Queries like those to come; of more than 256, as many are drawn. Without them an eighth of the rows, up to
        256, is held out to be the queries, which is optimistic.
    rescored : bool
        Whether candidates are rescored with kept vectors. If not, the code has to rank well alone, and the advice
        is for more bytes.
    seed : int
        Draws the rows and the rotation.

    Raises
    ------
    InvalidInput
        If there are fewer than 48 rows, or no query.
    InvalidVector
        If there is NaN or infinity, or an array has no two axes.
    DimensionMismatch
        If the queries have another dimension than the rows.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    documents, asked = _split(vectors, queries, draw)
    return Probe(
        dim=documents.shape[1],
        n_documents=len(documents),
        n_queries=len(asked),
        n_candidates=_n_candidates(len(documents)),
        held_out=queries is None,
        rescored=rescored,
        **_statistics(documents),
        **_overlaps(documents, asked, draw),
    )


def split(vectors: npt.NDArray[Any], seed: int = 0) -> tuple[Float32, Float32]:
    """Return the documents and the queries that `probe` makes of a sample: float32 (n, dim) and (n_queries, dim).

    Raises
    ------
    InvalidInput, InvalidVector
        As `probe` does.
    """
    return _split(vectors, None, np.random.Generator(np.random.PCG64(seed)))


def _split(
    vectors: npt.NDArray[Any], queries: npt.NDArray[Any] | None, draw: np.random.Generator
) -> tuple[Float32, Float32]:
    rows = _drawn(vectors, MAX_ROWS, draw, "vectors")
    if len(rows) < MIN_ROWS:
        raise InvalidInput(f"{len(rows)} rows are too few to probe, {MIN_ROWS} are needed; add rows first")
    n_held = min(MAX_QUERIES, len(rows) // 8) if queries is None else 0
    asked = rows[:n_held] if queries is None else _drawn(queries, MAX_QUERIES, draw, "queries")
    if len(asked) == 0:
        raise InvalidInput("there is no query; pass some, or leave queries out to hold rows out")
    if asked.shape[1] != rows.shape[1]:
        raise DimensionMismatch(f"the queries have {asked.shape[1]} dimensions, the vectors have {rows.shape[1]}")
    return rows[n_held:], asked


def _drawn(values: npt.NDArray[Any], most: int, draw: np.random.Generator, name: str) -> Float32:
    """Return up to `most` rows in random order, as float32, checked."""
    if np.ndim(values) != 2:
        raise InvalidVector(f"the {name} have shape {np.shape(values)}, expected (n, dim)")
    rows = np.asarray(values)[draw.permutation(len(values))[:most]].astype(np.float32)
    if not np.isfinite(rows).all():
        raise InvalidVector(f"the {name} hold NaN or infinity, expected finite numbers")
    return rows


def _n_candidates(n_documents: int) -> int:
    return min(max(n_documents // 40, _K), 100)


def _statistics(rows: Float32) -> dict[str, Any]:
    """Return sign information, norm of the mean and effective dimension of rows."""
    negative = (rows < 0).mean(axis=0)
    entropies = [-p * np.log2(np.where(p > 0, p, 1)) for p in (negative, 1 - negative)]
    mean = rows.mean(axis=0)
    centred = rows - mean
    variances = centred.T @ centred if len(rows) > rows.shape[1] else centred @ centred.T
    trace2, squares = float(np.trace(variances)) ** 2, float((variances.astype(np.float64) ** 2).sum())
    # of n rows, E Σ λ² is about Σ λ² + (Σ λ)² / n
    ratio = 1 / max(squares / trace2 - 1 / len(rows), 1 / rows.shape[1]) if trace2 > 0 else 0.0
    return {
        "sign_information": float(np.mean(entropies[0] + entropies[1])),
        "mean_norm": float(np.linalg.norm(mean) / max(np.linalg.norm(rows, axis=1).mean(), 1e-30)),
        "effective_dim": ratio,
    }


def _overlaps(documents: Float32, queries: Float32, draw: np.random.Generator) -> dict[str, Any]:
    """Return the overlap of each kind of code."""
    truth = _best(queries @ documents.T, _K)
    n_candidates = _n_candidates(len(documents))

    def overlap(estimates: Float32, distances: Float32 | None = None) -> Overlap:
        scanned = _best(estimates if distances is None else distances, n_candidates)
        return Overlap(_share(truth, scanned, len(documents)), _share(truth, _best(estimates, _K), len(documents)))

    flips = draw.choice(np.array([-1, 1], dtype=np.float32), (2, documents.shape[1]))
    turned, turned_queries = _rotated(documents, flips), _rotated(queries, flips)
    found: dict[str, Any] = {}
    for name, rows, asked in (("sign", documents, queries), ("rotated", turned, turned_queries)):
        signs = _signs(rows)
        found[name] = overlap(_estimates(asked, rows, signs), _signs(asked) @ signs.T)
    centred = turned - turned.mean(axis=0)  # what that takes from a query's products is the same for all rows
    levels = _levels(centred, np.sqrt((centred**2).mean(axis=1, keepdims=True)), np.array(4))
    found["levels"] = overlap(_estimates(turned_queries, centred, levels))
    found["fitted"] = ()
    if documents.shape[1] >= FITTED_DIM:
        found["fitted"] = tuple(overlap(estimates) for estimates in _fitted(documents, queries))
    return found


def _best(scores: Float32, k: int) -> Int64:
    """Return the columns of the `k` largest scores a row, in no order: int64 (n_queries, k)."""
    return np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]


def _share(truth: Int64, found: Int64, n: int) -> float:
    """Return the share of the true columns that were found."""
    seen = np.zeros((len(truth), n), dtype=np.bool_)
    np.put_along_axis(seen, found, True, axis=1)
    return float(np.take_along_axis(seen, truth, axis=1).mean())


def _signs(rows: Float32) -> Float32:
    return np.where(rows > 0, np.float32(1), np.float32(-1))


def _rotated(rows: Float32, flips: Float32) -> Float32:
    """Apply twice: sign flips and the orthonormal Hartley transform."""
    for flip in flips:
        waves = np.fft.fft(rows * flip, axis=1)
        rows = ((waves.real - waves.imag) / np.sqrt(rows.shape[1])).astype(np.float32)
    return rows


def _levels(rows: Float32, deviations: npt.NDArray[Any], bits: npt.NDArray[Any]) -> Float32:
    """Round to 2^bits uniform levels that suit normal values of these deviations."""
    steps, half = deviations * np.array(STEPS, dtype=np.float32)[bits - 1], 2.0 ** (bits - 1)
    cells = np.floor(np.divide(rows, steps, out=np.zeros_like(rows), where=steps > 0))
    return np.asarray((np.clip(cells, -half, half - 1) + 0.5) * steps, dtype=np.float32)


def _estimates(queries: Float32, rows: Float32, decoded: Float32) -> Float32:
    """Estimate ⟨q, y⟩ by f ⟨q, ŷ⟩, f = ‖y‖² / ⟨y, ŷ⟩: float32 (n_queries, n)."""
    products = (rows * decoded).sum(axis=1)
    factors = np.divide((rows**2).sum(axis=1), products, out=np.zeros_like(products), where=products > 0)
    return np.asarray((queries @ decoded.T) * factors, dtype=np.float32)


def _fitted(documents: Float32, queries: Float32) -> list[Float32]:
    """Estimate inner products by codes of each budget, each half of the rows coded along the other half's axes."""
    found = [np.empty((len(queries), len(documents)), dtype=np.float32) for _ in BUDGETS]
    for fit, code in pairwise((slice(0, None, 2), slice(1, None, 2), slice(0, None, 2))):
        mean = documents[fit].mean(axis=0)
        variances, axes = _principal_axes(documents[fit] - mean)
        rows, asked, offsets = (documents[code] - mean) @ axes, queries @ axes, queries @ mean
        for estimates, bits in zip(found, BUDGETS, strict=True):
            widths = allocated_bits(variances, 8 * (fitted_bytes(documents.shape[1], bits) - 2))
            used = widths > 0
            kept = rows[:, used]
            levels = _levels(kept, np.sqrt(variances[used]).astype(np.float32), widths[used])
            estimates[:, code] = _estimates(asked[:, used], kept, levels) + offsets[:, None]
    return found


def _principal_axes(centred: Float32) -> tuple[Float64, Float32]:
    """Return variances (m,) and axes (dim, m) of centred rows; of at most 1,024 rows where dim is larger than that."""
    dim = centred.shape[1]
    centred = centred[:_MAX_AXES] if dim > _MAX_AXES else centred
    if len(centred) >= dim:
        values, axes = np.linalg.eigh(centred.T @ centred)
    else:
        values, parts = np.linalg.eigh(centred @ centred.T)
        kept = values > 1e-5 * values[-1]
        values = values[kept]
        axes = centred.T @ (parts[:, kept] / np.sqrt(values))
    return np.maximum(values, 0).astype(np.float64) / len(centred), axes
