"""A store against a dict: whatever is done in whatever order, both agree."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import reference
from fakes import ids_of
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from words_oracle import WordsOracle

from binrag import BinragError, Document, FdeConfig, InvalidMetadata, LateInteraction, Store
from binrag.store import batches

DIM = 4
ONE_TOKEN = LateInteraction(FdeConfig(2, 1, None, final_projection_dim=None))
ABS = {"float16": 2e-3, "int8": 2e-2, "tokens": 0.5}
TEXTS = ["red", "green", "blue", "a red sky", "red green red", "the"]
ids = st.sampled_from([f"id{i}" for i in range(12)])
vectors = st.lists(st.integers(-3, 3), min_size=DIM, max_size=DIM).filter(any)
documents = st.lists(st.tuples(ids, vectors, st.sampled_from(TEXTS)), max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), documents),
        st.tuples(st.just("delete"), st.lists(ids, max_size=4)),
        st.tuples(st.just("bad add"), documents),
    ),
    max_size=4,
)


class Failure(Exception):
    """What a test raises inside a transaction."""


class Machine(RuleBasedStateMachine):
    """`model` is what the store has to hold: id to (vector, text), in the order of the last add."""

    @initialize(keep=st.sampled_from(["float16", "int8", "tokens"]), lexical=st.sampled_from(["en", None]))
    def open(self, keep, lexical):
        self.folder = Path(tempfile.mkdtemp())
        self.keep = keep
        self.model = {}
        self.n_rows = 0
        options = {"late_interaction": ONE_TOKEN} if keep == "tokens" else {"keep_vectors": keep}
        self.oracle = WordsOracle()
        self.store = Store.open(self.folder / "s", dim=DIM, lexical=lexical, **options)
        self.other = Store.open(self.folder / "s", "r")

    @property
    def shape(self):
        """Of what is given for a document."""
        return (1, DIM) if self.keep == "tokens" else (DIM,)

    def teardown(self):
        if hasattr(self, "folder"):
            self.store.close()
            self.other.close()
            assert [file.name for file in self.folder.iterdir()] == ["s"]
            shutil.rmtree(self.folder)

    def apply(self, kind, given):
        """Do one step to both; return what has to be the store's documents now."""
        if kind == "delete":
            n = len(set(given) & set(self.model))
            assert self.store.delete(given) == n
            for id_ in given:
                self.model.pop(id_, None)
            return
        columns = {
            "ids": [id_ for id_, _, _ in given],
            "vectors": np.array([vector for _, vector, _ in given]).reshape(-1, *self.shape),
            "texts": [text for _, _, text in given],
        }
        if kind == "bad add":
            with pytest.raises(BinragError):
                self.store.add(**columns, metadata=[*[{}] * len(given), {}])
            if given:
                with pytest.raises(InvalidMetadata):
                    self.store.add(**columns, metadata=[*[{}] * (len(given) - 1), {"x": {1}}])
            return
        assert self.store.add(**columns) == columns["ids"]
        # a batch holds two documents, and only the last of an id in a batch gets a row
        for start in range(0, len(given), 2):
            self.n_rows += len({id_ for id_, _, _ in given[start : start + 2]})
        for id_, vector, text in given:
            self.model.pop(id_, None)
            self.model[id_] = (vector, text)

    @rule(step=steps)
    def single_calls(self, step):
        for kind, given in step:
            self.apply(kind, given)
            self.oracle.follow(self.store)

    @rule(step=steps)
    def commit(self, step):
        before = dict(self.model)
        with self.store.transaction():
            for kind, given in step:
                self.apply(kind, given)
            self.check_documents(self.store)
            self.check_order(self.other, before)
            self.check_search(self.store, before)

    @rule(step=steps)
    def roll_back(self, step):
        before, n_rows = dict(self.model), self.n_rows
        with pytest.raises(Failure), self.store.transaction():
            for kind, given in step:
                self.apply(kind, given)
            self.check_documents(self.store)
            raise Failure
        self.model, self.n_rows = before, n_rows

    @rule()
    def compact(self):
        self.store.compact(progress=False)
        self.n_rows = len(self.model)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = Store.open(self.folder / "s", "rw")

    @rule()
    def reopen_the_reader(self):
        self.other.close()
        self.other = Store.open(self.folder / "s", "r")

    @precondition(lambda self: self.model)
    @rule(query=vectors, k=st.integers(1, 20))
    def search(self, query, k):
        for store in (self.store, self.other):
            everything = self.check_search(store, self.model, query)
            assert store.search(np.reshape(query, self.shape), k=k, n_candidates=max(k, 10**6)) == everything[:k]

    def check_order(self, store, model):
        assert [document.id for document in store.iter()] == list(model)

    def check_documents(self, store):
        expected = [Document(id_, text, {}) for id_, (_, text) in self.model.items()]
        assert list(store.iter()) == expected
        assert store.count() == len(self.model)
        names = [f"id{i}" for i in range(12)]
        assert [document.id for document in store.get(names)] == [name for name in names if name in self.model]

    def check_search(self, store, model, query=(1, -2, 3, 1)):
        hits = store.search(np.reshape(query, self.shape), k=50, n_candidates=10**6)
        assert set(ids_of(hits)) == set(model)
        assert len(hits) == len(model)
        if not model:
            return hits
        unit = reference.unit(np.array([vector for vector, _ in model.values()], dtype=np.float32))
        scores = unit.astype(np.float64) @ reference.unit(np.array([query], dtype=np.float32))[0]
        by_id = dict(zip(model, scores.tolist(), strict=True))
        for hit in hits:
            assert hit.text == model[hit.id][1]
            assert hit.score == pytest.approx(by_id[hit.id], abs=ABS[self.keep])
        order = list(model)
        assert [(hit.score, order.index(hit.id)) for hit in hits] == reference.best_first(
            [hit.score for hit in hits], [order.index(hit.id) for hit in hits]
        )
        return hits

    def check_words(self, store):
        self.oracle.follow(store)
        for query in ("red", "green sky blue blue dog"):
            self.oracle.check(store, query, np.reshape((1, -2, 3, 1), self.shape), k=8)

    @invariant()
    def both_agree(self):
        if not hasattr(self, "store"):
            return
        for store in (self.store, self.other):
            self.check_documents(store)
            self.check_search(store, self.model)
            self.check_words(store)
        stats = self.store.stats()
        assert (stats.n_documents, stats.n_rows) == (len(self.model), self.n_rows)


def test_the_store_is_a_dict_that_searches(monkeypatch):
    monkeypatch.setattr(batches, "VECTORS_AT_ONCE", 2)
    monkeypatch.setattr("binrag.lexical.index.MIN_TAIL", 9)
    run_state_machine_as_test(Machine, settings=settings(stateful_step_count=25))
