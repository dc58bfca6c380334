"""A binarizer with bytes beyond its words and a scan by tables, registered by those tests that need one."""

import numpy as np

from binrag.binarizers.costs import scan_costs
from binrag.types import Codes, CodeShape, Query


class LevelBinarizer:
    """A sign a dimension for the scan, up to 64, and a byte a dimension that holds its level in [−1, 1] + shift."""

    component_id = "test-levels"

    def __init__(self, dim, shift=0.0):
        self.dim = dim
        self.shift = shift
        self.n_bits = 9 * dim
        self.shape = CodeShape(1, dim, by_tables=True)
        self.code_bytes = self.shape.code_bytes

    def transform(self, vectors):
        bits = np.zeros((len(vectors), 64), dtype=np.uint8)
        bits[:, : self.dim] = vectors > 0
        words = np.packbits(bits, axis=1, bitorder="little").view("<u8")
        rest = np.rint((np.clip(vectors - self.shift, -1, 1) + 1) * 127.5).astype(np.uint8)
        return Codes(words.astype(np.uint64), rest, np.ones(len(vectors), dtype=np.float16))

    def query(self, vector):
        weights = np.zeros((8, 8))
        weights.reshape(-1)[: self.dim] = vector
        signs = 2.0 * (np.arange(256)[:, None] >> np.arange(8) & 1) - 1
        tables = np.zeros((8 + self.dim, 256), dtype=np.float32)
        tables[8:] = vector[:, None] * (np.arange(256) / 127.5 - 1)
        costs = scan_costs((weights @ signs.T).astype(np.float32))
        return Query(vector, None, tables, float(self.shift * vector.sum()), costs)

    def get_config(self):
        return {"dim": self.dim, "shift": self.shift}

    @classmethod
    def from_config(cls, config):
        return cls(**config)
