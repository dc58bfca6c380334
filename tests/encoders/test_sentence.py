"""Sentence-transformers models: a real one, and one that shows which side was used."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import sentences
from processes import run_script

from binrag import EncoderMismatch, MissingDependency, SentenceEncoder, Store, TruncatedTextWarning, UnsupportedMode
from binrag.encoders import resolve_encoder
from binrag.errors import InvalidInput

QUESTIONS = {
    "How do I parse a date?": "strptime turns a string into a datetime by a format.",
    "capital of France": "Paris is the seat of the French government.",
    "feeding cats": "Kittens eat small meals several times a day.",
}


class Sided:
    """A model as sentence-transformers makes them, whose query side turns vectors by a quarter."""

    similarity_fn_name = "cosine"
    max_seq_length = 6
    model_card_data = SimpleNamespace(base_model="some/sided-model", model_id=None)

    def __init__(self, **attributes):
        self.calls = []
        self.__dict__.update(attributes)

    def _encode(self, side, texts, options):
        self.calls.append((side, options))
        vectors = np.array([[1.0, float(len(text))] for text in texts], dtype=np.float32)
        return vectors if side == "document" else vectors[:, ::-1] * np.float32([-1, 1])

    def encode_document(self, texts, **options):
        return self._encode("document", texts, options)

    def encode_query(self, texts, **options):
        return self._encode("query", texts, options)

    def tokenizer(self, texts, **options):
        assert options["truncation"] is False
        return {"input_ids": [["<s>", *text.split(), "</s>"] for text in texts]}


def test_both_sides_are_used(path):
    model = Sided()
    with Store.open(path, encoder=model, keep_vectors="float16") as store:
        assert store.info().encoder is None
        store.add(["abc", "a"], ids=["abc", "a"])
        assert store.info().encoder == "some/sided-model"
        hits = store.search("abc", k=2)
    # documents lie along (1, n), the query along (-3, 1)
    by_id = {hit.id: hit.score for hit in hits}
    assert by_id["abc"] == pytest.approx(0, abs=1e-3)
    assert by_id["a"] == pytest.approx(-2 / np.sqrt(20), abs=1e-3)
    assert {side for side, _ in model.calls} == {"document", "query"}
    assert all(options == {"batch_size": 32, "show_progress_bar": False} for _, options in model.calls)


def test_texts_longer_than_the_model_reads_are_counted_in_tokens():
    encoder = SentenceEncoder(model=Sided())
    assert encoder.count_truncated(["a b c d", "a b c d e", "a " * 50, "antidisestablishmentarianism"]) == 2
    assert SentenceEncoder(model=Sided(max_seq_length=None)).count_truncated(["a " * 50]) == 0


def test_a_batch_is_of_texts_of_about_as_many_tokens():
    """Characters tell little here: the texts of most tokens are the shortest."""
    texts = ["a b c d e f", "abcdefghijkl mn", "a b", "abcdefghijklmnop", "a b c d", "abcdefghij k"]
    for side in ("document", "query"):
        model = Sided(max_seq_length=512)
        batches = []
        given = Sided._encode
        model._encode = lambda *call, given=given, batches=batches, model=model: (
            batches.append(call[1]) or given(model, *call)
        )
        vectors = getattr(SentenceEncoder(model=model, batch_size=2), f"encode_{side}")(texts)
        assert batches == [["a b c d e f", "a b c d"], ["abcdefghijkl mn", "a b"], ["abcdefghij k", "abcdefghijklmnop"]]
        assert vectors.tolist() == given(model, side, texts, {}).tolist()


@pytest.mark.parametrize("limit", [None, float("inf")])
def test_a_model_without_a_limit_takes_the_texts_as_they_are(limit):
    model = Sided(max_seq_length=limit, tokenizer=None)
    assert len(SentenceEncoder(model=model, batch_size=2).encode_document(["a", "b b", "c"])) == 3
    assert model.calls == [("document", {"batch_size": 2, "show_progress_bar": False})]


def test_a_real_models_vectors_do_not_depend_on_the_batches(minilm):
    texts = [f"{'river stone ' * (n % 7)}{n}" for n in range(20)]
    batched = SentenceEncoder(model=minilm, batch_size=3).encode_document(texts)
    assert batched == pytest.approx(minilm.encode_document(texts), abs=1e-5)


def test_a_similarity_that_is_a_distance_is_refused(path):
    model = Sided(similarity_fn_name="euclidean")
    with (
        Store.open(path, encoder=model) as store,
        pytest.raises(UnsupportedMode, match=r"sided.*'euclidean'.*'cosine'"),
    ):
        store.add(["a"])


def test_the_dot_product_is_taken_over(path):
    with Store.open(path, encoder=Sided(similarity_fn_name="dot"), keep_vectors="float16") as store:
        store.add(["a" * 9])
        assert store.info().similarity == "dot"
        assert store.search("ab", k=1)[0].score == pytest.approx(-2 * 1 + 1 * 9, rel=1e-3)


@pytest.mark.parametrize("arguments", [{}, {"name": "a", "model": Sided()}])
def test_either_a_name_or_a_model(arguments):
    with pytest.raises(InvalidInput, match="either a name or a model"):
        SentenceEncoder(**arguments)


def test_without_sentence_transformers_the_message_names_the_extra(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with Store.open(path, encoder="some/model") as store:
        with pytest.raises(MissingDependency, match=r"'some/model' needs .*pip install 'binrag\[encoders\]'"):
            store.add(["text"])
        assert store.count() == 0


def test_a_name_that_is_nowhere(path):
    pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    with Store.open(path, encoder="no-such-owner/no-such-model") as store:
        with pytest.raises(EncoderMismatch, match="cannot load the model 'no-such-owner/no-such-model' from"):
            store.add(["text"])
        assert store.count() == 0


def test_a_folder_that_holds_no_model(path, tmp_path):
    pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    (tmp_path / "empty").mkdir()
    message = r"cannot load the model .*empty' from this folder"
    with Store.open(path, encoder=tmp_path / "empty") as store, pytest.raises(EncoderMismatch, match=message):
        store.add(["text"])


def add_answers(store):
    store.add(list(QUESTIONS.values()), ids=list(QUESTIONS))


def test_a_real_model_by_folder_answers_questions_and_comes_back_as_recorded(path, minilm_folder, minilm):
    with Store.open(path, encoder=minilm_folder) as store:
        add_answers(store)
        before = {question: store.search(question, k=3) for question in QUESTIONS}
        assert all(hits[0].id == question for question, hits in before.items())
        assert (store.info().encoder, store.info().dim) == (minilm_folder, 384)
    with Store.open(path, "r", encoder="recorded") as store:
        assert {question: store.search(question, k=3) for question in QUESTIONS} == before
    with Store.open(path, "r", encoder=minilm) as store:
        assert {question: store.search(question, k=3) for question in QUESTIONS} == before


def test_a_real_model_by_instance(path, minilm):
    with Store.open(path, encoder=minilm) as store:
        add_answers(store)
        for question in QUESTIONS:
            hit = store.search(question, k=1)[0]
            cosine = float(minilm.encode_query(question) @ minilm.encode_document(QUESTIONS[question]))
            assert hit.id == question
            assert hit.score == pytest.approx(cosine, abs=0.01)


def test_a_real_models_limit(path, minilm):
    limit = minilm.max_seq_length
    short, long = " ".join(["word"] * (limit - 2)), " ".join(["word"] * (limit - 1))
    glued = "word" * (limit // 2)
    encoder = resolve_encoder(minilm)
    assert [encoder.count_truncated([text]) for text in (short, long, glued)] == [0, 1, 0]
    with Store.open(path, encoder=minilm) as store:
        with pytest.warns(TruncatedTextWarning, match="2 of 3 texts are longer than the encoder reads"):
            store.add([short, long, long])
        assert store.info().n_truncated == 2
        store.add(["short"])
        assert store.info().n_truncated == 2


def test_the_model_loads_at_the_first_text_and_once(path, minilm, monkeypatch):
    loads = []
    monkeypatch.setattr(SentenceEncoder, "_load", lambda self: loads.append(self._name) or minilm)
    with Store.open(path, encoder="a/name") as store:
        store.info()
        store.count()
        assert loads == []
        store.add(sentences(3))
        store.search("river", k=1)
    assert loads == ["a/name"]


def test_a_model_is_loaded_without_pickles_and_without_code_of_its_own(monkeypatch):
    package = pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    calls = []

    def load(*names, **options):
        calls.append((names, options))
        return Sided()

    monkeypatch.setattr(package, "SentenceTransformer", load)
    SentenceEncoder("some/model").encode_query(["text"])
    ((names, options),) = calls
    assert names == ("some/model",)
    assert options["trust_remote_code"] is False
    assert options["model_kwargs"]["use_safetensors"] is True


def test_no_model_is_loaded_on_reopening_unasked(path, minilm_folder):
    printed = run_script(
        """
        import sys
        from binrag import Store
        with Store.open(sys.argv[1]) as store:
            store.add(vectors=[[1.0] * 384])
        with Store.open(sys.argv[1], encoder=sys.argv[2]) as store:
            store.count(), store.info(), store.search([1.0] * 384)
            print("torch" in sys.modules, "sentence_transformers" in sys.modules)
        """,
        path,
        "no/such/model",
    )
    assert printed.split() == ["False", "False"]
