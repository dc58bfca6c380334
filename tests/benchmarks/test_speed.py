import json
import os

import numpy as np
import pytest

from benchmarks import speed, speed_measure
from benchmarks.datasets import load
from benchmarks.speed_data import K, Recipe, Source, exact, recall
from benchmarks.speed_engines import Contender, Engine
from benchmarks.speed_measure import main_point
from benchmarks.speed_stores import Binrag, InMemory
from benchmarks.speed_tables import main_table, plot_all

DIM, N_BASE, N, N_QUERIES = 64, 200, 300, 20


class Failing(Engine):
    """Cannot be built."""

    def build(self, rows, folder):
        raise ValueError("these rows\nwill not do")


class Ending(Engine):
    """Answers each query once and some more, then ends its process."""

    n_left = N_QUERIES + 5

    def build(self, rows, folder):
        (folder / "built").write_text("yes")

    def open(self, folder, rows, threads):
        assert (folder / "built").exists()

    def search(self, query, **point):
        self.n_left -= 1
        if self.n_left < 0:
            os.write(2, b"out of luck\n")
            os._exit(7)
        return [("0", "text")]


TABLE = [
    Contender(
        "binrag, signs",
        Binrag,
        "signs",
        returns="ids, texts",
        options={"binarizer": "sign"},
        points=({}, {"n_candidates": 10}),
        is_ours=True,
    ),
    Contender("memory", InMemory, returns="ids, texts", needs=("langchain-core",)),
    Contender("ending", Ending),
    Contender("failing", Failing),
    Contender("missing", Ending, needs=("no-such-package",)),
    Contender("small", Ending, most_rows=N - 1),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set in BEIR layout with ready vectors, each query near one document."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    corpus = rng.standard_normal((N_BASE, DIM))
    queries = corpus[:N_QUERIES] + 0.8 * rng.standard_normal((N_QUERIES, DIM))
    np.save(folder / "corpus.f16.npy", corpus.astype(np.float16))
    np.save(folder / "queries.f32.npy", queries.astype(np.float32))
    for name, count in (("corpus", N_BASE), ("queries", N_QUERIES)):
        lines = [json.dumps({"_id": f"{name}{i}", "text": f"{name} {i}"}) + "\n" for i in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    judgments = "".join(f"queries{i}\tcorpus{i}\t1\n" for i in range(N_QUERIES))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgments)
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return load(folder)


@pytest.fixture
def source(dataset, tmp_path):
    return Source(dataset, tmp_path, N_QUERIES)


@pytest.fixture(scope="module")
def command(folder, tmp_path_factory):
    cell = ["--rows", str(N), "--dims", str(DIM), "--threads", "1", "--rounds", "2", "--queries", str(N_QUERIES)]
    return ["--data", str(folder), *cell, "--cache", str(tmp_path_factory.mktemp("cache"))]


@pytest.fixture(scope="module")
def outcome(command, tmp_path_factory):
    """Exit code, records and Markdown of one run."""
    pytest.importorskip("langchain_core")
    path = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "contenders", lambda dim: TABLE)
        code = speed.main([*command, "--json", str(path / "out.json"), "--markdown", str(path / "out.md")])
    written = json.loads((path / "out.json").read_text())
    return code, {record["contender"]: record for record in written["results"]}, (path / "out.md").read_text()


def test_a_run_goes_through_to_table_and_json(outcome):
    code, records, text = outcome
    assert code == 0
    exhaustive, ours = records["memory"], records["binrag, signs"]
    assert exhaustive["points"][0]["recall"] == 1.0
    default, few = ours["points"]
    assert 0.9 < default["recall"] <= 1.0
    assert few["recall"] < default["recall"]
    for record in (exhaustive, ours):
        assert record["build_s"] > 0
        assert record["open_ms"] > 0
        assert record["first_ms"] > 0
        assert record["points"][0]["rated_queries"] == N_QUERIES
        assert len(record["points"][0]["ms"]) == 2 * 20
        assert 0 < record["points"][0]["p50_ms"] <= record["points"][0]["p95_ms"]
        assert record["points"][0]["batch_rate"] > 0
        assert record["reference_ms"] > 0
    assert ours["disk_bytes"] > N * DIM
    assert exhaustive["disk_bytes"] == 0
    if ours["used_bytes"] is not None:
        assert ours["used_bytes"] > ours["loaded_bytes"] > 1e6
    assert f"**{N} × {DIM}, 1 thread**" in text
    assert "| binrag, signs | signs" in text
    assert "Gaussian noise of 0.3" in text


def test_a_failure_is_a_row_with_its_error(outcome):
    _, records, text = outcome
    assert records["ending"]["error"] == "block: the process ended with code 7: out of luck"
    assert "points" not in records["ending"]
    assert records["failing"]["error"] == "build: ValueError: these rows\nwill not do"
    assert "| failing | failed: build: ValueError: these rows will not do | rows | – |" in text
    assert "| ending | failed: block: the process ended" in text


def test_what_is_left_out_says_why(outcome):
    _, records, text = outcome
    assert "not installed: no-such-package; pip install" in records["missing"]["left_out"]
    assert f"above {N - 1} rows" in records["small"]["left_out"]
    assert "| missing | not installed: no-such-package" in text


def test_a_second_run_starts_no_process(outcome, command, monkeypatch, capsys):
    monkeypatch.setattr(speed, "contenders", lambda dim: TABLE)
    monkeypatch.setattr(speed_measure, "Worker", None)
    assert speed.main(command) == 0
    assert "| binrag, signs |" in capsys.readouterr().out


def test_a_build_is_not_done_again_for_other_threads(outcome, command, monkeypatch, capsys):
    monkeypatch.setattr(speed, "contenders", lambda dim: [TABLE[0]])
    asked = []
    real = speed_measure.Worker.ask

    def ask(self, name, *arguments, **options):
        asked.append(name)
        return real(self, name, *arguments, **options)

    monkeypatch.setattr(speed_measure.Worker, "ask", ask)
    assert speed.main([*command, "--threads", "2"]) == 0
    assert "open" in asked
    assert "build" not in asked
    assert f"{N} × {DIM}, 2 threads" in capsys.readouterr().out


def test_the_plots_are_drawn(outcome, tmp_path):
    pytest.importorskip("matplotlib")
    drawn = plot_all(list(outcome[1].values()), tmp_path)
    assert [path.name for path in drawn] == [f"recall-{N}x{DIM}-1.png", f"rows-{DIM}-1.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_rows_are_unit_vectors_and_begin_with_the_real_ones(source, dataset):
    rows = source.rows(N, DIM).vectors
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    real = {row.tobytes() for row in dataset.corpus}
    assert {row.tobytes() for row in np.array(rows[:N_BASE])} == real
    assert not {row.tobytes() for row in np.array(rows[N_BASE:])} & real


def test_rows_are_the_same_every_time_and_fewer_are_a_prefix(source, dataset, tmp_path):
    other = Source(dataset, tmp_path / "other", N_QUERIES)
    rows = np.array(source.rows(N, DIM).vectors)
    np.testing.assert_array_equal(rows, other.rows(N, DIM).vectors)
    np.testing.assert_array_equal(rows[:N_BASE], other.rows(N_BASE, DIM).vectors)
    np.testing.assert_array_equal(rows[: N - 40], other.rows(N - 40, DIM).vectors)
    third = Source(dataset, tmp_path, N_QUERIES, Recipe(seed=1))
    assert third.folder != source.folder


def test_rows_of_another_dimension_are_a_projection(source):
    rows, wide = source.rows(N, DIM).vectors, source.rows(N, 4 * DIM).vectors
    assert wide.shape == (N, 4 * DIM)
    np.testing.assert_allclose(np.linalg.norm(wide, axis=1), 1, atol=1e-5)
    assert np.corrcoef((rows @ rows.T).ravel(), (wide @ wide.T).ravel())[0, 1] > 0.9
    assert np.load(source.queries(4 * DIM)).shape == (N_QUERIES, 4 * DIM)


def test_exact_answers_are_those_of_brute_force(source, monkeypatch):
    monkeypatch.setattr("benchmarks.speed_data.CHUNK", 70)
    rows, queries = np.array(source.rows(N, DIM).vectors), np.load(source.queries(DIM))
    found, scores = exact(rows, queries, K)
    np.testing.assert_array_equal(found, np.argsort(-(queries @ rows.T), axis=1)[:, :K])
    np.testing.assert_allclose(scores, np.sort(queries @ rows.T, axis=1)[:, : -K - 1 : -1], rtol=1e-5)
    np.testing.assert_allclose(source.truth(N, DIM), scores[:, -1], rtol=1e-5)


def test_recall_counts_ties_and_no_row_twice():
    rows = np.eye(12, dtype=np.float32)
    query, tenth = np.ones((1, 12), np.float32), np.ones(1, np.float32)
    assert recall([list(range(2, 12))], rows, query, tenth) == 1.0
    assert recall([[0] * 10], rows, query, tenth) == 0.1
    assert recall([[]], rows, query, tenth) == 0.0
    assert recall([[0, 1]], rows, query, tenth * 1.1) == 0.0


def point(recall, *milliseconds):
    return {"recall": recall, "ms": list(milliseconds)}


def test_the_main_point_is_the_fastest_good_one_or_else_the_best():
    fast, good, slow = point(0.90, 1.0), point(0.95, 2.0, 9.0, 2.0), point(1.0, 5.0)
    assert main_point([fast, slow, good]) is good
    assert main_point([point(0.5, 1.0), fast]) is fast
    same = point(0.90, 0.5)
    assert main_point([fast, same]) is same


def test_a_family_is_one_row():
    base = {"line": "x", "setting": "s", "returns": "rows", "is_ours": False, "build_s": 1.0, "open_ms": 1.0}
    base |= {"first_ms": 1.0, "used_bytes": 3e6, "loaded_bytes": 1e6, "disk_bytes": 5e6, "reference_ms": 4.0}
    shown = {"p95_ms": 3.0, "batch_rate": 10.0, "label": "default", "point": {}}
    records = [
        {**base, "setting": name, "points": [{**point(found, ms), **shown, "p50_ms": ms}]}
        for name, found, ms in (("few", 0.9, 1.0), ("some", 0.96, 2.0), ("many", 0.99, 4.0))
    ]
    lines = main_table(records).splitlines()
    assert len(lines) == 3
    assert lines[2] == "| x | some | rows | 1.0 | 1.0 | 1.0 | 2.00 | 3.00 | 10 | 0.960 | 3 (2) | 5 | 0.50 |"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--rows", "5"],
        ["--dims", "0"],
        ["--threads", "0"],
        ["--rounds", "0"],
        ["--contenders", "nobody"],
        ["--scan-only", "50"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments, folder, capsys):
    data = ["--data", str(folder)] if arguments else []
    assert speed.main([*data, *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_every_contender_has_a_name_of_its_own_and_says_how_it_is_built():
    for dim in (384, 1024):
        table = speed.contenders(dim)
        assert len({contender.name for contender in table}) == len(table)
        assert all(contender.setting and contender.points for contender in table)
        assert table[0].is_ours
        graphs = [contender.name for contender in table if "HNSW" in contender.setting and contender.most_rows > 1e6]
        assert graphs == ["FAISS HNSW", "usearch"]


def test_the_scan_alone_is_timed(tmp_path, capsys):
    path = tmp_path / "scan.json"
    assert speed.main(["--scan-only", "6400", "--dims", "64", "--rounds", "1", "--json", str(path)]) == 0
    assert "| Hamming distance | 64 | 10 | 6,400 |" in capsys.readouterr().out
    assert [row["scan"] for row in json.loads(path.read_text())["results"]] == ["Hamming distance", "tables"]
