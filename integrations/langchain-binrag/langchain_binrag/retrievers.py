"""A LangChain retriever over a store that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field, PrivateAttr

from binrag import Store
from langchain_binrag.vectorstores import BinragVectorStore


class BinragRetriever(BaseRetriever):
    """Finds documents in a binrag store, however it was filled; the store is opened for reading.

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
        How many documents to return; ``invoke(query, k=…)`` overrides it for one call.

    Raises
    ------
    ValueError, FileNotFoundError
        As `BinragVectorStore`; an unknown argument; no file at the path.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    path: str | Path | None = None
    embedding: Embeddings | None = None
    encoder: Any = None
    store: Store | None = None
    k: int = Field(default=4, ge=1)

    _vectorstore: BinragVectorStore = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the store."""
        options = {} if self.path is None else {"mode": "r"}
        self._vectorstore = BinragVectorStore(
            self.path, self.embedding, encoder=self.encoder, store=self.store, **options
        )

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return self._vectorstore.similarity_search(query, self.k if k is None else k)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return await run_in_executor(None, self._get_relevant_documents, query, run_manager=run_manager.get_sync(), k=k)
