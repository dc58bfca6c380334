"""`Store.train_binarizer` and the binarizers that come with binrag."""

import numpy as np
import pytest
from fakes import WordEncoder, sentences, topical, vectors_of
from processes import run_script

from binrag import BinarizerMismatch, InvalidInput, Store, Training, TrainingError, VectorsUnavailable
from binrag.binarizers.artefact import load_artefact
from binrag.store import settings, shipped
from binrag.store.training import KINDS, default_code_bytes

DIM = 64


def corpus(n=700, seed=0):
    return topical(n, DIM, seed)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "a.binrag", keep_vectors="float16") as opened:
        opened.add([f"text {i}" for i in range(700)], ids=[str(i) for i in range(700)], vectors=corpus())
        yield opened


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("recurrent", "linear", "nested")])
def test_every_kind_is_fitted_and_used(store, kind):
    training = store.train_binarizer(kind)
    assert isinstance(training, Training)
    assert (training.kind, training.n_rows + training.n_queries) == (kind, 700)
    assert training.code_bytes == store.info().code_bytes == default_code_bytes(kind, DIM)
    assert 0.3 < training.recall_after <= 1
    best = np.argsort(-(corpus() @ corpus()[5]) / np.linalg.norm(corpus(), axis=1))[0]
    assert store.search(corpus()[5], k=1)[0].id == str(best)


def test_codes_find_more_than_signs_and_stay_for_the_next_to_open(store, tmp_path):
    signs = store.info().code_bytes
    training = store.train_binarizer("additive", code_bytes=24, queries=corpus(300, seed=3))
    assert training.recall_after > training.recall_before
    assert (training.n_rows, training.n_queries) == (700, 60)
    assert store.info().code_bytes == 24 > signs
    hits = store.search(corpus()[0], k=5)
    store.add(vectors=corpus(3, seed=5))
    path = store.path
    store.close()
    with Store.open(path) as again:
        assert again.info().binarizer == "additive"
        assert again.search(corpus()[0], k=5) == hits
        assert again.count() == 703
    with pytest.raises(BinarizerMismatch, match="'auto' was asked for"):
        Store.open(path, binarizer="auto")


def test_an_artefact_serves_another_store_and_can_be_adapted(store, tmp_path):
    file = tmp_path / "mine.binarizer"
    store.train_binarizer("additive", code_bytes=18, artefact=file)
    binarizer, provenance = load_artefact(file)
    assert provenance["n_rows"] == 560
    with Store.open(tmp_path / "b.binrag", "x", binarizer=binarizer, keep_vectors="none") as other:
        other.add(ids=[str(i) for i in range(700)], vectors=corpus())
        assert other.info().code_bytes == 18
        training = other.train_binarizer("additive", vectors=corpus(), start=file)
        assert training.code_bytes == 18
        assert other.search(corpus()[7], k=1)[0].id == "7"


def test_texts_as_queries_are_encoded(tmp_path):
    def encode(texts):
        return [corpus(1, seed=len(text) + ord(text[-1]))[0] for text in texts]

    with Store.open(tmp_path / "c.binrag", encoder=encode) as store:
        store.add([f"The quick brown fox jumped {i} times over it. And rested." for i in range(600)])
        given = store.train_binarizer("itq", queries=[f"fox {i}?" for i in range(50)], force=True)
        own = store.train_binarizer("itq", queries="sentences", force=True)
    assert (given.n_rows, given.n_queries) == (600, 10)
    assert (own.n_rows, own.n_queries) == (600, 120)


def test_training_needs_torch_and_says_so_before_anything_is_done(tmp_path):
    printed = run_script(
        f"""
        import sys
        sys.modules["torch"] = None
        from binrag import Store
        with Store.open({str(tmp_path / "a.binrag")!r}) as store:
            try:
                store.train_binarizer("recurrent")
            except ImportError as error:
                print(type(error).__name__, error)
        """
    )
    assert printed.count("MissingDependency training needs torch: pip install") == 1


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"kind": "magic"}, InvalidInput, "expected one of additive, quick"),
        ({"kind": "itq", "start": "x.binarizer"}, InvalidInput, "fitted from scratch"),
        ({"kind": "additive", "start": "x.binarizer"}, InvalidInput, "x.binarizer"),
        ({"artefact": "no/such/folder/x.binarizer"}, InvalidInput, "no folder no/such/folder"),
        ({"code_bytes": 9}, InvalidInput, "code_bytes"),
        ({"code_bytes": 2.5}, InvalidInput, "code_bytes"),
        ({"queries": "words"}, InvalidInput, "sentences"),
        ({"queries": np.ones((30, 3))}, ValueError, "3 dimensions"),
        ({"vectors": corpus(5)}, InvalidInput, "5"),
        ({"queries": np.ones((3, DIM), np.float32)}, TrainingError, "got 3 vectors"),
    ],
)
def test_what_cannot_be_trained_changes_nothing(store, options, error, part):
    before = store.info(), store.search(corpus()[0])
    with pytest.raises(error, match=part):
        store.train_binarizer(**options)
    assert (store.info(), store.search(corpus()[0])) == before


def test_too_few_documents(tmp_path):
    with Store.open(tmp_path / "d.binrag") as store:
        with pytest.raises(TrainingError, match="empty"):
            store.train_binarizer()
        store.add(vectors=corpus(100))
        with pytest.raises(TrainingError, match="256 are needed"):
            store.train_binarizer()


def test_without_vectors_or_an_encoder(tmp_path):
    with Store.open(tmp_path / "e.binrag", keep_vectors="none") as store:
        store.add(vectors=corpus())
        with pytest.raises(VectorsUnavailable):
            store.train_binarizer()
        assert store.train_binarizer("itq", vectors=corpus()).n_rows == 560


def encoder_record(canaries):
    return {"encoder_id": "x", "dim": canaries.shape[1], "document": canaries.astype("<f4").tobytes()}


@pytest.mark.parametrize("code_bytes", [48, 96, 192])
def test_the_shipped_binarizers_are_for_one_encoder(code_bytes):
    name = shipped.SHIPPED[384][code_bytes]
    binarizer, provenance = load_artefact(name)
    assert binarizer.code_bytes == code_bytes
    assert (binarizer.dim, provenance["encoder_id"]) == (384, "sentence-transformers/all-MiniLM-L6-v2")
    other = encoder_record(vectors_of(3, 384))
    assert shipped.shipped_binarizer(other, 384, code_bytes) is None
    assert shipped.shipped_binarizer(None, 384, code_bytes) is None
    assert shipped.shipped_binarizer(encoder_record(vectors_of(3, 64)), 64, None) is None


@pytest.mark.parametrize(("code_bytes", "expected"), [(None, 96), (48, 48), (192, 192)])
def test_auto_takes_the_shipped_binarizer_of_the_encoder(tmp_path, minilm, code_bytes, expected):
    with Store.open(tmp_path / "f.binrag", encoder=minilm, code_bytes=code_bytes) as store:
        store.add(["Paris is the capital of France.", "Water boils at 100 degrees.", "Cats sleep a lot."])
        assert (store.info().binarizer, store.info().code_bytes) == ("additive", expected)
        assert store.search("What is France's capital?", k=1)[0].text == "Paris is the capital of France."
    assert settings.Settings().code_bytes is None


def test_auto_with_a_size_that_does_not_exist(tmp_path, minilm):
    with (
        Store.open(tmp_path / "g.binrag", encoder=minilm, code_bytes=77) as store,
        pytest.raises(InvalidInput, match="code_bytes=77"),
    ):
        store.add(["a text"])


def test_texts_are_encoded_once_to_be_fitted_to_and_recoded(tmp_path):
    encoder, texts, seen = WordEncoder(DIM), sentences(700), []
    with Store.open(tmp_path / "h.binrag", encoder=encoder, keep_vectors="none") as store:
        store.add(texts, ids=texts)
        n_before = encoder.n_encoded
        with pytest.warns(UserWarning, match="encoding 700 texts again") as caught:
            training = store.train_binarizer("itq", force=True, progress=lambda *counts: seen.append(counts))
        assert caught[0].filename == __file__
        assert encoder.n_encoded - n_before == 700
        assert (training.n_rows, training.n_queries) == (560, 140)
        assert seen.count((700, 700)) == 2  # encoded, recoded
        with Store.open(tmp_path / "i.binrag", encoder=encoder, keep_vectors="float16") as other:
            other.add(texts, ids=texts)
            assert other.train_binarizer("itq", force=True).recall_after == pytest.approx(
                training.recall_after, abs=0.02
            )
        assert store.search(texts[3], k=1)[0].id == texts[3]
