"""Cheaper ways to encode with a sentence-transformers model: what `benchmarks.encoding` compares.

Every option is made of the same model's folder. What has to be computed first (an exported graph, a table of static
vectors) is kept in a folder and made once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.encoders import SentenceEncoder
from binrag.errors import MissingDependency
from binrag.types import Float32

STATIC_DIM = 256
"""Dimensions of a static vector, as Model2Vec's are by default."""

SIF = 1e-4
"""A token of probability p weighs SIF / (SIF + p), with p after Zipf's law from its place in the vocabulary."""

_BATCH = 32


class Option:
    """A way to encode.

    Parameters
    ----------
    name : str
        What the tables call it.
    encode : callable
        A list of texts to vectors, float (n, dim).
    n_bytes : int
        What its weights take on disk; for what is made at loading, the bytes that it holds.
    """

    def __init__(self, name: str, encode: Callable[[list[str]], npt.ArrayLike], n_bytes: int) -> None:
        self.name = name
        self.encode = encode
        self.n_bytes = n_bytes


def float32(folder: Path, made: Path, n_threads: int) -> Option:
    """Take the model as it comes."""
    return Option("torch, float32", SentenceEncoder(str(folder)).encode_document, _weights(folder))


def shorter(folder: Path, made: Path, n_threads: int) -> Option:
    """Read the first 128 tokens of a text."""
    model = _load(folder)
    model.max_seq_length = 128
    return Option("torch, 128 tokens", SentenceEncoder(model=model).encode_document, _weights(folder))


def bfloat16(folder: Path, made: Path, n_threads: int) -> Option:
    """Compute in bfloat16."""
    import torch

    model = _load(folder).to(torch.bfloat16)

    def encode(texts: list[str]) -> Float32:
        return model.encode_document(texts, batch_size=_BATCH, convert_to_tensor=True).float().numpy()  # type: ignore[no-any-return]

    return Option("torch, bfloat16", encode, _weights(folder) // 2)


def int8(folder: Path, made: Path, n_threads: int) -> Option:
    """Compute linear layers in int8, activations quantised as they come."""
    import torch

    model = _load(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the successor is another package
        model[0].model = torch.ao.quantization.quantize_dynamic(model[0].model, {torch.nn.Linear}, dtype=torch.qint8)
    n_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    n_bytes += sum(_packed(module) for module in model.modules())
    return Option("torch, int8 linears", SentenceEncoder(model=model).encode_document, n_bytes)


def onnx(folder: Path, made: Path, n_threads: int) -> Option:
    """Run the model's graph in onnxruntime."""
    graph = _exported(folder, made)
    return Option("onnxruntime, float32", _session(folder, graph, n_threads), _size(graph))


def onnx_int8(folder: Path, made: Path, n_threads: int) -> Option:
    """Run the graph with weights in int8, one scale an output, activations quantised as they come."""
    graph = made / "int8.onnx"
    if not graph.exists():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        partial = made / "partial.onnx"
        # unsigned activations times signed weights of 7 bits cannot overflow the 16-bit sums of AVX2
        quantize_dynamic(
            _exported(folder, made), partial, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        )
        partial.replace(graph)
    return Option("onnxruntime, int8", _session(folder, graph, n_threads), _size(graph))


def static(folder: Path, made: Path, n_threads: int) -> Option:
    """Take the mean of one vector a token, made as Model2Vec makes them: no attention, no layers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    path = made / f"static-{STATIC_DIM}.npy"
    if not path.exists():
        np.save(path, static_table(_load(folder)))
    table = StaticEmbedding(
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        embedding_weights=torch.from_numpy(np.load(path, allow_pickle=False)),
    )
    table.tokenizer.no_padding()
    table.tokenizer.no_truncation()
    encoder = SentenceEncoder(model=SentenceTransformer(modules=[table]), batch_size=512)
    return Option(f"static, {STATIC_DIM} dimensions", encoder.encode_document, _size(path))


OPTIONS = (float32, shorter, bfloat16, int8, onnx, onnx_int8, static)


def static_table(model: Any, n_tokens: int | None = None) -> Float32:
    """Return a vector a token, float32 (n_tokens, `STATIC_DIM`): each token encoded alone, then PCA, then its weight.

    Of the first `n_tokens` of the vocabulary, which has the frequent ones first; of all by default.
    """
    import torch

    n = n_tokens or len(model.tokenizer)
    rows = []
    with torch.inference_mode():
        for first in range(0, n, 1024):
            ids = torch.arange(first, min(first + 1024, n))[:, None]
            ends = torch.tensor([[model.tokenizer.cls_token_id, model.tokenizer.sep_token_id]]).expand(len(ids), 2)
            ids = torch.cat([ends[:, :1], ids, ends[:, 1:]], dim=1)
            features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            rows.append(model(features)["sentence_embedding"].numpy())
    vectors = np.concatenate(rows).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    harmonic = np.log(n) + np.euler_gamma
    shares = 1 / (np.arange(1, n + 1) * harmonic)
    weights = SIF / (SIF + shares)
    reduced: Float32 = (vectors @ axes[:, : -STATIC_DIM - 1 : -1] * weights[:, None]).astype(np.float32)
    return reduced


def export(model: Any, path: Path) -> None:
    """Write the model's graph, pooling and scaling to unit length included, with any number and length of texts."""
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            return self.model(features)["sentence_embedding"]

    names = ("input_ids", "attention_mask")
    tokens = model.tokenizer(["two texts", "of different length"], padding=True, return_tensors="pt")
    torch.onnx.export(
        Whole().eval(),
        tuple(tokens[name] for name in names),
        str(path),
        input_names=list(names),
        output_names=["vectors"],
        dynamic_shapes={name: {0: "texts", 1: "tokens"} for name in names},
        dynamo=True,
    )


def _exported(folder: Path, made: Path) -> Path:
    graph = made / "float32.onnx"
    if not graph.exists():
        try:
            export(_load(folder, attn_implementation="eager"), made / "new.onnx")
        except ImportError as error:
            raise MissingDependency(f"exporting the model needs onnx and onnxscript: {error}") from error
        # the weights' file is named in the graph, so it keeps its name
        (made / "new.onnx").replace(graph)
    return graph


def _session(folder: Path, graph: Path, n_threads: int) -> Callable[[list[str]], Float32]:
    import onnxruntime
    from transformers import AutoTokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    tokenizer, limit = AutoTokenizer.from_pretrained(folder), _load(folder).max_seq_length

    def encode(texts: list[str]) -> Float32:
        tokens = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(tokens[i]))
        rows: list[Any] = [None] * len(texts)
        for first in range(0, len(order), _BATCH):
            batch = order[first : first + _BATCH]
            ids = tokenizer.pad({"input_ids": [tokens[i] for i in batch]}, return_tensors="np")
            feed = {name: ids[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
            for i, row in zip(batch, session.run(None, feed)[0], strict=True):
                rows[i] = row
        return np.array(rows, dtype=np.float32)

    return encode


def _load(folder: Path, **model_kwargs: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"use_safetensors": True, **model_kwargs})


def _packed(module: Any) -> int:
    """Bytes of a dynamically quantised linear layer's weights: an int8 each, and a float32 bias an output."""
    weight = getattr(module, "weight", None)
    return weight().numel() + 4 * len(module.bias()) if callable(weight) else 0


def _weights(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def _size(path: Path) -> int:
    """Bytes of a file, and of the weights that a graph keeps beside it."""
    beside = (file for file in path.parent.glob("new.onnx.data") if path.name == "float32.onnx")
    return sum(os.path.getsize(file) for file in [path, *beside])  # noqa: PTH202
