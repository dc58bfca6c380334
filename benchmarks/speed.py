"""binrag beside embedded peers, from building to answers: `python -m benchmarks.speed --data DIR`.

Cells are numbers of rows, dimensions and threads. Every contender builds in a process of its own and is measured in
another one, all of a cell in turn within one run, each with its own control of threads and pinned to so many cores.
Rows beyond the real ones are made by the recipe of `benchmarks.speed_data`. What is finished is kept, so a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.datasets import load
from benchmarks.embeddings import CACHE, cached_encoder
from benchmarks.speed_data import RECIPE, Source
from benchmarks.speed_engines import Contender
from benchmarks.speed_libraries import libraries
from benchmarks.speed_measure import Bench, Cell, Plan, step
from benchmarks.speed_scans import growth_table, measure_growth
from benchmarks.speed_state import State
from benchmarks.speed_stores import ours, stores
from benchmarks.speed_tables import NOTE, cells, main_table, plot_all, points_table
from binrag.errors import BinragError, InvalidInput

MEMORY_SHARE = 0.55
"""Share of the machine's memory that contenders hold together, by default."""


def contenders(dim: int) -> list[Contender]:
    """Return all contenders for vectors of `dim` dimensions, binrag first."""
    return [*ours(dim), *libraries(dim), *stores(dim)]


def picked(table: Sequence[Contender], globs: Sequence[str]) -> list[Contender]:
    """Return the contenders whose names match one of the globs.

    Raises
    ------
    InvalidInput
        None does.
    """
    found = [contender for contender in table if any(fnmatchcase(contender.name, glob) for glob in globs)]
    if not found:
        names = "; ".join(contender.name for contender in table)
        raise InvalidInput(f"--contenders {' '.join(globs)} matches none of: {names}")
    return found


def data_line(source: Source) -> str:
    """Return in one paragraph what rows and queries are."""
    recipe = source.recipe
    n_base, dim = source.base.shape
    low, high = recipe.weights
    return (
        f"Rows: {n_base:,} of {source.name}, in seeded order; each further one lies between one of them and one of its "
        f"{recipe.neighbours} nearest (weight {low} to {high}), with Gaussian noise of {recipe.noise} of its norm. "
        f"Other dimensions than {dim} are a Gaussian projection of these with noise of {recipe.projected_noise}: they "
        f"hold no more than {dim} dimensions do. {len(source.base_queries)} queries; seed {recipe.seed}."
    )


def written(records: Sequence[dict[str, Any]], lines: Sequence[str]) -> str:
    """Return everything as Markdown."""
    parts = [*lines]
    for (rows, dim, threads), own in cells(records).items():
        parts += [f"**{Cell(rows, dim, threads).name}**", main_table(own)]
    parts.append(NOTE)
    for (rows, dim, threads), own in cells(records).items():
        parts += [f"All settings, {Cell(rows, dim, threads).name}", points_table(own)]
    return "\n\n".join(parts) + "\n"


def run(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Measure all cells; print the tables, write the files.

    Raises
    ------
    InvalidInput
        Options make no sense.
    """
    if min(*options.rows, options.queries) < 10 or min(*options.dims, *options.threads) < 1:
        raise InvalidInput("expected --rows and --queries of 10 at least, --dims and --threads of 1 at least")
    if min(options.rounds, options.build_limit, options.memory) <= 0:
        raise InvalidInput("expected --rounds, --build-limit and --memory above 0")
    table = {dim: picked(contenders(dim), options.contenders) for dim in options.dims}
    dataset = load(options.data, options.split, cached_encoder(None))
    source = Source(dataset, options.cache, options.queries)
    state = State(source.folder / "state.jsonl", options.fresh, options.retry)
    plan = Plan(rounds=options.rounds, build_limit=options.build_limit, memory=options.memory * 2**30)
    bench = Bench(source, state, plan)
    records: list[dict[str, Any]] = []
    for dim in options.dims:
        for rows in options.rows:
            for threads in options.threads:
                records += bench.measure(Cell(rows, dim, threads), table[dim])
    lines = [report.environment_line(environment), f"`{environment['command']}`", data_line(source)]
    text = written(records, lines)
    print(text)
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        report.write_json(options.json, {**environment, "recipe": asdict(RECIPE), "plan": asdict(plan)}, records)
    if options.plots:
        for path in plot_all(records, options.plots):
            print(f"drew {path}", file=sys.stderr)


def run_scan(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Time the scan alone over so many rows and over a tenth of them; print the table.

    Raises
    ------
    InvalidInput
        There are too few rows.
    """
    k = 10
    if options.scan_only < 10 * k or options.rounds < 1 or min(options.dims) < 1:
        raise InvalidInput(f"--scan-only is {options.scan_only}, expected {10 * k} at least; --rounds, --dims 1")
    found = []
    for bits in options.dims:
        with step(f"scans of {options.scan_only:,} × {bits:,} bits"):
            found += measure_growth(options.scan_only, bits, k, 10 * options.rounds)
    print(f"{report.environment_line(environment)}\n\n{growth_table(found)}")
    if options.json:
        report.write_json(options.json, environment, [asdict(growth) for growth in found])


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    found.add_argument("--data", type=Path, help="folder in BEIR layout whose embeddings rows are made of")
    found.add_argument("--split", help="its queries (default: test)")
    found.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="default: %(default)s")
    found.add_argument("--dims", type=int, nargs="+", default=[384, 1024], help="default: %(default)s")
    found.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of a search (default: %(default)s)")
    found.add_argument("--contenders", nargs="+", default=["*"], metavar="GLOB", help="only those of these names")
    found.add_argument("--queries", type=int, default=200, help="default: %(default)s")
    found.add_argument("--rounds", type=int, default=10, help="of 20 queries each (default: %(default)s)")
    found.add_argument("--build-limit", type=float, default=7200, help="seconds of a build (default: %(default)s)")
    share = round((report.memory_gib() or 16) * MEMORY_SHARE, 1)
    held = "GiB that open contenders hold together (default: %(default)s); what is more is measured in turns"
    found.add_argument("--memory", type=float, default=share, help=held)
    found.add_argument(
        "--cache", type=Path, default=CACHE / "speed", help="folder of what is kept (default: %(default)s)"
    )
    found.add_argument("--fresh", action="store_true", help="forget what is finished")
    found.add_argument("--retry", action="store_true", help="do again what ended with an error")
    growth = "only the scan, in one thread, over so many rows and over a tenth of them; takes --dims, --rounds"
    found.add_argument("--scan-only", type=int, metavar="ROWS", help=growth)
    found.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    found.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    found.add_argument("--plots", type=Path, metavar="DIR", help="draw latency against recall and rows there")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, or 2 for unusable input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    environment = report.environment("benchmarks.speed", arguments)
    try:
        if options.scan_only is not None:
            run_scan(options, environment)
        elif options.data is None:
            raise InvalidInput("expected --data with a folder in BEIR layout, or --scan-only")
        else:
            run(options, environment)
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
