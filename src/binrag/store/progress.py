"""Progress on long work: a bar on a terminal, a callback, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from binrag.types import Progress

_QUIET_BELOW = 1000


@contextmanager
def progress_of(progress: Progress, total: int | None, label: str) -> Iterator[Callable[[int], None]]:
    """Yield what is called with the number of documents just done.

    Parameters
    ----------
    progress : bool, callable or None
        True shows a bar with rate and time left on standard error, False nothing; a callable is called with the
        documents done so far and their total, if known. None: a bar on a terminal, for 1,000 documents or more.
    total : int or None
        How many documents there are, if known.
    label : str
        What is being done.
    """
    if progress is None:
        progress = sys.stderr.isatty() and (total is None or total >= _QUIET_BELOW)
    if callable(progress):
        done = 0

        def report(n: int) -> None:
            nonlocal done
            done += n
            progress(done, total)

        yield report
        return
    if not progress:
        yield lambda n: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=label, unit="doc", smoothing=0.1, file=sys.stderr) as bar:
        yield lambda n: bar.update(n) and None
