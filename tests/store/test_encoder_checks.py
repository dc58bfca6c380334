"""The store's encoder: compared with the recorded one, and its vectors checked."""

import numpy as np
import pytest
from fakes import WordEncoder, ids_of, length_encoder, sentences

from binrag import BinragError, EncoderMismatch, InvalidInput, InvalidVector, Store, StoreLocked


@pytest.fixture
def filled(path):
    with Store.open(path, encoder=WordEncoder(name="first/model")) as store:
        store.add(sentences(20), ids=map(str, range(20)))
    return path


def refused(store, match):
    """Every use of text is refused, and what needs no encoder works."""
    for use in (lambda: store.search("river"), lambda: store.search_batch(["river"]), lambda: store.add(["river"])):
        with pytest.raises(EncoderMismatch, match=match) as error:
            use()
        assert "first/model" in str(error.value)
        assert isinstance(error.value, ValueError)
    assert store.count() == 20
    assert len(store.search(np.ones(32))) == 10


def test_another_encoder_of_the_same_dimension(filled):
    with Store.open(filled, encoder=WordEncoder(seed=1, name="second/model")) as store:
        refused(store, r"second/model.*cosine .*expected more than 0.999")


def test_another_encoder_of_another_dimension(filled):
    with Store.open(filled, encoder=WordEncoder(16, name="second/model")) as store:
        refused(store, r"32 dimensions.*second/model.*16 dimensions")


def test_another_encoder_by_the_same_name(filled):
    with Store.open(filled, encoder=WordEncoder(seed=1, name="first/model")) as store:
        refused(store, "otherwise")


def test_another_similarity(filled):
    with Store.open(filled, encoder=WordEncoder(name="second/model", similarity="dot")) as store:
        refused(store, "compared by cosine.*second/model.* for dot")


def test_only_the_query_side_differs(filled):
    with Store.open(filled, encoder=WordEncoder(name="second/model", side_shift=1.0)) as store:
        refused(store, "encodes a query otherwise")


def test_the_same_encoder_by_another_name_is_the_same(filled):
    with Store.open(filled, encoder=WordEncoder(name="a/copy")) as store:
        assert len(store.search("river")) == 10
        store.add(["new"])
        assert store.info().encoder == "first/model"


class Drifting(WordEncoder):
    """The same vectors but for noise, as another machine would give."""

    def __init__(self, noise):
        super().__init__(name="drifting")
        self.noise = noise

    def _vectors(self, texts):
        vectors = super()._vectors(texts)
        noise = np.random.default_rng(0).standard_normal(vectors.shape)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
        return vectors + self.noise * lengths * noise


@pytest.mark.parametrize(("noise", "is_same"), [(0.0001, True), (0.02, True), (0.1, False)])
def test_small_differences_are_tolerated(filled, noise, is_same):
    with Store.open(filled, encoder=Drifting(noise)) as store:
        if is_same:
            assert len(store.search("river")) == 10
        else:
            refused(store, "drifting")


def test_opening_does_not_encode(filled):
    encoder = WordEncoder(name="first/model")
    with Store.open(filled, encoder=encoder) as store:
        store.get(["1"])
        store.delete(["1"])
        store.search(np.ones(32))
        store.info()
        assert encoder.n_encoded == 0
        store.search("river")
        store.search("stone")
        assert encoder.n_encoded == 3, "the canaries, once"


def test_an_encoder_that_came_before_any_record_is_compared_later(path):
    with Store.open(path, encoder=WordEncoder(name="mine")) as mine, Store.open(path, encoder=length32) as other:
        assert mine.search("river") == []
        other.add(["river"])
        with pytest.raises(EncoderMismatch, match=r"length32.*'mine'"):
            mine.search("river")
        with pytest.raises(EncoderMismatch, match=r"length32.*'mine'"):
            mine.add(["river"])
        assert mine.count() == 1


def length32(texts):
    return np.tile(length_encoder(texts), 4)


def test_another_writer_that_comes_first_with_another_encoder(path):
    """Its record appears while this one encodes."""
    with Store.open(path, encoder=WordEncoder(name="mine")) as mine, Store.open(path, encoder=length32) as other:

        def texts():
            yield "one"
            other.add(["first"], ids=["first"])
            yield "two"

        with pytest.raises(EncoderMismatch, match=r"length32.*'mine'"):
            mine.add(texts(), batch_size=1)
        assert [document.id for document in mine.iter()] == ["first"]


@pytest.mark.parametrize("with_text", [True, False])
def test_another_writer_that_comes_first_with_another_dimension(path, with_text):
    with Store.open(path, encoder=WordEncoder(4)) as mine, Store.open(path) as other:

        def items():
            yield "one" if with_text else [1, 2, 3, 4]
            other.add(vectors=np.eye(5), ids=list("abcde"))
            yield "two" if with_text else [1, 2, 3, 4]

        with pytest.raises(BinragError, match=r"4 dimensions.*5|5 dimensions.*4"):
            mine.add(**{"texts" if with_text else "vectors": items()}, batch_size=1)
        assert mine.count() == 5
        assert ids_of(mine.search(np.eye(5)[3], k=1)) == ["d"]


def test_a_dimension_fixed_by_another_handle_during_a_search(path):
    other = Store.open(path)

    class Slow(WordEncoder):
        def encode_query(self, texts):
            if other.count() == 0 and "river" in texts:
                other.add(vectors=np.eye(500), ids=map(str, range(500)))
            return super().encode_query(texts)

    with other, Store.open(path, encoder=Slow(4)) as mine:
        with pytest.raises(BinragError, match=r"4 dimensions.*500|500 dimensions.*4"):
            mine.search("river")
        assert len(mine.search(np.ones(500))) == 10


def test_texts_in_a_store_of_vectors_need_the_same_dimension(path):
    with Store.open(path) as store:
        store.add(vectors=np.eye(32), ids=[f"v{i}" for i in range(32)])
    with Store.open(path, encoder=WordEncoder(16)) as store:
        for use in (lambda: store.search("river"), lambda: store.add(["river"])):
            with pytest.raises(EncoderMismatch, match=r"have 32 dimensions.*'words' gives 16"):
                use()
    with Store.open(path, encoder=WordEncoder(32)) as store:
        assert store.info().encoder is None
        assert len(store.search("river")) == 10
        store.add(["river"])
        assert store.info().encoder == "words"


def test_a_dimension_set_at_creation_binds_the_encoder(path):
    with Store.open(path, dim=8, encoder=WordEncoder(16)) as store:
        with pytest.raises(EncoderMismatch, match=r"8|16"):
            store.add(["river"])
        assert store.count() == 0


class Sided(WordEncoder):
    """Queries have another dimension than documents."""

    def encode_query(self, texts):
        return super().encode_query(texts)[:, :5]


def test_sides_of_different_dimensions(path):
    message = "documents as 8 dimensions and queries as 5"
    with Store.open(path, encoder=Sided(8)) as store, pytest.raises(EncoderMismatch, match=message):
        store.add(["river"])


BROKEN = {
    "NaN": (lambda v: np.where(np.arange(len(v))[:, None] == len(v) - 1, np.nan, v), InvalidVector, "nan at dimension"),
    "infinite": (lambda v: v * np.inf, InvalidVector, "inf at dimension|nan at dimension"),
    "zero": (lambda v: v * 0, InvalidVector, "all zeros"),
    "one too few": (lambda v: v[:-1], EncoderMismatch, "gave .* vectors for"),
    "one too many": (lambda v: np.r_[v, v[:1]], EncoderMismatch, "gave .* vectors for"),
    "ragged": (lambda v: [*v[:-1].tolist(), [1.0]], InvalidVector, "all of one length"),
    "flat": (lambda v: v.ravel(), InvalidVector, "expected \\(n, dim\\)"),
    "three axes": (lambda v: v[None], InvalidVector, "expected \\(n, dim\\)"),
    "nothing": (lambda v: None, InvalidVector, "expected"),
    "strings": (lambda v: v.astype(str), InvalidVector, "expected floating-point"),
    "another dimension": (lambda v: v[:, :-1], EncoderMismatch, "has 31 dimensions"),
    "no dimensions": (lambda v: v[:, :0], (InvalidVector, EncoderMismatch), "expected|dimensions"),
}


class Breaking(WordEncoder):
    """Breaks for texts that hold the word "break"."""

    def __init__(self, name, **options):
        super().__init__(name="breaking", **options)
        self.change = BROKEN[name][0]
        self.at = "break"

    def _vectors(self, texts):
        vectors = super()._vectors(texts)
        return self.change(vectors) if any(self.at in text for text in texts) else vectors


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_broken_encoder_gives_is_refused(path, name):
    _, error, match = BROKEN[name]
    with Store.open(path, encoder=Breaking(name)) as store:
        store.add(["fine one", "fine two"], ids=["1", "2"])
        for use in (
            lambda: store.add(["some river", "a break in it"], ids=["3", "4"]),
            lambda: store.add([*sentences(400), "a break in it"]),
            lambda: store.search_batch(["some river", "a break in it"]),
        ):
            with pytest.raises(error, match=match) as caught:
                use()
            if name not in ("ragged", "flat", "three axes", "nothing", "strings", "no dimensions"):
                assert "breaking" in str(caught.value)
        assert [document.id for document in store.iter()] == ["1", "2"]
        assert ids_of(store.search("fine one", k=1)) == ["1"]


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "another dimension"])
def test_an_encoder_that_is_broken_from_the_start_stores_nothing(path, name):
    encoder = Breaking(name)
    encoder.at = ""
    with Store.open(path, encoder=encoder) as store:
        with pytest.raises(BinragError):
            store.add(["a", "b"])
        with pytest.raises(BinragError):
            store.search("a")
        assert (store.count(), store.info().dim, store.info().encoder) == (0, None, None)


def test_an_error_of_the_encoder_itself_passes_through(path):
    class Failing(WordEncoder):
        def encode_document(self, texts):
            raise ConnectionError("the service is down")

    with Store.open(path, encoder=Failing()) as store:
        with pytest.raises(ConnectionError, match="the service is down"):
            store.add(["a"])
        assert store.count() == 0


def test_the_encoder_is_never_asked_while_the_store_is_locked(path):
    probe = Store.open(path, lock_timeout=0)
    locked = []

    def is_locked():
        try:
            with probe.transaction():
                return False
        except StoreLocked:
            return True

    class Watching(WordEncoder):
        similarity = property(lambda self: locked.append(is_locked()) or "cosine", lambda self, value: None)

        def _vectors(self, texts):
            locked.append(is_locked())
            return super()._vectors(texts)

        def count_truncated(self, texts):
            locked.append(is_locked())
            return 0

    with probe:
        for given in ({"vectors": np.ones((2, 32))}, {"texts": ["a", "b"]}):
            with Store.open(path, encoder=Watching()) as store:
                store.add(**given)
                store.search("river")
        assert locked
        assert not any(locked)


def test_recorded_without_a_record_means_vectors_only(path):
    with Store.open(path, encoder="recorded") as store:
        store.add(vectors=np.eye(3))
        with pytest.raises(EncoderMismatch, match="without an encoder"):
            store.search("text")


def test_recorded_loads_the_name_in_the_file(filled, monkeypatch):
    from binrag import SentenceEncoder

    asked = []

    def load(self):
        asked.append(self._name)
        raise EncoderMismatch("no such model here")

    monkeypatch.setattr(SentenceEncoder, "_load", load)
    with Store.open(filled, encoder="recorded") as store:
        assert asked == []
        with pytest.raises(EncoderMismatch):
            store.search("river")
    assert asked == ["first/model"]


def test_an_encoder_without_text_is_no_use(path):
    with Store.open(path, encoder=WordEncoder()) as store, pytest.raises(InvalidInput, match="needs text"):
        store.add([""])


def test_vectors_for_a_store_that_has_some_need_no_model(path):
    with Store.open(path) as store:
        store.add(ids=["a"], vectors=[[1.0, 2.0]])
    with Store.open(path, encoder="no/such-model") as store:
        store.add(ids=["b"], vectors=[[2.0, 1.0]])
        assert store.count() == 2
