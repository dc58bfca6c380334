"""The façade."""

from binrag.store.store import Store

__all__ = ["Store"]
