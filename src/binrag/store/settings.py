"""Arguments of `Store.open` and of searches: checked here, and against what the file records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from binrag.binarizers.sign import MAX_DIM
from binrag.errors import BinarizerMismatch, DimensionMismatch, InvalidInput, UnsupportedMode
from binrag.store.space import BINARIZERS, VectorSpace
from binrag.types import KeepVectors, Mode, Similarity


@dataclass(frozen=True, slots=True)
class Settings:
    """What a store was created with, or what a caller asks for; None is: as the file says, or the default."""

    binarizer: str | None = None
    dim: int | None = None
    keep_vectors: KeepVectors | None = None
    seed: int | None = None

    def check(self) -> None:
        """Refuse values that no store can have.

        Raises
        ------
        InvalidInput
            Says what is accepted.
        """
        if self.binarizer is not None and self.binarizer not in BINARIZERS:
            raise InvalidInput(f"binarizer is {self.binarizer!r}, expected one of {', '.join(BINARIZERS)}")
        if self.keep_vectors is not None and self.keep_vectors not in get_args(KeepVectors):
            expected = ", ".join(get_args(KeepVectors))
            raise InvalidInput(f"keep_vectors is {self.keep_vectors!r}, expected one of {expected}")
        if self.dim is not None and checked_count("dim", self.dim) > MAX_DIM:
            raise InvalidInput(f"dim is {self.dim}, expected 1 to {MAX_DIM}")
        if self.seed is not None and (not isinstance(self.seed, int) or not 0 <= self.seed < 2**63):
            raise InvalidInput(f"seed is {self.seed!r}, expected an integer from 0 to 2**63 - 1")

    def record(self) -> dict[str, Any]:
        """Return the record of a new store with these settings."""
        return {
            "binarizer": self.binarizer or "auto",
            "dim": self.dim,
            "keep_vectors": self.keep_vectors or "int8",
            "seed": self.seed or 0,
        }

    def space(self, dim: int, similarity: Similarity) -> VectorSpace:
        """Make the space of the first vectors of a store with these settings."""
        return VectorSpace.create(self.binarizer or "auto", self.seed or 0, dim, similarity)

    def check_agreement(self, recorded: Settings, space: VectorSpace | None) -> None:
        """Refuse what contradicts the file.

        Raises
        ------
        BinarizerMismatch, DimensionMismatch, UnsupportedMode
            Names what was asked for and what the file has.
        """
        dim = space.dim if space else recorded.dim
        if self.dim is not None and dim is not None and self.dim != dim:
            raise DimensionMismatch(f"dim={self.dim} was asked for, the store's vectors have {dim} dimensions")
        for name in ("binarizer", "seed"):
            asked, has = getattr(self, name), getattr(recorded, name)
            if asked is not None and asked != has:
                raise BinarizerMismatch(
                    f"{name}={asked!r} was asked for, the store was made with {has!r}; leave it out, or make a new "
                    "store"
                )
        if self.keep_vectors is not None and self.keep_vectors != recorded.keep_vectors:
            raise UnsupportedMode(
                f"keep_vectors={self.keep_vectors!r} was asked for, the store was made with "
                f"{recorded.keep_vectors!r}; leave it out, or make a new store"
            )


def check_mode(mode: Any, lock_timeout: Any) -> None:
    """Refuse an unknown mode or a timeout that is no time."""
    if mode not in get_args(Mode):
        raise InvalidInput(f"mode is {mode!r}, expected one of {', '.join(get_args(Mode))}")
    if not isinstance(lock_timeout, (int, float)) or not lock_timeout >= 0:
        raise InvalidInput(f"lock_timeout is {lock_timeout!r}, expected seconds, 0 or more")


def checked_count(name: str, value: Any) -> int:
    """Return a count of at least 1 as int.

    Raises
    ------
    InvalidInput
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InvalidInput(f"{name} is {value!r}, expected an integer of at least 1")
    return int(value)


def checked_candidates(k: int, n_candidates: Any) -> int | None:
    """Return the number of candidates asked for, or None.

    Raises
    ------
    InvalidInput
        If it is fewer than k.
    """
    if n_candidates is None:
        return None
    if checked_count("n_candidates", n_candidates) < k:
        raise InvalidInput(f"n_candidates is {n_candidates}, expected at least k = {k}")
    return int(n_candidates)
