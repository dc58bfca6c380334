"""The store's encoder: checked against the recorded one before its vectors count."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from binrag.binarizers.artefact import cosines
from binrag.encoders import resolve_encoder, resolve_late_encoder
from binrag.encoders.tokens import checked_tokens, resolve_token_encoder
from binrag.errors import DimensionMismatch, EncoderMismatch, InvalidInput, TruncatedTextWarning
from binrag.protocols import Encoder, MultiVectorEncoder
from binrag.storage import Writing
from binrag.store.batches import Batch
from binrag.store.space import VectorSpace, checked_vectors
from binrag.threads import Mutex
from binrag.types import Float32, Similarity, TokenVectors

if TYPE_CHECKING:  # few stores are of token vectors
    from binrag.encoders.late_interaction import LateInteraction

CANARIES = (
    "The quick brown fox jumps over the lazy dog.",
    "How do I read a file line by line?",
    "0123456789 !?",
)
"""Texts whose vectors identify an encoder."""

_MIN_COSINE = 0.999

Coded: TypeAlias = Callable[[Any, Sequence[str]], tuple[Float32, list[bytes]]]
"""Token vectors of some documents, as an encoder gives them, and their names, to one vector and one blob each."""


def canary_vectors(record: dict[str, Any]) -> Float32:
    """Return the recorded vectors of the canaries as documents: float32 (n, dim)."""
    return np.frombuffer(record["document"], dtype="<f4").reshape(-1, record["dim"])


def identity(record: dict[str, Any] | None) -> dict[str, Any]:
    """Return the id and the canaries of a recorded encoder, as artefacts are written and read with; empty for None."""
    return {"encoder_id": record["encoder_id"], "canaries": canary_vectors(record)} if record else {}


def checked_late_interaction(asked: Any, encoder: Any) -> LateInteraction | None:
    """Return how a store holds token vectors, as asked for or else, for a new store, as its encoder calls for.

    Raises
    ------
    InvalidInput
        If it is no `LateInteraction`.
    """
    if asked is None and resolve_token_encoder(encoder) is None:
        return None
    from binrag.encoders.late_interaction import LateInteraction

    if asked is None:
        return LateInteraction()
    if not isinstance(asked, LateInteraction):
        raise InvalidInput(f"late_interaction is a {type(asked).__name__}, expected a LateInteraction or None")
    return asked


def encoder_for(
    encoder: Any, late_interaction: LateInteraction | None, record: dict[str, Any] | None
) -> Encoder | MultiVectorEncoder | None:
    """Make of what the user gave an encoder for a store; of "recorded", what is on record.

    Raises
    ------
    InvalidInput, UnsupportedMode
        If it is none, or not for such a store.
    """
    if isinstance(encoder, str) and encoder == "recorded":
        encoder = record["encoder_id"] if record else None
    return resolve_encoder(encoder) if late_interaction is None else resolve_late_encoder(encoder)


def is_multi_vector(encoder: Encoder | MultiVectorEncoder | None) -> bool:
    """Whether an encoder gives token vectors."""
    return bool(getattr(encoder, "is_multi_vector", False))


def mean_vectors(tokens: TokenVectors) -> Float32:
    """Return the mean of each text's token vectors, float32 (n, dim); zeros for a text without any."""
    counts = np.diff(tokens.offsets)
    found = np.zeros((len(tokens), tokens.dim), dtype=np.float32)
    for i in np.flatnonzero(counts).tolist():
        found[i] = tokens[i].mean(axis=0, dtype=np.float64)
    return found


class CheckedEncoder:
    """An encoder, or the lack of one, and the checks that its vectors belong into the store.

    Parameters
    ----------
    encoder : Encoder or None
        The encoder.

    Attributes
    ----------
    is_checked : bool
        Whether the encoder was compared with a recorded one; it need not be again.
    """

    def __init__(self, encoder: Encoder | MultiVectorEncoder | None) -> None:
        self.encoder = encoder
        self._record: dict[str, Any] | None = None
        self.is_checked = False
        self._mutex = Mutex()

    def required(self, recorded: str | None) -> Encoder | MultiVectorEncoder:
        """Return the encoder; without one, say which the store was made with."""
        if self.encoder is None:
            made = f"its vectors are of {recorded!r}" if recorded else "its vectors were given, not encoded"
            raise EncoderMismatch(
                f"text was given, and the store was opened without an encoder ({made}); open it with encoder=…, or "
                "give vectors"
            )
        return self.encoder

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared: as the encoder says, else by the cosine."""
        return "cosine" if self.encoder is None else self.encoder.similarity

    def check(self, record: dict[str, Any] | None, space: VectorSpace | None) -> None:
        """Compare the encoder with the recorded one, at the first encoding by this handle.

        Raises
        ------
        EncoderMismatch
            Names both.
        """
        encoder = self.required(record["encoder_id"] if record else None)
        with self._mutex:
            if not self.is_checked:
                self._record = self._record or self._signature(encoder)
                self._compare(record, space)
                self.is_checked = record is not None

    def _signature(self, encoder: Encoder | MultiVectorEncoder) -> dict[str, Any]:
        texts = list(CANARIES)
        sides = {}
        for side, encode in (("document", encoder.encode_document), ("query", encoder.encode_query)):
            values: Any = encode(texts)
            if is_multi_vector(encoder):
                values = mean_vectors(checked_tokens(values, texts, encoder.similarity))
            sides[side] = checked_vectors(values, None, lambda i: f"the {side} vector of {texts[i]!r}")  # noqa: B023
        if sides["document"].shape != sides["query"].shape:
            raise EncoderMismatch(
                f"{encoder.encoder_id} encodes documents as {sides['document'].shape[1]} dimensions and queries as "
                f"{sides['query'].shape[1]}; expected the same"
            )
        return {
            "encoder_id": encoder.encoder_id,
            "similarity": encoder.similarity,
            "dim": sides["document"].shape[1],
            "document": sides["document"].astype("<f4").tobytes(),
            "query": sides["query"].astype("<f4").tobytes(),
        }

    def _compare(self, record: dict[str, Any] | None, space: VectorSpace | None) -> None:
        mine = self._record
        assert mine is not None
        if space is not None and (mine["dim"], mine["similarity"]) != (space.vector_dim, space.vector_similarity):
            made = f" of {record['encoder_id']!r}" if record else ""
            raise EncoderMismatch(
                f"the store's vectors{made} have {space.vector_dim} dimensions and are compared by "
                f"{space.vector_similarity}; the "
                f"encoder {mine['encoder_id']!r} gives {mine['dim']} dimensions for {mine['similarity']}"
            )
        if record is None:
            return
        for side in ("document", "query"):
            cosine = _least_cosine(record[side], mine[side], record["dim"], mine["dim"])
            if cosine <= _MIN_COSINE:
                raise EncoderMismatch(
                    f"the store's vectors are of {record['encoder_id']!r}; the encoder given, {mine['encoder_id']!r}, "
                    f"encodes a {side} otherwise (cosine {cosine:.4f}, expected more than {_MIN_COSINE}); open the "
                    "store with the encoder it was made with"
                )

    def known(self, record: dict[str, Any] | None, space: VectorSpace | None) -> dict[str, Any] | None:
        """Return the recorded encoder; where none is, that of this handle, checked to fit; None without an encoder.

        Raises
        ------
        EncoderMismatch
            If the handle's encoder has another dimension or similarity than the store's vectors.
        """
        if record is None and self.encoder is not None:
            self.check(None, space)
            return self._record
        return record

    def write(self, writing: Writing, space: VectorSpace | None) -> None:
        """Record the encoder with the first texts; another writer may have come first with another one."""
        if self._record is None:
            return
        record = writing.get("encoder")
        if record is None:
            writing.put("encoder", self._record)
        else:
            self._compare(record, space)

    def encode_documents(
        self, batch: Batch, dim: int | None, at_once: int, report: Callable[[int], None], coded: Coded | None = None
    ) -> Batch:
        """Encode a batch's texts, the longest first, and tell `report` how many after each call of the encoder.

        A call is of up to `at_once` texts of about one length, since a model pads those it reads at once to the
        longest of them. Length is counted in UTF-8 bytes, which tell of the number of tokens in any script.

        Raises
        ------
        InvalidVector, EncoderMismatch
            If the encoder returns anything but one finite vector a text, all of one dimension.
        """
        assert self.encoder is not None
        texts = [str(text) for text in batch.texts]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i].encode()), reverse=True)
        parts: list[Float32] = []
        tokens: list[bytes] = [b""] * len(texts)
        n_truncated = 0
        for first in range(0, len(order), at_once):
            rows = order[first : first + at_once]
            some = [texts[i] for i in rows]
            n_truncated += self.encoder.count_truncated(some)
            values: Any = self.encoder.encode_document(some)
            names = [batch.ids[i] for i in rows]
            if coded is None:
                parts.append(self._encoded(values, names, dim))
                dim = parts[0].shape[1]
            else:
                vectors, blobs = coded(values, names)
                parts.append(vectors)
                for i, blob in zip(rows, blobs, strict=True):
                    tokens[i] = blob
            report(len(rows))
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        return batch.encoded(vectors, n_truncated, None if coded is None else tokens)

    def encode_token_queries(self, texts: list[str], similarity: Similarity, dim: int | None) -> list[Float32]:
        """Encode queries as token vectors: float32 (n_tokens, dim) each."""
        from binrag.store.tokens import checked_query

        assert self.encoder is not None
        values: Any = self.encoder.encode_query(self._queries(texts))
        matrices, id_ = list(values), self.encoder.encoder_id
        if len(matrices) != len(texts):
            raise EncoderMismatch(f"{id_!r} gave token vectors of {len(matrices)} texts for {len(texts)}")
        try:
            return [checked_query(matrix, similarity, dim) for matrix in matrices]
        except DimensionMismatch as error:
            raise EncoderMismatch(f"{error}; they are of {id_!r}") from None

    def encode_queries(self, texts: list[str], dim: int | None) -> Float32:
        """Encode queries: float32 (n, dim)."""
        assert self.encoder is not None
        return self._encoded(self.encoder.encode_query(self._queries(texts)), texts, dim)

    def _queries(self, texts: list[str]) -> list[str]:
        for text in texts:
            if not text.strip():
                raise InvalidInput("the query is empty; expected text, or a vector")
        return texts

    def _encoded(self, values: Any, names: list[str], dim: int | None) -> Float32:
        assert self.encoder is not None
        id_ = self.encoder.encoder_id
        try:
            vectors = checked_vectors(
                values, dim, lambda i: f"the vector of {names[min(i, len(names) - 1)]!r} by {id_!r}"
            )
        except DimensionMismatch as error:
            raise EncoderMismatch(str(error)) from None
        if len(vectors) != len(names):
            raise EncoderMismatch(f"{id_!r} gave {len(vectors)} vectors for {len(names)} texts")
        return vectors


def _least_cosine(recorded: bytes, mine: bytes, recorded_dim: int, dim: int) -> float:
    if recorded_dim != dim:
        return 0.0
    a, b = (np.frombuffer(side, dtype="<f4").reshape(-1, dim).astype(np.float64) for side in (recorded, mine))
    return float(cosines(a, b).min())


def warn_of_truncated(n_truncated: int, n_texts: int) -> None:
    """Warn that texts were longer than the encoder reads."""
    if n_truncated:
        warnings.warn(
            f"{n_truncated:,} of {n_texts:,} texts are longer than the encoder reads; what comes after its limit "
            "cannot be found: split them into shorter documents",
            TruncatedTextWarning,
            stacklevel=5,
        )
