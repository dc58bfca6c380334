"""What `benchmarks.speed` has finished: one JSON line a step, keyed by everything that determines its result."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import binrag
from benchmarks.speed_engines import Contender


class State:
    """Finished steps in a file.

    Parameters
    ----------
    path : Path
        The file; it may not be there yet.
    fresh : bool
        Whether to forget what it holds.
    retry : bool
        Whether steps that ended with an error count as unfinished.
    """

    def __init__(self, path: Path, fresh: bool = False, retry: bool = False) -> None:
        self.path, self.retry = path, retry
        self.results: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                step = json.loads(line)
            except ValueError:  # cut off when a run was killed
                continue
            self.results[step["key"]] = step["result"]

    def get(self, key: str) -> Any:
        """Return a step's result; None if it is not finished."""
        found = self.results.get(key)
        failed = isinstance(found, dict) and (found.get("error") or any(m.get("error") for m in found.get("found", ())))
        return None if self.retry and failed else found

    def put(self, key: str, about: dict[str, Any], result: Any) -> None:
        """Keep a step's result, with what its key was made of."""
        self.results[key] = result
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"key": key, "about": about, "result": result}, ensure_ascii=False) + "\n")


def digest(about: Any) -> str:
    """Return a key for what JSON can hold."""
    text = json.dumps(about, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def sources_of(contender: Contender) -> str:
    """Return a digest of the module that runs a contender, and of binrag's sources if it is binrag."""
    own = [Path(inspect.getfile(contender.engine))]
    return _digest_of(tuple(own + (sorted(_package().rglob("*.py")) if contender.is_ours else [])))


def all_sources() -> str:
    """Return a digest of binrag's sources."""
    return _digest_of(tuple(sorted(_package().rglob("*.py"))))


def _package() -> Path:
    return Path(binrag.__file__).parent


@cache
def _digest_of(paths: Iterable[Path]) -> str:
    found = hashlib.blake2b(digest_size=10)
    for path in paths:
        found.update(path.read_bytes())
    return found.hexdigest()
