"""An index as bytes: a header in msgpack, then one stream of arrays, cut into blocks.

The stream is, all little-endian, the widest first, so that none has to be copied to be aligned: how many words each row
holds, uint32; how many rows hold each word, uint32; those rows, uint32; how often each holds it, uint16; the length of
each word in bytes, uint16; the words in UTF-8, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from binrag.errors import CorruptStore
from binrag.lexical.postings import MOST, Postings
from binrag.lexical.vocabulary import Vocabulary

BYTES = 2**22
"""Of the stream in a block; the last has what is left."""

_SIZES = ("n_rows", "n_terms", "n_postings", "n_bytes")
_KEYS = {*_SIZES, "tokenizer", "k1", "b"}
_MOST_ROWS = 2**31

Lengths = npt.NDArray[np.uint32]


def packed(header: Mapping[str, Any], postings: Postings, lengths: Lengths) -> Iterator[bytes]:
    """Yield the header, then the stream.

    Parameters
    ----------
    header : map
        ``tokenizer``, ``k1`` and ``b``; the sizes are added.
    postings : Postings
    lengths : uint32 (n_rows,)
        How many words each row holds.
    """
    vocabulary = postings.vocabulary
    sizes = (len(lengths), len(vocabulary), len(postings), len(vocabulary.text))
    yield msgpack.packb({**header, **dict(zip(_SIZES, sizes, strict=True))}, use_bin_type=True)
    left = bytearray()
    parts: tuple[npt.NDArray[Any], ...] = (
        lengths.astype("<u4", copy=False),
        np.diff(postings.indptr).astype("<u4"),
        postings.rows.astype("<i4", copy=False),
        postings.counts.astype("<u2", copy=False),
        np.diff(vocabulary.ends, prepend=0).astype("<u2"),
        np.frombuffer(vocabulary.text, dtype=np.uint8),
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


def unpacked(blocks: Iterable[bytes], place: str) -> tuple[dict[str, Any], Postings, Lengths]:
    """Return the header, the postings, and how many words each row holds.

    Raises
    ------
    CorruptStore
        They are not as `packed` writes them; names the place.
    """
    left = iter(blocks)
    first, stream = next(left, b""), bytearray()
    for block in left:
        stream += block
    try:
        header = _header(first)
        return header, *_arrays(header, stream)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptStore(
            f"{place} is damaged ({error}); store.index_words() makes it again from the texts, or restore the file "
            "from a backup"
        ) from error


def _header(block: bytes) -> dict[str, Any]:
    header = msgpack.unpackb(block, raw=False, strict_map_key=True)
    if not isinstance(header, dict) or set(header) != _KEYS or not isinstance(header["tokenizer"], dict):
        raise ValueError("its header is none")
    for name in _SIZES:
        if type(header[name]) is not int or header[name] < 0:
            raise ValueError(f"its header says {name} is {header[name]!r}")
    if header["n_rows"] > _MOST_ROWS:
        raise ValueError("its header counts more rows than there can be")
    k1, b = header["k1"], header["b"]
    if type(k1) is not float or type(b) is not float or not (0 < k1 < math.inf and 0 <= b <= 1):
        raise ValueError(f"its header says k1 is {k1!r} and b is {b!r}")
    return header


def _arrays(header: Mapping[str, Any], stream: bytearray) -> tuple[Postings, Lengths]:
    n_rows, n_terms, n_postings, n_bytes = (header[name] for name in _SIZES)
    if len(stream) != 4 * n_rows + 6 * n_terms + 6 * n_postings + n_bytes:
        raise ValueError(f"it has {len(stream)} bytes, its header says otherwise")
    place = 0

    def taken(dtype: str, n: int) -> npt.NDArray[Any]:
        nonlocal place
        found = np.frombuffer(stream, dtype, n, place)
        place += found.nbytes
        return found.astype(found.dtype.newbyteorder("="), copy=False)

    lengths, sizes, rows = taken("<u4", n_rows), taken("<u4", n_terms), taken("<i4", n_postings)
    counts, widths = taken("<u2", n_postings), taken("<u2", n_terms)
    text = bytes(memoryview(stream)[place:])
    ends = np.cumsum(widths, dtype=np.int64)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    if (ends[-1] if n_terms else 0) != n_bytes or np.any(widths == 0):
        raise ValueError("its words are cut wrongly")
    if indptr[-1] != n_postings or np.any(sizes == 0):
        raise ValueError("its postings are cut wrongly")
    postings = Postings(Vocabulary(text, ends), indptr, rows, counts)
    _check_contents(postings, lengths)
    return postings, lengths


def _check_contents(postings: Postings, lengths: Lengths) -> None:
    from binrag.kernels.lexical import ascends, postings_fit

    text = postings.vocabulary.text
    text.decode()
    if not ascends(np.frombuffer(text, np.uint8), postings.vocabulary.ends):
        raise ValueError("its words are out of order")
    left = lengths.astype(np.int64)
    if not postings_fit(postings.indptr, postings.rows, postings.counts, left):
        raise ValueError("a row is out of range or out of order, or a count is 0")
    longer = np.flatnonzero(left)  # than their counts say, which may be where a count is the most that there is
    if len(longer) and not (np.all(left >= 0) and np.isin(longer, postings.rows[postings.counts == MOST]).all()):
        raise ValueError("a row holds another number of words than its counts say")
