"""Test sets with token vectors of their texts, and exhaustive MaxSim of these.

The token vectors stand in for those of a model of late interaction: an ordinary sentence-transformers model's, which
are much alike within a text, or those of its vocabulary, which are not.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.datasets import Dataset, load
from binrag.encoders import SentenceTokenEncoder, TokenEncoder
from binrag.encoders.tokens import checked_tokens
from binrag.protocols import MultiVectorEncoder
from binrag.types import Float32, Float64, TokenVectors

ENCODED_AT_ONCE = 250
SCORED_AT_ONCE = 25


@dataclass(frozen=True, slots=True, eq=False)
class TokenSet:
    """A set with the token vectors of its texts, and the exhaustive scores."""

    dataset: Dataset
    documents: TokenVectors
    queries: TokenVectors
    scores: Float64
    """float64 (n_queries, n_documents)"""
    seconds: float
    """Time of encoding a document's tokens, 0 if they were read from the cache."""


def stand_in(folder: str, max_tokens: int) -> MultiVectorEncoder:
    """Return the token vectors of an ordinary model as an encoder."""
    from sentence_transformers import MultiVectorEncoder as Model
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    model = Model(modules=[Transformer(folder), MultiVectorMask(), Normalize(module_input_name="token_embeddings")])
    model.max_seq_length = max_tokens
    return SentenceTokenEncoder(model=model)


def lexical_stand_in(folder: str, max_tokens: int) -> MultiVectorEncoder:
    """Return the vectors that tokens have before the model reads them, centred: one token, one vector."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder)
    matrix = model[0].auto_model.get_input_embeddings().weight.detach().numpy()
    matrix = matrix - matrix.mean(axis=0)

    def encode(texts: list[str]) -> list[Float32]:
        tokens = model.tokenizer(texts, add_special_tokens=False, truncation=True, max_length=max_tokens)
        return [matrix[ids] for ids in tokens["input_ids"]]

    return TokenEncoder(encode)


STAND_INS = {"contextual": stand_in, "lexical": lexical_stand_in}


def token_set(folder: Path, options: argparse.Namespace) -> TokenSet:
    """Read a set and its token vectors, encoded once; judged documents come first, and others up to a number."""
    dataset = load(folder, options.split)
    n_queries = min(options.queries, len(dataset.query_ids))
    judged = {doc_id for query_id in dataset.query_ids[:n_queries] for doc_id in dataset.qrels[query_id]}
    order = sorted(range(len(dataset.doc_ids)), key=lambda row: dataset.doc_ids[row] not in judged)
    place = options.cache / f"{dataset.name}-{options.tokens}"
    rows_file, seconds = place.with_suffix(".rows.npy"), 0.0
    if not rows_file.exists():
        encoder = STAND_INS[options.tokens](options.encoder, options.max_tokens)
        queries = dataset.queries[:n_queries]
        _write(place.with_suffix(".queries"), checked_tokens(encoder.encode_query(queries), queries, "cosine"))
        texts, parts = [dataset.texts[row] for row in order[: options.documents]], []
        start = time.perf_counter()
        for first in range(0, len(texts), ENCODED_AT_ONCE):
            some = texts[first : first + ENCODED_AT_ONCE]
            parts += [part.astype(np.float16) for part in checked_tokens(encoder.encode_document(some), some, "cosine")]
        seconds = (time.perf_counter() - start) / len(texts)
        _write(place.with_suffix(".documents"), TokenVectors.of(parts, parts[0].shape[1]))
        np.save(rows_file, np.array(order[: len(parts)]))
    rows = np.load(rows_file)
    documents, queries = (_read(place.with_suffix(f".{side}")) for side in ("documents", "queries"))
    n_queries, rows = len(queries), rows[: options.documents]
    documents = documents.take(np.arange(len(rows)))
    dataset = replace(
        dataset,
        doc_ids=[dataset.doc_ids[row] for row in rows],
        texts=[dataset.texts[row] for row in rows],
        corpus=dataset.corpus[rows],
        query_ids=dataset.query_ids[:n_queries],
        queries=dataset.queries[:n_queries],
        query_vectors=dataset.query_vectors[:n_queries],
    )
    return TokenSet(dataset, documents, queries, all_scores(documents, queries), seconds)


def _write(place: Path, tokens: TokenVectors) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    np.save(place.with_suffix(place.suffix + ".f16.npy"), tokens.vectors.astype(np.float16))
    np.save(place.with_suffix(place.suffix + ".offsets.npy"), tokens.offsets)


def _read(place: Path) -> TokenVectors:
    vectors = np.load(place.with_suffix(place.suffix + ".f16.npy")).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TokenVectors(vectors, np.load(place.with_suffix(place.suffix + ".offsets.npy")))


def exhaustive(documents: TokenVectors, query: Float32) -> Float64:
    """Return MaxSim of all documents, float64 (n_documents,), with one matrix product."""
    products = np.maximum.reduceat(documents.vectors @ query.T, documents.offsets[:-1])
    return np.asarray(products.sum(axis=1, dtype=np.float64))


def all_scores(documents: TokenVectors, queries: TokenVectors) -> Float64:
    """Return MaxSim of all documents for all queries, float64 (n_queries, n_documents)."""
    parts = []
    for first in range(0, len(documents), SCORED_AT_ONCE):
        some = documents.take(np.arange(first, min(first + SCORED_AT_ONCE, len(documents))))
        largest = np.maximum.reduceat(some.vectors @ queries.vectors.T, some.offsets[:-1])
        parts.append(np.add.reduceat(largest.astype(np.float64), queries.offsets[:-1], axis=1))
    return np.concatenate(parts).T
