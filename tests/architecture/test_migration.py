"""The recipes of docs/migration.md move real stores of the real packages, and its filters mean the same in each.

The packages are those of the `peers` group, which `make test` does not install.
"""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from binrag import EncoderMismatch, SentenceEncoder, Store
from binrag.filters import parse

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = [
    ("\n" * TEXT.count("\n", 0, match.start(1))) + match[1]
    for match in re.finditer(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
]
N = 60
THEMES = ("rivers run to the sea", "trains leave at noon", "bread needs salt", "the moon is far", "bees make honey")
TEXTS = [f"{THEMES[i % 5]}, note {i} of {THEMES[i // 5 % 5]}" for i in range(N)]
IDS = [f"note-{i}" for i in range(N)]
METADATA = [
    {"year": 2018 + i % 7, "weight": i / 8, "draft": i % 5 == 2, "title": f"on the {THEMES[i % 4]}"}
    | ({"lang": ("en", "fr", "de")[i % 3]} if i % 4 else {})
    | ({"tags": ["new", "old"][: 1 + i % 2]} if i % 5 else {})
    for i in range(N)
]
QUERIES = ["where does water flow?", "what do insects do?", "recipe for a loaf"]


SOURCES = {
    "chroma": ["chromadb"],
    "langchain-chroma": ["chromadb", "langchain_chroma"],
    "faiss": ["faiss", "langchain_community.vectorstores"],
    "lancedb": ["lancedb"],
    "lancedb-nested": ["lancedb"],
}


@pytest.fixture(params=SOURCES)
def source(request):
    """The name of a source whose packages are here."""
    for package in SOURCES[request.param]:
        pytest.importorskip(package, reason="the peers group brings it", exc_type=ImportError)
    return request.param


@pytest.fixture(scope="module")
def vectors(minilm):
    return minilm.encode_document(TEXTS).astype(np.float32)


@pytest.fixture
def page(minilm, monkeypatch, tmp_path):
    """What the page defines before its first recipe, in an empty folder; its model is the one at hand."""
    real = SentenceEncoder._load
    monkeypatch.setattr(SentenceEncoder, "_load", lambda self: minilm if self._name == MODEL else real(self))
    monkeypatch.chdir(tmp_path)
    if "chromadb" in sys.modules:  # its clients are remembered by path, and this one is relative
        sys.modules["chromadb"].api.client.SharedSystemClient.clear_system_cache()
    names = {}
    run(BLOCKS[0], names)
    return names


def run(block, names):
    # numbered as in the page, so that a traceback points there
    exec(compile(block, str(PAGE), "exec"), names)


class Known:
    """LangChain's embeddings of texts whose vectors are known."""

    def __init__(self, vectors):
        self._vectors = dict(zip(TEXTS, vectors.tolist(), strict=True))

    def embed_documents(self, texts):
        return [self._vectors[text] for text in texts]

    def embed_query(self, text):
        return self._vectors[text]


def make_chroma(vectors):
    import chromadb

    collection = chromadb.PersistentClient("chroma").create_collection("langchain", embedding_function=None)
    collection.add(ids=IDS, documents=TEXTS, metadatas=METADATA, embeddings=vectors)

    def search(query, k, where=None):
        return collection.query(query_embeddings=[query], n_results=k, where=where)["ids"][0]

    return search


def make_langchain_chroma(vectors):
    from langchain_chroma import Chroma

    db = Chroma(persist_directory="chroma", embedding_function=Known(vectors))
    db.add_texts(TEXTS, METADATA, ids=IDS)
    return lambda query, k: [found.id for found in db.similarity_search_by_vector(query.tolist(), k=k)]


def make_faiss(vectors):
    from langchain_community.vectorstores import FAISS

    pairs = zip(TEXTS, vectors.tolist(), strict=True)
    db = FAISS.from_embeddings(pairs, Known(vectors).embed_query, METADATA, ids=IDS)
    db.save_local("faiss")

    def search(query, k, where=None):
        return [found.id for found in db.similarity_search_by_vector(query.tolist(), k=k, filter=where, fetch_k=N)]

    return search


def make_lancedb(vectors, nested=False):
    import lancedb

    rows = [
        {"id": name, "text": text, "vector": vector} | ({"metadata": metadata} if nested else metadata)
        for name, text, vector, metadata in zip(IDS, TEXTS, vectors, METADATA, strict=True)
    ]
    table = lancedb.connect("lancedb").create_table("docs", sorted(rows, key=lambda row: -len(str(row))))

    def search(query, k, where=None):
        return [row["id"] for row in table.search(query).where(where).limit(k).to_list()]

    return search


def make(source, vectors):
    """Fill a store of another kind in the current folder, and return its search by vector."""
    if source == "lancedb-nested":
        return make_lancedb(vectors, nested=True)
    makers = {"chroma": make_chroma, "langchain-chroma": make_langchain_chroma, "faiss": make_faiss}
    return makers.get(source, make_lancedb)(vectors)


def recipe(source):
    """The block of the page, and the store that it makes."""
    word = source.replace("langchain-", "").replace("-nested", "")
    return next((block, f"from-{word}.binrag") for block in BLOCKS if f"from-{word}.binrag" in block)


def test_a_recipe_moves_everything(source, page, vectors, minilm):
    search = make(source, vectors)
    block, path = recipe(source)
    run(block, page)
    with Store.open(path, "r", encoder=MODEL) as store:
        check_documents(store, vectors)
        assert store.info().encoder == MODEL
        for text, query in zip(QUERIES, minilm.encode_query(QUERIES), strict=True):
            exact = dict(zip(IDS, vectors @ query, strict=True))
            before = search(query, 5)
            for after in (store.search(query, k=5), store.search(text, k=5)):
                assert after[0].id == before[0]
                # in int8, two that score nearly the same may change places
                assert [exact[hit.id] for hit in after] == pytest.approx([exact[name] for name in before], abs=0.003)
        generation = store.info().generation
        run(block, page)  # started again, it passes over what is there
        assert store.info().generation == generation
    pages = list(pages_of(source, page, 7))
    assert len(pages) == -(-N // 7) and {len(part) for some in pages for part in some} == {7, N % 7}
    page["move"](pages, "by-sevens.binrag", MODEL)
    with Store.open("by-sevens.binrag", "r") as store:
        check_documents(store, vectors)


def check_documents(store, vectors):
    found = {document.id: document for document in store.iter()}
    assert store.count() == N and found.keys() == set(IDS)
    assert [found[name].text for name in IDS] == TEXTS
    assert [typed(found[name].metadata) for name in IDS] == [typed(metadata) for metadata in METADATA]
    by_id = store.vectors(IDS)
    kept = np.array([by_id[name] for name in IDS])
    cosines = (kept * vectors).sum(axis=1) / np.linalg.norm(kept, axis=1)
    assert cosines.min() > 0.9995


def typed(metadata):
    """Metadata, in which True is not 1."""
    return repr(sorted(metadata.items()))


def pages_of(source, page, n):
    if source == "faiss":
        return page["faiss_pages"](page["db"], n)
    if "chroma" in source:
        return page["chroma_pages"]("chroma", "langchain", n)
    return page["lancedb_pages"]("lancedb", "docs", n)


def test_vectors_of_another_model_are_noticed(page, vectors):
    moved = [(IDS, TEXTS, METADATA, vectors[::-1])]
    with pytest.raises(EncoderMismatch, match=r"document 'note-\d+' is not what .* makes of its text"):
        page["move"](moved, "wrong.binrag", MODEL)
    with Store.open("wrong.binrag", "r") as store:
        assert store.info().encoder is None


def test_the_encoder_as_the_page_says(page, vectors):
    def other(texts):
        return np.random.default_rng(0).normal(size=(len(texts), 384))

    with Store.open("alone.binrag") as store:
        store.add(ids=IDS, vectors=vectors)
        assert store.search(vectors[3], k=1)[0].id == IDS[3]
        with pytest.raises(EncoderMismatch, match="without an encoder"):
            store.search("bees")
    short = Store.open("alone.binrag", encoder=lambda texts: np.ones((len(texts), 3)))
    with short, pytest.raises(EncoderMismatch, match="384 dimensions"):
        short.search("bees")
    with Store.open("alone.binrag", encoder=other) as store:
        assert store.info().encoder is None
        assert len(store.search("bees")) == 10  # nonsense
    page["move"]([(IDS, TEXTS, METADATA, vectors)], "moved.binrag", MODEL)
    with Store.open("moved.binrag", encoder=other) as store, pytest.raises(EncoderMismatch, match=MODEL):
        store.search("bees")
    with Store.open("moved.binrag") as store:
        assert store.info().code_bytes == 384 // 8 + 2
    with Store.open("believed.binrag", encoder=MODEL) as store:
        store.record_encoder()
        store.add(TEXTS, vectors=vectors)
        assert store.info().code_bytes == 96  # the codes that come with binrag


DIALECTS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in TEXT.partition("## Filters")[2].splitlines()
    if line.startswith("| ")
][1:]


def read(cell):
    return None if cell == "–" else ast.literal_eval(cell.strip("`")) if cell.startswith("`{") else cell.strip("`")


@pytest.fixture(
    params=[["chromadb"], ["faiss", "langchain_community.vectorstores"], ["lancedb"]], ids=lambda names: names[0]
)
def dialect(request, page, vectors):
    """The column of a dialect, and a search of it."""
    for package in request.param:
        pytest.importorskip(package, reason="the peers group brings it", exc_type=ImportError)
    kind = {"chromadb": "chroma"}.get(request.param[0], request.param[0])
    return {"chroma": 2, "faiss": 3, "lancedb": 4}[kind], make(kind, vectors)


def test_a_condition_means_the_same_in_every_dialect(dialect, vectors):
    column, search = dialect
    assert len(DIALECTS) == 12
    with Store.open("here.binrag") as store:
        store.add(TEXTS, ids=IDS, metadata=METADATA, vectors=vectors)
        for line in DIALECTS:
            if theirs := read(line[column]):
                here = {hit.id for hit in store.search(vectors[0], k=N, where=read(line[1]))}
                assert 0 < len(here) < N
                assert set(search(vectors[0], N, where=theirs)) == here, line[0]


def test_conditions_of_the_page_are_valid():
    assert all(parse(read(line[1])) is not None for line in DIALECTS)
