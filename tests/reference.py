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


def random_words(n, n_words, seed=0, n_patterns=40, p_noise=0.03):
    """Random codes with many equal distances: a few patterns with some bits flipped, uint64 (n, n_words)."""
    draw = np.random.default_rng(seed)
    patterns = draw.integers(0, 2, size=(n_patterns, 64 * n_words), dtype=np.uint8)
    bits = patterns[draw.integers(0, n_patterns, n)] ^ (draw.random((n, 64 * n_words)) < p_noise)
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").reshape(n, n_words)


def bitmap_of(flags):
    """Booleans to a bitmap: bit r % 64 of word r // 64 is row r, uint64 (ceil(n / 64),)."""
    return np.array(
        [sum(1 << j for j, flag in enumerate(flags[i : i + 64]) if flag) for i in range(0, len(flags), 64)],
        dtype=np.uint64,
    )


def unit(vectors):
    """Vectors of length one, float32 as the store keeps them."""
    doubles = np.asarray(vectors, dtype=np.float64)
    return (doubles / np.sqrt((doubles**2).sum(axis=1, keepdims=True))).astype(np.float32)


def float16_of(vectors):
    """What a float16 cold tier gives back: a float32 scale a row, the largest magnitude, and float16 fractions."""
    vectors = np.asarray(vectors, dtype=np.float32)
    scales = np.abs(vectors).max(axis=1, keepdims=True)
    return (vectors / scales).astype(np.float16).astype(np.float32) * scales
