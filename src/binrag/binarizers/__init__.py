"""Vectors to codes."""

from binrag.binarizers.sign import RotatedSignBinarizer, SignBinarizer

__all__ = ["RotatedSignBinarizer", "SignBinarizer"]
