"""Text to token vectors: adapters that make models of late interaction a `MultiVectorEncoder`.

Whether an encoder gives token vectors is always said, never guessed: by the class of a sentence-transformers model, or
by wrapping a function in `TokenEncoder`.

Without a model of late interaction at hand, the token vectors of an ordinary sentence-transformers model can stand in.
They were not trained for MaxSim, so expect less of them than of a ColBERT model::

    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    modules = [Transformer(path), MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    encoder = SentenceTokenEncoder(model=MultiVectorEncoder(modules=modules))

(`MultiVectorEncoder(path)` adds a layer of random weights to such a model.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from binrag.encoders.adapters import callable_id
from binrag.encoders.sentence import SentenceEncoder
from binrag.errors import DimensionMismatch, EncoderMismatch, InvalidInput, InvalidVector, UnsupportedMode
from binrag.protocols import MultiVectorEncoder
from binrag.types import Float32, Similarity, TokenVectors

Matrices = Iterable[npt.ArrayLike]


class TokenEncoder:
    """Any function from a list of texts to token vectors.

    Parameters
    ----------
    function : callable
        ``function(texts: list[str])`` gives a matrix a text, float (n_tokens, dim): a list, an iterator, or an array
        (n, n_tokens, dim). Rows of zeros are taken for padding and left out.
    query : callable, optional
        The same for queries; `function` by default.
    encoder_id : str, optional
        A name that says which model this is; that of the function by default.
    similarity : "cosine" or "dot"
        How two token vectors are compared.

    Raises
    ------
    InvalidInput
        If a function is not callable, or the similarity is neither.

    Examples
    --------
    Fastembed's models, whose methods give one matrix after another:

    >>> model = LateInteractionTextEmbedding("colbert-ir/colbertv2.0")  # doctest: +SKIP
    >>> TokenEncoder(model.embed, query=model.query_embed, encoder_id=model.model_name)  # doctest: +SKIP
    """

    is_multi_vector: Literal[True] = True

    def __init__(
        self,
        function: Callable[[list[str]], Matrices],
        *,
        query: Callable[[list[str]], Matrices] | None = None,
        encoder_id: str | None = None,
        similarity: Similarity = "cosine",
    ) -> None:
        for given in (function, query or function):
            if not callable(given):
                raise InvalidInput(f"got a {type(given).__name__}, expected a function from texts to token vectors")
        if similarity not in ("cosine", "dot"):
            raise InvalidInput(f"similarity is {similarity!r}, expected 'cosine' or 'dot'")
        self._document, self._query = function, query or function
        self.encoder_id = encoder_id or callable_id(function)
        self.similarity = similarity

    def encode_document(self, texts: list[str]) -> Sequence[npt.ArrayLike]:
        """Call the function for documents."""
        return list(self._document(texts))

    def encode_query(self, texts: list[str]) -> Sequence[npt.ArrayLike]:
        """Call the function for queries."""
        return list(self._query(texts))

    def count_truncated(self, texts: list[str]) -> int:
        """Return 0: a function does not say how much it reads."""
        return 0


class SentenceTokenEncoder(SentenceEncoder):
    """A `MultiVectorEncoder` of sentence-transformers, by name, by folder, or loaded.

    The model itself leaves out padding and the tokens that it skips, and may pool those of documents
    (`HierarchicalTokenPooling` as its last module), which is the simplest way to fewer bytes a document. A model given
    by name or folder is loaded at the first use: safetensors only, no remote code. It has to be one of late
    interaction: sentence-transformers adds a layer of random weights to any other.

    Parameters
    ----------
    name : str, optional
        A local folder, else a name on the model hub.
    model : MultiVectorEncoder, optional
        A loaded model.
    batch_size : int
        Texts that go through the model at once.

    Raises
    ------
    MissingDependency
        At the first use, if sentence-transformers is not installed.
    """

    is_multi_vector: Literal[True] = True
    _model_class: ClassVar[str] = "MultiVectorEncoder"

    @property
    def similarity(self) -> Similarity:
        """``"cosine"`` if the model scales token vectors to unit length, else ``"dot"``.

        Raises
        ------
        UnsupportedMode
            If the model's score is not a kind of MaxSim.
        """
        declared = str(getattr(self.model.similarity_fn_name, "value", self.model.similarity_fn_name))
        if declared not in ("maxsim", "meanmaxsim"):
            raise UnsupportedMode(
                f"the model {self.encoder_id} compares texts by {declared!r}; for token vectors binrag needs 'maxsim' "
                "or 'meanmaxsim': give a model of one vector a text to SentenceEncoder"
            )
        return "cosine" if any(type(module).__name__ == "Normalize" for module in self.model) else "dot"

    def _run(self, encode: Callable[..., Any], texts: list[str]) -> list[npt.ArrayLike]:
        return list(encode(texts, batch_size=self._batch_size, show_progress_bar=False, convert_to_numpy=True))

    def encode_document(self, texts: list[str]) -> Sequence[npt.ArrayLike]:  # type: ignore[override]
        """Encode documents: a matrix a text, float32 (n_tokens, dim)."""
        return self._run(self.model.encode_document, texts)

    def encode_query(self, texts: list[str]) -> Sequence[npt.ArrayLike]:  # type: ignore[override]
        """Encode queries: a matrix a text, float32 (n_tokens, dim)."""
        return self._run(self.model.encode_query, texts)

    def _limit(self) -> int | None:
        """Return the most tokens of a document: the model may have a limit of its own for them."""
        limits = [getattr(self.model[0], "document_length", None), super()._limit()]
        return min((limit for limit in limits if limit is not None), default=None)


def resolve_token_encoder(encoder: Any) -> MultiVectorEncoder | None:
    """Make a `MultiVectorEncoder` of what the user gave; None if it does not give token vectors.

    Parameters
    ----------
    encoder : object
        A `MultiVectorEncoder`, sentence-transformers' or any with ``is_multi_vector``.
    """
    if getattr(encoder, "is_multi_vector", False):
        found: MultiVectorEncoder = encoder
        return found
    scores = getattr(encoder, "similarity_fn_name", None)
    if str(getattr(scores, "value", scores)) in ("maxsim", "meanmaxsim") and hasattr(encoder, "encode_document"):
        return SentenceTokenEncoder(model=encoder)
    return None


def checked_tokens(
    matrices: Sequence[npt.ArrayLike], names: Sequence[str], similarity: Similarity, dim: int | None = None
) -> TokenVectors:
    """Check what an encoder gave, drop rows of zeros, and scale tokens to unit length for the cosine.

    Parameters
    ----------
    matrices : sequence of float (n_tokens, dim)
        One a text; it may have no rows.
    names : sequence of str
        What the texts are called in errors.
    similarity : "cosine" or "dot"
        The encoder's.
    dim : int, optional
        The dimension that is expected; that of the first matrix by default.

    Raises
    ------
    EncoderMismatch
        There are more or fewer matrices than texts.
    DimensionMismatch
        Dimensions differ.
    InvalidVector
        A matrix is not one of finite numbers.
    """
    if len(matrices) != len(names):
        raise EncoderMismatch(f"the encoder gave token vectors of {len(matrices)} texts for {len(names)}")
    found: list[Float32] = []
    for matrix, name in zip(matrices, names, strict=True):
        tokens = _matrix(matrix, name)
        dim = dim or tokens.shape[1]
        if tokens.shape[1] != dim:
            raise DimensionMismatch(f"the token vectors of {name!r} have {tokens.shape[1]} dimensions, expected {dim}")
        tokens = tokens[tokens.any(axis=1)]
        if similarity == "cosine":
            norms = np.sqrt(np.einsum("ij,ij->i", tokens, tokens, dtype=np.float64))[:, None]
            tokens = (tokens / norms).astype(np.float32)
        found.append(tokens)
    return TokenVectors.of(found, dim or 0)


def _matrix(values: npt.ArrayLike, name: str) -> Float32:
    try:
        matrix = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidVector(f"the token vectors of {name!r} are no matrix of numbers: {error}") from None
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise InvalidVector(f"the token vectors of {name!r} have shape {matrix.shape}, expected (n_tokens, dim)")
    is_finite = np.isfinite(matrix).all(axis=1)
    if not is_finite.all():
        raise InvalidVector(f"token vector {int(is_finite.argmin())} of {name!r} holds NaN or infinity")
    return matrix
