"""A LlamaIndex retriever over a store that exists."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.vector_stores.binrag.base import node_of

from binrag import InvalidInput, Store, UnsupportedMode


class BinragRetriever(BaseRetriever):
    """Finds nodes in a binrag store, however it was filled, by the store's own encoder and without an index.

    Parameters
    ----------
    path : str or path, optional
        The file, which must exist and is opened for reading; or give `store`.
    encoder : optional
        What encodes queries, as `binrag.Store.open` takes it: a LlamaIndex embedding model, say; ``"recorded"`` loads
        the model that the file names.
    store : binrag.Store, optional
        An open store, used with the encoder that it was opened with.
    similarity_top_k : int
        How many nodes to return.
    **kwargs
        As `BaseRetriever` takes them: ``callback_manager``, ``object_map``, ``objects``, ``verbose``.

    Raises
    ------
    ValueError, FileNotFoundError
        Not exactly one of `path` and `store`; an encoder beside `store`; what `binrag.Store.open` raises.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        encoder: Any = None,
        store: Store | None = None,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        **kwargs: Any,
    ) -> None:
        if store is None and path is not None:
            store = Store.open(path, "r", encoder=encoder)
        elif store is None or path is not None:
            raise InvalidInput("BinragRetriever needs either path=… or store=…, and not both")
        elif encoder is not None:
            raise InvalidInput("got encoder beside an open store; give it to binrag.Store.open instead")
        self._store = store
        self.similarity_top_k = similarity_top_k
        super().__init__(**kwargs)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._store.search(_query_of(query_bundle), self.similarity_top_k)
        return [NodeWithScore(node=node_of(hit), score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _query_of(query_bundle: QueryBundle) -> str | list[float]:
    """Return the bundle's vector if it has one, else the text to encode."""
    if query_bundle.embedding is not None:
        return query_bundle.embedding
    texts = query_bundle.custom_embedding_strs or [query_bundle.query_str]
    if len(texts) > 1:
        raise UnsupportedMode(f"the query has {len(texts)} custom_embedding_strs; expected one, or an embedding")
    return texts[0]
