import json

import numpy as np
import pytest

from benchmarks import cases, datasets, quality, scan

N_DOCUMENTS, N_QUERIES, DIM = 300, 20, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set whose every query lies near one document, the only relevant one."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    corpus = rng.standard_normal((N_DOCUMENTS, DIM))
    queries = corpus[:N_QUERIES] + 1.2 * rng.standard_normal((N_QUERIES, DIM))
    np.save(folder / "corpus.f16.npy", corpus.astype(np.float16))
    np.save(folder / "queries.f32.npy", queries.astype(np.float32))
    with (folder / "corpus.jsonl").open("w") as file:
        file.writelines(json.dumps({"_id": f"d{i}", "text": f"text {i}"}) + "\n" for i in range(N_DOCUMENTS))
    with (folder / "queries.jsonl").open("w") as file:
        file.writelines(json.dumps({"_id": f"q{i}", "text": f"query {i}"}) + "\n" for i in range(N_QUERIES))
    judgments = "".join(f"q{i}\td{i}\t1\n" for i in range(N_QUERIES))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgments)
    return folder


def test_float_exact_is_the_total_order(folder):
    dataset = datasets.load(folder)
    repeated = datasets.Dataset(
        **{
            **{name: getattr(dataset, name) for name in dataset.__slots__},
            "corpus": np.concatenate([dataset.corpus, dataset.corpus]),
        }
    )
    with cases.float_exact(repeated) as searcher:
        for query in repeated.query_vectors:
            scores = repeated.corpus @ query
            expected = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
            assert searcher.search(query, 10).tolist() == expected[:10]
            assert searcher.search(query, 10_000).tolist() == expected


def test_cases_run_through_to_table_and_json(folder, tmp_path, capsys):
    path = tmp_path / "out.json"
    command = ["--data", str(folder), str(folder), "--cases", "float*", "Hamming*", "--json", str(path)]
    assert quality.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("| float32 exact |") == 3
    assert "Mean over the 2 sets" in printed
    written = json.loads(path.read_text())
    exact, hamming = written["results"]["sets"][:2]
    assert exact["ndcg_ratio"] == 1.0
    assert exact["ndcg_ratio_interval"] == [1.0, 1.0]
    assert exact["recall_at_10"] == exact["recall_at_100"] == 1.0
    assert exact["ndcg_at_10"] > hamming["ndcg_at_10"] > 0
    assert hamming["hot_bytes_a_row"] == DIM / 8
    assert hamming["ndcg_ratio_interval"][0] < hamming["ndcg_ratio"] < hamming["ndcg_ratio_interval"][1]


def test_variants_are_tabled_by_set(folder, capsys):
    assert quality.main(["--data", str(folder), "--table", "variants"]) == 0
    printed = capsys.readouterr().out
    for row in ("| plain |", "| centred |", "| rotated, mean [min, max] of 5 seeds |"):
        assert row in printed


@pytest.mark.parametrize("keep_vectors", ["none", "int8"])
def test_a_store_is_measured_through_its_search(folder, keep_vectors):
    dataset = datasets.load(folder)
    store = quality.CASES[f'store, keep_vectors="{keep_vectors}"']
    (exact, result) = quality.measure(dataset, {quality.REFERENCE: cases.float_exact, "store": store})
    assert result.hot_bytes_a_row < 0.15 * exact.hot_bytes_a_row
    assert result.disk_bytes_a_row > DIM / 8
    if keep_vectors == "int8":
        assert result.recall_at_10 > 0.95
        assert result.cold_reads_a_query == 100
    else:
        assert 0.3 < result.recall_at_10 < 0.9
        assert result.cold_reads_a_query is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cases", "nothing"], "matches none of"),
        (["--table", "variants", "--cases", "plain"], "as a whole"),
    ],
)
def test_cases_that_cannot_be_run_are_refused(folder, capsys, options, message):
    assert quality.main(["--data", str(folder), *options]) == 2
    assert message in capsys.readouterr().err


def test_noisy_copies_flip_one_bit_in_sixteen_of_the_used_bits():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**63, size=(50, 2), dtype=np.uint64) & np.array([2**64 - 1, 2**36 - 1], np.uint64)
    copies = scan.noisy_copies(words, 20_000, 100, rng)
    flipped = np.bitwise_count(copies ^ np.resize(words, copies.shape)).sum()
    assert abs(flipped / (20_000 * 100) - 1 / 16) < 0.002
    assert not (copies[:, 1] >> np.uint64(36)).any()
    assert len(np.unique(copies, axis=0)) > 19_900
