"""What the fault tests share: writers whose every commit is known beforehand, an oracle, and a disk that fails."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
import reference
from fakes import ids_of, vectors_of
from words_oracle import WordsOracle, record_of

import binrag.lexical.index
from binrag import Store
from binrag.storage import database

DIM = 64
SETTINGS = {"dim": DIM, "keep_vectors": "float16"}
WORDS_SETTINGS = {**SETTINGS, "lexical": "en"}
IS_LONG = os.environ.get("BINRAG_LONG_TESTS") == "1"

WRITE, TRUNCATE, SYNC, UNLINK, MARK = range(5)
STORE, LOG, JOURNAL = range(3)


def steps(*kinds, files=(STORE, LOG, JOURNAL)):
    """The mask that `faults_at` takes: steps of these kinds on these files."""
    return sum(1 << 4 * file + kind for file in files for kind in kinds)


EVERY_STEP = steps(WRITE, TRUNCATE, SYNC, UNLINK)


def rounds(few, many):
    """How often a test repeats what it does: few times in ``make test``, many with BINRAG_LONG_TESTS=1."""
    return many if IS_LONG else few


class Commit:
    """What it adds, deletes and changes, in one commit. Ids come in pairs, `<n>a` and `<n>b`, of one version."""

    def __init__(self, seed, number, n_pairs=40):
        draw = np.random.default_rng([seed, number])
        names = draw.permutation(n_pairs)[: draw.integers(2, 8)].tolist()
        kind = draw.choice(["add", "add", "delete", "both", "change"])
        n_added = {"add": len(names), "both": len(names) // 2}.get(kind, 0)
        self.number = number
        self.version = f"{seed}/{number}"
        self.is_change = kind == "change"
        self.compacts = bool(draw.random() < 0.15)
        self.added = [f"{name}{half}" for name in names[:n_added] for half in "ab"]
        self.others = [f"{name}{half}" for name in names[n_added:] for half in "ab"]
        self.vectors = draw.standard_normal((len(self.added), DIM)).astype(np.float32)
        self.texts = [f"{name}, version {self.version}, {'x' * int(draw.integers(0, 3000))}" for name in self.added]

    def write(self, store):
        """Write it to a store."""
        with store.transaction() if self.added and self.others else nullcontext():
            if self.added:
                metadata = [{"version": self.version}] * len(self.added)
                store.add(self.texts, ids=self.added, vectors=self.vectors, metadata=metadata)
            if self.is_change:
                store.update_metadata({"changed": self.version}, self.others)
            elif self.others:
                store.delete(self.others)
        if self.compacts:
            store.compact(progress=False)

    def after(self, model):
        """Return the model (id to (text, vector, metadata), in the store's order) that it makes of another."""
        if self.is_change:
            changed = {
                id_: (*model[id_][:2], {**model[id_][2], "changed": self.version})
                for id_ in self.others
                if id_ in model
            }
            return {**model, **changed}
        replaced = {*self.added, *self.others}
        kept = {id_: value for id_, value in model.items() if id_ not in replaced}
        metadata = {"version": self.version}
        added = zip(self.texts, self.vectors, [metadata] * len(self.added), strict=True)
        return {**kept, **dict(zip(self.added, added, strict=True))}


def documents_of(store):
    """What a store holds, comparable with `expected_documents`."""
    return [(document.id, document.text, document.metadata) for document in store.iter()]


def expected_documents(model):
    return [(id_, text, metadata) for id_, (text, _, metadata) in model.items()]


def check_sound(store):
    """SQLite's check and our own, of every record and of the tables against each other."""
    assert store.verify(progress=False) == []


def check_answers(store, model, seed=0):
    """Every answer is the oracle's: all documents, in the order of their scores, with their own texts."""
    query = vectors_of(1, DIM, seed)[0]
    n = len(model)
    hits = store.search(query, k=n + 5, n_candidates=10**6)
    assert sorted(ids_of(hits)) == sorted(model)
    if not model:
        return
    kept = reference.float16_of(reference.unit(np.array([vector for _, vector, _ in model.values()])))
    scores = dict(zip(model, (kept @ reference.unit(query[None])[0]).tolist(), strict=True))
    rows = {id_: row for row, id_ in enumerate(model)}
    assert [hit.text for hit in hits] == [model[hit.id][0] for hit in hits]
    np.testing.assert_allclose([hit.score for hit in hits], [scores[hit.id] for hit in hits], atol=2e-5)
    order = reference.best_first([hit.score for hit in hits], [rows[hit.id] for hit in hits])
    assert order == [(hit.score, rows[hit.id]) for hit in hits]
    assert store.search(query, k=5, n_candidates=10**6) == hits[:5]
    check_words(store, query)


def check_words(store, vector):
    """Where there is an index of words: searches find all documents that hold one, and no others, as they are now.

    Scores are checked too where nothing is folded: what an earlier fold counted cannot be told from the store.
    """
    oracle = WordsOracle().follow(store)
    for text in ("3a version", "7b 12a 2") if oracle.has_words else ():
        if record_of(store)["n_rows"] == 0:
            oracle.check(store, text, vector)
        hits = store.search(text, k=10**4, legs="lexical")
        assert sorted(ids_of(hits)) == sorted(oracle.documents[row].id for _, row in oracle.by_words(text))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert [hit.text for hit in hits] == [document.text for document in store.get(ids_of(hits))]
        both = store.search(vector, text=text, k=10**4, legs="hybrid")
        assert sorted(ids_of(both)) == sorted(document.id for document in oracle.documents)


def check_pairs(store, query):
    """What holds of every commit that `Commit` writes: pairs are whole, and texts, metadata and ids belong together."""
    hits = {hit.id: hit for hit in store.search(query, k=10**4, n_candidates=10**6)}
    for id_, hit in hits.items():
        other = hits[id_[:-1] + ("b" if id_[-1] == "a" else "a")]
        name, version, _ = hit.text.split(", ")
        assert (name, version) == (id_, f"version {hit.metadata['version']}")
        assert hit.metadata == other.metadata
    scores = [hit.score for hit in hits.values()]
    assert scores == sorted(scores, reverse=True)
    top = store.search(query, k=3)
    assert len(top) == 3
    found = store.get([top[0].id[:-1] + half for half in "ab"])
    assert len(found) in (0, 2)
    assert len({document.text.split(", ")[1] for document in found}) < 2
    assert store.count() % 2 == 0
    if record_of(store) is not None:
        by_words = store.search(f"{top[0].id[:-1]}a {top[0].id[:-1]}b", k=10**4, legs="lexical")
        assert len({hit.id for hit in by_words}) == len(by_words)
        # all that hold the number, of one commit
        assert sorted(hit.id for hit in by_words if hit.id[:-1] == top[0].id[:-1]) in (
            [],
            [top[0].id[:-1] + half for half in "ab"],
        )
        assert len({hit.metadata["version"] for hit in by_words if hit.id[:-1] == top[0].id[:-1]}) < 2


def read_until(store, end, seed):
    """Check a store's pairs until a time comes, and that its generation never falls; return how often."""
    generation = n = 0
    while time.time() < end:
        check_pairs(store, vectors_of(1, DIM, seed=[seed, n])[0])
        seen = store.refresh()
        assert seen >= generation
        generation, n = seen, n + 1
        time.sleep(0.02)  # eight of them would leave the writer nothing of two cores
    return n


def resident_bytes():
    """This process's memory that is not paged out, or 0 where the system does not say."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def check_store(path, states, seed=0):
    """Open a store that went through a fault; return which of the states (models) it is in. It has to be one."""
    with Store.open(path, lock_timeout=30) as store:
        documents = documents_of(store)
        expected = [expected_documents(state) for state in states]
        assert documents in expected, f"{len(documents)} documents, expected one of {[len(s) for s in expected]}"
        found = expected.index(documents)
        check_sound(store)
        check_answers(store, states[found], seed)
        return found


def observed(path):
    """What can be seen of a store: documents, answers of a scan, counters; and it has to be sound."""
    with Store.open(path, lock_timeout=30) as store:
        check_sound(store)
        with store._handle.database.reading() as reading:
            head = reading.head()
        answers = store.search_batch(vectors_of(3, DIM, seed=5), k=8, n_candidates=12)
        if record_of(store) is not None:
            answers += store.search_batch(["3 one", "two 7", "1 2 9"], legs="lexical")
        return documents_of(store), answers, (head.generation, head.n_rows), store.info().binarizer


def copy_store(source, target):
    """Copy a store that nobody has open, with the log that a killed writer left, but not the log's index."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-journal"):
        if Path(f"{source}{suffix}").exists():
            shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")
        else:
            Path(f"{target}{suffix}").unlink(missing_ok=True)
    Path(f"{target}-shm").unlink(missing_ok=True)


def small_folds(n_rows=30):
    """Fold words often, in this process."""
    binrag.lexical.index.MIN_TAIL = n_rows
    binrag.lexical.index.GROWTH = 1000


def small_checkpoints(n_bytes=150_000):
    """Fold the log into the store often, in this process."""
    database._CHECKPOINT_BYTES = n_bytes


def failing_disk(folder):
    """Compile the failing disk; return its library, to be preloaded, or skip the test."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("the failing disk needs Linux and a C compiler")
    library = folder / "faults.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, Path(__file__).parent / "faults.c"], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"the failing disk does not compile: {done.stderr.decode()[:200]}")
    return library


def disk():
    """The failing disk that was preloaded into this process."""
    library = ctypes.CDLL(None)
    library.faults_watch.argtypes = [ctypes.c_char_p, ctypes.c_int]
    library.faults_at.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.faults_steps.restype = ctypes.c_long
    library.faults_mark.argtypes = [ctypes.c_int64]
    return library


def warm():
    """Load all that adding and searching need, so that forked children start at once."""
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "s", **WORDS_SETTINGS) as store:
        for number in range(3):
            Commit(0, number).write(store)
        store.index_words()
        store.search(np.ones(DIM), text="version", legs="hybrid")


def forked(work, *arguments):
    """Run a function in a child; return the child's pid. It ends with 0, or 1 after a traceback."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def exit_code(pid):
    """Wait for a child; return its exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
