"""Late interaction by MaxSim: Σ over a query's tokens of the largest inner product with any token of a document.

A document without tokens scores −∞, the largest of nothing: it comes after every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from binrag.errors import InvalidInput
from binrag.types import Candidates, Float32, Float64, Int64, TokenCodes, TokenVectors

_LARGEST = 32767

Tables = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class TokenQuery:
    """A query's tokens, ready to be compared with codes of tokens.

    Attributes
    ----------
    tables : int16 (n_parts, n_bytes, 2, 16, 32)
        What each value of the low half of a byte, then of the high half, adds for each token, 32 of them a part.
    steps : float64 (n_parts,)
        The size of one unit of a part's tables.
    n_tokens : int
        Tokens of the query.
    """

    tables: Tables
    steps: Float64
    n_tokens: int

    @classmethod
    def of(cls, weights: Float32) -> TokenQuery:
        """Tabulate what the bits of a code weigh for each token.

        Parameters
        ----------
        weights : float32 (n_tokens, n_bits)
            Of a linear decoder, Wᵀ q of each token: `RowLevelsBinarizer.weights`.

        Raises
        ------
        InvalidInput
            If the query has no tokens.
        """
        from binrag.kernels.maxsim import QUERY_TOKENS

        n_tokens, n_bits = weights.shape
        if n_tokens == 0:
            raise InvalidInput("the query has no tokens that count; expected one token vector at least")
        n_parts, n_bytes = -(-n_tokens // QUERY_TOKENS), -(-n_bits // 64) * 8
        padded = np.zeros((n_parts * QUERY_TOKENS, 8 * n_bytes))
        padded[:n_tokens, :n_bits] = weights
        largest = np.abs(padded).sum(axis=1).reshape(n_parts, -1).max(axis=1)
        steps = np.where(largest > 0, largest / (_LARGEST - 2 * n_bytes), 1.0)
        signs = 2.0 * (np.arange(16)[:, None] >> np.arange(4) & 1) - 1
        entries = padded.reshape(n_parts, QUERY_TOKENS, n_bytes, 2, 4) @ signs.T
        entries = np.rint(entries / steps[:, None, None, None, None])
        return cls(np.ascontiguousarray(entries.transpose(0, 2, 3, 4, 1), dtype=np.int16), steps, n_tokens)


def group_tokens(token_vectors: Float32, threshold: float) -> Float32:
    """Replace tokens of a query that are alike by their sum, so that fewer are compared (ball carving, MUVERA).

    Of the tokens left, the first is taken with all whose inner product with it is the threshold at least.

    Parameters
    ----------
    token_vectors : float32 (n_tokens, dim)
        Of unit length.
    threshold : float
        In (0, 1]; from 0.7 the paper saw no loss.

    Returns
    -------
    float32 (n_groups, dim)
        Each group's sum, by first token. MaxSim with it is that with the tokens, as far as those of a group are most
        like the same token of a document.

    Raises
    ------
    InvalidInput
        If the threshold is out of its range.
    """
    if not 0 < threshold <= 1:
        raise InvalidInput(f"the threshold is {threshold!r}, expected above 0 and at most 1")
    left = np.arange(len(token_vectors))
    groups = []
    while len(left):
        is_near = token_vectors[left] @ token_vectors[left[0]] >= threshold
        is_near[0] = True
        groups.append(token_vectors[left[is_near]].sum(axis=0))
        left = left[~is_near]
    return np.array(groups, dtype=np.float32).reshape(-1, token_vectors.shape[1])


def rescore_tokens(tokens: TokenCodes, query: TokenQuery, rows: Int64) -> Candidates:
    """Score documents by the float query's tokens over the codes of theirs.

    Parameters
    ----------
    tokens : TokenCodes
        Codes of the rows' tokens.
    query : TokenQuery
        The query, with weights for as many bits.
    rows : int64 (n,)
        The rows.

    Returns
    -------
    Candidates
        All n rows, best first; the scores are estimates of MaxSim.

    Raises
    ------
    ValueError
        If codes have other bytes than the query is for.
    """
    from binrag.kernels.maxsim import QUERY_TOKENS, add_maxsim

    n_bytes = tokens.codes.shape[1]
    if query.tables.shape[1] != -(-n_bytes // 8) * 8:  # compiled code reads unchecked
        raise ValueError(f"codes of tokens have {n_bytes} bytes, the query is for {query.tables.shape[1]}")
    scores = np.zeros(len(tokens), dtype=np.float64)
    codes, factors = np.ascontiguousarray(tokens.codes), tokens.rescale.astype(np.float32)
    for part, (tables, step) in enumerate(zip(query.tables, query.steps.tolist(), strict=True)):
        n_tokens = min(QUERY_TOKENS, query.n_tokens - part * QUERY_TOKENS)
        add_maxsim(codes, factors, tokens.offsets, tables[:n_bytes], n_tokens, step, scores)
    return Candidates.ordered(rows, scores)


def rescore_token_vectors(tokens: TokenVectors, query: Float32, rows: Int64) -> Candidates:
    """Score documents by MaxSim of float token vectors.

    Parameters
    ----------
    tokens : TokenVectors
        Those of the rows.
    query : float32 (n_tokens, dim)
        Those of the query.
    rows : int64 (n,)
        The rows.

    Returns
    -------
    Candidates
        All n rows, best first.
    """
    products = tokens.vectors @ query.T
    largest = [products[a:b].max(axis=0, initial=-np.inf) for a, b in pairwise(tokens.offsets.tolist())]
    scores = np.array(largest, dtype=np.float64).reshape(len(tokens), len(query)).sum(axis=1)
    return Candidates.ordered(rows, scores)
