"""`binrag.repair`: what is sound of a damaged file, into a new store."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from binrag.binarizers.sign import SignBinarizer
from binrag.errors import BinragError, CorruptStore, StoreExists
from binrag.indexes import FlatIndex
from binrag.pipeline import decode
from binrag.storage import Database, TailRow, Writing
from binrag.storage.inspection import Record, Rows, inspecting, rows_alive
from binrag.storage.ledger import copy_entries
from binrag.storage.tables import place_of
from binrag.storage.vectors import decode_vectors, encode_vectors, width_of
from binrag.store.entries import entries_between, put_metadata
from binrag.store.integrity import Check
from binrag.store.progress import progress_of
from binrag.store.settings import Settings
from binrag.store.space import VectorSpace
from binrag.store.tokens import TokenSpace
from binrag.store.words import LEXICAL, lexical_of, new_record
from binrag.store.writer import append_codes, joined, mark
from binrag.types import BLOCK, GROUP, Codes, Finding, Float32, KeepVectors, Progress, Repair, Similarity

_Fields: TypeAlias = tuple[Any, ...]
"""Tenant, id, text and packed metadata of a document."""

_COPIED = ("encoder", "probe", "auto_fit")
"""Records that the new store gets as they are, if they are sound."""


def repair(source: str | os.PathLike[str], destination: str | os.PathLike[str], progress: Progress = None) -> Repair:
    """Save what is sound of a damaged store into a new one; the damaged file is only read.

    A document is saved if its record is sound, and its kept vector or its code. The new store has the same settings,
    encoder and binarizer, and the codes that are sound; the others are made again from the kept vectors. Where only
    the code is sound, the vector that it stands for is kept instead: searches find it as the code alone would.

    Parameters
    ----------
    source : str or path
        The damaged file.
    destination : str or path
        The new file. It is written in one transaction.
    progress : bool, callable or None
        As in `Store.add`.

    Returns
    -------
    Repair
        How many documents were saved and lost, and what was found.

    Raises
    ------
    StoreNotFound, StoreExists, ReadOnlyStore, StorageFull
    CorruptStore
        If nothing can be saved: the file is no SQLite database any more, or neither its vectors nor its binarizer can
        be read. There is no new file then.
    """
    if Path(destination).exists():
        raise StoreExists(f"{destination} exists; a repair never replaces a file")
    with inspecting(Path(source)) as inspection:
        check = Check(inspection)
        findings = [*inspection.structure(), *check.meta(), *check.read_blocks()]
        if not inspection.can_read("documents"):
            raise CorruptStore(f"nothing of {source} can be saved, its documents cannot be read: {findings[0]}")
        salvage = _Salvage(check, findings, *_ground(check, findings))
        database = Database.open(Path(destination), "x", 10.0, {"settings": salvage.settings.record()})
        try:
            with progress_of(progress, check.n_rows, "repairing") as report, database.transaction() as writing:
                salvage.save(writing, report)
        except BaseException:
            database.close()
            database.discard()
            raise
        database.close()
    return Repair(salvage.n_saved, salvage.n_lost, tuple(dict.fromkeys(findings)))


def _ground(check: Check, findings: list[Finding]) -> tuple[Settings, VectorSpace | None, bool]:
    """Return settings and space of the new store, as recorded or else as far as they follow from other records.

    The last of the three is whether codes are of the space's binarizer.

    Raises
    ------
    CorruptStore
        If vectors can be told neither from records nor from themselves.
    """
    settings, space = check.settings, check.space
    if settings is not None and space is not None:
        return settings, space, True
    if (of_tokens := _ground_of_tokens(check, findings)) is not None:
        return *of_tokens, True
    binarizer, record, encoder = check.binarizer, check.map_of("space"), check.map_of("encoder")
    width = next((len((r.values or (b"",))[0]) - 4 for r in check.inspection.records("vectors") if r.values), 0)
    dim = record.get("dim") or (binarizer.dim if binarizer else None) or encoder.get("dim")
    dim = dim or (settings.dim if settings else None) or width
    keep: KeepVectors = "none" if not width else "float16" if width == 2 * dim else "int8"
    if settings is None:
        name = binarizer.component_id if binarizer else "sign"
        settings = Settings(name, dim or None, keep, auto_fit=False)
        findings.append(Finding("lost", "the settings", f"they are taken to be {settings.record()}"))
    if not check.n_rows and not any(check.inspection.records("documents")):
        return settings, None, False
    if binarizer is None and (not dim or not width):
        raise CorruptStore("nothing can be saved: neither the binarizer nor a kept vector can be read")
    similarity: Similarity = record.get("similarity") or encoder.get("similarity") or "cosine"
    if binarizer is None:
        findings.append(Finding("lost", "the binarizer", "codes are made anew, of signs"))
    return settings, VectorSpace(dim, similarity, binarizer or SignBinarizer(dim)), binarizer is not None


def _ground_of_tokens(check: Check, findings: list[Finding]) -> tuple[Settings, VectorSpace | None] | None:
    """Return settings and space of a store of token vectors; None if nothing says that it is one."""
    record, encoder, settings = check.map_of("space"), check.map_of("encoder"), check.settings
    if settings is None:
        if check.space is None or check.space.tokens is None:
            return None
        settings = Settings(late_interaction=check.space.tokens.config)
        findings.append(Finding("lost", "the settings", f"they are taken to be {settings.record()}"))
        return settings, check.space
    if settings.late_interaction is None:
        return None
    if not check.n_rows and not any(check.inspection.records("documents")):
        return settings, None
    dim = record.get("dim") or encoder.get("dim") or settings.dim
    if dim is None:
        raise CorruptStore("nothing can be saved: no record says what dimension the token vectors have")
    similarity: Similarity = record.get("similarity") or encoder.get("similarity") or "cosine"
    return settings, VectorSpace.of_tokens(TokenSpace.of(dim, similarity, settings.late_interaction))


@dataclass(slots=True)
class _Salvage:
    """A repair in progress.

    Attributes
    ----------
    has_codes : bool
        Whether stored codes are of the space's binarizer.
    sampled, placed : dict
        Row to sampled vector: of the damaged store, and of the new one.
    """

    check: Check
    findings: list[Finding]
    settings: Settings
    space: VectorSpace | None
    has_codes: bool
    n_saved: int = 0
    n_lost: int = 0
    sampled: dict[int, bytes] = field(default_factory=dict)
    placed: dict[int, bytes] = field(default_factory=dict)

    def save(self, writing: Writing, report: Callable[[int], None]) -> None:
        """Fill the new store."""
        records = {key: self.check.records.get(key) for key in _COPIED}
        for key, record in records.items():
            if record is not None:
                writing.put(key, record)
        if words := self.check.map_of(LEXICAL):
            writing.put(LEXICAL, new_record(lexical_of(words)))  # folded again when that is due
        if self.space is None:
            self._save_ledger(writing)
            return
        self.space = replace(self.space, generation=writing.generation)
        self.space.write(writing)
        width = width_of("float16", self.space.dim)
        for record in self._sound("sample"):
            row, blob = record.values or ()
            if len(blob) == width:
                self.sampled[row] = blob
        n_rows = self.check.n_rows
        for first in range(0, n_rows, BLOCK):
            stop = min(first + BLOCK, n_rows)
            self._save_rows(writing, first, stop, self._documents(first, stop))
            report(stop - first)
        for no, documents in self._strays(n_rows):
            self._save_rows(writing, no * BLOCK, (no + 1) * BLOCK, documents)
        places = sorted(self.placed.items(), key=lambda pair: place_of(pair[0]))
        n_truncated = self.check.head.n_truncated if self.check.head else 0
        n_sampled = writing.add_sample(places, 0)
        writing.put_head(replace(writing.head(), n_sampled=n_sampled, n_truncated=n_truncated))
        self.n_saved = writing.count(None)
        self._save_ledger(writing)

    def _save_ledger(self, writing: Writing) -> None:
        """Save the ledger if no document was lost: it would say of one that is gone that it is there."""
        entries = [record.values or () for record in self._sound("ledger")]
        if entries and self.n_lost:
            self.findings.append(
                Finding("lost", "the ledger", "it is left out, so that indexers add again the documents that are lost")
            )
            return
        copy_entries(writing, entries)

    def _sound(self, table: str, first: int = -(2**63), stop: int = 2**63 - 1) -> Iterator[Record]:
        for record in self.check.inspection.records(table, first, stop):
            if record.finding is None:
                yield record
            else:
                self.findings.append(record.finding)

    def _documents(self, first: int, stop: int) -> dict[int, _Fields]:
        """Return the sound documents of a block by row, and count those that are lost."""
        rows = Rows(range(first, stop))
        found = {record.key: record.values or () for record in rows.read(self.check.inspection, "documents")}
        self.findings += rows.findings
        live = self.check.live(first // BLOCK)
        if live is None:
            self.n_lost += len(rows.findings)
        else:
            self.n_lost += len(rows_alive(live, first, stop) - found.keys())
        return found

    def _strays(self, n_rows: int) -> Iterator[tuple[int, dict[int, _Fields]]]:
        """Yield documents past the rows that are recorded: what says how many there are is damaged, or they are."""
        no, found = n_rows // BLOCK, dict[int, _Fields]()
        for record in self._sound("documents", n_rows):
            if record.key // BLOCK != no:
                yield no, found
                no, found = record.key // BLOCK, {}
            found[record.key] = record.values or ()
        yield no, found

    def _save_rows(self, writing: Writing, first: int, stop: int, documents: dict[int, _Fields]) -> None:
        """Save the documents of a block, as far as there is a vector or a code of theirs."""
        assert self.space is not None
        codes, blobs = self._codes(first, sorted(documents)), self._blobs(first, stop, documents)
        lack = sorted(codes.keys() - blobs.keys()) if self.settings.keep != "none" else []
        vectors = decode(self.space.binarizer, Codes.joined([codes[row] for row in lack])) if lack else ()
        for row, vector in zip(lack, vectors, strict=True):
            if np.isfinite(vector).all() and vector.any():
                blobs[row] = encode_vectors(vector[None], self.settings.keep)[0].tobytes()
                self.findings.append(
                    Finding("lost", f"vector of row {row}", "what its code stands for is kept instead")
                )
        for row in sorted(blobs.keys() - codes.keys()):
            try:
                codes[row] = self.space.coded(self.space.prepared(self._vector(blobs[row])))
            except BinragError as error:
                self.findings.append(Finding("lost", f"code of row {row}", str(error)))
        rows = [row for row in sorted(documents) if row in codes and (row in blobs or not self._keeps)]
        for row in sorted(documents.keys() - set(rows)):
            self.n_lost += 1
            place = f"document {documents[row][1]!r} (row {row})"
            lost = "neither its vector nor its code can" if self.space.tokens is None else "codes of its tokens cannot"
            self.findings.append(Finding("lost", place, f"{lost} be read"))
        if rows:
            self._append(writing, rows, documents, codes, blobs)

    @property
    def _keeps(self) -> bool:
        """Whether something is kept of every document beside its code."""
        return self.settings.keep != "none" or self.settings.late_interaction is not None

    def _vector(self, blob: bytes) -> Float32:
        assert self.space is not None
        return self.space.kept([blob], "float16" if self.settings.keep == "none" else self.settings.keep)

    def _blobs(self, first: int, stop: int, rows: Container[int]) -> dict[int, bytes]:
        """Return the vectors of rows as they are to be kept, from those kept or else sampled, as far as they are sound.

        With `keep_vectors` "none", those sampled, as float16.
        """
        assert self.space is not None
        dim, keep, found = self.space.dim, self.settings.keep, dict[int, bytes]()
        for row, blob in self.sampled.items():
            if first <= row < stop and row in rows:
                vector = decode_vectors([blob], "float16", dim)
                if np.isfinite(vector).all() and vector.any():
                    found[row] = blob if keep == "none" else encode_vectors(vector, keep)[0].tobytes()
        if not self._keeps:
            return found
        for record in self._sound("vectors", first, stop):
            (blob,) = record.values or ()
            if self.space.problem_of_kept(blob, keep) is None and record.key in rows:
                vector = self._vector(blob)
                if np.isfinite(vector).all() and vector.any():
                    found[record.key] = blob
        return found

    def _codes(self, first: int, rows: list[int]) -> dict[int, Codes]:
        """Return the sound codes of rows of a block, each by itself."""
        assert self.space is not None
        if not self.has_codes or not rows:
            return {}
        shape, no = self.space.binarizer.shape, first // BLOCK
        widths = shape.widths
        if ("codes", no) not in self.check.blocks:
            return self._tail(rows, tuple(widths.values()))
        data = {part: (self.check.data(part, no) if width else b"") or b"" for part, width in widths.items()}
        if any(len(data[part]) != width * BLOCK for part, width in widths.items()):
            return {}
        words = np.frombuffer(data["codes"], "<u8").reshape(BLOCK // GROUP, shape.n_words, GROUP)
        rest = np.frombuffer(data["rest"], np.uint8).reshape(BLOCK, shape.n_rest)
        index = FlatIndex(shape, words, rest, np.frombuffer(data["rescale"], "<f2"), np.zeros(0, np.uint64), BLOCK)
        codes = index.codes_of(np.array(rows) - first)
        return {row: codes[i : i + 1] for i, row in enumerate(rows)}

    def _tail(self, rows: list[int], widths: tuple[int, ...]) -> dict[int, Codes]:
        assert self.space is not None
        found, none, wanted = dict[int, Codes](), Codes.zeros(0, self.space.binarizer.shape), set(rows)
        for record in self._sound("tail", rows[0], rows[-1] + 1):
            if record.key in wanted and tuple(len(value) for value in record.values or ()) == widths:
                found[record.key] = joined([TailRow(record.key, *(record.values or ()))], none)
        return found

    def _append(
        self,
        writing: Writing,
        rows: list[int],
        documents: dict[int, _Fields],
        codes: dict[int, Codes],
        blobs: dict[int, bytes],
    ) -> None:
        """Append documents to the new store; one whose id is there already replaces what was there."""
        assert self.space is not None
        latest = {documents[row][:2]: row for row in rows}
        rows = sorted(latest.values())
        dead = [row for tenant, id_ in latest for row in writing.remove_documents(tenant, [id_])]
        for row in dead:
            self.placed.pop(row, None)
        first = writing.head().n_rows
        stop = first + len(rows)
        for place, row in enumerate(rows, first):
            tenant, *fields = documents[row]
            writing.add_documents(place, tenant, [(fields[0], fields[1], fields[2])])
            if row in self.sampled:
                self.placed[place] = self.sampled[row]
        if self._keeps:
            writing.add_blobs(first, [blobs[row] for row in rows])
        append_codes(writing, first, Codes.joined([codes[row] for row in rows]), self.space.binarizer.shape.by_tables)
        for no in range(first // BLOCK, stop // BLOCK):
            put_metadata(writing, no, BLOCK, entries_between(writing, no * BLOCK, (no + 1) * BLOCK))
        mark(writing, stop, live=range(first, stop), dead=dead)
        n_named = sum(bool(documents[row][0]) for row in rows)
        head = writing.head()
        writing.put_head(replace(head, n_rows=stop, n_named=head.n_named + n_named))
