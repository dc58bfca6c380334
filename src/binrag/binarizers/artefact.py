"""A binarizer in one file: what it is, whose vectors it codes, how it came about, and a checksum over all of it.

A file is 8 bytes of magic, the version (uint32), the xxh3-64 of what follows (uint64), both little-endian, and one
msgpack record. It is never unpickled. Training's checkpoints are sealed in the same way.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import xxhash

from binrag.binarizers.codes import as_bytes, from_bytes
from binrag.errors import BinarizerMismatch, BinragError, EncoderMismatch, FormatVersionError, InvalidInput
from binrag.protocols import Binarizer
from binrag.registry import binarizer_from_record, record_of
from binrag.types import Float32, Float64

SUFFIX = ".binarizer"
VERSION = 0
ARTEFACT, CHECKPOINT = b"binragAR", b"binragCK"

_PACKAGED = Path(__file__).with_name("artefacts")
_SIZES = {"all-minilm-l6-v2": (48, 96, 144, 192)}

CANARY_SIMILARITY = 0.999
"""Cosine of a canary with the recorded one from which on the encoder counts as the same."""


def versions(*distributions: str) -> dict[str, str]:
    """Return the versions of Python and of some distributions, for a provenance."""
    from importlib import metadata

    found = {"python": sys.version.split()[0]}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # imported from its sources
            found[name] = "not installed"
    return found


def shipped_artefacts() -> list[str]:
    """Return the names of the artefacts that come with binrag; each file has codes of several sizes."""
    return [f"{name}-{code_bytes}" for name, sizes in _SIZES.items() for code_bytes in sizes]


def names_artefact(name: str) -> bool:
    """Whether a name is the path of an artefact, which has a dot or a folder, or the name of one of binrag's."""
    return _is_path(Path(name)) or name in shipped_artefacts()


def _is_path(path: Path) -> bool:
    return bool(path.suffix) or len(path.parts) > 1


def write_sealed(path: Path, magic: bytes, record: dict[str, Any]) -> None:
    """Write a record, replacing the file at once, so that no reader sees half of it."""
    data = msgpack.packb(record, use_bin_type=True)
    head = magic + VERSION.to_bytes(4, "little") + xxhash.xxh3_64_intdigest(data).to_bytes(8, "little")
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(head + data)
    partial.replace(path)


def read_sealed(path: Path, magic: bytes, kind: str) -> dict[str, Any]:
    """Read a record that `write_sealed` wrote.

    Raises
    ------
    InvalidInput
        If there is no such file, it is something else, or it is truncated or altered; `kind` says what was expected.
    FormatVersionError
        If it is of another version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read as {kind}: {error.strerror}") from error
    if data[:8] != magic:
        raise InvalidInput(f"{path} is not {kind} of binrag")
    version = int.from_bytes(data[8:12], "little")
    if len(data) >= 20 and version != VERSION:
        raise FormatVersionError(
            f"{path} is {kind} of version {version}, this version of binrag reads {VERSION}; make it anew"
        )
    if len(data) < 20 or xxhash.xxh3_64_intdigest(data[20:]) != int.from_bytes(data[12:20], "little"):
        raise InvalidInput(f"{path} was truncated or altered: its checksum is wrong; get or make it anew")
    record = msgpack.unpackb(data[20:], strict_map_key=True)
    assert isinstance(record, dict)  # sealed by write_sealed, which packs nothing else
    return record


def save_artefact(
    path: str | Path,
    binarizer: Binarizer,
    provenance: dict[str, Any],
    *,
    encoder_id: str | None = None,
    canaries: Float32 | None = None,
) -> None:
    """Write a binarizer to a file, over what may be there.

    Parameters
    ----------
    path : str or Path
        The file.
    binarizer : Binarizer
        Any registered one.
    provenance : dict
        msgpack types: how it came about.
    encoder_id : str, optional
        Whose vectors it codes.
    canaries : float32 (n, dim), optional
        That encoder's vectors of the texts by which stores recognise an encoder.

    Raises
    ------
    InvalidInput
        If the canaries have another dimension, or the provenance holds something that msgpack does not.
    """
    if canaries is not None and np.shape(canaries)[1:] != (binarizer.dim,):
        raise InvalidInput(f"the canaries have shape {np.shape(canaries)}, expected (n, {binarizer.dim})")
    record = {
        **record_of(binarizer),
        "dim": binarizer.dim,
        "encoder_id": encoder_id,
        "canaries": None if canaries is None else as_bytes(canaries, "<f2"),
        "provenance": provenance,
    }
    try:
        write_sealed(Path(path), ARTEFACT, record)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the provenance cannot be written: {error}; use msgpack types") from error


def load_artefact(
    path: str | Path, *, encoder_id: str | None = None, dim: int | None = None, canaries: Float32 | None = None
) -> tuple[Binarizer, dict[str, Any]]:
    """Read a binarizer from a file.

    Parameters
    ----------
    path : str or Path
        The file; a name without a folder and a dot is that of an artefact that comes with binrag.
    encoder_id : str, optional
        Whose vectors are to be coded; checked where the artefact names an encoder and has no canaries.
    dim : int, optional
        The dimension of the vectors to be coded.
    canaries : float32 (n, dim), optional
        The encoder's vectors of the canary texts; they decide, not the encoder's name.

    Returns
    -------
    binarizer : Binarizer
    provenance : dict
        What `save_artefact` was given, and ``encoder_id``.

    Raises
    ------
    InvalidInput
        If there is no such file, it is no artefact, or it was truncated or altered.
    FormatVersionError
        If it was written by another version of binrag.
    EncoderMismatch, BinarizerMismatch
        If it is for another encoder, or another dimension.
    """
    file, code_bytes = _found(path)
    record = read_sealed(file, ARTEFACT, "a binarizer artefact")
    if dim not in (None, record["dim"]):
        raise BinarizerMismatch(f"{path} codes vectors of {record['dim']} dimensions, these have {dim}; train another")
    _check_encoder(record, str(path), encoder_id, canaries)
    try:
        binarizer = binarizer_from_record(record)
        if code_bytes is not None:
            binarizer = binarizer.prefix(code_bytes)  # type: ignore[attr-defined]  # those that come with binrag have stages
    except BinragError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path} holds a {record['component_id']!r} binarizer that does not fit: {error}") from error
    return binarizer, {**record["provenance"], "encoder_id": record["encoder_id"]}


def _found(path: str | Path) -> tuple[Path, int | None]:
    """Return the file, and which of its sizes is named."""
    path = Path(path)
    if _is_path(path):
        return path, None
    if str(path) not in shipped_artefacts():
        names = ", ".join(shipped_artefacts()) or "none"
        raise InvalidInput(f"no artefact {str(path)!r} comes with binrag; there are: {names}; a file's path has a dot")
    name, _, code_bytes = str(path).rpartition("-")
    return _PACKAGED / f"{name}{SUFFIX}", int(code_bytes)


def _check_encoder(record: dict[str, Any], path: str, encoder_id: str | None, canaries: Float32 | None) -> None:
    if record["canaries"] is not None and canaries is not None:
        known = from_bytes(record["canaries"], (-1, record["dim"]), "<f2")
        same = known.shape == canaries.shape and cosines(known, canaries).min() > CANARY_SIMILARITY
    else:
        same = None in (record["encoder_id"], encoder_id) or record["encoder_id"] == encoder_id
    if not same:
        raise EncoderMismatch(
            f"{path} is for vectors of {record['encoder_id']!r}, these are of {encoder_id!r}; train one on your vectors"
        )


def cosines(a: Float32 | Float64, b: Float32 | Float64) -> Float32 | Float64:
    """Return the cosine of each row of `a` with the same row of `b`, float (n,); 0 where one of them is zero."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1))
