"""Arguments of `Store.open` and of searches: checked here, and against what the file records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from binrag.binarizers.sign import MAX_DIM
from binrag.errors import BinarizerMismatch, CorruptStore, DimensionMismatch, InvalidInput, UnsupportedMode
from binrag.protocols import Binarizer
from binrag.registry import check_registered, component_ids, record_of
from binrag.storage import Reading, Writing
from binrag.storage.records import pack
from binrag.store.shipped import shipped_binarizer
from binrag.store.space import BINARIZERS, VectorSpace, recorded_binarizer
from binrag.types import Durability, KeepVectors, Mode, Similarity

if TYPE_CHECKING:  # few stores are of token vectors
    from binrag.encoders.late_interaction import LateInteraction
    from binrag.store.tokens import TokenSpace


@dataclass(frozen=True, slots=True)
class Settings:
    """What a store was created with, or what a caller asks for; None is: as the file says, or the default."""

    binarizer: str | None = None
    dim: int | None = None
    keep_vectors: KeepVectors | None = None
    seed: int | None = None
    code_bytes: int | None = None
    auto_fit: bool | None = None
    late_interaction: LateInteraction | None = None
    """How token vectors are held; None in a store of one vector a document."""

    @classmethod
    def read(cls, reading: Reading) -> Settings:
        """Return what the file records.

        Raises
        ------
        CorruptStore
            If no store has such settings.
        """
        record = reading.require("settings")
        try:
            settings = cls.from_record(record)
            replace(settings, binarizer=None).check(is_new=False)  # a name unknown here may be known to a later version
        except (TypeError, InvalidInput) as error:
            raise CorruptStore(f"meta record 'settings' cannot be understood: {error}") from error
        return settings

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Settings:
        """Return what `record` is of; `TypeError` or `InvalidInput` if it is of none."""
        config = record.get("late_interaction")
        if config is None:
            return cls(**record)
        from binrag.encoders.late_interaction import LateInteraction

        return cls(**{**record, "late_interaction": LateInteraction.from_record(config)})

    def check(self, is_new: bool) -> None:
        """Refuse values that no store can have, or no new one.

        Raises
        ------
        InvalidInput
            Says what is accepted.
        """
        names = {*BINARIZERS, *(() if is_new else component_ids())}
        if self.binarizer is not None and self.binarizer not in names:
            raise InvalidInput(
                f"binarizer is {self.binarizer!r}, expected one of {', '.join(sorted(names))}, or a fitted binarizer"
            )
        if self.keep_vectors is not None and self.keep_vectors not in get_args(KeepVectors):
            expected = ", ".join(get_args(KeepVectors))
            raise InvalidInput(f"keep_vectors is {self.keep_vectors!r}, expected one of {expected}")
        if self.dim is not None and checked_count("dim", self.dim) > MAX_DIM:
            raise InvalidInput(f"dim is {self.dim}, expected 1 to {MAX_DIM}")
        if self.code_bytes is not None:
            checked_count("code_bytes", self.code_bytes)
        if self.seed is not None and (not isinstance(self.seed, int) or not 0 <= self.seed < 2**63):
            raise InvalidInput(f"seed is {self.seed!r}, expected an integer from 0 to 2**63 - 1")
        self.check_auto_fit(is_new)
        if is_new and self.late_interaction is not None:
            self.check_late_interaction()
        elif is_new and self.dim is not None:
            self.made(self.dim)

    def check_late_interaction(self) -> None:
        """Refuse what a store of token vectors has no use for.

        Raises
        ------
        InvalidInput
            Says what to leave out.
        """
        no_use: dict[str, tuple[Any, ...]] = {
            "binarizer": (None, "auto"),
            "code_bytes": (None,),
            "keep_vectors": (None, "none"),
            "seed": (None,),
            "auto_fit": (None, False),
        }
        for name, accepted in no_use.items():
            value = getattr(self, name)
            if value not in accepted:
                raise InvalidInput(
                    f"{name}={value!r} is for stores of one vector a document, and this one is of token vectors: leave "
                    "it out; LateInteraction says how these are coded, from which seed"
                )

    def check_auto_fit(self, is_new: bool) -> None:
        """Refuse an `auto_fit` that is no bool, or of a new store whose codes something else fixes."""
        if self.auto_fit is not None and not isinstance(self.auto_fit, bool):
            raise InvalidInput(f"auto_fit is {self.auto_fit!r}, expected True or False")
        if is_new and self.auto_fit and not self.fits_itself:
            given = f"code_bytes={self.code_bytes}" if self.code_bytes else f"binarizer={self.binarizer!r}"
            raise InvalidInput(f"{given} fixes the codes, auto_fit=True changes them; leave one of them out")

    @property
    def fits_itself(self) -> bool:
        """Whether the store fits codes to its own vectors when it has enough: nothing that was asked for fixes them."""
        return self.binarizer in (None, "auto") and self.code_bytes is None and self.auto_fit is not False

    @property
    def keep(self) -> KeepVectors:
        """How vectors are kept on disk."""
        return self.keep_vectors or "int8"

    def record(self) -> dict[str, Any]:
        """Return the record of a new store with these settings."""
        if self.late_interaction is not None:
            from binrag.binarizers.row_levels import RowLevelsBinarizer

            of_tokens = {"binarizer": RowLevelsBinarizer.component_id, "keep_vectors": "none", "auto_fit": False}
            config = self.late_interaction.record()
            return {"dim": self.dim, "seed": 0, "code_bytes": None, **of_tokens, "late_interaction": config}
        return {
            "binarizer": self.binarizer or "auto",
            "dim": self.dim,
            "keep_vectors": self.keep,
            "seed": self.seed or 0,
            "code_bytes": self.code_bytes,
            "auto_fit": self.fits_itself,
        }

    def made(self, dim: int) -> Binarizer:
        """Make the binarizer that is named.

        Raises
        ------
        InvalidInput
            If there is nothing to make it from, or its codes do not have the bytes asked for.
        """
        name = self.binarizer or "auto"
        if name not in BINARIZERS:
            raise InvalidInput(f"a {name!r} binarizer has to be fitted; recode the store with a fitted one")
        binarizer = BINARIZERS[name](dim, self.seed or 0)
        self.check_code_bytes(binarizer)
        return binarizer

    def check_code_bytes(self, binarizer: Binarizer) -> None:
        """Refuse a binarizer whose codes do not have the bytes asked for."""
        if self.code_bytes not in (None, binarizer.code_bytes):
            raise InvalidInput(
                f"code_bytes={self.code_bytes} was asked for, codes of {binarizer.component_id!r} in {binarizer.dim} "
                f"dimensions take {binarizer.code_bytes} bytes; leave it out, or choose another binarizer"
            )

    def check_agreement(self, reading: Reading, component: dict[str, Any] | None) -> Settings:
        """Return what the file records, and refuse what contradicts it.

        Parameters
        ----------
        reading : Reading
            The file.
        component : dict or None
            Record of the binarizer that was given as an object.

        Raises
        ------
        BinarizerMismatch, DimensionMismatch, UnsupportedMode
            Names what was asked for and what the file has.
        """
        recorded, space = Settings.read(reading), VectorSpace.read(reading)
        dim = space.vector_dim if space else recorded.dim
        if space is not None and recorded.late_interaction != (space.tokens and space.tokens.config):
            raise CorruptStore("meta records 'settings' and 'space' say otherwise how token vectors are held")
        if self.late_interaction not in (None, recorded.late_interaction):
            has = recorded.late_interaction or "one vector a document"
            raise UnsupportedMode(
                f"late_interaction={self.late_interaction!r} was asked for, the store was made with {has!r}; leave it "
                "out, or make a new store"
            )
        if self.dim is not None and dim is not None and self.dim != dim:
            raise DimensionMismatch(f"dim={self.dim} was asked for, the store's vectors have {dim} dimensions")
        for name in ("binarizer", "seed", "auto_fit"):
            asked, has = getattr(self, name), getattr(recorded, name)
            if asked is not None and asked != has:
                raise BinarizerMismatch(
                    f"{name}={asked!r} was asked for, the store's is {has!r}; leave it out, recode the store, or make "
                    "a new one"
                )
        if component is not None and pack(component) != pack(reading.get("binarizer")):
            raise BinarizerMismatch(
                f"the store's codes are of another {self.binarizer!r} binarizer than the one given; leave it out, or "
                "recode the store"
            )
        code_bytes = space.binarizer.code_bytes if space else recorded.code_bytes
        if None not in (self.code_bytes, code_bytes) and self.code_bytes != code_bytes:
            raise BinarizerMismatch(
                f"code_bytes={self.code_bytes} was asked for, the store's codes take {code_bytes} bytes a row; leave "
                "it out, or recode the store"
            )
        if self.keep_vectors is not None and self.keep_vectors != recorded.keep_vectors:
            raise UnsupportedMode(
                f"keep_vectors={self.keep_vectors!r} was asked for, the store was made with "
                f"{recorded.keep_vectors!r}; leave it out, or make a new store"
            )
        return recorded


def settings_with(binarizer: Any, settings: Settings, is_new: bool) -> tuple[Settings, dict[str, Any]]:
    """Check the settings asked for, `binarizer` (a name or an object) among them.

    Returns
    -------
    Settings
    dict
        The records of a new store.

    Raises
    ------
    InvalidInput, DimensionMismatch
    """
    if binarizer is None or isinstance(binarizer, str):
        settings = replace(settings, binarizer=binarizer)
        settings.check(is_new)
        return settings, {"settings": settings.record()}
    check_registered(binarizer)
    settings.check(is_new=False)
    if settings.late_interaction is not None:
        replace(settings, binarizer=binarizer.component_id).check_late_interaction()
    settings.check_code_bytes(binarizer)
    check_dim(binarizer, settings.dim)
    settings = replace(settings, binarizer=binarizer.component_id, dim=binarizer.dim)
    settings.check_auto_fit(is_new)
    return settings, {"settings": settings.record(), "binarizer": record_of(binarizer)}


def check_dim(binarizer: Binarizer, dim: int | None) -> None:
    """Raise `DimensionMismatch` if a binarizer is for vectors of another dimension."""
    if dim not in (None, binarizer.dim):
        raise DimensionMismatch(
            f"the binarizer {binarizer.component_id!r} codes {binarizer.dim} dimensions, the vectors have {dim}"
        )


def first_space(writing: Writing, dim: int, similarity: Similarity, tokens: TokenSpace | None) -> VectorSpace:
    """Make and record the space of a store's first vectors, as the file's settings say."""
    if tokens is not None:
        space = VectorSpace.of_tokens(tokens, writing.generation)
        space.write(writing)
        return space
    record, settings = writing.get("binarizer"), Settings.read(writing)
    if record:
        binarizer = recorded_binarizer(record)
    else:
        encoder = writing.get("encoder") if settings.binarizer == "auto" else None
        binarizer = shipped_binarizer(encoder, dim, settings.code_bytes) or settings.made(dim)
    check_dim(binarizer, dim)
    space = VectorSpace(dim, similarity, binarizer, writing.generation)
    space.write(writing)
    return space


def check_handle(mode: Any, lock_timeout: Any, durability: Any) -> None:
    """Refuse an unknown mode or durability, or a timeout that is no time."""
    if mode not in get_args(Mode):
        raise InvalidInput(f"mode is {mode!r}, expected one of {', '.join(get_args(Mode))}")
    if durability not in get_args(Durability):
        raise InvalidInput(f"durability is {durability!r}, expected one of {', '.join(get_args(Durability))}")
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
