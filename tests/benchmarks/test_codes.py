import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import codes, cold, outcomes
from benchmarks.contenders import Contender, FloatModel, Int8Model, contenders
from benchmarks.datasets import load
from benchmarks.ours import Coding, artefact, codings, fitted
from binrag.binarizers import RotatedSignBinarizer, SignBinarizer
from binrag.binarizers.artefact import save_artefact
from binrag.registry import record_of

DIM, N, N_QUERIES = 64, 400, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set with fit and test queries, each near one document, the only relevant one."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    corpus = rng.standard_normal((N, DIM))
    queries = corpus[:N_QUERIES] + 1.2 * rng.standard_normal((N_QUERIES, DIM))
    np.save(folder / "corpus.f16.npy", corpus.astype(np.float16))
    np.save(folder / "queries.f32.npy", queries.astype(np.float32))
    with (folder / "corpus.jsonl").open("w") as file:
        file.writelines(json.dumps({"_id": f"d{i}", "text": f"text {i}"}) + "\n" for i in range(N))
    with (folder / "queries.jsonl").open("w") as file:
        for i in range(N_QUERIES):
            split = "fit" if i < N_QUERIES // 2 else "test"
            file.write(json.dumps({"_id": f"q{i}", "text": f"query {i}", "split": split}) + "\n")
    judgments = "".join(f"q{i}\td{i}\t1\n" for i in range(N_QUERIES))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgments)
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return load(folder)


@pytest.fixture
def training(dataset):
    return outcomes.Training("home", dataset.corpus, None)


def test_a_quick_run_goes_through_to_tables_and_json(folder, tmp_path, capsys):
    command = ["--fit", str(folder), "--data", str(folder), "--quick", "--cold", "sign", "float32"]
    assert codes.main([*command, "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert "| **sign** | nested | 10 |" in printed
    assert "fitted on its own rows" in printed
    assert "int8 vectors on disk" in printed

    written = json.loads((tmp_path / "out.json").read_text())["results"]
    exact = next(row for row in written["codes"] if row["name"] == "float32")
    assert exact["recall_at_10"] == exact["recall_at_100"] == 1.0
    assert exact["ndcg_ratio_interval"] == [1.0, 1.0]
    sign = next(row for row in written["codes"] if row["name"] == "sign")
    assert sign["row_bytes"] == DIM / 8 + 2
    assert 0.3 < sign["recall_at_10"] < 0.95
    assert sign["two_stage_recall_at_10"] == pytest.approx(sign["recall_at_10"]), "800 candidates are all rows"
    assert sign["recall_at_10"] < sign["scan_top10_in_100"] <= 1.0
    reads = {row["name"]: row["reads"] for row in written["cold"]}
    assert reads["float32"] < reads["sign"]


def test_the_plot_is_drawn(folder, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "out.png"
    cases = ["--cases", "sign", "float32", "--cache", str(tmp_path), "--plot", str(path)]
    assert codes.main(["--fit", str(folder), *cases]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def judged(dataset):
    return codes.Judge.of(dataset, None)


def test_rescaled_codes_count_two_bytes_more(dataset, training):
    peer = Contender("int8", "int8", lambda rows, seed: Int8Model(rows.shape[1]))
    found = list(codes.measure_peer(peer, training, [judged(dataset)], [0], None))
    sizes = {measured.variant: measured.row_bytes for measured in found}
    assert sizes == {
        f"{name}{suffix}": DIM + 4 + extra
        for name in ("plain", "centred", "weighted")
        for suffix, extra in (("", 0), (", rescaled", 2))
    }
    assert all(measured.recall_10.mean() > 0.95 for measured in found)


def test_values_are_means_over_seeds(dataset, training):
    (rotated,) = (case for case in codings() if case.name == "rotated sign")
    singles = [next(codes.measure_ours(rotated, training, [judged(dataset)], [seed], None)) for seed in range(3)]
    (together,) = codes.measure_ours(rotated, training, [judged(dataset)], range(3), None)
    assert together.seeds == 3
    for name in ("recall_10", "ndcg_10", "plane_100", "two_stage_10"):
        np.testing.assert_allclose(getattr(together, name), np.mean([getattr(run, name) for run in singles], axis=0))
    assert not np.array_equal(singles[0].recall_10, singles[1].recall_10)


def test_rankings_by_codes_are_those_of_the_decoded_vectors(dataset, training):
    """The sign codes' own formula, f ⟨q, b⟩ with f = ‖x‖² / ‖x‖₁, over all rows."""
    (sign,) = (case for case in codings() if case.name == "sign")
    (measured,) = codes.measure_ours(sign, training, [judged(dataset)], [0], None)
    x = dataset.corpus
    decoded = np.where(x > 0, 1, -1) * ((x**2).sum(axis=1) / np.abs(x).sum(axis=1))[:, None]
    exact = np.argsort(-(dataset.query_vectors @ x.T), axis=1)[:, :10]
    found = np.argsort(-(dataset.query_vectors @ decoded.T), axis=1)[:, :10]
    expected = np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)])
    assert measured.recall_10.mean() == pytest.approx(expected, abs=0.01)


def test_what_was_fitted_and_ranked_is_kept(dataset, training, tmp_path):
    calls = []

    def fit(rows, seed):
        calls.append(seed)
        return FloatModel(rows.shape[1])

    peer = Contender("x", "x", fit)

    def run(seed=0, data=dataset):
        return outcomes.contend(peer, "plain", seed, training, [data], tmp_path)

    first, second = run(), run()
    assert calls == [0]
    np.testing.assert_array_equal(first[dataset.name, False].top, second[dataset.name, False].top)
    run(seed=1)
    assert calls == [0, 1]
    run(data=replace(dataset, query_vectors=dataset.query_vectors[:5]))
    assert calls == [0, 1, 0], "other queries have other rankings"


def test_a_slow_peer_is_fitted_once_for_all_sets(dataset, training, tmp_path):
    pytest.importorskip("faiss")
    case = next(case for case in contenders(DIM) if case.name == "PQ32")
    calls = []

    def fit(rows, seed):
        calls.append(seed)
        return case.fit(rows, seed)

    peer = replace(case, fit=fit)
    other = replace(dataset, name="other", query_vectors=dataset.query_vectors[:5])
    rankings = [outcomes.contend(peer, "plain", 0, training, [data], tmp_path) for data in (dataset, other)]
    assert calls == [0]
    np.testing.assert_array_equal(rankings[0][dataset.name, True].top[:5], rankings[1]["other", True].top)
    assert rankings[0][dataset.name, False].fit_seconds == rankings[1]["other", False].fit_seconds


def test_a_slow_peer_that_was_not_kept_can_be_left_out(dataset, training, tmp_path, capsys):
    pytest.importorskip("faiss")
    peer = next(case for case in contenders(DIM) if case.name == "PQ32")
    outcomes.contend(peer, "centred", 0, training, [dataset], tmp_path)
    found = list(codes.measure_peer(peer, training, [judged(dataset)], [0], tmp_path, fits=False))
    assert [measured.variant for measured in found] == ["centred", "centred, rescaled"]
    assert "PQ32, plain, fitted on home: not kept" in capsys.readouterr().err


def test_our_fits_are_kept_by_seed_and_rows(training, tmp_path):
    calls = []

    def fit(given, seed):
        calls.append(seed)
        return SignBinarizer(DIM, mean=given.rows.mean(axis=0))

    coding = Coding("x", "x", fit)
    first, _ = fitted(coding, 0, training, tmp_path)
    again, _ = fitted(coding, 0, training, tmp_path)
    assert calls == [0]
    np.testing.assert_array_equal(first.mean, again.mean)
    fitted(coding, 1, training, tmp_path)
    fitted(coding, 0, outcomes.Training("home", training.rows[:50], None), tmp_path)
    assert calls == [0, 1, 0]


def test_an_artefact_is_the_files_whatever_was_kept(training, tmp_path):
    """One that was made anew, under the same name and by the same source, is not taken for the old one."""
    path = tmp_path / "some.binarizer"
    for seed in (0, 1):
        binarizer = RotatedSignBinarizer(DIM, seed=seed)
        save_artefact(path, binarizer, {})
        loaded, _ = fitted(artefact(str(path)), 0, training, tmp_path / "cache")
        assert record_of(loaded) == record_of(binarizer)


def test_too_few_rows_for_a_code_leave_it_out(folder, tmp_path, capsys):
    few = tmp_path / "few"
    few.mkdir()
    np.save(few / "corpus.f16.npy", np.load(folder / "corpus.f16.npy")[:20])
    np.save(few / "queries.f32.npy", np.load(folder / "queries.f32.npy")[:5])
    for name, n in (("corpus.jsonl", 20), ("queries.jsonl", 5)):
        (few / name).write_text(
            "".join((folder / name).read_text().splitlines(keepends=True)[:n]).replace("fit", "test")
        )
    (few / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")
    cases = ["sign", "linear, compact 48"]
    assert codes.main(["--fit", str(few), "--cases", *cases, "--cache", str(tmp_path / "cache")]) == 0
    out, err = capsys.readouterr()
    assert "left out:" in err
    assert "**sign**" in out
    assert "linear" not in out


@pytest.mark.parametrize(
    ("options", "message"), [(["--cases", "nothing"], "matches none of"), (["--seeds", "0"], "--seeds is 0")]
)
def test_settings_that_cannot_be_run_are_refused(folder, capsys, options, message):
    assert codes.main(["--fit", str(folder), *options]) == 2
    assert message in capsys.readouterr().err


def test_cold_vectors_are_read_by_row(dataset, tmp_path):
    vectors = cold.ColdVectors(dataset.corpus, tmp_path / "vectors")
    assert (tmp_path / "vectors").stat().st_size == N * (DIM + 4)
    query = dataset.query_vectors[0]
    rows = np.array([7, 3, 300, 3])
    np.testing.assert_allclose(vectors.scores(query, rows), dataset.corpus[rows] @ query, atol=0.01)


def test_cold_reads_are_the_fewest_that_suffice(dataset, tmp_path):
    vectors = cold.ColdVectors(dataset.corpus, tmp_path / "vectors")
    exact = codes.exact_rankings(dataset, None)
    rotated = {dataset.query_vectors[i].tobytes(): np.roll(exact[i, :30], 10) for i in range(len(exact))}

    def search(query, n):
        """The true top 10 are at places 10 to 20."""
        rest = np.setdiff1d(np.arange(N), rotated[query.tobytes()])
        return np.concatenate([rotated[query.tobytes()], rest])[:n]

    result = cold.measure_cold("x", 5.0, search, dataset, exact, vectors)
    assert result.reads == 20
    assert result.recall_at_10 >= 0.99
