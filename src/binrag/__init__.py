"""binrag: SQLite for retrieval. Text in, answers out, one file, no server.

>>> from binrag import Store
>>> with Store.open("kb.binrag", encoder="sentence-transformers/all-MiniLM-L6-v2") as store:  # doctest: +SKIP
...     store.add(["Paris is the capital of France."])
...     store.search("What is France's capital?", k=1)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from binrag.encoders import SentenceEncoder, SentenceTokenEncoder, TokenEncoder
from binrag.errors import (
    AutoFitWarning,
    BinarizerMismatch,
    BinragError,
    CorruptStore,
    DimensionMismatch,
    EncoderMismatch,
    FormatVersionError,
    InvalidFilter,
    InvalidInput,
    InvalidMetadata,
    InvalidVector,
    MissingDependency,
    NotAStore,
    ReadOnlyStore,
    StorageFailed,
    StorageFull,
    StoreClosed,
    StoreExists,
    StoreLocked,
    StoreNotFound,
    TrainingError,
    TruncatedTextWarning,
    UnsupportedMode,
    VectorsUnavailable,
)
from binrag.filters import (
    All,
    And,
    Any,
    Contains,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    IsEmpty,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    TextMatch,
)
from binrag.protocols import Encoder, MultiVectorEncoder, Reranker
from binrag.store import Store
from binrag.store.ledger import Ledger
from binrag.store.warming import warmup
from binrag.store.words import Lexical
from binrag.types import (
    ALL_TENANTS,
    Compaction,
    Coverage,
    Diversity,
    Document,
    Finding,
    Fusion,
    Hit,
    IdfCoverage,
    LegScore,
    Mmr,
    ReciprocalRank,
    Repair,
    Rerank,
    StoreInfo,
    StoreStats,
    Tenant,
    Training,
    TrainingGain,
    WeightedSum,
)

if TYPE_CHECKING:
    from binrag.encoders.fde import FdeConfig
    from binrag.encoders.late_interaction import LateInteraction
    from binrag.probe import Probe
    from binrag.readers.folders import read_folder
    from binrag.readers.splitting import Chunk, split
    from binrag.store.integrity import verify
    from binrag.store.repairing import repair

__version__ = "0.1.0"

__all__ = [
    "ALL_TENANTS",
    "All",
    "And",
    "Any",
    "AutoFitWarning",
    "BinarizerMismatch",
    "BinragError",
    "Chunk",
    "Compaction",
    "Contains",
    "CorruptStore",
    "Coverage",
    "DimensionMismatch",
    "Diversity",
    "Document",
    "Encoder",
    "EncoderMismatch",
    "Eq",
    "Exists",
    "FdeConfig",
    "Filter",
    "Finding",
    "FormatVersionError",
    "Fusion",
    "Ge",
    "Gt",
    "Hit",
    "IdfCoverage",
    "In",
    "InvalidFilter",
    "InvalidInput",
    "InvalidMetadata",
    "InvalidVector",
    "IsEmpty",
    "LateInteraction",
    "Le",
    "Ledger",
    "LegScore",
    "Lexical",
    "Lt",
    "MissingDependency",
    "Mmr",
    "MultiVectorEncoder",
    "Ne",
    "Not",
    "NotAStore",
    "NotIn",
    "Or",
    "Probe",
    "ReadOnlyStore",
    "ReciprocalRank",
    "Repair",
    "Rerank",
    "Reranker",
    "SentenceEncoder",
    "SentenceTokenEncoder",
    "StorageFailed",
    "StorageFull",
    "Store",
    "StoreClosed",
    "StoreExists",
    "StoreInfo",
    "StoreLocked",
    "StoreNotFound",
    "StoreStats",
    "Tenant",
    "TextMatch",
    "TokenEncoder",
    "Training",
    "TrainingError",
    "TrainingGain",
    "TruncatedTextWarning",
    "UnsupportedMode",
    "VectorsUnavailable",
    "WeightedSum",
    "read_folder",
    "repair",
    "split",
    "verify",
    "warmup",
]


_LATE = {
    "FdeConfig": "binrag.encoders.fde",
    "LateInteraction": "binrag.encoders.late_interaction",
    "Probe": "binrag.probe",
    "Chunk": "binrag.readers.splitting",
    "read_folder": "binrag.readers.folders",
    "repair": "binrag.store.repairing",
    "split": "binrag.readers.splitting",
    "verify": "binrag.store.integrity",
}
"""What few programs use is imported when they do."""


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
