"""Additive codebooks of low rank: how they are fitted, and how rows choose their codewords.

A row is approximated by a sum of codewords, one of 256 from each codebook (additive quantization, Babenko and
Lempitsky, CVPR 2014), chosen by iterated conditional modes (local search quantization, Martinez et al., ECCV 2016 and
2018). A codebook has a rank far below the dimension, so that codes are chosen from projections, and a model is small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from binrag.binarizers.fitting import principal_axes, sample
from binrag.types import Float32, UInt8

K_MEANS_ROWS = 20_000
K_MEANS_ROUNDS = 12
_SHRINKAGE = 1.0
_CHUNK = 4096


@dataclass(slots=True)
class Codebooks:
    """Codewords ĉ = Pₚᵀ c of each codebook p.

    Attributes
    ----------
    bases : float32 (n_codebooks, rank, dim)
        Pₚ, orthonormal rows (or zero).
    codewords : float32 (n_codebooks, rank, 256)
        c, a column a codeword.
    """

    bases: Float32
    codewords: Float32

    @classmethod
    def start(cls, rows: Float32, n_codebooks: int, rank: int, seed: int) -> tuple[Codebooks, UInt8]:
        """Quantize rows by product quantization on balanced groups of principal axes, in stages.

        A stage has about one codebook for every eight dimensions; a further one quantizes what the former leave. Groups
        have equal products of variances, as eigenvalue allocation (optimized product quantization, Ge et al., CVPR
        2013) makes them.

        Parameters
        ----------
        rows : float32 (n, dim)
            Centred.
        n_codebooks, rank, seed : int
            The seed draws the first codewords.

        Returns
        -------
        codebooks : Codebooks
        codes : uint8 (n, n_codebooks)
        """
        dim = rows.shape[1]
        n_stages = -(-8 * n_codebooks // dim)
        stages, codes, left = [], [], rows
        for stage in range(n_stages):
            n = n_codebooks * (stage + 1) // n_stages - n_codebooks * stage // n_stages
            books = _product_quantizer(left, n, rank, seed + stage)
            stages.append(books)
            codes.append(books.choose(left, sweeps=0))
            left = left - books.decode(codes[-1])
        joint = cls(np.concatenate([s.bases for s in stages]), np.concatenate([s.codewords for s in stages]))
        return joint, np.concatenate(codes, axis=1)

    @property
    def flat(self) -> Float32:
        """All bases' rows, float32 (n_codebooks rank, dim)."""
        return self.bases.reshape(-1, self.bases.shape[2])

    def chooser(self, sweeps: int) -> Callable[[Float32, Float32, UInt8], None]:
        """Return ``choose(projections, starts, codes)``, which fills codes; see `codeword_kernel`."""
        from binrag.kernels.additive import codeword_kernel
        from binrag.kernels.project import project

        rank = self.bases.shape[1]
        products = project(self.flat, np.ascontiguousarray(self.flat.T)).reshape(len(self.bases), rank, -1)
        codewords = np.ascontiguousarray(self.codewords)
        norms = (codewords**2).sum(axis=1)
        kernel = codeword_kernel(rank)

        def choose(projections: Float32, starts: Float32, codes: UInt8) -> None:
            kernel(projections, starts, codewords, products, norms, codes, sweeps)

        return choose

    def choose(
        self, rows: Float32, codes: UInt8 | None = None, *, predictor: Float32 | None = None, sweeps: int = 3
    ) -> UInt8:
        """Return the codes of rows, uint8 (n, n_codebooks); fitting only, where rounding decides nothing.

        Parameters
        ----------
        rows : float32 (n, dim)
            The rows.
        codes : uint8 (n, n_codebooks), optional
            Codes to start from.
        predictor : float32 (dim, n_codebooks rank), optional
            A map of rows to codewords to start near, where no codes are given; by default the bases.
        sweeps : int
            Passes over the codebooks, at most.
        """
        start = self.flat.T if predictor is None else predictor
        chosen = np.zeros((len(rows), len(self.bases)), dtype=np.uint8) if codes is None else codes.copy()
        choose = self.chooser(sweeps)

        def work(first: int) -> None:
            part = slice(first, first + _CHUNK)
            projections = rows[part] @ self.flat.T
            choose(projections, rows[part] @ start if codes is None else projections[:0], chosen[part])

        _in_threads(work, range(0, len(rows), _CHUNK))
        return chosen

    def predictor(self, rows: Float32, codes: UInt8) -> Float32:
        """Fit by least squares a map of rows to their codewords: where choosing starts well, float32 (dim, …)."""
        moments = (rows.T @ rows).astype(np.float64)
        moments[np.diag_indices_from(moments)] += 1e-6 * np.trace(moments) / len(moments)
        products = np.zeros((rows.shape[1], self.flat.shape[0]))
        for first in range(0, len(rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            products += rows[part].T @ self.chosen_codewords(codes[part])
        return np.linalg.solve(moments, products).astype(np.float32)

    def turned(self, matrix: Float32) -> Codebooks:
        """Return the codebooks whose codewords are these times a matrix, float32 (dim, dim)."""
        bases, codewords = np.empty_like(self.bases), np.empty_like(self.codewords)
        for p, basis in enumerate(self.bases):
            axes, triangle = np.linalg.qr((basis @ matrix).T)
            bases[p], codewords[p] = axes.T, triangle @ self.codewords[p]
        return Codebooks(bases, codewords)

    def reordered(self, order: npt.NDArray[np.int64], labels: UInt8) -> Codebooks:
        """Return the codebooks in another order, each codeword at the value that its label says."""
        codewords = np.empty_like(self.codewords)
        for p, source in enumerate(order):
            codewords[p][:, labels[source]] = self.codewords[source]
        return Codebooks(self.bases[order], codewords)

    def chosen_codewords(self, codes: UInt8) -> Float32:
        """Return the codewords of codes side by side, float32 (n, n_codebooks rank): times `flat`, the rows."""
        columns = [book.T[codes[:, p]] for p, book in enumerate(self.codewords)]
        return np.concatenate(columns, axis=1)

    def decode(self, codes: UInt8) -> Float32:
        """Return the sums of the codewords, float32 (n, dim)."""
        out = np.empty((len(codes), self.bases.shape[2]), dtype=np.float32)
        for start in range(0, len(codes), _CHUNK):
            out[start : start + _CHUNK] = self.chosen_codewords(codes[start : start + _CHUNK]) @ self.flat
        return out

    def refit(self, residuals: Float32, codes: UInt8) -> None:
        """Fit one codebook after another to what the others leave: class means, cut down to the rank.

        Parameters
        ----------
        residuals : float32 (n, dim)
            Rows less `decode(codes)`; kept so, in place.
        codes : uint8 (n, n_codebooks)
        """
        from binrag.kernels.additive import add_by_class

        for p in range(len(self.bases)):
            own = np.ascontiguousarray(codes[:, p])
            sums, counts = _class_sums(residuals, own)
            before = self.codewords[p].T @ self.bases[p]
            means = before + sums / (counts + _SHRINKAGE)[:, None]
            weighted = (means * np.sqrt(counts)[:, None]).astype(np.float64)
            basis = np.linalg.qr(weighted.T @ (weighted @ self.bases[p].T))[0].T.astype(np.float32)
            self.bases[p], self.codewords[p] = basis, basis @ means.T
            change = before - self.codewords[p].T @ basis

            def work(part: slice, own: UInt8 = own, change: Float32 = change) -> None:
                add_by_class(residuals[part], own[part], change)

            _in_threads(work, _parts(len(own)))


def _class_sums(rows: Float32, codes: UInt8) -> tuple[Float32, Float32]:
    from binrag.kernels.additive import class_sums

    def work(part: slice) -> tuple[Float32, npt.NDArray[np.int64]]:
        sums, counts = np.zeros((256, rows.shape[1]), dtype=np.float32), np.zeros(256, dtype=np.int64)
        class_sums(rows[part], codes[part], sums, counts)
        return sums, counts

    found = _in_threads(work, _parts(len(rows)))
    return sum(sums for sums, _ in found), sum(counts for _, counts in found).astype(np.float32)


def _product_quantizer(rows: Float32, n_codebooks: int, rank: int, seed: int) -> Codebooks:
    """Fit k-means on balanced groups of the rows' principal axes."""
    dim = rows.shape[1]
    variances, axes = principal_axes(rows)
    size = min(rank, max(1, dim // n_codebooks))
    bases = np.zeros((n_codebooks, rank, dim), dtype=np.float32)
    for p, group in enumerate(_balanced_groups(variances, n_codebooks, size)):
        bases[p, : len(group)] = axes[:, group].T
    some = rows[sample(len(rows), K_MEANS_ROWS, seed)]
    values = (some @ bases.reshape(-1, dim).T).reshape(len(some), n_codebooks, rank)
    draw = np.random.Generator(np.random.PCG64(seed))
    books = Codebooks(bases, np.empty((n_codebooks, rank, 256), dtype=np.float32))
    for p in range(n_codebooks):
        books.codewords[p] = values[draw.choice(len(some), 256, replace=len(some) < 256), p].T
    for _ in range(K_MEANS_ROUNDS):
        codes = books.choose(some, sweeps=0)
        for p in range(n_codebooks):
            sums, counts = _class_sums(np.ascontiguousarray(values[:, p]), np.ascontiguousarray(codes[:, p]))
            used = counts > 0  # a codeword without rows stays where it is
            books.codewords[p][:, used] = (sums[used] / counts[used, None]).T
    return books


def _balanced_groups(variances: npt.NDArray[np.float64], n_groups: int, size: int) -> list[list[int]]:
    """Deal the first axes to groups of `size`: the next to the group of the smallest product of variances."""
    groups: list[list[int]] = [[] for _ in range(n_groups)]
    logs = np.log(np.maximum(variances[: n_groups * size], 1e-30))
    totals = np.zeros(n_groups)
    for axis, log in enumerate(logs - logs[-1] + 1e-3):
        group = min((g for g in range(n_groups) if len(groups[g]) < size), key=lambda g: (totals[g], g))
        groups[group].append(axis)
        totals[group] += log
    return groups


def _n_threads() -> int:
    return min(8, os.cpu_count() or 1)


def _parts(n: int) -> Iterator[slice]:
    k = _n_threads()
    return (slice(n * i // k, n * (i + 1) // k) for i in range(k))


def _in_threads(work: Callable[[Any], Any], parts: Any) -> list[Any]:
    with ThreadPoolExecutor(_n_threads()) as pool:
        return list(pool.map(work, parts))
