"""Searches of a LangChain vector store, each in two forms: at once, and awaited."""

from abc import ABC
from collections.abc import Callable
from typing import Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore

from binrag import InvalidInput, Mmr, Store, UnsupportedMode
from langchain_binrag.documents import document_of
from langchain_binrag.filters import FilterLike, conditions

Scored = list[tuple[Document, float]]

Vector: TypeAlias = list[float] | list[list[float]]
"""A query's vector; in a store of token vectors, those of its tokens."""


class SearchedVectorStore(VectorStore, ABC):
    """The searches of `BinragVectorStore`."""

    store: Store
    _embedding: Embeddings | None
    _tenant: str | None
    _similarity: str | None
    _is_checked: bool
    """Whether a text search has compared the embedding model with the recorded one."""

    def similarity_search(self, query: str, k: int = 4, filter: FilterLike = None, **kwargs: Any) -> list[Document]:
        """Return the `k` documents most similar to a text, best first.

        Parameters
        ----------
        query : str
            The text.
        k : int
            How many; fewer only if fewer match.
        filter : dict, binrag.Filter, Comparison, Operation or callable, optional
            What the documents must be: conditions on their metadata in the manner of MongoDB, such as
            ``{"year": {"$gte": 2020}}``; the same as a `binrag.Filter`, or in LangChain's structured form; or a
            function from a `Document` to a bool, for which every document is read. It is decided before any is
            compared with the query.
        **kwargs
            ``tenant``, as in `add_texts`, or ``binrag.ALL_TENANTS``; ``n_candidates`` of `binrag.Store.search`; and no
            other.

        Raises
        ------
        ValueError
            An empty query, `k` below 1, a filter without meaning, an argument that is not supported; no embedding, or
            another one than the store was made with.
        """
        return _documents(self._search(query, k, filter, kwargs))

    def similarity_search_with_score(
        self, query: str | Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search`, with scores: cosines, or inner products where the encoder declares these.

        Higher is better. The query may also be a vector. In a store of token vectors a score is the mean over the
        query's tokens of the largest with any of the document's.
        """
        return self._search(query, k, filter, kwargs)

    def similarity_search_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search`, for a vector of the store's dimension, or a list of token vectors."""
        return _documents(self._search(embedding, k, filter, kwargs))

    def similarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search_with_score`, for a vector of the store's dimension."""
        return self._search(embedding, k, filter, kwargs)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return `k` documents that are similar to a text and not to each other, in the order chosen.

        Parameters
        ----------
        query, k, filter, **kwargs
            As in `similarity_search`.
        fetch_k : int
            How many of the most similar documents to choose from; at least `k` are.
        lambda_mult : float
            Weight of the similarity to the query, in [0, 1]: at 1 that is all, at 0 only the first is chosen by it.

        Raises
        ------
        ValueError
            As `similarity_search`; `lambda_mult` outside [0, 1], `fetch_k` below 1.
        """
        return _documents(self._search(query, k, filter, kwargs, _mmr(k, fetch_k, lambda_mult)))

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Vector,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a vector of the store's dimension."""
        return _documents(self._search(embedding, k, filter, kwargs, _mmr(k, fetch_k, lambda_mult)))

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search`; the embedding's own ``aembed_query`` is awaited, if it has one."""
        return _documents(await self._asearch(query, k, filter, kwargs))

    async def asimilarity_search_with_score(
        self, query: str | Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search_with_score`."""
        return await self._asearch(query, k, filter, kwargs)

    async def asimilarity_search_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search_by_vector`."""
        return _documents(await self._asearch(embedding, k, filter, kwargs))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search_with_score_by_vector`."""
        return await self._asearch(embedding, k, filter, kwargs)

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        return _documents(await self._asearch(query, k, filter, kwargs, _mmr(k, fetch_k, lambda_mult)))

    async def _asimilarity_search_with_relevance_scores(self, query: str, k: int = 4, **kwargs: Any) -> Scored:
        relevance_of = await run_in_executor(None, self._select_relevance_score_fn)
        scored = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [(document, relevance_of(score)) for document, score in scored]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        self._similarity = self._similarity or self.store.info().similarity
        if self._similarity == "dot":
            raise UnsupportedMode("relevance is defined for cosines, not for inner products; use the plain scores")
        return lambda cosine: min(max((1 + cosine) / 2, 0.0), 1.0)

    def _search(
        self,
        query: str | Vector,
        k: int,
        filter: FilterLike,
        kwargs: dict[str, Any],
        diversity: Mmr | None = None,
    ) -> Scored:
        tenant, n_candidates = self._whose(kwargs.pop("tenant", None)), kwargs.pop("n_candidates", None)
        refuse("the search", kwargs)
        # what a commit has recorded is what this search checks the encoder against
        checks = isinstance(query, str) and not self._is_checked and self._awaits and self.store.info().encoder
        asked = conditions(self.store, filter, tenant)
        hits = self.store.search(query, k, tenant=tenant, n_candidates=n_candidates, diversity=diversity, **asked)
        self._is_checked = self._is_checked or bool(checks)
        return [(document_of(hit), hit.score) for hit in hits]

    async def _asearch(
        self,
        query: str | Vector,
        k: int,
        filter: FilterLike,
        kwargs: dict[str, Any],
        diversity: Mmr | None = None,
    ) -> Scored:
        """Search in a thread; a query that cannot go wrong without the store's own checks is encoded before."""
        if isinstance(query, str) and query.strip() and self._is_checked and self._embedding is not None:
            query = await self._embedding.aembed_query(query)
        return await run_in_executor(None, self._search, query, k, filter, kwargs, diversity)

    @property
    def _awaits(self) -> bool:
        """Whether the embedding model has an ``aembed_query`` of its own, which waits instead of computing."""
        own = getattr(type(self._embedding), "aembed_query", Embeddings.aembed_query)
        return own is not Embeddings.aembed_query

    def _whose(self, tenant: Any) -> Any:
        if self._tenant is None:
            return tenant
        if tenant not in (None, self._tenant):
            raise InvalidInput(f"tenant is {tenant!r}, and the vector store is for tenant {self._tenant!r} alone")
        return self._tenant


def _documents(scored: Scored) -> list[Document]:
    return [document for document, _ in scored]


def _mmr(k: int, fetch_k: int, lambda_mult: float) -> Mmr:
    if not 0 <= lambda_mult <= 1:
        raise InvalidInput(
            f"lambda_mult is {lambda_mult!r}, expected a number from 0 (most diverse) to 1 (most similar)"
        )
    if fetch_k < 1:
        raise InvalidInput(f"fetch_k is {fetch_k!r}, expected at least 1")
    return Mmr(1 - lambda_mult, max(k, fetch_k))


def refuse(name: str, kwargs: dict[str, Any]) -> None:
    """Raise `InvalidInput` if arguments are left over that `name` does not take."""
    if kwargs:
        hint = "; a condition is called filter here" if "where" in kwargs else ""
        raise InvalidInput(f"{name} got {', '.join(kwargs)}, which langchain-binrag does not have{hint}")
