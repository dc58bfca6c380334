"""What the unit tests encode with."""

import asyncio

import numpy as np
from langchain_core.embeddings import Embeddings

from binrag import TokenEncoder

TEXTS = ["a black cat", "a brown dog", "the old harbour", "snow on the hills"]
IDS = ["cat", "dog", "harbour", "hills"]


def letters(text: str) -> list[float]:
    """Return counts of letters and pairs of letters, so that alike texts have alike vectors."""
    vector = np.full(128, 0.01)
    for first, second in zip(text, text[1:] + " ", strict=True):
        vector[ord(first) % 64] += 1
        vector[64 + (ord(first) * 31 + ord(second)) % 64] += 1
    return vector.tolist()


class LetterEmbedding(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return letters(text)


def cosine(first: str, second: str) -> float:
    a, b = (np.asarray(letters(text)) for text in (first, second))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def word_vectors(texts: list[str]) -> list[np.ndarray]:
    """Return a vector for each word of a text, drawn from its letters."""
    return [np.array([_word_vector(word) for word in text.split()]) for text in texts]


def _word_vector(word: str) -> np.ndarray:
    return np.random.default_rng(list(word.encode())).standard_normal(32)


def token_encoder() -> TokenEncoder:
    return TokenEncoder(word_vectors, encoder_id="words")


def mean_of_best(query: str, text: str) -> float:
    """Return the mean over a query's words of the largest cosine with any of a text's."""
    rows, columns = (np.array(word_vectors([each])[0]) for each in (query, text))
    rows, columns = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, columns))
    return float((rows @ columns.T).max(axis=1).mean())


class AwaitedEmbedding(LetterEmbedding):
    """One with queries that are awaited; counts both kinds."""

    n_awaited = 0
    n_called = 0

    def embed_query(self, text: str) -> list[float]:
        self.n_called += 1
        return super().embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        self.n_awaited += 1
        await asyncio.sleep(0)
        return letters(text)


class ReversedEmbedding(AwaitedEmbedding):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector[::-1] for vector in super().embed_documents(texts)]
