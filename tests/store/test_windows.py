"""Texts of one length are encoded together: what `add` reads ahead, its calls, and that nothing else changes."""

import numpy as np
import pytest
from fakes import WORDS, WordEncoder

from binrag import EncoderMismatch, InvalidVector, Store, TruncatedTextWarning
from binrag.store.batches import CALLS_PER_WINDOW


class Spy(WordEncoder):
    """Keeps the calls for documents that are not canaries."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []

    def encode_document(self, texts):
        if not texts[0].startswith("The quick brown fox"):
            self.calls.append(list(texts))
        return super().encode_document(texts)


def uneven(n, seed=0):
    """n texts of 1 to 40 words, some in a script of more bytes than characters."""
    draw = np.random.default_rng(seed)
    words = [*WORDS, "다리", "정원"]
    return [f"{' '.join(draw.choice(words, draw.integers(1, 41)))} {i}" for i in range(n)]


def n_bytes(texts):
    return [len(text.encode()) for text in texts]


def test_the_calls_of_a_window_go_from_long_to_short(path):
    encoder, texts, window = Spy(), uneven(100), 4 * CALLS_PER_WINDOW
    with Store.open(path, encoder=encoder) as store:
        store.add(iter(texts), batch_size=4)
    assert [len(call) for call in encoder.calls] == [4] * 25
    for first in range(0, 100, window):
        calls = encoder.calls[first // 4 : (first + window) // 4]
        read = [text for call in calls for text in call]
        assert set(read) == set(texts[first : first + window])
        assert n_bytes(read) == sorted(n_bytes(read), reverse=True)


@pytest.mark.parametrize("commit_every", [None, 30])
@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_every_document_gets_its_own_vector_in_its_own_place(path, batch_size, commit_every):
    texts, lone = uneven(100), WordEncoder()
    with Store.open(path, encoder=Spy(max_words=30), keep_vectors="float16") as store:
        with pytest.warns(TruncatedTextWarning):
            ids = store.add(texts, ids=map(str, range(100)), batch_size=batch_size, commit_every=commit_every)
        assert ids == [str(i) for i in range(100)]
        assert [document.text for document in store.iter()] == texts
        assert store.info().n_truncated == sum(len(text.split()) > 30 for text in texts)
        for i, text in enumerate(texts):
            hit = store.search(lone.encode_query([" ".join(text.split()[:30])])[0], k=1)[0]
            assert (hit.id, hit.score) == (str(i), pytest.approx(1, abs=1e-3))


def test_no_more_is_read_than_a_window(path):
    texts, read = uneven(100), 0

    def given():
        nonlocal read
        for text in texts:
            read += 1
            yield text

    class Watching(Spy):
        def encode_document(self, some):
            vectors = super().encode_document(some)
            ahead.append(read - 2 * len(self.calls))
            return vectors

    ahead = []
    with Store.open(path, encoder=Watching()) as store:
        store.add(given(), batch_size=2)
    assert max(ahead[1:]) == 2 * (CALLS_PER_WINDOW - 1)


def test_progress_moves_with_every_call_and_ends_at_the_total(path):
    done = []
    with Store.open(path, encoder=Spy()) as store:
        store.add(uneven(50), batch_size=4, commit_every=10, progress=lambda n, total: done.append((n, total)))
    assert done == [(10 * tens + n, 50) for tens in range(5) for n in (4, 8, 10)]


def test_a_vector_that_is_none_is_named_by_its_document(path):
    texts = uneven(40)

    class Failing(Spy):
        def encode_document(self, some):
            vectors = super().encode_document(some)
            vectors[[text == texts[23] for text in some]] = np.nan
            return vectors

    with Store.open(path, encoder=Failing()) as store:
        with pytest.raises(InvalidVector, match="the vector of 'd23' by 'words'"):
            store.add(texts, ids=[f"d{i}" for i in range(40)], batch_size=5)
        assert store.count() == 0


def test_an_encoder_that_changes_its_dimension_within_a_window_is_refused(path):
    class Changing(Spy):
        def encode_document(self, some):
            return super().encode_document(some)[:, : 31 if len(self.calls) > 1 else 32]

    with Store.open(path, encoder=Changing()) as store:
        with pytest.raises(EncoderMismatch, match=r"31 dimensions.*32"):
            store.add(uneven(10), batch_size=5)
        assert store.count() == 0
