"""LlamaIndex retriever on binrag."""

from llama_index.retrievers.binrag.base import BinragRetriever

__all__ = ["BinragRetriever"]
