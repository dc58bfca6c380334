"""The standard suites of langchain-tests, as they come, with plain codes and with fitted ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_binrag import BinragRetriever, BinragVectorStore
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from binrag.binarizers import LinearBinarizer

EMBEDDING = DeterministicFakeEmbedding(size=64)
TEXTS = ["Paris is in France", "Rome is in Italy", "Oslo is in Norway", "Bonn is in Germany"]


@pytest.fixture(scope="module")
def fitted() -> LinearBinarizer:
    vectors = np.array(EMBEDDING.embed_documents([f"text {n}" for n in range(300)]), dtype=np.float32)
    return LinearBinarizer.fit(vectors, code_bytes=16, shape="nested", n_rounds=1, n_turns=1)


class TestBinragVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[BinragVectorStore]:
        store = BinragVectorStore(tmp_path / "kb.binrag", self.get_embeddings())
        yield store
        store.close()


class TestBinragVectorStoreWithFittedCodes(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path, fitted: LinearBinarizer) -> Iterator[BinragVectorStore]:
        store = BinragVectorStore(tmp_path / "kb.binrag", EMBEDDING, binarizer=fitted)
        yield store
        assert store.store.info().binarizer == fitted.component_id
        store.close()


class TestBinragRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled_store(self, tmp_path: Path) -> None:
        self.path = tmp_path / "kb.binrag"
        BinragVectorStore.from_texts(TEXTS, EMBEDDING, path=self.path).close()

    @property
    def retriever_constructor(self) -> type[BinragRetriever]:
        return BinragRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"path": self.path, "embedding": EMBEDDING}

    @property
    def retriever_query_example(self) -> str:
        return "Where is Rome?"


class TestBinragRetrieverWithFittedCodes(TestBinragRetriever):
    @pytest.fixture(autouse=True)
    def _filled_store(self, tmp_path: Path, fitted: LinearBinarizer) -> None:
        self.path = tmp_path / "kb.binrag"
        BinragVectorStore.from_texts(TEXTS, EMBEDDING, path=self.path, binarizer=fitted).close()
