"""Token vectors and MaxSim through fixed dimensional encodings: `python -m benchmarks.multivector --data DIR …`.

The truth is exhaustive MaxSim of float token vectors. For settings of MUVERA's encoding, in floats and in codes of one
and two bits a coordinate, over several seeds: how many candidates hold the truth's best. For codes of one bit: what is
left of nDCG@10 and of the truth's ten best when 200 candidates are ordered by codes of their tokens, and what a query
and a document take.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.embeddings import CACHE
from benchmarks.metrics import judge
from benchmarks.token_sets import STAND_INS, TokenSet, exhaustive, token_set
from binrag import pipeline
from binrag.binarizers import RowLevelsBinarizer
from binrag.encoders.fde import Fde, FdeConfig
from binrag.errors import BinragError, InvalidInput
from binrag.indexes import FlatIndex
from binrag.ranking.late_interaction import TokenQuery, group_tokens, rescore_tokens
from binrag.types import Candidates, Float32, Int64, TokenCodes, TokenVectors

AT = (10, 25, 75, 100, 200, 400, 800)
"""Numbers of candidates."""

PRINTED = (10, 75, 200)
N_RESCORED = 200
WAYS = ("float", "1 bit", "2 bits")

Order = Callable[[int, Int64], Int64]


@dataclass(frozen=True, slots=True)
class Found:
    """What one way to find candidates came to, on one set and seed.

    Attributes
    ----------
    data, way, config : str
    seed, n_bits : int
    best : dict
        Number of candidates to the share of queries whose best document by exhaustive MaxSim is among them.
    top10 : float
        Share of the ten best that are among 100 candidates.
    ndcg : dict
        What the first 200 candidates are ordered by to nDCG@10 over that of exhaustive MaxSim.
    kept : dict
        The same to the share of the ten best that are the first ten.
    """

    data: str
    way: str
    config: str
    seed: int
    n_bits: int
    best: dict[int, float]
    top10: float
    ndcg: dict[str, float]
    kept: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class CodedTokens:
    """Codes of all documents' tokens, and what made them."""

    binarizer: RowLevelsBinarizer
    codes: TokenCodes

    @classmethod
    def of(cls, tokens: TokenVectors, n_planes: int) -> CodedTokens:
        """Code token vectors."""
        binarizer = RowLevelsBinarizer.rotated(tokens.dim, n_planes)
        return cls(binarizer, TokenCodes.of(binarizer.transform(tokens.vectors), tokens.offsets))

    def ordered(self, query: Float32, rows: Int64) -> Int64:
        """Return rows by MaxSim of a query's token vectors with their codes."""
        prepared = TokenQuery.of(self.binarizer.weights(query))
        return rescore_tokens(self.codes.take(rows), prepared, rows).rows


def orders_of(data: TokenSet, coded: dict[int, CodedTokens]) -> dict[str, Order]:
    """Return the ways to order a query's candidates: by float tokens, by codes of tokens."""

    def by_float(i: int, rows: Int64) -> Int64:
        return Candidates.ordered(rows, data.scores[i][rows]).rows

    return {
        "float tokens": by_float,
        "1 bit": lambda i, rows: coded[1].ordered(data.queries[i], rows),
        "2 bits": lambda i, rows: coded[2].ordered(data.queries[i], rows),
        "2 bits, query grouped at 0.7": lambda i, rows: coded[2].ordered(group_tokens(data.queries[i], 0.7), rows),
    }


def candidates_of(encoded: Float32, queries: Sequence[Float32], way: str) -> list[Int64]:
    """Return the first 800 rows for each query by encodings in floats or codes."""
    if way == "float":
        return [np.argsort(-(encoded @ query), kind="stable")[: AT[-1]] for query in queries]
    binarizer = RowLevelsBinarizer(encoded.shape[1], int(way[0]))
    index = FlatIndex.from_codes(binarizer.transform(encoded), by_tables=True)
    return [pipeline.retrieve(index, binarizer.query(query), AT[-1]).rows for query in queries]


def measured(
    data: TokenSet, way: str, label: str, seed: int, n_bits: int, rows: Sequence[Int64], orders: dict[str, Order]
) -> Found:
    """Compare candidates, and orders of the first of them, with exhaustive MaxSim."""
    truth = np.argsort(-data.scores, axis=1, kind="stable")[:, :10]
    best = {n: _mean([row[0] in own[:n] for own, row in zip(rows, truth, strict=True)]) for n in AT}
    whole, by, kept = ndcg(data, list(truth)), {}, {}
    for name, order in orders.items():
        rankings = [order(i, own[:N_RESCORED]) for i, own in enumerate(rows)]
        by[name] = ndcg(data, rankings) / whole
        kept[name] = shared([own[:10] for own in rankings], truth)
    return Found(
        data.dataset.name, way, label, seed, n_bits, best, shared([own[:100] for own in rows], truth), by, kept
    )


def shared(rows: Sequence[Int64], truth: Int64) -> float:
    """Return the mean share of the ten best that are among rows."""
    return _mean([np.isin(best, own).mean() for own, best in zip(rows, truth, strict=True)])


def ndcg(data: TokenSet, rankings: Sequence[Int64]) -> float:
    """Return the mean nDCG@10."""
    found = judge(data.dataset.qrels, data.dataset.query_ids, data.dataset.doc_ids, [rows[:10] for rows in rankings])
    return float(found.ndcg.mean())


def _mean(values: Sequence[Any]) -> float:
    return float(np.mean(values))


def milliseconds(calls: dict[str, Callable[[int], object]], n: int) -> dict[str, float]:
    """Return the median time of each call for n queries, all of them in turn for each query."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(-1, n):
        for name, call in calls.items():
            start = time.perf_counter()
            call(max(i, 0))
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(own[1:])) for name, own in times.items()}


def costs(data: TokenSet, fde: Fde, encoded: Float32, coded: dict[int, CodedTokens]) -> dict[str, float]:
    """Return times and bytes of one setting, its encodings in codes of one bit."""
    some = data.documents.take(np.arange(min(200, len(data.documents))))
    start = time.perf_counter()
    fde.encode_document(some)
    encode = 1000 * (time.perf_counter() - start) / len(some)
    binarizer = RowLevelsBinarizer(fde.dim, 1)
    index = FlatIndex.from_codes(binarizer.transform(encoded), by_tables=True)
    n = min(30, len(data.queries))
    prepared = [binarizer.query(fde.encode_query(data.queries[i])) for i in range(n)]
    found = [pipeline.retrieve(index, query, AT[-1]).rows[:N_RESCORED] for query in prepared]
    times = milliseconds(
        {
            "encoded": lambda i: fde.encode_query(data.queries[i]),
            "tables": lambda i: binarizer.query(fde.encode_query(data.queries[i])),
            "scan": lambda i: pipeline.retrieve(index, prepared[i], AT[-1]),
            "1 bit": lambda i: coded[1].ordered(data.queries[i], found[i]),
            "2 bits": lambda i: coded[2].ordered(data.queries[i], found[i]),
            "exhaustive": lambda i: exhaustive(data.documents, data.queries[i]),
        },
        n,
    )
    floats = 2 * data.documents.dim * float(np.diff(data.documents.offsets).mean()) + 4 * fde.dim
    return {
        "encode a document": encode,
        **times,
        "floats, bytes": floats,
        "encoding, bytes": binarizer.code_bytes,
        **{f"{n_planes} tokens, bytes": float(own.codes.document_bytes.mean()) for n_planes, own in coded.items()},
    }


def config_of(text: str) -> FdeConfig:
    """Read ``default``, or ``repetitions,hyperplanes,projection[,fill][,final=N]``; a projection of 0 is none."""
    if text == "default":
        return FdeConfig()
    try:
        n_repetitions, n_hyperplanes, projection_dim = map(int, text.split(",")[:3])
        options = text.split(",")[3:]
        final = [int(option.removeprefix("final=")) for option in options if option != "fill"]
    except ValueError:
        raise InvalidInput(
            f"{text!r} is no setting; expected for instance 20,3,16,fill or 40,2,64,final=2560"
        ) from None
    return FdeConfig(n_repetitions, n_hyperplanes, projection_dim or None, "fill" in options, (*final, None)[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.multivector", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR layout")
    parser.add_argument("--split", help="queries of this split, or 'all'; default: test, where a set has splits")
    parser.add_argument("--encoder", help="folder of an ordinary sentence-transformers model")
    parser.add_argument("--tokens", choices=STAND_INS, default="contextual", help="(default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE / "tokens", help="token vectors are kept here")
    parser.add_argument("--documents", type=int, default=4000, help="of each set, at most (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=200, help="of each set, at most (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=256, help="of a document (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument(
        "--configs",
        nargs="+",
        default=["default"],
        help="default, or repetitions,hyperplanes,projection[,fill][,final=N]",
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="(default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment = report.environment("benchmarks.multivector", arguments)
    found: list[Found] = []
    spent: list[dict[str, Any]] = []
    print(report.environment_line(environment), end="\n\n")
    try:
        configs = {text: config_of(text) for text in options.configs}
        if min(options.seeds, options.documents, options.queries) < 1:
            raise InvalidInput(f"expected seeds, documents and queries of 1 at least, got {vars(options)}")
        for folder in options.data:
            run(token_set(folder, options), configs, options, found, spent)
    except (BinragError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for text in (candidate_table(found), order_table(found), time_table(spent), byte_table(spent)):
        print(text, end="\n\n", flush=True)
    if options.json:
        report.write_json(options.json, environment, {"found": [asdict(own) for own in found], "costs": spent})
    return 0


def run(
    data: TokenSet,
    configs: dict[str, FdeConfig],
    options: argparse.Namespace,
    found: list[Found],
    spent: list[dict[str, Any]],
) -> None:
    """Measure one set, and print what it is."""
    name, n_tokens = data.dataset.name, [np.diff(own.offsets).mean() for own in (data.documents, data.queries)]
    whole = ndcg(data, list(np.argsort(-data.scores, axis=1, kind="stable")))
    encoded_in = f"; tokens encoded in {1000 * data.seconds:.1f} ms a document" if data.seconds else ""
    print(
        f"{name}: {len(data.documents):,} documents of {n_tokens[0]:.1f} tokens, {len(data.queries):,} queries of "
        f"{n_tokens[1]:.1f}, {data.documents.dim} dimensions; exhaustive MaxSim nDCG@10 {whole:.4f}{encoded_in}",
        end="\n\n",
        flush=True,
    )
    coded = {n_planes: CodedTokens.of(data.documents, n_planes) for n_planes in (1, 2)}
    orders = orders_of(data, coded)
    single = np.argsort(-(data.dataset.query_vectors @ data.dataset.corpus.T), axis=1, kind="stable")[:, : AT[-1]]
    found.append(measured(data, "float", "one vector", 0, 32 * data.dataset.dim, list(single), orders))
    for text, config in configs.items():
        for seed in range(options.seeds):
            fde = Fde(data.documents.dim, replace(config, seed=seed))
            encoded = fde.encode_document(data.documents)
            queries = [fde.encode_query(data.queries[i]) for i in range(len(data.queries))]
            if seed == 0:
                spent.append({"data": name, "config": text, **costs(data, fde, encoded, coded)})
            for way in options.ways:
                n_bits = fde.dim * (32 if way == "float" else int(way[0]))
                rows = candidates_of(encoded, queries, way)
                found.append(measured(data, way, text, seed, n_bits, rows, orders if way == "1 bit" else {}))


def _groups(found: Sequence[Found]) -> dict[tuple[str, str, str], list[Found]]:
    """Put the seeds of one way together."""
    groups: dict[tuple[str, str, str], list[Found]] = {}
    for own in found:
        groups.setdefault((own.data, own.config, own.way), []).append(own)
    return groups


def candidate_table(found: Sequence[Found]) -> str:
    """Return how many candidates hold the best, means over seeds, as a Markdown table."""
    header = ["set", "encoding", "codes", "bits", *(f"best in {n}" for n in PRINTED), "top 10 in 100"]
    rows = []
    for key, own in _groups(found).items():
        shares = [*(_mean([each.best[n] for each in own]) for n in PRINTED), _mean([each.top10 for each in own])]
        rows.append([*key, f"{own[0].n_bits:,}", *map(report.number, shares)])
    return report.table(header, rows)


def order_table(found: Sequence[Found]) -> str:
    """Return what is left when 200 candidates are ordered in several ways, means over seeds, as a Markdown table."""
    names = list(found[0].ndcg)
    header = [
        "set",
        "candidates by",
        "codes",
        *(f"nDCG@10: {name}" for name in names),
        *(f"top 10: {n}" for n in names),
    ]
    rows = []
    for key, own in _groups(found).items():
        if own[0].ndcg:
            shares = [_mean([each.ndcg[name] for each in own]) for name in names]
            shares += [_mean([each.kept[name] for each in own]) for name in names]
            rows.append([*key, *map(report.number, shares)])
    return report.table(header, rows)


def time_table(spent: Sequence[dict[str, Any]]) -> str:
    """Return the milliseconds of a query and of a document's encoding as a Markdown table."""
    names = {
        "encode a document": "document encoded",
        "encoded": "query encoded",
        "tables": "and tables",
        "scan": "scan, 800 rescored",
        "1 bit": "200 by 1 bit",
        "2 bits": "by 2 bits",
        "exhaustive": "exhaustive",
    }
    rows = []
    for own in spent:
        totals = [own["tables"] + own["scan"] + own[way] for way in WAYS[1:]]
        times = [own["exhaustive"] / total for total in totals]
        figures = [report.number(own[name], 2) for name in names]
        rows.append([own["data"], own["config"], *figures, *(report.number(value, 0) for value in times)])
    return report.table(["set", "encoding", *names.values(), "times faster, 1 bit", "2 bits"], rows)


def byte_table(spent: Sequence[dict[str, Any]]) -> str:
    """Return the bytes of a document as a Markdown table."""
    rows = []
    for own in spent:
        row = [
            own["data"],
            own["config"],
            *(report.number(own[f"{name}, bytes"], 0) for name in ("floats", "encoding")),
        ]
        for n_planes in (1, 2):
            total = own["encoding, bytes"] + own[f"{n_planes} tokens, bytes"]
            row += [report.number(total, 0), f"1/{own['floats, bytes'] / total:.1f}"]
        rows.append(row)
    header = ["set", "encoding", "float16 tokens, float encoding", "encoding's code"]
    return report.table([*header, "with tokens of 1 bit", "share", "of 2 bits", "share"], rows)


if __name__ == "__main__":
    raise SystemExit(main())
