"""Nodes, an embedding model, and the meaning of metadata filters, for the tests."""

from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

WORDS = {"cat": [1.0, 0.0, 0.1], "dog": [0.0, 1.0, 0.2], "pet": [1.0, 1.0, 0.3], "sea": [-1.0, -0.5, 0.4]}


class WordEmbedding(BaseEmbedding):
    """The sum of the vectors of the words that a text holds."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return np.sum([vector for word, vector in WORDS.items() if word in text] or [[0.1, 0.1, 1]], axis=0).tolist()

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def node_of(id_: str, vector: list[float], source: str | None = None, **metadata: Any) -> TextNode:
    node = TextNode(id_=id_, text=f"text of {id_}", metadata=metadata, embedding=vector)
    if source is not None:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=source)
    return node


def node_of_word(word: str, source: str | None = None, **metadata: Any) -> TextNode:
    node = node_of(f"id-{word}", WORDS[word], source, **metadata)
    node.text = f"text of {word}"
    return node


def where(key: str, operator: str, value: Any = None) -> MetadataFilter:
    return MetadataFilter(key=key, value=value, operator=FilterOperator(operator))


def filters(*children: Any, condition: str = "and") -> MetadataFilters:
    return MetadataFilters(filters=list(children), condition=FilterCondition(condition))


def means(one: MetadataFilter | MetadataFilters, metadata: dict[str, Any]) -> bool:
    """Say whether metadata matches: as LlamaIndex's own predicate says, and where that raises, it does not."""
    if isinstance(one, MetadataFilters):
        found = [means(child, metadata) for child in one.filters]
        return not found or {"and": all(found), "or": any(found), "not": not any(found)}[one.condition.value]
    stored, value = metadata.get(one.key), one.value
    name = one.operator.name
    if name == "IS_EMPTY":
        return stored is None or stored in ("", [])
    if stored is None:
        return name in ("NE", "NIN")
    if name.startswith("TEXT") and not isinstance(stored, str):
        return False
    try:
        return {
            "EQ": lambda: stored == value,
            "NE": lambda: stored != value,
            "GT": lambda: stored > value,
            "GTE": lambda: stored >= value,
            "LT": lambda: stored < value,
            "LTE": lambda: stored <= value,
            "IN": lambda: stored in value,
            "NIN": lambda: stored not in value,
            "ANY": lambda: any(item in stored for item in value),
            "ALL": lambda: all(item in stored for item in value),
            "CONTAINS": lambda: value in stored,
            "TEXT_MATCH": lambda: isinstance(value, str) and value in stored,
            "TEXT_MATCH_INSENSITIVE": lambda: isinstance(value, str) and value.lower() in stored.lower(),
        }[name]()
    except TypeError:
        return False


def word_vectors(texts: list[str]) -> list[np.ndarray]:
    """Return a vector for each word of a text, drawn from its letters."""
    return [
        np.array([np.random.default_rng(list(word.encode())).standard_normal(32) for word in text.split()])
        for text in texts
    ]


def mean_of_best(query: str, text: str) -> float:
    """Return the mean over a query's words of the largest cosine with any of a text's."""
    rows, columns = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in word_vectors([query, text]))
    return float((rows @ columns.T).max(axis=1).mean())
