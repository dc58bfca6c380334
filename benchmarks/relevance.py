"""What a relevance says of whether there is an answer: `python -m benchmarks.relevance --data DIR DIR …`.

A store of each set is asked its own queries, and as many of the other sets, to which it has no answer. Each query has
the relevance of its first hit, 0 where there is none. The area under the ROC curve is the chance that a query of the
set has more of it than a foreign one; in the last lines, that one of any set has more than a foreign one of any set,
which is what one threshold for all needs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks import report
from benchmarks.datasets import Dataset, load
from binrag import BinragError, InvalidInput, Store
from binrag.types import Float32, Float64, Legs

ALL = "all sets"


@dataclass(frozen=True, slots=True)
class Found:
    """Relevances of first hits by one leg, or both.

    Attributes
    ----------
    data, legs : str
    own, foreign : float
        Their median, over the queries of the set and over those of the others.
    area : float
        Under the ROC curve.
    kept : float
        Share of the set's own queries above the 95th percentile of the foreign ones.
    """

    data: str
    legs: str
    own: float
    foreign: float
    area: float
    kept: float


def compared(data: str, legs: str, own: Float64, foreign: Float64) -> Found:
    """Compare relevances of queries that may have an answer with those of others, float64 (n,) each."""
    ascending = np.sort(foreign)
    below, up_to = (np.searchsorted(ascending, own, side) for side in ("left", "right"))
    area = float(((below + up_to) / 2).mean() / len(foreign))
    kept = float((own > np.quantile(foreign, 0.95)).mean())
    return Found(data, legs, float(np.median(own)), float(np.median(foreign)), area, kept)


def relevances(store: Store, texts: Sequence[str], vectors: Float32, legs: Legs) -> Float64:
    """Return the relevance of each query's first hit, 0 where there is none: float64 (n,)."""
    found = store.search_batch(vectors, 1, texts=None if legs == "dense" else texts, legs=legs)
    return np.array([hits[0].relevance if hits else 0.0 for hits in found], dtype=np.float64)


def foreign_queries(sets: Sequence[Dataset], own: int, n: int, seed: int) -> tuple[list[str], Float32]:
    """Return the texts and the vectors of `n` queries of the other sets, of each about as many."""
    draw, texts, vectors = np.random.default_rng(seed), list[str](), list[Float32]()
    others = [other for i, other in enumerate(sets) if i != own]
    for place, other in enumerate(others):
        share = n * (place + 1) // len(others) - n * place // len(others)
        some = draw.choice(len(other.queries), size=min(share, len(other.queries)), replace=False)
        texts += [other.queries[i] for i in some]
        vectors.append(other.query_vectors[some])
    return texts, np.concatenate(vectors)


def measure(sets: Sequence[Dataset], n_queries: int, seed: int) -> list[Found]:
    """Ask each set's store its own queries and foreign ones, by each leg and by both."""
    results: list[Found] = []
    pooled: dict[Legs, list[tuple[Float64, Float64]]] = {legs: [] for legs in get_args(Legs)}
    for place, data in enumerate(sets):
        own = data.queries[:n_queries], data.query_vectors[:n_queries]
        foreign = foreign_queries(sets, place, len(own[0]), seed)
        with (
            tempfile.TemporaryDirectory() as folder,
            Store.open(Path(folder) / "s.binrag", lexical="en", auto_fit=False) as store,
        ):
            store.add(data.texts, ids=data.doc_ids, vectors=data.corpus, progress=False)
            for legs, of_all in pooled.items():
                both = relevances(store, *own, legs), relevances(store, *foreign, legs)
                of_all.append(both)
                results.append(compared(data.name, legs, *both))
    for legs, of_all in pooled.items():
        own_of_all, foreign_of_all = (np.concatenate(some) for some in zip(*of_all, strict=True))
        results.append(compared(ALL, legs, own_of_all, foreign_of_all))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relevance", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="two folders or more, in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--queries", type=int, default=300, help="of each set, at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment = report.environment("benchmarks.relevance", arguments)
    print(report.environment_line(environment), end="\n\n")
    try:
        if len(options.data) < 2 or options.queries < 1:
            raise InvalidInput(f"expected two sets and one query of each at least, got {vars(options)}")
        results = measure([load(folder, options.split) for folder in options.data], options.queries, options.seed)
    except (BinragError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    header = ["data", "legs", "own queries, median", "foreign", "area under ROC", "own above 95 % of foreign"]
    rows = [(r.data, r.legs, *(report.number(x, 3) for x in (r.own, r.foreign, r.area, r.kept))) for r in results]
    print(report.table(header, rows))
    if options.json:
        report.write_json(options.json, environment, [asdict(result) for result in results])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
