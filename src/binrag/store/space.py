"""The space a store's vectors live in, and the only door through which vectors enter it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from binrag.binarizers.sign import RotatedSignBinarizer, SignBinarizer
from binrag.errors import (
    BinarizerMismatch,
    CorruptStore,
    DimensionMismatch,
    FormatVersionError,
    InvalidVector,
)
from binrag.protocols import Binarizer
from binrag.registry import binarizer_from_record, record_of
from binrag.storage import Reading, Writing
from binrag.storage.vectors import decode_vectors, width_of
from binrag.types import Codes, Float32, KeepVectors, Query, Similarity

if TYPE_CHECKING:  # few stores are of token vectors
    from binrag.store.tokens import TokenSpace

BINARIZERS: dict[str, Callable[[int, int], Binarizer]] = {
    "auto": lambda dim, seed: SignBinarizer(dim),
    "sign": lambda dim, seed: SignBinarizer(dim),
    "rotated-sign": lambda dim, seed: RotatedSignBinarizer(dim, seed=seed),
}
"""What ``binarizer=`` names: dimension and seed to a training-free binarizer."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorSpace:
    """Dimension and similarity, fixed once the first vector is stored, and the binarizer of all codes.

    Attributes
    ----------
    dim : int
    similarity : "cosine" or "dot"
    binarizer : Binarizer
    generation : int
        That of the transaction that chose the binarizer: no other space committed to the file has it.
    tokens : TokenSpace or None
        Of a store of token vectors: what they are. Dimension, similarity and binarizer are those of the one vector a
        document that becomes of them.
    """

    dim: int
    similarity: Similarity
    binarizer: Binarizer
    generation: int = 0
    tokens: TokenSpace | None = None

    @classmethod
    def of_tokens(cls, tokens: TokenSpace, generation: int = 0) -> VectorSpace:
        """Return the space of a store of token vectors."""
        return cls(tokens.fde.dim, "dot", tokens.made_binarizer(), generation, tokens)

    @classmethod
    def from_records(cls, record: Any, binarizer: Binarizer, generation: int = 0) -> VectorSpace:
        """Return what the records of a file say.

        Raises
        ------
        CorruptStore
            If it is no space, or the binarizer is for another.
        """
        try:
            dim, similarity = record["dim"], record["similarity"]
            tokens = _tokens_of(record) if "late_interaction" in record else None
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptStore(f"meta record 'space' cannot be understood: {error}") from None
        fitting = cls(dim, similarity, binarizer, generation) if tokens is None else cls.of_tokens(tokens, generation)
        is_fitting = tokens is None or record_of(binarizer) == record_of(fitting.binarizer)
        if binarizer.dim != fitting.dim or not is_fitting or similarity not in get_args(Similarity):
            raise CorruptStore(f"meta record 'space' is {record}, and the binarizer is for {binarizer.dim} dimensions")
        return fitting

    @classmethod
    def read(cls, reading: Reading, known: VectorSpace | None = None) -> VectorSpace | None:
        """Return the recorded space, None before the first vector; `known` if that is still the one."""
        generation = reading.head().coded
        if known is not None and known.generation == generation:
            return known
        record = reading.get("space")
        if record is None:
            return None
        return cls.from_records(record, recorded_binarizer(reading.require("binarizer")), generation)

    @property
    def vector_dim(self) -> int:
        """Dimension of the vectors that encoder and caller give."""
        return self.tokens.dim if self.tokens else self.dim

    @property
    def vector_similarity(self) -> Similarity:
        """How the vectors that encoder and caller give are compared."""
        return self.tokens.similarity if self.tokens else self.similarity

    def write(self, writing: Writing) -> None:
        """Record the space as the one of all codes."""
        one_vector = {"dim": self.dim, "similarity": self.similarity}
        writing.put("space", one_vector if self.tokens is None else self.tokens.record())
        writing.put("binarizer", record_of(self.binarizer))
        writing.put_head(replace(writing.head(), coded=writing.generation))

    def coded(self, vectors: Float32) -> Codes:
        """Code prepared vectors.

        Raises
        ------
        BinarizerMismatch
            If the binarizer returns other shapes or types than it declares: what is written has to be read again.
        """
        codes, n = self.binarizer.transform(vectors), len(vectors)
        expected = Codes.zeros(n, self.binarizer.shape)
        for name in ("words", "rest", "rescale"):
            got, wanted = getattr(codes, name), getattr(expected, name)
            if _shape(got) != _shape(wanted):
                raise BinarizerMismatch(
                    f"the binarizer {self.binarizer.component_id!r} gave {name} of {_kind(got)} for {n} vectors, "
                    f"expected {_kind(wanted)}"
                )
        return codes

    def check_dim(self, vectors: Float32) -> None:
        """Raise `DimensionMismatch` if another writer has fixed another dimension meanwhile."""
        if vectors.shape[1] != self.dim:
            raise DimensionMismatch(
                f"the vectors have {vectors.shape[1]} dimensions, the store's vectors have {self.dim}; use the encoder "
                "that the store was made with, or make a new store"
            )

    def check_tokens(self, tokens: TokenSpace | None) -> None:
        """Raise `DimensionMismatch` if another writer has made the store one of other token vectors meanwhile."""
        if tokens is not None and self.tokens is not None and tokens.record() != self.tokens.record():
            raise DimensionMismatch(
                f"the token vectors have {tokens.dim} dimensions and are compared by {tokens.similarity}, those of the "
                f"store {self.tokens.dim} and {self.tokens.similarity}; use the encoder that the store was made with"
            )

    def prepared(self, vectors: Float32) -> Float32:
        """Scale checked vectors to unit length where the similarity is the cosine: float32 (n, dim)."""
        if self.similarity == "dot":
            return vectors
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, None]
        unit = np.empty_like(vectors)
        np.divide(vectors, norms, out=unit, casting="same_kind")  # divided as float64
        return unit

    def kept(self, blobs: list[bytes], keep: KeepVectors) -> Float32:
        """Return the vectors that are kept, float32 (n, dim); of tokens, the encodings that their codes stand for.

        Raises
        ------
        CorruptStore
            If a blob has no size that one has.
        """
        return decode_vectors(blobs, keep, self.dim) if self.tokens is None else self.tokens.vectors(blobs)

    def problem_of_kept(self, blob: bytes, keep: KeepVectors) -> str | None:
        """Say what is wrong with the size of what is kept of a document, if something is."""
        if self.tokens is not None:
            return self.tokens.problem_of(len(blob))
        if keep == "none" or len(blob) == (width := width_of(keep, self.dim)):
            return None
        return f"it has {len(blob)} bytes, expected {width}"

    def sample(self, reading: Reading) -> Float32:
        """Return the sampled vectors of live rows, up to 4,096 of them, as prepared: float32 (n, dim)."""
        return decode_vectors([blob for _, blob in reading.sample()], "float16", self.dim)

    def query(self, vector: Float32) -> Query:
        """Prepare a checked query vector, float32 (dim,).

        Raises
        ------
        BinarizerMismatch
            If the binarizer returns other shapes or types than it declares: compiled code reads them unchecked.
        """
        query, shape = self.binarizer.query(self.prepared(vector[None])[0]), self.binarizer.shape
        n_scanned = 8 * shape.n_words
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {"tables": (np.float32, (n_scanned + shape.n_rest, 256))}
        expected |= (
            {"costs": (np.uint8, (2, n_scanned, 16))} if shape.by_tables else {"words": (np.uint64, (shape.n_words,))}
        )
        expected |= {} if shape.n_rescale else {"factors": (np.float32, (256,))}
        for name, wanted in expected.items():
            if _shape(getattr(query, name)) != wanted:
                raise BinarizerMismatch(
                    f"the binarizer {self.binarizer.component_id!r} gave {name} of {_kind(getattr(query, name))} for a "
                    f"query, expected {np.dtype(wanted[0])} {wanted[1]}"
                )
        return query


def _tokens_of(record: Any) -> TokenSpace:
    from binrag.store.tokens import TokenSpace

    return TokenSpace.from_record(record)


def recorded_binarizer(record: dict[str, Any]) -> Binarizer:
    """Rebuild a store's binarizer.

    Raises
    ------
    FormatVersionError
        If another version of binrag wrote it.
    CorruptStore
        If it cannot be.
    """
    try:
        return binarizer_from_record(record)
    except FormatVersionError:
        raise
    except Exception as error:  # whatever a config that is none makes of the code that reads it
        shown = f"{type(error).__name__}: {error}"
        raise CorruptStore(
            f"meta record 'binarizer' cannot be understood ({shown}); restore the store from a backup"
        ) from error


def _shape(array: npt.NDArray[Any] | None) -> tuple[Any, ...] | None:
    return None if array is None else (array.dtype, array.shape)


def _kind(array: npt.NDArray[Any] | None) -> str:
    return "nothing" if array is None else f"{array.dtype} {array.shape}"


def checked_vectors(values: Any, dim: int | None, name: Callable[[int], str]) -> Float32:
    """Check vectors and make them float32.

    Parameters
    ----------
    values : array_like (n, dim)
        What the user or an encoder gave.
    dim : int or None
        The expected dimension, if one is.
    name : callable
        What to call row i in a message.

    Returns
    -------
    float32 (n, dim)
        `values` itself if it is that already.

    Raises
    ------
    InvalidVector
        Not numbers, not a matrix, NaN, infinity, or zero.
    DimensionMismatch
        Another dimension than expected.
    """
    try:
        given = np.asarray(values)
        if given.dtype == object or given.dtype.kind not in "fiu":
            raise InvalidVector(f"vectors have dtype {given.dtype}, expected floating-point numbers")
        with np.errstate(over="ignore"):
            vectors = given.astype(np.float32, copy=False)
    except InvalidVector:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidVector(
            f"vectors are not a matrix of numbers, all of one length: {error}; expected float (n, dim)"
        ) from error
    if vectors.ndim != 2:
        raise InvalidVector(f"vectors have shape {vectors.shape}, expected (n, dim)")
    if dim is not None and vectors.shape[1] != dim:
        raise DimensionMismatch(
            f"{name(0)} has {vectors.shape[1]} dimensions, the store's vectors have {dim}; use the encoder that the "
            "store was made with, or make a new store"
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        place = int(np.isfinite(vectors[row]).argmin())
        raise InvalidVector(f"{name(row)} has {vectors[row][place]} at dimension {place}, expected finite numbers")
    zero = ~vectors.any(axis=1)
    if zero.any():
        raise InvalidVector(f"{name(int(zero.argmax()))} is all zeros: it has no direction to compare")
    return vectors
