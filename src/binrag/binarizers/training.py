"""Training of recurrent codes from vectors alone (BEBR, arXiv 2302.08714, with distillation in place of labels).

A step takes some queries and some rows, and lowers KL(softmax(q·x / T) ‖ softmax(scores of the codes)): for the decoded
similarity, and, where the code is nested, for the Hamming distance of plane 0. To it come the squared error of each
plane's reconstruction and, with pairs, a contrastive loss. Gradients pass the signs straight through (`SURROGATES`).
Everything that a step draws follows from the seed and the step's number, so that a resumed training ends where an
uninterrupted one does. The only module that imports torch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from binrag.binarizers.artefact import CHECKPOINT, read_sealed, versions, write_sealed
from binrag.binarizers.decoder import signed
from binrag.binarizers.fitting import checked_rows, least_squares, sample
from binrag.binarizers.recurrent import MAX_ROWS, RecurrentBinarizer, SignMap, scan_bits
from binrag.binarizers.training_data import Data, Pairs, Settings, Surrogate, digest
from binrag.errors import InvalidInput, MissingDependency, TrainingError
from binrag.types import Float32, Progress

try:
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812
except ImportError as error:
    raise MissingDependency('training needs torch: pip install "binrag[encoders]"') from error

Tensor = torch.Tensor

SURROGATES: dict[Surrogate, Callable[[Tensor], Tensor]] = {
    "hardtanh": lambda z: z.clamp(-1, 1),
    "tanh": torch.tanh,
    "identity": lambda z: z,
}
"""Whose gradient stands in for that of the sign."""

PAIR_TEMPERATURE, HARDEST = 0.05, 5
"""Of the contrastive loss: its temperature, and how many negatives count."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gives.

    Attributes
    ----------
    binarizer : RecurrentBinarizer
    provenance : dict
        msgpack types: digests of the data, settings, scores (loss, and recall@10 of held-out queries against float
        before and after), versions, device, seconds.
    """

    binarizer: RecurrentBinarizer
    provenance: dict[str, Any]


class MapModule(nn.Module):
    """A `SignMap` to be trained, its hidden layer behind a batch normalization."""

    def __init__(self, start: SignMap, rows: Tensor) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.from_numpy(start.linear).clone())
        self.offsets = nn.Parameter(torch.from_numpy(start.offsets).clone())
        self.hidden = start.inner.shape[1] > 0
        if self.hidden:
            self.inner = nn.Parameter(torch.from_numpy(start.inner).clone())
            self.outer = nn.Parameter(torch.from_numpy(start.outer).clone())
            self.norm = nn.BatchNorm1d(start.inner.shape[1])
            values = rows @ self.inner.detach()
            deviations, means = torch.var_mean(values, dim=0)
            self.norm.running_mean, self.norm.running_var = means, deviations
            self.norm.weight.data = torch.sqrt(deviations + self.norm.eps)
            self.norm.bias.data = torch.from_numpy(start.inner_offsets) + means

    def forward(self, rows: Tensor) -> Tensor:
        """Return what the signs are taken of, (n, n_bits)."""
        values = rows @ self.linear + self.offsets
        return values + torch.relu(self.norm(rows @ self.inner)) @ self.outer if self.hidden else values

    def folded(self) -> SignMap:
        """Return the map with the batch normalization folded into its hidden layer."""
        if not self.hidden:
            return SignMap.affine(_array(self.linear), _array(self.offsets))
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        factors = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        inner, offsets = self.inner * factors, norm.bias - norm.running_mean * factors
        return SignMap(*map(_array, (self.linear, self.offsets, inner, offsets, self.outer)))


class RecurrentModule(nn.Module):
    """A `RecurrentBinarizer` to be trained, on rows x − μ."""

    metric: Tensor

    def __init__(self, start: RecurrentBinarizer, rows: Tensor, surrogate: Surrogate) -> None:
        super().__init__()
        self.start = start
        self.surrogate = SURROGATES[surrogate]
        self.register_buffer("metric", torch.from_numpy(start.metric))
        self.maps = nn.ModuleList(MapModule(sign_map, rows) for sign_map in start.maps)
        self.steps = nn.ParameterList(torch.from_numpy(step).clone() for step in start.steps)
        self.query_map = MapModule(start.query_map, rows)
        self.sharpness = nn.Parameter(torch.tensor(3.0))

    def signs(self, values: Tensor) -> Tensor:
        """Return −1 and 1, with the surrogate's gradient."""
        passed = self.surrogate(values)
        return torch.where(values >= 0, 1.0, -1.0) + (passed - passed.detach())

    def forward(self, rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return what the signs of each plane are taken of, and what is left after each plane."""
        values: list[Tensor] = []
        left = [rows]
        for sign_map, step in zip(self.maps, self.steps, strict=True):
            values.append(sign_map(left[-1]))
            left.append(left[-1] - self.signs(values[-1]) @ step)
        return values, left[1:]

    def decoded(self, rows: Tensor) -> Tensor:
        """Return f ŷ of rows."""
        return self.rescaled(rows, rows - self(rows)[1][-1])

    def rescaled(self, rows: Tensor, decoded: Tensor) -> Tensor:
        """Return f ŷ, f = yᵀ K y / yᵀ K ŷ, at most 10."""
        weighted = rows @ self.metric
        norms2 = (weighted * rows).sum(dim=1, keepdim=True).clamp(min=1e-30)
        return decoded / ((weighted * decoded).sum(dim=1, keepdim=True) / norms2).clamp(min=0.1)

    def finished(self, rows: Float32) -> RecurrentBinarizer:
        """Return the trained binarizer, its decoder fitted to the codes of rows by least squares."""
        start = self.start
        maps = [module.folded() for module in self.maps if isinstance(module, MapModule)]
        steps = [_array(step) for step in self.steps]
        query_map = self.query_map.folded()
        trained = RecurrentBinarizer(start.mean, start.metric, maps, steps, np.concatenate(steps), query_map)
        decoder = least_squares(signed(trained.bits(rows)), rows)
        return RecurrentBinarizer(start.mean, start.metric, maps, steps, decoder, query_map)


class Trainer:
    """One training: the model, its optimizer, and the step it has come to."""

    def __init__(self, start: RecurrentBinarizer, data: Data, settings: Settings, device: str) -> None:
        self.data = data
        self.settings = settings
        self.device = torch.device(device)
        self.rows = self._tensor(data.rows)
        self.anchors = self._tensor(data.anchors)
        self.model = RecurrentModule(start, torch.from_numpy(data.rows[: settings.batch_size]), settings.surrogate)
        self.model.to(self.device)
        groups = [{"params": [p], "factor": _size(p)} for p in self.model.parameters()]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0)
        chosen, top = data.judged(settings.seed)
        self.judged = self.rows[torch.from_numpy(chosen).to(self.device)]
        self.held_out, self.top = self._tensor(data.held_out), torch.from_numpy(top).to(self.device)
        packed = np.frombuffer(msgpack.packb(start.get_config()), dtype=np.uint8)
        self.identity = {"start": digest(packed), "settings": asdict(settings), "data": data.digests()}
        self.step = 0
        self.loss = 0.0
        self.seconds = 0.0
        self.recall_before = self.recall()

    def _tensor(self, array: Float32) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)

    def recall(self) -> float:
        """Return the share of the held-out queries' float top 10 that is in the codes' top 10, of the judged rows."""
        self.model.eval()
        with torch.no_grad():
            found = torch.topk(self.held_out @ self.model.decoded(self.judged).T, self.top.shape[1], dim=1).indices
        self.model.train()
        return float((found[:, :, None] == self.top[:, None, :]).any(dim=2).double().mean())

    def advance(self) -> None:
        """Take a step."""
        started, settings = time.monotonic(), self.settings
        progress = self.step / settings.steps
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * settings.learning_rate * 0.5 * (1 + np.cos(np.pi * progress))
        loss = self._distillation()
        if self.data.pairs is not None and settings.pairs:
            loss = loss + settings.pairs * self._contrast(self.data.pairs)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        value = float(loss.detach())
        if not np.isfinite(value):
            raise TrainingError(f"the loss is {value} at step {self.step + 1}; lower the learning rate")
        self.loss = value if self.step == 0 else 0.98 * self.loss + 0.02 * value
        self.step += 1
        self.seconds += time.monotonic() - started

    def _distillation(self) -> Tensor:
        settings, data, model = self.settings, self.data, self.model
        chosen, numbers = data.batch(settings.batch_size, settings.seed, self.step)
        queries = self.anchors[torch.from_numpy(chosen).to(self.device)]
        rows = self.rows[torch.from_numpy(numbers).to(self.device)]
        own = torch.from_numpy(data.own[chosen][:, None] == numbers).to(self.device)
        values, left = model(rows)
        teacher = ((queries @ rows.T) / settings.temperature).masked_fill(own, -1e9)
        scores = queries @ model.rescaled(rows, rows - left[-1]).T / settings.temperature
        loss: Tensor = settings.decoded * _divergence(teacher, scores.masked_fill(own, -1e9))
        if model.start.nested and settings.scanned:
            codes = model.signs(model.query_map(queries - self._tensor(data.mean)))
            agreement = codes @ model.signs(values[0]).T / codes.shape[1]
            scanned = (agreement * model.sharpness.exp()).masked_fill(own, -1e9)
            loss = loss + settings.scanned * _divergence(teacher, scanned)
        errors = [((rest @ model.metric) * rest).sum() for rest in left]
        reconstruction: Tensor = sum(errors) / ((rows @ model.metric) * rows).sum()
        return loss + settings.reconstruction * reconstruction

    def _contrast(self, pairs: Pairs) -> Tensor:
        """Return the cross-entropy of each pair against its five hardest negatives, both ways (BEBR)."""
        draw = np.random.Generator(np.random.PCG64([self.settings.seed, self.step, 1]))
        numbers = draw.permutation(len(pairs[0]))[: self.settings.batch_size // 2]
        queries, rows = (self._tensor(side[numbers]) for side in pairs)
        rows = rows - self._tensor(self.data.mean)
        scores = queries @ self.model.decoded(rows).T / PAIR_TEMPERATURE
        same = (torch.cdist(rows, rows) == 0) | (torch.cdist(queries, queries) == 0)
        return 0.5 * (_contrasted(scores, same) + _contrasted(scores.T, same))

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on, as msgpack types."""
        moments = [self.optimizer.state[p] for p in self.model.parameters()] if self.step else []
        return {
            "training": self.identity,
            "step": self.step,
            "loss": self.loss,
            "seconds": self.seconds,
            "recall_before": self.recall_before,
            "model": {name: _packed(value) for name, value in self.model.state_dict().items()},
            "moments": [{name: _packed(value) for name, value in state.items()} for state in moments],
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Go on from `state`."""
        if state["training"] != self.identity:
            raise TrainingError(f"{path} is the checkpoint of a training with other data or settings; use another path")
        self.step, self.loss, self.seconds = state["step"], state["loss"], state["seconds"]
        self.recall_before = state["recall_before"]
        self.model.load_state_dict({name: _unpacked(value) for name, value in state["model"].items()})
        for parameter, moments in zip(self.model.parameters(), state["moments"], strict=False):
            unpacked = {name: _unpacked(value) for name, value in moments.items()}
            self.optimizer.state[parameter] = {
                name: value if name == "step" else value.to(self.device) for name, value in unpacked.items()
            }


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the mean KL divergence of the rows' softmax."""
    return F.kl_div(student.log_softmax(dim=1), teacher.log_softmax(dim=1), reduction="batchmean", log_target=True)


def _contrasted(scores: Tensor, same: Tensor) -> Tensor:
    """Return −log softmax of the diagonal, among itself and the five largest others that are not the same text."""
    positives = scores.diagonal()[:, None]
    negatives = scores.masked_fill(same, -1e9).topk(min(HARDEST, len(scores)), dim=1).values
    return -torch.cat([positives, negatives], dim=1).log_softmax(dim=1)[:, 0].mean()


def _size(parameter: Tensor) -> float:
    """Return the root mean square of what starts as a matrix, 1 for zeros: steps are in proportion to it."""
    size = float(parameter.detach().square().mean().sqrt()) if parameter.ndim == 2 else 0.0
    return size or 1.0


def _array(tensor: Tensor) -> Float32:
    return tensor.detach().cpu().numpy().astype(np.float32)


def _packed(tensor: Tensor) -> list[Any]:
    array = tensor.detach().cpu().numpy()
    return [array.dtype.str, list(array.shape), array.tobytes()]


def _unpacked(record: list[Any]) -> Tensor:
    dtype, shape, data = record
    return torch.from_numpy(np.frombuffer(data, dtype=dtype).reshape(shape).copy())


@contextmanager
def _reporting(progress: Progress, total: int, done: int) -> Iterator[Callable[[int, dict[str, str]], None]]:
    """Yield what is called with the steps done so far and the figures to show beside the bar."""
    if callable(progress):
        yield lambda done, figures: progress(done, total)
        return
    from tqdm import tqdm

    shown = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=total, initial=done, desc="train", unit="step", file=sys.stderr, disable=not shown) as bar:

        def report(done: int, figures: dict[str, str]) -> None:
            bar.set_postfix(figures, refresh=False)
            bar.update(done - bar.n)

        yield report


def train_recurrent(
    vectors: Float32,
    *,
    code_bytes: int,
    queries: Float32 | None = None,
    pairs: Pairs | None = None,
    initial: RecurrentBinarizer | None = None,
    n_hidden: int = 0,
    settings: Settings | None = None,
    device: str | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    progress: Progress = None,
) -> Trained:
    """Train a recurrent binarizer.

    Parameters
    ----------
    vectors : float32 (n, dim)
        At least 4 rows a dimension, and as many as bits.
    code_bytes : int
        As `RecurrentBinarizer.fit`.
    queries : float32 (n_queries, dim), optional
        Queries like those to come; a fifth of them, 200 at most, are held out. Rows with noise stand in.
    pairs : tuple of float32 (n_pairs, dim), optional
        Queries and the rows that answer them.
    initial : RecurrentBinarizer, optional
        Where to start from, to adapt it to other vectors; by default the closed form.
    n_hidden : int
        Width of a hidden layer in each map, where `initial` is not given.
    settings : Settings, optional
        How to train.
    device : str, optional
        As torch names it; by default a GPU if there is one.
    checkpoint : str or Path, optional
        A file to go on from if it is there. It is written every `checkpoint_every` steps, on an interrupt, and at the
        end, and is to be removed by whoever named it.
    checkpoint_every : int
        Steps between checkpoints.
    progress : bool or callable, optional
        True shows a bar with the loss and the held-out recall@10 on standard error, None on a terminal only; a
        callable is called with the steps done and their number.

    Returns
    -------
    Trained

    Raises
    ------
    TrainingError
        If there are too few rows, the loss is not finite, or the checkpoint is of another training.
    InvalidVector, InvalidInput, DimensionMismatch
        As `RecurrentBinarizer.fit`; if `initial`, a pair or a checkpoint does not fit.
    """
    settings = settings or Settings()
    start = initial or RecurrentBinarizer.fit(
        vectors, code_bytes=code_bytes, queries=queries, seed=settings.seed, n_hidden=n_hidden
    )
    _check(start, vectors, code_bytes, pairs)
    data = Data.prepared(vectors - start.mean, start.mean, queries, pairs, settings.seed)
    trainer = Trainer(start, data, settings, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and path.exists():
        trainer.restore(read_sealed(path, CHECKPOINT, "a training checkpoint"), path)
    recall = _run(trainer, path, checkpoint_every, progress)
    rows = data.rows[sample(len(data.rows), MAX_ROWS, settings.seed)]
    return Trained(trainer.model.cpu().eval().finished(rows), _provenance(trainer, recall))


def train_plane(vectors: Float32, *, queries: Float32 | None = None, **options: Any) -> Trained:
    """Train one plane for the Hamming scan: 64 ⌊dim / 64⌋ signs, with a map for rows and another for queries.

    Parameters
    ----------
    vectors, queries, options
        As `train_recurrent`.

    Returns
    -------
    Trained
        A binarizer of one plane, ``maps[0]`` and ``query_map``, both of vectors less ``mean``.
    """
    settings = replace(options.pop("settings", None) or Settings(), decoded=0.0, reconstruction=0.0)
    code_bytes = scan_bits(np.shape(vectors)[-1]) // 8 + 2
    return train_recurrent(vectors, code_bytes=code_bytes, queries=queries, settings=settings, **options)


def _check(start: RecurrentBinarizer, vectors: Float32, code_bytes: int, pairs: Pairs | None) -> None:
    dim = checked_rows(vectors, start.n_bits).shape[1]
    if (start.dim, start.code_bytes) != (dim, code_bytes):
        raise InvalidInput(
            f"initial codes {start.dim} dimensions in {start.code_bytes} bytes, expected {dim} in {code_bytes}"
        )
    if pairs is not None and (len(pairs) != 2 or pairs[0].shape != pairs[1].shape or pairs[0].shape[1:] != (dim,)):
        raise InvalidInput(f"pairs have shapes {[np.shape(side) for side in pairs]}, expected two of (n, {dim})")


def _run(trainer: Trainer, path: Path | None, every: int, progress: Progress) -> float:
    """Take the steps that are left; return the held-out recall@10."""
    steps = trainer.settings.steps
    recall = trainer.recall()
    with _reporting(progress, steps, trainer.step) as report:
        try:
            while trainer.step < steps:
                trainer.advance()
                if trainer.step % max(1, steps // 20) == 0 or trainer.step == steps:
                    recall = trainer.recall()
                if path is not None and (trainer.step % every == 0 or trainer.step == steps):
                    write_sealed(path, CHECKPOINT, trainer.state())
                report(trainer.step, {"loss": f"{trainer.loss:.3f}", "recall@10": f"{recall:.3f}"})
        except KeyboardInterrupt:
            if path is not None:
                write_sealed(path, CHECKPOINT, trainer.state())
            raise
    return recall


def _provenance(trainer: Trainer, recall: float) -> dict[str, Any]:
    scores = {"loss": trainer.loss, "recall_at_10_before": trainer.recall_before, "recall_at_10": recall}
    return {
        "method": "recurrent, distilled",
        **trainer.identity,
        "scores": scores,
        "versions": versions("binrag", "numpy", "torch"),
        "device": trainer.device.type,
        "seconds": trainer.seconds,
    }
