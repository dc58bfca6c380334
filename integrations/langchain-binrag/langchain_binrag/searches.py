"""Searches of a LangChain vector store, each in two forms: at once, and awaited."""

from abc import ABC
from collections.abc import Callable
from typing import Any, TypeAlias

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore

from binrag import Fusion, Hit, InvalidInput, Mmr, Store, UnsupportedMode
from langchain_binrag.asking import Legs, Scored, documents_of, mmr_of, options_of, reads_text, relevant, scored
from langchain_binrag.filters import FilterLike, conditions

Vector: TypeAlias = list[float] | list[list[float]]
"""A query's vector; in a store of token vectors, those of its tokens."""


class SearchedVectorStore(VectorStore, ABC):
    """The searches of `BinragVectorStore`."""

    store: Store
    _embedding: Embeddings | None
    _tenant: str | None
    _legs: Legs
    _fusion: Fusion | None
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
            ``tenant``, as in `add_texts`, or ``binrag.ALL_TENANTS``; ``legs`` and ``fusion``, by default the vector
            store's; ``rerank``, ``min_score``, ``n_candidates`` and ``text``, all as in `binrag.Store.search`; and no
            other. With ``legs="lexical"`` the embedding is not called.

        Raises
        ------
        ValueError
            An empty query, `k` below 1, a filter without meaning, an argument that is not supported; no embedding, or
            another one than the store was made with.
        UnsupportedMode
            Words are looked for in a store that has no index of them: see ``lexical`` of `BinragVectorStore`.
        """
        return documents_of(self._search(query, k, filter, kwargs))

    def similarity_search_with_score(
        self, query: str | Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search`, with scores: cosines, or inner products where the encoder declares these.

        Higher is better. The query may also be a vector. In a store of token vectors a score is the mean over the
        query's tokens of the largest with any of the document's. By words, by both legs and after a reranker scores
        are those of `binrag.Hit`.
        """
        return scored(self._search(query, k, filter, kwargs))

    def similarity_search_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search`, for a vector of the store's dimension, or a list of token vectors.

        Words and rerankers read a text: without the query's as ``text=…`` they are refused.
        """
        return documents_of(self._search(embedding, k, filter, kwargs))

    def similarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search_with_score`, for a vector of the store's dimension."""
        return scored(self._search(embedding, k, filter, kwargs))

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
        return documents_of(self._search(query, k, filter, kwargs, mmr_of(k, fetch_k, lambda_mult)))

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
        return documents_of(self._search(embedding, k, filter, kwargs, mmr_of(k, fetch_k, lambda_mult)))

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search`; the embedding's own ``aembed_query`` is awaited, if it has one."""
        return documents_of(await self._asearch(query, k, filter, kwargs))

    async def asimilarity_search_with_score(
        self, query: str | Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search_with_score`."""
        return scored(await self._asearch(query, k, filter, kwargs))

    async def asimilarity_search_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search_by_vector`."""
        return documents_of(await self._asearch(embedding, k, filter, kwargs))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        """As `similarity_search_with_score_by_vector`."""
        return scored(await self._asearch(embedding, k, filter, kwargs))

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
        return documents_of(await self._asearch(query, k, filter, kwargs, mmr_of(k, fetch_k, lambda_mult)))

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        asked = self._asked(query, k, kwargs)
        return relevant(self._found(query, filter, asked), asked)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: FilterLike = None, **kwargs: Any
    ) -> Scored:
        asked = self._asked(query, k, kwargs)
        return relevant(await self._afound(query, filter, asked), asked)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._legs != "dense":
            raise UnsupportedMode(
                f"relevance is a function of the score alone for cosines only, and legs is {self._legs!r}; "
                "similarity_search_with_relevance_scores has it for every hit"
            )
        if self.store.info().similarity == "dot":
            raise UnsupportedMode("relevance is defined for cosines, not for inner products; use the plain scores")
        return lambda cosine: min(max((1 + cosine) / 2, 0.0), 1.0)

    def _search(
        self, query: str | Vector, k: int, filter: FilterLike, kwargs: dict[str, Any], diversity: Mmr | None = None
    ) -> list[Hit]:
        return self._found(query, filter, self._asked(query, k, kwargs, diversity))

    async def _asearch(
        self, query: str | Vector, k: int, filter: FilterLike, kwargs: dict[str, Any], diversity: Mmr | None = None
    ) -> list[Hit]:
        return await self._afound(query, filter, self._asked(query, k, kwargs, diversity))

    def _asked(
        self, query: str | Vector, k: int, kwargs: dict[str, Any], diversity: Mmr | None = None
    ) -> dict[str, Any]:
        """Return the arguments of `Store.search` but the query and what the hits must be."""
        tenant = self._whose(kwargs.pop("tenant", None))
        options = options_of(query, kwargs, self._legs, self._fusion)
        return {"k": k, "tenant": tenant, "diversity": diversity, **options}

    def _found(self, query: str | Vector, filter: FilterLike, asked: dict[str, Any]) -> list[Hit]:
        # what a commit has recorded is what this search checks the encoder against
        encodes = isinstance(query, str) and asked["legs"] != "lexical"
        checks = encodes and not self._is_checked and self._awaits and self.store.info().encoder
        hits = self.store.search(query, **asked, **conditions(self.store, filter, asked["tenant"]))
        self._is_checked = self._is_checked or bool(checks)
        return hits

    async def _afound(self, query: str | Vector, filter: FilterLike, asked: dict[str, Any]) -> list[Hit]:
        """Search in a thread; a query that cannot go wrong without the store's own checks is encoded before."""
        can_be_ahead = self._is_checked and asked["legs"] != "lexical"
        if isinstance(query, str) and query.strip() and can_be_ahead and self._embedding is not None:
            if asked["text"] is None and reads_text(asked):
                asked["text"] = query
            query = await self._embedding.aembed_query(query)
        return await run_in_executor(None, self._found, query, filter, asked)

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
