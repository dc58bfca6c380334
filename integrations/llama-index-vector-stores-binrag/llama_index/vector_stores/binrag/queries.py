"""What a `VectorStoreQuery` asks of a store."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Literal, TypeAlias

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode, VectorStoreQueryResult
from llama_index.vector_stores.binrag.filters import to_filter
from llama_index.vector_stores.binrag.nodes import node_of

import binrag
from binrag import Filter, Fusion, InvalidInput, Mmr, Store, UnsupportedMode, WeightedSum

_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_factor", "mmr_prefetch_k")
OPTIONS = ("where", "n_candidates", *_MMR_OPTIONS, "fusion", "rerank", "min_score")
"""What a query takes beside the `VectorStoreQuery`."""

_DEFAULT_THRESHOLD = 0.5

Legs: TypeAlias = Literal["dense", "lexical", "hybrid"]

_MODES: dict[Legs, tuple[VectorStoreQueryMode, ...]] = {
    "dense": (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR),
    "lexical": (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE),
    "hybrid": (VectorStoreQueryMode.HYBRID,),
}


def legs_of(mode: VectorStoreQueryMode | str) -> Legs:
    """Return what a mode finds nodes by, as `binrag.Store.search` names it.

    SPARSE is TEXT_SEARCH: BM25 is a product of sparse vectors, with a weight for each word, and LlamaIndex's retriever
    makes no embedding for either.

    Raises
    ------
    NotImplementedError
        Another mode.
    """
    for legs, modes in _MODES.items():
        if mode in modes:
            return legs
    raise UnsupportedMode(
        f"query mode {mode!r} is not supported; expected VectorStoreQueryMode.DEFAULT, MMR, HYBRID, TEXT_SEARCH or "
        "SPARSE"
    )


def answer(
    store: Store,
    query: VectorStoreQuery,
    options: Mapping[str, Any],
    *,
    text: str | None = None,
    tenant: str | None = None,
) -> VectorStoreQueryResult:
    """Find the nodes that a query asks for.

    Parameters
    ----------
    store : Store
        Where to look.
    query : VectorStoreQuery
        With an embedding; or with a restriction alone, which every node that matches meets equally well. By words, its
        ``query_str``.
    options : mapping
        Values of `OPTIONS`.
    text : str, optional
        What the store encodes where the query has no embedding.
    tenant : str, optional
        As in `binrag.Store.search`.

    Returns
    -------
    VectorStoreQueryResult
        Best first, or in the order in which MMR chose them. The similarities are the scores of `binrag.Hit`. Where
        there is nothing to search for, nodes in the order in which they were added, and no similarities.

    Raises
    ------
    NotImplementedError
        A mode or a field that `check` refuses; words, and the store has no index of them.
    ValueError
        What the mode needs is missing; what `binrag.Store.search` raises.
    """
    check(query, options)
    where, ids = _where(query, options), query.node_ids or None
    wanted, words = _wanted(query, options, text)
    if wanted is not None:
        hits = store.search(
            wanted,
            _top_k(query),
            text=words,
            where=where,
            ids=ids,
            tenant=tenant,
            legs=legs_of(query.mode),
            fusion=_fusion(query, options),
            diversity=_diversity(query, options),
            **{name: options.get(name) for name in ("n_candidates", "rerank", "min_score")},
        )
        nodes = [node_of(hit) for hit in hits]
        return VectorStoreQueryResult(
            nodes=nodes, similarities=[hit.score for hit in hits], ids=[hit.id for hit in hits]
        )
    if query.mode == VectorStoreQueryMode.MMR or (where is None and ids is None):
        raise InvalidInput(
            "the query is empty: it has no embedding, and in mode DEFAULT filters, doc_ids or node_ids do without "
            "one; set query_embedding (or query_str, where the store encodes texts), or use BinragRetriever, which "
            "encodes texts"
        )
    if given := [name for name in ("rerank", "min_score") if options.get(name) is not None]:
        raise InvalidInput(f"got {', '.join(given)}, and a query without an embedding gives no scores; leave it out")
    if query.similarity_top_k < 1:
        raise InvalidInput(f"similarity_top_k is {query.similarity_top_k!r}, expected an integer of at least 1")
    found = store.iter(where=where, tenant=tenant) if ids is None else store.get(ids, where=where, tenant=tenant)
    nodes = [node_of(document) for document in islice(found, query.similarity_top_k)]
    return VectorStoreQueryResult(nodes=nodes, similarities=None, ids=[node.node_id for node in nodes])


def check(query: VectorStoreQuery, options: Mapping[str, Any]) -> None:
    """Refuse what cannot be honoured.

    Raises
    ------
    NotImplementedError, ValueError
        Names what was given and what is supported.
    """
    legs = legs_of(query.mode)
    alpha = None if legs == "dense" and query.alpha == 1 else query.alpha
    of_hybrid = {"alpha": alpha, "hybrid_top_k": query.hybrid_top_k} if legs != "hybrid" else {}
    of_words = {"sparse_top_k": query.sparse_top_k} if legs != "lexical" else {}
    if given := [name for name, value in (of_hybrid | of_words).items() if value is not None]:
        raise UnsupportedMode(
            f"the query has {', '.join(given)}, of no effect in query mode {query.mode!r}; alpha and hybrid_top_k are "
            "of HYBRID, where vectors and words each find 100 nodes at least; sparse_top_k is of TEXT_SEARCH"
        )
    fields = {"output_fields": query.output_fields, "embedding_field": query.embedding_field}
    if given := [name for name, value in fields.items() if value]:
        raise UnsupportedMode(
            f"the query has {', '.join(given)}; a node has one embedding and comes back whole: leave it out"
        )
    if unknown := [name for name in options if name not in OPTIONS]:
        raise InvalidInput(f"query got {', '.join(unknown)}; expected {', '.join(OPTIONS)}")
    _fusion(query, options)
    _diversity(query, options)
    _where(query, options)


def _wanted(query: VectorStoreQuery, options: Mapping[str, Any], text: str | None) -> tuple[Any, str | None]:
    """Return what to search for, None if nothing; and the query's words, where something reads them beside it."""
    legs = legs_of(query.mode)
    wanted: Any = text if query.query_embedding is None else query.query_embedding
    if legs == "dense" and (wanted is None or options.get("rerank") is None):
        return wanted, None
    if not (query.query_str or "").strip():
        reads = "rerank" if legs == "dense" else f"query mode {query.mode!r}"
        raise InvalidInput(f"{reads} reads the text of the query, and its query_str is {query.query_str!r}; set it")
    if legs == "lexical":
        return query.query_str, None
    if wanted is None:
        raise InvalidInput(
            "a hybrid query goes by vectors too, and it has no embedding; set query_embedding, use BinragRetriever, "
            "which encodes texts, or ask for VectorStoreQueryMode.TEXT_SEARCH"
        )
    return wanted, query.query_str


def _top_k(query: VectorStoreQuery) -> int:
    own = {"dense": None, "lexical": query.sparse_top_k, "hybrid": query.hybrid_top_k}[legs_of(query.mode)]
    return query.similarity_top_k if own is None else own


def _fusion(query: VectorStoreQuery, options: Mapping[str, Any]) -> Fusion | None:
    fusion, alpha = options.get("fusion"), query.alpha
    if query.mode != VectorStoreQueryMode.HYBRID:
        if fusion is not None:
            raise InvalidInput(
                f"fusion is of no effect in query mode {query.mode!r}; ask for VectorStoreQueryMode.HYBRID"
            )
        return None
    if alpha is None:
        return fusion
    if fusion is not None:
        raise InvalidInput("got alpha in the query and fusion beside it, which both say how vectors and words count")
    if not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise InvalidInput(f"alpha is {alpha!r}, expected a number from 0, words alone, to 1, vectors alone")
    return WeightedSum((alpha, 1 - alpha))


def _where(query: VectorStoreQuery, options: Mapping[str, Any]) -> Filter | Mapping[str, Any] | None:
    """Return the condition that `filters`, `doc_ids` and the option `where` come to; None where there is none."""
    where, doc_ids = options.get("where"), query.doc_ids
    if query.filters is not None and where is not None:
        raise InvalidInput("got filters in the query and where beside it; put all conditions into one of them")
    if query.filters is not None:
        where = to_filter(query.filters)
    if doc_ids is None or where is None:
        return where if doc_ids is None else _of_documents(doc_ids)
    if isinstance(where, Mapping):
        return {"$and": [where, {"ref_doc_id": {"$in": doc_ids}}]}
    return binrag.And(where, _of_documents(doc_ids))


def _of_documents(doc_ids: Any) -> Filter:
    return binrag.In("ref_doc_id", doc_ids)


def _diversity(query: VectorStoreQuery, options: Mapping[str, Any]) -> Mmr | None:
    given = {name: options[name] for name in _MMR_OPTIONS if name in options}
    threshold = given.get("mmr_threshold", query.mmr_threshold)
    if query.mode != VectorStoreQueryMode.MMR:
        if given or query.mmr_threshold is not None:
            name = next(iter(given), "mmr_threshold")
            raise InvalidInput(f"{name} is of no effect in query mode {query.mode!r}; ask for VectorStoreQueryMode.MMR")
        return None
    threshold = _DEFAULT_THRESHOLD if threshold is None else threshold
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise InvalidInput(f"mmr_threshold is {threshold!r}, expected a number from 0 to 1")
    return Mmr(1 - threshold, _pool(query.similarity_top_k, given))


def _pool(k: int, given: Mapping[str, Any]) -> int | None:
    n_pool, factor = given.get("mmr_prefetch_k"), given.get("mmr_prefetch_factor")
    if n_pool is None and factor is None:
        return None
    if n_pool is not None and factor is not None:
        raise InvalidInput("got mmr_prefetch_factor and mmr_prefetch_k, which both say how many to choose from")
    name, value = ("mmr_prefetch_k", n_pool) if factor is None else ("mmr_prefetch_factor", factor)
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise InvalidInput(f"{name} is {value!r}, expected a number above 0")
    return max(k, int(value if factor is None else k * value))
