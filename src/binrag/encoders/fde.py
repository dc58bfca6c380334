"""Fixed dimensional encodings: the token vectors of a text as one vector (MUVERA, arXiv 2405.19504).

⟨F(query), F(document)⟩, over the number of repetitions, approximates MaxSim: Σ over the query's tokens of the largest
inner product with any token of the document. Vectors of documents and of queries are made differently, and are compared
by the inner product, never by the cosine: their lengths carry information.

One repetition: hyperplanes through the origin, normals drawn from N(0, 1), part the space into 2^k partitions. A query
has in each the sum of its tokens there, a document their average. A ±1 matrix over √m projects these blocks to m
dimensions, and they are put one after another. Repetitions have seeds of their own, so that the first ones are the same
however many there are, and hyperplanes and projections are independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.errors import DimensionMismatch, InvalidInput
from binrag.types import Float32, Float64, TokenVectors

MAX_DIM = 2**20
"""Dimensions of an encoding, before the final projection, at most."""

MAX_DRAWN = 2**24
"""Numbers that are drawn for hyperplanes, or for projections, and numbers of a text's blocks, at most."""

CHUNK = 2**21
"""Numbers that are held at once for the blocks of some documents, or for the signs of some tokens, about."""

_HYPERPLANES, _PROJECTIONS, _SKETCHES = range(3)


@dataclass(frozen=True, slots=True)
class FdeConfig:
    """How token vectors become one vector.

    The defaults are for codes of one bit a coordinate, 320 bytes. They are those that found most with the token vectors
    of a model that was trained for their mean, all rather alike (`docs/multi-vector.md`): there fewer hyperplanes are
    better. The less a text's tokens are alike, the more hyperplanes are: 4 or 5.

    Parameters
    ----------
    n_repetitions : int
        Independent encodings that are put one after another, 1 to 1,000.
    n_simhash_projections : int
        Hyperplanes k of a repetition, 0 to 10: 2^k partitions.
    projection_dim : int, optional
        Dimensions of a block; None, or as many as a token vector has or more, for no projection.
    fill_empty_partitions : bool
        Whether a document has, in a partition without one of its tokens, the token whose partition is nearest: whose
        signs differ in the fewest hyperplanes, the first of such. A query has zeros there in any case.
    final_projection_dim : int, optional
        Dimensions that the whole is sketched in, each coordinate added by a random sign to one of them, in turn; None
        for none. (A count sketch, but for the places: drawn at random, they would be taken by unequal numbers, and
        products would err more.)
    seed : int
        Draws everything, at least 0.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    n_repetitions: int = 40
    n_simhash_projections: int = 2
    projection_dim: int | None = 64
    fill_empty_partitions: bool = False
    final_projection_dim: int | None = 2560
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "n_repetitions": (1, 1000),
            "n_simhash_projections": (0, 10),
            "projection_dim": (1, MAX_DIM),
            "final_projection_dim": (1, MAX_DIM),
            "seed": (0, 2**63 - 1),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if value is None and name in ("projection_dim", "final_projection_dim"):
                continue
            if type(value) is not int or not least <= value <= most:
                raise InvalidInput(f"{name} is {value!r}, expected an integer, {least} to {most:,}")
        if type(self.fill_empty_partitions) is not bool:
            raise InvalidInput(f"fill_empty_partitions is {self.fill_empty_partitions!r}, expected True or False")


class Fde:
    """Token vectors to fixed dimensional encodings, the same in every process.

    Parameters
    ----------
    token_dim : int
        Dimension of the token vectors.
    config : FdeConfig
        How.

    Attributes
    ----------
    dim : int
        Dimension of the encodings: n_repetitions · 2^n_simhash_projections · projection_dim, or the final projection's.
    hyperplanes : float32 (n_repetitions, n_simhash_projections, token_dim)
        Their normals.
    projections : float32 (n_repetitions, token_dim, projection_dim) or None
        −1 and 1; None where blocks are not projected.

    Raises
    ------
    InvalidInput
        If token vectors have no dimension, encodings would have more than 1,048,576, or hyperplanes, projections or a
        text's partitions would be more than 2^24 numbers.
    """

    def __init__(self, token_dim: int, config: FdeConfig | None = None) -> None:
        config = config or FdeConfig()
        if token_dim < 1:
            raise InvalidInput(f"token vectors have {token_dim} dimensions, expected 1 at least")
        block_dim = min(config.projection_dim or token_dim, token_dim)
        self.config = config
        self.token_dim = token_dim
        self.n_partitions = 1 << config.n_simhash_projections
        self._n_block = self.n_partitions * block_dim
        full_dim = config.n_repetitions * self._n_block
        if full_dim > MAX_DIM:
            raise InvalidInput(
                f"{config.n_repetitions} repetitions of {self.n_partitions} blocks of {block_dim} dimensions are "
                f"{full_dim:,}, expected {MAX_DIM:,} at most; ask for fewer hyperplanes or a smaller projection_dim"
            )
        self.dim = config.final_projection_dim or full_dim
        n, k = config.n_repetitions, config.n_simhash_projections
        for what, size in (
            ("hyperplanes", n * k * token_dim),
            ("projections", n * token_dim * block_dim if block_dim < token_dim else 0),
            ("partitions", self.n_partitions * token_dim),
        ):
            if size > MAX_DRAWN:
                raise InvalidInput(
                    f"{what} for token vectors of {token_dim:,} dimensions are {size:,} numbers, expected "
                    f"{MAX_DRAWN:,} at most; ask for fewer repetitions or hyperplanes, or a smaller projection_dim"
                )
        normals = [_normal(self._draw(_HYPERPLANES, r), k * token_dim) for r in range(n)]
        self.hyperplanes = np.stack(normals).astype(np.float32).reshape(n, k, token_dim)
        self.projections: Float32 | None = None
        if block_dim < token_dim:
            signs = [_signs(self._draw(_PROJECTIONS, r), token_dim * block_dim) for r in range(n)]
            self.projections = np.stack(signs).reshape(n, token_dim, block_dim)
        self._final_signs: list[Float32] = []
        if config.final_projection_dim is not None:
            self._final_signs = [_signs(self._draw(_SKETCHES, r), self._n_block) for r in range(n)]

    def _draw(self, kind: int, repetition: int) -> np.random.PCG64:
        return np.random.PCG64(np.random.SeedSequence(self.config.seed, spawn_key=(kind, repetition)))

    def encode_document(self, tokens: TokenVectors) -> Float32:
        """Encode documents; an encoding does not depend on the other documents.

        Parameters
        ----------
        tokens : TokenVectors
            Theirs.

        Returns
        -------
        float32 (n, dim)
            A document without tokens is all zeros.

        Raises
        ------
        DimensionMismatch
            If token vectors have another dimension.
        """
        return self._encoded(tokens, is_document=True)

    def encode_query(self, token_vectors: Float32) -> Float32:
        """Encode a query's token vectors, float32 (n_tokens, token_dim): float32 (dim,).

        Raises
        ------
        DimensionMismatch
            If token vectors have another dimension.
        """
        offsets = np.array([0, len(token_vectors)])
        found: Float32 = self._encoded(TokenVectors(token_vectors, offsets), is_document=False)[0]
        return found

    def _encoded(self, tokens: TokenVectors, *, is_document: bool) -> Float32:
        if tokens.dim != self.token_dim:
            raise DimensionMismatch(
                f"token vectors have {tokens.dim} dimensions, this encoding is of vectors of {self.token_dim}"
            )
        found = np.zeros((len(tokens), self.dim), dtype=np.float32)
        for first, stop in self._chunks(tokens):
            self._encode_some(_between(tokens, first, stop), is_document, found[first:stop])
        return found

    def _chunks(self, tokens: TokenVectors) -> Iterator[tuple[int, int]]:
        """Yield ranges of texts, each of one or of a bounded number of blocks and of tokens."""
        most_texts = max(1, CHUNK // (self.n_partitions * self.token_dim))
        most_tokens = max(1, CHUNK // max(self.token_dim, self.config.n_repetitions))
        first = 0
        while first < len(tokens):
            full = int(np.searchsorted(tokens.offsets, tokens.offsets[first] + most_tokens, side="right")) - 1
            stop = max(first + 1, min(full, first + most_texts, len(tokens)))
            yield first, stop
            first = stop

    def _encode_some(self, tokens: TokenVectors, is_document: bool, found: Float32) -> None:
        """Fill in the encodings of a few texts."""
        from binrag.kernels.fde import add_sketch, fill_blocks
        from binrag.kernels.project import project

        partitions = self._partitions(tokens.vectors)
        blocks = np.empty((len(tokens), self.n_partitions, self.token_dim), dtype=np.float32)
        scratch = np.empty((2, self.n_partitions), dtype=np.int64)
        filled = is_document and self.config.fill_empty_partitions
        for r in range(self.config.n_repetitions):
            fill_blocks(tokens.vectors, tokens.offsets, partitions[r], is_document, filled, blocks, *scratch)
            values = blocks.reshape(-1, self.token_dim)
            if self.projections is not None:
                values = project(values, self.projections[r])
                values /= np.float32(np.sqrt(values.shape[1]))
            values = values.reshape(len(tokens), self._n_block)
            if self.config.final_projection_dim is None:
                found[:, r * self._n_block : (r + 1) * self._n_block] = values
            else:
                add_sketch(values, self._final_signs[r], r * self._n_block % self.dim, found)

    def _partitions(self, vectors: Float32) -> npt.NDArray[np.uint16]:
        """Return the partition of every token in every repetition, uint16 (n_repetitions, n_tokens)."""
        from binrag.kernels.project import project

        n, k = self.hyperplanes.shape[:2]
        if k == 0:
            return np.zeros((n, len(vectors)), dtype=np.uint16)
        normals = np.ascontiguousarray(self.hyperplanes.reshape(n * k, self.token_dim).T)
        found = np.empty((n, len(vectors)), dtype=np.uint16)
        size = max(1, CHUNK // (n * k))
        for first in range(0, len(vectors), size):
            bits = (project(vectors[first : first + size], normals) > 0).reshape(-1, n, k)
            found[:, first : first + size] = (bits @ (1 << np.arange(k))).T
        return found

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs, as msgpack types."""
        return {"token_dim": self.token_dim, **asdict(self.config)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Fde:
        """Rebuild from `get_config`."""
        return cls(config["token_dim"], FdeConfig(**{field.name: config[field.name] for field in fields(FdeConfig)}))


def _between(tokens: TokenVectors, first: int, stop: int) -> TokenVectors:
    start, end = tokens.offsets[first], tokens.offsets[stop]
    return TokenVectors(np.ascontiguousarray(tokens.vectors[start:end]), tokens.offsets[first : stop + 1] - start)


def _normal(draw: np.random.PCG64, n: int) -> Float64:
    """Draw from N(0, 1) by the method of Box and Muller, float64 (n,).

    NumPy promises that the raw numbers of a bit generator stay the same, and not those of `Generator.normal`.
    """
    uniform = ((draw.random_raw(2 * n).reshape(2, n) >> np.uint64(11)) + 0.5) / 2.0**53
    return np.asarray(np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1]))


def _signs(draw: np.random.PCG64, n: int) -> Float32:
    """Draw −1 or 1, float32 (n,)."""
    words = draw.random_raw(-(-n // 64)).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8), count=n, bitorder="little")
    return np.where(bits > 0, np.float32(1), np.float32(-1))
