"""What is exported can be imported."""

import io
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from binrag import ALL_TENANTS, Store

EVERYTHING = {
    "nothing": None,
    "yes": True,
    "int": -7,
    "big": 2**64 - 1,
    "float": 1.0,
    "tiny": 5e-324,
    "text": "Zoë\u2028 — 書\n",
    "bytes": b"\x00\xffraw",
    "empty": b"",
    "naive": datetime(2024, 2, 29, 12, 30, 15, 250),
    "midnight": datetime(2024, 5, 1),
    "utc": datetime(2024, 2, 29, 12, tzinfo=UTC),
    "offset": datetime(1969, 7, 20, 20, 17, tzinfo=timezone(timedelta(hours=-5))),
    "date": date(1815, 12, 10),
    "list": [1, "two", None, b"\x03", [date(2000, 1, 1), {}]],
    "dict": {"inner": {"deep": b"1"}, "$date": "no date, as there are two keys"},
    "like a date": {"$date": "2024-05-01"},
    "like bytes": {"$binary": {"x": date(2024, 5, 1)}},
    "like a literal": [{"$literal": {"$date": 3}}],
    "$date": "a key of the document",
}


@pytest.fixture
def kb(tmp_path):
    path = tmp_path / "kb.binrag"
    draw = np.random.default_rng(1)
    with Store.open(path) as store:
        for tenant in (None, "acme", "zoë"):
            n = 300 if tenant is None else 3  # more than a page
            metadata = [EVERYTHING, *({"n": i} for i in range(1, n))]
            texts, ids = [f"{tenant} {i}" for i in range(n)], [f"d{i}" for i in range(n)]
            store.add(texts, vectors=draw.standard_normal((n, 8)), ids=ids, metadata=metadata, tenant=tenant)
        store.add([None], vectors=np.ones((1, 8)), ids=["no text"])
    return path


def documents(path, **selection):
    with Store.open(path, "r") as store:
        return [(d.tenant, d.id, d.text, d.metadata) for d in store.iter(**selection)]


def by_tenant(found):
    return sorted(found, key=lambda document: document[0] or "")


def test_every_type_tenant_and_vector_comes_back(run, kb, tmp_path):
    code, out, err = run("export", kb, "--all-tenants", "--vectors")
    assert (code, err) == (0, "")
    assert out.isascii()
    (tmp_path / "kb.jsonl").write_text(out)
    code, summary, err = run("import", "new.binrag", "kb.jsonl", "--quiet", "--json", "--commit-every", 100)
    assert (code, err) == (0, "")
    assert json.loads(summary) == {"added": 307, "unchanged": 0, "repeated": 0, "skipped": 0, "count": 307}
    expected = documents(kb, tenant=ALL_TENANTS)
    assert repr(by_tenant(documents("new.binrag", tenant=ALL_TENANTS))) == repr(by_tenant(expected))
    with Store.open(kb, "r") as old, Store.open("new.binrag", "r") as new:
        for tenant in (None, "acme", "zoë"):
            ids = [document.id for document in old.iter(tenant=tenant)]
            before, after = old.vectors(ids, tenant=tenant), new.vectors(ids, tenant=tenant)
            assert list(before) == list(after) == ids
            for id_ in ids:
                step = np.abs(before[id_]).max() / 127
                np.testing.assert_allclose(after[id_] / np.linalg.norm(after[id_]), before[id_], atol=step)
    assert run("import", "new.binrag", "kb.jsonl", "--quiet")[0] == 0
    assert run("count", "new.binrag", "--all-tenants")[1].strip() == "307"


def test_a_selection_is_exported(run, kb):
    def ids(*options):
        return [json.loads(line)["id"] for line in run("export", kb, *options)[1].splitlines()]

    assert ids("--where", '{"n": {"$gte": 298}}') == ["d298", "d299"]
    assert ids("--where", '{"n": 1}', "--all-tenants") == ["d1", "d1", "d1"]
    assert ids("--tenant", "acme") == ["d0", "d1", "d2"]
    lines = [json.loads(line) for line in run("export", kb, "--tenant", "acme", "--where", '{"n": 1}')[1].splitlines()]
    assert lines == [{"id": "d1", "tenant": "acme", "text": "acme 1", "metadata": {"n": 1}}]
    assert run("export", kb, "--where", "{")[0] == 1


def test_texts_without_vectors_are_told_of(run, kb):
    code, out, err = run("export", kb)
    assert code == 0
    assert json.loads(out.splitlines()[-1]) == {"id": "no text"}
    assert "1 documents have no text" in err


def test_a_store_without_vectors_has_none_to_export(run, tmp_path):
    with Store.open(tmp_path / "bare.binrag", keep_vectors="none") as store:
        store.add(["a"], vectors=[[1.0, 2.0]])
    code, _, err = run("export", "bare.binrag", "--vectors")
    assert code == 1
    assert "keeps no vectors" in err
    assert run("export", "bare.binrag")[0] == 0


def test_a_line_without_tenant_is_of_the_one_given(run, monkeypatch):
    lines = [{"id": "a", "vector": [1, 2]}, {"id": "a", "vector": [1, 2], "tenant": "acme"}]

    def add(*lines):
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return run("add", "kb.binrag", "--quiet", "--tenant", "acme")

    assert add(lines[0])[0] == 0
    assert documents("kb.binrag", tenant=ALL_TENANTS) == [("acme", "a", None, {})]
    assert add(lines[1])[0] == 0
    code, _, err = add({**lines[0], "tenant": "other"})
    assert code == 1
    assert "opened for tenant 'acme' alone" in err
    assert documents("kb.binrag", tenant=ALL_TENANTS) == [("acme", "a", None, {})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"vector": [1], "metadata": {"x": {"$date": "May"}}}', "$date is 'May', expected a date or datetime"),
        ('{"vector": [1], "metadata": {"x": [{"$date": 5}]}}', "$date is 5, expected"),
        ('{"vector": [1], "metadata": {"x": {"$binary": "%"}}}', "$binary is '%', expected bytes in base64"),
        ('{"vector": [1], "metadata": {"x": {"$binary": null}}}', "$binary is None"),
        ('{"vector": [1], "metadata": {"x": {"$literal": 1}}}', "$literal is 1, expected an object"),
        ('{"vector": [1], "metadata": {"x": ' + '{"a": ' * 900 + "1" + "}" * 902, "nested"),
        ('{"vector": [1], "tenant": ""}', "tenant is '', expected a non-empty string"),
        ('{"vector": [1], "tenant": 3}', "tenant is 3"),
    ],
)
def test_bad_lines_are_named(run, tmp_path, line, reason):
    (tmp_path / "in.jsonl").write_text('{"id": "a", "vector": [1]}\n' + line)
    code, _, err = run("import", "kb.binrag", "in.jsonl", "--quiet", "--on-error", "skip")
    assert code == 6
    assert f"in.jsonl:2: {reason}" in err or (reason == "nested" and "nested" in err)
    assert [id_ for _, id_, *_ in documents("kb.binrag")] == ["a"]


@pytest.mark.parametrize(("tenant", "n_read"), [("long", 10), ("acme", 0)])
def test_a_reader_that_goes_away_is_no_crash(kb, tenant, n_read):
    """In the middle of the output, or before what fits into a buffer is written."""
    with Store.open(kb) as store:
        store.add(["text " * 1000] * 300, vectors=np.ones((300, 8)), tenant="long")
    command = [sys.executable, "-m", "binrag", "export", str(kb), "--tenant", tenant]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered)
    process.stdout.read(n_read)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
