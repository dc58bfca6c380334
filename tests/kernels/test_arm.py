"""Kernels on 64-bit ARM: what they consist of there, and that an emulated processor finds what the definition says."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from binrag.kernels.tables import NEON, PERMUTES, permute_name, vector_bytes

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("only here to look at ARM from elsewhere")
    pytest.importorskip("unicorn", reason="the dev group brings it")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")},
        "NUMBA_OPT": "0",
        "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-W", "ignore", str(HERE / "arm.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_they_find_what_the_definition_says(found):
    assert set(found["checked"]) == {*(f"{n} words{way}" for n in (1, 2, 6) for way in ("", " by tables")), "products"}
    assert min(found["checked"].values()) > 50


@pytest.mark.parametrize("n_words", [1, 6, 16, 64])
def test_words_are_counted_by_vectors(found, n_words):
    """16 rows a group are 8 vectors of 16 bytes a word; loops over words are unrolled in part."""
    assert found["scans"][f"{n_words} words"]["cnt"] >= 8 * min(n_words, 6)


def test_tables_are_looked_up_by_vectors(found):
    """Each of 48 bytes has two tables, in the comparison and in the filling."""
    assert found["scans"]["6 words by tables"]["tbl"] >= 2 * 2 * 48


def test_the_permutation_is_the_targets(monkeypatch):
    assert permute_name("aarch64-unknown-linux-gnu", 16) == permute_name("arm64-apple-darwin23.1.0", 16) == NEON
    assert permute_name("x86_64-unknown-linux-gnu", 16) == PERMUTES[16][1]
    monkeypatch.setattr("llvmlite.binding.get_process_triple", lambda: "arm64-apple-darwin23.1.0")
    assert vector_bytes() == 16
