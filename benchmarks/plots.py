"""The plot of `benchmarks.codes`: recall against bytes a row, one line a family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.curves import Measured, frontier
from binrag.errors import MissingDependency


def plot(found: Sequence[Measured], path: Path) -> None:
    """Draw each family's frontier over its variants; binrag's codes with full lines, peers dashed.

    Parameters
    ----------
    found : sequence of Measured
        Codes on one set, fitted on one set.
    path : Path
        Where to write it; the suffix says the format.

    Raises
    ------
    MissingDependency
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("a plot needs matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for family, is_ours in dict.fromkeys((m.family, m.is_ours) for m in found):
        points = frontier((m.row_bytes, m.recall_10) for m in found if m.family == family)
        sizes, recalls = [size for size, _ in points], [values.mean() for _, values in points]
        line, width = ("-", 2.0) if is_ours else ("--", 1.0)
        axes.plot(sizes, recalls, line, linewidth=width, marker="o" if is_ours else ".", label=family)
    axes.set_xscale("log", base=2)
    ticks = [32, 48, 64, 96, 128, 192, 256, 384, 768, 1536]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("bytes a row, everything counted")
    axes.set_ylabel("share of float32's top 10 found")
    axes.set_title(f"{found[0].data}: codes alone, best variant of each family")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
