"""binrag's documents as LangChain's."""

from __future__ import annotations

from langchain_core.documents import Document

from binrag import Document as StoredDocument
from binrag import Hit


def document_of(found: Hit | StoredDocument) -> Document:
    """Return a hit or a stored document as LangChain has it; a vector without a text has an empty page."""
    return Document(id=found.id, page_content=found.text or "", metadata=found.metadata)
