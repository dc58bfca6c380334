"""Text to vectors: adapters that make anything which encodes text an `Encoder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from binrag.encoders.adapters import CallableEncoder, EmbeddingsEncoder
from binrag.encoders.sentence import SentenceEncoder
from binrag.errors import InvalidInput
from binrag.protocols import Encoder

__all__ = ["CallableEncoder", "EmbeddingsEncoder", "SentenceEncoder", "resolve_encoder"]


_EMBEDDINGS = (("embed_documents", "embed_query"), ("get_text_embedding_batch", "get_query_embedding"))


def resolve_encoder(encoder: Any) -> Encoder | None:
    """Make an `Encoder` of what the user gave.

    Parameters
    ----------
    encoder : str, path, SentenceTransformer, Encoder, embeddings, callable or None
        A model's name or folder; a loaded model; an embeddings object of LangChain or LlamaIndex, or any
        with the same methods; any callable from a list of texts to vectors. ``None``: vectors only.

    Raises
    ------
    InvalidInput
        If it is none of these.
    """
    if encoder is None:
        return None
    if hasattr(encoder, "encoder_id") and hasattr(encoder, "count_truncated"):
        return cast(Encoder, encoder)
    if isinstance(encoder, (str, Path)):
        return SentenceEncoder(str(encoder))
    if hasattr(encoder, "encode_document") and hasattr(encoder, "encode_query"):
        return SentenceEncoder(model=encoder)
    if any(all(hasattr(encoder, name) for name in names) for names in _EMBEDDINGS):
        return EmbeddingsEncoder(encoder)
    if callable(encoder):
        return CallableEncoder(encoder)
    raise InvalidInput(
        f"encoder is a {type(encoder).__name__}; expected a model name or folder, a SentenceTransformer, an object "
        "with embed_documents and embed_query, a callable from a list of texts to vectors, or None"
    )
