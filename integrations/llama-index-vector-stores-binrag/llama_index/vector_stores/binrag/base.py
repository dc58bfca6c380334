"""A LlamaIndex vector store in one file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Literal

from llama_index.core.bridge.pydantic import ConfigDict, PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from binrag import Hit, InvalidInput, Store, UnsupportedMode


class BinragVectorStore(BasePydanticVectorStore):
    """Nodes, with their texts and vectors, in a binrag store.

    LlamaIndex's embedding model makes the vectors. Adding a node whose id is in the store replaces it. A store may
    be used from any thread, and the same file may be opened any number of times.

    Parameters
    ----------
    path : str or path, optional
        The file, created if missing; or give `store`.
    mode : "c", "rw" or "r"
        As in `binrag.Store.open`: read and write, created if missing; the same, must exist; read only.
    store : binrag.Store, optional
        An open store; the way to other settings, such as ``keep_vectors``.

    Raises
    ------
    ValueError
        Not exactly one of `path` and `store`; or what `binrag.Store.open` raises.
    """

    model_config = ConfigDict(extra="forbid")

    stores_text: bool = True
    path: str
    mode: Literal["c", "rw", "r"] = "c"

    _store: Store = PrivateAttr()

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        mode: Literal["c", "rw", "r"] = "c",
        store: Store | None = None,
        **fields: Any,
    ) -> None:
        if store is not None and path is None:
            path = store.path
        elif store is not None or path is None:
            raise InvalidInput("BinragVectorStore needs either path=… or store=…, and not both")
        super().__init__(**{"path": os.fspath(path), "mode": mode, **fields})
        self._store = Store.open(path, mode) if store is None else store

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serializes the class under."""
        return "BinragVectorStore"

    @property
    def client(self) -> Store:
        """The open store."""
        return self._store

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes that have embeddings: all of them, in one commit, or none.

        Returns
        -------
        list of str
            The nodes' ids.

        Raises
        ------
        ValueError
            A node without an embedding, or with one that cannot be stored; an unknown argument; nothing was stored.
        """
        _refuse("add", kwargs)
        return self._store.add(
            [node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes],
            ids=[node.node_id for node in nodes],
            metadata=(node_to_metadata_dict(node, remove_text=True) for node in nodes),
            vectors=[node.get_embedding() for node in nodes],
            progress=False,
        )

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a source document, in one commit; an unknown document is no error.

        Reads the metadata of every node in the store. A node that somebody adds meanwhile stays.
        """
        _refuse("delete", delete_kwargs)
        self._store.delete([found.id for found in self._store.iter() if found.metadata.get("ref_doc_id") == ref_doc_id])

    def query(
        self, query: VectorStoreQuery, *, n_candidates: int | None = None, **kwargs: Any
    ) -> VectorStoreQueryResult:
        """Find the nodes most similar to the query's embedding.

        Parameters
        ----------
        query : VectorStoreQuery
            With mode DEFAULT and an embedding. Empty `node_ids` restrict nothing, as the index means it; empty
            `doc_ids` match nothing.
        n_candidates : int, optional
            As in `binrag.Store.search`.

        Returns
        -------
        VectorStoreQueryResult
            Best first; the similarities are cosines.

        Raises
        ------
        NotImplementedError
            Another mode, or a restriction: filters, `node_ids`, `doc_ids`, `output_fields`, `embedding_field`.
        ValueError
            No embedding, one of another dimension, an unknown argument.
        """
        _refuse("query", kwargs)
        if query.mode != VectorStoreQueryMode.DEFAULT:
            raise UnsupportedMode(f"query mode {query.mode!r} is not supported; expected VectorStoreQueryMode.DEFAULT")
        _refuse_restrictions(query)
        if query.query_embedding is None:
            raise InvalidInput("the query has no embedding; set query_embedding, or use BinragRetriever")
        hits = []
        if query.doc_ids is None:
            hits = self._store.search(query.query_embedding, query.similarity_top_k, n_candidates=n_candidates)
        return VectorStoreQueryResult(
            nodes=[node_of(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`, in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`, in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`, in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Do nothing, and leave `persist_path` alone: every `add` and `delete` is on disk, in the store's own file."""


def node_of(hit: Hit) -> BaseNode:
    """Return the node that was stored; for a document that was not stored as a node, one with its text."""
    if "_node_content" in hit.metadata:
        return metadata_dict_to_node(hit.metadata, text=hit.text)
    return TextNode(id_=hit.id, text=hit.text or "", metadata=hit.metadata)


def _refuse_restrictions(query: VectorStoreQuery) -> None:
    filters = query.filters.filters if query.filters else None
    restrictions = {
        "filters": filters,
        "node_ids": query.node_ids,
        "doc_ids": query.doc_ids,
        "output_fields": query.output_fields,
        "embedding_field": query.embedding_field,
    }
    given = [name for name, value in restrictions.items() if value]
    if given:
        raise UnsupportedMode(
            f"the query has {', '.join(given)}, which this version of binrag cannot restrict a search by"
        )


def _refuse(name: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise InvalidInput(
            f"{name} got {', '.join(kwargs)}, which this version of llama-index-vector-stores-binrag does not support"
        )
