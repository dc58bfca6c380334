"""Make the binarizers that come with binrag: `python -m benchmarks.artefacts --data DIR --encoder NAME`.

For each size: a sign plane is trained and additive codes are fitted behind it (nested), or additive codes alone
(compact), on all rows of the data set and the queries of its split "fit".
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
from benchmarks.datasets import Dataset, load
from benchmarks.embeddings import cached_encoder
from binrag.binarizers import AdditiveBinarizer
from binrag.binarizers.additive import SignPlane
from binrag.binarizers.artefact import save_artefact
from binrag.binarizers.training import train_plane
from binrag.errors import BinragError
from binrag.store.encoding import CANARIES
from binrag.types import Float32

SIZES = {"48": ("compact", 48), "96": ("nested", 96), "192": ("nested", 192)}
FOLDER = Path(__file__).parents[1] / "src" / "binrag" / "binarizers" / "artefacts"


def trained_plane(dataset: Dataset, queries: Float32) -> tuple[SignPlane, dict[str, Any]]:
    """Train the plane of nested codes; its maps are turned to vectors that are not centred."""
    trained = train_plane(dataset.corpus, queries=queries, progress=None)
    binarizer = trained.binarizer
    maps = (binarizer.maps[0], binarizer.query_map)
    sides = [(m.linear, binarizer.mean @ m.linear - m.offsets) for m in maps]
    return SignPlane(*sides[0], *sides[1]), trained.provenance


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.artefacts", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder in BEIR layout, with a split named fit")
    parser.add_argument("--encoder", required=True, help="model that made the vectors: a name or a folder")
    parser.add_argument("--encoder-id", required=True, help="what the artefacts call it")
    parser.add_argument("--name", required=True, help="artefacts are called NAME-48, NAME-96, NAME-192")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--out", type=Path, default=FOLDER)
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
    """Train and write."""
    encode = cached_encoder(options.encoder)
    dataset = load(options.data, "fit", encode)
    canaries = np.asarray(encode(CANARIES, "document"), dtype=np.float32)
    options.out.mkdir(parents=True, exist_ok=True)
    plane, plane_provenance = None, None
    for size in options.sizes:
        shape, code_bytes = SIZES[size]
        if shape == "nested" and plane is None:
            plane, plane_provenance = trained_plane(dataset, dataset.query_vectors)
        started = time.perf_counter()
        binarizer = AdditiveBinarizer.fit(
            dataset.corpus,
            code_bytes=code_bytes,
            queries=dataset.query_vectors,
            shape=shape,
            plane=plane if shape == "nested" else None,
            seed=options.seed,
            progress=lambda done, n, size=size: print(f"{size}: {done}/{n}", file=sys.stderr),
        )
        provenance = {
            "data": dataset.name,
            "n_rows": len(dataset.corpus),
            "n_queries": len(dataset.query_vectors),
            "seed": options.seed,
            "seconds": round(time.perf_counter() - started, 1),
            "plane": plane_provenance if shape == "nested" else None,
            "packages": environment["packages"],
        }
        path = options.out / f"{options.name}-{size}.binarizer"
        save_artefact(path, binarizer, provenance, encoder_id=options.encoder_id, canaries=canaries)
        print(f"{path.name}: {path.stat().st_size:,} bytes, {provenance['seconds']} s")


if __name__ == "__main__":
    raise SystemExit(main())
