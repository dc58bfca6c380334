"""Parallel searches on one event loop, through the frameworks' retrievers: `python -m benchmarks.async_calls`.

A store of random vectors, or of those in a folder; queries are texts whose vectors are known. For each retriever all
calls are begun at once, and a coroutine that sleeps for a millisecond again and again tells how long the loop was kept
from it: its longest gap, beside those of an idle loop, of retrievers of the frameworks that find nothing, which is what
their own calls take, and of a loop on which the same searches are called directly. Answers have to be those of calls
one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from benchmarks import report
from binrag import Store
from binrag.errors import BinragError, InvalidInput
from binrag.types import Float32

K = 10
TICK = 0.001
"""Seconds that the ticking coroutine sleeps."""


class KnownEmbedding(Embeddings):
    """Knows the vectors of texts like ``"query 7"``; those of others are drawn from the text.

    Parameters
    ----------
    vectors : float32 (n, dim)
        Of the queries.
    """

    def __init__(self, vectors: Float32) -> None:
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the texts' vectors."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return a text's vector."""
        number = text.removeprefix("query ")
        if number != text and number.isdigit():
            return [float(value) for value in self.vectors[int(number)]]
        draw = np.random.default_rng(zlib.crc32(text.encode()))
        return [float(value) for value in draw.standard_normal(self.vectors.shape[1])]


class AwaitedEmbedding(KnownEmbedding):
    """The same, as a model behind a network is: queries are awaited."""

    async def aembed_query(self, text: str) -> list[float]:
        """Return a text's vector after a while."""
        await asyncio.sleep(TICK)
        return self.embed_query(text)


@dataclass(frozen=True, slots=True)
class Timing:
    """What the calls of one retriever took.

    Attributes
    ----------
    retriever : str
        Its name.
    n_calls, n_right : int
        Calls, and those whose hits were those of a call by itself.
    p50_ms, p95_ms : float
        Milliseconds from the beginning of all to the end of one, of half of them, of 95 %.
    block_ms, longest_block_ms : float
        The longest gap between two ticks: the median over all rounds, and the longest of all.
    """

    retriever: str
    n_calls: int
    n_right: int
    p50_ms: float
    p95_ms: float
    block_ms: float
    longest_block_ms: float


Ask = Callable[[str], list[str]]
AskAsync = Callable[[str], Awaitable[list[str]]]


def fill(path: Path, vectors: Float32, embedding: KnownEmbedding) -> None:
    """Make a store of documents whose vectors are given, and whose queries the embedding encodes."""
    with Store.open(path, "x", encoder=embedding, binarizer="sign", durability="os") as store:
        store.record_encoder()
        store.add([f"document {i}" for i in range(len(vectors))], vectors=vectors, progress=False)


def langchain_retriever(path: Path, embedding: KnownEmbedding) -> tuple[Ask, AskAsync]:
    """Return a LangChain retriever's calls: from a text to ids."""
    from langchain_binrag import BinragRetriever

    retriever = BinragRetriever(path=path, embedding=embedding, k=K)

    async def ask(query: str) -> list[str]:
        return [str(document.id) for document in await retriever.ainvoke(query)]

    return lambda query: [str(document.id) for document in retriever.invoke(query)], ask


def llama_index_retriever(path: Path, embedding: KnownEmbedding) -> tuple[Ask, AskAsync]:
    """Return a LlamaIndex retriever's calls: from a text to ids."""
    from llama_index.retrievers.binrag import BinragRetriever

    retriever = BinragRetriever(path, encoder=embedding, similarity_top_k=K)

    async def ask(query: str) -> list[str]:
        return [hit.node_id for hit in await retriever.aretrieve(query)]

    return lambda query: [hit.node_id for hit in retriever.retrieve(query)], ask


async def longest_block(work: Callable[[], Awaitable[None]]) -> float:
    """Return the longest time, in milliseconds, that the loop kept a coroutine waiting that wants every tick."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(2 * TICK)
    await work()
    await asyncio.sleep(2 * TICK)
    ticking.cancel()
    return 1000 * longest


async def measure(name: str, ask: AskAsync, queries: Sequence[str], right: Sequence[list[str]], rounds: int) -> Timing:
    """Begin all calls at once, `rounds` times."""
    times: list[float] = []
    n_right = 0

    async def all_calls() -> None:
        begun = time.perf_counter()

        async def call(query: str, wanted: list[str]) -> None:
            nonlocal n_right
            found = await ask(query)
            times.append(1000 * (time.perf_counter() - begun))
            n_right += found == wanted

        await asyncio.gather(*map(call, queries, right))

    blocks = [await longest_block(all_calls) for _ in range(rounds)]
    p50, p95 = np.percentile(times, [50, 95]).tolist()
    return Timing(name, len(times), n_right, p50, p95, float(np.median(blocks)), max(blocks))


def langchain_nothing() -> AskAsync:
    """Return the calls of a LangChain retriever that finds nothing, in a thread."""
    from langchain_core.retrievers import BaseRetriever

    class Nothing(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
            return []

    return Nothing().ainvoke


def llama_index_nothing() -> AskAsync:
    """Return the calls of a LlamaIndex retriever that finds nothing, in a thread."""
    from llama_index.core.base.base_retriever import BaseRetriever

    class Nothing(BaseRetriever):
        def _retrieve(self, query_bundle: Any) -> list[Any]:
            return []

        async def _aretrieve(self, query_bundle: Any) -> list[Any]:
            return await asyncio.to_thread(self._retrieve, query_bundle)

    return Nothing().aretrieve


async def idle(query: str) -> list[str]:
    """Find nothing after a while, and need nothing for it."""
    await asyncio.sleep(0.1)
    return []


def blocking(ask: Ask) -> AskAsync:
    """Return what asks on the event loop itself, as no retriever should."""

    async def asks(query: str) -> list[str]:
        return ask(query)

    return asks


def measure_all(path: Path, vectors: Float32, rounds: int) -> list[Timing]:
    """Measure an idle loop, each retriever, and searches on the loop itself."""
    queries = [f"query {i}" for i in range(len(vectors))]
    known, awaited = KnownEmbedding(vectors), AwaitedEmbedding(vectors)
    retrievers = {
        "LangChain": langchain_retriever(path, known),
        "LangChain, queries awaited": langchain_retriever(path, awaited),
        "LlamaIndex": llama_index_retriever(path, known),
    }
    ask, _ = retrievers["LangChain"]
    right = [ask(query) for query in queries]
    nothing: list[list[str]] = [[] for _ in queries]
    cases = [
        ("an idle loop", idle, nothing),
        ("LangChain, nothing to find", langchain_nothing(), nothing),
        ("LlamaIndex, nothing to find", llama_index_nothing(), nothing),
        *((name, asks, right) for name, (_, asks) in retrievers.items()),
        ("searches on the loop", blocking(ask), right),
    ]
    for one, _ in retrievers.values():
        one(queries[0])  # loads the codes, and checks the encoder
    return [asyncio.run(measure(name, asks, queries, wanted, rounds)) for name, asks, wanted in cases]


def table(timings: Sequence[Timing]) -> str:
    """Return all figures as a Markdown table."""
    header = ["", "calls", "right", "p50, ms", "p95, ms", "longest block of the loop: median, ms", "of all rounds, ms"]
    rows = [
        (
            timing.retriever,
            f"{timing.n_calls:,}",
            f"{timing.n_right:,}",
            report.number(timing.p50_ms, 1),
            report.number(timing.p95_ms, 1),
            report.number(timing.block_ms, 1),
            report.number(timing.longest_block_ms, 1),
        )
        for timing in timings
    ]
    return report.table(header, rows)


def vectors_of(options: argparse.Namespace) -> tuple[Float32, Float32]:
    """Return vectors of documents and of queries: those of the folder, else random ones."""
    if options.rows < K or options.calls < 1 or options.rounds < 1:
        raise InvalidInput(f"expected rows ≥ {K}, calls ≥ 1 and rounds ≥ 1, got {vars(options)}")
    if options.data is None:
        draw = np.random.default_rng(options.seed)
        rows = draw.standard_normal((options.rows, options.dim), dtype=np.float32)
        return rows, draw.standard_normal((options.calls, options.dim), dtype=np.float32)
    rows = np.load(options.data / "corpus.f16.npy", mmap_mode="r")[: options.rows].astype(np.float32)
    queries = np.load(options.data / "queries.f32.npy")[: options.calls]
    if len(queries) < options.calls:
        raise InvalidInput(f"{options.data} has {len(queries)} queries, expected {options.calls}")
    return rows, queries


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 for wrong answers, or 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.async_calls", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="at most, with --data (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=384, help="of random vectors (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="a folder with corpus.f16.npy and queries.f32.npy")
    parser.add_argument("--calls", type=int, default=32, help="begun at once (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    environment: dict[str, Any] = report.environment("benchmarks.async_calls", arguments)
    try:
        rows, queries = vectors_of(options)
        with tempfile.TemporaryDirectory(prefix="binrag-async-") as folder:
            path = Path(folder) / "async.binrag"
            fill(path, rows, KnownEmbedding(queries))
            timings = measure_all(path, queries, options.rounds)
    except (BinragError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shape = f"{len(rows):,} documents of {rows.shape[1]} dimensions, {options.calls} calls begun at once"
    text = f"{report.environment_line(environment)}\n\n{shape}\n\n{table(timings)}\n"
    print(text, end="")
    if options.json:
        report.write_json(options.json, environment, [asdict(timing) for timing in timings])
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0 if all(timing.n_right == timing.n_calls for timing in timings) else 1


if __name__ == "__main__":
    raise SystemExit(main())
