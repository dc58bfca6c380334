"""How a store holds documents of many vectors: the settings that it records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from binrag.encoders.fde import FdeConfig
from binrag.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class LateInteraction:
    """How a store holds the token vectors of its documents, and compares them by MaxSim.

    A document's tokens become one vector, whose code is scanned, and codes of their own, which order the candidates of
    the scan. See ``docs/multi-vector.md``.

    Parameters
    ----------
    fde : FdeConfig
        How token vectors become one vector, of 4,096 dimensions at most.
    fde_bits : int
        Bits a dimension of that vector's code, 1 or 2.
    token_bits : int
        Bits a dimension of a token's code, 1 or 2.
    group_tokens : float, optional
        From which cosine on tokens of a query are taken for one, in (0, 1]: fewer comparisons for long queries. None:
        every token is compared.

    Raises
    ------
    InvalidInput
        A number out of its range.
    """

    fde: FdeConfig = field(default_factory=FdeConfig)
    fde_bits: int = 1
    token_bits: int = 2
    group_tokens: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.fde, FdeConfig):
            raise InvalidInput(f"fde is a {type(self.fde).__name__}, expected an FdeConfig")
        for name in ("fde_bits", "token_bits"):
            value = getattr(self, name)
            if type(value) is not int or value not in (1, 2):
                raise InvalidInput(f"{name} is {value!r}, expected 1 or 2")
        threshold = self.group_tokens
        if threshold is not None and not (type(threshold) in (int, float) and 0 < threshold <= 1):
            raise InvalidInput(f"group_tokens is {threshold!r}, expected a number above 0 and at most 1, or None")

    def record(self) -> dict[str, Any]:
        """Return it as msgpack types."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> LateInteraction:
        """Return what `record` is of.

        Raises
        ------
        InvalidInput, TypeError
            If it is of none.
        """
        if not isinstance(record, Mapping) or set(record) != {own.name for own in fields(cls)}:
            raise InvalidInput(f"{record!r:.200} is no record of late interaction")
        return cls(**{**record, "fde": FdeConfig(**record["fde"])})
