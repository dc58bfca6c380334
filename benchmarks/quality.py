"""How much of float32's retrieval quality each case keeps: `python -m benchmarks.quality --data DIR …`.

nDCG@10, MRR@10 and recall@10 are those of a search for 10, recall@100 that of a search for 100. Recall is the
share of float32's exact top k that the case finds. Vectors are compared by the cosine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.cases import CASES, REFERENCE, VARIANTS, Build
from benchmarks.datasets import Dataset, load
from benchmarks.embeddings import cached_encoder
from benchmarks.metrics import N_RESAMPLES, interval, judge, recall, resampled_ratios
from benchmarks.results import Result, case_table, mean_table, means, variant_table
from binrag.errors import BinarizerMismatch, BinragError, InvalidInput
from binrag.types import Int64

N_WARM = 3


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a case answered on one data set, and what that cost."""

    top10: list[Int64]
    top100: list[Int64]
    milliseconds: float
    hot_bytes: float
    disk_bytes: float | None
    cold_reads: int | None


def rank(dataset: Dataset, build: Build) -> Ranked:
    """Ask a case all queries, once for 10 and once for 100; the times are those for 10."""
    with build(dataset) as searcher:
        queries = dataset.query_vectors
        for query in queries[:N_WARM]:
            searcher.search(query, 10)
        top10, seconds = [], []
        for query in queries:
            start = time.perf_counter()
            top10.append(searcher.search(query, 10))
            seconds.append(time.perf_counter() - start)
        top100 = [searcher.search(query, 100) for query in queries]
        milliseconds = 1e3 * float(np.median(seconds))
        return Ranked(top10, top100, milliseconds, searcher.hot_bytes, searcher.disk_bytes, searcher.cold_reads)


def measure(dataset: Dataset, cases: dict[str, Build]) -> list[Result]:
    """Run cases over a data set; the reference is always run, and reported if it is among them."""
    exact = rank(dataset, CASES[REFERENCE])
    reference = judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, exact.top10)
    results = []
    for name, build in cases.items():
        print(f"{dataset.name}: {name}", file=sys.stderr)
        try:
            ranked = exact if name == REFERENCE else rank(dataset, build)
        except BinarizerMismatch as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        judged = judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, ranked.top10)
        resamples = resampled_ratios(judged.ndcg, reference.ndcg)
        results.append(
            Result(
                data=dataset.name,
                case=name,
                ndcg_at_10=float(judged.ndcg.mean()),
                mrr_at_10=float(judged.mrr.mean()),
                ndcg_ratio=float(judged.ndcg.mean() / reference.ndcg.mean()),
                ndcg_ratio_interval=interval(resamples),
                recall_at_10=float(recall(ranked.top10, exact.top100, 10).mean()),
                recall_at_100=float(recall(ranked.top100, exact.top100, 100).mean()),
                hot_bytes_a_row=ranked.hot_bytes,
                disk_bytes_a_row=ranked.disk_bytes,
                cold_reads_a_query=ranked.cold_reads,
                milliseconds_a_query=ranked.milliseconds,
                resamples=resamples,
            )
        )
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--encoder", help="model for sets without ready vectors: a name or a folder")
    parser.add_argument("--table", choices=("cases", "variants"), default="cases", help="what is compared")
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="GLOB", help="only cases of these names")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    try:
        run(options, report.environment("benchmarks.quality", arguments))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def selected(table: str, globs: Sequence[str]) -> dict[str, Build]:
    """Return the cases of a table whose names match one of the globs.

    Raises
    ------
    InvalidInput
        No name matches, or the variants are not taken as a whole.
    """
    if table == "variants":
        if list(globs) != ["*"]:
            raise InvalidInput(f"--table variants runs as a whole; leave out --cases {' '.join(globs)}")
        return VARIANTS
    cases = {name: build for name, build in CASES.items() if any(fnmatchcase(name, glob) for glob in globs)}
    if not cases:
        raise InvalidInput(f"--cases {' '.join(globs)} matches none of: {'; '.join(CASES)}")
    return cases


def run(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Measure, print the tables, write the JSON file."""
    cases = selected(options.table, options.cases)
    encode = cached_encoder(options.encoder)
    print(report.environment_line(environment), end="\n\n")
    results: list[Result] = []
    for folder in options.data:
        dataset = load(folder, options.split, encode)
        sizes = f"{len(dataset.doc_ids):,} documents, {len(dataset.query_ids):,} queries (split: {dataset.split})"
        print(f"**{dataset.name}**: {sizes}, {dataset.dim} dimensions\n", flush=True)
        found = measure(dataset, cases)
        if options.table == "cases":
            print(f"{case_table(found)}\n", flush=True)
        results += found
    mean_rows = means(results)
    if options.table == "variants":
        print(f"nDCG@10 ÷ float32's, sign codes with rescale, float query\n\n{variant_table(results)}")
    elif len(options.data) > 1:
        print(f"**Mean over the {len(options.data)} sets**\n\n{mean_table(mean_rows)}")
    if options.json:
        records = [{k: v for k, v in asdict(result).items() if k != "resamples"} for result in results]
        figures = {"n_resamples": N_RESAMPLES, "sets": records, "means": mean_rows}
        report.write_json(options.json, environment, figures)


if __name__ == "__main__":
    raise SystemExit(main())
