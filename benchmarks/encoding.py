"""What encoding costs and what cheaper encoders keep: `python -m benchmarks.encoding --data DIR …`.

The same sentence-transformers model in torch (float32, fewer tokens, bfloat16, int8), in onnxruntime (float32, int8),
and distilled into a table of static vectors. Each encodes documents and queries. Their rankings by float vectors, and
the answers of a store with default settings, are judged against the judgments, and divided by those of float32 vectors.
Speed is texts a second of processor time, from runs that alternate, since wall time is also that of other programs.
First what the order is worth in which texts are taken: tokens that the model reads over the tokens there are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import embeddings, report
from benchmarks.datasets import Dataset, load, unit
from benchmarks.embeddings import CACHE, Side
from benchmarks.encoding_options import OPTIONS, Option
from benchmarks.metrics import interval, judge, resampled_ratios
from binrag import Store
from binrag.errors import BinragError, InvalidInput
from binrag.store.encoding import CANARIES
from binrag.types import Float32, Float64, Int64

_K = 10


@dataclass(frozen=True, slots=True)
class Quality:
    """What one option keeps on one data set.

    Attributes
    ----------
    data, option : str
    ndcg, recall : float
        nDCG@10, and the share of the relevant documents in the top 10, of exact search in its vectors.
    kept, kept_low, kept_high : float
        nDCG@10 over that of float32, and the 95 % interval of the paired bootstrap.
    codes : str
        The binarizer and bytes a row that a store took by default.
    store_ndcg, store_recall, store_kept : float
        The same, of the store's answers.
    """

    data: str
    option: str
    ndcg: float
    recall: float
    kept: float
    kept_low: float
    kept_high: float
    codes: str
    store_ndcg: float
    store_recall: float
    store_kept: float


@dataclass(slots=True)
class Cost:
    """What an option costs.

    Attributes
    ----------
    option : str
    n_bytes : int
        Of its weights.
    canary_cosine : float
        The least cosine of its vectors of the canaries with float32's; a store takes it for the same encoder above
        0.999. 0 where the dimension is another.
    texts_a_second : dict
        Data set to the median of texts a second of processor time.
    """

    option: str
    n_bytes: int
    canary_cosine: float
    texts_a_second: dict[str, float]


@dataclass(frozen=True, slots=True)
class Padding:
    """Tokens read over tokens there are.

    Attributes
    ----------
    data : str
    n_texts : int
    n_tokens : float
        Mean tokens of a text, of 256 at most.
    window : int
        Texts out of which calls of 256 are made by bytes.
    by_tokens : bool
        Whether batches are made by tokens, else by characters.
    read : dict
        By the size of a batch.
    """

    data: str
    n_texts: int
    n_tokens: float
    window: int
    by_tokens: bool
    read: dict[str, float]


class Cached:
    """An option as an `Encoder` whose vectors are kept under a folder, or taken from those that a data set has."""

    similarity = "cosine"

    def __init__(self, option: Option, cache: Path) -> None:
        self.encoder_id = option.name
        self._option = option
        self._cache = cache
        self._known: dict[tuple[str, Side], Float32] = {}

    def learn(self, texts: Sequence[str], side: Side, vectors: Float32 | None = None) -> Float32:
        """Return the vectors of texts, float32 (n, dim), and remember them."""
        if vectors is None:
            path = self._cache / f"{embeddings._digest(self.encoder_id, side, texts)}.npy"
            if not path.exists():
                print(f"{self.encoder_id}: encoding {len(texts):,} texts", file=sys.stderr)
                made = np.concatenate(
                    [self._option.encode(list(texts[i : i + 512])) for i in range(0, len(texts), 512)]
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path.with_suffix(".partial.npy"), np.asarray(made, dtype=np.float32))
                path.with_suffix(".partial.npy").replace(path)
            vectors = np.load(path, allow_pickle=False)
        self._known |= {(text, side): row for text, row in zip(texts, vectors, strict=True)}
        return vectors

    def _vectors(self, texts: list[str], side: Side) -> Float32:
        return np.stack([self._known[text, side] for text in texts])

    def encode_document(self, texts: list[str]) -> Float32:
        """Look the vectors of documents up."""
        return self._vectors(texts, "document")

    def encode_query(self, texts: list[str]) -> Float32:
        """Look the vectors of queries up."""
        return self._vectors(texts, "query")

    def count_truncated(self, texts: list[str]) -> int:
        """Return 0."""
        return 0


def smaller(dataset: Dataset, n_documents: int, n_queries: int, seed: int = 0) -> Dataset:
    """Return the first queries, all documents relevant to them, and others drawn up to `n_documents` in all."""
    query_ids = dataset.query_ids[:n_queries]
    relevant = {name for query in query_ids for name, grade in dataset.qrels[query].items() if grade > 0}
    drawn = np.random.default_rng(seed).permutation(len(dataset.doc_ids))
    first = sorted(drawn.tolist(), key=lambda row: dataset.doc_ids[row] not in relevant)
    rows = sorted(first[: max(n_documents, len(relevant))])
    return Dataset(
        dataset.name,
        dataset.split,
        [dataset.doc_ids[row] for row in rows],
        [dataset.texts[row] for row in rows],
        query_ids,
        dataset.queries[:n_queries],
        {query: dataset.qrels[query] for query in query_ids},
        dataset.corpus[rows],
        dataset.query_vectors[:n_queries],
    )


def found_relevant(dataset: Dataset, rankings: Sequence[Int64]) -> float:
    """Return the mean over the queries of the share of its relevant documents in the first ten of its ranking."""
    shares = []
    for query, rows in zip(dataset.query_ids, rankings, strict=True):
        relevant = {name for name, grade in dataset.qrels[query].items() if grade > 0}
        shares.append(len(relevant & {dataset.doc_ids[row] for row in rows[:_K]}) / max(1, len(relevant)))
    return float(np.mean(shares))


def by_store(dataset: Dataset, encoder: Cached) -> tuple[list[Int64], str]:
    """Return the answers of a store with default settings, as rows, and its codes in words."""
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "s", encoder=encoder) as store:
        store.add(dataset.texts, ids=map(str, range(len(dataset.texts))), progress=False)
        answers = store.search_batch(dataset.queries, _K)
        info = store.info()
    return [np.array([int(hit.id) for hit in hits]) for hits in answers], f"{info.binarizer}, {info.code_bytes} B"


def qualities(dataset: Dataset, options: Sequence[Option], cache: Path) -> Iterator[Quality]:
    """Judge each option; the first is what the others are divided by, its vectors are the set's own."""
    base: Float64 | None = None
    for option in options:
        encoder, is_first = Cached(option, cache), base is None
        rows = encoder.learn(dataset.texts, "document", dataset.corpus if is_first else None)
        queries = encoder.learn(dataset.queries, "query", dataset.query_vectors if is_first else None)
        for side in ("document", "query"):
            encoder.learn(CANARIES, side)
        scores = unit(queries) @ unit(rows).T
        exact = [np.lexsort((np.arange(len(row)), -row))[:_K] for row in scores]
        answers, codes = by_store(dataset, encoder)
        ndcg, store_ndcg = (
            judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, rankings).ndcg for rankings in (exact, answers)
        )
        base = ndcg if base is None else base
        low, high = interval(resampled_ratios(ndcg, base))
        yield Quality(
            *(dataset.name, option.name, float(ndcg.mean()), found_relevant(dataset, exact)),
            *(float(ndcg.mean() / base.mean()), low, high, codes),
            *(float(store_ndcg.mean()), found_relevant(dataset, answers), float(store_ndcg.mean() / base.mean())),
        )


def costs(
    datasets: Sequence[Dataset], options: Sequence[Option], n_timed: int, repeats: int, cache: Path
) -> list[Cost]:
    """Time the options on the first documents of each set, alternating, after one unmeasured call each."""
    found = []
    canaries = [unit(Cached(option, cache).learn(CANARIES, "document")) for option in options]
    for option, vectors in zip(options, canaries, strict=True):
        same = vectors.shape == canaries[0].shape
        found.append(
            Cost(option.name, option.n_bytes, float((vectors * canaries[0]).sum(1).min()) if same else 0.0, {})
        )
    for dataset in datasets:
        texts = dataset.texts[:n_timed]
        seconds: list[list[float]] = [[] for _ in options]
        for turn in range(repeats):
            for option, own in zip(options, seconds, strict=True):
                if turn == 0:
                    option.encode(texts[:8])
                start = time.process_time()
                option.encode(texts)
                own.append(time.process_time() - start)
        for cost, own in zip(found, seconds, strict=True):
            cost.texts_a_second[dataset.name] = len(texts) / float(np.median(own))
    return found


def padding(lengths: Int64, across: Int64, within: Int64, window: int, batch: int, at_once: int = 256) -> float:
    """Return tokens read over tokens there are.

    Parameters
    ----------
    lengths : int64 (n,)
        Tokens of each text, in the order given.
    across, within : int64 (n,)
        What texts of a window, and those of a call, are sorted by, the largest first.
    window, batch, at_once : int
        Texts looked at together; read at once, padded to the longest of them; and handed to the encoder in one call.
    """
    read = 0
    for first in range(0, len(lengths), window):
        rows = np.arange(first, min(first + window, len(lengths)))
        rows = rows[np.argsort(-across[rows], kind="stable")]
        for start in range(0, len(rows), at_once):
            call = rows[start : start + at_once]
            call = call[np.argsort(-within[call], kind="stable")]
            for at in range(0, len(call), batch):
                some = lengths[call[at : at + batch]]
                read += len(some) * int(some.max())
    return read / int(lengths.sum())


BATCHES = (8, 16, 32, 64)
WINDOWS = ((256, False), (256, True), (1024, True), (2048, False), (2048, True), (4096, True))
"""Texts of a window, and whether batches are made by tokens; else by characters, as sentence-transformers does."""


def paddings(datasets: Sequence[Dataset], model: Path, n_texts: int = 4096) -> Iterator[Padding]:
    """Count the padding of each set's first texts, for every window and every size of batch."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    for dataset in datasets:
        texts = dataset.texts[:n_texts]
        lengths = np.array([len(ids) for ids in tokenizer(texts, truncation=True, max_length=256)["input_ids"]])
        n_bytes = np.array([len(text.encode()) for text in texts])
        characters = np.array([len(text) for text in texts])
        for window, by_tokens in WINDOWS:
            within = lengths if by_tokens else characters
            read = {str(batch): padding(lengths, n_bytes, within, window, batch) for batch in BATCHES}
            yield Padding(dataset.name, len(texts), float(lengths.mean()), window, by_tokens, read)


def padding_table(found: Sequence[Padding]) -> str:
    """Return the paddings as a Markdown table."""
    header = ["data", "tokens a text", "window", "batches by", *(f"batches of {batch}" for batch in BATCHES)]
    return report.table(
        header,
        [
            (
                *(p.data, f"{p.n_tokens:.0f}", f"{p.window:,}", "tokens" if p.by_tokens else "characters"),
                *(f"{p.read[str(batch)]:.2f}" for batch in BATCHES),
            )
            for p in found
        ],
    )


def cost_table(found: Sequence[Cost]) -> str:
    """Return the costs as a Markdown table; speeds also over that of the first option."""
    sets = list(found[0].texts_a_second)
    header = ["encoder", "MB", "least cosine of the canaries", *(f"{name}: texts/s (÷ first)" for name in sets)]
    rows = []
    for cost in found:
        speeds = [
            f"{cost.texts_a_second[name]:,.1f} ({cost.texts_a_second[name] / found[0].texts_a_second[name]:.2f})"
            for name in sets
        ]
        rows.append((cost.option, f"{cost.n_bytes / 1e6:.1f}", f"{cost.canary_cosine:.4f}", *speeds))
    return report.table(header, rows)


def quality_table(found: Sequence[Quality]) -> str:
    """Return the qualities as a Markdown table."""
    header = ["data", "encoder", "nDCG@10", "kept", "95 %", "recall@10", "store: codes", "nDCG@10", "kept", "recall@10"]
    return report.table(
        header,
        [
            (
                *(q.data, q.option, f"{q.ndcg:.4f}", f"{q.kept:.3f}", f"{q.kept_low:.3f} to {q.kept_high:.3f}"),
                *(f"{q.recall:.3f}", q.codes, f"{q.store_ndcg:.4f}", f"{q.store_kept:.3f}", f"{q.store_recall:.3f}"),
            )
            for q in found
        ],
    )


def run(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Measure, print the tables, write the JSON file."""
    import torch

    torch.set_num_threads(options.threads)
    datasets = [load(folder, options.split, embeddings.cached_encoder(str(options.model))) for folder in options.data]
    print(report.environment_line(environment), end="\n\n")
    results: dict[str, Any] = {"threads": options.threads, "documents": options.documents, "queries": options.queries}
    padded = list(paddings(datasets, options.model))
    print(padding_table(padded), end="\n\n", flush=True)
    results["paddings"] = [asdict(p) for p in padded]
    chosen = [
        make for make in OPTIONS if make is OPTIONS[0] or any(fnmatchcase(make.__name__, g) for g in options.options)
    ]
    options.cache.mkdir(parents=True, exist_ok=True)
    made = [make(options.model, options.cache, options.threads) for make in chosen]
    some = [smaller(dataset, options.documents, options.queries) for dataset in datasets]
    if options.timed:
        cost = costs(some, made, options.timed, options.repeats, options.cache)
        print(cost_table(cost), end="\n\n", flush=True)
        results["costs"] = [asdict(c) for c in cost]
    found = [quality for dataset in some for quality in qualities(dataset, made, options.cache)]
    print(quality_table(found), flush=True)
    results["qualities"] = [asdict(q) for q in found]
    if options.json:
        report.write_json(options.json, environment, results)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoding", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--model", type=Path, help="folder of the model (default: all-MiniLM-L6-v2 as installed)")
    parser.add_argument("--documents", type=int, default=1000, help="of each set, the relevant ones among them")
    parser.add_argument("--queries", type=int, default=300, help="of each set (default: %(default)s)")
    names = ", ".join(make.__name__ for make in OPTIONS)
    parser.add_argument("--options", nargs="+", default=["*"], metavar="GLOB", help=f"beside float32: of {names}")
    parser.add_argument(
        "--timed", type=int, default=64, help="documents to time; 0 to time none (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=3, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch and onnxruntime (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE / "encoding", help="where vectors and models are kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    try:
        if min(options.documents, options.queries, options.repeats, options.threads) < 1:
            raise InvalidInput(f"expected documents, queries, repeats and threads from 1, got {vars(options)}")
        options.model = options.model or Path(embeddings._default_model())
        run(options, report.environment("benchmarks.encoding", arguments))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
