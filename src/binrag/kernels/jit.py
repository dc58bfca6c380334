"""One way to compile: releases the GIL, caches on disk where a cache folder is writable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def jit(function: _F) -> _F:
    """Compile without the GIL, and with a disk cache if numba finds a folder to write it to.

    ``parallel`` and ``fastmath`` stay off: the first aborts the process when two threads enter a kernel,
    the second breaks comparisons with infinity and NaN.
    """
    try:
        return cast(_F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(_F, numba.njit(nogil=True)(function))
