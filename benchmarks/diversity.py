"""Near-copies and what diversity does about them: `python -m benchmarks.diversity --data DIR …`.

Every document is there six times: itself and five near-copies, whose vectors are a little off. The first ten rows of
plain search, of MMR and of coverage: how many documents they are of, and nDCG@10, in which a document counts once, at
the first of its copies. And how near greedy coverage comes to the best choice of all there are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.copies import changed_vectors
from benchmarks.datasets import Dataset, load
from benchmarks.metrics import judge
from binrag.errors import BinragError, InvalidInput
from binrag.ranking.diversify import coverage, mmr
from binrag.types import Coverage, Diversity, Float32, Float64, Int64, Mmr

K = 10
N_COPIES = 5
POOL, CHOSEN = 15, 4
"""Candidates among which all choices of so many are tried."""


@dataclass(frozen=True, slots=True)
class Found:
    """The first ten rows by one way, means over the queries of a set.

    Attributes
    ----------
    data, way : str
    n_sources : float
        Documents among the first ten rows.
    ndcg : float
        nDCG@10; a document counts at the first of its copies.
    """

    data: str
    way: str
    n_sources: float
    ndcg: float


def with_copies(corpus: Float32, cosine: float, seed: int) -> Float32:
    """Return unit vectors and `N_COPIES` near-copies of each, at about a cosine: float32 (6 n, dim), row by row."""
    each = np.repeat(corpus[:, None], N_COPIES, axis=1)
    copies = changed_vectors(each, cosine, np.random.default_rng(seed))
    return np.concatenate([corpus[:, None], copies], axis=1).reshape(-1, corpus.shape[1])


def ways() -> dict[str, Diversity | None]:
    """Return what is compared."""
    return {
        "plain": None,
        "Mmr(0.5)": Mmr(0.5),
        "Mmr(0.5, n_pool=100)": Mmr(0.5, 100),
        "Coverage(0.3)": Coverage(0.3),
        "Coverage(0.5)": Coverage(0.5),
        "Coverage(0.7)": Coverage(0.7),
    }


def chosen(scores: Float64, vectors: Float32, diversity: Diversity | None) -> Int64:
    """Return the first ten rows of all, as a search with this diversity has them."""
    n_pool = K if diversity is None else diversity.pool_of(K)
    pool = np.argsort(-scores, kind="stable")[:n_pool]
    if diversity is None:
        return pool
    choose: Callable[..., Int64] = coverage if isinstance(diversity, Coverage) else mmr
    return pool[choose(scores[pool], vectors[pool], K, diversity.diversity)]


def once(sources: Int64, nobody: int) -> Int64:
    """Return the documents that rows are of, each at its first place; `nobody` and what follows it at the others."""
    _, first = np.unique(sources, return_index=True)
    found = nobody + np.arange(len(sources))
    found[first] = sources[first]
    return found


def measure(data: Dataset, cosine: float, seed: int) -> list[Found]:
    """Compare the ways on one set."""
    rows = with_copies(data.corpus, cosine, seed)
    n = len(data.corpus)
    doc_ids = [*data.doc_ids, *(f"again {i}" for i in range(K))]
    results = []
    all_scores = [(rows @ query).astype(np.float64) for query in data.query_vectors]
    for way, diversity in ways().items():
        found = [chosen(scores, rows, diversity) // (1 + N_COPIES) for scores in all_scores]
        judged = judge(data.qrels, data.query_ids, doc_ids, [once(sources, n) for sources in found])
        n_sources = float(np.mean([len(set(sources.tolist())) for sources in found]))
        results.append(Found(data.name, way, n_sources, float(judged.ndcg.mean())))
    return results


def greedy_share(data: Dataset, cosine: float, seed: int, n_queries: int) -> float:
    """Return the least share of the best choice's worth that greedy coverage reaches, over some queries."""
    rows, least = with_copies(data.corpus, cosine, seed), 1.0
    for query in data.query_vectors[:n_queries]:
        scores = (rows @ query).astype(np.float64)
        # spread over the first rows, so that there is something to choose from
        pool = np.argsort(-scores, kind="stable")[: 4 * POOL : 4]
        own, vectors = scores[pool], rows[pool]
        greedy = worth(own, vectors, coverage(own, vectors, CHOSEN, 0.5))
        best = max(worth(own, vectors, np.array(some)) for some in combinations(range(POOL), CHOSEN))
        least = min(least, greedy / best)
    return least


def worth(scores: Float64, vectors: Float32, some: Int64) -> float:
    """Return the objective of `coverage` at a diversity of 0.5."""
    weights = np.exp(scores - scores.max())
    stands_for = np.maximum(vectors @ vectors[some].T, 0).max(axis=1)
    return float(0.5 / CHOSEN * scores[some].sum() + 0.5 * (weights / weights.sum()) @ stands_for)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diversity", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--cosine", type=float, default=0.97, help="of a copy with its document (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=300, help="of each set, at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment = report.environment("benchmarks.diversity", arguments)
    print(report.environment_line(environment), end="\n\n")
    results: list[Found] = []
    try:
        if not 0 < options.cosine < 1 or options.queries < 1:
            raise InvalidInput(f"expected a cosine between 0 and 1 and queries of 1 at least, got {vars(options)}")
        for folder in options.data:
            data = first_queries(load(folder, options.split), options.queries)
            results += measure(data, options.cosine, options.seed)
            least = greedy_share(data, options.cosine, options.seed, 20)
            print(f"{data.name}: greedy coverage reaches {least:.3f} of the best choice at least", flush=True)
    except (BinragError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    header = ["data", "way", "documents in the first ten", "nDCG@10"]
    rows = [(r.data, r.way, report.number(r.n_sources, 2), report.number(r.ndcg, 4)) for r in results]
    print("\n" + report.table(header, rows))
    if options.json:
        report.write_json(options.json, environment, [asdict(result) for result in results])
    return 0


def first_queries(data: Dataset, n: int) -> Dataset:
    """Return a set with its first queries only."""
    return replace(data, query_ids=data.query_ids[:n], queries=data.queries[:n], query_vectors=data.query_vectors[:n])


if __name__ == "__main__":
    raise SystemExit(main())
