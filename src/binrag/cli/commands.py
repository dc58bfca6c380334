"""The short commands: search, ask, get, delete, count, info, probe, warmup."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from binrag.cli.output import as_dict, as_json, bytes_as_text, document_as_text, hits_as_json, hits_as_text
from binrag.encoders.rerankers import CrossEncoderReranker
from binrag.errors import InvalidFilter, InvalidInput
from binrag.store import Store
from binrag.store.warming import warmup
from binrag.types import ALL_TENANTS, Coverage, Diversity, Fusion, IdfCoverage, Mmr, ReciprocalRank, WeightedSum

FUSIONS: dict[str, Callable[..., Fusion]] = {
    "coverage": IdfCoverage,
    "ranks": ReciprocalRank,
    "min-max": WeightedSum,
    "z": partial(WeightedSum, scale="z"),
}
DIVERSITIES: dict[str, Callable[[], Diversity]] = {"mmr": Mmr, "coverage": Coverage}


def open_for_questions(path: str, encoder: str | None) -> Store:
    """Open a store for reading, with the given encoder or the one that it records, and say which it is."""
    store = Store.open(path, "r", encoder=encoder or "recorded")
    recorded = store.info().encoder
    if encoder is None and recorded is not None:
        print(f"encoder: {recorded}, as the store records", file=sys.stderr)
    quiet_loading(encoder or recorded)
    return store


def quiet_loading(encoder: str | None) -> None:
    """Show no bars while a model loads from a local folder; a download keeps its bars."""
    if encoder is not None and Path(encoder).is_dir():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when huggingface_hub is imported
        if "huggingface_hub" in sys.modules:
            sys.modules["huggingface_hub"].utils.disable_progress_bars()


def selection(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments `where` and `tenant` of a call.

    Raises
    ------
    InvalidFilter
        If the filter is not JSON.
    """
    try:
        where = None if options.where is None else json.loads(options.where)
    except ValueError as error:
        raise InvalidFilter(f'--where is not JSON: {error}; expected something like {{"lang": "en"}}') from None
    return {"where": where, "tenant": ALL_TENANTS if options.all_tenants else options.tenant}


def _order(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of a search that say how hits are found and ordered."""
    quiet_loading(options.rerank)
    reranker = None if options.rerank is None else CrossEncoderReranker(options.rerank)  # loaded once for all questions
    return {
        "legs": options.legs,
        "fusion": _fusion(options),
        "diversity": None if options.diversity is None else DIVERSITIES[options.diversity](),
        "explain": options.explain,
        "n_candidates": options.n_candidates,
        "min_score": options.min_score,
        "rerank": reranker,
    }


def _fusion(options: argparse.Namespace) -> Fusion | None:
    if options.weights is None:
        return None if options.fusion is None else FUSIONS[options.fusion]()
    if options.fusion in (None, "coverage"):
        raise InvalidInput("--weights is for --fusion ranks, min-max or z; name one of them")
    return FUSIONS[options.fusion](weights=tuple(options.weights))


def search(options: argparse.Namespace) -> int:
    """Print the hits of one question."""
    chosen = selection(options)
    with open_for_questions(options.store, options.encoder) as store:
        hits = store.search(" ".join(options.query), options.k, **chosen, **_order(options))
    print(hits_as_json(hits) if options.json else hits_as_text(hits))
    return 0


def ask(options: argparse.Namespace) -> int:
    """Answer one question a line until the input ends or a line is empty."""
    interactive, chosen, order = sys.stdin.isatty(), selection(options), _order(options)
    with open_for_questions(options.store, options.encoder) as store:
        if interactive:
            print(f"{store.count(**chosen):,} documents; an empty line ends", file=sys.stderr)
        while question := _next_question(interactive):
            hits = store.search(question, options.k, **chosen, **order)
            print(
                as_json({"query": question, "hits": [as_dict(h) for h in hits]}) if options.json else hits_as_text(hits)
            )
            sys.stdout.flush()
    return 0


def _next_question(interactive: bool) -> str:
    if interactive:
        try:
            return input("? ").strip()
        except EOFError:
            return ""
    for line in sys.stdin:
        if line.strip():
            return line.strip()
    return ""


def get(options: argparse.Namespace) -> int:
    """Print documents; 1 if one of them is missing."""
    with Store.open(options.store, "r") as store:
        documents = store.get(options.ids, tenant=options.tenant)
    if options.json:
        print(as_json([as_dict(document) for document in documents]))
    else:
        for document in documents:
            print(document_as_text(document))
    missing = set(options.ids) - {document.id for document in documents}
    for id_ in sorted(missing):
        print(f"binrag: no document {id_!r}", file=sys.stderr)
    return 1 if missing else 0


def delete(options: argparse.Namespace) -> int:
    """Delete documents and print how many there were."""
    with Store.open(options.store, "rw", lock_timeout=options.lock_timeout) as store:
        n = store.delete(options.ids or None, **selection(options))
    print(as_json({"deleted": n}) if options.json else f"deleted {n:,}")
    return 0


def count(options: argparse.Namespace) -> int:
    """Print the number of documents."""
    with Store.open(options.store, "r") as store:
        n = store.count(**selection(options))
    print(as_json({"count": n}) if options.json else n)
    return 0


def probe(options: argparse.Namespace) -> int:
    """Print what few bits would do to the store's vectors."""
    with Store.open(options.store, "rw") as store:
        found = store.probe()
    print(as_json({**asdict(found), "verdict": found.verdict}) if options.json else found.verdict)
    return 0


def warm(options: argparse.Namespace) -> int:
    """Compile what searches need, and print how long it took."""
    start = time.perf_counter()
    warmup(options.store)
    seconds = time.perf_counter() - start
    print(as_json({"seconds": round(seconds, 3)}) if options.json else f"ready in {seconds:.1f} s")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print settings, rows and bytes."""
    with Store.open(options.store, "r") as store:
        about, stats = store.info(), store.stats()
    facts: dict[str, Any] = {**asdict(about), **asdict(stats), "document_bytes": stats.document_bytes}
    if options.json:
        print(as_json(facts))
        return 0
    facts["training_gain"] = stats.training_gain and str(stats.training_gain)
    facts["document_bytes"] = ", ".join(f"{name} {n:,.0f}" for name, n in stats.document_bytes.items())
    facts["late_interaction"] = about.late_interaction and _settings_as_text(about.late_interaction)
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        is_size = name.endswith("_bytes") and name not in ("code_bytes", "document_bytes")
        shown = bytes_as_text(value) if is_size else f"{value:,}" if isinstance(value, int) else value
        print(f"{name:{width}}  {'-' if shown is None else shown}")
    return 0


def _settings_as_text(settings: dict[str, Any]) -> str:
    """Write settings as ``name=value``, those inside of others too."""
    flat = {**{name: value for name, value in settings.items() if name != "fde"}, **settings["fde"]}
    return ", ".join(f"{name}={value}" for name, value in flat.items() if value is not None)
