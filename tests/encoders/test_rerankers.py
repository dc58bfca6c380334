"""What scores a query and a document together: adapters, and what they may not give."""

import numpy as np
import pytest

from binrag import EncoderMismatch, InvalidInput, InvalidVector
from binrag.encoders.rerankers import CrossEncoderReranker, FunctionReranker, reranked_scores, resolve_reranker

TEXTS = ["a b", "b", "a a"]


def count(query, texts):
    return [text.split().count(query) for text in texts]


class Model:
    """As a sentence-transformers `CrossEncoder`."""

    def predict(self, pairs, batch_size, show_progress_bar):
        assert (batch_size, show_progress_bar) == (32, False)
        return np.array([text.split().count(query) / 2 for query, text in pairs], dtype=np.float32)


class Own:
    def rerank(self, query, texts):
        return count(query, texts)


def test_what_can_be_a_reranker():
    assert reranked_scores(resolve_reranker(count), "a", TEXTS).tolist() == [1, 0, 2]
    assert reranked_scores(resolve_reranker(Model()), "a", TEXTS).tolist() == [0.5, 0, 1]
    own = Own()
    assert resolve_reranker(own) is own
    assert isinstance(resolve_reranker("name"), CrossEncoderReranker)
    assert resolve_reranker("name") is resolve_reranker("name")  # loaded once
    assert isinstance(resolve_reranker(count), FunctionReranker)
    assert reranked_scores(own, "a", []).tolist() == []
    with pytest.raises(InvalidInput, match="the reranker is a int, expected"):
        resolve_reranker(3)


@pytest.mark.parametrize(
    "scores", [[1.0], [[1.0], [2.0], [3.0]], [1.0, float("nan"), 0.0], ["a", "b", "c"], None, [float("inf")] * 3]
)
def test_bad_scores_are_refused(scores):
    with pytest.raises(InvalidVector, match="reranker"):
        reranked_scores(FunctionReranker(lambda query, texts: scores), "a", TEXTS)


def test_a_folder_without_a_model_says_so(tmp_path):
    pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    with pytest.raises(EncoderMismatch, match="cannot load the model"):
        CrossEncoderReranker(str(tmp_path)).rerank("a", TEXTS)


def test_a_real_cross_encoder(minilm):
    """An untrained head on a real model: what counts here is that pairs go in and a number each comes out."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    folder = minilm[0].auto_model.name_or_path
    model = sentence_transformers.CrossEncoder(folder, num_labels=1)
    scores = reranked_scores(resolve_reranker(model), "What is the capital?", TEXTS)
    assert scores.shape == (3,)
    assert scores.tolist() == pytest.approx(
        np.ravel(model.predict([("What is the capital?", t) for t in TEXTS])), abs=1e-5
    )
