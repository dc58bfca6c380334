"""``binrag add``: JSON lines, and folders, into a store, in commits, and on from there when started again."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from binrag.cli.commands import quiet_loading
from binrag.cli.folders import FileSummary, Folders
from binrag.cli.lines import bar, count_lines, good_records, read_lines
from binrag.cli.maintenance import lexical_asked
from binrag.cli.output import as_json
from binrag.encoders.late_interaction import LateInteraction
from binrag.errors import BinragError, InvalidInput, StoreNotFound
from binrag.readers import Record
from binrag.readers.folders import is_text
from binrag.store import Store
from binrag.store.settings import checked_count
from binrag.types import ALL_TENANTS, Document, StoreInfo

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
SKIPPED = 6
"""The exit code when lines or files were skipped."""


@dataclass(slots=True)
class Summary:
    """What became of the lines."""

    added: int = 0
    unchanged: int = 0
    repeated: int = 0
    skipped: int = 0

    def skip(self) -> None:
        """Count a line that was skipped."""
        self.skipped += 1

    def __str__(self) -> str:
        return (
            f"{self.added:,} added, {self.unchanged:,} unchanged, {self.repeated:,} replaced by a later line with "
            f"the same id, {self.skipped:,} skipped"
        )


def add(options: argparse.Namespace) -> int:
    """Add the documents of all inputs; 6 if lines or files were skipped."""
    checked_count("--commit-every", options.commit_every)
    texts = [name for name in options.input if name != "-" and is_text(name)]
    inputs = [name for name in options.input if name not in texts]
    _check_options(options, texts, inputs)
    folders = Folders(texts, options) if texts else None
    if folders is not None and options.dry_run:
        return _show(folders, options)
    existing = _existing(options.store)
    total, summary = count_lines(inputs), Summary()
    lines = read_lines(inputs, existing.dim if existing and existing.late_interaction is None else None)
    records = good_records(lines, options.on_error, summary.skip)
    first = list(islice(records, options.commit_every))
    with _open(options, existing, bool(folders) or any(record.vector is None for record in first)) as store:
        try:
            if inputs:
                with bar("adding", total, options.quiet) as shown:
                    fill(store, chain(first, records), summary, shown, options.commit_every, options.batch_size)
            if folders is not None:
                with bar("adding files", None if options.quiet else folders.n_documents(), options.quiet) as shown:
                    folders.add(store, shown)
        except (KeyboardInterrupt, BinragError):
            parts = _parts(inputs and summary, folders and folders.summary)
            print(
                f"binrag: until here {'; '.join(map(str, parts))}; the same command goes on from there", file=sys.stderr
            )
            raise
        n = store.count(tenant=None if options.tenant else ALL_TENANTS)
    _print(options, _parts(inputs and summary, folders and folders.summary), n)
    return SKIPPED if summary.skipped or (folders and folders.summary.skipped) else 0


def _check_options(options: argparse.Namespace, texts: list[str], inputs: list[str]) -> None:
    for name in inputs:
        if name != "-" and not Path(name).exists():
            raise InvalidInput(f"no file or folder at {name}")
    for name in ("chunk", "root", "sync", "dry_run"):
        if getattr(options, name) not in (None, False) and not texts:
            raise InvalidInput(f"--{name.replace('_', '-')} is for folders and files of text, and there are none")
    if options.dry_run and inputs:
        raise InvalidInput(f"--dry-run is for folders and files of text, {inputs[0]} is read as JSON lines")


def _show(folders: Folders, options: argparse.Namespace) -> int:
    """Print what would be done."""
    with ExitStack() as stack:
        store = None
        with suppress(StoreNotFound):
            store = stack.enter_context(Store.open(options.store, "r", tenant=options.tenant))
        for line in folders.show(store):
            if not options.json:
                print(line)
        n = 0 if store is None else store.count(tenant=None if options.tenant else ALL_TENANTS)
    _print(options, [folders.summary], n)
    return SKIPPED if folders.summary.skipped else 0


def _parts(*summaries: Any) -> list[Summary | FileSummary]:
    return [summary for summary in summaries if summary]


def _print(options: argparse.Namespace, summaries: list[Summary | FileSummary], n: int) -> None:
    if options.json:
        facts: Counter[str] = Counter()
        for summary in summaries:
            facts.update(asdict(summary))
        print(as_json({**facts, "count": n}))
    else:
        print(f"{'; '.join(map(str, summaries))}; the store holds {n:,} documents")


def fill(
    store: Store, records: Iterator[Record], summary: Summary, shown: Any, commit_every: int, batch_size: int
) -> None:
    """Add records to a store, a commit each `commit_every` of them, and count what became of them.

    Parameters
    ----------
    store : Store
        Open for writing, with an encoder if a record has no vector.
    records : iterator of Record
        Read a commit's worth at a time.
    summary : Summary
        Counts, in place.
    shown : tqdm
        The bar, which moves by lines, those skipped among them.
    commit_every, batch_size : int
        Records a commit, and texts encoded at once.
    """
    n_skipped = 0
    while some := list(islice(records, commit_every)):
        shown.update(summary.skipped - n_skipped)
        n_skipped = summary.skipped
        _add_records(store, some, batch_size, summary, shown)
    shown.update(summary.skipped - n_skipped)


def _existing(path: str) -> StoreInfo | None:
    """Return what the store is, None where there is none yet."""
    with suppress(StoreNotFound), Store.open(path, "r") as store:
        return store.info()
    return None


def _open(options: argparse.Namespace, existing: StoreInfo | None, has_texts: bool) -> Store:
    """Open the store, with an encoder if a text needs one."""
    encoder = options.encoder
    if encoder is None and has_texts:
        encoder = (existing and existing.encoder) or DEFAULT_ENCODER
        print(f"encoder: {encoder}", file=sys.stderr)
    quiet_loading(encoder)
    return Store.open(
        options.store,
        encoder=encoder,
        keep_vectors=options.keep_vectors,
        binarizer=options.binarizer,
        auto_fit=options.auto_fit,
        durability=options.durability,
        lock_timeout=options.lock_timeout,
        tenant=options.tenant,
        late_interaction=_late_interaction(options, existing),
        lexical=lexical_asked(options.lexical, options.stop_words),
    )


def _late_interaction(options: argparse.Namespace, existing: StoreInfo | None) -> LateInteraction | None:
    """Return how a store is to hold token vectors, if it is to: what is not asked for is as it was made.

    Raises
    ------
    InvalidInput
        If options contradict each other.
    """
    if not options.late_interaction:
        if options.token_bits is not None:
            raise InvalidInput("--token-bits is for token vectors; add --late-interaction, or leave it out")
        return None
    if options.encoder is None and existing is None:
        raise InvalidInput("--late-interaction needs --encoder: a model that gives a vector for each token")
    made = existing.late_interaction if existing else None
    config = LateInteraction.from_record(made) if made else LateInteraction()
    return config if options.token_bits is None else replace(config, token_bits=options.token_bits)


def _add_records(store: Store, records: list[Record], batch_size: int, summary: Summary, bar: Any) -> None:
    """Add some records, a tenant's after another's."""
    tenants: dict[str | None, list[Record]] = {}
    for record in records:
        tenants.setdefault(record.tenant, []).append(record)
    for tenant, own in tenants.items():
        _add_to_tenant(store, own, tenant, batch_size, summary, bar)


def _add_to_tenant(
    store: Store, records: list[Record], tenant: str | None, batch_size: int, summary: Summary, bar: Any
) -> None:
    """Add a tenant's records in one commit; texts that are stored as they are need no encoding."""
    latest = {record.id: record for record in records}
    summary.repeated += len(records) - len(latest)
    bar.update(len(records) - len(latest))
    stored = {document.id: document for document in store.get(latest, tenant=tenant)}
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
            tenant=tenant,
            batch_size=batch_size,
            progress=report,
        )
        summary.added += len(some)


def _is_stored(record: Record, stored: dict[str, Document]) -> bool:
    document = stored.get(record.id)
    return document is not None and (document.text, document.metadata) == (record.text, record.metadata)
