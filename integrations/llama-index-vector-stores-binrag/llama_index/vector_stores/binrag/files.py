"""The file of a vector store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from binrag import Store, UnsupportedMode


def holds_tokens(store: Store) -> bool:
    """Whether a store holds a vector for each token, which its own encoder makes, and not one a node."""
    return store.info().late_interaction is not None


def opened(path: str | os.PathLike[str], handle: Mapping[str, Any], file: Mapping[str, Any]) -> Store:
    """Open a store; one of token vectors with the encoder that it names.

    Parameters
    ----------
    path : str or path
        The file.
    handle, file : mapping
        Arguments of `Store.open`: those of every handle, and those that a new file keeps.
    """
    store = Store.open(path, **handle, **file)
    if holds_tokens(store):
        store.close()
        store = Store.open(path, encoder="recorded", **handle)
    return store


def check_local(fs: Any) -> None:
    """Raise `UnsupportedMode` if a file system is given and is not the local one."""
    if fs is not None and "file" not in (fs.protocol if isinstance(fs.protocol, (tuple, list)) else [fs.protocol]):
        raise UnsupportedMode(f"a store is a local file, and fs is {fs!r}; leave it out, and copy the file afterwards")
