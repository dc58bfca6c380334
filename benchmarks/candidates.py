"""How many rows a scan has to hand on: `python -m benchmarks.candidates --data DIR …`.

For signs and for the codes that come with binrag: at which place of the scan's order float32's best k rows are, by
shares of them, and what the default number of candidates holds. Subsets of the rows show whether that grows with them.
And how many of the best k are among the kept vectors that a search reads by default, the first by the codes' scores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.datasets import Dataset, load
from benchmarks.embeddings import cached_encoder
from binrag import pipeline
from binrag.binarizers import SignBinarizer
from binrag.binarizers.artefact import load_artefact
from binrag.errors import BinragError, InvalidInput
from binrag.indexes import FlatIndex
from binrag.protocols import Binarizer
from binrag.types import Float32, Int64

SHARES = (0.95, 0.99, 0.995, 0.999)


@dataclass(frozen=True, slots=True)
class Places:
    """One code's scan on one number of rows.

    Attributes
    ----------
    data, code : str
    n_rows, k : int
    needed : tuple of int
        Candidates that hold each of `SHARES` of float32's best k.
    n_candidates : int
        The default.
    held : float
        Share of float32's best k among so many.
    n_reads : int
        Kept vectors read, by default.
    read : float
        Share of float32's best k among them.
    """

    data: str
    code: str
    n_rows: int
    k: int
    needed: tuple[int, ...]
    n_candidates: int
    held: float
    n_reads: int
    read: float


def places(binarizer: Binarizer, rows: Float32, queries: Float32, k: int) -> tuple[FlatIndex, Int64, float]:
    """Return the index of rows, the places of float32's best k in its scan's order, and the share of them that is read.

    Places are int64 (n_queries, k).
    """
    index = FlatIndex.from_codes(binarizer.transform(rows), binarizer.shape.by_tables)
    found = np.empty((len(queries), k), dtype=np.int64)
    n_candidates, n_reads = pipeline.default_candidates(index, k), default_reads(binarizer, k)
    n_read = 0
    for vector, own in zip(queries, found, strict=True):
        exact = np.argpartition(-(rows @ vector), k - 1)[:k]
        query = binarizer.query(vector)
        own[:] = np.argsort(index.retrieve(query, len(rows)).rows)[exact]
        n_read += np.isin(exact, pipeline.retrieve(index, query, n_candidates).rows[:n_reads]).sum()
    return index, found, float(n_read / found.size)


def default_reads(binarizer: Binarizer, k: int) -> int:
    """How many kept vectors a store with this binarizer reads for k hits."""
    return pipeline.default_reads(k, binarizer.n_bits / binarizer.dim)


def measure(dataset: Dataset, codes: dict[str, Binarizer], ks: Sequence[int], n_parts: int) -> Iterator[Places]:
    """Yield each code's places on all rows, half of them, a quarter, …; `n_parts` such numbers."""
    order = np.random.default_rng(0).permutation(len(dataset.corpus))
    for name, binarizer in codes.items():
        for k in ks:
            for n_rows in (len(order) >> i for i in reversed(range(n_parts))):
                if n_rows < 2 * k:
                    continue
                print(f"{dataset.name}: {name}, {n_rows:,} rows, k = {k}", file=sys.stderr)
                rows = dataset.corpus[order[:n_rows]]
                index, found, read = places(binarizer, rows, dataset.query_vectors, k)
                ranked, n_candidates = np.sort(found, axis=None), pipeline.default_candidates(index, k)
                needed = tuple(int(ranked[int(np.ceil(share * len(ranked))) - 1]) + 1 for share in SHARES)
                held = float((found < n_candidates).mean())
                n_reads = default_reads(binarizer, k)
                yield Places(dataset.name, name, n_rows, k, needed, n_candidates, held, n_reads, read)


def place_table(results: Sequence[Places]) -> str:
    """Return the results as a Markdown table."""
    header = ["data", "code", "rows", "k", *(f"hold {share}" for share in SHARES), "default", "hold", "read", "hold"]
    return report.table(
        header,
        [
            (
                *(r.data, r.code, f"{r.n_rows:,}", str(r.k), *map(str, r.needed)),
                *(str(r.n_candidates), f"{r.held:.4f}", str(r.n_reads), f"{r.read:.4f}"),
            )
            for r in results
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.candidates", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--encoder", help="model for sets without ready vectors: a name or a folder")
    parser.add_argument(
        "--artefacts",
        nargs="*",
        default=["all-minilm-l6-v2-48", "all-minilm-l6-v2-96"],
        metavar="FILE",
        help="artefacts beside signs: files, or names of those that come with binrag (default: %(default)s)",
    )
    parser.add_argument("--k", type=int, nargs="+", default=[10], help="default: %(default)s")
    parser.add_argument("--parts", type=int, default=1, help="halve the rows so many times, less one (default: 1)")
    parser.add_argument("--queries", type=int, default=300, help="queries of each set, at most (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment = report.environment("benchmarks.candidates", arguments)
    try:
        if min(*options.k, options.parts, options.queries) < 1:
            raise InvalidInput(f"expected k ≥ 1, parts ≥ 1 and queries ≥ 1, got {vars(options)}")
        results: list[Places] = []
        for folder in options.data:
            dataset = load(folder, options.split, cached_encoder(options.encoder))
            codes: dict[str, Binarizer] = {"sign": SignBinarizer(dataset.dim)}
            codes |= {name: load_artefact(name, dim=dataset.dim)[0] for name in options.artefacts}
            some = replace(dataset, query_vectors=dataset.query_vectors[: options.queries])
            results += measure(some, codes, options.k, options.parts)
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.environment_line(environment), end="\n\n")
    print(place_table(results))
    if options.json:
        report.write_json(options.json, environment, [asdict(result) for result in results])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
