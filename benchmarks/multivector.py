"""Token vectors and MaxSim through fixed dimensional encodings: `python -m benchmarks.multivector --data DIR …`.

The truth is exhaustive MaxSim of float token vectors. For settings of MUVERA's encoding, in floats and in codes of one
and two bits a coordinate, over several seeds: how many candidates hold the truth's best, and what nDCG@10 is left when
200 candidates are ordered by codes of their tokens. The token vectors stand in for those of a model of late
interaction: an ordinary sentence-transformers model's, which are much alike within a text, or those of its vocabulary,
which are not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.datasets import Dataset, load
from benchmarks.embeddings import CACHE
from benchmarks.metrics import judge
from binrag import pipeline
from binrag.binarizers import RowLevelsBinarizer
from binrag.encoders import SentenceTokenEncoder, TokenEncoder
from binrag.encoders.fde import Fde, FdeConfig
from binrag.encoders.tokens import checked_tokens
from binrag.errors import BinragError, InvalidInput
from binrag.indexes import FlatIndex
from binrag.protocols import MultiVectorEncoder
from binrag.ranking.late_interaction import TokenQuery, group_tokens, rescore_tokens
from binrag.types import Candidates, Float32, Float64, Int64, TokenCodes, TokenVectors

AT = (10, 25, 75, 100, 200, 400, 800)
"""Numbers of candidates."""

N_RESCORED = 200
ENCODED_AT_ONCE = 250


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
    """

    data: str
    way: str
    config: str
    seed: int
    n_bits: int
    best: dict[int, float]
    top10: float
    ndcg: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class TokenSet:
    """A set with the token vectors of its texts, and the exhaustive scores."""

    dataset: Dataset
    documents: TokenVectors
    queries: TokenVectors
    scores: Float64
    """float64 (n_queries, n_documents)"""
    seconds: float
    """Time of encoding a document's tokens, 0 if they were read from the cache."""


def stand_in(folder: str, max_tokens: int) -> MultiVectorEncoder:
    """Return the token vectors of an ordinary model as an encoder."""
    from sentence_transformers import MultiVectorEncoder as Model
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    model = Model(modules=[Transformer(folder), MultiVectorMask(), Normalize(module_input_name="token_embeddings")])
    model.max_seq_length = max_tokens
    return SentenceTokenEncoder(model=model)


def lexical_stand_in(folder: str, max_tokens: int) -> MultiVectorEncoder:
    """Return the vectors that tokens have before the model reads them, centred: one token, one vector."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder)
    matrix = model[0].auto_model.get_input_embeddings().weight.detach().numpy()
    matrix = matrix - matrix.mean(axis=0)

    def encode(texts: list[str]) -> list[Float32]:
        tokens = model.tokenizer(texts, add_special_tokens=False, truncation=True, max_length=max_tokens)
        return [matrix[ids] for ids in tokens["input_ids"]]

    return TokenEncoder(encode)


STAND_INS = {"contextual": stand_in, "lexical": lexical_stand_in}


def token_set(folder: Path, options: argparse.Namespace) -> TokenSet:
    """Read a set and its token vectors, encoded once; judged documents come first, and others up to a number."""
    dataset = load(folder, options.split)
    n_queries = min(options.queries, len(dataset.query_ids))
    judged = {doc_id for query_id in dataset.query_ids[:n_queries] for doc_id in dataset.qrels[query_id]}
    order = sorted(range(len(dataset.doc_ids)), key=lambda row: dataset.doc_ids[row] not in judged)
    place = options.cache / f"{dataset.name}-{options.tokens}"
    rows_file, seconds = place.with_suffix(".rows.npy"), 0.0
    if not rows_file.exists():
        encoder = STAND_INS[options.tokens](options.encoder, options.max_tokens)
        queries = dataset.queries[:n_queries]
        _write(place.with_suffix(".queries"), checked_tokens(encoder.encode_query(queries), queries, "cosine"))
        texts, parts = [dataset.texts[row] for row in order[: options.documents]], []
        start = time.perf_counter()
        for first in range(0, len(texts), ENCODED_AT_ONCE):
            some = texts[first : first + ENCODED_AT_ONCE]
            parts += [part.astype(np.float16) for part in checked_tokens(encoder.encode_document(some), some, "cosine")]
        seconds = (time.perf_counter() - start) / len(texts)
        _write(place.with_suffix(".documents"), TokenVectors.of(parts, parts[0].shape[1]))
        np.save(rows_file, np.array(order[: len(parts)]))
    rows = np.load(rows_file)
    documents, queries = (_read(place.with_suffix(f".{side}")) for side in ("documents", "queries"))
    n_queries, rows = len(queries), rows[: options.documents]
    documents = documents.take(np.arange(len(rows)))
    dataset = replace(
        dataset,
        doc_ids=[dataset.doc_ids[row] for row in rows],
        texts=[dataset.texts[row] for row in rows],
        corpus=dataset.corpus[rows],
        query_ids=dataset.query_ids[:n_queries],
        queries=dataset.queries[:n_queries],
        query_vectors=dataset.query_vectors[:n_queries],
    )
    return TokenSet(dataset, documents, queries, all_scores(documents, queries), seconds)


def _write(place: Path, tokens: TokenVectors) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    np.save(place.with_suffix(place.suffix + ".f16.npy"), tokens.vectors.astype(np.float16))
    np.save(place.with_suffix(place.suffix + ".offsets.npy"), tokens.offsets)


def _read(place: Path) -> TokenVectors:
    vectors = np.load(place.with_suffix(place.suffix + ".f16.npy")).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TokenVectors(vectors, np.load(place.with_suffix(place.suffix + ".offsets.npy")))


def exhaustive(documents: TokenVectors, query: Float32) -> Float64:
    """Return MaxSim of all documents, float64 (n_documents,), with one matrix product."""
    products = np.maximum.reduceat(documents.vectors @ query.T, documents.offsets[:-1])
    return np.asarray(products.sum(axis=1, dtype=np.float64))


def all_scores(documents: TokenVectors, queries: TokenVectors) -> Float64:
    """Return MaxSim of all documents for all queries, float64 (n_queries, n_documents)."""
    parts = []
    for first in range(0, len(documents), 100):
        some = documents.take(np.arange(first, min(first + 100, len(documents))))
        largest = np.maximum.reduceat(some.vectors @ queries.vectors.T, some.offsets[:-1])
        parts.append(np.add.reduceat(largest.astype(np.float64), queries.offsets[:-1], axis=1))
    return np.concatenate(parts).T


def coded(tokens: TokenVectors, n_planes: int) -> TokenCodes:
    """Code token vectors."""
    binarizer = RowLevelsBinarizer(tokens.dim, n_planes)
    return TokenCodes.of(binarizer.transform(tokens.vectors), tokens.offsets)


def candidates_of(encoded: Float32, queries: Sequence[Float32], way: str) -> list[Int64]:
    """Return the first 800 rows for each query by encodings in floats or codes."""
    if way == "float":
        return [np.argsort(-(encoded @ query), kind="stable")[: AT[-1]] for query in queries]
    binarizer = RowLevelsBinarizer(encoded.shape[1], int(way[0]))
    index = FlatIndex.from_codes(binarizer.transform(encoded), by_tables=True)
    return [pipeline.retrieve(index, binarizer.query(query), AT[-1]).rows for query in queries]


def measured(
    data: TokenSet, way: str, label: str, seed: int, n_bits: int, rows: Sequence[Int64], orders: dict[str, Any]
) -> Found:
    """Compare candidates with exhaustive MaxSim."""
    truth = np.argsort(-data.scores, axis=1, kind="stable")[:, :10]
    best = {n: _mean([row[0] in own[:n] for own, row in zip(rows, truth, strict=True)]) for n in AT}
    top10 = _mean([len(set(own[:100].tolist()) & set(row.tolist())) / 10 for own, row in zip(rows, truth, strict=True)])
    whole = ndcg(data, list(truth))
    by = {name: ndcg(data, order(rows)) / whole for name, order in orders.items()}
    return Found(data.dataset.name, way, label, seed, n_bits, best, top10, by)


def _mean(values: Sequence[float | bool]) -> float:
    return float(np.mean(values))


def ndcg(data: TokenSet, rankings: Sequence[Int64]) -> float:
    """Return the mean nDCG@10."""
    found = judge(data.dataset.qrels, data.dataset.query_ids, data.dataset.doc_ids, [rows[:10] for rows in rankings])
    return float(found.ndcg.mean())


def orders_of(data: TokenSet) -> dict[str, Callable[[Sequence[Int64]], list[Int64]]]:
    """Return the ways to order candidates: as they come, by float tokens, by codes of tokens."""

    def by_float(rows: Sequence[Int64]) -> list[Int64]:
        firsts = [own[:N_RESCORED] for own in rows]
        return [Candidates.ordered(own, scores[own]).rows for own, scores in zip(firsts, data.scores, strict=True)]

    def by_codes(n_planes: int, threshold: float | None) -> Callable[[Sequence[Int64]], list[Int64]]:
        codes, binarizer = coded(data.documents, n_planes), RowLevelsBinarizer(data.documents.dim, n_planes)

        def ordered(rows: Sequence[Int64]) -> list[Int64]:
            found = []
            for i, own in enumerate(rows):
                tokens = data.queries[i] if threshold is None else group_tokens(data.queries[i], threshold)
                query = TokenQuery.of(binarizer.weights(tokens))
                found.append(rescore_tokens(codes.take(own[:N_RESCORED]), query, own[:N_RESCORED]).rows)
            return found

        return ordered

    return {
        "as found": lambda rows: list(rows),
        "float": by_float,
        "1 bit": by_codes(1, None),
        "2 bits": by_codes(2, None),
        "2 bits, grouped at .7": by_codes(2, 0.7),
    }


def milliseconds(call: Callable[[int], object], n: int) -> float:
    """Return the median time of a call for each of n queries."""
    call(0)
    times = []
    for i in range(n):
        start = time.perf_counter()
        call(i)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def costs(data: TokenSet, config: FdeConfig, n_planes: int, token_planes: int) -> dict[str, float]:
    """Return times and bytes of one setting."""
    fde = Fde(data.documents.dim, config)
    some = data.documents.take(np.arange(min(200, len(data.documents))))
    fde.encode_document(some)
    start = time.perf_counter()
    fde.encode_document(some)
    encode = 1000 * (time.perf_counter() - start) / len(some)
    binarizer, of_tokens = RowLevelsBinarizer(fde.dim, n_planes), RowLevelsBinarizer(data.documents.dim, token_planes)
    index = FlatIndex.from_codes(binarizer.transform(fde.encode_document(data.documents)), by_tables=True)
    codes = coded(data.documents, token_planes)
    n = min(30, len(data.queries))
    prepared = [binarizer.query(fde.encode_query(data.queries[i])) for i in range(n)]
    found = [pipeline.retrieve(index, query, 4 * N_RESCORED).rows[:N_RESCORED] for query in prepared]

    def prepare(i: int) -> None:
        binarizer.query(fde.encode_query(data.queries[i]))

    def rescore(i: int) -> Int64:
        query = TokenQuery.of(of_tokens.weights(data.queries[i]))
        return rescore_tokens(codes.take(found[i]), query, found[i]).rows

    floats = milliseconds(lambda i: exhaustive(data.documents, data.queries[i]), min(n, 10))
    parts = {
        "query to tables": milliseconds(prepare, n),
        "scan, 800 rescored": milliseconds(lambda i: pipeline.retrieve(index, prepared[i], 4 * N_RESCORED), n),
        "200 by token codes": milliseconds(rescore, n),
    }
    return {
        "documents": len(data.documents),
        "tokens a document": float(np.diff(data.documents.offsets).mean()),
        "tokens a query": float(np.diff(data.queries.offsets).mean()),
        "encode tokens, ms a document": 1000 * data.seconds,
        "fde, ms a document": encode,
        **{f"{name}, ms": value for name, value in parts.items()},
        "exhaustive float, ms": floats,
        "times faster": floats / sum(parts.values()),
        "fde code, bytes a document": binarizer.code_bytes,
        "token codes, bytes a document": float(codes.document_bytes.mean()),
        "float tokens, bytes a document": float(np.diff(data.documents.offsets).mean() * 4 * data.documents.dim),
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
    parser.add_argument("--ways", nargs="+", default=["float", "1 bit", "2 bits"], help="(default: all)")
    parser.add_argument("--token-bits", type=int, default=2, help="for times and bytes (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment = report.environment("benchmarks.multivector", arguments)
    results: list[Found] = []
    print(report.environment_line(environment), end="\n\n")
    try:
        configs = {text: config_of(text) for text in options.configs}
        if min(options.seeds, options.documents, options.queries) < 1:
            raise InvalidInput(f"expected seeds, documents and queries of 1 at least, got {vars(options)}")
        for folder in options.data:
            results += run(token_set(folder, options), configs, options)
    except (BinragError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        report.write_json(options.json, environment, [asdict(result) for result in results])
    return 0


def run(data: TokenSet, configs: dict[str, FdeConfig], options: argparse.Namespace) -> list[Found]:
    """Measure one set, and print its tables."""
    orders = orders_of(data)
    single = np.argsort(-(data.dataset.query_vectors @ data.dataset.corpus.T), axis=1, kind="stable")[:, : AT[-1]]
    results = [measured(data, "one vector, float", "", 0, 32 * data.dataset.dim, list(single), orders)]
    whole = ndcg(data, list(np.argsort(-data.scores, axis=1, kind="stable")))
    print(f"{data.dataset.name}: exhaustive MaxSim nDCG@10 {whole:.4f}, {len(data.queries)} queries", end="\n\n")
    for text, config in configs.items():
        for seed in range(options.seeds):
            fde = Fde(data.documents.dim, replace(config, seed=seed))
            encoded = fde.encode_document(data.documents)
            queries = [fde.encode_query(data.queries[i]) for i in range(len(data.queries))]
            for way in options.ways:
                n_bits = fde.dim * (32 if way == "float" else int(way[0]))
                rows = candidates_of(encoded, queries, way)
                results.append(measured(data, way, text, seed, n_bits, rows, orders))
    print(table(results), end="\n\n", flush=True)
    first = next(iter(configs.values()))
    for name, value in costs(data, first, 1, options.token_bits).items():
        print(f"- {name}: {value:,.3f}")
    print(flush=True)
    return results


def table(results: Sequence[Found]) -> str:
    """Return the means over seeds as a Markdown table."""
    groups: dict[tuple[str, str, int], list[Found]] = {}
    for result in results:
        groups.setdefault((result.config, result.way, result.n_bits), []).append(result)
    names = list(results[0].ndcg)
    header = [
        "encoding",
        "codes",
        "bits",
        *(f"best in {n}" for n in AT),
        "top 10 in 100",
        *(f"nDCG: {n}" for n in names),
    ]
    rows = []
    for (config, way, n_bits), own in groups.items():
        best = [_mean([found.best[n] for found in own]) for n in AT]
        by = [_mean([found.ndcg[name] for found in own]) for name in names]
        top10 = _mean([found.top10 for found in own])
        rows.append([config, way, f"{n_bits:,}", *(report.number(value) for value in (*best, top10, *by))])
    return report.table(header, rows)


if __name__ == "__main__":
    raise SystemExit(main())
