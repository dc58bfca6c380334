"""`warmup`: the compiled code is there before the first search."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from binrag import LateInteraction, NotAStore, Store, StoreNotFound, warmup
from binrag.binarizers import RotatedSignBinarizer
from binrag.cli import main
from binrag.kernels.scan import scan_kernel

SEARCH = """
import sys, numpy as np
from binrag import Store
from binrag.kernels.scan import scan_kernel
with Store.open(sys.argv[1], "r") as store:
    store.search(np.ones(200, np.float32))
kernel = scan_kernel(4)
print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""

WORDS = """
import sys, numpy as np
from binrag import Store
from binrag.kernels import lexical
with Store.open(sys.argv[1], "rw") as store:
    store.search(np.ones(200, np.float32), text="word", legs="hybrid")
    store.add(["more"], vectors=np.ones((1, 200)))
    store.compact()
kernels = [lexical.add_scores, lexical.best_rows, lexical.ascends, lexical.postings_fit]
kernels += [lexical.count_kept, lexical.move_kept, lexical.sort_postings]
print(*(sum(kernel.stats.cache_hits.values()) - sum(kernel.stats.cache_misses.values()) for kernel in kernels))
"""


def test_a_process_after_it_compiles_nothing(tmp_path):
    with Store.open(tmp_path / "s", binarizer=RotatedSignBinarizer(200), lexical="any") as store:
        store.add(["word"] * 100, vectors=np.random.default_rng(0).normal(size=(100, 200)))
        store.index_words("any")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "seconds" in json.loads(run("-m", "binrag", "warmup", str(tmp_path / "s"), "--json"))
    assert run("-c", SEARCH, str(tmp_path / "s")).split() == ["1", "0"]
    assert run("-c", WORDS, str(tmp_path / "s")).split() == ["1"] * 7


def test_the_store_is_left_as_it_was(tmp_path, capsys):
    with Store.open(tmp_path / "s") as store:
        store.add(vectors=np.eye(8))
        store.index_words()  # of no text
    before = (tmp_path / "s").read_bytes()
    assert main(["warmup", str(tmp_path / "s")]) == 0
    assert capsys.readouterr().out.startswith("ready in ")
    assert (tmp_path / "s").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_an_empty_store_has_nothing_to_make_ready(tmp_path):
    Store.open(tmp_path / "s").close()
    warmup(tmp_path / "s")


def test_without_a_store_it_is_signs_and_what_comes_with_binrag():
    warmup()
    assert scan_kernel(6).signatures


def test_what_is_no_store(tmp_path):
    with pytest.raises(StoreNotFound, match="there is no file"):
        warmup(tmp_path / "s")
    (tmp_path / "s").write_text("text " * 1000)
    with pytest.raises(NotAStore):
        warmup(tmp_path / "s")


def test_stores_of_token_vectors_with_words_are_made_ready_too(tmp_path):
    with Store.open(tmp_path / "s", late_interaction=LateInteraction(), lexical="en") as store:
        store.add(["silver"] * 3, vectors=[np.eye(8)] * 3)
    warmup(tmp_path / "s")
