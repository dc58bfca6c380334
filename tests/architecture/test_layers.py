"""The map of rooms: who may import whom."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import binrag

ROOT = Path(__file__).parents[2]


def lint_imports(folder, source):
    pytest.importorskip("importlinter", reason="the dev group brings it")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run(
        [*command, "--no-cache", "--config", str(folder / "pyproject.toml")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_layers_hold():
    done = lint_imports(ROOT, Path(binrag.__file__).parent.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("kernels/bits.py", "import binrag.types"),
        ("storage/schema.py", "import numba"),
        ("indexes/flat.py", "import binrag.store"),
        ("ranking/rescore.py", "import torch"),
        ("unmapped.py", ""),
    ],
)
def test_a_step_over_a_border_is_noticed(tmp_path, place, line):
    copy = tmp_path / "src" / "binrag"
    shutil.copytree(Path(binrag.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    target = copy / place
    target.write_text((target.read_text() if target.exists() else "") + f"\n{line}\n")
    done = lint_imports(tmp_path, tmp_path / "src")
    assert done.returncode != 0, done.stdout + done.stderr
