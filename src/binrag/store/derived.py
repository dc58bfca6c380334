"""What a file holds beside its documents and their codes, checked: the sample of vectors and the index of words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from binrag.errors import BinragError
from binrag.lexical import LexicalIndex
from binrag.storage.tables import place_of
from binrag.storage.vectors import width_of
from binrag.store.words import LEXICAL, tokenizer_of
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
    """Compare the folded index of words with its record, if all of both could be read."""
    place, record = f"part {LEXICAL!r}", check.map_of(LEXICAL)
    is_damaged = any(found.endswith((place, f"meta record {LEXICAL!r}")) for found in check.damaged)
    if is_damaged or not check.is_whole("blocks"):
        return
    n_folded = record.get("n_rows", 0)
    n_blocks = sum(part == LEXICAL for part, _ in check.blocks)
    blocks = [own for own in (check.data(LEXICAL, no) for no in range(n_blocks)) if own is not None]
    if len(blocks) < n_blocks:
        yield Finding("missing", place, f"it has {n_blocks} blocks, and they are not the first ones")
        return
    if not blocks and not n_folded:
        return
    try:
        index = LexicalIndex.from_blocks(blocks, place)
    except BinragError as error:
        yield Finding("record", place, str(error))
        return
    if index.n_rows != n_folded or n_folded > check.n_rows:
        yield Finding("count", place, f"it is of {index.n_rows} rows; its record says {n_folded!r:.50}")
    elif index.tokenizer != tokenizer_of(record):
        yield Finding("record", place, f"it is of words by {index.tokenizer}; its record says {record['language']!r}")
