"""The space of documents of many vectors: token vectors to the one vector that is scanned for, and to codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from binrag.binarizers.row_levels import RowLevelsBinarizer
from binrag.encoders.fde import Fde
from binrag.encoders.late_interaction import LateInteraction
from binrag.encoders.tokens import checked_tokens
from binrag.errors import CorruptStore, DimensionMismatch, EncoderMismatch, InvalidInput, InvalidVector
from binrag.ranking.late_interaction import TokenQuery, group_tokens, rescore_tokens
from binrag.types import Candidates, Codes, Float32, Int64, Similarity, TokenCodes, TokenVectors, UInt8

DOCUMENTS_AT_ONCE = 32
"""Documents whose token vectors are given that are encoded at once."""

TOKENS_AT_ONCE = 4096
"""Token vectors that are coded at once."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTokens:
    """A query's tokens.

    Attributes
    ----------
    fde : float32 (dim of the encoding,)
        What is scanned for.
    tokens : TokenQuery
        What candidates are ordered by.
    n_tokens : int
        How many there are.
    """

    fde: Float32
    tokens: TokenQuery
    n_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class TokenSpace:
    """What token vectors have to be, and what becomes of them.

    Attributes
    ----------
    dim : int
        Dimension of token vectors.
    similarity : "cosine" or "dot"
        How two of them are compared.
    config : LateInteraction
        As the store records it.
    fde : Fde
    binarizer : RowLevelsBinarizer
        Of tokens.
    """

    dim: int
    similarity: Similarity
    config: LateInteraction
    fde: Fde
    binarizer: RowLevelsBinarizer

    @classmethod
    def of(cls, dim: int, similarity: Similarity, config: LateInteraction) -> TokenSpace:
        """Make the space of token vectors of a dimension.

        Raises
        ------
        InvalidInput
            If encodings would have too many dimensions to be coded.
        """
        fde = Fde(dim, config.fde)
        if fde.dim > RowLevelsBinarizer.MAX_DIM:
            raise InvalidInput(
                f"encodings of these token vectors have {fde.dim:,} dimensions, a store codes "
                f"{RowLevelsBinarizer.MAX_DIM:,} at most: give FdeConfig a final_projection_dim"
            )
        return cls(
            dim, similarity, config, fde, RowLevelsBinarizer.rotated(dim, config.token_bits, seed=config.fde.seed)
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TokenSpace:
        """Return what `record` is of.

        Raises
        ------
        InvalidInput, KeyError, TypeError, ValueError
            If it is of none.
        """
        found = cls.of(record["dim"], record["similarity"], LateInteraction.from_record(record["late_interaction"]))
        binarizer = RowLevelsBinarizer.from_config(record["token_binarizer"])
        if (binarizer.dim, binarizer.n_planes) != (found.dim, found.config.token_bits):
            raise InvalidInput(f"codes of tokens are of {binarizer.n_planes} bits in {binarizer.dim} dimensions")
        return replace(found, binarizer=binarizer)

    def record(self) -> dict[str, Any]:
        """Return what `from_record` needs, as msgpack types: it makes an equal space, in any version of numpy."""
        config, binarizer = self.config.record(), self.binarizer.get_config()
        return {
            "dim": self.dim,
            "similarity": self.similarity,
            "late_interaction": config,
            "token_binarizer": binarizer,
        }

    def made_binarizer(self) -> RowLevelsBinarizer:
        """Make the binarizer of encodings."""
        return RowLevelsBinarizer(self.fde.dim, self.config.fde_bits)

    def encoded(self, tokens: TokenVectors, names: Sequence[str]) -> tuple[Float32, list[bytes]]:
        """Encode documents.

        Parameters
        ----------
        tokens : TokenVectors
            Checked.
        names : sequence of str
            What the documents are called in errors.

        Returns
        -------
        float32 (n, fde.dim)
        list of bytes
            The codes of their tokens.

        Raises
        ------
        InvalidVector
            If a document has no token.
        """
        is_empty = np.diff(tokens.offsets) == 0
        if is_empty.any():
            raise InvalidVector(
                f"{names[int(is_empty.argmax())]!r} has no token vectors that count, so no query can find it: leave "
                "it out, or give it other text"
            )
        encoded = self.fde.encode_document(tokens)
        if not encoded.any(axis=1).all():
            name = names[int((~encoded.any(axis=1)).argmax())]
            raise InvalidVector(f"the token vectors of {name!r} cancel each other out: there is nothing to find")
        rows = np.empty((len(tokens.vectors), self.binarizer.code_bytes), dtype=np.uint8)
        for first in range(0, len(rows), TOKENS_AT_ONCE):
            _put(rows[first:], self.binarizer.transform(tokens.vectors[first : first + TOKENS_AT_ONCE]))
        return encoded, [rows[first:stop].tobytes() for first, stop in pairwise(tokens.offsets.tolist())]

    def check_dim(self, token_vectors: Float32) -> None:
        """Raise `DimensionMismatch` if a query's token vectors, float32 (n_tokens, dim), have another dimension."""
        if token_vectors.shape[1] != self.dim:
            raise DimensionMismatch(
                f"the query's token vectors have {token_vectors.shape[1]} dimensions, the store's have {self.dim}; use "
                "the encoder that the store was made with"
            )

    def query(self, token_vectors: Float32) -> PreparedTokens:
        """Prepare a query's token vectors, float32 (n_tokens, dim), checked."""
        compared = token_vectors
        if self.config.group_tokens is not None:
            compared = group_tokens(token_vectors, self.config.group_tokens)
        tokens = TokenQuery.of(self.binarizer.weights(compared))
        return PreparedTokens(self.fde.encode_query(token_vectors), tokens, len(token_vectors))

    def unpacked(self, blobs: Sequence[bytes]) -> TokenCodes:
        """Return the codes that `encoded` gave.

        Raises
        ------
        CorruptStore
            If a blob has no size that one has.
        """
        width = self.binarizer.code_bytes
        sizes = np.fromiter(map(len, blobs), dtype=np.int64)
        for size in set(sizes.tolist()):
            if problem := self.problem_of(size):
                raise CorruptStore(f"the token codes of a document are damaged: {problem}")
        raw = np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(-1, width)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes // width)])
        return TokenCodes(raw[:, :-2], np.ascontiguousarray(raw[:, -2:]).view("<f2")[:, 0], offsets)

    def problem_of(self, n_bytes: int) -> str | None:
        """Say what is wrong with the size of a document's token codes, if something is."""
        width = self.binarizer.code_bytes
        if n_bytes and n_bytes % width == 0:
            return None
        return f"it has {n_bytes} bytes, expected {width} for each token"

    def rescored(self, blobs: Sequence[bytes], query: PreparedTokens, rows: Int64) -> Candidates:
        """Order rows by the mean over the query's tokens of the most that each is like one of theirs."""
        found = rescore_tokens(self.unpacked(blobs), query.tokens, rows)
        return Candidates(found.rows, found.scores / query.n_tokens)

    def directions(self, blobs: Sequence[bytes]) -> Float32:
        """Return `vectors` of unit length, whose inner products are on the scale of scores: float32 (n, fde.dim)."""
        found = self.vectors(blobs)
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.where(norms > 0, norms, 1), dtype=np.float32)

    def vectors(self, blobs: Sequence[bytes]) -> Float32:
        """Return the encodings that codes of tokens stand for, float32 (n, fde.dim), about those of the tokens."""
        codes = self.unpacked(blobs)
        vectors = self.binarizer.decode(codes.codes, codes.rescale)
        return self.fde.encode_document(TokenVectors(vectors, codes.offsets))


class TokenCoder:
    """Encodes the token vectors of the documents of one commit; the first of them say the dimension, if nothing does.

    Attributes
    ----------
    space : TokenSpace or None
        None before the first, where nothing is known of the dimension.
    """

    def __init__(
        self, config: LateInteraction, similarity: Similarity, dim: int | None, known: TokenSpace | None
    ) -> None:
        self._config = config
        self._similarity = similarity
        self.space = known or (TokenSpace.of(dim, similarity, config) if dim else None)

    def encoded(self, matrices: Sequence[Any], names: Sequence[str]) -> tuple[Float32, list[bytes]]:
        """Check the token vectors that an encoder gave, one matrix a document, and encode them.

        Raises
        ------
        EncoderMismatch, InvalidVector
        """
        try:
            return self._encoded(list(matrices), names)
        except DimensionMismatch as error:
            raise EncoderMismatch(str(error)) from None

    def given(self, matrices: Sequence[Any], names: Sequence[str], report: Callable[[int], None]) -> dict[str, Any]:
        """Check token vectors that a caller gave, one matrix a document, and encode them: fields of a `Batch`.

        Raises
        ------
        DimensionMismatch, InvalidVector
        """
        parts, tokens = [], []
        for first in range(0, len(matrices), DOCUMENTS_AT_ONCE):
            some = names[first : first + DOCUMENTS_AT_ONCE]
            vectors, blobs = self._encoded(list(matrices[first : first + DOCUMENTS_AT_ONCE]), some)
            parts.append(vectors)
            tokens += blobs
            report(len(some))
        return {"vectors": np.concatenate(parts), "tokens": tokens}

    def _encoded(self, matrices: list[Any], names: Sequence[str]) -> tuple[Float32, list[bytes]]:
        dim = self.space.dim if self.space else None
        tokens = checked_tokens(matrices, names, self._similarity, dim)
        if self.space is None:
            self.space = TokenSpace.of(tokens.dim, self._similarity, self._config)
        return self.space.encoded(tokens, names)


def _put(rows: UInt8, codes: Codes) -> None:
    """Write codes into the first rows, uint8 (≥ n, bytes of a code): words, rest, rescale factor."""
    of_tokens = TokenCodes.of(codes, np.zeros(1, np.int64))
    rows[: len(codes), :-2] = of_tokens.codes
    rows[: len(codes), -2:] = of_tokens.rescale.astype("<f2")[:, None].view(np.uint8)


def checked_query(values: Any, similarity: Similarity, dim: int | None) -> Float32:
    """Check a query's token vectors, as caller or encoder gave them: float32 (n_tokens, dim).

    Raises
    ------
    InvalidVector
        If it is no matrix of finite numbers, or has no token.
    DimensionMismatch
    """
    vectors = checked_tokens([values], ["the query"], similarity, dim)[0]
    if not len(vectors):
        raise InvalidVector("the query has no token vectors that count; expected one at least")
    return vectors
