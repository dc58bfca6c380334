"""Search by words: BM25 over rows. Texts become words by a `Tokenizer`, words an index; bytes and arrays in and out."""

from binrag.lexical.index import LexicalIndex, needs_fold
from binrag.lexical.tail import Tail
from binrag.lexical.tokenizer import Tokenizer

__all__ = ["LexicalIndex", "Tail", "Tokenizer", "needs_fold"]
