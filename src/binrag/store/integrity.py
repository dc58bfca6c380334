"""`Store.verify`: everything a file holds, against its checksums, and its parts against each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from binrag.errors import BinragError, CorruptStore
from binrag.indexes.flat import bytes_of
from binrag.probe import Probe
from binrag.protocols import Binarizer
from binrag.registry import binarizer_from_record
from binrag.storage import Head
from binrag.storage.inspection import (
    Inspection,
    Record,
    Rows,
    SoundBlock,
    block_at,
    inspecting,
    rows_alive,
    unpacked,
)
from binrag.storage.meta import check_record, head_of
from binrag.store.agreement import FEWEST, closeness, metadata_findings
from binrag.store.derived import folded_findings, sample_findings
from binrag.store.entries import PART, entry
from binrag.store.progress import progress_of
from binrag.store.settings import Settings
from binrag.store.space import VectorSpace
from binrag.store.words import LEXICAL, lexical_of
from binrag.types import BLOCK, GROUP, Finding, Progress, UInt8

_COMPARED = 128
"""Rows of a block whose codes are made again."""


def verify(path: str | os.PathLike[str], progress: Progress = None) -> list[Finding]:
    """Check a store file that may be too damaged to be opened; it is read only, and not changed.

    Every page, record, block and checksum is looked at, and the tables are compared with each other. What is found is
    returned, not raised, and the check goes on after it. A page of rows is in memory at a time.

    Parameters
    ----------
    path : str or path
        The file.
    progress : bool, callable or None
        As in `Store.add`; what is counted is rows.

    Returns
    -------
    list of Finding
        Empty where all is sound.

    Raises
    ------
    StoreNotFound
    ReadOnlyStore
        If the store's write-ahead log cannot be read where it is; the file was not looked at.
    """
    with inspecting(Path(path)) as inspection:
        return list(dict.fromkeys(Check(inspection).findings(progress)))


@dataclass(slots=True)
class Check:
    """One run through a file.

    Attributes
    ----------
    head, settings, binarizer, space
        What is recorded; None where it is not sound, and then what depends on it is not checked.
    blocks : dict
        (part, no) to what is known of a block whose checksum is right.
    """

    inspection: Inspection
    head: Head | None = None
    settings: Settings | None = None
    binarizer: Binarizer | None = None
    space: VectorSpace | None = None
    blocks: dict[tuple[str, int], SoundBlock] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)

    def findings(self, progress: Progress) -> Iterator[Finding]:
        """Yield what is found."""
        yield from self.inspection.structure()
        yield from self.meta()
        yield from self.read_blocks()
        n_rows = self.n_rows
        yield from self._lay_out(n_rows)
        with progress_of(progress, n_rows, "verifying") as report:
            for first in range(0, n_rows, BLOCK):
                stop = min(first + BLOCK, n_rows)
                yield from self._rows(first, stop)
                report(stop - first)
        for table, first in (("documents", 0), ("vectors", 0), ("tail", n_rows // BLOCK * BLOCK)):
            yield from self._strays(table, range(first, n_rows))
        yield from sample_findings(self, n_rows)
        yield from folded_findings(self)
        yield from (record.finding for record in self.inspection.records("ledger") if record.finding)

    def is_whole(self, table: str) -> bool:
        """Whether no rows were passed over that SQLite cannot read."""
        return self.inspection.can_read(table) and not any(place.startswith(f"{table}, ") for place in self.damaged)

    def map_of(self, key: str) -> dict[str, Any]:
        """Return a record of ``meta`` if it is sound and a map, else an empty map."""
        found = self.records.get(key)
        return found if isinstance(found, dict) else {}

    @property
    def n_rows(self) -> int:
        """Rows ever appended, as the head says, or else as far as there is liveness."""
        blocks = ((no, block) for (part, no), block in self.blocks.items() if part == "live")
        most = self.inspection.n_bytes // (BLOCK // 8)  # blocks whose liveness there is room for
        covered = max((no * BLOCK + min(block.n_rows, BLOCK) for no, block in blocks if 0 <= no < most), default=0)
        # a number that nothing bears out would have us look for rows for ever
        is_borne_out = self.head is not None and self.head.n_rows <= covered + 2 * BLOCK
        return self.head.n_rows if self.head is not None and is_borne_out else covered

    # records of meta

    def meta(self) -> Iterator[Finding]:
        """Read the records of ``meta``; yield what is wrong with them."""
        seen: set[str] = set()
        for record in self.inspection.records("meta"):
            if record.finding is not None:
                self.damaged.add(record.finding.place)
                yield record.finding
                continue
            key, _ = record.values or ("", b"")
            seen.add(key)
            value, finding = unpacked(record, 1, f"meta record {key!r}")
            if finding is not None:
                yield finding
                continue
            self.records[key] = value
        needed = {"head", "settings", *(("binarizer",) if "space" in seen else ())}
        for key in sorted(needed - seen if self.is_whole("meta") else set()):
            if f"meta record {key!r}" not in self.damaged:
                yield Finding("missing", f"meta record {key!r}", "a store needs it")
        readers: dict[str, Callable[[Any], Any]] = {
            "head": self._take_head,
            "settings": self._take_settings,
            "binarizer": self._take_binarizer,
            "space": self._take_space,
            "encoder": self._check_encoder,
            "probe": lambda record: record and Probe.from_record(record),
            "auto_fit": lambda record: record and str(record["outcome"]),
            LEXICAL: lambda record: record and lexical_of(record),
        }
        for key, read in readers.items():
            if key in self.records:
                try:
                    check_record(key, self.records[key])
                    read(self.records[key])
                except Exception as error:  # whatever a record that is none makes of the code that reads it
                    shown = f"{type(error).__name__}: {error}"
                    del self.records[key]
                    self.damaged.add(f"meta record {key!r}")
                    yield Finding("record", f"meta record {key!r}", f"it cannot be understood: {shown}")

    def _take_head(self, record: Any) -> None:
        self.head = head_of(record)

    def _take_settings(self, record: Any) -> None:
        settings = Settings.from_record(record)
        settings.check(is_new=False)
        self.settings = settings

    def _take_binarizer(self, record: Any) -> None:
        self.binarizer = binarizer_from_record(record) if record else None

    def _take_space(self, record: Any) -> None:
        if self.binarizer is None:
            return
        space = VectorSpace.from_records(record, self.binarizer)
        if self.settings is not None and self.settings.late_interaction != (space.tokens and space.tokens.config):
            raise CorruptStore("it holds token vectors otherwise than the settings say")
        self.space = space

    def _check_encoder(self, record: Any) -> None:
        sizes = {len(record[side]) for side in ("document", "query")}
        if len(sizes) != 1 or sizes.pop() % (4 * record["dim"]) or not isinstance(record["encoder_id"], str):
            raise CorruptStore("its vectors are not of one length")

    # blocks

    def read_blocks(self) -> Iterator[Finding]:
        """Read all blocks, and remember which are sound; yield what is wrong with them."""
        for record in self.inspection.records("blocks"):
            if record.finding is not None:
                self.damaged.add(record.finding.place)
                yield record.finding
                continue
            part, no, generation, n_rows, data = record.values or ()
            self.blocks[part, no] = SoundBlock(record.key, generation, n_rows, len(data))
            if self.head is not None and not 0 <= generation <= self.head.generation:
                yield Finding("count", block_at(part, no), f"generation {generation} was never committed")

    def _lay_out(self, n_rows: int) -> Iterator[Finding]:
        """Yield blocks that are missing, too many, or of the wrong size."""
        if self.head is not None and self.head.n_rows > n_rows:
            yield Finding("count", "meta record 'head'", f"n_rows is {self.head.n_rows}; there are not so many rows")
        widths = self._widths(n_rows)
        for part, (width, n_blocks) in widths.items():
            for no in range(n_blocks):
                if (part, no) in self.blocks:
                    yield from self._misfits(part, no, width, min(BLOCK, n_rows - no * BLOCK))
                elif block_at(part, no) not in self.damaged and self.is_whole("blocks"):
                    yield Finding("missing", block_at(part, no), f"{n_rows} rows need it")
        for part, no in self.blocks:
            if part in widths and not 0 <= no < widths[part][1]:
                yield Finding("extra", block_at(part, no), f"{n_rows} rows do not need it")

    def _widths(self, n_rows: int) -> dict[str, tuple[int, int]]:
        """Return the bytes of a block and the number of blocks of every part whose shape is known."""
        widths = {"live": (BLOCK // 8, -(-n_rows // BLOCK))}
        if self.space is not None:
            for part, width in self.space.binarizer.shape.widths.items():
                widths[part] = width * BLOCK, n_rows // BLOCK if width else 0
        return widths

    def _misfits(self, part: str, no: int, n_bytes: int, n_rows: int) -> Iterator[Finding]:
        block = self.blocks[part, no]
        if block.n_bytes != n_bytes:
            yield Finding("record", block_at(part, no), f"it has {block.n_bytes} bytes, expected {n_bytes}")
            del self.blocks[part, no]
        elif block.n_rows != n_rows:
            yield Finding("count", block_at(part, no), f"it has {block.n_rows} rows, expected {n_rows}")
        elif part != "live" and self.head and block.generation < self.head.coded:
            yield Finding(
                "count", block_at(part, no), f"it is older than the binarizer, of generation {self.head.coded}"
            )

    def data(self, part: str, no: int) -> bytes | None:
        """Return the data of a block, None if it is not sound."""
        block = self.blocks.get((part, no))
        return None if block is None else self.inspection.block_data(block.rowid)

    def live(self, no: int) -> UInt8 | None:
        """Return whether each row of a block lives, as 0 or 1; None if that is not known."""
        data = self.data("live", no)
        return None if data is None else np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")

    # rows

    def _rows(self, first: int, stop: int) -> Iterator[Finding]:
        """Check the rows of a block, or those of the tail, in all tables."""
        live = self.live(first // BLOCK)
        documents = Rows(range(first, stop))
        entries: list[dict[str, Any] | None] = [None] * (stop - first)
        for record in documents.read(self.inspection, "documents"):
            entries[record.key - first] = yield from self._document(record)
        if (data := self.data(PART, first // BLOCK)) is not None:
            yield from metadata_findings(data, entries, first, block_at(PART, first // BLOCK))
        vectors = Rows(range(first, stop))
        kept: dict[int, bytes] = {}
        for record in vectors.read(self.inspection, "vectors"):
            yield from self._kept(record, kept, max(1, (stop - first) // _COMPARED))
        yield from (*documents.findings, *vectors.findings)
        if live is not None:
            if live[stop - first :].any():
                yield Finding("extra", block_at("live", first // BLOCK), f"bits past its {stop - first} rows are set")
            rows = rows_alive(live, first, stop)
            if self.inspection.can_read("documents"):
                yield from documents.compared("document of row", rows)
            if self.settings is not None and self.inspection.can_read("vectors"):
                keeps = self.settings.keep_vectors != "none" or self.settings.late_interaction is not None
                yield from vectors.compared("kept vector of row", rows if keeps else set())
        if stop - first < BLOCK:
            codes = yield from self._tail(range(first, stop))
        else:
            codes = self._codes(first, kept)
        yield from self._compare_codes(first // BLOCK, codes, kept)

    def _document(self, record: Record) -> Generator[Finding, None, dict[str, Any] | None]:
        """Check a document; return what filters have to see of it, None if that is not known."""
        tenant, id_ = (record.values or ())[:2]
        place = f"document {id_!r} (row {record.key})"
        if tenant and self.head is not None and not self.head.n_named:
            yield Finding("count", "meta record 'head'", "n_named is 0, and there are documents of named tenants")
        metadata, finding = unpacked(record, 3, place)
        if finding is not None:
            yield finding
        elif not isinstance(metadata, (dict, type(None))):
            yield Finding("record", place, f"its metadata is a {type(metadata).__name__}, expected a map")
        else:
            return entry(tenant, metadata or {})
        return None

    def _kept(self, record: Record, kept: dict[int, bytes], step: int) -> Iterator[Finding]:
        (blob,) = record.values or ()
        if self.space is None or self.settings is None:
            return
        problem = self.space.problem_of_kept(blob, self.settings.keep)
        if problem is not None:
            yield Finding("record", f"vector of row {record.key}", problem)
        elif record.key % step == 0:
            kept[record.key] = blob

    def _tail(self, rows: range) -> Generator[Finding, None, dict[int, bytes]]:
        tail, codes = Rows(rows), dict[int, bytes]()
        for record in tail.read(self.inspection, "tail"):
            words, rest, rescale = record.values or ()
            widths = len(words), len(rest), len(rescale)
            if self.space is not None:
                expected = tuple(self.space.binarizer.shape.widths.values())
                if widths != expected:
                    problem = f"its codes, rest and rescale have {widths} bytes, expected {expected}"
                    yield Finding("record", f"tail row {record.key}", problem)
                    continue
            codes[record.key] = words + rest
        yield from tail.findings
        if self.inspection.can_read("tail"):
            yield from tail.compared("tail row", set(rows))
        return codes

    def _codes(self, first: int, rows: Iterable[int]) -> dict[int, bytes]:
        """Return the codes of some rows of a full block; none where they are not known."""
        no = first // BLOCK
        if self.space is None or ("codes", no) not in self.blocks:
            return {}
        shape = self.space.binarizer.shape
        rest, data = self.data("rest", no) if shape.n_rest else b"", self.data("codes", no)
        if rest is None or data is None:
            return {}
        grouped = bytes_of(np.frombuffer(data, "<u8").reshape(BLOCK // GROUP, shape.n_words, GROUP), shape.by_tables)
        width = shape.n_rest
        return {
            row: grouped[(row - first) // GROUP, :, :, row % GROUP].tobytes()
            + rest[(row - first) * width : (row - first + 1) * width]
            for row in rows
        }

    def _compare_codes(self, no: int, codes: dict[int, bytes], kept: dict[int, bytes]) -> Iterator[Finding]:
        """Compare codes with those that the kept vectors get, as far as kept vectors are close enough for that."""
        rows = sorted(codes.keys() & kept.keys())
        if self.space is None or self.settings is None or len(rows) < FEWEST:
            return
        stored = np.frombuffer(b"".join(codes[row] for row in rows), np.uint8).reshape(len(rows), -1)
        keep = self.settings.keep
        vectors = self.space.kept([kept[row] for row in rows], keep)
        try:
            alike = closeness(self.space, stored, vectors, keep)
        except BinragError:
            return  # a vector that no code can be made of tells nothing about the one that is stored
        if alike is not None:
            problem = (
                f"they are not those of the kept vectors: {alike:.0%} of what vectors of theirs would have in common"
            )
            yield Finding("code", f"the codes of rows {rows[0]} to {rows[-1]}", problem)

    def _strays(self, table: str, rows: range) -> Iterator[Finding]:
        for first, stop in ((-(2**63), rows.start), (rows.stop, 2**63 - 1)):
            for record in self.inspection.records(table, first, stop):
                yield record.finding or Finding(
                    "extra",
                    f"{table}, row {record.key}",
                    f"rows {rows.start} to {rows.stop - 1} are all that there can be",
                )
