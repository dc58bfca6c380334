"""What a file holds beside its documents and their codes, checked: the sample of vectors and the index of words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from binrag.storage.tables import place_of
from binrag.storage.vectors import width_of
from binrag.store.agreement import words_findings
from binrag.store.words import LEXICAL
from binrag.types import BLOCK, Finding

if TYPE_CHECKING:
    from binrag.store.integrity import Check


def sample_findings(check: Check, n_rows: int) -> Iterator[Finding]:
    """Compare the sampled vectors with the rows that they are of."""
    rows: dict[int, set[int]] = {}
    sampled = list(check.inspection.records("sample"))
    for record in sampled:
        if record.finding is not None:
            check.damaged.add(record.finding.place)
            yield record.finding
            continue
        row, blob = record.values or ()
        place = f"sampled vector of row {row}"
        if record.key != place_of(row):
            yield Finding("record", place, f"its place is {record.key}, expected {place_of(row)}")
        if check.space is not None and len(blob) != width_of("float16", check.space.dim):
            yield Finding("record", place, f"it has {len(blob)} bytes")
        rows.setdefault(row // BLOCK, set()).add(row)
    if check.head is not None and check.is_whole("sample") and len(sampled) != check.head.n_sampled:
        problem = f"n_sampled is {check.head.n_sampled}, there are {len(sampled)} sampled vectors"
        yield Finding("count", "meta record 'head'", problem)
    for no, some in sorted(rows.items()):
        live = check.live(no)
        dead = set() if live is None else {row for row in some if not live[row % BLOCK]}
        for row in sorted(dead if 0 <= no * BLOCK < n_rows else some):
            yield Finding("extra", f"sampled vector of row {row}", "no document lives there")


def folded_findings(check: Check) -> Iterator[Finding]:
    """Check the index of words against its record."""
    n_blocks = sum(part == LEXICAL for part, _ in check.blocks)
    data = [check.data(LEXICAL, no) for no in range(n_blocks)]
    if check.is_whole("blocks") or all(own is not None for own in data):
        yield from words_findings(data, check.map_of(LEXICAL).get("n_rows", 0), check.n_rows)
