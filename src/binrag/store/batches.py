"""From what the user gave to checked batches, and a place to keep them while they are encoded."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import msgpack
import numpy as np

from binrag.errors import InvalidInput, StorageFull
from binrag.storage.records import pack_metadata
from binrag.types import BLOCK, Float32, Similarity

if TYPE_CHECKING:  # few stores are of token vectors
    from binrag.store.tokens import TokenSpace

_SPOOL_BYTES = 64 * 2**20
_AT_ONCE = 64

VECTORS_AT_ONCE = BLOCK
"""Documents of a batch whose vectors are given."""

CALLS_PER_WINDOW = 8
"""Calls of the encoder whose texts are read together, for each to be of texts of about one length."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents of one `add` call.

    Attributes
    ----------
    ids : list of str
        Given or generated.
    texts : list of str or None
        ``None`` where only a vector was given.
    metadata : list of bytes or None
        Packed.
    vectors : float32 (n, dim), or None before encoding
    n_truncated : int
        Texts longer than the encoder reads.
    is_encoded : bool
        Whether the encoder made the vectors.
    is_held : bool
        Whether the caller holds all that was given in memory.
    tokens : list of bytes, or None
        Codes of the documents' tokens, in a store of token vectors; `vectors` are what became of the tokens.
    """

    ids: list[str]
    texts: list[str | None]
    metadata: list[bytes | None]
    vectors: Any = None
    n_truncated: int = 0
    is_encoded: bool = False
    is_held: bool = False
    tokens: list[bytes] | None = None

    def with_vectors(self, vectors: Float32) -> Batch:
        """Return the batch with the vectors that were given, checked; still held if they are the same ones."""
        return Batch(self.ids, self.texts, self.metadata, vectors, is_held=self.is_held and vectors is self.vectors)

    def encoded(self, vectors: Float32, n_truncated: int, tokens: list[bytes] | None = None) -> Batch:
        """Return the batch with the vectors that the encoder made, and codes of tokens if it made these."""
        return Batch(self.ids, self.texts, self.metadata, vectors, n_truncated, True, tokens=tokens)

    def name_of_vector(self, i: int) -> str:
        """Return what to call vector i in a message."""
        return f"the vector of {self.ids[min(i, len(self.ids) - 1)]!r}"

    def latest(self) -> Batch:
        """Return the batch with the last document of every id."""
        last = {id_: i for i, id_ in enumerate(self.ids)}
        if len(last) == len(self.ids):
            return self
        keep = sorted(last.values())
        return Batch(
            [self.ids[i] for i in keep],
            [self.texts[i] for i in keep],
            [self.metadata[i] for i in keep],
            self.vectors[keep],
            self.n_truncated,
            tokens=None if self.tokens is None else [self.tokens[i] for i in keep],
        )


def length_of(*inputs: Any) -> int | None:
    """Return the common length of the inputs that have one, or None.

    Raises
    ------
    InvalidInput
        If two lengths differ.
    """
    names = ("texts", "ids", "metadata", "vectors")
    lengths = {name: len(v) for name, v in zip(names, inputs, strict=True) if _has_length(v)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{n} {name}" for name, n in lengths.items())
        raise InvalidInput(f"got {shown}; expected as many of each; nothing was stored")
    return next(iter(lengths.values()), None)


def _has_length(value: Any) -> bool:
    return isinstance(value, Sized) and not (isinstance(value, np.ndarray) and value.ndim == 0)


def batches(
    texts: Iterable[str | None] | None,
    ids: Iterable[str] | None,
    metadata: Iterable[dict[str, Any] | None] | None,
    vectors: Iterable[Any] | None,
    batch_size: int,
    commit_every: int | None,
) -> Iterator[Batch]:
    """Cut the inputs into checked batches, reading no further than needed.

    They hold up to `CALLS_PER_WINDOW` times `batch_size` documents, or `VECTORS_AT_ONCE` where vectors are given, and
    end at each multiple of `commit_every`.

    Raises
    ------
    InvalidInput
        A text, an id, or inputs of different lengths.
    InvalidMetadata
    """
    named = {"texts": texts, "ids": ids, "metadata": metadata, "vectors": vectors}
    at_once = CALLS_PER_WINDOW * batch_size if vectors is None else VECTORS_AT_ONCE
    takers = [_taker(name, given) for name, given in named.items()]
    is_held = all(given is None or _has_length(given) for given in named.values())
    start = 0
    while True:
        size = at_once if commit_every is None else min(at_once, commit_every - start % commit_every)
        columns = [take(start, size) for take in takers]
        n = max(len(column) for column in columns if column is not None)
        if any(column is not None and len(column) != n for column in columns):
            raise InvalidInput(
                f"texts, ids, metadata and vectors are not of one length: one ended before document {start + n}; "
                + ("nothing of this call was stored" if commit_every is None else "what was committed before stays")
            )
        if n == 0:
            return
        yield _checked(columns, start, n, is_held)
        start += n


def _taker(name: str, given: Iterable[Any] | None) -> Callable[[int, int], Any]:
    """Return what takes the next `size` values, which start at `start`; None stays None."""
    if given is None:
        return lambda start, size: None
    is_single = isinstance(given, (str, bytes, dict)) or (isinstance(given, np.ndarray) and given.ndim == 0)
    if is_single or not isinstance(given, Iterable):
        raise InvalidInput(f"{name} is a {type(given).__name__}, expected a list or another iterable")
    if isinstance(given, np.ndarray):
        return lambda start, size: given[start : start + size]
    values = iter(given)
    return lambda start, size: list(islice(values, size))


def _checked(columns: list[Any], start: int, n: int, is_held: bool) -> Batch:
    texts, ids, metadata, vectors = columns
    names = [str(uuid.uuid4()) for _ in range(n)] if ids is None else ids
    _check_texts(names, "ids", start)
    if not all(names):
        raise InvalidInput(f"ids[{start + list(names).index('')}] is empty; expected a non-empty string")
    if texts is not None:
        _check_texts(texts, "texts", start, may_be_none=vectors is not None)
    if vectors is None:
        for i, text in enumerate(texts):
            if not text.strip():
                raise InvalidInput(
                    f"texts[{start + i}] (id {names[i]!r}) is empty; an encoder needs text: leave it out or give "
                    "vectors"
                )
    packed: list[bytes | None] = [None] * n
    if metadata is not None:
        packed = [pack_metadata(m, repr(name)) for m, name in zip(metadata, names, strict=True)]
    return Batch(list(names), [None] * n if texts is None else list(texts), packed, vectors, is_held=is_held)


def _check_texts(values: Sequence[Any], name: str, start: int = 0, may_be_none: bool = False) -> None:
    for first in range(0, len(values), _AT_ONCE):
        some = values[first : first + _AT_ONCE]
        try:
            "".join(some).encode()
        except (TypeError, UnicodeEncodeError):  # one of them is not valid, or is None
            for i, value in enumerate(some, start + first):
                if value is not None or not may_be_none:
                    _check_text(value, f"{name}[{i}]")


def _check_text(value: Any, place: str) -> None:
    if not isinstance(value, str):
        raise InvalidInput(f"{place} is a {type(value).__name__}, expected str")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{place} is not valid Unicode text: {error}") from None


def checked_ids(ids: Any) -> list[str]:
    """Return ids as a list of strings.

    Raises
    ------
    InvalidInput
        If it is one string, or holds anything but strings.
    """
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise InvalidInput(f"ids is {ids!r}, expected a list of ids such as [{ids!r}]")
    return checked_texts("ids", ids)


def checked_texts(name: str, values: Iterable[Any]) -> list[str]:
    """Return values as a list of strings.

    Raises
    ------
    InvalidInput
        If one is not a string of valid Unicode.
    """
    listed = list(values)
    _check_texts(listed, name)
    return listed


def write_temporary(file: IO[bytes], data: bytes) -> None:
    """Write to a temporary file.

    Raises
    ------
    StorageFull
        If there is no room for it.
    """
    try:
        file.write(data)
        file.flush()
    except OSError as error:
        raise StorageFull(
            f"no room for a temporary file in {tempfile.gettempdir()}: {error.strerror}; nothing of this call was "
            "stored; make room, add fewer documents a commit with commit_every, or set TMPDIR to another folder"
        ) from error


class Spool:
    """Batches with their vectors: as they are where the caller holds them, else up to 64 MiB, and in a file beyond."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
        self._held: list[Batch | None] = []  # None is the next one of the file
        self.n_documents = 0
        self.is_encoded = False
        self.similarity: Similarity = "cosine"
        """How the vectors are compared, should they be the store's first."""
        self.tokens: TokenSpace | None = None
        """The space of the token vectors that these were."""

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory or the temporary file back."""
        self._file.close()

    def append(self, batch: Batch) -> None:
        """Keep a batch."""
        self.n_documents += len(batch.ids)
        self.is_encoded |= batch.is_encoded
        self._held.append(batch if batch.is_held else None)
        if batch.is_held:
            return
        vectors: Float32 = batch.vectors
        fields = (
            batch.ids,
            batch.texts,
            batch.metadata,
            vectors.shape[1],
            vectors.tobytes(),
            batch.n_truncated,
            batch.tokens,
        )
        data = msgpack.packb(fields, use_bin_type=True)
        write_temporary(self._file, len(data).to_bytes(8, "little") + data)

    def __iter__(self) -> Iterator[Batch]:
        self._file.seek(0)
        for held in self._held:
            if held is not None:
                yield held
                continue
            data = self._file.read(int.from_bytes(self._file.read(8), "little"))
            ids, texts, metadata, dim, vectors, n_truncated, tokens = msgpack.unpackb(data, raw=False)
            matrix = np.frombuffer(vectors, dtype=np.float32).reshape(-1, dim)
            yield Batch(ids, texts, metadata, matrix, n_truncated, tokens=tokens)
