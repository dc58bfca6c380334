"""Input files to documents: JSON lines, and folders of text, Markdown, reStructuredText, Python and HTML."""

from binrag.readers.jsonl import TYPED, BadLine, Record, read_jsonl

__all__ = ["TYPED", "BadLine", "Record", "read_jsonl"]
