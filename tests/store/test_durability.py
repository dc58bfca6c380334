"""What a commit waits for: the disk, or the system."""

import json

import numpy as np
import pytest
from faults import SYNC, failing_disk, steps

from binrag import InvalidInput, Store
from binrag.cli import main


def pragma(store, name):
    database = store._handle.database
    return database._writer(database._state).execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize(("asked", "synchronous"), [({}, 2), ({"durability": "commit"}, 2), ({"durability": "os"}, 1)])
def test_what_sqlite_is_told(path, asked, synchronous):
    Store.open(path).close()
    with Store.open(path, "rw", **asked) as store:
        store.add(vectors=np.eye(3))
        assert pragma(store, "synchronous") == synchronous
        assert pragma(store, "journal_mode") == "wal"
        assert pragma(store, "wal_autocheckpoint") == 0
        store.recode("rotated-sign")
        assert pragma(store, "synchronous") == synchronous


def test_it_belongs_to_the_handle(path):
    with Store.open(path, durability="os") as quick, Store.open(path) as careful:
        quick.add(vectors=np.eye(3))
        careful.add(vectors=np.eye(3))
        assert (pragma(quick, "synchronous"), pragma(careful, "synchronous")) == (1, 2)
    with Store.open(path) as store:
        assert (store.count(), pragma(store, "synchronous")) == (6, 2)


@pytest.mark.parametrize("durability", ["full", "OS", "", None, True, 0])
@pytest.mark.parametrize("mode", ["c", "r"])
def test_anything_else_is_refused(path, durability, mode):
    with pytest.raises(InvalidInput, match=f"durability is {durability!r}, expected one of commit, os"):
        Store.open(path, mode, durability=durability)
    assert not path.exists()


@pytest.mark.parametrize(("durability", "at_least"), [("commit", 10), ("os", 0)])
def test_the_disk_is_waited_for_at_every_commit_or_at_the_end(path, tmp_path, peer, durability, at_least):
    other = peer(LD_PRELOAD=str(failing_disk(tmp_path)))
    other.run("from faults import *\nstore = Store.open(p, durability=d)", p=str(path), d=durability)
    counting = f"disk().faults_watch(p.encode(), -1); disk().faults_at(0, 0, {steps(SYNC)}, 0, 0)"
    n_synced = other.run(
        f"{counting}\nfor _ in range(10): store.add(vectors=np.eye(3))\nresult = disk().faults_steps()", p=str(path)
    )
    assert n_synced >= 10 if at_least else n_synced <= 1, "the log's first frame may be synced"
    assert other.run("store.close(); result = disk().faults_steps()") >= n_synced + 2, "log and store, by closing"


def test_the_command_passes_it_on(tmp_path, monkeypatch, capsys):
    asked, real = [], Store.open.__func__

    def spy(cls, path, mode="c", **settings):
        asked.append(settings.get("durability", "absent"))
        return real(cls, path, mode, **settings)

    monkeypatch.setattr(Store, "open", classmethod(spy))
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "1", "text": "one", "vector": [1, 2, 3]}))
    for more, expected in (([], "commit"), (["--durability", "os"], "os")):
        assert main(["add", str(tmp_path / "kb"), str(tmp_path / "in.jsonl"), "--quiet", *more]) == 0
        assert asked[-1] == expected
    with pytest.raises(SystemExit) as error:
        main(["add", str(tmp_path / "kb"), str(tmp_path / "in.jsonl"), "--durability", "none"])
    assert error.value.code == 2
