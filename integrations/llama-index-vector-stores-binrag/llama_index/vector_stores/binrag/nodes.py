"""Nodes as documents of a store, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from binrag import Document, Hit, Store, VectorsUnavailable


def documents_of(nodes: Sequence[BaseNode], by_text: bool) -> dict[str, Any]:
    """Return the arguments of `Store.add` that nodes come to.

    Parameters
    ----------
    nodes : sequence of BaseNode
        With embeddings, unless `by_text`.
    by_text : bool
        Whether the store encodes texts: they are what an embedding model would be given, with the metadata that goes
        into embeddings. Where that differs from a node's own text, its record has the text too.
    """
    own = [node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes]
    texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes] if by_text else own
    return {
        "texts": texts,
        "ids": [node.node_id for node in nodes],
        "metadata": (
            node_to_metadata_dict(node, remove_text=text == stored)
            for node, text, stored in zip(nodes, own, texts, strict=True)
        ),
        "vectors": None if by_text else [node.get_embedding() for node in nodes],
    }


def node_of(found: Hit | Document) -> BaseNode:
    """Return the node that was stored; for a document that was not stored as a node, one with its text."""
    if "_node_content" not in found.metadata:
        return TextNode(id_=found.id, text=found.text or "", metadata=found.metadata)
    node = metadata_dict_to_node(found.metadata)
    if found.text is not None and not node.get_content(metadata_mode=MetadataMode.NONE):
        node.set_content(found.text)
    return node


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
