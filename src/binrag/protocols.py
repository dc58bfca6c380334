"""The seams of binrag. Read this first: a class that has these members fits, no base class needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy.typing as npt

from binrag.types import Candidates, Codes, CodeShape, Float32, Query, Similarity, UInt64


class Encoder(Protocol):
    """Text to vectors, with a side for queries and a side for documents.

    Attributes
    ----------
    encoder_id : str
        A name that says which model this is; recorded in the file and shown in errors.
    similarity : "cosine" or "dot"
        How the encoder's vectors are meant to be compared. For the cosine, binrag scales every vector to
        unit length.
    """

    @property
    def encoder_id(self) -> str:
        """The model's name."""
        ...

    @property
    def similarity(self) -> Similarity:
        """``"cosine"`` or ``"dot"``."""
        ...

    def encode_document(self, texts: list[str]) -> npt.ArrayLike:
        """Encode documents: float (n, dim)."""
        ...

    def encode_query(self, texts: list[str]) -> npt.ArrayLike:
        """Encode queries: float (n, dim)."""
        ...

    def count_truncated(self, texts: list[str]) -> int:
        """Return how many of the texts are longer than the encoder reads."""
        ...


class MultiVectorEncoder(Protocol):
    """Text to token vectors: one vector for each token that counts, compared by MaxSim (late interaction).

    The score of a document for a query is Σ over the query's tokens of the largest inner product with any of the
    document's. `binrag.encoders.tokens` has adapters.

    Attributes
    ----------
    encoder_id : str
        A name that says which model this is.
    similarity : "cosine" or "dot"
        How two token vectors are compared. For the cosine, binrag scales each to unit length.
    is_multi_vector : bool
        True; an `Encoder` lacks it.
    """

    @property
    def encoder_id(self) -> str:
        """The model's name."""
        ...

    @property
    def similarity(self) -> Similarity:
        """``"cosine"`` or ``"dot"``, of two token vectors."""
        ...

    @property
    def is_multi_vector(self) -> Literal[True]:
        """What tells it from an `Encoder`, whose methods have the same names."""
        ...

    def encode_document(self, texts: list[str]) -> Sequence[npt.ArrayLike]:
        """Encode documents: a matrix a text, float (n_tokens, dim), neither padding nor skipped tokens among them."""
        ...

    def encode_query(self, texts: list[str]) -> Sequence[npt.ArrayLike]:
        """Encode queries: a matrix a text, float (n_tokens, dim)."""
        ...

    def count_truncated(self, texts: list[str]) -> int:
        """Return how many of the texts are longer than the encoder reads."""
        ...


class Binarizer(Protocol):
    """Vectors to binary codes and queries to what codes are compared with.

    Two binarizers may share a ``component_id`` only if each decodes the other's bytes.

    Attributes
    ----------
    component_id : str
        Names the class in files; see `binrag.registry`.
    dim : int
        Dimension of the vectors.
    n_bits : int
        Bits of a code that are used.
    shape : CodeShape
        Words, further bytes and rescale factor of a code.
    """

    component_id: ClassVar[str]

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        ...

    @property
    def n_bits(self) -> int:
        """Bits of a code that are used."""
        ...

    @property
    def shape(self) -> CodeShape:
        """Words, further bytes and rescale factor of a code."""
        ...

    @property
    def code_bytes(self) -> int:
        """Bytes a row in memory, everything counted: those of `shape`."""
        ...

    def transform(self, vectors: Float32) -> Codes:
        """Code vectors, float32 (n, dim); a row's code does not depend on its neighbours."""
        ...

    def query(self, vector: Float32) -> Query:
        """Prepare a query vector, float32 (dim,)."""
        ...

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs, as msgpack types."""
        ...

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Binarizer:
        """Build the binarizer that returned this config."""
        ...


class Reranker(Protocol):
    """Scores a query and a document read together; `binrag.encoders.rerankers` has adapters."""

    def rerank(self, query: str, texts: Sequence[str]) -> npt.ArrayLike:
        """Score texts for a query: float (n,), higher is better."""
        ...


class Index(Protocol):
    """An immutable view of codes that finds candidates for a query."""

    n_rows: int

    def retrieve(self, query: Query, n_candidates: int, allowed: UInt64 | None = None) -> Candidates:
        """Return up to `n_candidates` live rows, best first.

        Parameters
        ----------
        query : Query
            What to look for.
        n_candidates : int
            How many rows to return at most.
        allowed : uint64 (ceil(n_rows / 64),), optional
            Bitmap of rows that may be returned; dead rows never are.
        """
        ...
