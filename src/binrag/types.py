"""The value objects that pass between the rooms; frozen, and checked where they are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from binrag.errors import InvalidInput

Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Float16: TypeAlias = npt.NDArray[np.float16]
Int8: TypeAlias = npt.NDArray[np.int8]
Int64: TypeAlias = npt.NDArray[np.int64]
UInt8: TypeAlias = npt.NDArray[np.uint8]
UInt64: TypeAlias = npt.NDArray[np.uint64]

Metadata: TypeAlias = dict[str, Any]
Mode: TypeAlias = Literal["r", "rw", "c", "x"]
KeepVectors: TypeAlias = Literal["int8", "float16", "none"]
Durability: TypeAlias = Literal["commit", "os"]
Similarity: TypeAlias = Literal["cosine", "dot"]
Legs: TypeAlias = Literal["dense", "lexical", "hybrid"]
Progress: TypeAlias = bool | Callable[[int, int | None], None] | None


class AllTenants(Enum):
    """The type of `ALL_TENANTS`."""

    ALL_TENANTS = "all tenants"

    def __repr__(self) -> str:
        return "ALL_TENANTS"


ALL_TENANTS = AllTenants.ALL_TENANTS
"""What a call takes as `tenant` to look at the documents of all tenants, the unnamed one among them."""

Tenant: TypeAlias = str | AllTenants | None


@dataclass(frozen=True, slots=True)
class Diversity:
    """How hits are chosen among more of them: `Mmr` or `Coverage`.

    Hits are compared by their kept vectors; with ``keep_vectors="none"`` these are made from the codes, which takes
    longer than the search itself.

    Parameters
    ----------
    diversity : float
        In [0, 1]; 0 is the order of the scores.
    n_pool : int, optional
        How many of the best hits to choose from, at least k.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    FEWEST: ClassVar[int]
    PER_HIT: ClassVar[int]

    diversity: float = 0.5
    n_pool: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.diversity, (int, float)) or not 0 <= self.diversity <= 1:
            raise InvalidInput(f"diversity is {self.diversity!r}, expected a number from 0 to 1")
        n_pool = self.n_pool
        if n_pool is not None and (isinstance(n_pool, bool) or not isinstance(n_pool, int) or n_pool < 1):
            raise InvalidInput(f"n_pool is {n_pool!r}, expected an integer of at least 1")

    def pool_of(self, k: int) -> int:
        """Return how many of the best hits to choose k from."""
        return max(self.FEWEST, self.PER_HIT * k) if self.n_pool is None else max(self.n_pool, k)


@dataclass(frozen=True, slots=True)
class Mmr(Diversity):
    """Maximal marginal relevance: hits that are similar to the query, and not to each other.

    See `binrag.ranking.diversify.mmr` for the formula.

    Parameters
    ----------
    diversity : float
        In [0, 1], 1 − λ of the paper: 0 is the order of the scores; 1 looks, after the best hit, only at how little the
        others are like those chosen.
    n_pool : int, optional
        How many of the best hits to choose from, at least k; by default 4 k, and 20 at least.
    """

    FEWEST: ClassVar[int] = 20
    PER_HIT: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class Coverage(Diversity):
    """Hits that between them stand for all that is found, each as relevant as may be (facility location).

    See `binrag.ranking.diversify.coverage` for the formula. Of near-copies one is chosen.

    Parameters
    ----------
    diversity : float
        In [0, 1]: 0 is the order of the scores; 1 looks only at how well the others are stood for.
    n_pool : int, optional
        How many of the best hits are to be stood for, and chosen from, at least k; by default 10 k, and 100 at least.
    """

    FEWEST: ClassVar[int] = 100
    PER_HIT: ClassVar[int] = 10


@dataclass(frozen=True, slots=True)
class Rerank:
    """The best hits are scored again by a model that reads the query and each text together, and ordered by that.

    Parameters
    ----------
    reranker : str, path, CrossEncoder, Reranker or callable
        A model's name or folder; a loaded model; an object with ``rerank(query, texts)``, or a function of these two,
        that gives a score for each text.
    n_pool : int
        How many of the best hits it reads, at least k.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    reranker: Any
    n_pool: int = 50

    def __post_init__(self) -> None:
        if isinstance(self.n_pool, bool) or not isinstance(self.n_pool, int) or self.n_pool < 1:
            raise InvalidInput(f"n_pool is {self.n_pool!r}, expected an integer of at least 1")


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the rows of both legs are brought into one order: `IdfCoverage`, `ReciprocalRank` or `WeightedSum`."""


@dataclass(frozen=True, slots=True)
class IdfCoverage(Fusion):
    """The dense score, raised as far as a document holds the query's words: dense + weight · coverage ** exponent.

    See `binrag.ranking.fusion.by_coverage`. A score does not depend on what else was found.

    Parameters
    ----------
    weight : float, optional
        What all of the query's words add to a score, in its own unit; at least 0. By default 0.2 of a cosine, and
        where scores are inner products, by how much the first of the dense leg is ahead of the hundredth.
    exponent : float
        Above zero: the larger, the less a part of the words counts.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    weight: float | None = None
    exponent: float = 2.0

    def __post_init__(self) -> None:
        if self.weight is not None and not (_is_number(self.weight) and self.weight >= 0):
            raise InvalidInput(f"weight is {self.weight!r}, expected a number of at least 0, or None")
        if not (_is_number(self.exponent) and self.exponent > 0):
            raise InvalidInput(f"exponent is {self.exponent!r}, expected a number above 0")


@dataclass(frozen=True, slots=True)
class ReciprocalRank(Fusion):
    """Reciprocal ranks: Σ weight / (rank_constant + rank) over the legs that found a document.

    See `binrag.ranking.fusion.by_ranks`.

    Parameters
    ----------
    weights : (float, float)
        Of the dense and the lexical leg: at least 0, not both 0.
    rank_constant : float
        Above zero: the larger, the less the first places count for themselves.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    weights: tuple[float, float] = (1.0, 1.0)
    rank_constant: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _checked_weights(self.weights))
        if not (_is_number(self.rank_constant) and self.rank_constant > 0):
            raise InvalidInput(f"rank_constant is {self.rank_constant!r}, expected a number above 0")


@dataclass(frozen=True, slots=True)
class WeightedSum(Fusion):
    """The weighted sum of the legs' scores, each leg's brought to one scale by what it found for the query.

    See `binrag.ranking.fusion.by_scores`.

    Parameters
    ----------
    weights : (float, float)
        Of the dense and the lexical leg: at least 0, not both 0.
    scale : "min-max" or "z"
        From 0, the leg's lowest score, to 1, its highest; or by mean and standard deviation.

    Raises
    ------
    InvalidInput
        A number out of its range, or another scale.
    """

    weights: tuple[float, float] = (0.5, 0.5)
    scale: Literal["min-max", "z"] = "min-max"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _checked_weights(self.weights))
        if self.scale not in ("min-max", "z"):
            raise InvalidInput(f"scale is {self.scale!r}, expected 'min-max' or 'z'")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _checked_weights(weights: Any) -> tuple[float, float]:
    """Return the weights of the dense and the lexical leg.

    Raises
    ------
    InvalidInput
    """
    found = tuple(weights) if isinstance(weights, Iterable) else ()
    if len(found) != 2 or not all(_is_number(weight) and weight >= 0 for weight in found) or not any(found):
        raise InvalidInput(
            f"weights is {weights!r}, expected two numbers, of the dense and the lexical leg, at least 0 and not both 0"
        )
    return float(found[0]), float(found[1])


GROUP = 16
"""Rows whose scan words are interleaved."""

BLOCK = 4096
"""Rows of one block; a multiple of `GROUP` and of 64."""


@dataclass(frozen=True, slots=True)
class Document:
    """What the store holds under an id.

    Attributes
    ----------
    id : str
        The name of the document.
    text : str or None
        The text; ``None`` where only a vector was given.
    metadata : dict
        What was stored with it; empty if nothing was.
    tenant : str or None
        Whose document it is; None for the unnamed tenant.
    """

    id: str
    text: str | None
    metadata: Metadata = field(default_factory=dict)
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class LegScore:
    """What one leg of a search says of a document.

    Attributes
    ----------
    rank : int or None
        Its place among what the leg found, from 1; None where the leg did not find it.
    score : float or None
        Its score by the leg; None where that is not known.
    """

    rank: int | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search.

    Attributes
    ----------
    id : str
        The document's id.
    score : float
        Estimated similarity of query and document, higher is better: the cosine in [-1, 1], or the inner
        product where the encoder declares ``similarity="dot"``. By words, the BM25 score; by both legs, what the
        fusion makes of theirs; after a reranker, its score.
    text : str or None
        The document's text.
    metadata : dict
        The document's metadata.
    tenant : str or None
        Whose document it is; None for the unnamed tenant.
    relevance : float or None
        The score on a scale from 0, the least that a document could have for the query, to 1, the most; None where
        there is no least or most. ``docs/hybrid.md`` says what these are.
    legs : dict of LegScore, or None
        What each leg says of it, by ``"dense"`` and ``"lexical"``, where a search was asked to `explain`.
    """

    id: str
    score: float
    text: str | None
    metadata: Metadata = field(default_factory=dict)
    tenant: str | None = None
    relevance: float | None = field(default=None, compare=False)
    legs: dict[str, LegScore] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows that one leg retrieved, best first: score descending, row ascending.

    Attributes
    ----------
    rows : int64 (n,)
        Internal row numbers.
    scores : float64 (n,)
        Their scores, higher is better.
    """

    rows: Int64
    scores: Float64

    def top(self, k: int) -> Candidates:
        """Return the first `k`."""
        return Candidates(self.rows[:k], self.scores[:k])

    @classmethod
    def ordered(cls, rows: Int64, scores: Float64) -> Candidates:
        """Put rows in the total order: score descending, row ascending."""
        order = np.lexsort((rows, -scores))
        return cls(rows[order], scores[order])


@dataclass(frozen=True, slots=True)
class CodeShape:
    """What the code of a row consists of, and how it is scanned.

    Attributes
    ----------
    n_words : int
        Words that are scanned.
    n_rest : int
        Bytes beyond them.
    n_rescale : int
        2: there is a float16 rescale factor; 0: its place is the last byte of the words.
    by_tables : bool
        Whether words are scanned byte by byte, by tables; else by the Hamming distance.
    """

    n_words: int
    n_rest: int = 0
    n_rescale: int = 2
    by_tables: bool = False

    @property
    def code_bytes(self) -> int:
        """Bytes a row in memory, everything counted."""
        return sum(self.widths.values())

    @property
    def widths(self) -> dict[str, int]:
        """Bytes a row of each part that the code is stored in."""
        return {"codes": 8 * self.n_words, "rest": self.n_rest, "rescale": self.n_rescale}


@dataclass(frozen=True, slots=True)
class Codes:
    """Binary codes of some rows.

    Attributes
    ----------
    words : uint64 (n, n_words)
        What is scanned. Bit j of a row is bit ``j % 64`` of word ``j // 64``; bits past the last are zero.
    rest : uint8 (n, n_rest)
        Further bytes of a code, read for candidates only; may be 0 wide.
    rescale : float16 (n,) or None
        The factor that turns the sum over a code's bytes into an unbiased inner product. None: the last byte of the
        words is its place in `Query.factors`.
    """

    words: UInt64
    rest: UInt8
    rescale: Float16 | None

    @classmethod
    def zeros(cls, n: int, shape: CodeShape) -> Codes:
        """Return codes of `n` rows that are all zeros; what a dead row may have."""
        rescale = np.zeros(n, np.float16) if shape.n_rescale else None
        return cls(np.zeros((n, shape.n_words), np.uint64), np.zeros((n, shape.n_rest), np.uint8), rescale)

    @classmethod
    def joined(cls, parts: Sequence[Codes]) -> Codes:
        """Return the codes of several, one or more, one after another."""
        words, rest = (np.concatenate([getattr(part, name) for part in parts]) for name in ("words", "rest"))
        rescale = [part.rescale for part in parts if part.rescale is not None]
        return cls(words, rest, np.concatenate(rescale) if rescale else None)

    def __getitem__(self, rows: slice | Int64) -> Codes:
        """Return the codes of some of the rows."""
        return Codes(self.words[rows], self.rest[rows], None if self.rescale is None else self.rescale[rows])

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True, slots=True, eq=False)
class TokenVectors:
    """The token vectors of some texts, one text after another.

    Attributes
    ----------
    vectors : float32 (n_tokens, dim)
        A row a token.
    offsets : int64 (n + 1,)
        Those of text i are rows ``offsets[i]`` up to ``offsets[i + 1]``; a text may have none.
    """

    vectors: Float32
    offsets: Int64

    @classmethod
    def of(cls, matrices: Sequence[Float32], dim: int) -> TokenVectors:
        """Put one matrix a text, float32 (n_tokens, dim), one after another."""
        offsets = np.cumsum([0, *map(len, matrices)], dtype=np.int64)
        return cls(np.concatenate([np.zeros((0, dim), np.float32), *matrices], dtype=np.float32), offsets)

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self.vectors.shape[1])

    def take(self, rows: Int64) -> TokenVectors:
        """Return those of some texts, int64 (n,), one after another."""
        places, offsets = _taken(self.offsets, rows)
        return TokenVectors(self.vectors[places], offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> Float32:
        """Return those of text i, float32 (n_tokens, dim)."""
        return self.vectors[self.offsets[i] : self.offsets[i + 1]]


@dataclass(frozen=True, slots=True, eq=False)
class TokenCodes:
    """Binary codes of the token vectors of some texts, one text after another.

    Attributes
    ----------
    codes : uint8 (n_tokens, n_bytes)
        The bytes of a code: its words', little-endian, then the rest.
    rescale : float16 (n_tokens,)
        Rescale factors.
    offsets : int64 (n + 1,)
        Those of text i are rows ``offsets[i]`` up to ``offsets[i + 1]``; a text may have none.
    """

    codes: UInt8
    rescale: Float16
    offsets: Int64

    @classmethod
    def of(cls, codes: Codes, offsets: Int64) -> TokenCodes:
        """Lay out codes that have rescale factors, of the token vectors that offsets are of."""
        assert codes.rescale is not None
        n, n_words = codes.words.shape
        words = np.ascontiguousarray(codes.words, dtype="<u8").view(np.uint8).reshape(n, 8 * n_words)
        return cls(np.concatenate([words, codes.rest], axis=1), codes.rescale, offsets)

    def take(self, rows: Int64) -> TokenCodes:
        """Return those of some texts, int64 (n,), one after another."""
        places, offsets = _taken(self.offsets, rows)
        return TokenCodes(self.codes[places], self.rescale[places], offsets)

    @property
    def document_bytes(self) -> Int64:
        """Bytes of each text, rescale factors counted: int64 (n,)."""
        return np.asarray(np.diff(self.offsets) * (self.codes.shape[1] + self.rescale.itemsize), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.offsets) - 1


def _taken(offsets: Int64, rows: Int64) -> tuple[Int64, Int64]:
    """Return the places of some texts' tokens, one text after another, and their offsets there."""
    lengths = offsets[rows + 1] - offsets[rows]
    taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return np.arange(taken[-1]) + np.repeat(offsets[rows] - taken[:-1], lengths), taken


@dataclass(frozen=True, slots=True)
class Query:
    """A query, ready to be scanned for and rescored with.

    Attributes
    ----------
    vector : float32 (dim,)
        The query vector; unit length where the store's similarity is the cosine.
    words : uint64 (n_words,) or None
        What the Hamming scan compares words with; None where codes are scanned by tables.
    tables : float32 (8 n_words + n_rest, 256)
        What byte p of a code adds to ⟨q, x̂ − μ⟩ when its value is v. Bytes are those of the words, little-endian,
        then the rest. A linear decoder x̂ = W b + μ has ``tables[p, v] = Σ_j ±(Wᵀq)[8 p + j]``, plus where bit j of v
        is set.
    offset : float
        ``⟨q, μ⟩`` of the decoder, added to every score.
    costs : uint8 (2, 8 n_words, 16) or None
        What the scan by tables adds up: ``costs[0, p, v]`` where the low half of byte p is v, and ``costs[1, p, v]``
        for the high half. The two of a byte are 255 at most, those of a row 65,534.
    factors : float32 (256,), optional
        Rescale factors, where codes hold places in them.
    """

    vector: Float32
    words: UInt64 | None
    tables: Float32
    offset: float
    costs: UInt8 | None = None
    factors: Float32 | None = None


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store is: the settings recorded in the file.

    Attributes
    ----------
    path : str
        The file.
    format_version : int
        Version of the file format.
    n_documents : int
        Live documents.
    dim : int or None
        Dimension of the vectors; ``None`` until the first is added.
    similarity : str or None
        ``"cosine"`` or ``"dot"``.
    encoder : str or None
        Id of the encoder whose vectors the file holds; ``None`` if all vectors were given.
    binarizer : str
        Component id of the binarizer.
    n_bits : int or None
        Bits of a code.
    code_bytes : int or None
        Bytes a row in memory, everything counted.
    keep_vectors : str
        ``"int8"``, ``"float16"`` or ``"none"``: what is kept on disk for the last candidates.
    n_truncated : int
        Texts added so far that were longer than the encoder reads.
    generation : int
        Write transactions committed so far.
    probe : str or None
        The verdict of the last `Store.probe`: what few bits do to these vectors.
    auto_fit : str or None
        With ``binarizer="auto"``, when the store fits codes to its own vectors, what keeps it from that, or what it
        came to. None where there is nothing to fit: the codes are of another binarizer.
    late_interaction : dict or None
        How token vectors are held, in a store of these: the fields of `LateInteraction`. Its bits and bytes of a code
        are those of the one vector a document that is scanned; `StoreStats.document_bytes` has all.
    lexical : str or None
        ``"en"`` or ``"any"``: the rules by which words are indexed; None in a store without.
    """

    path: str
    format_version: int
    n_documents: int
    dim: int | None
    similarity: str | None
    encoder: str | None
    binarizer: str
    n_bits: int | None
    code_bytes: int | None
    keep_vectors: str
    n_truncated: int
    generation: int
    probe: str | None = None
    auto_fit: str | None = None
    late_interaction: dict[str, Any] | None = None
    lexical: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingGain:
    """What the codes of a store find now, and what codes fitted to its vectors would find.

    Measured on the store's sample of vectors, so a larger corpus keeps less. The fitted codes are those of the probe:
    levels on principal axes, each half of the sample coded along the other half's.

    Attributes
    ----------
    n_documents, n_queries : int
        Sampled vectors that were searched, and others that were the queries.
    code_bytes : int
        Bytes a row of the codes now, everything counted.
    recall : float
        Share of float32's exact top 10 that these find alone, no kept vector read.
    same_bytes : int or None
        Bytes a row of fitted codes that take no more; None if there are none so short.
    recall_same_bytes : float or None
        What these find.
    default_bytes : int
        Bytes a row that `command` gives.
    recall_default : float
        What codes of so many bytes find.
    command : str
        The call of the store that fits them.
    """

    n_documents: int
    n_queries: int
    code_bytes: int
    recall: float
    same_bytes: int | None
    recall_same_bytes: float | None
    default_bytes: int
    recall_default: float
    command: str

    def __str__(self) -> str:
        same = ""
        if self.same_bytes is not None and self.same_bytes != self.default_bytes:
            same = f"{self.recall_same_bytes:.2f} with {self.same_bytes} bytes a row, "
        return (
            f"of float32's top 10 the codes alone find {self.recall:.2f} with {self.code_bytes} bytes a row, fitted "
            f"ones {same}{self.recall_default:.2f} with {self.default_bytes}: {self.command} ({self.n_documents:,} "
            f"sampled documents, {self.n_queries} others as queries; a larger corpus keeps less)"
        )


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store costs: rows and bytes.

    Attributes
    ----------
    n_documents : int
        Live documents.
    n_rows : int
        Rows ever appended, dead ones included.
    n_dead_rows : int
        Rows whose document was deleted or replaced.
    file_bytes : int
        Size of the file, its write-ahead log included.
    memory_bytes : int
        Codes, rescale factors and liveness, as a search holds them in memory.
    dead_bytes : int
        Those of them that are codes and factors of dead rows, which `Store.compact` drops.
    code_disk_bytes : int
        Bytes of codes and rescale factors, as stored.
    vector_disk_bytes : int
        Bytes of kept vectors on disk; in a store of token vectors, of the codes of tokens.
    sample_disk_bytes : int
        Bytes of the sampled vectors, at most 4,096, that a probe looks at.
    text_disk_bytes : int
        Bytes of texts, metadata and ids on disk.
    column_disk_bytes : int
        Bytes on disk of metadata by key, which filters are evaluated on.
    word_disk_bytes : int
        Bytes on disk of the folded index of words.
    training_gain : TrainingGain or None
        What fitting codes would gain; None for fewer than 500 sampled documents or 64 dimensions.
    """

    n_documents: int
    n_rows: int
    n_dead_rows: int
    file_bytes: int
    memory_bytes: int
    dead_bytes: int
    code_disk_bytes: int
    vector_disk_bytes: int
    sample_disk_bytes: int
    text_disk_bytes: int
    column_disk_bytes: int
    word_disk_bytes: int = 0
    training_gain: TrainingGain | None = None

    @property
    def document_bytes(self) -> dict[str, float]:
        """Bytes on disk of a document, by part: ``codes``, ``vectors``, ``sample``, ``texts``, ``columns``, ``words``.

        Those of dead rows are shared out too, until the store is compacted.
        """
        parts = {
            "codes": self.code_disk_bytes,
            "vectors": self.vector_disk_bytes,
            "sample": self.sample_disk_bytes,
            "texts": self.text_disk_bytes,
            "columns": self.column_disk_bytes,
            "words": self.word_disk_bytes,
        }
        return {name: n_bytes / max(1, self.n_documents) for name, n_bytes in parts.items()}


@dataclass(frozen=True, slots=True)
class Training:
    """What fitting a binarizer to a store came to.

    Attributes
    ----------
    kind : str
        What was fitted.
    code_bytes : int
        Bytes a row in memory, everything counted.
    n_rows : int
        Vectors it was fitted to.
    n_queries : int
        Held-out queries it was judged by.
    recall_before, recall_after : float
        Share of float32's exact top 10 that the codes alone find among up to 20,000 of those rows, by the former
        binarizer and by this one.
    seconds : float
        Time of fitting and judging.
    """

    kind: str
    code_bytes: int
    n_rows: int
    n_queries: int
    recall_before: float
    recall_after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a store file that is not as it has to be.

    Attributes
    ----------
    kind : str
        ``"file"``: SQLite's own structure. ``"schema"``: a table, index, trigger or view that a store does not have,
        or lacks. ``"checksum"``: bytes that were changed. ``"record"``: sound bytes that are no valid record.
        ``"missing"``, ``"extra"``: what has to be there and is not, and the reverse. ``"count"``: a counter that is
        not what it counts. ``"code"``: codes that are not those of the kept vectors, or metadata that filters see and
        that are not those of the documents. In a repair also ``"lost"``: what the new store lacks.
    place : str
        Where.
    problem : str
        What is wrong there.
    """

    kind: str
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Compaction:
    """What compacting a store came to.

    Attributes
    ----------
    bytes_before, bytes_after : int
        Size of the file, its write-ahead log included.
    n_dropped : int
        Dead rows that are gone.
    was_held_back : bool
        Whether a reader still looked at what was there before, so that the file did not get shorter yet. It will when
        that reader is done: at a later checkpoint, or when the last handle closes.
    """

    bytes_before: int
    bytes_after: int
    n_dropped: int
    was_held_back: bool


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair came to.

    Attributes
    ----------
    n_saved : int
        Documents of the new store.
    n_lost : int
        Documents known to have been there that could not be saved. Where liveness is damaged too, and SQLite cannot
        read a page, those of that page are not counted.
    findings : tuple of Finding
        What is damaged, and what became of it.
    """

    n_saved: int
    n_lost: int
    findings: tuple[Finding, ...]
