"""Training: what it learns, that it can be stopped, and that its codes are the torch forward's."""

import subprocess
import sys
from dataclasses import replace

import msgpack
import numpy as np
import pytest
import reference
from fakes import vectors_of

torch = pytest.importorskip("torch", reason="the encoders extra brings it")

from binrag.binarizers.artefact import load_artefact, save_artefact  # noqa: E402
from binrag.binarizers.recurrent import RecurrentBinarizer  # noqa: E402
from binrag.binarizers.training import (  # noqa: E402
    SURROGATES,
    MapModule,
    RecurrentModule,
    Settings,
    _contrasted,
    _divergence,
    train_plane,
    train_recurrent,
)
from binrag.binarizers.training_data import Data  # noqa: E402
from binrag.errors import InvalidInput, InvalidVector, TrainingError  # noqa: E402

DIM = 64
QUICK = Settings(steps=12, batch_size=64)
THOROUGH = Settings(steps=150, batch_size=256, learning_rate=0.03)


def corpus(n, seed=0):
    """Clustered unit vectors of unequal variances."""
    centres = vectors_of(40, DIM, 99) / np.sqrt(1 + np.arange(DIM, dtype=np.float32))
    draw = np.random.default_rng(seed)
    noise = draw.standard_normal((n, DIM)) / np.sqrt(1 + np.arange(DIM))
    return reference.unit(centres[draw.integers(0, 40, n)] + 0.7 * noise)


def narrow_queries(n, seed=5):
    """Queries that point along a few directions only, of those in which rows differ little."""
    queries = corpus(n, seed)
    queries[:, :30] *= 0.1
    return reference.unit(queries)


def record(trained):
    return msgpack.packb(trained.binarizer.get_config())


@pytest.fixture(scope="module")
def rows():
    return corpus(1200)


def recall(binarizer, rows, queries, *, scan=False):
    """Share of the float top 10 in the top 10 of the codes."""
    exact = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    bits = binarizer.bits(rows - binarizer.mean)
    if scan:
        n_bits = len(binarizer.query_map.offsets)
        signs = np.where(binarizer.query_map(queries - binarizer.mean) >= 0, 1.0, -1.0)
        scores = signs @ np.where(bits[:, :n_bits], 1.0, -1.0).T
    else:
        decoded = np.where(bits, np.float32(1), np.float32(-1)) @ binarizer.decoder
        scores = queries @ (decoded * binarizer.transform(rows).rescale[:, None].astype(np.float32)).T
    found = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])


@pytest.mark.parametrize("n_hidden", [0, 32])
@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
def test_codes_are_those_of_the_torch_forward(rows, surrogate, n_hidden):
    """Bits differ only where a pre-activation is within 1e-5 of its row's norm; what follows a differing plane may."""
    start = RecurrentBinarizer.fit(rows, code_bytes=26, n_hidden=n_hidden)
    data = torch.from_numpy(rows - start.mean)
    module = RecurrentModule(start, data, surrogate)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=draw)
        module(data[:500])  # the batch normalizations see other rows than at the start
        module.eval()
        unseen = corpus(2000, seed=7) - start.mean
        values = [plane.numpy() for plane in module(torch.from_numpy(unseen))[0]]
    trained = module.finished(rows - start.mean)
    bits = trained.bits(unseen)
    same = np.ones(len(unseen), dtype=bool)
    for plane in np.split(bits, np.cumsum([v.shape[1] for v in values])[:-1], axis=1):
        value = values.pop(0)
        differing = (plane != (value >= 0)) & same[:, None]
        near = np.abs(value) <= 1e-5 * np.linalg.norm(value, axis=1, keepdims=True)
        assert not (differing & ~near).any()
        same &= ~differing.any(axis=1)
    assert same.mean() > 0.98


def test_a_folded_map_is_the_module_it_came_from(rows):
    start = RecurrentBinarizer.fit(rows, code_bytes=14, n_hidden=16).maps[0]
    data = torch.from_numpy(rows)
    module = MapModule(replace(start, outer=0.1 * vectors_of(16, len(start.offsets))), data)
    module(data[:300])
    module.eval()
    with torch.no_grad():
        assert module.folded()(rows) == pytest.approx(module(data).numpy(), abs=1e-5)


def test_starting_changes_nothing(rows):
    start = RecurrentBinarizer.fit(rows, code_bytes=26, n_hidden=8)
    module = RecurrentModule(start, torch.from_numpy(rows - start.mean), "hardtanh").eval()
    again = module.finished(rows - start.mean)
    assert np.mean(again.bits(rows - start.mean) == start.bits(rows - start.mean)) > 0.999


@pytest.mark.parametrize("surrogate", sorted(SURROGATES))
def test_gradients_pass_the_signs_as_the_surrogate_says(rows, surrogate):
    start = RecurrentBinarizer.fit(rows, code_bytes=10)
    module = RecurrentModule(start, torch.from_numpy(rows), surrogate)
    values = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0], requires_grad=True)
    signs = module.signs(values)
    assert signs.tolist() == [-1, -1, 1, 1, 1]
    signs.sum().backward()
    expected = {
        "hardtanh": [0, 1, 1, 1, 0],
        "tanh": (1 - np.tanh([-3, -0.5, 0, 0.5, 3]) ** 2).tolist(),
        "identity": [1] * 5,
    }
    assert values.grad.tolist() == pytest.approx(expected[surrogate], abs=1e-6)


def test_the_losses_equal_their_definitions():
    draw = np.random.default_rng(0)
    teacher, student = draw.standard_normal((2, 5, 8)).astype(np.float32)
    p, q = (np.exp(a) / np.exp(a).sum(1, keepdims=True) for a in (teacher, student))
    expected = (p * np.log(p / q)).sum(1).mean()
    assert float(_divergence(torch.from_numpy(teacher), torch.from_numpy(student))) == pytest.approx(expected, rel=1e-4)
    scores = draw.standard_normal((9, 9)).astype(np.float32)
    same = np.eye(9, dtype=bool)
    same[2, 4] = same[4, 2] = True
    terms = []
    for i in range(9):
        hardest = sorted((scores[i, j] for j in range(9) if not same[i, j]), reverse=True)[:5]
        terms.append(-scores[i, i] + np.log(np.exp([scores[i, i], *hardest]).sum()))
    found = float(_contrasted(torch.from_numpy(scores), torch.from_numpy(same)))
    assert found == pytest.approx(np.mean(terms), rel=1e-4)


def test_training_brings_codes_nearer_to_float(rows):
    queries = narrow_queries(400)
    trained = train_recurrent(rows, code_bytes=10, queries=queries[:300], settings=THOROUGH)
    start = RecurrentBinarizer.fit(rows, code_bytes=10, queries=queries[:300])
    before, after = (recall(b, rows, queries[300:]) for b in (start, trained.binarizer))
    assert after > before + 0.015
    before, after = (recall(b, rows, queries[300:], scan=True) for b in (start, trained.binarizer))
    assert after > before + 0.03


def test_a_trained_plane_scans_better(rows):
    queries = narrow_queries(400)
    trained = train_plane(rows, queries=queries[:300], settings=THOROUGH).binarizer
    start = RecurrentBinarizer.fit(rows, code_bytes=10)
    assert (trained.n_planes, trained.nested, trained.code_bytes) == (1, True, 10)
    assert recall(trained, rows, queries[300:], scan=True) > recall(start, rows, queries[300:], scan=True) + 0.03
    assert not np.array_equal(trained.maps[0].linear, trained.query_map.linear)


def test_pairs_pull_a_query_to_its_row(rows):
    """Queries that are turned away from their rows come nearer to them, which the similarity of vectors can't teach."""
    turn = np.linalg.qr(vectors_of(DIM, DIM, seed=4))[0]
    queries = reference.unit(rows[:600] + 1.5 * rows[:600] @ turn)
    ranks = []
    for weight in (0.0, 10.0):
        settings = replace(THOROUGH, batch_size=128, pairs=weight)
        trained = train_recurrent(rows, code_bytes=10, pairs=(queries, rows[:600]), settings=settings).binarizer
        y = rows[:600] - trained.mean
        scores = queries @ (np.where(trained.bits(y), 1.0, -1.0) @ trained.decoder).T
        ranks.append((scores > scores.diagonal()[:, None]).sum(axis=1).mean())
    assert ranks[1] < 0.85 * ranks[0]


def test_a_stopped_training_goes_on_to_the_same_end(rows, tmp_path):
    path = tmp_path / "checkpoint"
    options = {"code_bytes": 18, "queries": corpus(60, seed=5), "n_hidden": 8, "settings": QUICK}
    uninterrupted = train_recurrent(rows, **options)

    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_recurrent(rows, **options, checkpoint=path, progress=stop)
    seen = []
    resumed = train_recurrent(rows, **options, checkpoint=path, progress=lambda *counts: seen.append(counts))
    assert seen == [(i, 12) for i in range(6, 13)]
    assert record(resumed) == record(uninterrupted)
    for name in ("scores", "data", "settings", "start"):
        assert resumed.provenance[name] == uninterrupted.provenance[name]
    again = train_recurrent(rows, **options, checkpoint=path, progress=lambda *counts: seen.append(counts))
    assert len(seen) == 7
    assert record(again) == record(uninterrupted)


def test_a_killed_training_goes_on_from_the_last_checkpoint(rows, tmp_path):
    path = tmp_path / "checkpoint"

    def die(done, total):
        if done == 7:
            raise RuntimeError

    options = {"code_bytes": 18, "settings": QUICK}
    with pytest.raises(RuntimeError):
        train_recurrent(rows, **options, checkpoint=path, checkpoint_every=3, progress=die)
    seen = []
    resumed = train_recurrent(rows, **options, checkpoint=path, progress=lambda done, total: seen.append(done))
    assert seen[0] == 7
    assert record(resumed) == record(train_recurrent(rows, **options))


def test_a_checkpoint_of_another_training_is_refused(rows, tmp_path):
    path = tmp_path / "checkpoint"
    train_recurrent(rows, code_bytes=18, settings=QUICK, checkpoint=path)
    for other in (replace(QUICK, seed=1), replace(QUICK, steps=13)):
        with pytest.raises(TrainingError, match="other data or settings"):
            train_recurrent(rows, code_bytes=18, settings=other, checkpoint=path)
    with pytest.raises(TrainingError, match="other data or settings"):
        train_recurrent(rows[:-1], code_bytes=18, settings=QUICK, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match="truncated or altered"):
        train_recurrent(rows, code_bytes=18, settings=QUICK, checkpoint=path)


def test_the_seed_decides(rows):
    records = [record(train_recurrent(rows, code_bytes=14, settings=replace(QUICK, seed=s))) for s in (1, 1, 2)]
    assert records[0] == records[1]
    assert records[0] != records[2]


def test_provenance_and_artefact(rows, tmp_path):
    trained = train_recurrent(rows, code_bytes=14, settings=QUICK)
    provenance = trained.provenance
    assert provenance["settings"]["seed"] == 0
    assert provenance["data"]["rows"] == len(rows)
    assert len(provenance["data"]["digest"]) == 16
    assert set(provenance["versions"]) == {"binrag", "numpy", "torch", "python"}
    assert provenance["seconds"] > 0
    save_artefact(tmp_path / "a.binarizer", trained.binarizer, provenance)
    again, known = load_artefact(tmp_path / "a.binarizer")
    assert msgpack.packb(again.get_config()) == record(trained)
    assert known == {**provenance, "encoder_id": None}


def test_an_initial_binarizer_is_adapted(rows):
    first = train_recurrent(rows, code_bytes=18, n_hidden=8, settings=QUICK).binarizer
    adapted = train_recurrent(corpus(500, seed=3), code_bytes=18, initial=first, settings=QUICK).binarizer
    assert np.array_equal(adapted.mean, first.mean)
    agreement = np.mean(adapted.bits(rows - first.mean) == first.bits(rows - first.mean))
    assert 0.7 < agreement < 1
    with pytest.raises(InvalidInput, match="initial codes 64 dimensions in 18 bytes, expected 64 in 26"):
        train_recurrent(rows, code_bytes=26, initial=first)


def test_what_steps_draw(rows):
    queries = corpus(100, seed=5)
    data = Data.prepared(rows, np.zeros(DIM, np.float32), queries, None, seed=0)
    assert len(data.held_out) == 20
    assert {q.tobytes() for q in queries} == {q.tobytes() for q in (*data.held_out, *data.anchors[: data.n_known])}
    for anchor in (0, 90, 300):
        exact = set(np.argsort(-(rows @ data.anchors[anchor]))[:100])
        assert set(data.neighbours[anchor]) == exact
    for row, anchor in zip(data.own[80:], data.anchors[80:], strict=True):
        assert np.linalg.norm(anchor - rows[row]) < 0.2 * np.linalg.norm(rows[row])
    chosen, numbers = data.batch(64, 0, 3)
    assert (chosen < data.n_known).sum() == 8
    assert len(chosen) == 16
    assert len(set(numbers)) == len(numbers) <= 64
    assert np.array_equal(data.batch(64, 0, 3)[1], numbers)
    assert not np.array_equal(data.batch(64, 0, 4)[0], chosen)


def test_rows_stand_in_for_queries(rows):
    data = Data.prepared(rows, np.full(DIM, 0.1, np.float32), None, None, seed=0)
    assert data.n_known == 0
    assert len(data.held_out) == 200
    assert not {q.tobytes() for q in data.held_out} & {q.tobytes() for q in data.anchors}
    assert np.abs((data.anchors - rows[data.own]).mean() - 0.1) < 0.01


@pytest.mark.parametrize(
    "changes", [{"steps": 0}, {"batch_size": 8}, {"learning_rate": 0.0}, {"temperature": 0.0}, {"surrogate": "step"}]
)
def test_settings_out_of_range(changes):
    with pytest.raises(InvalidInput):
        Settings(**changes)


def test_bad_input(rows):
    with pytest.raises(TrainingError, match="too few"):
        train_recurrent(rows[:100], code_bytes=18)
    with pytest.raises(InvalidVector):
        train_recurrent(np.where(np.arange(DIM) == 3, np.nan, rows).astype(np.float32), code_bytes=18)
    with pytest.raises(InvalidInput, match="pairs have shapes"):
        train_recurrent(rows, code_bytes=18, pairs=(rows[:3], rows[:4]))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train_recurrent(rows, code_bytes=18, settings=replace(QUICK, learning_rate=1e30, steps=50))


def test_torch_is_needed_for_training_only():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import binrag.binarizers.recurrent, binrag.binarizers.artefact\n"
        "try:\n    import binrag.binarizers.training\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.startswith("MissingDependency training needs torch")


def test_a_bar_shows_loss_and_recall(rows, capsys):
    train_recurrent(rows, code_bytes=14, settings=QUICK, progress=True)
    shown = capsys.readouterr().err
    assert "12/12" in shown
    assert "loss=" in shown
    assert "recall@10=" in shown
