"""Input lines: read from files or standard input, counted, bad ones reported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from binrag.errors import InvalidInput
from binrag.readers import BadLine, Record, read_jsonl


def read_lines(inputs: list[str], dim: int | None) -> Iterator[Record | BadLine]:
    """Read JSON lines of files; ``-`` is standard input.

    Raises
    ------
    InvalidInput
        If a file cannot be read.
    """
    for name in inputs:
        if name == "-":
            yield from read_jsonl(sys.stdin.buffer, "standard input", dim)
            continue
        try:
            with Path(name).open("rb") as file:
                yield from read_jsonl(file, name, dim)
        except OSError as error:
            raise InvalidInput(f"cannot read {name}: {error.strerror}") from error


def good_records(lines: Iterable[Record | BadLine], on_error: str, skip: Callable[[], None]) -> Iterator[Record]:
    """Yield the records; a bad line is an error, or, with ``on_error="skip"``, reported and passed to `skip`.

    Raises
    ------
    InvalidInput
        Names the place of the bad line.
    """
    for line in lines:
        if isinstance(line, Record):
            yield line
        elif on_error == "fatal":
            raise InvalidInput(f"{line}; --on-error skip passes such lines over")
        else:
            print(f"binrag: skipped {line}", file=sys.stderr)
            skip()


def count_lines(inputs: list[str]) -> int | None:
    """Count the lines that are not blank; None where standard input is among the inputs.

    Raises
    ------
    InvalidInput
        If a file cannot be read.
    """
    return None if "-" in inputs else sum(_count(name) for name in inputs)


def _count(name: str) -> int:
    try:
        with Path(name).open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError as error:
        raise InvalidInput(f"cannot read {name}: {error.strerror}") from error


def bar(label: str, total: int | None, quiet: bool) -> Any:
    """Make a progress bar of documents on standard error."""
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit="doc", disable=quiet, file=sys.stderr)
