"""How much of float32's ranking codes keep a byte, binrag's and the peers': `python -m benchmarks.codes`.

Recall is the share of float32's exact top 10 (or 100) that is in the top 10 (or 100) of a code, by the float query over
all rows' codes and with no vectors kept. Bytes a row count everything but the model. Codes are fitted to all rows and
the fit queries of `--fit` and judged on its test queries and on the sets of `--data`; for those, codes are also fitted
to their own rows. Peers are run in several spaces, without and with binrag's rescale factor. Rankings are kept in a
folder, so that another run with the same codes takes seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import code_tables, report
from benchmarks.cases import SEEDS
from benchmarks.cold import WANTED, ColdResult, ColdVectors, cold_table, measure_cold, our_search, peer_search, records
from benchmarks.contenders import Contender, contenders
from benchmarks.curves import Measured
from benchmarks.datasets import Dataset, load
from benchmarks.embeddings import CACHE, cached_encoder
from benchmarks.metrics import judge, recall
from benchmarks.ours import Coding, artefact, code, codings
from benchmarks.outcomes import NotKept, Outcome, Training, contend, exact_rankings
from benchmarks.plots import plot
from benchmarks.spaces import SPACES
from binrag.errors import BinragError, InvalidInput, MissingDependency, TrainingError
from binrag.types import Float32, Float64, Int64

Case = Coding | Contender

QUICK_ROWS, QUICK_QUERIES = 10_000, 200
QUICK = ("float32", "int8", "SQ4", "RaBitQ1", "BBQ1", "turbovec2", "PQ48", "sign", "rotated sign", "ITQ *")


@dataclass(frozen=True, slots=True)
class Judge:
    """A set with what its rankings are measured against."""

    dataset: Dataset
    exact: Int64
    float_ndcg: Float64

    @classmethod
    def of(cls, dataset: Dataset, cache: Path | None) -> Judge:
        """Rank a set exactly."""
        exact = exact_rankings(dataset, cache)
        return cls(dataset, exact, _ndcg(dataset, exact))

    def measured(self, outcomes: Sequence[Outcome], training: Training, **names: Any) -> Measured:
        """Return the measures of one code's outcomes, one a seed, as means over them."""
        first = outcomes[0]

        def mean(measure: Callable[[Outcome], Float64]) -> Float64:
            return np.mean([measure(outcome) for outcome in outcomes], axis=0)

        def recall_of(ranking: Int64, k: int) -> Float64:
            return recall(list(ranking), list(self.exact), k)

        def plane(outcome: Outcome) -> Float64:
            assert outcome.plane is not None
            top = self.exact[:, :10]
            return np.array([np.isin(t, p).mean() for t, p in zip(top, outcome.plane, strict=True)])

        return Measured(
            data=self.dataset.name,
            fitted_on=training.name,
            seeds=len(outcomes),
            row_bytes=first.row_bytes,
            model_bytes=first.model_bytes,
            n_rows=len(self.dataset.corpus),
            fit_seconds=float(np.mean([outcome.fit_seconds for outcome in outcomes])),
            rows_a_second=float(np.mean([outcome.rows_a_second for outcome in outcomes])),
            recall_10=mean(lambda outcome: recall_of(outcome.top, 10)),
            recall_100=mean(lambda outcome: recall_of(outcome.top, 100)),
            ndcg_10=mean(lambda outcome: _ndcg(self.dataset, outcome.top)),
            float_ndcg_10=self.float_ndcg,
            two_stage_10=None if first.two_stage is None else mean(lambda outcome: recall_of(outcome.two_stage, 10)),
            plane_100=None if first.plane is None else mean(plane),
            **names,
        )


def _ndcg(dataset: Dataset, rankings: Int64) -> Float64:
    return judge(dataset.qrels, dataset.query_ids, dataset.doc_ids, list(rankings[:, :10])).ndcg


def measure_ours(
    coding: Coding, training: Training, judges: Sequence[Judge], seeds: Sequence[int], cache: Path | None
) -> Iterator[Measured]:
    """Measure one of binrag's codes on sets, over some seeds."""
    datasets = [each.dataset for each in judges]
    runs = [code(coding, seed, training, datasets, cache) for seed in seeds]
    for each in judges:
        outcomes = [run[each.dataset.name] for run in runs]
        names = {"is_ours": True, "family": coding.family, "name": coding.name, "variant": outcomes[0].shape}
        yield each.measured(outcomes, training, **names)


def measure_peer(
    contender: Contender,
    training: Training,
    judges: Sequence[Judge],
    seeds: Sequence[int],
    cache: Path | None,
    *,
    fits: bool = True,
) -> Iterator[Measured]:
    """Measure a peer on sets, in all spaces, without and with the rescale factor.

    Without `fits`, spaces in which it was not run before are left out.
    """
    datasets = [each.dataset for each in judges]
    is_exact = contender.family == "float32"
    for space_name in SPACES[:1] if is_exact else SPACES:
        try:
            runs = [contend(contender, space_name, seed, training, datasets, cache, fits=fits) for seed in seeds]
        except NotKept as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        for each in judges:
            for is_rescaled in (False,) if is_exact else (False, True):
                key = each.dataset.name, is_rescaled
                if key in runs[0]:
                    variant = f"{space_name}, rescaled" if is_rescaled else space_name
                    names = {"is_ours": False, "family": contender.family, "name": contender.name, "variant": variant}
                    yield each.measured([run[key] for run in runs], training, **names)


def measure(
    training: Training, judges: Sequence[Judge], cases: Sequence[Case], options: argparse.Namespace, cache: Path | None
) -> list[Measured]:
    """Measure codes, fitted on one set, on some sets; those that can't be run are named on stderr."""
    found: list[Measured] = []
    for case in cases:
        n_seeds = options.slow_seeds if case.is_slow else options.seeds if case.is_random else 1
        if not n_seeds:
            continue
        print(f"fitted on {training.name}: {case.name}", file=sys.stderr, flush=True)
        try:
            if isinstance(case, Coding):
                found += list(measure_ours(case, training, judges, range(n_seeds), cache))
            else:
                fits = not (options.kept and case.is_slow)
                found += list(measure_peer(case, training, judges, range(n_seeds), cache, fits=fits))
        except (MissingDependency, TrainingError, InvalidInput) as error:
            print(f"left out: {error}", file=sys.stderr)
    return found


def measure_in_two_tiers(
    training: Training, judge: Judge, cases: Sequence[Case], cache: Path | None
) -> list[ColdResult]:
    """Measure codes beside int8 vectors on disk; those that can't be run are named on stderr."""
    found = []
    with tempfile.TemporaryDirectory(prefix="binrag-benchmark-") as folder:
        cold = ColdVectors(judge.dataset.corpus, Path(folder) / "vectors")
        for case in cases:
            print(f"with int8 vectors on disk: {case.name}", file=sys.stderr, flush=True)
            try:
                if isinstance(case, Coding):
                    hot_bytes, search = our_search(case, training, judge.dataset, cache)
                else:
                    hot_bytes, search = peer_search(case, training, judge.dataset, cache)
            except (MissingDependency, TrainingError, InvalidInput) as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            found.append(measure_cold(case.name, hot_bytes, search, judge.dataset, judge.exact, cold))
    return found


def chosen(cases: Sequence[Case], globs: Sequence[str]) -> list[Case]:
    """Return the cases whose names match one of the globs.

    Raises
    ------
    InvalidInput
        There are globs, and none of them matches.
    """
    found = [case for case in cases if any(fnmatchcase(case.name, glob) for glob in globs)]
    if globs and not found:
        raise InvalidInput(f"{' '.join(globs)} matches none of: {'; '.join(case.name for case in cases)}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codes", description=__doc__)
    parser.add_argument("--fit", type=Path, required=True, help="folder in BEIR layout that codes are fitted on")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="further folders in BEIR layout")
    parser.add_argument("--split", default="test", help="queries of --fit to judge by (default: %(default)s)")
    parser.add_argument("--encoder", help="model for sets without ready vectors: a name or a folder")
    parser.add_argument("--cases", nargs="+", default=["*"], metavar="GLOB", help="only codes of these names")
    files = "artefacts to judge too: files, or names of those that come with binrag"
    parser.add_argument("--artefacts", nargs="+", default=[], metavar="FILE", help=files)
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="runs of what is random (default: %(default)s)")
    parser.add_argument(
        "--slow-seeds", type=int, default=1, help="the same for peers that take minutes to fit; 0: none"
    )
    parser.add_argument("--kept", action="store_true", help="of these only what an earlier run left in the folder")
    parser.add_argument("--no-own", dest="own", action="store_false", help="don't fit codes to the sets of --data")
    quick = f"a look: {QUICK_ROWS:,} rows, {QUICK_QUERIES} queries, few codes, one seed, nothing kept"
    parser.add_argument("--quick", action="store_true", help=quick)
    cold = "codes to measure with int8 vectors on disk too"
    parser.add_argument("--cold", nargs="+", default=[], metavar="GLOB", help=cold)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of kept rankings (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw recall against bytes there")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    try:
        run(options, report.environment("benchmarks.codes", arguments))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Measure, print the tables, write the JSON file and the plot."""
    if options.seeds < 1 or options.slow_seeds < 0:
        raise InvalidInput(f"--seeds is {options.seeds} and --slow-seeds {options.slow_seeds}, expected ≥ 1 and ≥ 0")
    cache = options.cache
    if options.quick:
        options.seeds, cache = 1, None
        options.cases = list(QUICK) if options.cases == ["*"] else options.cases
    encode = cached_encoder(options.encoder)
    print(report.environment_line(environment), end="\n\n")
    home = load(options.fit, options.split, encode)
    given = [artefact(path) for path in options.artefacts]
    table: list[Case] = [*codings(), *contenders(home.dim)]
    cases, cold_cases = chosen(table, options.cases), chosen([*given, *table], options.cold)
    datasets = [home, *(load(folder, None, encode) for folder in options.data)]
    if options.quick:
        datasets = [subsample(dataset) for dataset in datasets]
    judges = [Judge.of(dataset, cache) for dataset in datasets]
    training = Training(home.name, datasets[0].corpus, fit_queries(options.fit, encode))
    found = measure(training, judges, [*given, *cases], options, cache)
    for each in judges[1:] if options.own else ():
        own = Training("own", each.dataset.corpus, None)
        found += measure(own, [each], cases, options, cache)
    print_tables(found, judges, training.name)
    cold = measure_in_two_tiers(training, judges[0], cold_cases, cache) if cold_cases else []
    if cold:
        print(f"\n**{home.name}, int8 vectors on disk**: reads for recall@10 ≥ {WANTED}\n\n{cold_table(cold)}")
    if options.json:
        record = {
            "codes": [code_tables.figures(measured) for measured in found],
            "targets": code_tables.targets(found),
            "means": [*code_tables.means(found, training.name), *code_tables.means(found, "own")],
            "cold": records(cold),
        }
        report.write_json(options.json, environment, record)
    if options.plot:
        plot([m for m in found if m.data == m.fitted_on == training.name], options.plot)


def print_tables(found: Sequence[Measured], judges: Sequence[Judge], home: str) -> None:
    """Print every set's table, the means over the other sets, and the comparison with the strongest peers."""
    for each in judges:
        sizes = f"{len(each.dataset.doc_ids):,} rows, {len(each.dataset.query_ids):,} queries"
        for fitted_on in (home, "own"):
            rows = [m for m in found if m.data == each.dataset.name and m.fitted_on == fitted_on]
            if rows:
                which = "fitted on its own rows" if fitted_on == "own" else f"fitted on {fitted_on}"
                print(f"**{each.dataset.name}**, {which}: {sizes}\n\n{code_tables.set_table(rows)}\n")
    for fitted_on in (home, "own"):
        means = code_tables.means(found, fitted_on)
        if means:
            which = "its own rows" if fitted_on == "own" else fitted_on
            print(
                f"**Mean over {', '.join(means[0]['sets'])}**, fitted on {which}\n\n{code_tables.mean_table(means)}\n"
            )
    targets = code_tables.targets(found)
    if targets:
        print(f"**At equal bytes, the strongest peer's curve interpolated**\n\n{code_tables.target_table(targets)}")


def fit_queries(folder: Path, encode: Any) -> Float32 | None:
    """Return the vectors of a set's fit queries, float32 (n, dim); None if it has none."""
    try:
        return load(folder, "fit", encode).query_vectors
    except InvalidInput:
        return None


def subsample(dataset: Dataset) -> Dataset:
    """Return a set's first rows and queries."""
    rows, queries = slice(QUICK_ROWS), slice(QUICK_QUERIES)
    return replace(
        dataset,
        doc_ids=dataset.doc_ids[rows],
        texts=dataset.texts[rows],
        corpus=dataset.corpus[rows],
        query_ids=dataset.query_ids[queries],
        queries=dataset.queries[queries],
        query_vectors=dataset.query_vectors[queries],
    )


if __name__ == "__main__":
    raise SystemExit(main())
