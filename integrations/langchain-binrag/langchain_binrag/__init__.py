"""LangChain vector store, retriever, record manager and query translator on binrag."""

from langchain_binrag.filters import BinragTranslator
from langchain_binrag.record_manager import BinragRecordManager
from langchain_binrag.retrievers import BinragRetriever
from langchain_binrag.vectorstores import BinragVectorStore

__all__ = ["BinragRecordManager", "BinragRetriever", "BinragTranslator", "BinragVectorStore"]
