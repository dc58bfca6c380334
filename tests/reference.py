"""Slow, obvious oracles in NumPy, written from the definitions. The fast code has to equal them, ties included."""

import numpy as np


def code_bits(vectors, mean=None):
    """sign(x − μ) as booleans."""
    centred = np.asarray(vectors, dtype=np.float32)
    if mean is not None:
        centred = centred - np.asarray(mean, dtype=np.float32)
    return centred > 0


def words_of(bits):
    """Bit j of a row is bit j % 64 of word j // 64."""
    n, n_bits = bits.shape
    words = np.zeros((n, -(-n_bits // 64)), dtype=np.uint64)
    for r in range(n):
        for j in range(n_bits):
            if bits[r, j]:
                words[r, j // 64] |= np.uint64(1) << np.uint64(j % 64)
    return words


def grouped(words):
    """words[r, w] at [r // 16, w, r % 16]."""
    n, n_words = words.shape
    result = np.zeros((-(-n // 16), n_words, 16), dtype=np.uint64)
    for r in range(n):
        result[r // 16, :, r % 16] = words[r]
    return result


def hamming_topk(words, query, k, allowed=None):
    """(distance, row) of the k nearest allowed rows, in that order."""
    distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int64)
    rows = [r for r in range(len(words)) if allowed is None or allowed[r]]
    return sorted((int(distances[r]), r) for r in rows)[:k]


def rescale_of(vectors, mean=None):
    """f = ‖y‖² / ⟨y, sign(y)⟩, y = x − μ, in float16."""
    y = np.asarray(vectors, dtype=np.float32)
    if mean is not None:
        y = y - np.asarray(mean, dtype=np.float32)
    y = y.astype(np.float64)
    signs = np.where(y > 0, 1.0, -1.0)
    return np.array([(v @ v) / (v @ s) for v, s in zip(y, signs, strict=True)]).astype(np.float16)


def quantized(weights):
    """Weights in 65,535 levels: integers and the size of a level."""
    step = float(np.max(np.abs(weights))) / 32767
    return [round(float(w) / step) for w in weights], step


def code_scores(bits, rescale, weights, offset=0.0):
    """f · Σ_j b_j w_j + offset, with w rounded to 16 bits and b in {−1, +1}."""
    integers, step = quantized(weights)
    scores = []
    for row, f in zip(bits, rescale, strict=True):
        total = sum(w if bit else -w for w, bit in zip(integers, row, strict=True))
        scores.append(float(f) * (total * step) + offset)
    return scores


def best_first(scores, rows):
    """The total order: score descending, row ascending."""
    return sorted(zip(scores, rows, strict=True), key=lambda pair: (-pair[0], pair[1]))


def float_topk(vectors, query, k):
    """The k rows of the largest inner product, in the total order."""
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    return [r for _, r in best_first(scores.tolist(), range(len(vectors)))][:k]


def int8_of(vector):
    """Symmetric 8-bit levels: scale = max|x| / 127."""
    scale = np.float32(np.max(np.abs(vector)) / np.float32(127))
    return [round(float(x) / float(scale)) for x in vector], scale


def hadamard(width):
    """The orthonormal Walsh–Hadamard matrix, by Sylvester's doubling."""
    matrix = np.ones((1, 1))
    while len(matrix) < width:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix / np.sqrt(width)
