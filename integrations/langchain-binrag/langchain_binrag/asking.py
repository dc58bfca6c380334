"""What a search is asked for, and what is made of its hits."""

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, get_args

from langchain_core.documents import Document

from binrag import Fusion, Hit, InvalidInput, Mmr, UnsupportedMode, WeightedSum
from langchain_binrag.documents import document_of

Scored = list[tuple[Document, float]]

Legs: TypeAlias = Literal["dense", "lexical", "hybrid"]

_OPTIONS = ("text", "legs", "fusion", "rerank", "min_score", "n_candidates")


def options_of(query: Any, kwargs: dict[str, Any], legs: Legs, fusion: Fusion | None) -> dict[str, Any]:
    """Return the arguments of `Store.search` that are among `kwargs`; `legs` and `fusion` are for calls that name none.

    Raises
    ------
    InvalidInput
        An unknown argument, or the query is a vector and its text is read and not given.
    """
    options = {name: kwargs.pop(name, None) for name in _OPTIONS}
    refuse("the search", kwargs)
    if options["legs"] is None:
        options["legs"] = legs
    if options["fusion"] is None and options["legs"] == "hybrid":
        options["fusion"] = fusion
    if not isinstance(query, str) and options["text"] is None and reads_text(options):
        reads = f"legs={options['legs']!r}" if options["rerank"] is None else "rerank"
        raise InvalidInput(
            f"{reads} reads the text of the query, and the query is a vector; give its text=… beside it, or search by "
            "the vector alone: legs='dense' and no rerank"
        )
    return options


def reads_text(options: dict[str, Any]) -> bool:
    """Return whether a search reads the text of its query beside its vector."""
    return options["legs"] in ("lexical", "hybrid") or options["rerank"] is not None


def check_legs(legs: Any, fusion: Any) -> None:
    """Raise `InvalidInput` if these are no legs and fusion of theirs."""
    if legs not in get_args(Legs):
        raise InvalidInput(f"legs is {legs!r}, expected one of {', '.join(get_args(Legs))}")
    if fusion is not None and not isinstance(fusion, Fusion):
        raise InvalidInput(
            f"fusion is {fusion!r}, expected binrag.IdfCoverage(…), ReciprocalRank(…), WeightedSum(…) or None"
        )
    if fusion is not None and legs != "hybrid":
        raise InvalidInput(f"fusion is of both legs, and legs is {legs!r}; expected legs='hybrid' with it")


def mmr_of(k: int, fetch_k: int, lambda_mult: float) -> Mmr:
    """Return LangChain's arguments of maximal marginal relevance as binrag's."""
    if not 0 <= lambda_mult <= 1:
        raise InvalidInput(
            f"lambda_mult is {lambda_mult!r}, expected a number from 0 (most diverse) to 1 (most similar)"
        )
    if fetch_k < 1:
        raise InvalidInput(f"fetch_k is {fetch_k!r}, expected at least 1")
    return Mmr(1 - lambda_mult, max(k, fetch_k))


def refuse(name: str, kwargs: dict[str, Any]) -> None:
    """Raise `InvalidInput` if arguments are left over that `name` does not take."""
    if kwargs:
        hint = "; a condition is called filter here" if "where" in kwargs else ""
        raise InvalidInput(f"{name} got {', '.join(kwargs)}, which langchain-binrag does not have{hint}")


def documents_of(hits: Iterable[Hit]) -> list[Document]:
    """Return hits as documents."""
    return [document_of(hit) for hit in hits]


def scored(hits: Iterable[Hit]) -> Scored:
    """Return hits as documents with their scores."""
    return [(document_of(hit), hit.score) for hit in hits]


def relevant(hits: Iterable[Hit], asked: dict[str, Any]) -> Scored:
    """Return hits as documents with their relevance, in [0, 1]; `asked` is what the search was asked for.

    Raises
    ------
    UnsupportedMode
        Their scores have no least or most.
    """
    found: Scored = []
    for hit in hits:
        if hit.relevance is None:
            raise UnsupportedMode(
                f"relevance is a score between the least and the most there can be, and {_why(asked)}"
            )
        found.append((document_of(hit), hit.relevance))
    return found


def _why(asked: dict[str, Any]) -> str:
    """Return why hits of a search have no relevance, and what to do."""
    if asked["rerank"] is not None:
        return (
            "the reranker does not say which its scores have; give it a method relevances(scores), take a "
            "CrossEncoder, or use similarity_search_with_score"
        )
    if isinstance(asked["fusion"], WeightedSum):
        return "z scores have neither; take WeightedSum(scale='min-max'), or use similarity_search_with_score"
    return (
        "inner products have neither; use similarity_search_with_score, legs='lexical', or legs='hybrid' with "
        "ReciprocalRank() or WeightedSum()"
    )
