"""Component id ↔ class: what a file needs to bring its binarizer back.

A component id is a promise about bytes: two classes may share one only if each decodes the other's codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar

from binrag.errors import FormatVersionError, InvalidInput
from binrag.protocols import Binarizer

_BINARIZERS: dict[str, type[Binarizer]] = {}
_B = TypeVar("_B", bound=type[Binarizer])


def register(binarizer: _B) -> _B:
    """Make a binarizer class known under its ``component_id``."""
    _BINARIZERS[binarizer.component_id] = binarizer
    return binarizer


def _load() -> None:
    """Import binrag's own binarizers, which register themselves; the names of few are known before one is used."""
    import_module("binrag.binarizers.registered")


def binarizer_from_record(record: Mapping[str, Any]) -> Binarizer:
    """Rebuild a binarizer from ``{"component_id": …, "config": …}``.

    Raises
    ------
    FormatVersionError
        If no class with this component id is known, or its record lacks something: another version wrote the file.
    """
    component_id = record["component_id"]
    if component_id not in _BINARIZERS:
        _load()
    if component_id not in _BINARIZERS:
        known = ", ".join(component_ids())
        raise FormatVersionError(
            f"the store's binarizer is {component_id!r}, this version of binrag knows {known}; update binrag"
        )
    try:
        return _BINARIZERS[component_id].from_config(record["config"])
    except KeyError as error:
        raise FormatVersionError(
            f"the record of the {component_id!r} binarizer has no {error}: another version of binrag wrote it; rebuild "
            "the store from its documents, or train the binarizer again"
        ) from error


def component_ids() -> list[str]:
    """Return all component ids, in order."""
    _load()
    return sorted(_BINARIZERS)


def check_registered(binarizer: Binarizer) -> None:
    """Refuse an object whose class is not the one that files would bring back.

    Raises
    ------
    InvalidInput
        If its class is not registered under its component id.
    """
    if _BINARIZERS.get(getattr(binarizer, "component_id", "")) is not type(binarizer):
        raise InvalidInput(
            f"the binarizer is a {type(binarizer).__name__}, expected a name, or an object of a class registered under "
            "its component_id with binrag.registry.register"
        )


def record_of(binarizer: Binarizer) -> dict[str, Any]:
    """Return what `binarizer_from_record` rebuilds the binarizer from."""
    return {"component_id": binarizer.component_id, "config": binarizer.get_config()}
