"""The only room that opens a store file."""

from binrag.storage.database import Database
from binrag.storage.meta import Head
from binrag.storage.tables import Block, Reading, TailRow, Writing

__all__ = ["Block", "Database", "Head", "Reading", "TailRow", "Writing"]
