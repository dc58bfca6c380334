"""All binarizers: whoever imports this has them registered under their component ids."""

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
