"""An index as bytes: a header in msgpack, then one stream of arrays, cut into blocks.

The stream is, all little-endian: the words in UTF-8, one after another; the length of each in bytes, uint16; how many
rows hold each, uint32; those rows, uint32; their scores, float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from binrag.errors import CorruptStore
from binrag.lexical.vocabulary import Vocabulary
from binrag.types import Float32, Int64

BYTES = 2**22
"""Of the stream in a block; the last has what is left."""

_COUNTS = ("n_rows", "n_counted", "n_words", "n_bytes", "n_terms", "n_postings")
_KEYS = {*_COUNTS, "tokenizer", "k1", "b"}
_MOST = 2**31

Unpacked = tuple[dict[str, Any], Vocabulary, Int64, npt.NDArray[np.int32], Float32]


def packed(
    header: Mapping[str, Any], vocabulary: Vocabulary, indptr: Int64, rows: npt.NDArray[np.int32], scores: Float32
) -> Iterator[bytes]:
    """Yield the header, then the stream; the parameters are what `unpacked` returns."""
    sizes = {"n_bytes": len(vocabulary.text), "n_terms": len(vocabulary), "n_postings": len(rows)}
    yield msgpack.packb({**header, **sizes}, use_bin_type=True)
    left = bytearray()
    parts: tuple[npt.NDArray[Any], ...] = (
        np.frombuffer(vocabulary.text, dtype=np.uint8),
        np.diff(vocabulary.ends, prepend=0).astype("<u2"),
        np.diff(indptr).astype("<u4"),
        rows.astype("<u4"),
        scores.astype("<f4"),
    )
    for part in parts:
        data = part.view(np.uint8).data
        for first in range(0, len(data), BYTES):
            left += data[first : first + BYTES]
            if len(left) >= BYTES:
                yield bytes(left[:BYTES])
                del left[:BYTES]
    if left:
        yield bytes(left)


def unpacked(blocks: Sequence[bytes], place: str) -> Unpacked:
    """Return the header, the words, where the postings of each begin, their rows and their scores.

    Raises
    ------
    CorruptStore
        They are not as `packed` writes them; names the place.
    """
    try:
        header = _header(blocks[0] if blocks else b"")
        return header, *_arrays(header, b"".join(blocks[1:]))
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptStore(
            f"{place} is damaged ({error}); it can be made again from the texts, or restore the file from a backup"
        ) from error


def _header(block: bytes) -> dict[str, Any]:
    header = msgpack.unpackb(block, raw=False, strict_map_key=True)
    if not isinstance(header, dict) or set(header) != _KEYS or not isinstance(header["tokenizer"], dict):
        raise ValueError("its header is none")
    for name in _COUNTS:
        if type(header[name]) is not int or header[name] < 0:
            raise ValueError(f"its header says {name} is {header[name]!r}")
    if header["n_rows"] > _MOST or header["n_counted"] > header["n_rows"]:
        raise ValueError("its header counts more rows than there are")
    if header["n_words"] < header["n_postings"] or header["n_words"] < header["n_counted"]:
        raise ValueError("its header counts fewer words than there are")
    k1, b = header["k1"], header["b"]
    if type(k1) is not float or type(b) is not float or not (0 < k1 < math.inf and 0 <= b <= 1):
        raise ValueError(f"its header says k1 is {k1!r} and b is {b!r}")
    return header


def _arrays(header: Mapping[str, Any], stream: bytes) -> tuple[Vocabulary, Int64, npt.NDArray[np.int32], Float32]:
    n_bytes, n_terms, n_postings = header["n_bytes"], header["n_terms"], header["n_postings"]
    if len(stream) != n_bytes + 6 * n_terms + 8 * n_postings:
        raise ValueError(f"it has {len(stream)} bytes, its header says otherwise")
    lengths = np.frombuffer(stream, "<u2", n_terms, n_bytes)
    counts = np.frombuffer(stream, "<u4", n_terms, n_bytes + 2 * n_terms)
    rows = np.frombuffer(stream, "<u4", n_postings, n_bytes + 6 * n_terms).astype(np.int32)
    scores = np.frombuffer(stream, "<f4", n_postings, n_bytes + 6 * n_terms + 4 * n_postings).astype(np.float32)
    text = stream[:n_bytes]
    ends = np.cumsum(lengths, dtype=np.int64)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    if (ends[-1] if n_terms else 0) != n_bytes or np.any(lengths == 0):
        raise ValueError("its words are cut wrongly")
    if indptr[-1] != n_postings or np.any(counts > header["n_counted"]):
        raise ValueError("its postings are cut wrongly")
    _check_contents(text, ends, indptr, rows, scores, header["n_rows"])
    return Vocabulary(text, ends), indptr, rows, scores


def _check_contents(
    text: bytes, ends: Int64, indptr: Int64, rows: npt.NDArray[np.int32], scores: Float32, n_rows: int
) -> None:
    from binrag.kernels.lexical import ascends, postings_fit

    text.decode()
    if not ascends(np.frombuffer(text, np.uint8), ends):
        raise ValueError("its words are out of order")
    if not postings_fit(indptr, rows, n_rows):
        raise ValueError("a row is out of range or out of order")
    if not (np.isfinite(scores).all() and np.all(scores > 0)):
        raise ValueError("a score is no number above zero")
