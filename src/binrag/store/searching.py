"""From query vectors to hits, in one commit's state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, get_args

import numpy as np

from binrag import pipeline
from binrag.errors import InvalidInput
from binrag.filters import Filter
from binrag.protocols import Reranker
from binrag.storage import Reading
from binrag.store.batches import checked_texts
from binrag.store.handle import Handle
from binrag.store.legs import N_FUSED, BothLegs, DenseLeg, LexicalLeg, Ranking, Reach
from binrag.store.settings import checked_candidates, checked_count
from binrag.store.snapshot import Snapshot
from binrag.store.space import checked_vectors
from binrag.types import Coverage, Diversity, Float32, Float64, Fusion, Hit, IdfCoverage, Legs, Rerank, UInt64


@dataclass(frozen=True, slots=True)
class Selection:
    """Which documents may be hits: those of a tenant, of all with None, that match, and have one of the ids."""

    tenant: str | None
    where: Filter | None = None
    ids: Sequence[str] | None = None

    def rows(self, handle: Handle, reading: Reading, snapshot: Snapshot) -> UInt64 | None:
        """Return a bitmap of the rows, as an index takes it."""
        if snapshot.index is None:
            return None
        allowed = handle.columns.allowed(reading, snapshot.index.live, self.tenant, self.where)
        if self.ids is None:
            return allowed
        assert self.tenant is not None
        named = np.zeros(-(-snapshot.index.n_rows // 64), dtype=np.uint64)
        rows = np.fromiter(reading.rows_by_id(self.tenant, self.ids), dtype=np.int64)
        np.bitwise_or.at(named, rows // 64, np.uint64(1) << (rows % 64).astype(np.uint64))
        return named if allowed is None else named & allowed


@dataclass(frozen=True, slots=True)
class Asked:
    """How hits are found, ordered and chosen; see `Store.search`."""

    k: int
    legs: Legs = "dense"
    fusion: Fusion | None = None
    n_candidates: int | None = None
    diversity: Diversity | None = None
    rerank: Rerank | None = None
    min_score: float | None = None
    explain: bool = False

    @property
    def reranker(self) -> Reranker | None:
        """What orders the best hits, if something does."""
        if self.rerank is None:
            return None
        from binrag.encoders.rerankers import resolve_reranker

        return resolve_reranker(self.rerank.reranker)

    @property
    def n_best(self) -> int:
        """How many of the best are looked at for k hits."""
        of_diversity = 0 if self.diversity is None else self.diversity.pool_of(self.k)
        return max(self.k, of_diversity, 0 if self.rerank is None else self.rerank.n_pool)


def checked_asked(k: Any, **asked: Any) -> Asked:
    """Check what a search is asked for, the other fields of `Asked` by name.

    Raises
    ------
    InvalidInput
    """
    k, legs, fusion = checked_count("k", k), asked["legs"], asked["fusion"]
    if legs not in get_args(Legs):
        raise InvalidInput(f"legs is {legs!r}, expected one of {', '.join(get_args(Legs))}")
    if fusion is not None and legs != "hybrid":
        raise InvalidInput(f"fusion is of both legs, and legs is {legs!r}; ask for legs='hybrid', or leave it out")
    _check_kind("fusion", fusion, Fusion, "binrag.IdfCoverage(…), ReciprocalRank(…), WeightedSum(…) or None")
    if legs == "lexical" and asked["n_candidates"] is not None:
        raise InvalidInput("n_candidates is about the scan of codes, and legs='lexical' scans none; leave it out")
    _check_kind("diversity", asked["diversity"], Diversity, "binrag.Mmr(…), binrag.Coverage(…) or None")
    min_score, rerank = asked["min_score"], asked["rerank"]
    if min_score is not None and not (isinstance(min_score, (int, float)) and math.isfinite(min_score)):
        raise InvalidInput(f"min_score is {min_score!r}, expected a finite number or None")
    if not isinstance(asked["explain"], bool):
        raise InvalidInput(f"explain is {asked['explain']!r}, expected True or False")
    checked = {
        "fusion": IdfCoverage() if legs == "hybrid" and fusion is None else fusion,
        "n_candidates": checked_candidates(k, asked["n_candidates"]),
        "rerank": rerank if rerank is None or isinstance(rerank, Rerank) else Rerank(rerank),
    }
    return Asked(k, **{**asked, **checked})


def _check_kind(name: str, value: Any, kind: type, expected: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise InvalidInput(f"{name} is {value!r}, expected {expected}")


@dataclass(frozen=True, slots=True)
class Pool:
    """The best hits for one query.

    Attributes
    ----------
    hits : list of Hit
        Best first.
    vectors : float32 (n, dim) or None
        Theirs, where hits are to be compared with each other.
    """

    hits: list[Hit]
    vectors: Float32 | None = None

    def reranked(self, reranker: Reranker, query: str) -> Pool:
        """Return them by the scores of a reranker, ties in the order that they were in.

        Raises
        ------
        InvalidInput
            If one has no text to read.
        InvalidVector
            If scores are not one finite number a text.
        """
        for hit in self.hits:
            if hit.text is None:
                raise InvalidInput(f"document {hit.id!r} has no text for a reranker to read; leave rerank out")
        from binrag.encoders.rerankers import relevances_of, reranked_scores

        scores = reranked_scores(reranker, query, [str(hit.text) for hit in self.hits])
        order = np.argsort(-scores, kind="stable").tolist()
        relevances = relevances_of(reranker, scores)
        hits = [replace(self.hits[i], score=float(scores[i]), relevance=relevances[i]) for i in order]
        return Pool(hits, None if self.vectors is None else self.vectors[order])

    def chosen(self, asked: Asked) -> list[Hit]:
        """Return the hits that are asked for."""
        hits = self.hits
        if asked.diversity is not None:
            from binrag.ranking.diversify import coverage, mmr

            assert self.vectors is not None
            choose = coverage if isinstance(asked.diversity, Coverage) else mmr
            n_pool = asked.diversity.pool_of(asked.k)
            scores = _on_scale_of_vectors(hits[:n_pool], asked)
            hits = [hits[i] for i in choose(scores, self.vectors[:n_pool], asked.k, asked.diversity.diversity)]
        return [hit for hit in hits[: asked.k] if asked.min_score is None or hit.score >= asked.min_score]


def _on_scale_of_vectors(hits: Sequence[Hit], asked: Asked) -> Float64:
    """Return scores that can be weighed against cosines of hits with each other: float64 (n,), in the same order."""
    scores = np.array([hit.score for hit in hits], dtype=np.float64)
    is_cosine = asked.legs == "dense" or isinstance(asked.fusion, IdfCoverage)
    if not len(scores) or (asked.rerank is None and is_cosine):
        return scores
    if hits[0].relevance is not None:
        scores = np.array([hit.relevance for hit in hits], dtype=np.float64)
    else:
        scores -= scores.min()
    return scores / (scores.max() or 1.0)


def search_batch(handle: Handle, queries: Any, texts: Any, asked: Asked, selection: Selection) -> list[list[Hit]]:
    """Search for several queries in the same commit's state; see `Store.search_batch`."""
    listed, reranker = _listed(queries), asked.reranker
    words = _texts(listed, texts, asked)
    vectors = words if asked.legs == "lexical" else _query_vectors(handle, listed)
    with handle.view() as (reading, snapshot):
        allowed = selection.rows(handle, reading, snapshot)
        pools: list[Pool] = []
        left = zip(words, vectors, strict=True)
        while tile := list(islice(left, pipeline.TILE * handle.n_threads)):
            pools += _pools(handle, reading, snapshot, tile, asked, allowed)
    if reranker is not None:  # models take their time, and nothing is being read meanwhile
        pools = [pool.reranked(reranker, query) for pool, query in zip(pools, words, strict=True)]
    return [pool.chosen(asked) for pool in pools]


def _pools(
    handle: Handle,
    reading: Reading,
    snapshot: Snapshot,
    queries: list[tuple[Any, Any]],
    asked: Asked,
    allowed: UInt64 | None,
) -> list[Pool]:
    """Return the best hits of queries, (text, vector) each, by the legs that are asked for."""
    space, index = snapshot.space, snapshot.index
    live = None if index is None else index.live
    view = None if asked.legs == "dense" else handle.words.view(reading, live)
    if index is None or space is None:
        return [Pool([], np.zeros((0, 1), np.float32)) for _ in queries]
    leg, words = DenseLeg(reading, space, index, handle.keep), None
    if view is not None:
        n_words = -(-index.n_rows // 64)  # bitmaps may be longer, each by another rule
        live = index.live[:n_words] if allowed is None else index.live[:n_words] & allowed[:n_words]
        words = LexicalLeg(*view, live)
        words.check_texts(index.live)
    reach = Reach(asked.n_best, asked.n_candidates, handle.n_threads, allowed)
    best = [own.top(asked.n_best) for own in _rankings(leg, words, queries, asked, reach)]
    hits = [own.hits(reading, asked.explain) for own in best]
    if asked.diversity is None:
        return [Pool(own) for own in hits]
    return [Pool(own, leg.vectors_of(ranking.candidates.rows)) for own, ranking in zip(hits, best, strict=True)]


def _rankings(
    leg: DenseLeg, words: LexicalLeg | None, queries: list[tuple[Any, Any]], asked: Asked, reach: Reach
) -> list[Ranking]:
    vectors = [] if asked.legs == "lexical" else [vector for _, vector in queries]
    prepared = leg.prepared(vectors, reach.n_threads)
    if words is None:
        return [Ranking.of_leg("dense", found, leg.bounds) for found in leg.found(prepared, reach)]
    # the legs have to see far enough for what both find to be among what either does
    reach = replace(reach, n_best=max(asked.n_best, N_FUSED))
    texts = [words.index.tokenizer.words(text) for text, _ in queries]
    matches = [words.found(text, reach.n_best) for text in texts]
    if asked.legs == "lexical":
        found = zip(texts, matches, strict=True)
        return [Ranking.of_leg("lexical", own, words.bounds(text)) for text, own in found]
    assert asked.fusion is not None
    both = BothLegs(leg, words, asked.fusion)
    dense = [own.top(reach.n_best) for own in leg.found(prepared, reach)]
    return [both.fused(*own) for own in zip(texts, prepared, dense, matches, strict=True)]


def _texts(listed: Any, texts: Any, asked: Asked) -> Any:
    """Return the queries' texts, where words or a reranker need them; else the queries.

    Raises
    ------
    InvalidInput
        A query is a vector and its text is not given, or given where nothing reads it.
    """
    needs_texts = asked.legs != "dense" or asked.rerank is not None
    if texts is None and not needs_texts:
        return listed
    if not needs_texts:
        raise InvalidInput(
            "the text beside a query is read by legs with words and by rerank, and neither was asked for"
        )
    what = f"legs={asked.legs!r}" if asked.rerank is None else "rerank"
    name = f"{what} reads the text of a query, and queries" if texts is None else "texts"
    found = checked_texts(name, listed if texts is None else texts)
    if len(found) != len(listed):
        raise InvalidInput(f"got {len(found)} texts for {len(listed)} queries")
    for text in found:
        if not text.strip():
            raise InvalidInput("the query is empty; expected text")
    return found


def _listed(queries: Any) -> Any:
    """Return queries as an array of floats or a list."""
    if isinstance(queries, str) or not isinstance(queries, Iterable):
        raise InvalidInput(f"queries is {queries!r}, expected a list of texts or vectors; search takes one")
    return queries if isinstance(queries, np.ndarray) and queries.dtype.kind == "f" else list(queries)


def _query_vectors(handle: Handle, listed: Any) -> Iterable[Float32]:
    if len(listed) == 0:
        return []
    is_text = isinstance(listed[0], str)
    space, record = handle.snapshot.space, None
    if space is None or (is_text and not handle.encoder.is_checked):
        with handle.view() as (reading, snapshot):
            space, record = snapshot.space, reading.get("encoder")
    dim = space.vector_dim if space else handle.settings.dim
    if is_text:
        handle.encoder.check(record, space)
    if handle.settings.late_interaction is not None:
        similarity = space.vector_similarity if space else handle.encoder.similarity
        if is_text:
            return handle.encoder.encode_token_queries(checked_texts("queries", listed), similarity, dim)
        from binrag.store.tokens import checked_query

        return [checked_query(matrix, similarity, dim) for matrix in listed]
    if is_text:
        return handle.encoder.encode_queries(checked_texts("queries", listed), dim)
    return checked_vectors(listed, dim, lambda i: f"query vector {i}" if len(listed) > 1 else "the query vector")
