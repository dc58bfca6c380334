"""The standard suites of langchain-tests, as they come."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_binrag import BinragRetriever, BinragVectorStore
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests


class TestBinragVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[BinragVectorStore]:
        store = BinragVectorStore(tmp_path / "kb.binrag", self.get_embeddings())
        yield store
        store.close()


class TestBinragRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled_store(self, tmp_path: Path) -> None:
        self.path = tmp_path / "kb.binrag"
        texts = ["Paris is in France", "Rome is in Italy", "Oslo is in Norway", "Bonn is in Germany"]
        BinragVectorStore.from_texts(texts, DeterministicFakeEmbedding(size=64), path=self.path).close()

    @property
    def retriever_constructor(self) -> type[BinragRetriever]:
        return BinragRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"path": self.path, "embedding": DeterministicFakeEmbedding(size=64)}

    @property
    def retriever_query_example(self) -> str:
        return "Where is Rome?"
