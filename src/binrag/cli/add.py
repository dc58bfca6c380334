"""``binrag add``: JSON lines into a store, in commits, and on from there when started again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from binrag.cli.commands import quiet_loading
from binrag.cli.output import as_json
from binrag.errors import BinragError, InvalidInput, StoreNotFound
from binrag.readers import BadLine, Record, read_jsonl
from binrag.store import Store
from binrag.store.settings import checked_count
from binrag.types import Document, StoreInfo

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
_SKIPPED = 6


@dataclass(slots=True)
class Summary:
    """What became of the lines."""

    added: int = 0
    unchanged: int = 0
    repeated: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return (
            f"{self.added:,} added, {self.unchanged:,} unchanged, {self.repeated:,} replaced by a later line with "
            f"the same id, {self.skipped:,} skipped"
        )


def add(options: argparse.Namespace) -> int:
    """Add the lines of all inputs; 6 if some were skipped."""
    checked_count("--commit-every", options.commit_every)
    existing = _existing(options.store)
    lines = _lines(options.input, existing.dim if existing else None)
    total = None if "-" in options.input else sum(_count_lines(name) for name in options.input)
    summary = Summary()
    first = _next_records(lines, options, summary)
    with _open(options, existing, first) as store, _bar(options.quiet, total) as bar:
        bar.update(summary.skipped)
        try:
            records = first
            while records:
                _add_records(store, records, options.batch_size, summary, bar)
                before = summary.skipped
                records = _next_records(lines, options, summary)
                bar.update(summary.skipped - before)
        except (KeyboardInterrupt, BinragError):
            print(f"binrag: until here {summary}; the same command goes on from there", file=sys.stderr)
            raise
        facts = {**asdict(summary), "count": store.count()}
    print(as_json(facts) if options.json else f"{summary}; the store holds {facts['count']:,} documents")
    return _SKIPPED if summary.skipped else 0


def _existing(path: str) -> StoreInfo | None:
    """Return what the store is, None where there is none yet."""
    with suppress(StoreNotFound), Store.open(path, "r") as store:
        return store.info()
    return None


def _lines(inputs: list[str], dim: int | None) -> Iterator[Record | BadLine]:
    for name in inputs:
        if name == "-":
            yield from read_jsonl(sys.stdin.buffer, "standard input", dim)
            continue
        try:
            with Path(name).open("rb") as file:
                yield from read_jsonl(file, name, dim)
        except OSError as error:
            raise InvalidInput(f"cannot read {name}: {error.strerror}") from error


def _count_lines(name: str) -> int:
    try:
        with Path(name).open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError as error:
        raise InvalidInput(f"cannot read {name}: {error.strerror}") from error


def _next_records(lines: Iterator[Record | BadLine], options: argparse.Namespace, summary: Summary) -> list[Record]:
    """Return the records of one commit, reporting bad lines."""
    records: list[Record] = []
    for line in lines:
        if isinstance(line, BadLine):
            if options.on_error == "fatal":
                raise InvalidInput(f"{line}; --on-error skip passes such lines over")
            print(f"binrag: skipped {line}", file=sys.stderr)
            summary.skipped += 1
            continue
        records.append(line)
        if len(records) >= options.commit_every:
            break
    return records


def _open(options: argparse.Namespace, existing: StoreInfo | None, records: list[Record]) -> Store:
    """Open the store, with an encoder if a text needs one."""
    encoder = options.encoder
    if encoder is None and any(record.vector is None for record in records):
        encoder = (existing and existing.encoder) or DEFAULT_ENCODER
        print(f"encoder: {encoder}", file=sys.stderr)
    quiet_loading(encoder)
    return Store.open(
        options.store,
        encoder=encoder,
        keep_vectors=options.keep_vectors,
        binarizer=options.binarizer,
        lock_timeout=options.lock_timeout,
    )


def _bar(quiet: bool, total: int | None) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc="adding", unit="doc", disable=quiet, file=sys.stderr)


def _add_records(store: Store, records: list[Record], batch_size: int, summary: Summary, bar: Any) -> None:
    """Add one commit's records; texts that are stored as they are need no encoding."""
    latest = {record.id: record for record in records}
    summary.repeated += len(records) - len(latest)
    bar.update(len(records) - len(latest))
    stored = {document.id: document for document in store.get(latest)}
    given = [record for record in latest.values() if record.vector is not None]
    texts = [record for record in latest.values() if record.vector is None and not _is_stored(record, stored)]
    n_unchanged = len(latest) - len(given) - len(texts)
    summary.unchanged += n_unchanged
    bar.update(n_unchanged)
    for some in (given, texts):
        if not some:
            continue
        done = 0

        def report(n: int, total: int | None) -> None:
            nonlocal done
            bar.update(n - done)
            done = n

        store.add(
            [record.text for record in some],
            ids=[record.id for record in some],
            metadata=[record.metadata for record in some],
            vectors=[record.vector for record in some] if some[0].vector is not None else None,
            batch_size=batch_size,
            progress=report,
        )
        summary.added += len(some)


def _is_stored(record: Record, stored: dict[str, Document]) -> bool:
    document = stored.get(record.id)
    return document is not None and (document.text, document.metadata) == (record.text, record.metadata)
