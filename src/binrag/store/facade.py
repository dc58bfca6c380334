"""The calls of a store that search; `binrag.store.store` has the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

import numpy.typing as npt

from binrag.filters import Filter, parse
from binrag.store import searching
from binrag.store.batches import checked_ids
from binrag.store.handle import Handle
from binrag.store.searching import checked_asked
from binrag.types import Diversity, Fusion, Hit, Legs, Rerank, Tenant

Where: TypeAlias = Filter | Mapping[str, Any] | None
"""A filter, or the dict that `binrag.filters.parse` makes one of."""


class Searching:
    """What a store has of it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def search(
        self,
        query: str | npt.ArrayLike,
        k: int = 10,
        *,
        text: str | None = None,
        where: Where = None,
        ids: Iterable[str] | None = None,
        tenant: Tenant = None,
        legs: Legs = "dense",
        fusion: Fusion | None = None,
        n_candidates: int | None = None,
        diversity: Diversity | None = None,
        rerank: Rerank | Any = None,
        min_score: float | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """Find the documents most similar to a query.

        Parameters
        ----------
        query : str, float (dim,), or float (n_tokens, dim)
            A text, or its vector; in a store of token vectors, those of its tokens.
        k : int
            How many hits to return; fewer only if fewer documents match.
        text : str, optional
            Where the query is a vector: its text, for `legs` with words or a reranker.
        where : dict or Filter, optional
            What a document's metadata must be, such as ``{"year": {"$gte": 2020}}``; it is decided for all documents
            before any is compared with the query. See ``docs/filters.md``.
        ids : list of str, optional
            Only these documents may be hits; unknown ids are no error. With `where`, both must hold.
        tenant : str, ALL_TENANTS or None
            Whose documents to look at. By default those of the handle's tenant, else of the unnamed one.
        legs : "dense", "lexical" or "hybrid"
            What rows are found by: their vectors; their words (BM25, whose scores hits have then); or both. Words need
            a text as the query, and a store made with `lexical`, or `index_words`.
        fusion : IdfCoverage, ReciprocalRank or WeightedSum, optional
            How both legs are brought into one order. By default `IdfCoverage`: the score of a row is that of its
            vector, raised as far as it holds the query's words.
        n_candidates : int, optional
            How many rows the scan hands on to be scored by the float query; at least k. More find more
            of what float32 would find, and take longer.
        diversity : Mmr or Coverage, optional
            Choose the hits among more of them so that they are not all alike.
        rerank : Rerank, str, CrossEncoder, Reranker or callable, optional
            A model that reads the query and each of the best hits' texts together; its scores order them, and are the
            hits' scores then. Before `diversity`. See `Rerank`, whose default pool of 50 anything else gets.
        min_score : float, optional
            Hits of a lower score are left out: all above it, at most k.
        explain : bool
            Fill `Hit.legs`: the rank and the score of each hit by each leg.

        Returns
        -------
        list of Hit
            Best first; ties in the order the documents were added. With `Mmr`, in the order chosen.

        Raises
        ------
        UnsupportedMode
            Words are asked for, and the store has no index of them, or no document has a text.
        InvalidInput, InvalidFilter, InvalidVector, DimensionMismatch, EncoderMismatch, StoreClosed, CorruptStore
        """
        queries = cast(list[str], [query])
        return self.search_batch(
            queries,
            k,
            texts=None if text is None else [text],
            where=where,
            ids=ids,
            tenant=tenant,
            legs=legs,
            fusion=fusion,
            n_candidates=n_candidates,
            diversity=diversity,
            rerank=rerank,
            min_score=min_score,
            explain=explain,
        )[0]

    def search_batch(
        self,
        queries: Iterable[str] | Iterable[npt.ArrayLike],
        k: int = 10,
        *,
        texts: Iterable[str] | None = None,
        where: Where = None,
        ids: Iterable[str] | None = None,
        tenant: Tenant = None,
        legs: Legs = "dense",
        fusion: Fusion | None = None,
        n_candidates: int | None = None,
        diversity: Diversity | None = None,
        rerank: Rerank | Any = None,
        min_score: float | None = None,
        explain: bool = False,
    ) -> list[list[Hit]]:
        """Search for several queries in the same commit's state.

        Parameters
        ----------
        queries : list of str, float (n, dim), or list of float (n_tokens, dim)
            The queries.
        texts : list of str, optional
            Their texts, as `text` of `search`.
        k, where, ids, tenant, legs, fusion, n_candidates, diversity, rerank, min_score, explain
            As in `search`, for each query.

        Returns
        -------
        list of list of Hit
            One list a query, each as `search` returns it.
        """
        asked = checked_asked(
            k,
            legs=legs,
            fusion=fusion,
            n_candidates=n_candidates,
            diversity=diversity,
            rerank=rerank,
            min_score=min_score,
            explain=explain,
        )
        names = None if ids is None else checked_ids(ids)
        selection = searching.Selection(self._whose(ids, tenant), filter_of(where), names)
        return searching.search_batch(self._handle, queries, texts, asked, selection)

    def _whose(self, ids: object, tenant: Tenant) -> str | None:
        return self._handle.tenants(tenant) if ids is None else self._handle.one_tenant(tenant)


def filter_of(where: Where) -> Filter | None:
    """Return the filter that was given, if one was."""
    return None if where is None else parse(where)
