"""A LlamaIndex retriever over a store that exists."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.embeddings.utils import EmbedType, resolve_embed_model
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters, VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.binrag.files import holds_tokens
from llama_index.vector_stores.binrag.queries import answer, check, legs_of

from binrag import Filter, InvalidInput, Store, UnsupportedMode


class BinragRetriever(BaseRetriever):
    """Finds nodes in a binrag store, however it was filled, without an index.

    Pickling and deep copies open the file again by its path.

    Parameters
    ----------
    path : str or path, optional
        The file, which must exist and is opened for reading; or give `store`.
    encoder : optional
        What encodes queries, as `binrag.Store.open` takes it: a model's name, say; ``"recorded"`` loads the model that
        the file names. A store of token vectors needs one, or a `store` that was opened with one.
    store : binrag.Store, optional
        An open store, used with the encoder that it was opened with.
    embed_model : BaseEmbedding or str, optional
        A LlamaIndex embedding model that makes queries' embeddings, in the place of an encoder: that of the index which
        filled the store.
    similarity_top_k : int
        How many nodes to return.
    vector_store_query_mode : str or VectorStoreQueryMode
        DEFAULT; MMR: nodes that are similar to the query and not to each other; HYBRID, TEXT_SEARCH or SPARSE, by
        vectors and words or words alone, in a store that has an index of words.
    alpha, sparse_top_k, hybrid_top_k : optional
        As `BinragVectorStore.query` takes them of a query.
    filters : MetadataFilters, dict or binrag.Filter, optional
        What a node's metadata must be; a dict is a filter as `binrag.Store.search` takes it.
    node_ids, doc_ids : list of str, optional
        The only nodes to return; the only source documents to return nodes of. Empty `node_ids` restrict nothing, empty
        `doc_ids` match nothing, as with `VectorIndexRetriever`.
    tenant : str, optional
        Whose nodes to look at; by default those of the unnamed tenant, or of the one that `store` was opened for.
    vector_store_kwargs : dict, optional
        As `BinragVectorStore.query` takes them: ``mmr_threshold``, ``mmr_prefetch_factor``, ``mmr_prefetch_k``,
        ``n_candidates``, ``rerank``, ``min_score``, ``fusion``.
    **kwargs
        As `BaseRetriever` takes them: ``callback_manager``, ``object_map``, ``objects``, ``verbose``.

    Raises
    ------
    ValueError, FileNotFoundError, NotImplementedError
        Not exactly one of `path` and `store`; an encoder beside `store` or `embed_model`; another mode; what
        `binrag.Store.open` raises.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        encoder: Any = None,
        store: Store | None = None,
        embed_model: EmbedType | None = None,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        vector_store_query_mode: str | VectorStoreQueryMode = VectorStoreQueryMode.DEFAULT,
        alpha: float | None = None,
        sparse_top_k: int | None = None,
        hybrid_top_k: int | None = None,
        filters: MetadataFilters | Filter | Mapping[str, Any] | None = None,
        node_ids: list[str] | None = None,
        doc_ids: list[str] | None = None,
        tenant: str | None = None,
        vector_store_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if (path is None) == (store is None):
            raise InvalidInput("BinragRetriever needs either path=… or store=…, and not both")
        if encoder is not None and path is None:
            raise InvalidInput("got encoder beside an open store; give it to binrag.Store.open instead")
        if encoder is not None and embed_model is not None:
            raise InvalidInput("got encoder and embed_model, and both encode queries; leave one of them out")
        if tenant is not None and not isinstance(tenant, str):
            raise InvalidInput(f"tenant is {tenant!r}, expected the name of one: ids name nodes of one tenant")
        super().__init__(**kwargs)
        self.similarity_top_k = similarity_top_k
        self._mode = VectorStoreQueryMode(vector_store_query_mode)
        self._by_vectors = legs_of(self._mode) != "lexical"
        self._filters, self._options = None, dict(vector_store_kwargs or {})
        if filters is None or isinstance(filters, MetadataFilters):
            self._filters = filters
        elif "where" in self._options:
            raise InvalidInput("got filters, and where in vector_store_kwargs; put all conditions into one of them")
        else:
            self._options["where"] = filters
        self._node_ids, self._doc_ids, self._tenant = node_ids, doc_ids, tenant
        self._alpha, self._sparse_top_k, self._hybrid_top_k = alpha, sparse_top_k, hybrid_top_k
        check(self._query(None, None), self._options)
        self._embed_model = (
            None if embed_model is None else resolve_embed_model(embed_model, callback_manager=self.callback_manager)
        )
        if store is None:
            assert path is not None
            store = Store.open(path, "r", encoder=encoder)
        if embed_model is not None and holds_tokens(store):
            raise UnsupportedMode(
                "embed_model gives one embedding a text, and the store holds a vector for each token; leave it out, "
                'and give encoder="recorded", or a MultiVectorEncoder'
            )
        self._store = store

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        embedding = query_bundle.embedding
        if self._embed_model is not None and self._is_to_embed(query_bundle):
            embedding = self._embed_model.get_agg_embedding_from_queries(query_bundle.embedding_strs)
        return self._answer(query_bundle, embedding)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        embedding = query_bundle.embedding
        if self._embed_model is not None and self._is_to_embed(query_bundle):
            embedding = await self._embed_model.aget_agg_embedding_from_queries(query_bundle.embedding_strs)
        return await asyncio.to_thread(self._answer, query_bundle, embedding)

    def _is_to_embed(self, query_bundle: QueryBundle) -> bool:
        return query_bundle.embedding is None and self._by_vectors and bool(query_bundle.embedding_strs)

    def _answer(self, query_bundle: QueryBundle, embedding: Sequence[float] | None) -> list[NodeWithScore]:
        text = _text_of(query_bundle) if embedding is None and self._by_vectors else None
        query = self._query(embedding, query_bundle.query_str)
        found = answer(self._store, query, self._options, text=text, tenant=self._tenant)
        scores: Sequence[float | None] = found.similarities or [None] * len(found.nodes or [])
        return [NodeWithScore(node=node, score=score) for node, score in zip(found.nodes or [], scores, strict=True)]

    def _query(self, embedding: Any, text: str | None) -> VectorStoreQuery:
        return VectorStoreQuery(
            query_embedding=embedding,
            query_str=text,
            similarity_top_k=self.similarity_top_k,
            mode=self._mode,
            alpha=self._alpha,
            sparse_top_k=self._sparse_top_k,
            hybrid_top_k=self._hybrid_top_k,
            filters=self._filters,
            node_ids=self._node_ids,
            doc_ids=self._doc_ids,
        )


def _text_of(query_bundle: QueryBundle) -> str | None:
    """Return the text to encode; None if the bundle has none."""
    texts = query_bundle.embedding_strs
    if len(texts) > 1:
        raise UnsupportedMode(
            f"the query has {len(texts)} custom_embedding_strs; expected one, an embedding, or an embed_model"
        )
    return texts[0] if texts else None
