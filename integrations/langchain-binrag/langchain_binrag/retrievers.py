"""A LangChain retriever over a store that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import ConfigDict, Field, InstanceOf, PrivateAttr, SkipValidation, field_validator

from binrag import Fusion, InvalidInput, Rerank, Store, Tenant
from langchain_binrag.asking import Legs, check_legs
from langchain_binrag.filters import FilterLike
from langchain_binrag.vectorstores import BinragVectorStore

SearchType: TypeAlias = Literal["similarity", "similarity_score_threshold", "mmr"]

_ONLY_FOR: dict[str, tuple[SearchType, ...]] = {
    "score_threshold": ("similarity_score_threshold",),
    "min_score": ("similarity", "mmr"),
    "fetch_k": ("mmr",),
    "lambda_mult": ("mmr",),
}

_OWN = (*_ONLY_FOR, "legs", "fusion", "rerank")


class BinragRetriever(BaseRetriever):
    """Finds documents in a binrag store, however it was filled; the store is opened for reading.

    What says how to search can be given to a call too, as in ``invoke(query, k=2, where={"lang": "en"})``; it replaces
    the retriever's. Copies, pickled ones too, open the same file again.

    Parameters
    ----------
    path : str or path, optional
        The file, which must exist; or give `store`.
    embedding : Embeddings, optional
        What encodes queries; the one that the store was made with.
    encoder : optional
        What encodes queries instead, as `binrag.Store.open` takes it; ``"recorded"`` loads the model that the file
        names.
    store : binrag.Store, optional
        An open store, used with the encoder that it was opened with.
    k : int
        How many documents to return.
    where : dict, binrag.Filter, Comparison, Operation or callable, optional
        What the documents must be, as ``filter`` of `BinragVectorStore.similarity_search`; ``{}`` in a call lifts it.
    search_type : "similarity", "similarity_score_threshold" or "mmr"
        The most similar; those of them that are similar enough; or such that are similar to the query and not to each
        other.
    score_threshold : float, optional
        For "similarity_score_threshold", which needs it: the least relevance, in [0, 1].
    fetch_k, lambda_mult : int, float, optional
        For "mmr": as in `BinragVectorStore.max_marginal_relevance_search`.
    legs : "dense", "lexical" or "hybrid"
        What documents are found by: vectors, words, or both. Words need a store made with ``lexical="en"`` or
        ``"any"``, or `binrag.Store.index_words`; and by words alone no embedding or encoder.
    fusion : Fusion, optional
        For "hybrid": how both legs are brought into one order, as in `binrag.Store.search`.
    rerank : Rerank, str, CrossEncoder, Reranker or callable, optional
        What orders the best hits at last, as in `binrag.Store.search`.
    min_score : float, optional
        The least score, not for "similarity_score_threshold", which has the least relevance.
    tenant : str, optional
        The only tenant whose documents are found. By default each call may name one.

    Raises
    ------
    ValueError, FileNotFoundError
        As `BinragVectorStore`; an unknown argument; no file at the path.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    path: str | Path | None = Field(default=None, frozen=True)
    embedding: Embeddings | None = Field(default=None, frozen=True)
    encoder: Any = Field(default=None, frozen=True)
    store: Store | None = Field(default=None, frozen=True)
    tenant: str | None = Field(default=None, frozen=True)
    k: int = Field(default=4, ge=1)
    where: SkipValidation[FilterLike] = None
    search_type: SearchType = "similarity"
    score_threshold: float | None = Field(default=None, ge=0, le=1)
    fetch_k: int | None = Field(default=None, ge=1)
    lambda_mult: float | None = Field(default=None, ge=0, le=1)
    legs: Legs = "dense"
    fusion: InstanceOf[Fusion] | None = None
    rerank: Any = None
    min_score: float | None = Field(default=None, allow_inf_nan=False)

    _vectorstore: BinragVectorStore = PrivateAttr()

    @field_validator("rerank")
    @classmethod
    def _check_rerank(cls, rerank: Any) -> Any:
        is_named = rerank is None or isinstance(rerank, (str, Path, Rerank))
        if not (is_named or callable(rerank) or hasattr(rerank, "rerank") or hasattr(rerank, "predict")):
            raise InvalidInput(
                f"rerank is {rerank!r}, expected a binrag.Rerank, a model or its name, an object with rerank(query, "
                "texts), or a function of these two"
            )
        return rerank

    def model_post_init(self, context: Any, /) -> None:
        """Open the store."""
        self._asked({name: getattr(self, name) for name in _OWN})
        options: dict[str, Any] = {} if self.path is None else {"mode": "r"}
        self._vectorstore = BinragVectorStore(
            self.path, self.embedding, encoder=self.encoder, store=self.store, tenant=self.tenant, **options
        )
        if self.tags is None:
            self.tags = self._vectorstore._get_retriever_tags()

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = type(self._vectorstore).__name__
        if self.embedding is not None:
            params["ls_embedding_provider"] = type(self.embedding).__name__
        model = self.encoder if self.embedding is None else getattr(self.embedding, "model", None)
        if isinstance(model, str) and model != "recorded":
            params["ls_embedding_model"] = model
        return params

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        where: FilterLike = None,
        search_type: SearchType | None = None,
        score_threshold: float | None = None,
        fetch_k: int | None = None,
        lambda_mult: float | None = None,
        legs: Legs | None = None,
        fusion: Fusion | None = None,
        rerank: Any = None,
        min_score: float | None = None,
        tenant: Tenant = None,
    ) -> list[Document]:
        own = {
            "score_threshold": score_threshold,
            "min_score": min_score,
            "fetch_k": fetch_k,
            "lambda_mult": lambda_mult,
            "legs": legs,
            "fusion": fusion,
            "rerank": rerank,
        }
        search_type, options = self._asked(own, search_type, k, where)
        return self._vectorstore.search(query, search_type, tenant=tenant, **options)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        where: FilterLike = None,
        search_type: SearchType | None = None,
        score_threshold: float | None = None,
        fetch_k: int | None = None,
        lambda_mult: float | None = None,
        legs: Legs | None = None,
        fusion: Fusion | None = None,
        rerank: Any = None,
        min_score: float | None = None,
        tenant: Tenant = None,
    ) -> list[Document]:
        own = {
            "score_threshold": score_threshold,
            "min_score": min_score,
            "fetch_k": fetch_k,
            "lambda_mult": lambda_mult,
            "legs": legs,
            "fusion": fusion,
            "rerank": rerank,
        }
        search_type, options = self._asked(own, search_type, k, where)
        return await self._vectorstore.asearch(query, search_type, tenant=tenant, **options)

    def _asked(
        self,
        own: dict[str, Any],
        search_type: SearchType | None = None,
        k: int | None = None,
        where: FilterLike = None,
    ) -> tuple[SearchType, dict[str, Any]]:
        """Return the type of a search and its arguments; `own` are those that replace the retriever's, or None.

        Raises
        ------
        InvalidInput
            One of another type, or a fusion of one leg, was given; or the threshold of "similarity_score_threshold"
            was not, or is none.
        """
        search_type = search_type or self.search_type
        legs = self.legs if own["legs"] is None else own["legs"]
        check_legs(legs, own["fusion"])
        for name, only_for in _ONLY_FOR.items():
            if own[name] is not None and search_type not in only_for:
                types = " or ".join(repr(each) for each in only_for)
                raise InvalidInput(f"got {name}, which is for search_type={types} and not for {search_type!r}")
        options: dict[str, Any] = {"k": self.k if k is None else k, "filter": self.where if where is None else where}
        for name, value in own.items():
            value = getattr(self, name) if value is None else value
            is_for = legs == "hybrid" if name == "fusion" else search_type in _ONLY_FOR.get(name, (search_type,))
            if is_for and value is not None:
                options[name] = value
        if search_type == "similarity_score_threshold" and not 0 <= options.get("score_threshold", -1) <= 1:
            given = options.get("score_threshold")
            raise InvalidInput(f"score_threshold is {given!r}, expected the least relevance of a hit, from 0 to 1")
        return search_type, options
