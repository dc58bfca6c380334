"""The benchmark of filters, on few rows: it times every condition and notices a wrong bitmap."""

import json

import numpy as np
import pytest

from benchmarks import filters
from binrag import Eq


def test_the_command_prints_and_writes_what_conditions_cost(tmp_path, capsys):
    out, page = tmp_path / "out.json", tmp_path / "page.md"
    assert filters.main(["--rows", "5000", "--repeats", "2", "--json", str(out), "--markdown", str(page)]) == 0
    printed = capsys.readouterr().out
    assert page.read_text(encoding="utf-8") == printed
    results = json.loads(out.read_text())["results"]
    written = [row for row in results if "bytes_a_row" in row]
    asked = [row for row in results if "warm_ms" in row]
    assert {row["name"] for row in written} == {row["name"] for row in asked}
    assert {row["n_distinct"] for row in written} >= {1, 10, 5000}
    matching = {(row["name"], row["condition"]): row["matching"] for row in asked}
    assert matching["distinct integers", "Eq"] == 1
    assert matching["distinct integers", "Lt"] == 2500
    assert matching["in 0.1 % of the rows", "Exists"] == 5
    assert "| distinct strings | Exists | 5,000 |" in printed


def test_a_wrong_bitmap_is_noticed(monkeypatch):
    monkeypatch.setattr(filters, "select", lambda node, n_rows, *_: np.zeros(-(-n_rows // 64), np.uint64))
    with pytest.raises(RuntimeError, match=r"selects \{'k': 1\}: False"):
        filters.measure(filters.Case("two", [1, 2], {"Eq": Eq("k", 1)}), 1)


@pytest.mark.parametrize("options", [["--rows", "0"], ["--repeats", "0"]])
def test_settings_that_cannot_be_run_are_refused(capsys, options):
    assert filters.main(options) == 2
    assert "expected rows ≥ 1" in capsys.readouterr().err
