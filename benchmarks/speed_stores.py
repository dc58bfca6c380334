"""Stores of documents in `benchmarks.speed`: binrag and the peers whose searches return ids and texts as its do."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed_data import K, Rows
from benchmarks.speed_engines import Contender, Engine
from binrag.types import Float32

BATCH = 5_000
WARM_ROWS = 6_000
"""Enough for a store that fits codes to its own vectors to do so."""

CAN_LOAD = hasattr(sqlite3.Connection, "enable_load_extension")
"""Whether the standard library's SQLite may load extensions; apsw's may."""

Pairs = list[tuple[str, Any]]
"""An answer: ids and texts, best first."""


class Binrag(Engine):
    """A store of binrag, int8 vectors kept.

    Parameters
    ----------
    binarizer : str
        "auto", "sign", or the name of an artefact that comes with binrag.
    """

    def __init__(self, binarizer: str) -> None:
        self.binarizer = binarizer

    def load(self) -> None:
        """Import binrag."""
        import binrag

        self.binrag = binrag

    def warm(self, rows: Rows, folder: Path) -> None:
        """Compile the kernels, which are kept, by a small store."""
        with tempfile.TemporaryDirectory(dir=folder.parent) as other, self._new(Path(other)) as store:
            vectors = np.array(rows.vectors[:WARM_ROWS])
            store.add(vectors=vectors)
            store.search(vectors[0])
            store.search_batch(vectors[:2])

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all documents, one commit a batch."""
        with self._new(folder) as store:
            for ids, texts, vectors in rows.batches(BATCH):
                store.add(texts, ids=ids, vectors=vectors, progress=False)

    def _new(self, folder: Path) -> Any:
        from binrag.binarizers.artefact import load_artefact, shipped_artefacts

        binarizer: Any = self.binarizer
        if binarizer in shipped_artefacts():
            binarizer = load_artefact(binarizer)[0]
        return self.binrag.Store.open(folder / "store.binrag", "x", binarizer=binarizer)

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Open the store for reading."""
        self.store = self.binrag.Store.open(folder / "store.binrag", "r", n_threads=threads)

    def search(self, query: Float32, **point: Any) -> Any:
        """Search for one."""
        return self.store.search(query, K, **point)

    def search_batch(self, queries: Float32, **point: Any) -> Sequence[Any]:
        """Search for all."""
        found: Sequence[Any] = self.store.search_batch(queries, K, **point)
        return found

    def rows(self, answer: Any) -> list[int]:
        """Return the rows of hits."""
        return [int(hit.id) for hit in answer]


class SqliteVec(Engine):
    """sqlite-vec: bits find `coarse` rows, float32 vectors order them; documents in a table beside."""

    SEARCH = """
        with found as (
            select rowid, embedding from vectors where bits match vec_quantize_binary(:query) and k = :coarse
        ), best as (
            select rowid as row, vec_distance_cosine(embedding, :query) as distance from found
            order by distance limit :k
        )
        select documents.id, documents.text from best join documents on documents.row = best.row order by best.distance
    """

    def load(self) -> None:
        """Import it."""
        import sqlite_vec

        self.sqlite_vec = sqlite_vec

    def connect(self, folder: Path) -> Any:
        """Return a connection with the extension, by the standard library if it may load one, else by apsw."""
        path = str(folder / "vectors.sqlite")
        connection: Any
        if CAN_LOAD:
            connection = sqlite3.connect(path, isolation_level=None)
        else:
            import apsw

            connection = apsw.Connection(path)
        connection.enable_load_extension(True)
        connection.load_extension(self.sqlite_vec.loadable_path())
        connection.enable_load_extension(False)
        return connection

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all documents, one commit a batch."""
        dim = rows.vectors.shape[1]
        connection = self.connect(folder)
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table documents (row integer primary key, id text unique, text text)")
        connection.execute(
            f"create virtual table vectors using vec0(embedding float[{dim}] distance_metric=cosine, bits bit[{dim}])"
        )
        first = 0
        for ids, texts, vectors in rows.batches(BATCH):
            numbers = range(first, first + len(ids))
            packed = [vector.tobytes() for vector in vectors]
            connection.execute("begin")
            connection.executemany("insert into documents values (?, ?, ?)", zip(numbers, ids, texts, strict=True))
            connection.executemany(
                "insert into vectors(rowid, embedding, bits) values (?, ?, vec_quantize_binary(?))",
                zip(numbers, packed, packed, strict=True),
            )
            connection.execute("commit")
            first += len(ids)
        connection.close()

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Open the file, mapped as far as SQLite lets; by default it is several times slower. It has one thread."""
        self.connection = self.connect(folder)
        self.connection.execute("pragma mmap_size = 2147418112")
        self.connection.execute("pragma cache_size = -65536")

    def search(self, query: Float32, **point: Any) -> Pairs:
        """Search for one."""
        bound = {"query": query.tobytes(), "k": K, **point}
        found: Pairs = self.connection.execute(self.SEARCH, bound).fetchall()
        return found


class LanceDb(Engine):
    """LanceDB: its default index of vectors, IVF_PQ, or none."""

    def __init__(self, is_indexed: bool) -> None:
        self.is_indexed = is_indexed

    def load(self) -> None:
        """Import it."""
        import lancedb
        import pyarrow

        self.lancedb, self.pyarrow = lancedb, pyarrow

    def build(self, rows: Rows, folder: Path) -> None:
        """Create the table from Arrow batches, then the index as it is by default."""
        pa, dim = self.pyarrow, rows.vectors.shape[1]
        vector = pa.list_(pa.float32(), dim)
        schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("vector", vector)])

        def batches() -> Iterator[Any]:
            for ids, texts, vectors in rows.batches(BATCH):
                column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim)
                yield pa.RecordBatch.from_arrays([pa.array(ids), pa.array(texts), column], schema=schema)

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        table = self.lancedb.connect(folder).create_table("documents", reader)
        if self.is_indexed:
            from lancedb.index import IvfPq

            table.create_index("vector", config=IvfPq(distance_type="cosine"))

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Open the table; threads are set by the environment."""
        self.table = self.lancedb.connect(folder).open_table("documents")

    def search(self, query: Float32, **point: Any) -> Pairs:
        """Search for one."""
        asked = self.table.search(query, vector_column_name="vector").distance_type("cosine").limit(K)
        for name, value in point.items():
            asked = getattr(asked, name)(value)
        found = asked.select(["id", "text", "_distance"]).to_arrow().to_pydict()
        return list(zip(found["id"], found["text"], strict=True))


class Chroma(Engine):
    """Chroma in a folder; what it searches with is read when a collection is opened, so each has its own."""

    def __init__(self, ef: int) -> None:
        self.ef = ef

    def load(self) -> None:
        """Import it."""
        import chromadb

        self.chromadb = chromadb

    def _client(self, folder: Path) -> Any:
        settings = self.chromadb.config.Settings(anonymized_telemetry=False)
        return self.chromadb.PersistentClient(str(folder), settings=settings)

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all documents, in batches as large as it takes."""
        client = self._client(folder)
        hnsw = {"space": "cosine", "ef_search": self.ef}
        collection = client.create_collection("documents", configuration={"hnsw": hnsw}, embedding_function=None)
        for ids, texts, vectors in rows.batches(min(BATCH, client.get_max_batch_size())):
            collection.add(ids=ids, embeddings=vectors, documents=texts)

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Open the collection."""
        self.collection = self._client(folder).get_collection("documents", embedding_function=None)

    def search(self, query: Float32, **point: Any) -> Pairs:
        """Search for one."""
        return self.search_batch(query[None])[0]

    def search_batch(self, queries: Float32, **point: Any) -> list[Pairs]:
        """Search for all."""
        found = self.collection.query(query_embeddings=queries, n_results=K, include=["documents"])
        return [list(zip(*pair, strict=True)) for pair in zip(found["ids"], found["documents"], strict=True)]


class Qdrant(Engine):
    """Qdrant's client in its local mode, which compares with all rows by NumPy."""

    def load(self) -> None:
        """Import it."""
        import qdrant_client

        self.qdrant = qdrant_client

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all documents."""
        models = self.qdrant.models
        client = self.qdrant.QdrantClient(path=str(folder))
        size = rows.vectors.shape[1]
        kind = models.VectorParams(size=size, distance=models.Distance.COSINE)
        client.create_collection("documents", vectors_config=kind)
        for ids, texts, vectors in rows.batches(1000):
            payloads = [{"id": name, "text": text} for name, text in zip(ids, texts, strict=True)]
            points = models.Batch(ids=[int(name) for name in ids], vectors=vectors.tolist(), payloads=payloads)
            client.upsert("documents", points)
        client.close()

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Open the folder."""
        self.client = self.qdrant.QdrantClient(path=str(folder))

    def search(self, query: Float32, **point: Any) -> Pairs:
        """Search for one."""
        return self._pairs(self.client.query_points("documents", query=query, limit=K, with_payload=True))

    def search_batch(self, queries: Float32, **point: Any) -> list[Pairs]:
        """Search for all."""
        request = self.qdrant.models.QueryRequest
        asked = [request(query=query.tolist(), limit=K, with_payload=True) for query in queries]
        return [self._pairs(found) for found in self.client.query_batch_points("documents", asked)]

    def _pairs(self, found: Any) -> Pairs:
        return [(point.payload["id"], point.payload["text"]) for point in found.points]


class InMemory(Engine):
    """LangChain's `InMemoryVectorStore`: lists of floats, compared with all; nothing is kept on disk."""

    def load(self) -> None:
        """Import it."""
        from langchain_core.documents import Document
        from langchain_core.embeddings import Embeddings
        from langchain_core.vectorstores import InMemoryVectorStore

        class Ready(Embeddings):
            """Gives back the vectors that were put into it."""

            vectors: list[list[float]]

            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return self.vectors

            def embed_query(self, text: str) -> list[float]:
                raise NotImplementedError

        self.document, self.store_class, self.embeddings = Document, InMemoryVectorStore, Ready()

    def build(self, rows: Rows, folder: Path) -> None:
        """Add all documents, and forget them."""
        self._add(rows)

    def open(self, folder: Path, rows: Rows, threads: int) -> None:
        """Add all documents: there is no file to open."""
        self.store = self._add(rows)

    def _add(self, rows: Rows) -> Any:
        store = self.store_class(self.embeddings)
        for ids, texts, vectors in rows.batches(BATCH):
            self.embeddings.vectors = vectors.tolist()
            documents = [self.document(id=name, page_content=text) for name, text in zip(ids, texts, strict=True)]
            store.add_documents(documents)
        return store

    def search(self, query: Float32, **point: Any) -> Pairs:
        """Search for one."""
        found = self.store.similarity_search_by_vector(query.tolist(), k=K)
        return [(document.id, document.page_content) for document in found]


def ours(dim: int) -> list[Contender]:
    """Return binrag's stores for vectors of `dim` dimensions; ratios are by the first one."""
    by_tables = ({"n_candidates": 30}, {"n_candidates": 60}, {"n_candidates": 120}, {}, {"n_candidates": 800})
    by_signs = ({"n_candidates": 100}, {"n_candidates": 200}, {"n_candidates": 400}, {}, {"n_candidates": 2000})
    kind: dict[str, Any] = {"returns": "ids, texts", "is_ours": True}

    def store(name: str, binarizer: str, setting: str, points: tuple[dict[str, Any], ...]) -> Contender:
        return Contender(f"binrag, {name}", Binrag, setting, options={"binarizer": binarizer}, points=points, **kind)

    signs = store("signs", "sign", "signs, int8 on disk", by_signs)
    if dim != 384:
        return [store("auto", "auto", "codes fitted by the store, int8 on disk", by_tables), signs]
    return [
        store(f"{n} bytes", f"all-minilm-l6-v2-{n}", "shipped codes, int8 on disk", by_tables) for n in (96, 192)
    ] + [signs]


def stores(dim: int) -> list[Contender]:
    """Return the peers that keep documents, for vectors of `dim` dimensions."""
    kind: dict[str, Any] = {"returns": "ids, texts"}
    few: dict[str, Any] = {"most_rows": 100_000}
    lance: dict[str, Any] = {"needs": ("lancedb",), **kind}
    coarse = tuple({"coarse": n} for n in (80, 100, 120, 160, 320))
    probes = tuple({"nprobes": n, "refine_factor": f} for n, f in ((5, 5), (10, 10), (20, 10), (50, 20), (100, 50)))
    sqlite_vec: dict[str, Any] = {"needs": ("sqlite-vec", *(() if CAN_LOAD else ("apsw",))), **kind}
    chroma: dict[str, Any] = {"needs": ("chromadb",), "family": "Chroma", **kind, **few}
    return [
        Contender(
            "sqlite-vec",
            SqliteVec,
            "bits, float32 reorders; mmap_size 2 GB, cache_size 64 MB",
            points=coarse,
            **sqlite_vec,
        ),
        Contender("LanceDB", LanceDb, "IVF_PQ, default", options={"is_indexed": True}, points=probes, **lance),
        Contender("LanceDB, no index", LanceDb, "scan of float32", options={"is_indexed": False}, **lance, **few),
        *(
            Contender(f"Chroma, ef {ef}", Chroma, f"HNSW, default, ef_search {ef}", options={"ef": ef}, **chroma)
            for ef in (50, 100, 200)
        ),
        Contender("Qdrant local", Qdrant, "scan by NumPy", needs=("qdrant-client",), **kind, **few),
        Contender(
            "InMemoryVectorStore",
            InMemory,
            "LangChain, scan by NumPy; opened by adding",
            needs=("langchain-core",),
            **kind,
            **few,
        ),
    ]
