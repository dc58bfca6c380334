"""Commands that look after a store's file."""

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from binrag import Store


@pytest.fixture
def kb(tmp_path):
    path = tmp_path / "kb.binrag"
    with Store.open(path) as store:
        store.add([f"text {i}" for i in range(30)], ids=[f"d{i}" for i in range(30)], vectors=np.eye(30) + 0.1)
    return path


def damage(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_verify_says_that_a_store_is_sound_or_what_is_wrong(run, kb):
    assert run("verify", kb) == (0, "sound\n", "")
    assert run("verify", kb, "--json") == (0, "[]\n", "")
    damage(kb, "UPDATE documents SET text = 'other' WHERE row = 3")
    code, out, _ = run("verify", kb)
    assert code == 3
    assert out.splitlines()[0].startswith("checksum: document 'd3' (row 3): ")
    code, out, _ = run("verify", kb, "--json")
    assert (code, [finding["place"] for finding in json.loads(out)]) == (3, ["document 'd3' (row 3)"])


def test_verify_describes_what_is_no_store_at_all(run, tmp_path):
    (tmp_path / "letter.txt").write_text("dear reader, " * 1000)
    code, out, _ = run("verify", "letter.txt")
    assert code == 3
    assert "file is not a database" in out
    assert run("verify", "nothing.binrag")[0] == 1


def test_repair_compact_and_backup(run, kb):
    with Store.open(kb) as store:
        store.delete(["d0", "d1"])
    code, out, _ = run("backup", kb, "copy.binrag")
    assert (code, out) == (0, "copied to copy.binrag\n")
    code, out, _ = run("compact", kb, "--json")
    assert (code, json.loads(out)["n_dropped"]) == (0, 2)
    assert run("count", kb)[1] == run("count", "copy.binrag")[1] == "28\n"
    code, out, _ = run("repair", kb, "new.binrag")
    assert (code, out) == (0, "28 documents saved, 0 lost\n")
    damage(kb, "UPDATE documents SET text = 'other' WHERE id = 'd7'")
    code, out, _ = run("repair", kb, "newer.binrag", "--json")
    assert (code, json.loads(out)["n_saved"], json.loads(out)["n_lost"]) == (3, 27, 1)
    assert run("verify", "newer.binrag")[0] == 0
    assert run("repair", kb, "newer.binrag")[0] == 1
