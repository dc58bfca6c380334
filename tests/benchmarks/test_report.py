import json
import platform

import numpy as np
import pytest

from benchmarks import report


def test_a_table_has_a_rule_and_escaped_bars():
    text = report.table(["case", "value"], [["a|b", "1"], ["c", "22"]])
    assert text.splitlines() == ["| case | value |", "| :-- | --: |", "| a\\|b | 1 |", "| c | 22 |"]


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="3 cells under 2 headings"):
        report.table(["a", "b"], [["1", "2", "3"]])


def test_numbers_have_separators_and_a_dash_for_none():
    assert report.number(12345.678, 1) == "12,345.7"
    assert report.number(0.64508, 4) == "0.6451"
    assert report.number(None) == "–"


def test_the_environment_names_machine_versions_command_and_date():
    found = report.environment("benchmarks.quality", ["--data", "a folder"])
    assert found["command"] == "python -m benchmarks.quality --data 'a folder'"
    assert found["python"] == platform.python_version()
    assert found["packages"]["numpy"] == np.__version__
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["cpu"] == report.cpu_model()
    line = report.environment_line(found)
    for part in (found["machine"]["cpu"], f"numpy {np.__version__}", found["python"], found["date"][:10]):
        assert part in line


def test_versions_leave_out_what_is_not_installed():
    assert report.versions(["numpy", "no-such-package-here"]) == {"numpy": np.__version__}


def test_json_is_written_with_the_environment(tmp_path):
    path = tmp_path / "results" / "run.json"
    report.write_json(path, {"command": "x"}, [{"case": "nDCG ÷ float", "value": 0.5}])
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "command": "x",
        "results": [{"case": "nDCG ÷ float", "value": 0.5}],
    }


def test_json_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        report.write_json(tmp_path / "run.json", {}, float("nan"))
