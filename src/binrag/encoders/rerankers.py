"""Models that read a query and a document together, and score the pair: what the first hits are ordered by at last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from binrag.encoders.sentence import SentenceModel
from binrag.errors import InvalidInput, InvalidVector
from binrag.protocols import Reranker
from binrag.types import Float64


class CrossEncoderReranker(SentenceModel):
    """A sentence-transformers `CrossEncoder`, by name, by folder, or loaded.

    A model given by name or folder is loaded at the first use: safetensors only, no remote code. Scores are those of
    its `predict`: in [0, 1] for most models of one label.

    Parameters
    ----------
    name : str, optional
        A local folder, else a name on the model hub.
    model : CrossEncoder, optional
        A loaded model.
    batch_size : int
        Pairs that go through the model at once.

    Raises
    ------
    MissingDependency
        At the first use, if sentence-transformers is not installed.
    """

    _model_class: ClassVar[str] = "CrossEncoder"

    def rerank(self, query: str, texts: Sequence[str]) -> npt.ArrayLike:
        """Score texts for a query: float (n,), higher is better."""
        model: Any = self.model
        found: npt.ArrayLike = model.predict(
            [(query, text) for text in texts], batch_size=self._batch_size, show_progress_bar=False
        )
        return found

    def relevances(self, scores: Float64) -> Float64:
        """Return scores on a scale from 0 to 1: as they are if the model ends in a sigmoid, else through one."""
        activation = getattr(self.model, "activation_fn", None)
        return scores if type(activation).__name__ == "Sigmoid" else 1 / (1 + np.exp(-scores))


class FunctionReranker:
    """Any function of a query and a list of texts that gives a score for each.

    Parameters
    ----------
    function : callable
        ``function(query: str, texts: list[str])`` gives float (n,), higher is better.
    """

    def __init__(self, function: Callable[[str, list[str]], npt.ArrayLike]) -> None:
        self._function = function

    def rerank(self, query: str, texts: Sequence[str]) -> npt.ArrayLike:
        """Call the function."""
        return self._function(query, list(texts))


def resolve_reranker(reranker: Any) -> Reranker:
    """Make a `Reranker` of what the user gave: a model's name or folder, a `CrossEncoder`, a `Reranker`, a function.

    Raises
    ------
    InvalidInput
        If it is none of these.
    """
    if hasattr(reranker, "rerank"):
        found: Reranker = reranker
        return found
    if isinstance(reranker, (str, Path)):
        return _by_name(str(reranker))
    if hasattr(reranker, "predict"):
        return CrossEncoderReranker(model=reranker)
    if callable(reranker):
        return FunctionReranker(reranker)
    raise InvalidInput(
        f"the reranker is a {type(reranker).__name__}, expected a model's name or folder, a CrossEncoder, an object "
        "with rerank(query, texts), or a function of these two"
    )


@lru_cache(maxsize=1)
def _by_name(name: str) -> CrossEncoderReranker:
    """Return a model by name: the last one that was asked for, so that not every search loads it."""
    return CrossEncoderReranker(name)


def reranked_scores(reranker: Reranker, query: str, texts: Sequence[str]) -> Float64:
    """Return a reranker's scores, checked: float64 (n,).

    Raises
    ------
    InvalidVector
        If they are not one finite number a text.
    """
    if not texts:
        return np.zeros(0)
    try:
        scores = np.asarray(reranker.rerank(query, texts), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidVector(f"the reranker's scores are no numbers: {error}") from error
    if scores.shape != (len(texts),) or not np.isfinite(scores).all():
        raise InvalidVector(
            f"the reranker gave scores of shape {scores.shape}, finite: {bool(np.isfinite(scores).all())}; expected a "
            f"finite number for each of {len(texts)} texts (a model of one label)"
        )
    return scores


def relevances_of(reranker: Reranker, scores: Float64) -> list[float] | list[None]:
    """Return scores on a scale from 0 to 1 where the reranker knows one: it has ``relevances(scores)``."""
    of = getattr(reranker, "relevances", None)
    return [None] * len(scores) if of is None else np.clip(of(scores), 0, 1).tolist()
