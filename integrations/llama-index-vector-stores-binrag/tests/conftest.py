from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.vector_stores.binrag import BinragVectorStore
from llama_index_samples import node_of_word


@pytest.fixture
def vector_store(tmp_path: Path) -> Iterator[BinragVectorStore]:
    store = BinragVectorStore(tmp_path / "kb.binrag")
    yield store
    store.client.close()


@pytest.fixture
def filled(vector_store: BinragVectorStore) -> BinragVectorStore:
    vector_store.add(
        [node_of_word("cat", "a"), node_of_word("dog", "a"), node_of_word("pet", "b"), node_of_word("sea")]
    )
    return vector_store
