"""Encoders that need no model, and stores made with them."""

import zlib
from functools import lru_cache

import numpy as np

WORDS = [
    "apple",
    "river",
    "stone",
    "cloud",
    "engine",
    "paper",
    "copper",
    "garden",
    "winter",
    "music",
    "forest",
    "planet",
    "silver",
    "bridge",
    "candle",
    "window",
    "market",
    "doctor",
    "letter",
    "summer",
    "harbour",
    "kitchen",
    "mirror",
    "valley",
    "rocket",
    "button",
    "island",
    "ladder",
    "meadow",
    "needle",
]


@lru_cache(maxsize=100_000)
def _word_vector(word, dim, seed):
    return np.random.default_rng([seed, zlib.crc32(word.encode())]).standard_normal(dim)


class WordEncoder:
    """The sum of one seeded normal vector a word: texts that share words have similar vectors.

    `side_shift` adds a fixed direction to queries only, so that the two sides can be told apart. Texts of more than
    `max_words` words are truncated.
    """

    def __init__(self, dim=32, *, seed=0, name="words", max_words=None, similarity="cosine", side_shift=0.0):
        self.dim = dim
        self.seed = seed
        self.encoder_id = name
        self.max_words = max_words
        self.similarity = similarity
        self.side_shift = side_shift
        self.n_encoded = 0

    def _vectors(self, texts):
        rows = []
        for text in texts:
            words = text.lower().split()[: self.max_words]
            rows.append(sum((_word_vector(word, self.dim, self.seed) for word in words), np.full(self.dim, 1e-3)))
        return np.array(rows, dtype=np.float32).reshape(-1, self.dim)

    def encode_document(self, texts):
        self.n_encoded += len(texts)
        return self._vectors(texts)

    def encode_query(self, texts):
        vectors = self._vectors(texts)
        if self.side_shift:
            vectors[:, 0] += self.side_shift
        return vectors

    def count_truncated(self, texts):
        return 0 if self.max_words is None else sum(len(text.split()) > self.max_words for text in texts)


def length_encoder(texts):
    """A fast callable: eight numbers from a text's length and hash."""
    hashes = np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.uint32)
    shifts = np.arange(0, 32, 4, dtype=np.uint32)
    return ((hashes[:, None] >> shifts) & 15).astype(np.float32) - 7.5


def sentences(n, seed=0, n_words=5):
    """n different short texts."""
    draw = np.random.default_rng(seed)
    return [f"{' '.join(draw.choice(WORDS, n_words))} {i}" for i in range(n)]


def vectors_of(n, dim, seed=0):
    """n vectors without ties, float32 (n, dim)."""
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def topical(n, dim, seed=0):
    """Unit vectors of two of 50 topics each, and noise: their signs keep about as much as those of text embeddings."""
    draw = np.random.default_rng(seed)
    weights = np.zeros((n, 50))
    for row in weights:
        row[draw.choice(50, 2, replace=False)] = draw.gamma(1, 1, 2)
    return unit(weights @ vectors_of(50, dim, seed=77) + 0.42 * vectors_of(n, dim, seed=seed + 1))


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def lattice(n, dim, seed=0, high=2):
    """n integer-valued vectors, none zero, float32 (n, dim): plenty of ties."""
    vectors = np.random.default_rng(seed).integers(-high, high + 1, size=(n, dim)).astype(np.float32)
    vectors[~vectors.any(axis=1), 0] = 1
    return vectors


def ids_of(hits):
    """The ids of hits."""
    return [hit.id for hit in hits]


class WordTokenEncoder(WordEncoder):
    """A seeded unit vector a word, those of "…" left out: a `MultiVectorEncoder`."""

    is_multi_vector = True

    def _vectors(self, texts):
        return [
            unit(np.array([_word_vector(word, self.dim, self.seed) for word in self._words(text)])).astype(np.float32)
            if self._words(text)
            else np.zeros((0, self.dim), np.float32)
            for text in texts
        ]

    def _words(self, text):
        return [word for word in text.lower().split()[: self.max_words] if word != "…"]

    def encode_query(self, texts):
        return self._vectors(texts)
