"""The benchmark of parallel calls on an event loop, with few of them."""

import asyncio
import json
import time

import numpy as np
import pytest

from benchmarks import async_calls


def test_the_command_prints_and_writes_what_calls_take(tmp_path, capsys):
    out, page = tmp_path / "out.json", tmp_path / "page.md"
    options = ["--rows", "300", "--dim", "64", "--calls", "4", "--rounds", "2", "--json", str(out)]
    assert async_calls.main([*options, "--markdown", str(page)]) == 0
    printed = capsys.readouterr().out
    assert page.read_text(encoding="utf-8") == printed
    assert "300 documents of 64 dimensions" in printed
    results = json.loads(out.read_text())["results"]
    assert {(row["n_calls"], row["n_right"]) for row in results} == {(8, 8)}
    assert all(row["p95_ms"] >= row["p50_ms"] > 0 for row in results)
    assert all(row["longest_block_ms"] >= row["block_ms"] > 1 for row in results)
    assert [row["retriever"] for row in results] == [
        "an idle loop",
        "LangChain, nothing to find",
        "LlamaIndex, nothing to find",
        "LangChain",
        "LangChain, queries awaited",
        "LlamaIndex",
        "searches on the loop",
    ]


def test_wrong_answers_are_told(monkeypatch, tmp_path, capsys):
    def wrong(path, embedding):
        async def ask(query):
            return ["another"]

        return lambda query: ["another"], ask

    monkeypatch.setattr(async_calls, "llama_index_retriever", wrong)
    np.save(tmp_path / "corpus.f16.npy", np.random.default_rng(0).standard_normal((20, 8)).astype(np.float16))
    np.save(tmp_path / "queries.f32.npy", np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32))
    assert async_calls.main(["--data", str(tmp_path), "--calls", "3", "--rounds", "1"]) == 1
    assert "| LlamaIndex | 3 | 0 |" in capsys.readouterr().out
    assert async_calls.main(["--data", str(tmp_path), "--calls", "4"]) == 2
    assert "3 queries, expected 4" in capsys.readouterr().err


def test_what_blocks_the_loop_is_seen():
    async def blocks():
        await asyncio.sleep(0)
        time.sleep(0.05)

    assert asyncio.run(async_calls.longest_block(blocks)) >= 50


@pytest.mark.parametrize("options", [["--rows", "9"], ["--calls", "0"], ["--rounds", "0"]])
def test_settings_that_cannot_be_run_are_refused(capsys, options):
    assert async_calls.main(options) == 2
    assert "expected rows ≥ 10" in capsys.readouterr().err
