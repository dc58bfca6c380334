"""What `benchmarks.speed` asks of a contender, and what it says about one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.speed_data import Rows
from binrag.types import Float32


class Engine:
    """A contender in its own process. An answer is what its users get; `rows` reads it, untimed."""

    def load(self) -> None:
        """Import what is needed."""

    def warm(self, rows: Rows, folder: Path) -> None:
        """Do once what is done once a machine, such as compiling; not timed."""

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all rows, and write what `open` reads into an empty folder."""
        raise NotImplementedError

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Open what was built, to be searched with so many threads."""
        raise NotImplementedError

    def search(self, query: Float32, **point: Any) -> Any:
        """Answer one query, float32 (dim,)."""
        raise NotImplementedError

    def search_batch(self, queries: Float32, **point: Any) -> Sequence[Any]:
        """Answer queries, float32 (n, dim), one after another where there is no call for many."""
        return [self.search(query, **point) for query in queries]

    def rows(self, answer: Any) -> list[int]:
        """Return the rows of an answer, best first: those of its pairs of id and text."""
        return [int(name) for name, _ in answer]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to build and search.

    Attributes
    ----------
    name : str
        Shown in tables; names files too.
    engine : type
        Subclass of `Engine`, importable by its module's name.
    setting : str
        How it is built, for the table.
    returns : str
        What a search returns.
    needs : tuple of str
        Distributions that it needs.
    options : dict
        Arguments of the engine.
    points : tuple of dict
        Arguments of a search, one curve.
    family : str
        Contenders of one family are one line of the table and of the plot; the name if empty.
    most_rows, most_numbers : int
        It is left out of cells of more rows, or of more rows times dimensions.
    is_ours : bool
        Whether it is binrag.
    """

    name: str
    engine: type[Engine]
    setting: str = ""
    returns: str = "rows"
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ({},)
    family: str = ""
    most_rows: int = 10**9
    most_numbers: int = 10**12
    is_ours: bool = False

    @property
    def line(self) -> str:
        """The family, or the name."""
        return self.family or self.name

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what it needs, as far as it is installed."""
        return report.versions(self.needs)

    def why_not(self, n: int, dim: int) -> str | None:
        """Return why it is left out of a cell; None if it is not."""
        missing = [name for name in self.needs if name not in self.versions]
        if missing:
            return f"not installed: {', '.join(missing)}; pip install --group peers has all peers"
        if n > self.most_rows:
            return f"not run above {self.most_rows:,} rows: it looks at all of them in Python, or builds too slowly"
        if n * dim > self.most_numbers:
            return f"graphs are not built of more than {self.most_numbers:,} numbers: hours of building"
        return None


def label(point: dict[str, Any]) -> str:
    """Return a point's arguments as text."""
    return ", ".join(f"{name} {value}" for name, value in point.items()) or "default"
