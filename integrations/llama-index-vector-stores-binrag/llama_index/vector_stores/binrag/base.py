"""A LlamaIndex vector store in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from llama_index.core.bridge.pydantic import BaseModel, ConfigDict, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.binrag.files import check_local, holds_tokens, opened
from llama_index.vector_stores.binrag.filters import to_filter
from llama_index.vector_stores.binrag.nodes import documents_of, nodes_with_embeddings
from llama_index.vector_stores.binrag.queries import answer
from llama_index.vector_stores.binrag.threaded import ThreadedVectorStore

from binrag import Eq, InvalidInput, Store

_DEFAULTS = {"mode": "c", "tenant": None, "durability": "commit", "lock_timeout": 10.0, "n_threads": None}
_OF_FILE = ("binarizer", "code_bytes", "dim", "keep_vectors", "seed", "auto_fit", "lexical")


class BinragVectorStore(ThreadedVectorStore):
    """Nodes, with their texts and embeddings, in a binrag store.

    LlamaIndex's embedding model makes the vectors. Adding a node whose id is in the store replaces it. A store may
    be used from any thread, and the same file may be opened any number of times.

    A store of token vectors encodes the texts of nodes and queries itself (`is_embedding_query` is False); an embedding
    that a node brings is not kept. Make one with `binrag.Store.open`, and give it as `store`.

    Pickling and deep copies open the file again by its path; shallow copies share the open store. ``to_dict`` carries
    `path`, `mode`, `tenant`, `durability`, `lock_timeout` and `n_threads`.

    Parameters
    ----------
    path : str or path, optional
        The file, created if missing; or give `store`. One of token vectors is opened with the model that it names.
    store : binrag.Store, optional
        An open store, with whatever settings.
    mode : "c", "rw" or "r"
        As in `binrag.Store.open`: read and write, created if missing; the same, must exist; read only.
    tenant : str, optional
        Whose nodes these are; no call sees another tenant's. By default the unnamed tenant's.
    durability, lock_timeout, n_threads
        As in `binrag.Store.open`.
    binarizer, code_bytes, dim, keep_vectors, seed, auto_fit, lexical : optional
        As in `binrag.Store.open`, for a new file, which keeps them; modes that go by words need `lexical`.
    **fields
        As `BasePydanticVectorStore` takes them.

    Raises
    ------
    ValueError, OSError
        Not exactly one of `path` and `store`; a setting beside `store`; what `binrag.Store.open` raises.
    """

    model_config = ConfigDict(extra="forbid")

    stores_text: bool = True
    path: str
    mode: Literal["c", "rw", "r"] = "c"
    tenant: str | None = None
    durability: Literal["commit", "os"] = "commit"
    lock_timeout: float = 10.0
    n_threads: int | None = None

    _store: Store = PrivateAttr()

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        mode: Literal["c", "rw", "r"] = "c",
        tenant: str | None = None,
        durability: Literal["commit", "os"] = "commit",
        lock_timeout: float = 10.0,
        n_threads: int | None = None,
        binarizer: Any = None,
        code_bytes: int | None = None,
        dim: int | None = None,
        keep_vectors: Literal["int8", "float16", "none"] | None = None,
        seed: int | None = None,
        auto_fit: bool | None = None,
        lexical: Literal["en", "any"] | None = None,
        **fields: Any,
    ) -> None:
        if store is not None and path is None:
            path = store.path
        elif store is not None or path is None:
            raise InvalidInput("BinragVectorStore needs either path=… or store=…, and not both")
        handle = dict[str, Any](zip(_DEFAULTS, (mode, tenant, durability, lock_timeout, n_threads), strict=True))
        settings = (binarizer, code_bytes, dim, keep_vectors, seed, auto_fit, lexical)
        file = dict[str, Any](zip(_OF_FILE, settings, strict=True))
        if store is not None:
            if handle != _DEFAULTS or any(setting is not None for setting in file.values()):
                raise InvalidInput("got settings beside an open store; give them to binrag.Store.open instead")
            handle = {"mode": store.mode, **store.options}
        super().__init__(**{"path": str(Path(path).absolute()), **handle, **fields})
        self._store = opened(path, handle, file) if store is None else store
        if "is_embedding_query" not in fields:
            self.is_embedding_query = not holds_tokens(self._store)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serializes the class under."""
        return "BinragVectorStore"

    @classmethod
    def from_persist_path(cls, persist_path: str, fs: Any = None, **kwargs: Any) -> Self:
        """Open a file that exists: that of a store, or a copy that `persist` made. The rest as the class takes it."""
        check_local(fs)
        return cls(persist_path, **{"mode": "rw", **kwargs})

    @property
    def client(self) -> Store:
        """The open store."""
        return self._store

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes that have embeddings: all of them, in one commit, or none.

        A store of token vectors needs none, and encodes what an embedding model would be given of a node.

        Returns
        -------
        list of str
            The nodes' ids.

        Raises
        ------
        ValueError
            A node without an embedding, or with one or with metadata that cannot be stored; an unknown argument.
        """
        _refuse("add", kwargs)
        return self._store.add(**documents_of(nodes, holds_tokens(self._store)), progress=False)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a source document, in one commit; an unknown document is no error."""
        _refuse("delete", delete_kwargs)
        self._store.delete(where=Eq("ref_doc_id", ref_doc_id))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes, in one commit: those of these ids that match the filters; unknown ids are no error.

        Raises
        ------
        ValueError
            Neither `node_ids` nor any filter: `clear` deletes all nodes.
        """
        _refuse("delete_nodes", delete_kwargs)
        where = to_filter(filters)
        if node_ids is None and where is None:
            raise InvalidInput("delete_nodes got neither node_ids nor filters; clear() deletes all nodes")
        self._store.delete(node_ids, where=where)

    def clear(self) -> None:
        """Delete all nodes, in one commit; of this tenant, if the store has several."""
        self._store.delete(where={})

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes: those of these ids that match the filters; without either, all.

        Returns
        -------
        list of BaseNode
            In the order of `node_ids`, without those that are not in the store; else as they were added. With
            embeddings, where the store keeps vectors: to the precision it keeps, and at about unit length.
        """
        where = to_filter(filters)
        if node_ids is None:
            return nodes_with_embeddings(self._store, self._store.iter(where=where))
        return nodes_with_embeddings(self._store, self._store.get(node_ids, where=where))

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find the nodes that are best for a query; without an embedding, in mode DEFAULT those that match its filters.

        Where `is_embedding_query` is False, a query without an embedding is encoded from its ``query_str``.

        Parameters
        ----------
        query : VectorStoreQuery
            In mode DEFAULT, MMR, HYBRID, TEXT_SEARCH or SPARSE; the last two are one, and read no embedding. `alpha`
            weighs vectors in a `binrag.WeightedSum`, 1 - `alpha` words; without it, `binrag.IdfCoverage` fuses.
            `hybrid_top_k`, and by words `sparse_top_k`, go before `similarity_top_k`. Empty `node_ids` restrict
            nothing, empty `doc_ids` match nothing; all of `filters`, `node_ids` and `doc_ids` must hold.
        where : dict or binrag.Filter, optional
            binrag's own filter, in the place of `filters`.
        n_candidates, rerank, min_score, fusion : optional
            As in `binrag.Store.search`; `fusion` in mode HYBRID, and not beside `alpha`.
        mmr_threshold, mmr_prefetch_factor, mmr_prefetch_k : optional
            From 0, the most diverse, to 1, the most similar, 0.5 by default; goes before the query's own. What MMR
            chooses from: so many times `similarity_top_k` nodes, or so many; one of the two.

        Returns
        -------
        VectorStoreQueryResult
            Best first, or in the order in which MMR chose them; the similarities are cosines, by words BM25 scores, by
            both what the fusion makes of them. Without an embedding: as they were added, without similarities.

        Raises
        ------
        NotImplementedError
            Another mode, or what belongs to one; no index of words; `output_fields`, `embedding_field`.
        ValueError
            What the mode needs is missing; an unknown argument; what `binrag.Store.search` raises.
        """
        text = None if self.is_embedding_query else query.query_str or None
        return answer(self._store, query, kwargs, text=text)

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Copy the store to `persist_path` if that ends in ``.binrag``; else do nothing.

        Every change is on disk already, in the store's own file. The JSON file that `StorageContext.persist` names is
        left alone.

        Raises
        ------
        FileExistsError, NotImplementedError
            There is another file at a path that ends in ``.binrag``; `fs` is not the local file system.
        """
        if not os.fspath(persist_path).endswith(".binrag"):
            return
        check_local(fs)
        if os.path.realpath(persist_path) != os.path.realpath(self.path):
            self._store.backup(persist_path)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy on the same open store, or with `deep` on another handle; with `update`, opened anew."""
        return self.from_dict(self.to_dict(), **update) if update else super().model_copy(deep=deep)

    def __getstate__(self) -> dict[Any, Any]:
        return BaseModel.__getstate__(self)  # a store pickles as its path; BaseComponent would open it by the fields

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)


def _refuse(name: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise InvalidInput(f"{name} got {', '.join(kwargs)}, which it does not take")
