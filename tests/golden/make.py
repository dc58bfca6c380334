"""Makes the golden stores of a format version, and ``expected-VERSION.json``: what they hold and answer.

``OPENBLAS_NUM_THREADS=1 python tests/golden/make.py`` (fits differ in the last bits with the number of threads), once a
version: the files of versions that were released stay as they are. The stores are compressed, since most of a
small SQLite file is empty pages.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from binrag import ALL_TENANTS, FdeConfig, LateInteraction, Store, TokenEncoder
from binrag.binarizers.additive import AdditiveBinarizer
from binrag.storage.schema import FORMAT_VERSION

FOLDER = Path(__file__).parent
ALL_TYPES = {
    "nothing": None,
    "yes": True,
    "int": -7,
    "big": 2**64 - 1,
    "float": 1.0,
    "text": "Zoë — 書",
    "bytes": b"\x00\xffraw",
    "naive": datetime(2024, 2, 29, 12, 30, 15, 250),
    "utc": datetime(2024, 2, 29, 12, tzinfo=UTC),
    "offset": datetime(1969, 7, 20, 20, 17, tzinfo=timezone(timedelta(hours=-5))),
    "date": date(1815, 12, 10),
    "list": [1, "two", None, b"\x03", date(2000, 1, 1)],
    "dict": {"inner": {"deep": 1.5}, "tags": ["a", "b"]},
    "long": "x" * 200,
}


class Encoder:
    """Whole numbers from a hash of the text, 20 of them, which no version of anything computes otherwise."""

    dim, encoder_id, similarity = 20, "golden", "cosine"

    def encode_document(self, texts):
        digests = [hashlib.sha256(text.encode()).digest()[: self.dim] for text in texts]
        return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, self.dim).astype(np.float32) - 127.5

    encode_query = encode_document

    def count_truncated(self, texts):
        return sum(len(text) > 30 for text in texts)


def vectors_of(n, dim, seed):
    """Whole-numbered vectors around the 20 topics of a seed."""
    draw = np.random.default_rng(seed)
    topics = draw.integers(-20, 21, size=(20, dim))
    return (topics[draw.integers(20, size=n)] + draw.integers(-8, 9, size=(n, dim)) + 0.5).astype(np.float32)


def make_signs(path):
    """Signs in a tail, int8 vectors, an encoder, three tenants, replaced and deleted documents."""
    with Store.open(path, encoder=Encoder(), binarizer="sign", keep_vectors="int8") as store:
        store.add(
            ["every type of metadata", *(f"text number {i}" for i in range(1, 20))],
            ids=[f"d{i}" for i in range(20)],
            metadata=[ALL_TYPES, *({"n": i, "even": i % 2 == 0} for i in range(1, 19)), None],
        )
        for tenant in ("acme", "zoë"):
            texts = [f"{tenant} has text number {i}, which is long" for i in range(6)]
            ids = [f"d{i}" for i in range(6)]
            store.add(texts, ids=ids, metadata=[{"n": 10 * i} for i in range(6)], tenant=tenant)
        store.add(["another text"], ids=["d3"], metadata=[{"n": 3.5}])
        store.add([None], vectors=[np.arange(1, 21)], ids=["vector only"])
        store.delete(["d4", "d5"])
        store.delete(["d1"], tenant="acme")
        store.update_metadata({"changed": True}, ["d6"])
        store.ledger("pages").put(["d0", "d2"], ["first", None])
        store.ledger("pages", tenant="acme").put(["d2"], ["first"])


def coarse(config):
    """A fitted binarizer's config with short floats, which can be compressed."""
    if isinstance(config, list):
        return [coarse(one) for one in config]
    if isinstance(config, dict):
        return {key: _coarse_array(key, value) for key, value in config.items()}
    return config


def _coarse_array(key, value):
    if key == "choosing":
        return (np.frombuffer(value, np.int8) // 8 * 8).tobytes()
    if isinstance(value, bytes) and key not in ("mean", "ranges", "step_sizes"):
        return (np.frombuffer(value, "<u2") & 0xFF00).astype("<u2").tobytes()
    return coarse(value)


def make_tables(path):
    """Codes that are scanned by tables, with further bytes; float16 vectors; recoded, compacted, and added to."""
    rows = vectors_of(600, 64, seed=5)
    fitted = AdditiveBinarizer.fit(rows / np.linalg.norm(rows, axis=1, keepdims=True), code_bytes=10)
    binarizer = AdditiveBinarizer.from_config(coarse(fitted.get_config()))
    with Store.open(path, binarizer="rotated-sign", keep_vectors="float16", seed=3) as store:
        store.add(vectors=rows[:40], ids=[f"v{i}" for i in range(40)], metadata=[{"i": i} for i in range(40)])
        store.delete([f"v{i}" for i in range(0, 40, 4)])
        store.recode(binarizer)
        store.compact()
        store.add(vectors=rows[40:50], ids=[f"v{i}" for i in range(40, 50)], metadata=[{"i": i} for i in range(40, 50)])
        store.delete(["v1"])


def make_block(path):
    """A full run of 4,096 rows in blocks, and a tail; no vectors kept; most rows dead, which keeps the file small."""
    n = 4096 + 40
    rows = vectors_of(n, 8, seed=6)
    with Store.open(path, binarizer="sign", keep_vectors="none") as store:
        metadata = [{"n": i % 50, "kind": "ab"[i % 2]} | ({"rare": i} if i % 400 == 0 else {}) for i in range(n)]
        store.add(vectors=rows, ids=[f"r{i}" for i in range(n)], metadata=metadata)
        store.delete([f"r{i}" for i in range(n) if i % 10])
        store.update_metadata({"rare": -1}, ["r4100"])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")


def make_tokens(path):
    """Token vectors, in two bits, their encodings in one; replaced and deleted documents, a tenant."""
    config = FdeConfig(4, 2, 8, final_projection_dim=128, seed=5)
    with Store.open(
        path,
        encoder=TokenEncoder(token_vectors, encoder_id="golden tokens"),
        late_interaction=LateInteraction(config, group_tokens=0.9),
    ) as store:
        texts = [f"text number {i} of {i % 3} and {i % 7}" for i in range(30)]
        store.add(texts, ids=[f"t{i}" for i in range(30)], metadata=[{"n": i} for i in range(30)])
        store.add(["another text"], ids=["t3"], metadata=[{"n": 3.5}])
        store.delete(["t4", "t5"])
        store.add(texts[:3], ids=["t0", "t1", "t2"], tenant="acme")


def make_words(path):
    """An index of words, folded, with rows that died since, rows since, a tenant and a document without a text."""
    texts = [f"parseDate of text_number {i}, the {'silver' if i % 4 else 'copper'} kettles — 書店" for i in range(30)]
    with Store.open(path, binarizer="sign", lexical="en") as store:
        store.add([*texts, None], vectors=vectors_of(31, 8, seed=7), ids=[f"w{i}" for i in range(31)])
        store.delete(["w1", "w2"])
        store.index_words("en")
        store.add(["copper copper number 99"], vectors=vectors_of(1, 8, seed=8), ids=["w3"])
        store.add(texts[:2], vectors=vectors_of(2, 8, seed=9), ids=["w0", "w1"], tenant="acme")
        store.delete(["w4"])


def token_vectors(texts):
    """Whole numbers from a hash of each word."""
    return [Encoder().encode_document(text.split()) for text in texts]


def plain(value):
    """Metadata as JSON, with the types that it lacks."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    return {"$date": value.isoformat()} if isinstance(value, date) else value


MAKERS = {
    "signs": (make_signs, ["text number 7", *vectors_of(2, 20, seed=1).tolist()]),
    "tables": (make_tables, vectors_of(52, 64, seed=5)[[7, 45, 51]].tolist()),
    "block": (make_block, vectors_of(4, 8, seed=6)[[0, 3]].tolist()),
    "tokens": (make_tokens, ["text number 7", token_vectors(["another number of 2"])[0].tolist()]),
    "words": (make_words, ["number 7 or 99 or 4 or 17 or 0", "14"]),
}
ENCODERS = {"signs": Encoder(), "tokens": TokenEncoder(token_vectors, encoder_id="golden tokens")}
SELECTIONS = {
    "signs": [{}, {"tenant": "acme"}, {"tenant": "zoë"}, {"where": {"n": {"$gte": 10}}}, {"where": {"changed": True}}],
    "tables": [{}, {"where": {"i": {"$lt": 20}}}],
    "block": [{}, {"where": {"n": 10}}, {"where": {"rare": {"$exists": True}}}, {"where": {"kind": "b"}}],
    "tokens": [{}, {"tenant": "acme"}, {"where": {"n": {"$lt": 9}}}],
    "words": [{}, {"tenant": "acme"}],
}
LEGS = {"words": "lexical"}


def expected_of(name, path):
    """What a store holds and answers."""
    with Store.open(path, "r", encoder=ENCODERS.get(name)) as store:
        documents = [[d.tenant, d.id, d.text, plain(d.metadata)] for d in store.iter(tenant=ALL_TENANTS)]
        answers = []
        for selection in SELECTIONS[name]:
            legs = LEGS.get(name, "dense")
            found = [store.search(query, 5, legs=legs, **selection) for query in MAKERS[name][1]]
            hits = [[[hit.id, round(hit.score, 8)] for hit in hits] for hits in found]
            answers.append({**selection, "count": store.count(**selection), "hits": hits})
        info = store.info()
    return {
        "binarizer": info.binarizer,
        "generation": info.generation,
        "n_truncated": info.n_truncated,
        "queries": MAKERS[name][1],
        "answers": answers,
        "documents": documents,
    }


def main():
    """Write the stores and what is expected of them."""
    expected = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, _) in MAKERS.items():
            path = Path(folder) / name
            make(path)
            expected[name] = expected_of(name, path)
            (FOLDER / f"{name}-{FORMAT_VERSION}.store.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    (FOLDER / f"expected-{FORMAT_VERSION}.json").write_text(text.replace("],[", "],\n[") + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
