"""What every benchmark writes: Markdown tables and JSON, with machine, versions, command and date."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from binrag.threads import n_processors

PACKAGES = (
    *("binrag", "numpy", "numba", "sentence-transformers", "pytrec_eval-terrier", "bm25s", "faiss-cpu", "turbovec"),
    *(
        "usearch",
        "hnswlib",
        "sqlite-vec",
        "apsw",
        "lancedb",
        "chromadb",
        "qdrant-client",
        "langchain-core",
        "llama-index-core",
    ),
)


def environment(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Describe the run: command, date, machine, Python and packages.

    Parameters
    ----------
    module : str
        The module that is run, such as ``"benchmarks.quality"``.
    arguments : sequence of str
        Its command-line arguments.
    """
    return {
        "command": shlex.join(["python", "-m", module, *arguments]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": cpu_model(),
            "cores": n_processors(),
            "memory_gib": memory_gib(),
            "platform": platform.platform(),
        },
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "packages": versions(PACKAGES),
    }


def cpu_model() -> str:
    """Return the processor's name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """Return the machine's memory in GiB; None where the system doesn't tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def peak_bytes() -> int:
    """Return the most memory that this process has held so far, resident."""
    import resource  # not everywhere

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment_line(description: dict[str, Any]) -> str:
    """Return machine, versions and date of `environment` as one line of Markdown."""
    machine = description["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in description["packages"].items())
    memory = "" if machine["memory_gib"] is None else f", {machine['memory_gib']:g} GiB"
    return (
        f"{machine['cpu']}, {machine['cores']} cores{memory}; Python {description['python']}, "
        f"SQLite {description['sqlite']}, {packages}; {description['date'][:10]}"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [_line(header), _line([":--", *["--:"] * (len(header) - 1)])]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"got a row of {len(row)} cells under {len(header)} headings: {row}")
        lines.append(_line([cell.replace("|", "\\|") for cell in row]))
    return "\n".join(lines)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with thousands separators, or a dash for None."""
    return "–" if value is None else f"{value:,.{digits}f}"


def write_json(path: Path, description: dict[str, Any], results: Any) -> None:
    """Write the results with the description of the run under which they were made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**description, "results": results}, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
