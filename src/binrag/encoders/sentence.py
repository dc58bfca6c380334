"""Sentence-transformers models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from binrag.errors import EncoderMismatch, InvalidInput, MissingDependency, UnsupportedMode
from binrag.threads import Mutex
from binrag.types import Float32, Similarity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_SIMILARITIES: dict[str, Similarity] = {"cosine": "cosine", "dot": "dot"}


class SentenceModel:
    """A model of sentence-transformers, by name or folder, then loaded at the first use, or loaded already."""

    _model_class: ClassVar[str] = "SentenceTransformer"

    def __init__(self, name: str | None = None, *, model: Any = None, batch_size: int = 32) -> None:
        if (name is None) == (model is None):
            raise InvalidInput(f"give {type(self).__name__} either a name or a model")
        self._name = name
        self._model = model
        self._batch_size = batch_size
        self._loading = Mutex()

    @property
    def model(self) -> SentenceTransformer:
        """The model, loaded now if it was not."""
        with self._loading:
            if self._model is None:
                self._model = self._load()
        return cast("SentenceTransformer", self._model)

    def _load(self) -> Any:
        try:
            import sentence_transformers
        except ImportError as error:
            raise MissingDependency(
                f"the model {self._name!r} needs sentence-transformers: pip install 'binrag[encoders]' (see README "
                "for the CPU build of torch)"
            ) from error
        name = str(self._name)
        try:
            kind = getattr(sentence_transformers, self._model_class)
            return kind(name, trust_remote_code=False, model_kwargs={"use_safetensors": True}, device=None)
        except (OSError, ValueError) as error:
            place = "this folder" if Path(name).is_dir() else "a local folder or on the model hub"
            raise EncoderMismatch(f"cannot load the model {name!r} from {place}: {error}") from error


class SentenceEncoder(SentenceModel):
    """A sentence-transformers model, by name, by folder, or loaded.

    A model given by name or folder is loaded at the first use: safetensors only, no remote code.

    Parameters
    ----------
    name : str, optional
        A local folder, else a name on the model hub.
    model : SentenceTransformer, optional
        A loaded model.
    batch_size : int
        Texts that go through the model at once, padded to the longest of them; of those given in one call, such as
        have about as many tokens are taken together.

    Raises
    ------
    MissingDependency
        At the first use, if sentence-transformers is not installed.
    """

    @property
    def encoder_id(self) -> str:
        """The name it was asked for by; for a loaded model, the name it was loaded by."""
        if self._name is not None:
            return self._name
        for module in self._model if isinstance(self._model, Iterable) else ():
            name = getattr(getattr(module, "auto_model", None), "name_or_path", None)
            if name:
                return str(name)
        card = getattr(self._model, "model_card_data", None)
        return str(getattr(card, "base_model", None) or f"model:{type(self._model).__name__}")

    @property
    def similarity(self) -> Similarity:
        """The similarity that the model declares.

        Raises
        ------
        UnsupportedMode
            If it is a distance: codes compare directions.
        """
        declared = str(getattr(self.model.similarity_fn_name, "value", self.model.similarity_fn_name))
        if declared not in _SIMILARITIES:
            raise UnsupportedMode(
                f"the model {self.encoder_id} compares vectors by {declared!r}; binrag needs 'cosine' or 'dot'"
            )
        return _SIMILARITIES[declared]

    def encode_document(self, texts: list[str]) -> npt.ArrayLike:
        """Encode documents: float32 (n, dim)."""
        return self._encoded(self.model.encode_document, texts)

    def encode_query(self, texts: list[str]) -> npt.ArrayLike:
        """Encode queries: float32 (n, dim)."""
        return self._encoded(self.model.encode_query, texts)

    def _encoded(self, encode: Callable[..., Float32], texts: list[str]) -> Float32:
        """Encode texts, those of about as many tokens in one batch: a batch is padded to the longest of it.

        The model itself would sort them by characters, whose tokens may be several times as many in one text as in
        another.
        """
        run = partial(encode, batch_size=self._batch_size, show_progress_bar=False)
        limit = self.model.max_seq_length
        if len(texts) <= self._batch_size or limit is None or math.isinf(limit):
            return run(texts)
        order = np.argsort([-min(n, limit) for n in self._n_tokens(texts)], kind="stable")
        batches = (order[first : first + self._batch_size] for first in range(0, len(order), self._batch_size))
        vectors = np.concatenate([run([texts[i] for i in batch]) for batch in batches])
        return vectors[np.argsort(order)]

    def _n_tokens(self, texts: list[str]) -> list[int]:
        encoded = self.model.tokenizer(texts, add_special_tokens=True, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def _limit(self) -> int | None:
        return self.model.max_seq_length

    def count_truncated(self, texts: list[str]) -> int:
        """Count the texts of more tokens than the model reads."""
        limit = self._limit()
        if limit is None:
            return 0
        # a token covers one character at least, and two or so are special
        long = [text for text in texts if len(text) > limit - 4]
        return sum(n > limit for n in self._n_tokens(long)) if long else 0
