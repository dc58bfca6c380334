"""`Store`: text in, answers out, one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import replace as with_fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from binrag.errors import InvalidInput, UnsupportedMode
from binrag.protocols import Binarizer
from binrag.storage import Database
from binrag.store import adding, adopting, documents
from binrag.store.batches import batches, length_of
from binrag.store.encoding import CheckedEncoder, checked_late_interaction, encoder_for
from binrag.store.facade import Searching, Where, filter_of
from binrag.store.facts import info_of, stats_of
from binrag.store.handle import Handle, checked_tenant
from binrag.store.ledger import Ledger
from binrag.store.progress import progress_of
from binrag.store.sampled import PROBE, KnownGain, Sample
from binrag.store.settings import Settings, check_handle, checked_count, settings_with
from binrag.store.words import LEXICAL, Language, Lexical, check_words, checked_lexical, index_words, new_record
from binrag.threads import n_processors
from binrag.types import (
    Compaction,
    Document,
    Durability,
    Finding,
    Float32,
    KeepVectors,
    Metadata,
    Mode,
    Progress,
    StoreInfo,
    StoreStats,
    Tenant,
    Training,
)

if TYPE_CHECKING:  # imported where they are used
    from binrag.encoders.late_interaction import LateInteraction
    from binrag.probe import Probe
    from binrag.store.recoding import BinarizerLike


class Store(Searching):
    """Documents, their codes and their vectors, in one file.

    Make one with `Store.open`. A store may be used from any thread; it is a context manager that closes itself. A copy,
    and what comes out of a pickle, is another handle on the same file, opened anew by its path.
    """

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
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
        durability: Durability = "commit",
        lock_timeout: float = 10.0,
        n_threads: int | None = None,
        seed: int | None = None,
        auto_fit: bool | None = None,
        tenant: str | None = None,
        late_interaction: LateInteraction | None = None,
        lexical: Language | Lexical | None = None,
    ) -> Store:
        """Open a store, or create it.

        Parameters
        ----------
        path : str or path
            The file.
        mode : "c", "r", "rw" or "x"
            Read and write, created if missing; read only; read and write, must exist; create, must not exist.
        encoder : str, path, SentenceTransformer, MultiVectorEncoder, embeddings, callable, Encoder or None
            What encodes texts: a model's name or folder; a loaded model; an object with ``embed_documents`` and
            ``embed_query``; a function from a list of texts to vectors. ``"recorded"`` loads the model that the
            file names. None: vectors only. It is compared with the recorded one at the first encoding. A new store
            made with a ``MultiVectorEncoder`` holds a vector for each token; see `late_interaction`.
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
        durability : "commit" or "os"
            What a commit of this handle waits for. "commit": until the disk has it; neither a kill nor a power cut
            takes it away. "os": until the system has it, for loads of many commits that can be repeated; a kill takes
            nothing away, a power cut may take the last commits, and leaves a sound store with all before them. The
            last handle that closes waits for the disk, and so does the next commit of a handle with "commit", for
            all before it too. The file does not record it.
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
        tenant : str, optional
            The tenant that this handle is for: its calls add, find, count and delete that tenant's documents, refuse
            any other tenant, and refuse what is about the whole file. By default a handle may be asked for any tenant
            in each call.
        late_interaction : LateInteraction, optional
            For a new store of token vectors: how they are held. ``LateInteraction()`` if a `MultiVectorEncoder` is
            given; to be given where the encoder is a model's name, a function, or None. The file keeps it.
        lexical : "en", "any" or Lexical, optional
            For a new store whose texts are also to be found by their words: by English rules (stop words, plurals), or
            by none of any language; ``Lexical("en", stop_words=[…])`` leaves out words of your own choice. The file
            keeps it; see `index_words` for a store without.

        Raises
        ------
        StoreNotFound, StoreExists, NotAStore, FormatVersionError, ReadOnlyStore, StoreLocked
            The file cannot be opened in this mode.
        BinarizerMismatch, DimensionMismatch, InvalidInput, UnsupportedMode
            A setting that contradicts the file's, or makes no sense; an encoder of token vectors for a store of one
            vector a document, or the reverse.
        """
        check_handle(mode, lock_timeout, durability)
        n_threads = n_processors() if n_threads is None else checked_count("n_threads", n_threads)
        tenant = None if tenant is None else checked_tenant(tenant)
        is_new = mode in ("c", "x") and not Path(path).exists()
        late = checked_late_interaction(late_interaction, encoder if is_new else None)
        asked = Settings(None, dim, keep_vectors, seed, code_bytes, auto_fit, late)
        asked, initial = settings_with(binarizer, asked, is_new)
        words = None if lexical is None else checked_lexical(lexical)
        if words is not None:
            initial[LEXICAL] = new_record(words)
        resolved = encoder_for(encoder, late, None) if is_new else None
        database = Database.open(Path(path), mode, lock_timeout, initial, durability)
        try:
            with database.reading() as reading:
                recorded = asked.check_agreement(reading, initial.get("binarizer"))
                check_words(reading, words)
                if not is_new:
                    resolved = encoder_for(encoder, recorded.late_interaction, reading.get("encoder"))
            return cls(Handle(database, CheckedEncoder(resolved), recorded, n_threads, tenant))
        except BaseException:
            database.close()
            raise

    @property
    def path(self) -> Path:
        """The file."""
        return self._handle.database.path

    @property
    def options(self) -> dict[str, Any]:
        """What else this handle was opened with: ``lock_timeout``, ``durability``, ``n_threads``, ``tenant``."""
        return self._handle.options

    @property
    def mode(self) -> Literal["r", "rw"]:
        """What the store is open for: reading, or reading and writing."""
        return "rw" if self._handle.database.writable else "r"

    def add(
        self,
        texts: Iterable[str | None] | None = None,
        *,
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata | None] | None = None,
        vectors: Iterable[Any] | None = None,
        tenant: str | None = None,
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
            Their vectors, if you have them; else the encoder makes them. In a store of token vectors, a matrix a
            document, float (n_tokens, dim).
        tenant : str, optional
            Whose documents they are. An id names one document of a tenant; another tenant's may have the same. By
            default that of the handle, else the unnamed tenant.
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
        self._handle.database.check_writable()
        owner = self._handle.one_tenant(tenant)
        if texts is None and vectors is None:
            raise InvalidInput("got neither texts nor vectors; expected one of them")
        batch_size = checked_count("batch_size", batch_size)
        per_commit = None if commit_every is None else checked_count("commit_every", commit_every)
        if per_commit is not None and self._handle.database.in_transaction:
            raise UnsupportedMode("commit_every inside transaction(), which commits once; leave one of them out")
        source = batches(texts, ids, metadata, vectors, batch_size, per_commit)
        with progress_of(progress, length_of(texts, ids, metadata, vectors), "adding") as report:
            return adding.add(self._handle, source, owner, per_commit, batch_size, report, progress)

    def get(self, ids: Iterable[str], *, where: Where = None, tenant: str | None = None) -> list[Document]:
        """Return a tenant's documents of these ids, in this order; ids that are not in the store are skipped.

        Inside `transaction`, what it has written so far is seen.

        Parameters
        ----------
        ids : list of str
            Their ids.
        where : dict or Filter, optional
            What their metadata must be, as in `search`; those that don't match are skipped.
        tenant : str, optional
            Whose documents they are; by default those of the handle's tenant, else of the unnamed one.
        """
        return documents.get(self._handle, ids, self._handle.one_tenant(tenant), filter_of(where))

    def vectors(self, ids: Iterable[str], *, tenant: str | None = None) -> dict[str, Float32]:
        """Return the kept vectors of a tenant's documents, by id; ids that are not in the store are left out.

        Returns
        -------
        dict of str to float32 (dim,)
            Decoded from ``int8`` or ``float16``. For cosine similarity they are those given, at about unit length.

        Raises
        ------
        VectorsUnavailable
            If the store keeps none.
        """
        return documents.vectors(self._handle, ids, self._handle.one_tenant(tenant))

    def delete(self, ids: Iterable[str] | None = None, *, where: Where = None, tenant: Tenant = None) -> int:
        """Delete a tenant's documents and return how many there were.

        Parameters
        ----------
        ids : list of str, optional
            Their ids; unknown ones are no error.
        where : dict or Filter, optional
            What their metadata must be, as in `search`; ``{}`` is true of every document. With `ids`, both must hold.
        tenant : str, ALL_TENANTS or None
            As in `search`; all tenants only with `where` alone.

        Raises
        ------
        InvalidInput, InvalidFilter
            Neither `ids` nor `where`; nothing was deleted.
        ReadOnlyStore, StoreLocked, StorageFull
        """
        return documents.delete(self._handle, ids, self._whose(ids, tenant), filter_of(where))

    def update_metadata(
        self,
        metadata: Mapping[str, Any],
        ids: Iterable[str] | None = None,
        *,
        where: Where = None,
        remove: Iterable[str] = (),
        replace: bool = False,
        tenant: Tenant = None,
    ) -> int:
        """Change the metadata of a tenant's documents, in one commit, and return how many there were.

        Their texts, vectors and codes stay, and so does their place in the order of `iter`.

        Parameters
        ----------
        metadata : dict
            Each of its keys is set to its value, whatever was there: dicts and lists inside are replaced, not merged.
            Keys that it doesn't have stay as they are.
        ids, where, tenant
            Which documents, as in `delete`.
        remove : list of str
            Keys to drop; those that a document doesn't have are no error.
        replace : bool
            Whether `metadata` replaces all that there was.

        Raises
        ------
        InvalidInput, InvalidFilter, InvalidMetadata
            Nothing was changed.
        ReadOnlyStore, StoreLocked, StorageFull
        """
        whose = self._whose(ids, tenant)
        return documents.update_metadata(self._handle, metadata, ids, whose, filter_of(where), remove, replace)

    def count(self, *, where: Where = None, tenant: Tenant = None) -> int:
        """Count a tenant's documents; inside `transaction`, as it has them so far.

        Parameters
        ----------
        where : dict or Filter, optional
        tenant : str, ALL_TENANTS or None
            As in `search`.
        """
        return documents.count(self._handle, self._handle.tenants(tenant), filter_of(where))

    def iter(self, *, where: Where = None, tenant: Tenant = None) -> Iterator[Document]:
        """Yield a tenant's documents in the order they were added; one replaced counts as added then.

        Documents added, changed or deleted meanwhile may or may not be seen.

        Parameters
        ----------
        where : dict or Filter, optional
        tenant : str, ALL_TENANTS or None
            As in `search`.

        Raises
        ------
        UnsupportedMode
            If the store was compacted meanwhile, and it cannot be told any more which documents were yielded.
        """
        return documents.iterate(self._handle, self._handle.tenants(tenant), filter_of(where))

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
        with self._handle.database.transaction():
            yield
        adding.fit_if_due(self._handle, None)

    def ledger(self, namespace: str, *, tenant: str | None = None) -> Ledger:
        """Return the keys that an indexer has written under a name, which are kept in the same file.

        For whoever has to know on a later run what is in the store already, and what is to leave it. A backup and a
        compaction keep it; an export does not.

        Parameters
        ----------
        namespace : str
            A name of the indexer's choice.
        tenant : str, optional
            Whose entries these are. By default the handle's tenant, else the unnamed one.
        """
        handle = self._handle
        return Ledger(handle.database, handle.one_tenant(tenant), namespace)

    def record_encoder(self) -> None:
        """Record this handle's encoder as the one that made the vectors that were, or are to be, given.

        The first text that is encoded does so by itself. Without a record any encoder of the same dimension may ask a
        store, and codes of ``binarizer="auto"`` are not those that come with binrag for it. Before the first vector
        nothing is compared; after it, the texts of 20 documents are encoded and compared with their vectors. Codes that
        are there stay as they are.

        Raises
        ------
        EncoderMismatch
            There is no encoder; or vectors, or the encoder on record, are not its own. Nothing was recorded.
        VectorsUnavailable
            There are vectors, but no document with a text to compare them by.
        ReadOnlyStore, StoreLocked, StorageFull
        """
        self._handle.check_whole("record_encoder")
        adopting.record_encoder(self._handle)

    def refresh(self) -> int:
        """Load what other handles committed, as a search does by itself; return the generation now in view."""
        with self._handle.view() as (_, snapshot):
            return snapshot.generation

    def index_words(self, language: Language | Lexical = "en", *, progress: Progress = None) -> None:
        """Index the words of all texts, in one commit, so that searches may ask for `legs` with words.

        Texts are cut into words before the store is locked. An index that is there, be it damaged, is made anew.
        Documents added later are found by their words at once. They are folded into the index in the file after a
        commit, when 4,096 rows and one to 32 folded have come since, and when the store is compacted; till then they
        count by the statistics of the last fold.

        Parameters
        ----------
        language : "en", "any" or Lexical
            As `lexical` of `Store.open`; another than before replaces it.
        progress : bool, callable or None
            As in `add`.

        Raises
        ------
        InvalidInput, ReadOnlyStore, StoreLocked, StorageFull
        """
        handle = self._handle
        handle.check_whole("index_words")
        index_words(handle.database, handle.words, checked_lexical(language), progress)

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
            The vectors of all tenants' documents, in the order of ``iter(tenant=ALL_TENANTS)``. If not given: the
            vectors that the store keeps; if it keeps none, the texts are encoded again, before the store is locked,
            with a warning that says how long it takes.
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
        handle = self._handle
        handle.check_whole("recode")
        handle.check_of_one_vector("recode")
        handle.database.check_writable()
        with handle.database.reading(own_writes=True) as reading:
            space = handle.space_of(reading)
        from binrag.store.recoding import recode  # not needed to add and search

        recode(handle.database, handle.encoder, space, binarizer, vectors, progress)

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
            The vectors of all tenants' documents, in the order of ``iter(tenant=ALL_TENANTS)``.
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
        handle = self._handle
        handle.check_whole("train_binarizer")
        handle.check_of_one_vector("train_binarizer")
        handle.database.check_writable()
        with handle.database.reading(own_writes=True) as reading:
            space = handle.space_of(reading)
        from binrag.store.training import Request, TrainingJob  # not needed to add and search

        job = TrainingJob(handle.database, handle.encoder, space, handle.keep, seed, progress, force)
        return job.run(Request(kind, code_bytes, queries, start, artefact), vectors)

    def probe(self) -> Probe:
        """Measure, on the sample of vectors that the store keeps, what few bits a dimension would do to them.

        The result is kept in the file, if it is open for writing, and its verdict shown by `info`.

        Raises
        ------
        InvalidInput
            If there are fewer than 48 documents.
        """
        self._handle.check_whole("probe")
        self._handle.check_of_one_vector("probe")
        database = self._handle.database
        with database.reading(own_writes=True) as reading:
            sampled = Sample.read(reading, self._handle.space_of(reading))
        found = sampled.probe()
        if database.writable:
            with database.writing() as writing:
                writing.put(PROBE, found.record())
        return found

    def info(self) -> StoreInfo:
        """Return what the store is: its settings and its encoder."""
        with self._handle.database.reading() as reading:
            return info_of(self.path, reading, self._handle.space_of(reading), self._handle.tenant)

    def stats(self) -> StoreStats:
        """Return what the store costs, rows and bytes in memory and on disk, and what training would gain.

        The gain is measured on the sample of vectors at the first call, which takes up to about a second, and again
        after the codes changed or the sample doubled.
        """
        self._handle.check_whole("stats")
        with self._handle.view() as (reading, snapshot):
            n_bytes = snapshot.index.nbytes if snapshot.index else 0
            stats = stats_of(reading, snapshot.space, self._handle.database.file_bytes(), n_bytes)
            sampled = Sample.read(reading, snapshot.space)
        return with_fields(stats, training_gain=self._gain.of(sampled))

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the store's last commit to a new file, while others read and write.

        Raises
        ------
        StoreExists
            If there is a file at the path.
        """
        self._handle.check_whole("backup")
        self._handle.database.backup(Path(path))

    def verify(self, progress: Progress = None) -> list[Finding]:
        """Check the last commit's state: every record against its checksum, and the tables against each other.

        Others read and write meanwhile. `binrag.verify` does the same for a file that cannot be opened any more.

        Parameters
        ----------
        progress : bool, callable or None
            As in `add`; what is counted is rows.

        Returns
        -------
        list of Finding
            Empty where all is sound. Damage is returned, not raised.
        """
        self._handle.check_whole("verify")
        self._handle.database.check_open()
        from binrag.store.integrity import verify  # not needed to add and search

        return verify(self.path, progress)

    def compact(self, progress: Progress = None) -> Compaction:
        """Drop what deleted and replaced documents left behind, and give the space back.

        Rows are numbered anew, a tenant's together, in the order in which they were; ``iter(tenant=ALL_TENANTS)``
        follows. That is one commit. Others read meanwhile, and load all codes again afterwards. Needs up to twice the
        file's size of free disk, and memory for the codes, as a search does.

        Parameters
        ----------
        progress : bool, callable or None
            As in `add`.

        Returns
        -------
        Compaction
            Bytes before and after, and whether a reader held the space back.

        Raises
        ------
        ReadOnlyStore, StoreLocked, StorageFull, UnsupportedMode
        CorruptStore
            If a record is damaged; the store is as it was.
        """
        self._handle.check_whole("compact")
        from binrag.store.compacting import compact  # not needed to add and search

        return compact(self._handle, progress)

    def close(self) -> None:
        """Close the store; again is no error. With the last handle, one file is left."""
        self._handle.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self.mode, self._handle.encoder.encoder, self.options)

    def __deepcopy__(self, memo: object) -> Store:
        return copy(self)

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


def _reopened(path: Path, mode: Mode, encoder: Any, options: dict[str, Any]) -> Store:
    return Store.open(path, mode, encoder=encoder, **options)
