"""Artefacts: a binarizer in one file, and what becomes of a file that is not one."""

import numpy as np
import pytest
from fakes import vectors_of

from binrag.binarizers import artefact
from binrag.binarizers.artefact import ARTEFACT, load_artefact, read_sealed, save_artefact, write_sealed
from binrag.binarizers.recurrent import RecurrentBinarizer
from binrag.binarizers.sign import SignBinarizer
from binrag.errors import BinarizerMismatch, BinragError, EncoderMismatch, FormatVersionError, InvalidInput

PROVENANCE = {"seed": 3, "scores": {"recall_at_10": 0.5}, "command": "train"}


@pytest.fixture
def made(tmp_path):
    binarizer = SignBinarizer(64, mean=vectors_of(1, 64)[0])
    path = tmp_path / "a.binarizer"
    save_artefact(path, binarizer, PROVENANCE, encoder_id="words", canaries=vectors_of(3, 64, seed=1))
    return path, binarizer


def test_a_binarizer_comes_back(tmp_path):
    x = vectors_of(500, 64)
    path = tmp_path / "r.binarizer"
    for binarizer in (SignBinarizer(64), RecurrentBinarizer.fit(x, code_bytes=18)):
        save_artefact(path, binarizer, PROVENANCE, encoder_id="words")
        again, provenance = load_artefact(path, encoder_id="words", dim=64)
        assert provenance == {**PROVENANCE, "encoder_id": "words"}
        assert type(again) is type(binarizer)
        for name in ("words", "rest", "rescale"):
            assert np.array_equal(getattr(again.transform(x), name), getattr(binarizer.transform(x), name))


def test_the_bytes_are_stable(made, tmp_path):
    path, _ = made
    again = tmp_path / "b.binarizer"
    save_artefact(again, *load_artefact(path)[:1], PROVENANCE, encoder_id="words", canaries=vectors_of(3, 64, seed=1))
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.binarizer", "b.binarizer"]


def test_every_flipped_byte_and_every_truncation_is_noticed(made):
    path, _ = made
    data = path.read_bytes()
    for place in [*range(24), *range(24, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises((InvalidInput, FormatVersionError), match=r"a\.binarizer"):
            load_artefact(path)
        path.write_bytes(data[:place])
        with pytest.raises(InvalidInput, match=r"not a binarizer artefact|truncated or altered"):
            load_artefact(path)
    path.write_bytes(data + b"x")
    with pytest.raises(InvalidInput, match="truncated or altered"):
        load_artefact(path)


def test_other_files(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read as a binarizer artefact: No such file"):
        load_artefact(tmp_path / "missing.binarizer")
    foreign = tmp_path / "foreign.npy"
    foreign.write_bytes(b"\x93NUMPY" + bytes(100))
    with pytest.raises(InvalidInput, match="is not a binarizer artefact of binrag"):
        load_artefact(foreign)
    with pytest.raises(InvalidInput, match="no artefact 'sesame' comes with binrag"):
        load_artefact("sesame")


def test_another_version(made):
    path, _ = made
    data = path.read_bytes()
    path.write_bytes(data[:8] + (9).to_bytes(4, "little") + data[12:])
    with pytest.raises(FormatVersionError, match="of version 9, this version of binrag reads 0"):
        load_artefact(path)


def test_a_binarizer_of_a_later_version(made):
    path, _ = made
    record = read_sealed(path, ARTEFACT, "an artefact")
    write_sealed(path, ARTEFACT, {**record, "component_id": "quantum"})
    with pytest.raises(FormatVersionError, match="quantum"):
        load_artefact(path)


def test_a_sealed_record_that_does_not_fit(made):
    path, _ = made
    record = read_sealed(path, ARTEFACT, "an artefact")
    write_sealed(path, ARTEFACT, {**record, "config": {"dim": 64, "mean": b"abc"}})
    with pytest.raises(BinragError, match=r"does not fit|shape"):
        load_artefact(path)


def test_another_dimension(made):
    with pytest.raises(BinarizerMismatch, match="64 dimensions, these have 128"):
        load_artefact(made[0], dim=128)


def test_the_encoder_is_known_by_its_vectors(made):
    path, _ = made
    canaries = vectors_of(3, 64, seed=1)
    load_artefact(path, encoder_id="another name", canaries=2 * canaries)
    load_artefact(path, encoder_id="words")
    load_artefact(path)
    with pytest.raises(EncoderMismatch, match="'words', these are of 'letters'"):
        load_artefact(path, encoder_id="letters")
    changed = canaries.copy()
    changed[2] += 0.1 * vectors_of(1, 64, seed=9)[0]
    for other in (changed, canaries[:2], np.zeros_like(canaries)):
        with pytest.raises(EncoderMismatch):
            load_artefact(path, encoder_id="words", canaries=other)


def test_what_cannot_be_written(tmp_path):
    path = tmp_path / "a.binarizer"
    with pytest.raises(InvalidInput, match=r"canaries have shape \(3, 5\), expected \(n, 64\)"):
        save_artefact(path, SignBinarizer(64), {}, canaries=vectors_of(3, 5))
    with pytest.raises(InvalidInput, match="use msgpack types"):
        save_artefact(path, SignBinarizer(64), {"when": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_dies_leaves_the_old_file(made, monkeypatch):
    path, binarizer = made
    before = path.read_bytes()

    def fail(self, data):
        raise OSError("disk full")

    monkeypatch.setattr(artefact.Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_artefact(path, binarizer, {})
    assert path.read_bytes() == before


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "evil.binarizer"
    touched = tmp_path / "touched"
    path.write_bytes(b"\x80\x04cposix\nsystem\n" + f"(S'touch {touched}'\ntR.".encode())
    with pytest.raises(InvalidInput):
        load_artefact(path)
    assert not touched.exists()
