"""Vectors to codes. The classes are imported when one is asked for: most programs use one or two of them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from binrag.binarizers.additive import AdditiveBinarizer
    from binrag.binarizers.allocated import AllocatedBinarizer
    from binrag.binarizers.itq import ItqBinarizer, MedianSignBinarizer
    from binrag.binarizers.levels import LevelsBinarizer, LloydMaxBinarizer
    from binrag.binarizers.linear import LinearBinarizer
    from binrag.binarizers.recurrent import RecurrentBinarizer
    from binrag.binarizers.reduction import ReducedBinarizer
    from binrag.binarizers.row_levels import RowLevelsBinarizer
    from binrag.binarizers.sign import RotatedSignBinarizer, SignBinarizer

__all__ = [
    "AdditiveBinarizer",
    "AllocatedBinarizer",
    "ItqBinarizer",
    "LevelsBinarizer",
    "LinearBinarizer",
    "LloydMaxBinarizer",
    "MedianSignBinarizer",
    "RecurrentBinarizer",
    "ReducedBinarizer",
    "RotatedSignBinarizer",
    "RowLevelsBinarizer",
    "SignBinarizer",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("binrag.binarizers.registered"), name)
