"""`Store.probe`: measured on the sample, kept in the file, shown by `info` and the shell."""

import json

import numpy as np
import pytest
from fakes import topical, vectors_of

from binrag import InvalidInput, Probe, Store
from binrag.cli import main


def test_the_verdict_is_kept(tmp_path, capsys):
    path = tmp_path / "a.binrag"
    with Store.open(path) as store:
        store.add(vectors=topical(900, 64))
        assert store.info().probe is None
        found = store.probe()
        assert isinstance(found, Probe)
        assert (found.dim, found.n_documents + found.n_queries, found.rescored) == (64, 900, True)
        assert store.info().probe == found.verdict
    with Store.open(path, "r") as store:
        assert store.probe() == found
        assert store.info().probe == found.verdict
    assert main(["probe", str(path)]) == 0
    assert capsys.readouterr().out.strip() == found.verdict
    assert main(["probe", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["verdict"], shown["sign"]["top"]) == (found.verdict, found.sign.top)
    assert main(["info", str(path)]) == 0
    assert found.verdict in capsys.readouterr().out


def test_unfit_vectors_are_named(tmp_path):
    with Store.open(tmp_path / "b.binrag", keep_vectors="none") as store:
        store.add(vectors=np.abs(vectors_of(900, 256)))
        found = store.probe()
    assert not found.suits_few_bits
    assert found.sign_information < 0.2
    assert not found.rescored
    assert "one-sided" in found.verdict


@pytest.mark.parametrize("n", [0, 47])
def test_too_few_documents(tmp_path, n):
    with Store.open(tmp_path / "c.binrag") as store:
        if n:
            store.add(vectors=topical(n, 64))
        with pytest.raises(InvalidInput, match=f"{n} rows are too few to probe"):
            store.probe()
        assert store.info().probe is None
