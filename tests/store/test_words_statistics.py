"""What a search by words counts depends on the store, not on what a handle saw of it before."""

import numpy as np
from fakes import ids_of
from words_oracle import WordsOracle

from binrag import Store

TEXTS = ["silver river", "silver stone", "copper river garden", "garden"]
QUERIES = ["silver", "river garden", "copper stone"]


def test_a_handle_that_saw_a_document_die_scores_like_one_that_did_not(path):
    with Store.open(path, dim=2, lexical="en") as store:
        store.add(TEXTS, ids=list("abcd"), vectors=np.ones((4, 2)))
        assert ids_of(store.search("silver", legs="lexical")) == ["a", "b"]
        store.delete(["b"])
        store.add(["silver lake"], ids=["c"], vectors=np.ones((1, 2)))
        oracle = WordsOracle().follow(store)
        with Store.open(path, "r") as late:
            for query in QUERIES:
                for handle in (store, late):
                    oracle.check(handle, query, (1, 2))


def test_a_fold_of_no_rows_leaves_the_statistics_to_the_rows_since(path):
    with Store.open(path, dim=2, lexical="en") as store:
        store.index_words()
        store.add(TEXTS, ids=list("abcd"), vectors=np.ones((4, 2)))
        for _ in range(2):
            for query in QUERIES:
                WordsOracle().follow(store).check(store, query, (1, 2))
            store.delete(list("abcd"))
            store.compact(progress=False)
            assert store.search("silver", legs="lexical") == []
            store.add(TEXTS, ids=list("dcba"), vectors=np.ones((4, 2)))
        assert store.verify() == []
