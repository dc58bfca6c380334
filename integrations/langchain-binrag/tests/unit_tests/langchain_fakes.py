"""What the unit tests encode with."""

import numpy as np
from langchain_core.embeddings import Embeddings

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
