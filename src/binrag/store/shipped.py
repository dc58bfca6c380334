"""Binarizers that come with binrag, for encoders that are recognised by their canary vectors."""

from __future__ import annotations

from typing import Any

from binrag.binarizers.artefact import load_artefact, shipped_artefacts
from binrag.errors import EncoderMismatch
from binrag.protocols import Binarizer
from binrag.store.encoding import canary_vectors

SHIPPED = {384: {int(name.rpartition("-")[2]): name for name in shipped_artefacts()}}
"""Dimension, and bytes a row, to the name of an artefact."""

DEFAULT_CODE_BYTES = 96


def shipped_binarizer(encoder: dict[str, Any] | None, dim: int, code_bytes: int | None) -> Binarizer | None:
    """Return the binarizer that was trained for an encoder, or None.

    Parameters
    ----------
    encoder : dict or None
        The store's record of its encoder.
    dim : int
        Dimension of the vectors.
    code_bytes : int, optional
        Bytes a row; 96 if not given.
    """
    name = SHIPPED.get(dim, {}).get(code_bytes or DEFAULT_CODE_BYTES)
    if encoder is None or encoder["dim"] != dim or name is None:
        return None
    try:
        return load_artefact(name, dim=dim, canaries=canary_vectors(encoder))[0]
    except EncoderMismatch:
        return None
