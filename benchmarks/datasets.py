"""Retrieval test sets in BEIR layout, with their embeddings."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.embeddings import Encode, Side
from binrag.errors import InvalidInput
from binrag.types import Float32

Qrels = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A corpus, the judged queries of one split, and unit vectors of both.

    Attributes
    ----------
    name : str
        Name of the folder.
    split : str
        The split of the queries, or ``"all"``.
    doc_ids, texts : list of str
        Documents; a text is title, space, text.
    query_ids, queries : list of str
        Queries that have judgments.
    qrels : dict
        Query id to document id to grade.
    corpus : float32 (n_documents, dim)
        Unit vectors of the documents.
    query_vectors : float32 (n_queries, dim)
        Unit vectors of the queries.
    """

    name: str
    split: str
    doc_ids: list[str]
    texts: list[str]
    query_ids: list[str]
    queries: list[str]
    qrels: Qrels
    corpus: Float32
    query_vectors: Float32

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self.corpus.shape[1])


def load(folder: Path, split: str | None = None, encode: Encode | None = None) -> Dataset:
    """Read a folder in BEIR layout.

    Parameters
    ----------
    folder : Path
        Holds ``corpus.jsonl`` or ``corpus.jsonl.gz`` (``_id``, ``title``, ``text``), ``queries.jsonl``
        (``_id``, ``text``, optionally ``split``) and ``qrels.tsv`` (query id, document id, grade, and a
        header); optionally ``corpus.f16.npy`` and ``queries.f32.npy``, one row a line of the JSON files.
    split : str, optional
        Queries of this split alone; ``"all"`` for all. Default: ``"test"``. A set whose queries have no
        ``split`` field is always used as a whole.
    encode : callable, optional
        Texts and their side (``"document"`` or ``"query"``) to vectors; called where no ready vectors are.

    Raises
    ------
    InvalidInput
        A file is missing, the split has no judged query, ids repeat, or vectors don't fit the texts.
    """
    documents = list(_read_jsonl(_existing(folder, "corpus.jsonl", "corpus.jsonl.gz")))
    queries = list(_read_jsonl(_existing(folder, "queries.jsonl")))
    qrels = read_qrels(_existing(folder, "qrels.tsv"))
    doc_ids = _unique_ids(documents, folder / "corpus.jsonl")
    query_ids = _unique_ids(queries, folder / "queries.jsonl")
    texts = [f"{document.get('title') or ''} {document['text']}".strip() for document in documents]
    questions = [str(query["text"]) for query in queries]

    has_splits = any("split" in query for query in queries)
    split = (split or "test") if has_splits else "all"
    chosen = [
        row
        for row, query in enumerate(queries)
        if query_ids[row] in qrels and (split == "all" or query.get("split") == split)
    ]
    if not chosen:
        names = sorted({str(query["split"]) for query in queries if "split" in query})
        raise InvalidInput(f"{folder}: no judged query in split {split!r}; splits there: {names}")
    corpus = _vectors(folder / "corpus.f16.npy", texts, "document", encode)
    query_vectors = _vectors(folder / "queries.f32.npy", questions, "query", encode)
    if corpus.shape[1] != query_vectors.shape[1]:
        raise InvalidInput(f"{folder}: documents have {corpus.shape[1]} dimensions, queries {query_vectors.shape[1]}")
    return Dataset(
        name=folder.resolve().name,
        split=split,
        doc_ids=doc_ids,
        texts=texts,
        query_ids=[query_ids[row] for row in chosen],
        queries=[questions[row] for row in chosen],
        qrels={query_ids[row]: qrels[query_ids[row]] for row in chosen},
        corpus=corpus,
        query_vectors=query_vectors[chosen],
    )


def read_qrels(path: Path) -> Qrels:
    """Read judgments: tab-separated query id, document id and whole-number grade under a header."""
    qrels: Qrels = {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(lines, None)
        for line in lines:
            try:
                query_id, doc_id, grade = line
                qrels.setdefault(query_id, {})[doc_id] = int(grade)
            except ValueError:
                raise InvalidInput(
                    f"{path}, line {lines.line_num}: got {line}, expected query id, document id, grade"
                ) from None
    return qrels


def unit(vectors: npt.ArrayLike) -> Float32:
    """Return the rows as float32, scaled to unit length."""
    rows: Float32 = np.array(vectors, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _vectors(path: Path, texts: list[str], side: Side, encode: Encode | None) -> Float32:
    if path.exists():
        vectors = np.load(path, allow_pickle=False)
    elif encode is not None:
        vectors = np.asarray(encode(texts, side))
    else:
        raise InvalidInput(f"{path} does not exist and no encoder was given")
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise InvalidInput(f"{path}: got vectors of shape {vectors.shape} for {len(texts)} texts")
    return unit(vectors)


def _existing(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise InvalidInput(f"{folder} is not in BEIR layout: it has no {' or '.join(names)}")


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                yield {**record, "_id": str(record["_id"]), "text": str(record["text"])}
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidInput(
                    f"{path}, line {number}: expected a JSON object with _id and text ({error})"
                ) from None


def _unique_ids(records: list[dict[str, Any]], path: Path) -> list[str]:
    ids = [record["_id"] for record in records]
    if len(set(ids)) != len(ids):
        raise InvalidInput(f"{path}: {len(ids) - len(set(ids))} ids appear more than once")
    return ids
