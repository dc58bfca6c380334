"""A LangChain vector store in one file."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, Self, cast
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from binrag import Fusion, InvalidInput, Store, Tenant
from langchain_binrag.asking import Legs, check_legs, refuse
from langchain_binrag.documents import document_of
from langchain_binrag.filters import FilterLike, conditions
from langchain_binrag.searches import SearchedVectorStore


class BinragVectorStore(SearchedVectorStore):
    """Documents in a binrag store.

    Texts are encoded by a LangChain embedding model or by binrag's own encoder. Adding a document whose id is in
    the store replaces it. A store may be used from any thread, and the same file may be opened any number of times.
    Copies, pickled ones too, open the same file again.

    Parameters
    ----------
    path : str or path, optional
        The file, created if missing; or give `store`.
    embedding : Embeddings, optional
        What encodes texts, as one vector each.
    encoder : optional
        What encodes texts instead, as `binrag.Store.open` takes it: a sentence-transformers model, by name or
        loaded, or a function. With a ``MultiVectorEncoder`` or a `binrag.TokenEncoder`, a new store holds a vector for
        each token.
    store : binrag.Store, optional
        An open store, used with the encoder that it was opened with; `close` leaves it open.
    tenant : str, optional
        The only tenant whose documents are added, found and deleted. By default each call may name one with
        ``tenant=…``, and is about the unnamed tenant if it doesn't.
    legs, fusion : "dense", "lexical" or "hybrid"; Fusion, optional
        What searches find documents by that name no others, as in `binrag.Store.search`.
    **options
        Further arguments of `binrag.Store.open`, such as ``mode``, ``keep_vectors``, ``late_interaction``, and
        ``lexical="en"`` or ``"any"``: the words of a new file are indexed, for `legs` that need them.

    Raises
    ------
    ValueError
        Not exactly one of `path` and `store`, both of `embedding` and `encoder`, or these or options beside `store`;
        a fusion for one leg; or what `binrag.Store.open` raises.
    ImportError
        The encoder needs a package that is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        embedding: Embeddings | None = None,
        *,
        encoder: Any = None,
        store: Store | None = None,
        tenant: str | None = None,
        legs: Legs = "dense",
        fusion: Fusion | None = None,
        **options: Any,
    ) -> None:
        check_legs(legs, fusion)
        if embedding is not None and encoder is not None:
            raise InvalidInput("got both embedding and encoder; expected one of them")
        encoder = encoder if embedding is None else embedding
        self._embedding = embedding
        self._tenant = tenant
        self._owns_store = store is None
        self._legs: Legs = legs
        self._fusion = fusion
        self._is_checked = False
        if store is None and path is not None:
            store = Store.open(path, encoder=encoder, tenant=tenant, **options)
        elif store is None or path is not None:
            raise InvalidInput("BinragVectorStore needs either path=… or store=…, and not both")
        elif encoder is not None or options:
            raise InvalidInput("got an encoder or options beside an open store; give them to binrag.Store.open instead")
        self.store = store

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: Embeddings | None,
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Open a store, or create it, and add texts.

        Parameters
        ----------
        texts, metadatas, ids
            As in `add_texts`.
        embedding : Embeddings or None
            What encodes texts; None with ``encoder=…`` or ``store=…``.
        **kwargs
            As the class takes them; ``path`` above all.
        """
        vectorstore = cls(embedding=embedding, **kwargs)
        try:
            vectorstore.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            vectorstore.close()
            raise
        return vectorstore

    @classmethod
    def from_documents(cls, documents: Iterable[Document], embedding: Embeddings | None, **kwargs: Any) -> Self:
        """As `from_texts`, with the documents' own ids where they have some; a generator is read to its end first."""
        return super().from_documents(list(documents), cast(Embeddings, embedding), **kwargs)

    @classmethod
    async def afrom_documents(cls, documents: Iterable[Document], embedding: Embeddings | None, **kwargs: Any) -> Self:
        """As `from_documents`."""
        return await super().afrom_documents(list(documents), cast(Embeddings, embedding), **kwargs)

    @property
    def embeddings(self) -> Embeddings | None:
        """The LangChain embedding model, None where binrag's own encoder is used."""
        return self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        tenant: str | None = None,
        batch_size: int = 256,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts: all of them, in one commit, or none.

        Parameters
        ----------
        texts : iterable of str
            May be a generator, which is read eight batches ahead.
        metadatas : iterable of dict, optional
            As many as texts.
        ids : iterable of (str or None), optional
            As many as texts; generated where None.
        tenant : str, optional
            Whose documents they are.
        batch_size : int
            Texts handed to the embeddings at once, those of about one length together.

        Returns
        -------
        list of str
            The ids, in the order of the texts.

        Raises
        ------
        ValueError
            Unequal lengths, empty text, metadata that cannot be stored, an unknown argument; nothing was stored.
        """
        refuse("the addition", kwargs)
        names = None if ids is None else [str(uuid4()) if name is None else name for name in ids]
        whose = self._whose(tenant)
        return self.store.add(texts, ids=names, metadata=metadatas, tenant=whose, batch_size=batch_size)

    def add_documents(
        self, documents: Iterable[Document], *, ids: Iterable[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add documents: all of them, in one commit, or none; the documents themselves are not changed.

        Parameters
        ----------
        documents : iterable of Document
            A generator is read to its end first. Their own ids are used, and generated where None.
        ids : iterable of (str or None), optional
            Used in place of the documents' own.
        **kwargs
            ``tenant`` and ``batch_size`` of `add_texts`, and no other.

        Returns
        -------
        list of str
            The ids, in the order of the documents.

        Raises
        ------
        ValueError
            As `add_texts`.
        """
        documents = list(documents)
        return self.add_texts(
            [document.page_content for document in documents],
            [document.metadata for document in documents],
            ids=[document.id for document in documents] if ids is None else ids,
            **kwargs,
        )

    def delete(
        self, ids: list[str] | None = None, *, filter: FilterLike = None, tenant: Tenant = None, **kwargs: Any
    ) -> bool:
        """Delete documents, in one commit: those of these ids, those that match a filter, or those of which both hold.

        Parameters
        ----------
        ids : list of str, optional
            Unknown ones are no error.
        filter, tenant
            As in `similarity_search`; ``{}`` matches every document.

        Returns
        -------
        bool
            True.

        Raises
        ------
        ValueError
            With neither ids nor a filter: nothing is deleted by leaving something out.
        """
        refuse("the deletion", kwargs)
        if ids is None and filter is None:
            raise InvalidInput(
                "delete got no ids and no filter; expected one of them (None does not delete everything)"
            )
        tenant = self._whose(tenant)
        self.store.delete(**conditions(self.store, filter, tenant, ids), tenant=tenant)
        return True

    def get_by_ids(self, ids: Sequence[str], /, *, tenant: str | None = None) -> list[Document]:
        """Return the documents of these ids, in this order; ids that are not in the store are skipped."""
        return [document_of(found) for found in self.store.get(ids, tenant=self._whose(tenant))]

    async def aget_by_ids(self, ids: Sequence[str], /, *, tenant: str | None = None) -> list[Document]:
        """As `get_by_ids`."""
        return await run_in_executor(None, self.get_by_ids, ids, tenant=tenant)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_is_checked": False}

    def close(self) -> None:
        """Close the store, unless it was given open."""
        if self._owns_store:
            self.store.close()
