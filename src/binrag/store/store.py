"""`Store`: text in, answers out, one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from binrag import pipeline
from binrag.encoders import resolve_encoder
from binrag.errors import BinragError, InvalidInput, UnsupportedMode
from binrag.probe import Probe
from binrag.protocols import Binarizer
from binrag.storage import Database, Reading, Writing
from binrag.store import autofit, writer
from binrag.store.adding import Encoding
from binrag.store.batches import Spool, batches, checked_ids, checked_texts, length_of
from binrag.store.encoding import CheckedEncoder, warn_of_truncated
from binrag.store.facts import info_of, stats_of
from binrag.store.progress import progress_of
from binrag.store.recoding import BinarizerLike, recode
from binrag.store.sampled import PROBE, KnownGain, Sample
from binrag.store.searching import hits_of
from binrag.store.settings import Settings, check_mode, checked_candidates, checked_count, first_space, settings_with
from binrag.store.snapshot import Snapshot
from binrag.store.space import VectorSpace, checked_vectors
from binrag.store.training import Request, TrainingJob
from binrag.threads import Mutex, n_processors
from binrag.types import (
    Document,
    Float32,
    Hit,
    KeepVectors,
    Metadata,
    Mode,
    Progress,
    StoreInfo,
    StoreStats,
    Training,
)

_TENANT = ""
_PAGE = 256


class Store:
    """Documents, their codes and their vectors, in one file.

    Make one with `Store.open`. A store may be used from any thread; it is a context manager that closes itself.
    """

    def __init__(self, database: Database, encoder: CheckedEncoder, settings: Settings, n_threads: int) -> None:
        self._database = database
        self._encoder = encoder
        self._settings = settings
        self._n_threads = n_threads
        self._space: VectorSpace | None = None
        self._snapshot = Snapshot()
        self._refreshing = Mutex()
        self._fitting = Mutex()
        self._gain = KnownGain()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        mode: Mode = "c",
        *,
        encoder: Any = None,
        binarizer: str | Binarizer | None = None,
        code_bytes: int | None = None,
        dim: int | None = None,
        keep_vectors: KeepVectors | None = None,
        lock_timeout: float = 10.0,
        n_threads: int | None = None,
        seed: int | None = None,
        auto_fit: bool | None = None,
    ) -> Store:
        """Open a store, or create it.

        Parameters
        ----------
        path : str or path
            The file.
        mode : "c", "r", "rw" or "x"
            Read and write, created if missing; read only; read and write, must exist; create, must not exist.
        encoder : str, path, SentenceTransformer, embeddings, callable, Encoder or None
            What encodes texts: a model's name or folder; a loaded model; an object with ``embed_documents`` and
            ``embed_query``; a function from a list of texts to vectors. ``"recorded"`` loads the model that the
            file names. None: vectors only. It is compared with the recorded one at the first encoding.
        binarizer : "auto", "sign", "rotated-sign" or Binarizer, optional
            How vectors become codes: a name, or an object of a registered class, which the file then keeps. "auto" if
            a new store is made without saying: the binarizer that comes with binrag for the encoder, else "sign" until
            there are enough documents to fit codes to; see `auto_fit`.
        code_bytes : int, optional
            Bytes a row in memory, everything counted; what the binarizer has if a new store is made without saying. For
            all-MiniLM-L6-v2, "auto" has 48, 96 (the default) and 192.
        dim : int, optional
            Dimension of the vectors, 1 to 4,096; by default that of the first vector.
        keep_vectors : "int8", "float16" or "none", optional
            What is kept on disk to score the last candidates by; "int8" if a new store is made without saying.
        lock_timeout : float
            Seconds to wait for another writer.
        n_threads : int, optional
            Threads that share the scan of a search, at most; as many as this process has processors by default. Hits
            are the same.
        seed : int, optional
            Draws what a binarizer draws; 0 if a new store is made without saying.
        auto_fit : bool, optional
            Whether "auto" codes are fitted to the store's own vectors when it has 5,000 documents, or 4 a dimension and
            200 if that is more: by the commit that reaches them, once, in seconds, announced by a line of the logger
            "binrag". Vectors that few bits don't suit get 4 bits a dimension, with an `AutoFitWarning`. True if a new
            store is made without saying. The file keeps it, since whoever adds the 5,000th document fits the codes of
            all; so another value than the file's is refused, and ``recode("sign")`` is how to settle on signs later.
            Nothing is fitted below 64 dimensions, with `code_bytes`, or where no vectors are kept.

        Raises
        ------
        StoreNotFound, StoreExists, NotAStore, FormatVersionError, ReadOnlyStore, StoreLocked
            The file cannot be opened in this mode.
        BinarizerMismatch, DimensionMismatch, InvalidInput
            A setting that contradicts the file's, or makes no sense.
        """
        check_mode(mode, lock_timeout)
        n_threads = n_processors() if n_threads is None else checked_count("n_threads", n_threads)
        is_new = mode in ("c", "x") and not Path(path).exists()
        asked, initial = settings_with(binarizer, Settings(None, dim, keep_vectors, seed, code_bytes, auto_fit), is_new)
        is_recorded = isinstance(encoder, str) and encoder == "recorded"
        resolved = None if is_recorded else resolve_encoder(encoder)
        database = Database.open(Path(path), mode, lock_timeout, initial)
        try:
            with database.reading() as reading:
                recorded = asked.check_agreement(reading, initial.get("binarizer"))
                if is_recorded:
                    resolved = resolve_encoder((reading.get("encoder") or {}).get("encoder_id"))
            return cls(database, CheckedEncoder(resolved), recorded, n_threads)
        except BaseException:
            database.close()
            raise

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def add(
        self,
        texts: Iterable[str | None] | None = None,
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata | None] | None = None,
        vectors: Iterable[Any] | None = None,
        batch_size: int = 256,
        commit_every: int | None = None,
        progress: Progress = None,
    ) -> list[str]:
        """Add documents; one whose id is in the store replaces what was there.

        Everything of one call commits together or not at all, unless `commit_every` is given. Texts are encoded
        before the store is locked.

        Parameters
        ----------
        texts : iterable of str, optional
            The texts; may be a generator. Where vectors are given, a text may be None.
        ids : iterable of str, optional
            Their names; generated if not given.
        metadata : iterable of (dict or None), optional
            Stored with them; see the README for the types.
        vectors : iterable of float (dim,), or float (n, dim), optional
            Their vectors, if you have them; else the encoder makes them.
        batch_size : int
            Texts handed to the encoder at once. Eight times as many are read and in memory, for those of about one
            length to be encoded together. Of no effect where vectors are given.
        commit_every : int, optional
            Commit after every so many documents; what was committed stays if a later one fails.
        progress : bool, callable or None
            True shows a bar, False none; a callable is called with the documents done and their total, if known;
            None shows a bar on a terminal for long work.

        Returns
        -------
        list of str
            The ids, in the order of the documents.

        Raises
        ------
        InvalidInput, InvalidVector, InvalidMetadata, DimensionMismatch, EncoderMismatch
            Nothing of the call (since the last `commit_every`) was stored.
        ReadOnlyStore, StoreLocked, StorageFull
        """
        self._database.check_writable()
        if texts is None and vectors is None:
            raise InvalidInput("got neither texts nor vectors; expected one of them")
        batch_size = checked_count("batch_size", batch_size)
        per_commit = None if commit_every is None else checked_count("commit_every", commit_every)
        if per_commit is not None and self._database.in_transaction:
            raise UnsupportedMode("commit_every inside transaction(), which commits once; leave one of them out")
        source = batches(texts, ids, metadata, vectors, batch_size, per_commit)
        total = length_of(texts, ids, metadata, vectors)
        added: list[str] = []
        with progress_of(progress, total, "adding") as report:
            while spool := self._encoding().spooled(source, per_commit, batch_size, report):
                with spool:
                    added += self._write(spool)
                self._fit_if_due(progress)
                if per_commit is None:  # one spool held everything
                    break
        return added

    def _space_of(self, reading: Reading) -> VectorSpace | None:
        """Return the space as `reading` sees it; one that is committed is kept for the next call."""
        space = VectorSpace.read(reading, self._space)
        if not isinstance(reading, Writing):
            self._space = space
        return space

    def _encoding(self) -> Encoding:
        with self._database.reading(own_writes=True) as reading:
            return Encoding(self._encoder, reading.get("encoder"), self._space_of(reading), self._settings.dim)

    def _write(self, spool: Spool) -> list[str]:
        added: list[str] = []
        n_truncated = 0
        with self._database.writing() as writing:
            space = self._space_of(writing)
            if spool.is_encoded:
                self._encoder.write(writing, space)
            for batch in spool:
                if space is None:
                    space = first_space(writing, batch.vectors.shape[1], spool.similarity)
                space.check_dim(batch.vectors)
                writer.append(writing, _TENANT, space, self._keep, batch)
                added += batch.ids
                n_truncated += batch.n_truncated
        warn_of_truncated(n_truncated, len(added))
        return added

    def _fit_if_due(self, progress: Progress) -> None:
        """Fit codes if a commit of this thread made that due; the commit stands, whatever comes of it."""
        if self._database.in_transaction:
            return
        with suppress(BinragError):  # damage is for whoever reads it to report
            with self._database.reading() as reading:
                space = self._space_of(reading)
                due = autofit.is_due(reading, space)
            if due and space is not None:
                with self._fitting:
                    autofit.fit(self._database, self._encoder, space, False if callable(progress) else progress)

    def search(self, query: str | npt.ArrayLike, k: int = 10, *, n_candidates: int | None = None) -> list[Hit]:
        """Find the documents most similar to a query.

        Parameters
        ----------
        query : str or float (dim,)
            A text, or its vector.
        k : int
            How many hits to return; fewer only if the store holds fewer documents.
        n_candidates : int, optional
            How many rows the scan hands on to be scored by the float query; at least k. More find more
            of what float32 would find, and take longer.

        Returns
        -------
        list of Hit
            Best first; ties in the order the documents were added.

        Raises
        ------
        InvalidInput, InvalidVector, DimensionMismatch, EncoderMismatch, StoreClosed, CorruptStore
        """
        return self.search_batch(cast(list[str], [query]), k, n_candidates=n_candidates)[0]

    def search_batch(
        self, queries: Iterable[str] | Iterable[npt.ArrayLike], k: int = 10, *, n_candidates: int | None = None
    ) -> list[list[Hit]]:
        """Search for several queries in the same commit's state.

        Parameters
        ----------
        queries : list of str, or float (n, dim)
            The queries.
        k, n_candidates : int
            As in `search`, for each query.

        Returns
        -------
        list of list of Hit
            One list a query, each as `search` returns it.
        """
        k = checked_count("k", k)
        n_candidates = checked_candidates(k, n_candidates)
        vectors = self._query_vectors(queries)
        with self._view() as (reading, snapshot):
            found: list[list[Hit]] = []
            left = iter(vectors)
            while tile := list(islice(left, pipeline.TILE * self._n_threads)):
                found += hits_of(reading, snapshot, tile, k, n_candidates, self._keep, self._n_threads)
            return found

    def _query_vectors(self, queries: Any) -> Iterable[Float32]:
        if isinstance(queries, str) or not isinstance(queries, Iterable):
            raise InvalidInput(f"queries is {queries!r}, expected a list of texts or vectors; search takes one")
        listed = queries if isinstance(queries, np.ndarray) and queries.dtype.kind == "f" else list(queries)
        if len(listed) == 0:
            return []
        is_text = isinstance(listed[0], str)
        space, record = self._snapshot.space, None
        if space is None or (is_text and not self._encoder.is_checked):
            with self._view() as (reading, snapshot):
                space, record = snapshot.space, reading.get("encoder")
        dim = space.dim if space else self._settings.dim
        if is_text:
            self._encoder.check(record, space)
            return self._encoder.encode_queries(checked_texts("queries", listed), dim)
        return checked_vectors(listed, dim, lambda i: f"query vector {i}" if len(listed) > 1 else "the query vector")

    @contextmanager
    def _view(self) -> Iterator[tuple[Reading, Snapshot]]:
        """Read in one transaction, with the snapshot of exactly its commit."""
        while True:
            with self._database.reading() as reading:
                head = reading.head()
                with self._refreshing:
                    snapshot = self._snapshot
                    if head.generation >= snapshot.generation:
                        snapshot = self._snapshot = snapshot.refreshed(reading, head)
                if snapshot.generation == head.generation:
                    yield reading, snapshot
                    return

    def get(self, ids: Iterable[str]) -> list[Document]:
        """Return the documents of these ids, in this order; ids that are not in the store are skipped.

        Inside `transaction`, what it has written so far is seen.
        """
        names = checked_ids(ids)
        with self._database.reading(own_writes=True) as reading:
            found = reading.documents_by_id(_TENANT, names)
        return [found[name] for name in names if name in found]

    def delete(self, ids: Iterable[str]) -> int:
        """Delete the documents of these ids and return how many there were; unknown ids are no error."""
        names = checked_ids(ids)
        with self._database.writing() as writing:
            return writer.remove(writing, _TENANT, names)

    def count(self) -> int:
        """Count the documents; inside `transaction`, as it has them so far."""
        with self._database.reading(own_writes=True) as reading:
            return reading.count(_TENANT)

    def iter(self) -> Iterator[Document]:
        """Yield all documents in the order they were added; one replaced counts as added then.

        Documents added or deleted meanwhile may or may not be seen.
        """
        last = -1
        while True:
            with self._database.reading(own_writes=True) as reading:
                page = reading.documents_after(_TENANT, last, _PAGE)
            yield from (document for _, document in page)
            if len(page) < _PAGE:
                return
            last = page[-1][0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several calls one commit: all of them, or nothing if the block raises.

        The transaction belongs to the calling thread. `get`, `count` and `iter` see what it has written; `search`
        sees the last commit.

        Raises
        ------
        UnsupportedMode
            If the thread is inside one already.
        """
        with self._database.transaction():
            yield
        self._fit_if_due(None)

    def refresh(self) -> int:
        """Load what other handles committed, as a search does by itself; return the generation now in view."""
        with self._view() as (_, snapshot):
            return snapshot.generation

    def recode(
        self, binarizer: BinarizerLike, *, vectors: Iterable[Any] | None = None, progress: Progress = None
    ) -> None:
        """Give every document a new code, in one transaction.

        Until it commits, searches go on with the old codes; then every handle loads the new ones. Documents added
        later are coded by the new binarizer too. 4,096 documents are in memory at a time.

        Parameters
        ----------
        binarizer : "sign", "rotated-sign", path, or Binarizer
            A name; the path of an artefact, which has a dot, or the name of one that comes with binrag; or an object
            of a registered class.
        vectors : iterable of float (dim,), or float (n, dim), optional
            The documents' vectors, in the order of `iter`. If not given: the vectors that the store keeps; if it keeps
            none, the texts are encoded again, before the store is locked, with a warning that says how long it takes.
        progress : bool, callable or None
            As in `add`.

        Raises
        ------
        VectorsUnavailable
            If no vectors are given or kept, and there is no encoder or a document without a text.
        DimensionMismatch, EncoderMismatch, BinarizerMismatch, InvalidInput, InvalidVector
            The codes are as they were. An artefact is refused where its encoder or its dimension is not the store's.
        ReadOnlyStore, StoreLocked, StorageFull
        """
        self._database.check_writable()
        with self._database.reading(own_writes=True) as reading:
            space = self._space_of(reading)
        recode(self._database, self._encoder, space, binarizer, vectors, progress)

    def train_binarizer(
        self,
        kind: str = "additive",
        *,
        code_bytes: int | None = None,
        queries: Iterable[Any] | str | None = None,
        vectors: npt.ArrayLike | None = None,
        start: str | os.PathLike[str] | Binarizer | None = None,
        artefact: str | os.PathLike[str] | None = None,
        seed: int = 0,
        force: bool = False,
        progress: Progress = None,
    ) -> Training:
        """Fit a binarizer to the documents' vectors, and give every document a new code by it.

        Vectors come from where `recode` takes them; 65,536 of them are fitted to.

        Parameters
        ----------
        kind : str
            "additive", the best; "quick" ("nested" or "levels", fitted in seconds; what "auto" fits); "linear",
            "nested" (linear behind a plane of signs, which the Hamming scan compares), "allocated", "levels",
            "lloyd-max", "itq", "median-sign"; or "recurrent", a trained network, which needs torch.
        code_bytes : int, optional
            Bytes a row in memory, everything counted; by default a quarter of a byte a dimension, for kinds of one bit
            an eighth.
        queries : list of str, float (n, dim), or "sentences", optional
            Queries like those to come; "sentences" takes a sentence each of some documents. Documents stand in.
        vectors : float (n, dim), optional
            The documents' vectors, in the order of `iter`.
        start : path or Binarizer, optional
            A fitted binarizer of this kind, or its artefact, to adapt to these documents.
        artefact : path, optional
            Where to write the binarizer too, for other stores.
        seed : int
            Draws what fitting draws.
        force : bool
            Fit fewer bits than the vectors need too; see `probe`.
        progress : bool, callable or None
            As in `add`.

        Returns
        -------
        Training
            What it came to, judged by held-out queries.

        Raises
        ------
        TrainingError
            If there are too few documents, or they are all the same; or few bits don't suit the vectors.
        MissingDependency
            If what is to be trained needs torch, which is not installed.
        VectorsUnavailable, InvalidInput, InvalidVector, DimensionMismatch, EncoderMismatch
            The codes are as they were.
        ReadOnlyStore, StoreLocked, StorageFull
        """
        self._database.check_writable()
        with self._database.reading(own_writes=True) as reading:
            space = self._space_of(reading)
        job = TrainingJob(self._database, self._encoder, space, self._keep, seed, progress, force)
        return job.run(Request(kind, code_bytes, queries, start, artefact), vectors)

    def probe(self) -> Probe:
        """Measure, on the sample of vectors that the store keeps, what few bits a dimension would do to them.

        The result is kept in the file, if it is open for writing, and its verdict shown by `info`.

        Raises
        ------
        InvalidInput
            If there are fewer than 48 documents.
        """
        with self._database.reading(own_writes=True) as reading:
            sampled = Sample.read(reading, self._space_of(reading))
        found = sampled.probe()
        if self._database.writable:
            with self._database.writing() as writing:
                writing.put(PROBE, found.record())
        return found

    def info(self) -> StoreInfo:
        """Return what the store is: its settings and its encoder."""
        with self._database.reading() as reading:
            return info_of(self.path, reading, self._space_of(reading), _TENANT)

    def stats(self) -> StoreStats:
        """Return what the store costs, rows and bytes in memory and on disk, and what training would gain.

        The gain is measured on the sample of vectors at the first call, which takes up to about a second, and again
        after the codes changed or the sample doubled.
        """
        with self._view() as (reading, snapshot):
            n_bytes = snapshot.index.nbytes if snapshot.index else 0
            stats = stats_of(reading, _TENANT, self._database.file_bytes(), n_bytes)
            sampled = Sample.read(reading, snapshot.space)
        return replace(stats, training_gain=self._gain.of(sampled))

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the store's last commit to a new file, while others read and write.

        Raises
        ------
        StoreExists
            If there is a file at the path.
        """
        self._database.backup(Path(path))

    def close(self) -> None:
        """Close the store; again is no error. With the last handle, one file is left."""
        self._database.close()
        self._snapshot = Snapshot()

    @property
    def _keep(self) -> KeepVectors:
        return self._settings.keep_vectors or "int8"

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()
