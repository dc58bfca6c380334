"""The error tree: every error is a `BinragError` and also the standard-library error it resembles.

A message says what was got, what was expected and what to do.
"""

from __future__ import annotations


class BinragError(Exception):
    """Anything that binrag raises on purpose."""


class NotAStore(BinragError, ValueError):
    """The path holds something that is not a binrag store."""


class StoreNotFound(BinragError, FileNotFoundError):
    """No file at the path, and the mode does not create one."""


class StoreExists(BinragError, FileExistsError):
    """A file is already at the path, and the call would have to replace it."""


class StoreClosed(BinragError, ValueError):
    """The store was closed, or its handle is not valid in this process."""


class StoreLocked(BinragError, TimeoutError):
    """Another writer holds the store longer than ``lock_timeout``."""


class ReadOnlyStore(BinragError, PermissionError):
    """A write on a store that was opened for reading, or that the system does not let us write."""


class StorageFull(BinragError, OSError):
    """The disk, or the file's own limit, is full; nothing of the call was stored."""


class StorageFailed(BinragError, OSError):
    """The system could not read, write or sync the file; nothing that a call returned from before is lost."""


class CorruptStore(BinragError, ValueError):
    """A checksum or a length in the file is wrong; the message names the place."""


class FormatVersionError(BinragError, ValueError):
    """The file was written in a format that this version does not read."""


class DimensionMismatch(BinragError, ValueError):
    """A vector's dimension is not the store's."""


class EncoderMismatch(BinragError, ValueError):
    """The encoder at hand is not the one whose vectors the store holds."""


class BinarizerMismatch(BinragError, ValueError):
    """A binarizer setting contradicts the one recorded in the file."""


class InvalidVector(BinragError, ValueError):
    """A vector that cannot be stored or searched for: NaN, infinity, zero, wrong shape."""


class InvalidInput(BinragError, ValueError):
    """An argument outside what the call accepts."""


class InvalidMetadata(BinragError, ValueError):
    """Metadata that cannot be stored; the message names the key's path."""


class InvalidFilter(BinragError, ValueError):
    """A filter that has no meaning; the message names the place, what was got and what is allowed."""


class UnsupportedMode(BinragError, NotImplementedError):
    """A combination of settings that has no meaning or is not supported."""


class MissingDependency(BinragError, ImportError):
    """An optional package is needed; the message names the extra that brings it."""


class TruncatedTextWarning(UserWarning):
    """Texts longer than the encoder reads: what comes after its limit has no influence on the vector."""


class AutoFitWarning(UserWarning):
    """What a store of ``binarizer="auto"`` could not fit by itself, or only with more bytes; the message says why.

    It comes after the documents were committed. Where a filter makes it an error, it is logged instead: their `add`
    does not fail.
    """


class TrainingError(BinragError, RuntimeError):
    """A binarizer cannot be fitted or trained: too few rows, rows that are all the same, or a loss that diverged."""


class VectorsUnavailable(BinragError, RuntimeError):
    """Vectors are needed, and the store keeps none, has no texts to encode again or no encoder to do it with."""
