"""`Store.stats` says what training would gain: measured on the sample, and once."""

import json

import numpy as np
import pytest
from fakes import topical

from binrag import Store, TrainingGain
from binrag import probe as probing
from binrag.cli import main
from binrag.probe import split
from binrag.store import sampled

DIM, N = 64, 700
ROWS = topical(2000, DIM)


@pytest.fixture
def counted(monkeypatch):
    """Calls of the probe, and of what makes codes of the sample."""
    calls = []
    for module, name in ((probing, "probe"), (sampled, "recall_of")):
        real = getattr(module, name)

        def counting(*arguments, name=name, real=real, **options):
            calls.append(name)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, counting)
    return calls


def test_signs_now_and_fitted_codes(path):
    with Store.open(path) as store:
        store.add(vectors=ROWS[:N])
        gain, found = store.stats().training_gain, store.probe()
        assert gain == TrainingGain(
            n_documents=613,
            n_queries=87,
            code_bytes=10,
            recall=found.sign.top,
            same_bytes=10,
            recall_same_bytes=found.fitted[1].top,
            default_bytes=16,
            recall_default=found.fitted[2].top,
            command="train_binarizer()",
        )
        assert f"find {found.sign.top:.2f} with 10 bytes a row" in str(gain)
        assert f"{found.fitted[1].top:.2f} with 10 bytes a row, {found.fitted[2].top:.2f} with 16" in str(gain)
        assert store.train_binarizer().code_bytes == gain.default_bytes
        after = store.stats().training_gain
        assert (after.code_bytes, after.same_bytes, after.recall_default) == (16, 16, gain.recall_default)
        assert after.recall > gain.recall
        assert "fitted ones" in str(after)
        assert "a row, 0" not in str(after)


@pytest.mark.parametrize("kind", ["additive", "quick"])
def test_what_the_codes_find_now_is_what_a_search_finds(path, tmp_path, kind):
    with Store.open(path, keep_vectors="float16") as store:
        store.add(vectors=ROWS[:N])
        store.train_binarizer(kind)
        gain, space = store.stats().training_gain, store._handle.snapshot.space
        with store._handle.database.reading() as reading:
            documents, queries = split(space.sample(reading))
    exact = np.argsort(-(queries @ documents.T), axis=1)[:, :10].tolist()
    with Store.open(tmp_path / "alone", binarizer=space.binarizer, keep_vectors="none") as alone:
        alone.add(vectors=documents, ids=map(str, range(len(documents))))
        found = [{int(hit.id) for hit in hits} for hits in alone.search_batch(queries)]
    share = np.mean([len(hits & set(best)) / 10 for hits, best in zip(found, exact, strict=True)])
    assert gain.recall == pytest.approx(share, abs=0.003)


@pytest.mark.parametrize(("n", "dim"), [(0, 64), (1, 64), (571, 64), (N, 63)])
def test_too_few_vectors_or_dimensions(path, n, dim, counted):
    with Store.open(path) as store:
        store.add(vectors=ROWS[:n, :dim] if n else [])
        assert store.stats().training_gain is None
    assert counted == []


def test_it_is_measured_again_only_when_something_changed(path, counted):
    with Store.open(path, keep_vectors="none") as store:
        store.add(vectors=ROWS[:N])
        first = store.stats().training_gain
        store.add(vectors=ROWS[N : 2 * N - 1])
        assert store.stats().training_gain == first
        assert counted == ["probe"]
        store.add(vectors=ROWS[2 * N - 1 : 2 * N])
        assert store.stats().training_gain.n_documents == 2 * N - 175
        assert counted == ["probe", "probe"]
        store.recode("rotated-sign", vectors=ROWS[: 2 * N])
        assert store.stats().training_gain.recall != first.recall
        assert counted == ["probe", "probe", "probe", "recall_of"]


def test_the_probe_that_the_file_keeps_is_used(path, counted, capsys):
    with Store.open(path) as store:
        store.add(vectors=ROWS[:N])
        store.probe()
        assert counted == ["probe"]
    with Store.open(path, "r") as store:
        generation = store.info().generation
        gain = store.stats().training_gain
        assert (gain.n_documents, counted) == (613, ["probe"])
        assert store.info().generation == generation
    assert main(["info", str(path)]) == 0
    assert str(gain) in capsys.readouterr().out
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training_gain"]["recall"] == gain.recall
