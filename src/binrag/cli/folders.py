"""``binrag add`` of folders and files of text: what changed in them since the last time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from binrag.errors import InvalidInput
from binrag.filters import Exists, In
from binrag.readers.folders import find_files, is_of_a_file, read_file, source_of
from binrag.readers.splitting import CHUNK, KINDS, check_chunk
from binrag.store import Store
from binrag.store.changing import Changes, make
from binrag.types import Document


@dataclass(slots=True)
class FileSummary:
    """What became of the chunks of files, and how many files were skipped.

    Chunks that moved have the text that they had, but stand elsewhere in their file.
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0

    def include(self, other: FileSummary) -> None:
        """Count what another one counts too."""
        for name, n in asdict(other).items():
            setattr(self, name, getattr(self, name) + n)

    def __str__(self) -> str:
        return (
            f"{self.added:,} added, {self.changed:,} changed, {self.moved:,} moved, {self.unchanged:,} unchanged, "
            f"{self.removed:,} removed, {self.skipped:,} files skipped"
        )


class Folders:
    """The files of one command, and what it does with them.

    Parameters
    ----------
    inputs : list of str
        Folders and files.
    options : Namespace
        Of ``binrag add``.

    Raises
    ------
    InvalidInput
        An input that is not there, or holds nothing to read.
    """

    def __init__(self, inputs: list[str], options: argparse.Namespace) -> None:
        self._options, self._inputs = options, [source_of(path, options.root) for path in inputs]
        self._chunk = CHUNK if options.chunk is None else options.chunk
        check_chunk(self._chunk)
        self.summary = FileSummary()
        found = find_files(inputs, options.root, self._report)
        self._sources = {file.source for file in found}
        store = Path(options.store)
        self._files = [file for file in found if not (store.exists() and file.path.samefile(store))]

    def n_documents(self) -> int:
        """Count the chunks of all files that can be read."""
        n = 0
        for file in self._files:
            with suppress(InvalidInput):
                n += len(read_file(file, self._chunk))
        return n

    def add(self, store: Store, shown: Any) -> None:
        """Bring a store up to date, in commits of whole files, and count what is done."""
        done = 0

        def report(n: int, total: int | None = None) -> None:
            nonlocal done
            shown.update(n - done)
            done = n

        for _, changes, counts in self._changes(store, self._options.commit_every):
            done = 0
            make(store, changes, self._options.batch_size, report)
            self.summary.include(counts)
            report(counts.added + counts.changed + counts.moved + counts.unchanged)

    def show(self, store: Store | None) -> Iterator[str]:
        """Yield a line for every file of which `add` would change something, and count what it would do."""
        for sources, changes, counts in self._changes(store, 1):
            self.summary.include(counts)
            if changes.added or changes.renamed or changes.gone:
                yield f"{', '.join(sources)}: {counts}"

    def _changes(self, store: Store | None, at_once: int) -> Iterator[tuple[list[str], Changes, FileSummary]]:
        """Yield files that go into one commit, what is to be done to them, and how many chunks that is."""
        known = {} if store is None else _known(store)
        group: dict[str, list[Document]] = {}
        for file in self._files:
            try:
                group[file.source] = read_file(file, self._chunk)
            except InvalidInput as error:
                self._report(error)
            if sum(max(1, len(documents)) for documents in group.values()) >= at_once:
                yield self._compared(store, group, known)
                group = {}
        if self._options.sync:
            group |= {source: [] for source in known if source not in self._sources and self._is_under(source)}
        while group:
            some = dict(islice(group.items(), at_once))
            yield self._compared(store, some, known)
            group = dict(islice(group.items(), at_once, None))

    def _compared(
        self, store: Store | None, group: Mapping[str, list[Document]], known: Mapping[str, set[str]]
    ) -> tuple[list[str], Changes, FileSummary]:
        ids = {document.id for documents in group.values() for document in documents}
        ids.update(*(known.get(source, ()) for source in group))
        stored = {} if store is None else {found.id: found for found in store.get(sorted(ids))}
        changes, counts = Changes(), FileSummary()
        for source, documents in group.items():
            there = {
                id_: stored[id_] for id_ in (*known.get(source, ()), *(new.id for new in documents)) if id_ in stored
            }
            counts.include(_compare(documents, there, changes))
        return list(group), changes, counts

    def _is_under(self, source: str) -> bool:
        """Return whether a file would be among the inputs if it were there."""
        for name in self._inputs:
            prefix = "" if name == "." else name.rstrip("/") + "/"
            if source.startswith(prefix) and not source[len(prefix) :].startswith(("/", "../")):
                return True
        return False

    def _report(self, error: InvalidInput) -> None:
        if self._options.on_error == "fatal":
            raise InvalidInput(f"{error}; --on-error skip passes such files over") from error
        print(f"binrag: skipped: {error}", file=sys.stderr)
        self.summary.skipped += 1


def _compare(documents: list[Document], stored: Mapping[str, Document], changes: Changes) -> FileSummary:
    """Note what is to be done for a file to be stored as these documents, and count it; `stored` is what there is."""
    spare, elsewhere = dict(stored), list[Document]()
    renamed, encoded = dict[str, Document](), list[Document]()
    for new in documents:
        there = stored.get(new.id)
        if there is None or there.text != new.text:
            elsewhere.append(new)
            continue
        del spare[new.id]
        if there.metadata != new.metadata:
            renamed[new.id] = new
    by_text = {old.text: id_ for id_, old in spare.items()}
    for new in elsewhere:
        id_ = by_text.pop(new.text, None)
        if id_ is None:
            encoded.append(new)
        else:
            del spare[id_]
            renamed[id_] = new
    changes.renamed |= renamed
    changes.added += encoded
    changes.gone += sorted(spare)
    n_changed = min(len(encoded), len(spare))
    n_unchanged = len(documents) - len(encoded) - len(renamed)
    return FileSummary(len(encoded) - n_changed, n_changed, len(renamed), n_unchanged, len(spare) - n_changed)


def _known(store: Store) -> dict[str, set[str]]:
    """Return the ids of all documents that were read from files, by source."""
    known: dict[str, set[str]] = {}
    for document in store.iter(where=In("kind", tuple(KINDS)) & Exists("source")):
        if is_of_a_file(document):
            known.setdefault(document.metadata["source"], set()).add(document.id)
    return known
