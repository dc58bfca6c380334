"""Text to vectors: adapters that make anything which encodes text an `Encoder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from binrag.encoders.adapters import CallableEncoder, EmbeddingsEncoder
from binrag.encoders.sentence import SentenceEncoder
from binrag.encoders.tokens import SentenceTokenEncoder, TokenEncoder, resolve_token_encoder
from binrag.errors import InvalidInput, UnsupportedMode
from binrag.protocols import Encoder, MultiVectorEncoder

__all__ = [
    "CallableEncoder",
    "EmbeddingsEncoder",
    "SentenceEncoder",
    "SentenceTokenEncoder",
    "TokenEncoder",
    "resolve_encoder",
    "resolve_late_encoder",
]


_EMBEDDINGS = (("embed_documents", "embed_query"), ("get_text_embedding_batch", "get_query_embedding"))


def resolve_encoder(encoder: Any) -> Encoder | None:
    """Make an `Encoder` of what the user gave, for a store of one vector a document.

    Parameters
    ----------
    encoder : str, path, SentenceTransformer, Encoder, embeddings, callable or None
        A model's name or folder; a loaded model; an embeddings object of LangChain or LlamaIndex, or any
        with the same methods; any callable from a list of texts to vectors. ``None``: vectors only.

    Raises
    ------
    InvalidInput
        If it is none of these.
    UnsupportedMode
        If it gives token vectors.
    """
    if encoder is None:
        return None
    if resolve_token_encoder(encoder) is not None:
        raise UnsupportedMode(
            "the encoder gives a vector for each token, and the store holds one a document; give an encoder of one "
            "vector a text, or make a new store with this one"
        )
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


def resolve_late_encoder(encoder: Any) -> MultiVectorEncoder | None:
    """Make a `MultiVectorEncoder` of what the user gave, for a store of token vectors.

    Parameters
    ----------
    encoder : str, path, MultiVectorEncoder, callable or None
        A model's name or folder; a loaded model; a function from a list of texts to matrices. None: vectors only.

    Raises
    ------
    InvalidInput
        If it is none of these.
    UnsupportedMode
        If it gives one vector a text.
    """
    if encoder is None:
        return None
    if (found := resolve_token_encoder(encoder)) is not None:
        return found
    if isinstance(encoder, (str, Path)):
        return SentenceTokenEncoder(str(encoder))
    names = {"encode_document", *(name for pair in _EMBEDDINGS for name in pair)}
    if any(hasattr(encoder, name) for name in names):
        raise UnsupportedMode(
            f"the encoder, a {type(encoder).__name__}, gives one vector a text, and the store holds a vector for each "
            "token; give a MultiVectorEncoder, or make a new store with this one"
        )
    return TokenEncoder(encoder)
