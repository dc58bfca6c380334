"""Search by vectors, by words and by both: `python -m benchmarks.hybrid --data DIR …`, or `--scale N --data DIR …`.

Dense is by float32, and as a store does it: sign codes, rescored by the float query, then by 8-bit vectors. Lexical
is BM25. Hybrid cases fuse the first 100 of the binary leg and of the lexical leg. `--scale` measures the lexical leg
alone, on N texts made of the data's own: what it takes in memory and in the file, to make, to fold a tenth into it, and
to search.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.copies import changed_texts
from benchmarks.datasets import Dataset, load
from benchmarks.embeddings import cached_encoder
from benchmarks.metrics import interval, judge, resampled_means
from binrag import pipeline
from binrag.binarizers import SignBinarizer
from binrag.errors import BinragError, InvalidInput
from binrag.indexes import FlatIndex
from binrag.lexical import LexicalIndex, Tail, Tokenizer
from binrag.ranking import fusion
from binrag.types import Candidates, Float32, Float64, IdfCoverage, Int64, ReciprocalRank, WeightedSum

DEPTH = 100
COVERAGE = IdfCoverage()
WEIGHTS = (0.1, 0.2, 0.3, 0.4)
EXPONENTS = (1.0, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class Legs:
    """What one query found.

    Attributes
    ----------
    exact, dense : Candidates
        By float32, and as a store finds them.
    lexical : Candidates
        By words.
    rows : int64 (n,)
        Rows of the dense or the lexical leg.
    dense_scores, coverage : float64 (n,)
        Theirs.
    """

    exact: Candidates
    dense: Candidates
    lexical: Candidates
    rows: Int64
    dense_scores: Float64
    coverage: Float64


Ranking = Callable[[Legs], Int64]


def by_coverage(legs: Legs, how: IdfCoverage = COVERAGE) -> Int64:
    """Return the rows by `fusion.by_coverage`."""
    own = (legs.dense, legs.lexical, legs.rows, legs.dense_scores, legs.coverage)
    return fusion.by_coverage(*own, how).candidates.rows


def by_spread(legs: Legs) -> Int64:
    """Return the rows by `fusion.by_coverage` with the dense leg's spread for the weight."""
    return by_coverage(legs, IdfCoverage(fusion.spread(legs.dense)))


def by(how: ReciprocalRank | WeightedSum) -> Ranking:
    """Return what ranks rows by a fusion of ranks or scores."""
    fuse: Any = fusion.by_ranks if isinstance(how, ReciprocalRank) else fusion.by_scores
    return lambda legs: fuse(legs.dense, legs.lexical, how).candidates.rows


CASES: dict[str, Ranking] = {
    "dense, float32": lambda legs: legs.exact.rows,
    "dense, signs and int8": lambda legs: legs.dense.rows,
    "lexical": lambda legs: legs.lexical.rows,
    "hybrid, ranks": by(ReciprocalRank()),
    "hybrid, min-max": by(WeightedSum()),
    "hybrid, min-max, 0.7 : 0.3": by(WeightedSum((0.7, 0.3))),
    "hybrid, z": by(WeightedSum(scale="z")),
    "hybrid, coverage": by_coverage,
    "hybrid, coverage × spread": by_spread,
}
DENSE, LEXICAL, DEFAULT = "dense, signs and int8", "lexical", "hybrid, coverage"
SWEEP = {f"w = {w}, p = {p:g}": partial(by_coverage, how=IdfCoverage(w, p)) for p in EXPONENTS for w in WEIGHTS}


@dataclass(frozen=True, slots=True)
class Result:
    """One case on one data set.

    Attributes
    ----------
    data, case : str
    ndcg_at_10, recall_at_2, recall_at_10, recall_at_100 : float
        Recall is the share of the relevant documents.
    gain : float
        nDCG@10 above that of the better leg of the data set: `DENSE` or `LEXICAL`.
    gain_interval : (float, float)
        Of 95 %, by the paired bootstrap.
    """

    data: str
    case: str
    ndcg_at_10: float
    recall_at_2: float
    recall_at_10: float
    recall_at_100: float
    gain: float
    gain_interval: tuple[float, float]


def int8(vectors: Float32) -> Float32:
    """Return vectors as a store that keeps 8 bits a coordinate gives them back."""
    scales = np.abs(vectors).max(axis=1, keepdims=True) / 127
    rounded: Float32 = (np.rint(vectors / scales) * scales).astype(np.float32)
    return rounded


def legs_of(dataset: Dataset) -> Iterator[Legs]:
    """Yield both legs of each query."""
    tokenizer, binarizer = Tokenizer(), SignBinarizer(dataset.dim)
    lexical = LexicalIndex.fold((tokenizer.words(text) for text in dataset.texts), tokenizer)
    index = FlatIndex.from_codes(binarizer.transform(dataset.corpus))
    kept = int8(dataset.corpus)
    for text, vector in zip(dataset.queries, dataset.query_vectors, strict=True):
        scores = (dataset.corpus @ vector).astype(np.float64)
        n = min(DEPTH, len(scores))
        best = np.argpartition(-scores, n - 1)[:n]
        query = binarizer.query(vector)
        found = pipeline.retrieve(index, query, pipeline.default_candidates(index, DEPTH))
        n_reads = pipeline.default_reads(DEPTH, binarizer.n_bits / binarizer.dim)
        dense = pipeline.rescore(found, query, n_reads, lambda rows: kept[rows]).top(DEPTH)
        words = tokenizer.words(text)
        matches = lexical.retrieve(words, DEPTH)
        rows = fusion.union(dense, matches)
        dense_scores = (kept[rows].astype(np.float64) * vector).sum(axis=1)
        exact = Candidates.ordered(best, scores[best])
        yield Legs(exact, dense, matches, rows, dense_scores, lexical.coverage(words, rows))


def found_share(dataset: Dataset, rankings: Sequence[Int64], k: int) -> float:
    """Return the mean share of a query's relevant documents that are among the first k."""
    shares = []
    for query_id, rows in zip(dataset.query_ids, rankings, strict=True):
        relevant = {doc_id for doc_id, grade in dataset.qrels[query_id].items() if grade > 0}
        if relevant:
            shares.append(len(relevant & {dataset.doc_ids[row] for row in rows[:k].tolist()}) / len(relevant))
    return float(np.mean(shares))


def measure(dataset: Dataset, cases: dict[str, Ranking]) -> list[Result]:
    """Rank the queries of a data set by each case."""
    print(f"{dataset.name}: {len(dataset.texts):,} texts", file=sys.stderr)
    found = list(legs_of(dataset))
    rankings = {name: [rank(legs) for legs in found] for name, rank in (CASES | cases).items()}
    ndcg = {
        name: judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, [rows[:10] for rows in own]).ndcg
        for name, own in rankings.items()
    }
    better = max(ndcg[DENSE], ndcg[LEXICAL], key=np.mean)
    return [
        Result(
            dataset.name,
            name,
            float(ndcg[name].mean()),
            *(found_share(dataset, rankings[name], k) for k in (2, 10, 100)),
            float((ndcg[name] - better).mean()),
            interval(resampled_means(ndcg[name] - better)),
        )
        for name in cases
    ]


def case_table(results: Sequence[Result]) -> str:
    """Return the table of all measures for one data set."""
    return report.table(
        ["case", "nDCG@10", "above the better leg [95 %]", "recall@2", "recall@10", "recall@100"],
        [
            (
                *(r.case, report.number(r.ndcg_at_10, 4)),
                gain_text(r),
                *(report.number(value) for value in (r.recall_at_2, r.recall_at_10, r.recall_at_100)),
            )
            for r in results
        ],
    )


def gain_text(result: Result) -> str:
    """Return what a case gained, with its interval, as text."""
    low, high = result.gain_interval
    return f"{result.gain:+.3f} [{low:+.3f}, {high:+.3f}]"


def set_table(results: Sequence[Result], text: Callable[[Result], str]) -> str:
    """Return a text for each result, by case and data set."""
    names = list(dict.fromkeys(r.data for r in results))
    of = {(r.case, r.data): text(r) for r in results}
    cases = dict.fromkeys(r.case for r in results)
    return report.table(["case", *names], [(case, *(of[case, name] for name in names)) for case in cases])


@dataclass(frozen=True, slots=True)
class Scale:
    """The lexical leg on many rows.

    Attributes
    ----------
    n_rows, n_words, n_postings : int
        Rows, distinct words and postings.
    tokenize_seconds, make_seconds, fold_seconds, open_seconds : float
        To cut all texts into words, to index the words of the first nine tenths, to fold those of the last tenth into
        that, and to open the index of all.
    memory_bytes, file_bytes : int
    words_a_query : float
    milliseconds : (float, float)
        Median and 95th percentile of a search for 100.
    tail_milliseconds : (float, float)
        The same with the last tenth of the rows in a tail.
    tail_top10, tail_shift : float
        Share of the exact first 10 that is found so, and the mean change of their scores, relative.
    """

    n_rows: int
    n_words: int
    n_postings: int
    tokenize_seconds: float
    make_seconds: float
    fold_seconds: float
    open_seconds: float
    memory_bytes: int
    file_bytes: int
    words_a_query: float
    milliseconds: tuple[float, float]
    tail_milliseconds: tuple[float, float]
    tail_top10: float
    tail_shift: float


def measure_scale(texts: Sequence[str], queries: Sequence[str], n: int) -> Scale:
    """Search n rows, the last tenth of them in a tail; then fold that into the index, and search again."""
    tokenizer, n_older = Tokenizer(), n - n // 10
    rows, tokenize_seconds = _timed(lambda: [tokenizer.words(text) for text in changed_texts(texts, n)])
    asked = [tokenizer.words(query) for query in queries]
    _folded(LexicalIndex.fold([["warm"]], tokenizer), Tail(1))  # compiled code loads
    older, make_seconds = _timed(lambda: LexicalIndex.fold(rows[:n_older], tokenizer))
    tail = Tail(n_older).extended(rows[n_older:])
    partly, tail_milliseconds = _searched(older, asked, tail)
    index, fold_seconds = _timed(lambda: _folded(older, tail))
    print(f"folded {n // 10:,} rows into {n_older:,} in {fold_seconds:.2f} s", file=sys.stderr)
    whole, milliseconds = _searched(index, asked, None)
    blocks = list(index.to_blocks())
    _, open_seconds = _timed(lambda: LexicalIndex.from_blocks(blocks, "the index"))
    pairs = [(a, b) for a, b in zip(whole, partly, strict=True) if len(a.rows)]
    shared = [np.isin(a.rows[:10], b.rows[:10]).mean() for a, b in pairs]
    shifts = [
        abs(b.scores[i] / score - 1)
        for a, b in pairs
        for row, score in zip(a.rows[:10].tolist(), a.scores[:10].tolist(), strict=True)
        for i in np.flatnonzero(b.rows == row)
    ]
    return Scale(
        *(n, len(index.postings.vocabulary), len(index.postings)),
        *(tokenize_seconds, make_seconds, fold_seconds, open_seconds),
        *(index.nbytes, sum(map(len, blocks)), float(np.mean([len(words) for words in asked]))),
        *(milliseconds, tail_milliseconds, float(np.mean(shared)), float(np.mean(shifts))),
    )


def _folded(index: LexicalIndex, tail: Tail) -> LexicalIndex:
    n_rows = index.n_rows + tail.n_rows
    return index.folded(tail, np.arange(n_rows), n_rows)


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    made = make()
    return made, time.perf_counter() - start


def _searched(
    index: LexicalIndex, asked: Sequence[Sequence[str]], tail: Tail | None
) -> tuple[list[Candidates], tuple[float, float]]:
    index.retrieve(["warm"], DEPTH, tail=tail)
    found, seconds = zip(*(_timed(partial(index.retrieve, words, DEPTH, tail=tail)) for words in asked), strict=True)
    median, late = (1e3 * np.quantile(seconds, [0.5, 0.95])).tolist()
    return list(found), (median, late)


def scale_table(r: Scale) -> str:
    """Return the figures of a scale as a table."""
    return report.table(
        ["lexical leg", f"{r.n_rows:,} rows"],
        [
            ("distinct words", f"{r.n_words:,}"),
            ("postings a row", report.number(r.n_postings / r.n_rows, 1)),
            ("bytes a row in memory", report.number(r.memory_bytes / r.n_rows, 0)),
            ("bytes a row in the file", report.number(r.file_bytes / r.n_rows, 0)),
            ("to cut the texts into words, s", report.number(r.tokenize_seconds, 1)),
            ("to index the words of nine tenths, s", report.number(r.make_seconds, 1)),
            ("to fold a tenth into them, s", report.number(r.fold_seconds, 2)),
            ("to open, s", report.number(r.open_seconds, 2)),
            ("words a query", report.number(r.words_a_query, 1)),
            ("ms a query, median and 95 %", " / ".join(report.number(x, 1) for x in r.milliseconds)),
            ("the same, a tenth in the tail", " / ".join(report.number(x, 1) for x in r.tail_milliseconds)),
            ("exact first 10 found so", report.number(r.tail_top10, 4)),
            ("their scores are off by", f"{100 * r.tail_shift:.2f} %"),
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hybrid", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--encoder", help="model for sets without ready vectors: a name or a folder")
    parser.add_argument("--sweep", action="store_true", help="vary weight and exponent of the fusion by coverage")
    parser.add_argument("--scale", type=int, metavar="N", help="measure the lexical leg on N rows instead")
    parser.add_argument("--queries", type=int, default=100, help="queries of each set for --scale (default: 100)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment = report.environment("benchmarks.hybrid", arguments)
    try:
        if (options.scale is not None and options.scale < 20) or options.queries < 1:
            raise InvalidInput(f"expected --scale ≥ 20 and --queries ≥ 1, got {options.scale} and {options.queries}")
        sets = [load(folder, options.split, cached_encoder(options.encoder)) for folder in options.data]
        results: Any
        if options.scale:
            queries = [query for dataset in sets for query in dataset.queries[: options.queries]]
            scale = measure_scale([text for dataset in sets for text in dataset.texts], queries, options.scale)
            tables, results = [scale_table(scale)], asdict(scale)
        else:
            cases = {name: CASES[name] for name in (DENSE, LEXICAL)} | SWEEP if options.sweep else CASES
            by_set = [measure(dataset, cases) for dataset in sets]
            every = [result for own in by_set for result in own]
            tables = [set_table(every, lambda r: report.number(r.ndcg_at_10, 4))]
            if not options.sweep:
                tables.append(f"Above the better leg [95 %]:\n\n{set_table(every, gain_text)}")
                tables += [f"## {own[0].data}\n\n{case_table(own)}" for own in by_set]
            results = [asdict(result) for result in every]
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.environment_line(environment), *tables, sep="\n\n")
    if options.json:
        report.write_json(options.json, environment, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
