"""The ``binrag`` command: arguments to the public API, results to text or JSON."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from binrag.cli.parser import make_parser
from binrag.errors import (
    BinarizerMismatch,
    BinragError,
    CorruptStore,
    DimensionMismatch,
    EncoderMismatch,
    FormatVersionError,
    NotAStore,
    StoreLocked,
)

EXIT_CODES: dict[type[BinragError], int] = {
    NotAStore: 3,
    CorruptStore: 3,
    FormatVersionError: 3,
    StoreLocked: 4,
    EncoderMismatch: 5,
    DimensionMismatch: 5,
    BinarizerMismatch: 5,
}
"""Exit codes of errors that have their own; any other is 1. See `binrag --help`."""


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"binrag: {message}", file=sys.stderr)


@contextmanager
def _announcing() -> Iterator[None]:
    """Print what warns and what is logged, as lines of ours on standard error."""
    handler, log = logging.StreamHandler(sys.stderr), logging.getLogger("binrag")
    handler.setFormatter(logging.Formatter("binrag: %(message)s"))
    log.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            yield
    finally:
        log.removeHandler(handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    arguments : list of str, optional
        By default ``sys.argv[1:]``.
    """
    options = make_parser().parse_args(arguments)
    try:
        with _announcing():
            return int(options.run(options))
    except BinragError as error:
        print(f"binrag: {error}", file=sys.stderr)
        return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)
    except BrokenPipeError:
        # the reader of our output went away; keep the interpreter from flushing into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("binrag: interrupted", file=sys.stderr)
        return 130
