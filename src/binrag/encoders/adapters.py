"""Encoders made of what frameworks and users have at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from binrag.types import Similarity


def _qualified_name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def callable_id(function: Callable[..., Any]) -> str:
    """Return the encoder id of a function."""
    return f"callable:{_qualified_name(function)}"


class CallableEncoder:
    """Any function from a list of texts to vectors, the same for queries and documents.

    Parameters
    ----------
    function : callable
        ``function(texts: list[str]) -> array (n, dim)``.
    """

    similarity: Similarity = "cosine"

    def __init__(self, function: Callable[[list[str]], npt.ArrayLike]) -> None:
        self._function = function
        self.encoder_id = callable_id(function)

    def encode_document(self, texts: list[str]) -> npt.ArrayLike:
        """Call the function."""
        return self._function(texts)

    def encode_query(self, texts: list[str]) -> npt.ArrayLike:
        """Call the function."""
        return self._function(texts)

    def count_truncated(self, texts: list[str]) -> int:
        """Return 0: a function does not say how much it reads."""
        return 0


class EmbeddingsEncoder:
    """An object with ``embed_documents(texts)`` and ``embed_query(text)``, such as LangChain's embeddings, or with
    ``get_text_embedding_batch(texts)`` and ``get_query_embedding(text)``, as LlamaIndex's have.

    Parameters
    ----------
    embeddings : object
        The object.
    """

    similarity: Similarity = "cosine"

    def __init__(self, embeddings: Any) -> None:
        if hasattr(embeddings, "embed_documents"):
            self._documents, self._query = embeddings.embed_documents, embeddings.embed_query
        else:
            self._documents, self._query = embeddings.get_text_embedding_batch, embeddings.get_query_embedding
        model = getattr(embeddings, "model_name", None) or getattr(embeddings, "model", None)
        name = _qualified_name(type(embeddings))
        self.encoder_id = f"embeddings:{name}" + (f":{model}" if isinstance(model, str) else "")

    def encode_document(self, texts: list[str]) -> npt.ArrayLike:
        """Encode documents in one call."""
        vectors: npt.ArrayLike = self._documents(texts)
        return vectors

    def encode_query(self, texts: list[str]) -> npt.ArrayLike:
        """Encode queries one by one."""
        return [self._query(text) for text in texts]

    def count_truncated(self, texts: list[str]) -> int:
        """Return 0: such objects do not say how much they read."""
        return 0
