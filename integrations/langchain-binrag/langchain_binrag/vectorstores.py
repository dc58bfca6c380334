"""A LangChain vector store in one file."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from binrag import Document as StoredDocument
from binrag import Hit, InvalidInput, Store, UnsupportedMode


class BinragVectorStore(VectorStore):
    """Documents in a binrag store.

    Texts are encoded by a LangChain embedding model or by binrag's own encoder. Adding a document whose id is in
    the store replaces it. A store may be used from any thread, and the same file may be opened any number of times.

    Parameters
    ----------
    path : str or path, optional
        The file, created if missing; or give `store`.
    embedding : Embeddings, optional
        What encodes texts.
    encoder : optional
        What encodes texts instead, as `binrag.Store.open` takes it: a sentence-transformers model, by name or
        loaded, or a function.
    store : binrag.Store, optional
        An open store, used with the encoder that it was opened with; `close` leaves it open.
    **options
        Further arguments of `binrag.Store.open`, such as ``mode`` and ``keep_vectors``.

    Raises
    ------
    ValueError
        Not exactly one of `path` and `store`, both of `embedding` and `encoder`, or anything beside `store`; or
        what `binrag.Store.open` raises.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        embedding: Embeddings | None = None,
        *,
        encoder: Any = None,
        store: Store | None = None,
        **options: Any,
    ) -> None:
        if embedding is not None and encoder is not None:
            raise InvalidInput("got both embedding and encoder; expected one of them")
        encoder = encoder if embedding is None else embedding
        self._embedding = embedding
        self._owns_store = store is None
        self._similarity: str | None = None
        if store is None and path is not None:
            store = Store.open(path, encoder=encoder, **options)
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
        vectorstore.add_texts(texts, metadatas, ids=ids)
        return vectorstore

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
        _refuse("the addition", kwargs)
        names = None if ids is None else [str(uuid4()) if name is None else name for name in ids]
        return self.store.add(texts, ids=names, metadata=metadatas, batch_size=batch_size)

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
            ``batch_size`` of `add_texts`, and no other.

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

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete the documents of these ids, in one commit; unknown ids are no error.

        Returns
        -------
        bool
            True.

        Raises
        ------
        ValueError
            Without ids: nothing is deleted by leaving something out.
        """
        _refuse("the deletion", kwargs)
        if ids is None:
            raise InvalidInput("delete got no ids; expected a list of ids (None does not delete everything)")
        self.store.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of these ids, in this order; ids that are not in the store are skipped."""
        return [_document(found) for found in self.store.get(ids)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the `k` documents most similar to a text, best first.

        Parameters
        ----------
        query : str
            The text.
        k : int
            How many; fewer only if the store holds fewer.
        **kwargs
            ``n_candidates`` of `binrag.Store.search`, and no other.

        Raises
        ------
        ValueError
            An empty query, `k` below 1, an argument that is not supported, such as ``filter``; no embedding, or
            another one than the store was made with.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str | list[float], k: int = 4, *, n_candidates: int | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, with scores: cosines, or inner products where the encoder declares these.

        Higher is better. The query may also be a vector.
        """
        _refuse("the search", kwargs)
        return [(_document(hit), hit.score) for hit in self.store.search(query, k, n_candidates=n_candidates)]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search`, for a vector of the store's dimension."""
        return [document for document, _ in self.similarity_search_with_score(embedding, k, **kwargs)]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        self._similarity = self._similarity or self.store.info().similarity
        if self._similarity == "dot":
            raise UnsupportedMode("relevance is defined for cosines, not for inner products; use the plain scores")
        return lambda cosine: min(max((1 + cosine) / 2, 0.0), 1.0)

    def close(self) -> None:
        """Close the store, unless it was given open."""
        if self._owns_store:
            self.store.close()


def _document(found: Hit | StoredDocument) -> Document:
    return Document(id=found.id, page_content=found.text or "", metadata=found.metadata)


def _refuse(name: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise InvalidInput(f"{name} got {', '.join(kwargs)}, which this version of langchain-binrag does not support")
