"""A binarizer with bytes beyond its words and a weighted scan, registered by those tests that need one."""

import numpy as np

from binrag.types import Codes, Query


class LevelBinarizer:
    """A sign a dimension for the scan, up to 64, and a byte a dimension that holds its level in [−1, 1] + shift."""

    component_id = "test-levels"

    def __init__(self, dim, shift=0.0):
        self.dim = self.n_rest = dim
        self.shift = shift
        self.n_bits = 9 * dim
        self.n_words = 1
        self.code_bytes = 8 + dim + 2

    def transform(self, vectors):
        bits = np.zeros((len(vectors), 64), dtype=np.uint8)
        bits[:, : self.dim] = vectors > 0
        words = np.packbits(bits, axis=1, bitorder="little").view("<u8")
        rest = np.rint((np.clip(vectors - self.shift, -1, 1) + 1) * 127.5).astype(np.uint8)
        return Codes(words.astype(np.uint64), rest, np.ones(len(vectors), dtype=np.float16))

    def query(self, vector):
        levels = np.zeros(64, dtype=np.uint8)
        levels[: self.dim] = np.rint((vector / np.abs(vector).max() + 1) / 2 * 15)
        bits = np.stack([levels >> i & 1 for i in range(4)])
        planes = np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)
        tables = np.zeros((8 + self.dim, 256), dtype=np.float32)
        tables[8:] = vector[:, None] * (np.arange(256) / 127.5 - 1)
        return Query(vector, planes, tables, float(self.shift * vector.sum()), np.array([3], dtype=np.int32))

    def get_config(self):
        return {"dim": self.dim, "shift": self.shift}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
