"""Encoders of token vectors: what models and functions give becomes checked rows and offsets."""

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import length_encoder, unit, vectors_of

from binrag import DimensionMismatch, EncoderMismatch, InvalidInput, InvalidVector, Store, UnsupportedMode
from binrag.encoders import (
    SentenceEncoder,
    SentenceTokenEncoder,
    TokenEncoder,
    resolve_encoder,
    resolve_late_encoder,
)
from binrag.encoders.tokens import checked_tokens, resolve_token_encoder


class Normalize:
    pass


class Model(list):
    """A model as sentence-transformers makes them; its list is that of its modules."""

    similarity_fn_name = "maxsim"
    max_seq_length = 6

    def encode_document(self, texts, **options):
        assert options == {"batch_size": 32, "show_progress_bar": False, "convert_to_numpy": True}
        return [np.full((len(text.split()), 3), 2.0, np.float32) for text in texts]

    def encode_query(self, texts, **options):
        return [-matrix for matrix in self.encode_document(texts, **options)]

    def tokenizer(self, texts, **options):
        return {"input_ids": [["<s>", *text.split(), "</s>"] for text in texts]}


def test_a_models_two_sides():
    encoder = SentenceTokenEncoder(model=Model([SimpleNamespace(), Normalize()]))
    assert encoder.is_multi_vector
    assert encoder.similarity == "cosine"
    assert [matrix.tolist() for matrix in encoder.encode_document(["a b", ""])] == [[[2.0] * 3] * 2, []]
    assert encoder.encode_query(["a"])[0].tolist() == [[-2.0] * 3]


def test_the_similarity_of_a_model():
    assert SentenceTokenEncoder(model=Model([SimpleNamespace()])).similarity == "dot"
    model = Model([Normalize()])
    model.similarity_fn_name = SimpleNamespace(value="meanmaxsim")
    assert SentenceTokenEncoder(model=model).similarity == "cosine"
    model.similarity_fn_name = "cosine"
    with pytest.raises(UnsupportedMode, match=r"by 'cosine'; for token vectors binrag needs 'maxsim'"):
        _ = SentenceTokenEncoder(model=model).similarity


@pytest.mark.parametrize(("own", "n_truncated"), [(None, 1), (4, 2), (9, 1)])
def test_texts_longer_than_the_model_reads_are_counted(own, n_truncated):
    encoder = SentenceTokenEncoder(model=Model([SimpleNamespace(document_length=own)]))
    assert encoder.count_truncated(["a b", "a b c d", "a b c d e"]) == n_truncated


def test_a_function_and_one_for_queries():
    encoder = TokenEncoder(lambda texts: ([[1.0, 2.0]] * len(text) for text in texts), query=lambda texts: [[[3, 4]]])
    assert encoder.is_multi_vector
    assert encoder.encode_document(["ab", ""]) == [[[1.0, 2.0]] * 2, []]
    assert encoder.encode_query(["x"]) == [[[3, 4]]]
    assert encoder.count_truncated(["x"]) == 0
    assert TokenEncoder(length_encoder).encode_query(["a"])[0].tolist() == length_encoder(["a"])[0].tolist()
    assert TokenEncoder(length_encoder).encoder_id == "callable:fakes.length_encoder"
    assert TokenEncoder(length_encoder, encoder_id="mine", similarity="dot").encoder_id == "mine"


def test_what_is_no_function_is_refused():
    with pytest.raises(InvalidInput, match="got a str, expected a function"):
        TokenEncoder("colbert")
    with pytest.raises(InvalidInput, match="got a int, expected a function"):
        TokenEncoder(length_encoder, query=3)
    with pytest.raises(InvalidInput, match="similarity is 'maxsim', expected 'cosine' or 'dot'"):
        TokenEncoder(length_encoder, similarity="maxsim")


def test_an_encoder_of_token_vectors_is_told_from_one_of_vectors():
    wrapped, model = TokenEncoder(length_encoder), Model()
    assert resolve_token_encoder(wrapped) is wrapped
    assert isinstance(resolve_token_encoder(model), SentenceTokenEncoder)
    single = Model()
    single.similarity_fn_name = "cosine"
    for other in (None, "name", length_encoder, single, SentenceEncoder("name")):
        assert resolve_token_encoder(other) is None


def test_encoders_are_for_the_stores_of_their_kind():
    for encoder in (TokenEncoder(length_encoder), Model()):
        with pytest.raises(UnsupportedMode, match="a vector for each token, and the store holds one a document"):
            resolve_encoder(encoder)
        assert resolve_late_encoder(encoder).is_multi_vector
    assert resolve_late_encoder(None) is None
    assert isinstance(resolve_late_encoder("name"), SentenceTokenEncoder)
    assert isinstance(resolve_late_encoder(length_encoder), TokenEncoder)
    single = Model()
    single.similarity_fn_name = "cosine"
    for encoder in (SentenceEncoder("name"), single):
        with pytest.raises(UnsupportedMode, match="gives one vector a text, and the store holds a vector for each"):
            resolve_late_encoder(encoder)
    with pytest.raises(InvalidInput, match="expected a function"):
        resolve_late_encoder(3)


def test_rows_are_scaled_for_the_cosine_only_and_zeros_are_dropped():
    rows = vectors_of(3, 4)
    padded = np.concatenate([rows, np.zeros((2, 4), np.float32)])
    tokens = checked_tokens([padded, np.zeros((0, 4)), rows[:1].tolist()], ["a", "b", "c"], "cosine")
    assert tokens.offsets.tolist() == [0, 3, 3, 4]
    assert tokens[0] == pytest.approx(unit(rows), rel=1e-6)
    assert tokens.vectors.dtype == np.float32
    assert np.array_equal(checked_tokens([padded], ["a"], "dot").vectors, rows)
    assert checked_tokens([], [], "cosine", 7).vectors.shape == (0, 7)


@pytest.mark.parametrize(
    ("matrices", "error", "message"),
    [
        ([], EncoderMismatch, "token vectors of 0 texts for 1"),
        ([np.zeros((1, 3))] * 2, EncoderMismatch, "token vectors of 2 texts for 1"),
        ([np.ones((2, 3))], DimensionMismatch, "of 'doc' have 3 dimensions, expected 4"),
        ([np.ones(4)], InvalidVector, r"of 'doc' have shape \(4,\), expected \(n_tokens, dim\)"),
        ([np.ones((2, 0))], InvalidVector, r"shape \(2, 0\)"),
        ([[["a", "b"]]], InvalidVector, "of 'doc' are no matrix of numbers"),
        ([[[1.0], [1.0, 2.0]]], InvalidVector, "of 'doc' are no matrix of numbers"),
        ([[[1.0] * 4, [1.0, np.nan, 1, 1]]], InvalidVector, "token vector 1 of 'doc' holds NaN or infinity"),
        ([[[np.inf] * 4]], InvalidVector, "token vector 0 of 'doc' holds NaN or infinity"),
    ],
)
def test_bad_token_vectors_are_refused(matrices, error, message):
    with pytest.raises(error, match=message):
        checked_tokens(matrices, ["doc"], "cosine", 4)


def test_a_real_model(minilm):
    """The stand-in of the module's docstring: the token vectors of an ordinary model."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    modules = pytest.importorskip("sentence_transformers.multi_vector_encoder.modules", reason="it came with 6.0")
    normalize = pytest.importorskip("sentence_transformers.sentence_transformer.modules").Normalize
    skipping = modules.MultiVectorMask(skiplist_words=["."])
    parts = [minilm[0], skipping, normalize(module_input_name="token_embeddings")]
    encoder = resolve_token_encoder(sentence_transformers.MultiVectorEncoder(modules=parts))
    assert encoder.similarity == "cosine"
    texts = ["Paris is the capital of France.", "Cats."]
    tokens = checked_tokens(encoder.encode_document(texts), texts, encoder.similarity)
    assert tokens.offsets.tolist() == [0, 8, 11]  # a start, an end, and neither padding nor the full stop
    assert tokens.dim == 384
    query = checked_tokens(encoder.encode_query(["French capital"]), ["q"], encoder.similarity)
    scores = [(query[0] @ tokens[i].T).max(axis=1).sum() for i in range(2)]
    assert scores[0] > scores[1] + 0.3
    assert encoder.count_truncated(["word " * 300, "short"]) == 1


def test_a_model_may_pool_tokens(minilm, path):
    """Fewer vectors a document, and so fewer bytes; the model's own last module does it."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    modules = pytest.importorskip("sentence_transformers.multi_vector_encoder.modules", reason="it came with 6.0")
    normalize = pytest.importorskip("sentence_transformers.sentence_transformer.modules").Normalize
    parts = [minilm[0], modules.MultiVectorMask(), normalize(module_input_name="token_embeddings")]
    text = "The quick brown fox jumps over the lazy dog, and the dog sleeps on."
    n_bytes = []
    for pooling in ([], [modules.HierarchicalTokenPooling(pool_factor=2)]):
        encoder = sentence_transformers.MultiVectorEncoder(modules=[*parts, *pooling])
        with Store.open(path.with_name(f"pooled{len(pooling)}"), encoder=encoder) as store:
            store.add([text, "Paris is the capital of France."], ids=["fox", "paris"])
            assert store.search("lazy animals", k=1)[0].id == "fox"
            n_bytes.append(store.stats().document_bytes["vectors"])
    assert n_bytes[1] < 0.65 * n_bytes[0]
