"""Codes of vectors that other encoders make: `python -m benchmarks.encoders --data DIR …`.

No other encoder's weights are needed: the stand-ins are made of the texts and of the default encoder's parts. Each has
another shape of vectors: many even dimensions (TF-IDF, reduced to 1,024), long and redundant (the means of two layers,
768), bunched around one direction (means of token vectors that no layer has seen, 384). For each, the probe judges a
sample of the corpus without any query, and then codes are made and asked the real queries.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import embeddings, report
from benchmarks.datasets import Dataset, load, unit
from benchmarks.embeddings import CACHE, cached_encoder
from benchmarks.metrics import recall
from binrag import binarizers, pipeline
from binrag.binarizers import RotatedSignBinarizer, SignBinarizer
from binrag.errors import BinragError, InvalidInput
from binrag.indexes import FlatIndex
from binrag.probe import MAX_ROWS, Probe, probe
from binrag.protocols import Binarizer
from binrag.types import Float32, Int64

LAYERS = (3, 6)
"""Layers whose mean token vectors are put side by side."""

N_TFIDF_DIMS = 1024
MAX_ENCODED = 10_000
"""The layers of a larger corpus are not computed: the model reads about 30 long texts a second."""

Vectors = tuple[Float32, Float32]
"""Rows float32 (n, dim) and queries float32 (n_queries, dim)."""

StandIn = Callable[[Dataset, Path], Vectors]


def ready(dataset: Dataset, cache: Path = CACHE) -> Vectors:
    """Return the vectors that the data set comes with."""
    return dataset.corpus, dataset.query_vectors


def tfidf(dataset: Dataset, cache: Path = CACHE, n_dims: int = N_TFIDF_DIMS) -> Vectors:
    """Return truncated singular vectors of TF-IDF weights: logarithmic counts of words in two documents or more."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    def compute() -> Float32:
        words = TfidfVectorizer(sublinear_tf=True, min_df=2)
        counts = words.fit_transform(dataset.texts)
        svd = TruncatedSVD(min(n_dims, min(counts.shape) - 1), n_iter=2, random_state=0)
        return np.concatenate([svd.fit_transform(counts), svd.transform(words.transform(dataset.queries))])

    return _cached(f"tf-idf {n_dims}", dataset, cache, compute)


def layers(dataset: Dataset, cache: Path = CACHE) -> Vectors:
    """Return mean token vectors of two layers of the default encoder, each of unit length, side by side.

    Raises
    ------
    InvalidInput
        If the corpus has more than 10,000 documents.
    """
    if len(dataset.texts) > MAX_ENCODED:
        raise InvalidInput(f"{len(dataset.texts):,} documents are too many for the layers, {MAX_ENCODED:,} are read")
    return _cached(f"layers {LAYERS}", dataset, cache, lambda: pooled_layers(dataset.texts + dataset.queries))


def static_tokens(dataset: Dataset, cache: Path = CACHE) -> Vectors:
    """Return the means of the default encoder's input vectors of the tokens, without position or context."""

    def compute() -> Float32:
        model = _model()
        table = model[0].auto_model.get_input_embeddings().weight.detach().numpy()
        ids = model.tokenizer(
            dataset.texts + dataset.queries,
            add_special_tokens=False,
            truncation=True,
            max_length=model.max_seq_length,
        )["input_ids"]
        return np.array([table[i].mean(axis=0) if i else np.zeros(table.shape[1]) for i in ids])

    return _cached("static tokens", dataset, cache, compute)


STAND_INS: dict[str, StandIn] = {
    "ready vectors": ready,
    "TF-IDF + SVD": tfidf,
    "layers 3 and 6": layers,
    "static tokens": static_tokens,
}


def pooled_layers(texts: Sequence[str], batch_size: int = 32) -> Float32:
    """Compute the mean token vectors of `LAYERS`, each of unit length, side by side: float32 (n, 384 · layers)."""
    import torch

    model = _model()
    rows: list[Float32 | None] = [None] * len(texts)
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), batch_size):
        batch = by_length[start : start + batch_size]
        tokens = model.tokenizer(
            [texts[i] for i in batch],
            padding=True,
            truncation=True,
            max_length=model.max_seq_length,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = model[0].auto_model(**tokens, output_hidden_states=True).hidden_states
        mask = tokens["attention_mask"][:, :, None]
        means = [((states[layer] * mask).sum(1) / mask.sum(1)).numpy() for layer in LAYERS]
        for i, row in zip(batch, np.concatenate([unit(mean) for mean in means], axis=1), strict=True):
            rows[i] = row
    return np.array(rows)


def _model() -> Any:
    return embeddings._open_encoder(embeddings._default_model()).model


def _cached(name: str, dataset: Dataset, cache: Path, compute: Callable[[], Float32]) -> Vectors:
    """Return what `compute` makes of documents and queries, kept under `cache`."""
    path = cache / f"{embeddings._digest(name, f'{len(dataset.texts)}', dataset.texts + dataset.queries)}.npy"
    if not path.exists():
        print(f"{dataset.name}: computing {name}", file=sys.stderr)
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.asarray(compute(), dtype=np.float32))
        partial.replace(path)
    vectors = np.load(path, allow_pickle=False)
    return vectors[: len(dataset.texts)], vectors[len(dataset.texts) :]


FITTED = (
    ("itq", "ItqBinarizer", 1),
    ("allocated", "AllocatedBinarizer", 1),
    ("additive", "AdditiveBinarizer", 1),
    ("additive, 2 bits", "AdditiveBinarizer", 2),
    ("allocated, 4 bits", "AllocatedBinarizer", 4),
)
"""Code, class in `binrag.binarizers`, and bits a dimension; all but ITQ pay the rescale factor out of them."""


def _coders() -> dict[str, Callable[[Float32], Binarizer]]:
    """Name to a function that makes the binarizer for rows; classes that this version lacks are left out."""
    coders: dict[str, Callable[[Float32], Binarizer]] = {
        "sign": lambda rows: SignBinarizer(rows.shape[1]),
        "rotated-sign": lambda rows: RotatedSignBinarizer(rows.shape[1]),
    }
    for name, kind, bits in FITTED:
        if hasattr(binarizers, kind):
            coders[name] = partial(_fit, getattr(binarizers, kind), bits)
    return coders


def _fit(kind: Any, bits: int, rows: Float32) -> Binarizer:
    n_bytes = -(-bits * rows.shape[1] // 8) + (2 if kind.component_id == "itq" else 0)
    fitted: Binarizer = kind.fit(rows, code_bytes=n_bytes)
    return fitted


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of code on one kind of vectors.

    Attributes
    ----------
    data, encoder, code : str
        Data set, stand-in and binarizer.
    code_bytes : int
        Bytes a row.
    recall_at_10 : float
        Share of float's top 10 in the code's own.
    found_in_100 : float
        Share of float's top 10 in the first 100 rows of the scan.
    fit_seconds : float
        Time to make the binarizer.
    """

    data: str
    encoder: str
    code: str
    code_bytes: int
    recall_at_10: float
    found_in_100: float
    fit_seconds: float


def measure(name: tuple[str, str], rows: Float32, queries: Float32) -> Iterator[Measured]:
    """Ask codes of each kind the queries; float's ranking is by inner product."""
    scores = queries @ rows.T
    exact: list[Int64] = [np.lexsort((np.arange(len(rows)), -row))[:10] for row in scores]
    for code, make in _coders().items():
        start = time.perf_counter()
        try:
            coder = make(rows)
        except BinragError as error:
            print(f"{' '.join(name)}: no {code}: {error}", file=sys.stderr)
            continue
        seconds = time.perf_counter() - start
        index = FlatIndex.from_codes(coder.transform(rows), coder.shape.by_tables)
        prepared = [coder.query(query) for query in queries]
        scanned = [index.retrieve(query, 100).rows for query in prepared]
        n_candidates = pipeline.default_candidates(index, 10)
        ranked = [pipeline.retrieve(index, query, n_candidates).top(10).rows for query in prepared]
        in_100 = float(np.mean([np.isin(t, s).mean() for t, s in zip(exact, scanned, strict=True)]))
        at_10 = float(recall(ranked, exact, 10).mean())
        yield Measured(*name, code, coder.code_bytes, at_10, in_100, seconds)


def usable(vectors: Vectors) -> Vectors:
    """Return rows and queries of unit length, without those that have none."""
    rows, queries = (part[np.linalg.norm(part, axis=1) > 1e-6] for part in vectors)
    return unit(rows), unit(queries)


def subset(dataset: Dataset, n_rows: int, seed: int = 0) -> Dataset:
    """Return the data set with `n_rows` of its documents at most, in their order; judgments stay as they are."""
    if len(dataset.texts) <= n_rows:
        return dataset
    chosen = np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(len(dataset.texts))[:n_rows])
    return Dataset(
        dataset.name,
        dataset.split,
        [dataset.doc_ids[i] for i in chosen],
        [dataset.texts[i] for i in chosen],
        dataset.query_ids,
        dataset.queries,
        dataset.qrels,
        dataset.corpus[chosen],
        dataset.query_vectors,
    )


def run(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Probe and measure, print a table a data set and the verdicts, write the JSON file."""
    stand_ins = {
        name: make for name, make in STAND_INS.items() if any(fnmatchcase(name, glob) for glob in options.stand_ins)
    }
    if not stand_ins:
        raise InvalidInput(f"--stand-ins {' '.join(options.stand_ins)} matches none of: {'; '.join(STAND_INS)}")
    print(report.environment_line(environment), end="\n\n")
    encode = cached_encoder(None)
    records: list[dict[str, Any]] = []
    for folder in options.data:
        dataset = subset(load(folder, options.split, encode), options.rows)
        probes: dict[str, Probe] = {}
        measured: list[Measured] = []
        for name, make in stand_ins.items():
            try:
                rows, queries = usable(make(dataset, options.cache))
            except InvalidInput as error:
                print(f"{dataset.name}, {name}: {error}", file=sys.stderr)
                continue
            sample = np.random.Generator(np.random.PCG64(0)).permutation(len(rows))[:MAX_ROWS]
            probes[name] = probe(rows[sample].astype(np.float16))
            measured += measure((dataset.name, name), rows, queries)
        print(f"**{dataset.name}**: {len(dataset.texts):,} documents, {len(dataset.queries):,} queries\n")
        print(f"{table(probes, measured)}\n")
        print("\n".join(f"- {name}: {found.verdict}" for name, found in probes.items()), end="\n\n", flush=True)
        records.append(
            {
                "data": dataset.name,
                "n_documents": len(dataset.texts),
                "n_queries": len(dataset.queries),
                "probes": {
                    name: {**found.record(), "advice": advice(found), "verdict": found.verdict}
                    for name, found in probes.items()
                },
                "codes": [asdict(result) for result in measured],
            }
        )
    if options.json:
        report.write_json(options.json, environment, records)


def advice(found: Probe) -> str:
    """Return the probe's advice in a word or two."""
    return f"{found.binarizer}, {found.code_bytes} B" + ("" if found.suits_few_bits else " (few bits don't suit)")


def table(probes: dict[str, Probe], measured: Sequence[Measured]) -> str:
    """Return a Markdown table: a row an encoder, what the probe advises, and recall@10 | found in 100 a code."""
    codes = list(dict.fromkeys(result.code for result in measured))
    cells = {(result.encoder, result.code): result for result in measured}
    rows = []
    for name, found in probes.items():
        row = [name, str(found.dim), advice(found), f"{found.sign.top:.3f}", f"{found.sign.candidates:.3f}"]
        for code in codes:
            result = cells.get((name, code))
            row.append("–" if result is None else f"{result.recall_at_10:.3f} / {result.found_in_100:.3f}")
        rows.append(row)
    header = ["vectors", "dim", "probe advises", "probe: sign @10", "probe: sign, candidates", *codes]
    return report.table(header, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--rows", type=int, default=20_000, help="documents of a larger set to take; default: 20,000")
    parser.add_argument("--stand-ins", nargs="+", default=["*"], metavar="GLOB", help="only vectors of these names")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where computed vectors are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    try:
        run(options, report.environment("benchmarks.encoders", arguments))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
