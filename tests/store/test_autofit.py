"""`binarizer="auto"` fits codes to the store's own vectors: once, after a commit, and never at its expense."""

import logging
import os
import re
import threading
import warnings

import numpy as np
import pytest
from fakes import topical, unit, vectors_of

from binrag import (
    AutoFitWarning,
    BinarizerMismatch,
    InvalidInput,
    Store,
    TrainingError,
)
from binrag.cli import main
from binrag.indexes.flat import row_bytes
from binrag.probe import probe
from binrag.storage.vectors import decode_vectors
from binrag.store import autofit
from binrag.store.training import KINDS, QUICK_DIM, default_code_bytes

DIM, N = 64, 600
ROWS = topical(5100, DIM)
IDS = [str(i) for i in range(len(ROWS))]


@pytest.fixture
def soon(monkeypatch):
    """Fit at 600 documents."""
    monkeypatch.setattr(autofit, "N_DOCUMENTS", N)


def add(store, first, stop, rows=ROWS, **options):
    return store.add(vectors=rows[first:stop], ids=IDS[first:stop], **options)


def fitted(store):
    return store.info().binarizer not in ("auto", "sign")


def check_codes(store, before=None):
    """All codes of rows that were there at the fit are those of the file's binarizer, of the vectors that it keeps."""
    store.refresh()
    index, space = store._handle.snapshot.index, store._handle.snapshot.space
    assert space.binarizer.component_id == store.info().binarizer
    rows = np.flatnonzero(np.unpackbits(index.live.view(np.uint8), bitorder="little")[: index.n_rows])[:before]
    with store._handle.database.reading() as reading:
        vectors = decode_vectors(reading.vectors(rows.tolist()), "int8", space.dim)
    expected = space.binarizer.transform(space.prepared(vectors))
    grouped = index.codes[rows // 16, :, :, rows % 16].reshape(len(rows), -1)
    assert np.array_equal(grouped, row_bytes(expected.words))
    assert np.array_equal(index.rest[rows], expected.rest)
    assert np.array_equal(index.rescale[rows], expected.rescale)


def counted(monkeypatch, kind="quick", then=None):
    """Count the fits of a kind, and do something at the first."""
    real, calls = KINDS[kind], []

    def fit(vectors, **options):
        calls.append(len(vectors))
        if then is not None and len(calls) == 1:
            then()
        return real(vectors, **options)

    monkeypatch.setitem(KINDS, kind, fit)
    return calls


def test_five_thousand_documents(path, caplog):
    with Store.open(path) as store, Store.open(path, "r") as reader:
        add(store, 0, 4999)
        assert store.info().auto_fit == reader.info().auto_fit == "due at 5,000 documents"
        before = [hit.id for hit in reader.search(ROWS[7], k=3)]
        assert not caplog.records
        assert add(store, 4999, 5000) == ["4999"]
        info = store.info()
        assert (info.binarizer, info.code_bytes, info.n_documents) == ("linear", 16, 5000)
        assert info.auto_fit.startswith("at 5,000 documents: fitted 'quick' codes of 16 bytes a row in ")
        check_codes(store)
        announced = [record.message for record in caplog.records if record.name == "binrag"]
        assert len(announced) == 2
        assert "has 5,000 documents: fitting codes" in announced[0]
        assert "signs of 10 bytes" in announced[1]
        assert reader.info() == info
        assert reader.search(ROWS[7], k=3)[0].id == before[0] == "7"
        check_codes(reader)
    with Store.open(path, binarizer="auto", auto_fit=True) as store:
        add(store, 5000, 5050)
        assert store.info().auto_fit == info.auto_fit
        assert store.count() == 5050
        check_codes(store, before=5000)


def test_the_codes_find_more_than_signs(path, tmp_path, soon):
    queries, rows = topical(50, DIM, seed=9), ROWS[:2000]
    exact = np.argsort(-(queries @ rows.T), axis=1)[:, :10]

    def recall(binarizer, name):
        with Store.open(tmp_path / name, binarizer=binarizer, keep_vectors="none") as alone:
            alone.add(vectors=rows, ids=IDS[:2000])
            found = [{int(hit.id) for hit in hits} for hits in alone.search_batch(queries)]
        return np.mean([len(a & set(b)) / 10 for a, b in zip(found, exact.tolist(), strict=True)])

    with Store.open(path) as store:
        add(store, 0, 2000)
        store.refresh()
        assert recall(store._handle.snapshot.space.binarizer, "b") > recall("sign", "a") + 0.1


@pytest.mark.parametrize(("dim", "needed"), [(64, 5000), (1200, 5000), (1201, 5004), (4096, 16584)])
def test_how_many_documents_it_takes(path, dim, needed):
    with Store.open(path, dim=dim) as store:
        assert store.info().auto_fit == f"due at {needed:,} documents"


def test_dead_rows_do_not_count(path, soon):
    with Store.open(path) as store:
        add(store, 0, N - 1)
        add(store, 0, 300)
        store.delete(IDS[:10])
        assert not fitted(store)
        add(store, 0, 11, rows=-ROWS)
        assert store.count() == N - 1
        add(store, N, N + 1)
        assert fitted(store)
        check_codes(store)


def test_a_long_add_fits_at_the_commit_that_reaches_it(path, soon, monkeypatch):
    calls, seen = counted(monkeypatch), []
    with Store.open(path) as store:
        ids = add(store, 0, 1000, commit_every=100, progress=lambda done, total: seen.append((done, total)))
        assert ids == IDS[:1000]
        check_codes(store, before=N)
    assert calls == [N - 120]  # a fifth is held out
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1000, 1000)


def test_in_a_transaction_it_waits_for_the_commit(path, soon):
    with Store.open(path) as store:
        with pytest.raises(KeyError), store.transaction():
            add(store, 0, N)
            raise KeyError
        assert (store.count(), fitted(store)) == (0, False)
        with store.transaction():
            add(store, 0, N)
            assert not fitted(store)
            with store._handle.database.reading(own_writes=True) as reading:
                assert store._handle.space_of(reading).binarizer.component_id == "sign"
        assert fitted(store)
        check_codes(store)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auto_fit": False}, "off: auto_fit=False"),
        ({"code_bytes": 10}, "off: auto_fit=False, or code_bytes"),
        ({"keep_vectors": "none"}, r"no vectors are kept.*train_binarizer\('quick'\)"),
        ({"binarizer": "sign"}, None),
        ({"binarizer": "rotated-sign"}, None),
    ],
)
def test_what_keeps_a_store_on_signs(path, soon, options, said):
    with Store.open(path, **options) as store:
        add(store, 0, N)
    with Store.open(path) as store:  # the file keeps it, for whoever adds
        add(store, N, N + 1)
        assert store.info().code_bytes == 10
        found = store.info().auto_fit
        assert found is None if said is None else re.search(said, found)


def test_below_64_dimensions_codes_stay_signs(path, soon):
    with Store.open(path) as store:
        store.add(vectors=topical(N, 63))
        assert store.info().binarizer == "sign"
        assert store.info().auto_fit == "off: below 64 dimensions codes stay signs"


@pytest.mark.parametrize(
    ("created", "asked", "error"),
    [
        ({}, {"auto_fit": False}, BinarizerMismatch),
        ({"auto_fit": False}, {"auto_fit": True}, BinarizerMismatch),
        ({"binarizer": "sign"}, {"auto_fit": True}, BinarizerMismatch),
        ({"code_bytes": 10}, {"auto_fit": True}, BinarizerMismatch),
        ({"auto_fit": True}, {"auto_fit": True}, None),
        ({"auto_fit": False}, {"auto_fit": False}, None),
        ({"binarizer": "sign"}, {"auto_fit": False}, None),
    ],
)
def test_a_flag_that_contradicts_the_files_is_refused(path, created, asked, error):
    Store.open(path, **created).close()
    if error is None:
        Store.open(path, **asked).close()
    else:
        with pytest.raises(error, match=f"auto_fit={asked['auto_fit']} was asked for, the store's is"):
            Store.open(path, **asked)


@pytest.mark.parametrize(
    "options", [{"auto_fit": 1}, {"auto_fit": True, "binarizer": "sign"}, {"auto_fit": True, "code_bytes": 10}]
)
def test_a_flag_that_no_new_store_can_have(path, options):
    with pytest.raises(InvalidInput, match="auto_fit"):
        Store.open(path, **options)
    assert not path.exists()


def broken(vectors, **options):
    raise TrainingError("no luck")


def test_a_fit_that_fails_costs_nothing_but_a_warning_and_is_not_tried_again(path, soon, monkeypatch):
    with Store.open(path) as store:
        with monkeypatch.context() as patched:
            patched.setitem(KINDS, "quick", broken)
            with pytest.warns(AutoFitWarning, match=r"the documents are stored, .* failed.*: no luck") as caught:
                assert add(store, 0, N) == IDS[:N]
            assert caught[0].filename == __file__
        assert store.info().auto_fit == "failed, codes stay signs: no luck; train_binarizer() tries again"
        calls = counted(monkeypatch)
        add(store, N, N + 1)
        assert (calls, fitted(store), store.count()) == ([], False, N + 1)
    with Store.open(path) as store:
        add(store, N + 1, N + 2)
        assert (calls, fitted(store)) == ([], False)
        store.recode("auto")  # codes from the start again
        assert store.info().auto_fit == f"due at {N} documents"
        add(store, N + 2, N + 3)
        assert (len(calls), fitted(store)) == (1, True)


def test_a_filter_that_makes_warnings_errors_does_not_make_add_fail(path, soon, monkeypatch, caplog):
    monkeypatch.setitem(KINDS, "quick", broken)
    with Store.open(path) as store, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert add(store, 0, N) == IDS[:N]
    assert "no luck" in caplog.records[-1].message
    assert caplog.records[-1].levelno == logging.WARNING


def test_while_another_writer_works_it_waits_for_the_next_add(path, soon, monkeypatch):
    held, release = threading.Event(), threading.Event()

    def hold():
        with Store.open(path) as other, other.transaction():
            held.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    calls = counted(monkeypatch, then=lambda: (holder.start(), held.wait(60)))
    with Store.open(path, lock_timeout=0.1) as store:
        assert add(store, 0, N) == IDS[:N]
        assert (len(calls), fitted(store)) == (1, False)
        assert store.info().auto_fit == f"due at {N} documents"
        release.set()
        holder.join()
        add(store, N, N + 1)
        assert (len(calls), fitted(store)) == (2, True)


def test_of_two_handles_one_fits(path, soon, monkeypatch):
    with Store.open(path) as store, Store.open(path) as other:
        calls = counted(monkeypatch, then=lambda: add(other, N, N + 5))
        add(store, 0, N)
        assert len(calls) == 2
        assert store.refresh() == other.refresh() == 3  # two adds, one fit
        assert store.info().auto_fit.startswith(f"at {N + 5} documents")
        check_codes(store)
        check_codes(other)


def test_killed_between_the_commit_and_the_fit(path, peer):
    other = peer()
    other.send(
        """
        from binrag.store import autofit
        autofit.N_DOCUMENTS = n
        autofit.fit = lambda *arguments: os.kill(os.getpid(), 9)
        Store.open(p).add(vectors=fakes.topical(n, 64), ids=[str(i) for i in range(n)])
        """,
        p=str(path),
        n=N,
    )
    with pytest.raises(AssertionError, match="ended with code -9"):
        other.answer()
    with Store.open(path) as store:
        assert (store.count(), fitted(store)) == (N, False)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(autofit, "N_DOCUMENTS", N)
            add(store, N, N + 1)
        assert (store.count(), fitted(store)) == (N + 1, True)
        check_codes(store)


def test_codes_that_gain_nothing_are_not_taken(path, soon, monkeypatch, caplog):
    monkeypatch.setattr(autofit, "MARGIN", 1.0)
    calls = counted(monkeypatch)
    with Store.open(path) as store:
        add(store, 0, N)
        add(store, N, N + 1)
        assert (len(calls), fitted(store)) == (1, False)
        assert f"at {N} documents: left signs, 'quick' codes" in store.info().auto_fit
    assert "left signs" in caplog.records[-1].message


UNFIT = {
    "random directions": (unit(vectors_of(N, DIM)), "all directions are used alike"),
    "one-sided": (np.random.default_rng(1).poisson(1.0, (N, DIM)) + np.eye(N, DIM), "one-sided"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_vectors_that_few_bits_do_not_suit_get_four_and_a_warning(path, soon, name):
    vectors, why = UNFIT[name]
    with Store.open(path) as store:
        with pytest.warns(AutoFitWarning, match=f"few bits don't suit the vectors: .*{why}") as caught:
            add(store, 0, N, rows=vectors)
        assert caught[0].filename == __file__
        assert (store.info().binarizer, store.info().code_bytes) == ("lloyd-max", 34)
        assert why in store.info().probe
        gain = store.stats().training_gain
        assert gain.command == "train_binarizer('lloyd-max', code_bytes=34)"
        assert gain.recall > 0.75
        check_codes(store)


@pytest.mark.parametrize("name", UNFIT)
def test_few_bits_are_not_fitted_to_them_unless_forced(path, name, capsys):
    vectors, why = UNFIT[name]
    with Store.open(path, keep_vectors="none") as store:
        add(store, 0, N, rows=vectors)
        before = store.info()
        for options in ({"kind": "additive"}, {"kind": "quick"}, {"kind": "itq"}, {"kind": "levels", "code_bytes": 26}):
            message = f"{why}.* take kind='lloyd-max' with code_bytes=34, or pass force=True"
            with pytest.raises(TrainingError, match=message):
                store.train_binarizer(**options, vectors=vectors)
        assert store.info() == before
        assert store.train_binarizer("lloyd-max", code_bytes=34, vectors=vectors).recall_after > 0.7
        assert store.train_binarizer("itq", vectors=vectors, force=True).code_bytes == 10
    file, artefact = path.with_name("v.npy"), path.with_name("mine.binarizer")
    np.save(file, vectors)
    command = ["train", str(file), "--kind", "itq", "--artefact", str(artefact)]
    assert main(command) == 1
    assert why in capsys.readouterr().err
    assert main([*command, "--force"]) == 0


def test_vectors_of_text_pass(minilm):
    from binrag.cli.standard_library import read_standard_library

    texts = [document.text for document, _ in zip(read_standard_library(), range(600), strict=False)]
    found = probe(minilm.encode_document(texts))
    assert found.judged
    assert found.suits_few_bits
    assert found.least_bytes == 0


def test_quick_codes_of_many_dimensions_are_levels(path):
    rows = topical(2000, 128)
    assert KINDS["quick"](rows, code_bytes=32, queries=None, seed=0, progress=None).component_id == "linear"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("binrag.store.training.QUICK_DIM", 100)
        code_bytes = default_code_bytes("quick", 128)
        assert code_bytes == 34
        made = KINDS["quick"](rows, code_bytes=code_bytes, queries=None, seed=0, progress=None)
    assert (made.component_id, made.code_bytes) == ("levels", 34)
    assert default_code_bytes("quick", QUICK_DIM) == QUICK_DIM // 4
    assert default_code_bytes("quick", 1536) == 386


def test_the_shell_says_so_and_has_a_flag(tmp_path, soon, capsys):
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(f'{{"id": "{i}", "vector": {row.tolist()}}}\n' for i, row in enumerate(ROWS[:N])))
    on, off = str(tmp_path / "on"), str(tmp_path / "off")
    assert main(["add", on, str(lines), "--quiet", "--commit-every", "250"]) == 0
    shown = capsys.readouterr()
    assert f"binrag: {on} has {N} documents: fitting codes to their vectors" in shown.err
    assert f"binrag: {on}: at {N} documents: fitted 'quick' codes" in shown.err
    assert "fitted" not in shown.out
    assert logging.getLogger("binrag").handlers == []
    assert main(["add", off, str(lines), "--quiet", "--no-auto-fit"]) == 0
    assert "fitt" not in capsys.readouterr().err
    assert main(["info", off]) == 0
    shown = capsys.readouterr().out
    assert "off: auto_fit=False" in shown
    assert "train_binarizer()" in shown


def test_an_add_in_a_forked_child_finds_the_fit_due(path, soon):
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    with Store.open(path) as store:
        add(store, 0, N - 1)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                add(store, N - 1, N)
                code = 0 if fitted(store) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert fitted(store)
        check_codes(store)
