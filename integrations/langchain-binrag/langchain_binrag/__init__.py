"""LangChain vector store and retriever on binrag."""

from langchain_binrag.retrievers import BinragRetriever
from langchain_binrag.vectorstores import BinragVectorStore

__all__ = ["BinragRetriever", "BinragVectorStore"]
