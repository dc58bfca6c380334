"""What searches by words and by both legs have to find in a store, by brute force over the texts that it holds."""

import pytest
import reference

from binrag import ALL_TENANTS, IdfCoverage
from binrag.filters import matches, parse
from binrag.lexical import Tokenizer
from binrag.ranking.fusion import WEIGHT
from binrag.store.words import LEXICAL

EN = Tokenizer("en")
N_EXACT = 100
"""So many allowed documents are all looked at by both legs, so that nothing else can be the best of both."""


def record_of(store):
    """What a store records of its index of words, None if it has none."""
    with store._handle.database.reading() as reading:
        return reading.get(LEXICAL)


def key_of(found):
    """What a document or a hit is known by."""
    return found.tenant, found.id


class WordsOracle:
    """A store's documents in the order of its rows, and what its last fold counted."""

    def __init__(self):
        self.n_folds = 0
        self._generation = 0
        self._folded = None

    def follow(self, store):
        """Look at a store; at every commit, or at least at every one that folds. Returns itself.

        A fold counts the documents that live then, and till the next one no others count. Before the first one those
        that live now do.
        """
        record = record_of(store)
        self.has_words = record is not None
        if not self.has_words:
            return self
        self.documents = list(store.iter(tenant=ALL_TENANTS))
        self.words = [EN.words(document.text or "") for document in self.documents]
        if record["generation"] != self._generation:
            self._generation, self.n_folds = record["generation"], self.n_folds + 1
            self._folded = self.words if record["n_rows"] else None
        return self

    def allowed(self, tenant=None, where=None):
        """The rows of a tenant's documents that match."""
        node = None if where is None else parse(where)
        return [
            row
            for row, document in enumerate(self.documents)
            if tenant in (ALL_TENANTS, document.tenant) and (node is None or matches(node, document.metadata))
        ]

    def by_words(self, query, **options):
        """(score, row) of the allowed documents that hold a word of a text, best first."""
        counted = self.words if self._folded is None else self._folded
        scores = reference.bm25([*counted, *self.words], EN.words(query), len(counted))[len(counted) :]
        rows = [row for row in self.allowed(**options) if scores[row] > 0]
        return reference.best_first([float(scores[row]) for row in rows], rows)

    def raises(self, query):
        """What a text adds to the dense score of each row."""
        counted = self.words if self._folded is None else self._folded
        covered = reference.covered([*counted, *self.words], EN.words(query), len(counted))[len(counted) :]
        return [WEIGHT * share ** IdfCoverage().exponent for share in covered]

    def check_words(self, store, query, k=10, **options):
        """The hits by words are the k best of those that hold one, to the bit; returns them."""
        hits = store.search(query, k=k, legs="lexical", **options)
        expected = [(key_of(self.documents[row]), score) for score, row in self.by_words(query, **options)[:k]]
        assert [(key_of(hit), hit.score) for hit in hits] == expected, (query, options)
        self._check_documents(hits)
        return hits

    def check_both(self, store, query, vector, k=10, **options):
        """The hits by both legs are as many as there may be, in order, and their scores are those of the legs."""
        allowed, raises = self.allowed(**options), self.raises(query)
        rows = {key_of(self.documents[row]): row for row in allowed}
        dense = store.search(vector, k=max(1, len(allowed)), n_candidates=10**6, **options)
        expected = {key_of(hit): hit.score + raises[rows[key_of(hit)]] for hit in dense}
        assert expected.keys() == rows.keys()
        hits = store.search(vector, text=query, k=k, legs="hybrid", n_candidates=10**6, **options)
        assert len({key_of(hit) for hit in hits}) == len(hits) == min(k, len(allowed)), (query, options)
        assert [hit.score for hit in hits] == pytest.approx([expected[key_of(hit)] for hit in hits], abs=1e-6)
        order = [(hit.score, rows[key_of(hit)]) for hit in hits]
        assert order == reference.best_first(*zip(*order, strict=True)) if order else not allowed
        if len(allowed) <= N_EXACT:
            best = sorted(expected.values(), reverse=True)[:k]
            assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-6)
        self._check_documents(hits)

    def check(self, store, query, vector, k=10, **options):
        """Both; nothing in a store without an index of words."""
        if not self.has_words:
            return
        self.check_words(store, query, k, **options)
        self.check_both(store, query, vector, k, **options)

    def _check_documents(self, hits):
        known = {key_of(document): document for document in self.documents}
        for hit in hits:
            document = known[key_of(hit)]
            assert (hit.text, hit.metadata) == (document.text, document.metadata)
