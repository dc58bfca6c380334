"""Make the binarizer that comes with binrag: `python -m benchmarks.artefacts --data DIR --encoder NAME …`.

Additive codes of several stages are fitted on all rows of the data set and the queries of its split "fit"; the first
stages alone are the codes of fewer bytes. Documents of other subjects use other directions than those of the data set:
the variances of text vectors along the principal axes of one subject are much more alike for another. So half of the
rows, and of the queries, are replaced by *tempered* ones, whose variances along the axes are the roots of what they
were, to the same sum. And the directions of queries count less than in a fit to a user's own vectors. Both cost a
little on the data set's own subject, and gain on others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.datasets import load, unit
from benchmarks.embeddings import cached_encoder
from binrag.binarizers import AdditiveBinarizer
from binrag.binarizers.artefact import SUFFIX, save_artefact
from binrag.binarizers.fitting import principal_axes
from binrag.errors import BinragError
from binrag.store.encoding import CANARIES
from binrag.types import Float32

CODE_BYTES = 192
FOLDER = Path(__file__).parents[1] / "src" / "binrag" / "binarizers" / "artefacts"


def broadened(rows: Float32, queries: Float32, *, share: float, power: float, seed: int = 0) -> tuple[Float32, Float32]:
    """Return rows and queries of which a share is tempered.

    Parameters
    ----------
    rows : float32 (n, dim)
        Unit vectors.
    queries : float32 (n_queries, dim)
        Unit vectors.
    share : float
        How many are tempered, 0 to 1.
    power : float
        Variances along the rows' principal axes are taken to this power, and scaled to their old sum.
    seed : int
        Chooses which.

    Returns
    -------
    rows, queries : float32
        Of the same shapes, unit vectors.
    """
    mean = rows.mean(axis=0)
    variances, axes = principal_axes(rows)
    variances = np.maximum(variances, 1e-9)
    tempered = variances**power
    scales = np.sqrt(tempered * (variances.sum() / tempered.sum()) / variances).astype(np.float32)
    draw = np.random.Generator(np.random.PCG64(seed))

    def mixed(vectors: Float32) -> Float32:
        chosen = draw.permutation(len(vectors))[: round(share * len(vectors))]
        result = vectors.copy()
        result[chosen] = unit(((vectors[chosen] - mean) @ axes * scales) @ axes.T + mean)
        return result

    return mixed(rows), mixed(queries)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.artefacts", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder in BEIR layout, with a split named fit")
    parser.add_argument("--encoder", required=True, help="model that made the vectors: a name or a folder")
    parser.add_argument("--encoder-id", required=True, help="what the artefact calls it")
    parser.add_argument("--name", required=True, help="the file is called NAME.binarizer")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument(
        "--share", type=float, default=0.5, help="share of rows that are tempered (default: %(default)s)"
    )
    parser.add_argument(
        "--power", type=float, default=0.5, help="power that variances are taken to (default: %(default)s)"
    )
    parser.add_argument(
        "--query-share",
        type=float,
        default=0.2,
        help="how much the directions of queries count, 0 to below 1 (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    try:
        run(options, report.environment("benchmarks.artefacts", arguments))
    except BinragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(options: argparse.Namespace, environment: dict[str, Any]) -> None:
    """Fit and write."""
    encode = cached_encoder(options.encoder)
    dataset = load(options.data, "fit", encode)
    canaries = np.asarray(encode(CANARIES, "document"), dtype=np.float32)
    rows, queries = broadened(
        dataset.corpus, dataset.query_vectors, share=options.share, power=options.power, seed=options.seed
    )
    started, processor = time.perf_counter(), time.process_time()
    binarizer = AdditiveBinarizer.fit(
        rows,
        code_bytes=CODE_BYTES,
        queries=queries,
        seed=options.seed,
        refit_decoder=False,
        query_share=options.query_share,
        progress=lambda done, n: print(f"{done}/{n}", file=sys.stderr),
    )
    provenance = {
        "data": dataset.name,
        "n_rows": len(rows),
        "n_queries": len(queries),
        "share": options.share,
        "power": options.power,
        "query_share": options.query_share,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "packages": environment["packages"],
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.name}{SUFFIX}"
    save_artefact(path, binarizer, provenance, encoder_id=options.encoder_id, canaries=canaries)
    print(f"{path.name}: {path.stat().st_size:,} bytes, {provenance['seconds']} s")


if __name__ == "__main__":
    raise SystemExit(main())
