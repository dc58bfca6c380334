"""Binarizers on a corpus they don't know, and adapted to it: `python -m benchmarks.adaptation --data DIR …`.

For each artefact: as it is; adapted to the corpus; and one of the same bytes, fitted to the corpus from scratch. No
judgment and no query of the set is used to fit: sentences of the documents stand in for queries. A corpus can be
smaller than a fit asks for; therefore each fit is also made with the vectors of the sentences as further rows. Codes
stand alone, no vectors behind them.

A fit may learn a small corpus by heart. With `--unseen`, one half of the documents, drawn by the seed, is fitted to,
and the other half is searched: what documents get that are added later.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.cases import CASES, REFERENCE
from benchmarks.datasets import Dataset, load, unit
from benchmarks.embeddings import Encode, cached_encoder
from benchmarks.metrics import interval, judge, recall, resampled_means
from binrag import pipeline
from binrag.binarizers import AdditiveBinarizer, SignBinarizer
from binrag.binarizers.artefact import load_artefact, shipped_artefacts
from binrag.errors import BinarizerMismatch, BinragError, InvalidInput, TrainingError
from binrag.indexes import FlatIndex
from binrag.protocols import Binarizer
from binrag.store.training import sentences_of
from binrag.types import Float32, Float64, Int64

N_SENTENCES = 4
"""Sentences taken of a document, at most."""

ROWS = ("documents", "documents and sentences")
"""What a fit gets as rows."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is fitted to, what is searched, and what its rankings are compared with.

    Attributes
    ----------
    dataset : Dataset
        What is searched.
    known : float32 (n_known, dim)
        Unit vectors of the documents that are fitted to.
    sentences : float32 (n_sentences, dim)
        Unit vectors of sentences of those.
    exact : list of int64 (10,)
        float32's best rows for each query.
    ndcg : float64 (n_queries,)
        nDCG@10 of float32.
    """

    dataset: Dataset
    known: Float32
    sentences: Float32
    exact: list[Int64]
    ndcg: Float64

    @classmethod
    def prepared(cls, dataset: Dataset, encode: Encode, seed: int, *, unseen: bool = False) -> Corpus:
        """Encode the sentences and rank with float32; `unseen` fits to one half and searches the other."""
        texts, owners = drawn_sentences(dataset.texts, seed)
        sentences, known = unit(np.asarray(encode(texts, "query"))), dataset.corpus
        if unseen:
            order = np.random.Generator(np.random.PCG64(seed)).permutation(len(known))
            rows, others = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
            sentences, known, dataset = sentences[np.isin(owners, rows)], known[rows], part(dataset, others)
        with CASES[REFERENCE](dataset) as searcher:
            exact = [searcher.search(query, 10) for query in dataset.query_vectors]
        ndcg = judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, exact).ndcg
        return cls(dataset, known, sentences, exact, ndcg)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one binarizer keeps of one set's rankings, or why there is none.

    Attributes
    ----------
    data, artefact, how, rows : str
        Set, artefact, what was done to it, and what it was fitted to.
    code_bytes : int
        Bytes a row in memory.
    n_rows : int
        Rows fitted to here; 0 for an artefact as it is.
    ndcg_at_10, ndcg_ratio, recall_at_10 : float or None
        nDCG@10, the same as a share of float32's, and the share of float32's top 10 found.
    recall_gain, recall_gain_interval : float and pair, or None
        Against the artefact as it is; paired bootstrap, 95 %.
    seconds : float
        Time of the fit.
    refusal : str or None
        What the fit said.
    """

    data: str
    artefact: str
    how: str
    rows: str
    code_bytes: int
    n_rows: int
    ndcg_at_10: float | None = None
    ndcg_ratio: float | None = None
    recall_at_10: float | None = None
    recall_gain: float | None = None
    recall_gain_interval: tuple[float, float] | None = None
    seconds: float = 0.0
    refusal: str | None = None


def part(dataset: Dataset, rows: Int64) -> Dataset:
    """Return the data set with some of its documents; judgments of the others stay, and count against all alike."""
    ids, texts = ([values[row] for row in rows] for values in (dataset.doc_ids, dataset.texts))
    return replace(dataset, doc_ids=ids, texts=texts, corpus=dataset.corpus[rows])


def drawn_sentences(texts: Sequence[str], seed: int, most: int = N_SENTENCES) -> tuple[list[str], Int64]:
    """Draw up to `most` sentences of each text, as `Store.train_binarizer` takes one for a query.

    Returns
    -------
    sentences : list of str
    owners : int64 (n_sentences,)
        The row of each sentence's text.
    """
    draw = np.random.Generator(np.random.PCG64(seed))
    found, owners = [], []
    for row, text in enumerate(texts):
        sentences = sentences_of(text)
        chosen = [sentences[i] for i in draw.permutation(len(sentences))[:most]]
        found += chosen
        owners += [row] * len(chosen)
    return found, np.array(owners, dtype=np.int64)


def fitted(start: AdditiveBinarizer, corpus: Corpus, *, rows: str, adapt: bool, seed: int) -> Binarizer:
    """Fit a binarizer of the shape and bytes of another to a corpus, from there or from scratch."""
    vectors = corpus.known
    if rows == ROWS[1]:
        vectors = np.concatenate([vectors, corpus.sentences])
    return AdditiveBinarizer.fit(
        vectors,
        code_bytes=start.code_bytes,
        queries=corpus.sentences,
        seed=seed,
        start=start if adapt else None,
    )


def ranked(binarizer: Binarizer, dataset: Dataset) -> list[Int64]:
    """Return the ten best rows for each query, by codes alone, as a store finds them."""
    index = FlatIndex.from_codes(binarizer.transform(dataset.corpus), binarizer.shape.by_tables)
    n = pipeline.default_candidates(index, 10)
    return [pipeline.retrieve(index, binarizer.query(query), n).top(10).rows for query in dataset.query_vectors]


def measure(corpus: Corpus, name: str, artefact: AdditiveBinarizer, seed: int) -> Iterator[Outcome]:
    """Yield what an artefact keeps as it is, adapted, and fitted anew."""
    dataset, before = corpus.dataset, None
    cases = [("as it is", "–", None)]
    cases += [(how, rows, how == "adapted") for how in ("adapted", "from scratch") for rows in ROWS]
    for how, rows, adapt in cases:
        print(f"{dataset.name}: {name}, {how}, {rows}", file=sys.stderr)
        started = time.perf_counter()
        n_rows = 0 if adapt is None else len(corpus.known) + (rows == ROWS[1]) * len(corpus.sentences)
        place = (dataset.name, name, how, rows, artefact.code_bytes, n_rows)
        try:
            binarizer = artefact if adapt is None else fitted(artefact, corpus, rows=rows, adapt=adapt, seed=seed)
        except TrainingError as error:
            yield Outcome(*place, refusal=str(error))
            continue
        seconds = time.perf_counter() - started
        found = ranked(binarizer, dataset)
        shares = recall(found, corpus.exact, 10)
        before = shares if before is None else before
        ndcg = judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, found).ndcg
        yield Outcome(
            *place,
            ndcg_at_10=float(ndcg.mean()),
            ndcg_ratio=float(ndcg.mean() / corpus.ndcg.mean()),
            recall_at_10=float(shares.mean()),
            recall_gain=float((shares - before).mean()),
            recall_gain_interval=interval(resampled_means(shares - before)),
            seconds=seconds,
        )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table, a row an outcome."""
    lines = []
    for found in outcomes:
        line = [found.artefact, found.how, found.rows, report.number(found.code_bytes, 0)]
        if found.refusal is not None:
            lines.append([*line, "refused", "–", "–", "–", "–"])
            continue
        low, high = found.recall_gain_interval or (0.0, 0.0)
        gain = "–" if found.how == "as it is" else f"{found.recall_gain:+.3f} [{low:+.3f}, {high:+.3f}]"
        figures = [report.number(value) for value in (found.ndcg_at_10, found.ndcg_ratio, found.recall_at_10)]
        lines.append([*line, *figures, gain, "–" if found.n_rows == 0 else f"{found.seconds:.0f}"])
    header = ["artefact", "how", "fitted to", "bytes", "nDCG@10", "÷ float32", "recall@10", "gain [95 %]", "seconds"]
    return report.table(header, lines)


def artefacts(names: Sequence[str] | None, dim: int) -> dict[str, AdditiveBinarizer]:
    """Load artefacts: those named, else all that come with binrag; those that cannot be adapted here are left out.

    Raises
    ------
    InvalidInput
        If none is left.
    """
    found = {}
    for name in names or shipped_artefacts():
        try:
            binarizer, _ = load_artefact(name, dim=dim)
        except BinarizerMismatch as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if isinstance(binarizer, AdditiveBinarizer):
            found[name] = binarizer
        else:
            print(f"left out: {name} is {binarizer.component_id!r}, expected 'additive'", file=sys.stderr)
    if not found:
        raise InvalidInput(f"no artefact for vectors of {dim} dimensions is left; name others with --artefacts")
    return found


def sign(corpus: Corpus) -> Outcome:
    """Return what plain sign codes keep, which know no corpus."""
    dataset, binarizer = corpus.dataset, SignBinarizer(corpus.dataset.dim)
    found = ranked(binarizer, dataset)
    ndcg = float(judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, found).ndcg.mean())
    ratio, share = ndcg / float(corpus.ndcg.mean()), float(recall(found, corpus.exact, 10).mean())
    return Outcome(dataset.name, "sign", "as it is", "–", binarizer.code_bytes, 0, ndcg, ratio, share)


def run(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Measure, print a table a set, write the JSON file."""
    print(report.environment_line(environment), end="\n\n")
    encode = cached_encoder(options.encoder)
    outcomes: list[Outcome] = []
    for folder in options.data:
        dataset = load(folder, options.split, encode)
        corpus = Corpus.prepared(dataset, encode, options.seed, unseen=options.unseen)
        found = [sign(corpus)]
        for name, artefact in artefacts(options.artefacts, dataset.dim).items():
            for outcome in measure(corpus, Path(name).name, artefact, options.seed):
                print(f"  recall@10 {report.number(outcome.recall_at_10)}", file=sys.stderr)
                found.append(outcome)
        searched = f"the other {len(corpus.dataset.texts):,} searched, " if options.unseen else ""
        sizes = f"{len(corpus.known):,} documents fitted to, {searched}{len(corpus.sentences):,} sentences"
        print(f"**{dataset.name}**: {sizes}, {len(dataset.query_ids):,} queries; float32 {corpus.ndcg.mean():.4f}\n")
        print(f"{table(found)}\n")
        print("".join(f"- {line}\n" for line in dict.fromkeys(o.refusal for o in found if o.refusal)), flush=True)
        outcomes += found
    if options.json:
        report.write_json(options.json, environment, [asdict(outcome) for outcome in outcomes])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--encoder", help="model that made the vectors: a name or a folder; default: all-MiniLM-L6-v2")
    parser.add_argument("--artefacts", nargs="+", metavar="NAME", help="files or names; default: all of binrag's")
    parser.add_argument("--unseen", action="store_true", help="fit to half of the documents and search the other half")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    try:
        run(options, report.environment("benchmarks.adaptation", arguments))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
