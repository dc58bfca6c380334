"""LlamaIndex vector store on binrag."""

from llama_index.vector_stores.binrag.base import BinragVectorStore

__all__ = ["BinragVectorStore"]
