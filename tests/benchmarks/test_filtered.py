"""The benchmark of filtered searches, on few rows."""

import json

import pytest

from benchmarks import filtered


def test_the_command_prints_and_writes_what_filters_cost(tmp_path, capsys):
    out, page = tmp_path / "out.json", tmp_path / "page.md"
    options = ["--rows", "1500", "--queries", "2", "--json", str(out), "--markdown", str(page)]
    assert filtered.main(options) == 0
    printed = capsys.readouterr().out
    assert page.read_text(encoding="utf-8") == printed
    results = {row["condition"]: row for row in json.loads(out.read_text())["results"]}
    assert results["number = 1 of all"]["matching"] == 1
    assert results["number in 0.1 %"]["matching"] in (0, 1)
    assert results["language =, 1 of 10"]["matching"] in (149, 150)
    assert results["tenant, 1 of 1,000, rows apart"]["matching"] == 16
    shares = [row["scan_share"] for row in results.values() if row["scan_share"] is not None]
    assert len(shares) == 2
    assert min(shares) > 0
    assert printed.count("of one of everything, and") == 2


@pytest.mark.parametrize("options", [["--rows", "999"], ["--queries", "0"]])
def test_settings_that_cannot_be_run_are_refused(capsys, options):
    assert filtered.main(options) == 2
    assert "expected rows ≥ 1,000" in capsys.readouterr().err
