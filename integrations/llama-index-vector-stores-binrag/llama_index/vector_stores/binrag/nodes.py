"""Nodes as documents of a store, and back."""

from __future__ import annotations

from collections.abc import Iterable

from llama_index.core.schema import BaseNode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from binrag import Document, Hit, Store, VectorsUnavailable


def node_of(found: Hit | Document) -> BaseNode:
    """Return the node that was stored; for a document that was not stored as a node, one with its text."""
    if "_node_content" in found.metadata:
        return metadata_dict_to_node(found.metadata, text=found.text)
    return TextNode(id_=found.id, text=found.text or "", metadata=found.metadata)


def nodes_with_embeddings(store: Store, found: Iterable[Document]) -> list[BaseNode]:
    """Return the nodes, with their embeddings where the store keeps vectors."""
    nodes = [node_of(document) for document in found]
    try:
        vectors = store.vectors([node.node_id for node in nodes])
    except VectorsUnavailable:
        return nodes
    for node in nodes:
        if node.node_id in vectors:
            node.embedding = vectors[node.node_id].tolist()
    return nodes
