"""Views of codes that find candidates."""

from binrag.indexes.flat import FlatIndex, group_words

__all__ = ["FlatIndex", "group_words"]
