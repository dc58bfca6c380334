"""Slow, obvious oracles in NumPy, written from the definitions. The fast code has to equal them, ties included."""

import math
from datetime import datetime

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
    """words[r, w] at [r // 16, w, r % 16]; bytes likewise."""
    n, n_words = words.shape
    result = np.zeros((-(-n // 16), n_words, 16), dtype=words.dtype)
    for r in range(n):
        result[r // 16, :, r % 16] = words[r]
    return result


def bytes_of_words(words):
    """Byte 8 w + b of a row is bits 8 b to 8 b + 7 of word w, uint8 (n, 8 n_words)."""
    data = [[int(word) >> 8 * b & 255 for word in row for b in range(8)] for row in words]
    return np.array(data, dtype=np.uint8).reshape(len(words), 8 * words.shape[1])


def nearest(distances, k, allowed=None):
    """(distance, row) of the k nearest allowed rows, in that order."""
    return sorted((int(d), r) for r, d in enumerate(distances) if allowed is None or allowed[r])[:k]


def hamming_topk(words, query, k, allowed=None):
    """(distance, row) of the k rows of the least Hamming distance."""
    return nearest(np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int64), k, allowed)


def table_distances(code, costs):
    """Σ_p costs[0, p, low half of byte p] + costs[1, p, high half], int64 (n,); code uint8 (n, n_bytes)."""
    distances = np.zeros(len(code), dtype=np.int64)
    for p in range(code.shape[1]):
        distances += costs[0, p, code[:, p] % 16].astype(np.int64) + costs[1, p, code[:, p] // 16]
    return distances


def table_topk(code, costs, k, allowed=None):
    """(distance, row) of the k rows whose halves of bytes cost least."""
    return nearest(table_distances(code, costs), k, allowed)


def rescale_of(vectors, mean=None):
    """f = ‖y‖² / ⟨y, sign(y)⟩, y = x − μ, in float16."""
    y = np.asarray(vectors, dtype=np.float32)
    if mean is not None:
        y = y - np.asarray(mean, dtype=np.float32)
    y = y.astype(np.float64)
    signs = np.where(y > 0, 1.0, -1.0)
    return np.array([(v @ v) / (v @ s) for v, s in zip(y, signs, strict=True)]).astype(np.float16)


def byte_tables(weights, n_bytes):
    """What each value of each byte adds: plus the weight where a bit is set, minus where it is not, float32."""
    padded = [float(w) for w in weights] + [0.0] * (8 * n_bytes - len(weights))
    tables = np.zeros((n_bytes, 256), dtype=np.float32)
    for p in range(n_bytes):
        for v in range(256):
            tables[p, v] = sum(w if v >> j & 1 else -w for j, w in enumerate(padded[8 * p : 8 * p + 8]))
    return tables


def table_scores(code, rescale, tables, offset=0.0):
    """f · Σ_p tables[p, byte p] + offset, with the tables' entries rounded to multiples of max / 32,767."""
    step = float(np.max(np.abs(tables))) / 32767 or 1.0
    integers = [[round(float(value) / step) for value in table] for table in tables]
    totals = [sum(table[v] for table, v in zip(integers, row, strict=True)) for row in code.tolist()]
    return [float(f) * (total * step) + offset for total, f in zip(totals, rescale, strict=True)]


def code_scores(bits, rescale, weights, offset=0.0):
    """f · Σ_j b_j w_j + offset, b in {−1, +1}, by tables a byte."""
    code = np.packbits(bits, axis=1, bitorder="little")
    return table_scores(code, rescale, byte_tables(weights, code.shape[1]), offset)


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


def rotated(vector, flips):
    """One vector by sign flips and Walsh–Hadamard transforms, number by number, each rounded to float32."""
    x, dim = [np.float32(value) for value in vector], len(vector)
    width = 2 ** int(np.log2(dim))
    for turn, flip in enumerate(flips):
        x = [value * np.float32(sign) for value, sign in zip(x, flip, strict=True)]
        start, step = 0 if turn % 2 == 0 else dim - width, 1
        while step < width:
            for j in range(width):
                if not j & step:
                    a, b = x[start + j], x[start + j + step]
                    x[start + j], x[start + j + step] = a + b, a - b
            step *= 2
        x[start : start + width] = [value / np.float32(np.sqrt(width)) for value in x[start : start + width]]
    return np.array(x, dtype=np.float32)


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


def share_of_float_top(vectors, queries, estimates, n, k=10):
    """Mean share of float's top k among the n best by estimates (n_queries, n_vectors)."""
    shares = []
    for query, row in zip(queries, estimates, strict=True):
        found = [r for _, r in best_first(row.tolist(), range(len(vectors)))][:n]
        shares.append(len(set(found) & set(float_topk(vectors, query, k))) / k)
    return float(np.mean(shares))


def map_loss(query_map, row_map, moments, covariance):
    """LeanVec's f(A, B) = tr((A Bᵀ − I)ᵀ K (A Bᵀ − I) C): squared error of ⟨Aᵀq, Bᵀy⟩ over queries and rows."""
    off = query_map @ row_map.T - np.eye(len(moments))
    return float(np.trace(off.T @ moments @ off @ covariance))


def linear_scores(rows, signs, decoder, weights, offset):
    """f · ⟨w, b⟩ + offset with f = ‖y‖² / ⟨y, Wᵀ b⟩ in float16; y float64 (n, d), W (n_bits, d)."""
    factors = [(y @ y) / (y @ (decoder.T @ b)) for y, b in zip(rows, signs, strict=True)]
    return np.array(factors).astype(np.float16).astype(float) * (signs @ weights) + offset


def descended(y, decoder, n_sweeps):
    """Bits that lower ‖y − Wᵀ b‖² one at a time, from b = 0; −1 on a tie. decoder (n_bits, dim)."""
    b = np.zeros(len(decoder))
    for _ in range(n_sweeps):
        for a in range(len(b)):
            costs = [((y - decoder.T @ np.r_[b[:a], value, b[a + 1 :]]) ** 2).sum() for value in (-1, 1)]
            b[a] = 1 if costs[1] < costs[0] else -1
    return b


def odd_level(value, step, width):
    """The code 0 … 2^B − 1 whose level step / 2 · (2 c − (2^B − 1)) is nearest; the upper one on a tie."""
    levels = [step / 2 * (2 * c - (2**width - 1)) for c in range(2**width)]
    return max(range(2**width), key=lambda c: (-abs(value - levels[c]), c))


def recurrent_bits(x, mean, maps, steps):
    """Sign, decode, sign of what is left (BEBR); a map is (A, c, U, d, V): v A + c + relu(v U + d) V."""
    left, planes = np.asarray(x, dtype=np.float64) - mean, []
    for (linear, offsets, inner, inner_offsets, outer), step in zip(maps, steps, strict=True):
        planes.append(left @ linear + offsets + np.maximum(left @ inner + inner_offsets, 0) @ outer >= 0)
        left = left - np.where(planes[-1], 1.0, -1.0) @ step
    return np.hstack(planes)


def fused(a, b, c):
    """A float32 product and sum, rounded once: doubles hold a b, and are rounded to odd."""
    product, c = np.asarray(a, np.float64) * np.asarray(b, np.float64), np.asarray(c, np.float64)
    total = np.asarray(product + c)
    back = total - product
    lost = (product - (total - back)) + (c - back)
    is_even = total.view(np.int64) & 1 == 0
    beside = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    return np.where((lost != 0) & is_even, beside, total).astype(np.float32)


def projected(x, w):
    """x w with every sum over d ascending, each product added and rounded to float32 at once."""
    total = np.zeros((len(x), w.shape[1]), dtype=np.float32)
    for k in range(len(w)):
        total = fused(x[:, k, None], w[k], total)
    return total


def dots(matrix, vector):
    """Each row times a vector: dimensions that are equal modulo 16 first, then halves of those, then what is left."""
    whole = len(vector) - len(vector) % 16
    lanes = np.zeros((len(matrix), 16), dtype=np.float32)
    for d in range(0, whole, 16):
        lanes = fused(matrix[:, d : d + 16], vector[d : d + 16], lanes)
    for half in (8, 4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half : 2 * half]
    total = lanes[:, 0]
    for d in range(whole, len(vector)):
        total = total + matrix[:, d] * vector[d]
    return total


def code_of(codes):
    """A code's bytes in their order, uint8 (n, 8 n_words + n_rest): the words', lowest first, then the rest."""
    return np.hstack((bytes_of_words(codes.words), codes.rest))


def decoded_scores(codes, query):
    """f · Σ_p tables[p, byte_p] + offset, byte by byte; f is the row's, or the query's for the words' last byte."""
    scores = []
    for r, data in enumerate(code_of(codes).tolist()):
        factor = codes.rescale[r] if codes.rescale is not None else query.factors[int(codes.words[r, -1]) >> 56]
        total = sum(float(query.tables[p, value]) for p, value in enumerate(data))
        scores.append(float(factor) * total + query.offset)
    return np.array(scores)


def code_signs(codes, n_bits):
    """b of every row, −1 or 1, float64 (n, n_bits): the bits of the words, then those of the rest."""
    return 2.0 * np.unpackbits(code_of(codes), axis=1, bitorder="little")[:, :n_bits] - 1


def codeword_numbers(code):
    """The codewords of a code of bytes, in the order of bytes: 32 p + low half, and 32 p + 16 + high half."""
    return [32 * p + 16 * h + (int(v) // 16 if h else int(v) % 16) for p, v in enumerate(code) for h in (0, 1)]


def decoded_bytes(codes, codewords):
    """The sums of the codewords of rows, float64 (n, dim)."""
    return np.array([codewords[codeword_numbers(code)].sum(axis=0, dtype=np.float64) for code in codes])


def product_codes(groups, starts):
    """The nearest codeword of each group, then the nearest to what it leaves; groups (n, n_bytes, size)."""
    codes = np.zeros(groups.shape[:2], dtype=np.uint8)
    for i, row in enumerate(groups.astype(np.float64)):
        for p, left in enumerate(row):
            low = ((left[:, None] - starts[p, 0]) ** 2).sum(axis=0).argmin()
            high = (((left - starts[p, 0, :, low])[:, None] - starts[p, 1]) ** 2).sum(axis=0).argmin()
            codes[i, p] = low + 16 * high
    return codes


def codeword_cost(base, gram, code):
    """2 Σ_a base_a + Σ_{a ≠ b} gram_ab over the codewords of a code: an integer, and twice the cost."""
    numbers = codeword_numbers(code)
    pairs = gram[np.ix_(numbers, numbers)].astype(np.int64)
    return int(2 * base[numbers].astype(np.int64).sum() + pairs.sum() - np.trace(pairs))


def choose_codewords(base, gram, starts, sweeps):
    """Byte by byte the value of the least cost, the others as they are; of equals the present, then the least."""
    chosen = starts.copy()
    gram = gram.astype(np.int64)
    for row, code in zip(base.astype(np.int64), chosen, strict=True):
        for _ in range(sweeps):
            before = code.copy()
            for p in range(len(code)):
                others = [number for number in codeword_numbers(code) if number // 32 != p]
                own = row + gram[:, others].sum(axis=1)
                low, high = slice(32 * p, 32 * p + 16), slice(32 * p + 16, 32 * p + 32)
                costs = own[low, None] + own[None, high] + gram[low, high]  # of low half v and high half w
                if costs[code[p] % 16, code[p] // 16] > costs.min():
                    v, w = divmod(int(costs.argmin()), 16)
                    code[p] = v + 16 * w
            if np.array_equal(before, code):
                break
    return chosen


MISSING = object()


def value_at(value, path):
    """The value under a dotted path: all readings of the path, the longest first key first."""
    if isinstance(value, dict):
        steps = path.split(".")
        for n in range(len(steps), 0, -1):
            key, rest = ".".join(steps[:n]), steps[n:]
            if key in value:
                found = value_at(value[key], ".".join(rest)) if rest else value[key]
                if found is not MISSING:
                    return found
    if isinstance(value, list):
        found = [value_at(item, path) for item in value if isinstance(item, dict)]
        found = [item if isinstance(item, list) else [item] for item in found if item is not MISSING]
        if found:
            return [item for items in found for item in items]
    return MISSING


def thawed(operand):
    """Tuples of a filter are lists."""
    return [thawed(item) for item in operand] if isinstance(operand, tuple) else operand


def holds(test):
    """What raises does not hold."""
    try:
        return bool(test())
    except (TypeError, ValueError):
        return False


def filter_matches(node, metadata):
    """The meaning of a filter, as Python's own operators and LlamaIndex's predicate have it."""
    name = type(node).__name__
    if name in ("And", "Or", "Not"):
        children = [filter_matches(child, metadata) for child in getattr(node, "filters", None) or []]
        if name == "Not":
            return not filter_matches(node.filter, metadata)
        return all(children) if name == "And" else any(children)
    value = value_at(metadata, node.path)
    if name == "Exists":
        return value is not MISSING
    value = None if value is MISSING else value
    if name == "IsEmpty":
        return value is None or value == "" or value == []
    if value is None:
        return name in ("Ne", "NotIn")
    if name == "TextMatch":
        text = node.text
        if node.ignore_case and isinstance(value, str):
            text, value = text.lower(), value.lower()
        return isinstance(value, str) and text in value
    given = thawed(node.values if name in ("In", "NotIn", "Any", "All") else node.value)
    if name in ("Lt", "Le", "Gt", "Ge"):
        if isinstance(value, list) or isinstance(value, datetime) != isinstance(given, datetime):
            return False
        return holds(
            lambda: {"Lt": value < given, "Le": value <= given, "Gt": value > given, "Ge": value >= given}[name]
        )
    return {
        "Eq": lambda: value == given,
        "Ne": lambda: value != given,
        "In": lambda: value in given,
        "NotIn": lambda: value not in given,
        "Contains": lambda: holds(lambda: given in value),
        "Any": lambda: any(holds(lambda g=g: g in value) for g in given),
        "All": lambda: all(holds(lambda g=g: g in value) for g in given),
    }[name]()


def mmr(scores, vectors, k, diversity):
    """Places of candidates in the order that maximal marginal relevance chooses them; ties go to the first."""
    chosen = []
    while len(chosen) < min(k, len(scores)):
        best, best_gain = None, None
        for i in range(len(scores)):
            if i in chosen:
                continue
            likeness = max((float(np.dot(vectors[i], vectors[j])) for j in chosen), default=0.0)
            gain = (1 - diversity) * scores[i] - diversity * likeness if chosen else scores[i]
            if best is None or gain > best_gain:
                best, best_gain = i, gain
        chosen.append(best)
    return chosen


def coverage_objective(scores, vectors, chosen, k, diversity):
    """What a choice of candidates is worth: their scores, and how well they stand for all candidates."""
    weights = np.exp(np.asarray(scores) - max(scores))
    weights /= weights.sum()

    def likeness(v, s):
        return max(0.0, float(np.dot(vectors[v], vectors[s]) / np.linalg.norm(vectors[v]) / np.linalg.norm(vectors[s])))

    stood_for = sum(w * max((likeness(v, s) for s in chosen), default=0.0) for v, w in enumerate(weights))
    return (1 - diversity) / k * sum(scores[s] for s in chosen) + diversity * stood_for


def coverage(scores, vectors, k, diversity):
    """Places of candidates, chosen one by one for the largest objective, of equal ones the first; ascending."""
    chosen = []
    while len(chosen) < min(k, len(scores)):
        left = [i for i in range(len(scores)) if i not in chosen]
        worth = [coverage_objective(scores, vectors, [*chosen, i], k, diversity) for i in left]
        chosen.append(next(i for i, own in zip(left, worth, strict=True) if own >= max(worth) - 1e-12))
    return sorted(chosen)


def fde(tokens, hyperplanes, projections, *, is_query, fill=False):
    """MUVERA's fixed dimensional encoding of one text, float64, as the paper defines it.

    tokens (n, dim); hyperplanes (n_repetitions, k, dim); projections (n_repetitions, dim, m) of ±1, or None.
    """
    blocks = []
    for r, normals in enumerate(hyperplanes):
        k = len(normals)
        signs = [
            [float(np.dot(normal.astype(float), token.astype(float))) > 0 for normal in normals] for token in tokens
        ]
        for partition in range(2**k):
            wanted = [bool(partition >> j & 1) for j in range(k)]
            inside = [token.astype(float) for token, own in zip(tokens, signs, strict=True) if own == wanted]
            block = np.zeros(tokens.shape[1])
            if inside:
                block = sum(inside) if is_query else sum(inside) / len(inside)
            elif fill and len(tokens) and not is_query:
                differences = [sum(a != b for a, b in zip(own, wanted, strict=True)) for own in signs]
                block = tokens[differences.index(min(differences))].astype(float)
            if projections is not None:
                m = projections.shape[2]
                block = np.array([float(block @ projections[r][:, j]) for j in range(m)]) / m**0.5
            blocks.append(block)
    return np.concatenate(blocks)


def maxsim(query_tokens, document_tokens):
    """Σ over the query's tokens of the largest inner product with any of the document's; −∞ if it has none."""
    total = 0.0
    for q in query_tokens:
        total += max((float(np.dot(q.astype(float), p.astype(float))) for p in document_tokens), default=-np.inf)
    return total


def row_levels(vectors, n_planes):
    """Codes of one or two bits a coordinate: bits (n, n_planes · dim), and what they decode to without the factor."""
    bits, levels = [], []
    for vector in np.asarray(vectors, dtype=float):
        step = np.sqrt(np.mean(vector**2))
        signs = [x > 0 for x in vector]
        if n_planes == 1:
            bits.append(signs)
            levels.append([1.0 if s else -1.0 for s in signs])
        else:
            level = [(3 if abs(x) > step else 1) * (1 if x > 0 else -1) for x in vector]
            bits.append([*signs, *((v + 3) // 2 % 2 == 1 for v in level)])
            levels.append([float(v) for v in level])
    return np.array(bits), np.array(levels)


def bm25(documents, query, n_counted=None, k1=1.5, b=0.75):
    """Scores in float32, a word of the query after the other; documents are words, or None.

    Statistics are of the first `n_counted` documents, of those among them with words.
    """
    counted = [words for words in documents[:n_counted] if words]
    average = sum(map(len, counted)) / len(counted) if counted else 1.0
    scores = np.zeros(len(documents), dtype=np.float32)
    for word in query:
        idf = bm25_idf(counted, word)
        for row, words in enumerate(documents):
            tf = min((words or []).count(word), 65_535)
            if tf:
                share = tf / (k1 * ((1 - b) + b * len(words) / average) + tf)
                scores[row] += np.float32(float(idf) * share)
    return scores


def bm25_idf(counted, word):
    """ln(1 + (n − df + 0.5) / (df + 0.5)) in float32."""
    df = sum(word in words for words in counted)
    return np.float32(math.log(1 + (len(counted) - df + 0.5) / (df + 0.5)))


def renumbered(documents, new_rows, n_rows):
    """Documents under new numbers, −1 for those that are dropped; None where no document is."""
    found = [None] * n_rows
    for words, row in zip(documents, new_rows, strict=True):
        if row >= 0:
            found[row] = words
    return found


def inverted(documents):
    """For each word, in the order of its bytes, the rows that hold it and how often."""
    words = sorted({word for own in documents for word in own or []}, key=str.encode)
    return [
        (word, [(row, min(own.count(word), 65_535)) for row, own in enumerate(documents) if word in (own or [])])
        for word in words
    ]


def covered(documents, query, n_counted=None):
    """Share of the idf of a query's words, of those that any document holds, that each document holds."""
    counted = [words for words in documents[:n_counted] if words]
    known = [w for w in dict.fromkeys(query) if any(w in (words or []) for words in documents)]
    idf = {w: float(bm25_idf(counted, w)) for w in known}
    mass = sum(idf.values())
    return [sum(idf[w] for w in known if w in (words or [])) / mass if mass else 0.0 for words in documents]


def reciprocal_ranks(legs, weights, constant):
    """(fused score, row), best first; legs are lists of rows, best first."""
    rows = sorted({row for leg in legs for row in leg})
    scores = [
        sum(w / (constant + leg.index(row) + 1) for w, leg in zip(weights, legs, strict=True) if row in leg)
        for row in rows
    ]
    return best_first(scores, rows)


def weighted_scores(legs, weights, scale):
    """(fused score, row), best first; legs are dicts of scores by row."""
    rows = sorted({row for leg in legs for row in leg})
    totals = dict.fromkeys(rows, 0.0)
    for weight, leg in zip(weights, legs, strict=True):
        if not leg:
            continue
        values = list(leg.values())
        if scale == "min-max":
            low, size = min(values), max(values) - min(values)
            scaled = {row: (score - low) / size if size else 1.0 for row, score in leg.items()}
        else:
            mean = sum(values) / len(values)
            size = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
            scaled = {row: (score - mean) / size if size else 0.0 for row, score in leg.items()}
        last = 0.0 if scale == "min-max" else min(scaled.values())
        for row in rows:
            totals[row] += weight * scaled.get(row, last)
    return best_first([totals[row] for row in rows], rows)
