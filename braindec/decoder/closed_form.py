"""An encoder that is solved and not trained: reduced-rank ridge from every subject's signals to the target's tokens.

The weights of all subjects share one output basis, the leading directions of the sum of their fitted covariances;
targets are read by blocks of rows and never whole, so that 256 tokens of 1,664 values fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.decoder import fitting
from braindec.decoder.fitting import ALPHAS, SubjectSet, group_folds, identification_score
from braindec.decoder.rows import Rows
from braindec.encoder import Encoder
from braindec.maths.factors import positive_eigh_
from braindec.maths.folds import parts_of
from braindec.maths.gemm import mm
from braindec.maths.reduced_rank import Spectrum, leading_directions, left_out, spectrum_of_kernel
from braindec.maths.ridge import choose_alpha

MAX_SIDE = 7168  # of the matrix that is factorised, in float64: 1.2 GB with what factorising it takes
MAX_SCORES = 1 << 27  # float32 numbers that are kept of the rows: 537 MB
MAX_BLOCKS = 32  # of the target that have a penalty of their own; neighbouring tokens share one beyond
SKETCHED = 4096  # random projections of the target, over all blocks, that penalties are chosen on
MAX_SKETCH = 1 << 25  # numbers of them over all rows, of which there are four copies of 134 MB
N_FOLDS = 5
COLUMNS_AT_ONCE, ROWS_AT_ONCE = 512, 1024  # in float64
BLOCK_BYTES = (
    128 << 20
)  # of rows that are read at once: a product with few rows moves its result and computes little


@dataclass(frozen=True, eq=False)
class Solution:
    """Reduced-rank weights of all subjects.

    Parameters
    ----------
    basis : Tensor, shape (n_targets, rank)
        Orthonormal columns, shared.
    maps : mapping of str to (Tensor, Tensor)
        By signal key, weight (rank, n_signal_values) and bias (rank,): signals to coordinates along the basis.
    mean : Tensor, shape (n_targets,)
        What is added to the coordinates' directions: the subjects' mean target.
    alphas : mapping of str to Tensor, shape (n_blocks,)
        By signal key, the penalty of each block of the target.
    """

    basis: Tensor
    maps: Mapping[str, tuple[Tensor, Tensor]]
    mean: Tensor
    alphas: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class _Subject:
    """One subject factorised: signals and targets still unread, blocks of columns, the penalty of each."""

    signals: Rows
    targets: Rows
    spectrum: Spectrum
    blocks: tuple[slice, ...]
    alphas: Tensor

    def penalties(self) -> list[tuple[float, list[slice]]]:
        """Distinct penalties and the blocks that have them."""
        found = self.alphas.unique().tolist()
        return [
            (a, [b for b, own in zip(self.blocks, self.alphas.tolist(), strict=True) if own == a])
            for a in found
        ]


def start_closed_form_(
    encoder: Encoder, sets: Mapping[str, SubjectSet], *, output: str, seed: int, needed: bool = False
) -> None:
    """Sets adapters and backbone so that the encoder computes the closed-form solution, where its members can.

    Parameters
    ----------
    needed : bool
        Refuse members that have no place for it; else what has none stays as drawn.
    """
    path = encoder.backbone.linear_path(output)
    if path is None:
        if needed:
            raise checks.ConfigError("fit='closed_form' needs a backbone with a linear path; use linear.")
        fitting.start_from_ridge_(encoder, sets, output=output, seed=seed)  # for shared parts that want maps
        return
    rank = min(path.in_features, path.out_features)
    if rank == path.out_features and not needed and all(_is_small(data, output) for data in sets.values()):
        fitting.start_from_ridge_(encoder, sets, output=output, seed=seed)
        return
    write_(encoder, solve(sets, output, rank, seed), output, needed=needed)


def solve(sets: Mapping[str, SubjectSet], output: str, rank: int, seed: int) -> Solution:
    """The reduced-rank ridge of every subject onto one output basis.

    Parameters
    ----------
    sets : mapping of str to SubjectSet
        Repeats of a stimulus are averaged here.
    output : str
    rank : int
        In [1, number of target values]; at the latter the basis is the identity and every map the plain ridge.
    seed : int
        Of folds, sketches and the first subspace.

    Notes
    -----
    With one subject and one penalty this is the best ridge of its rank (`maths.reduced_rank`). With penalties by block
    the full solution is projected on the leading directions of its augmented fit in the same way.
    """
    subjects = {key: _factorised(data.averaged(), output, seed, key) for key, data in sets.items()}
    n_targets = next(iter(subjects.values())).blocks[-1].stop

    def fitted_covariance(directions: Tensor) -> Tensor:
        out = torch.zeros_like(directions)
        for subject in subjects.values():
            _add_fitted_(out, subject, directions)
        return out

    if rank == n_targets:
        basis = torch.eye(n_targets)
    else:
        generator = seeding.torch_generator(seed, "closed form", output)
        basis = leading_directions(fitted_covariance, n_targets, rank, generator)
    means = {key: _mean(s.targets) for key, s in subjects.items()}
    mean = torch.stack(list(means.values())).mean(0)
    maps = {}
    for key, subject in subjects.items():
        weight = _weights(subject, basis)  # (rank, signal value)
        maps[key] = (weight, (means[key] - mean) @ basis - weight @ _mean(subject.signals))
    return Solution(basis, maps, mean, {key: s.alphas for key, s in subjects.items()})


@torch.no_grad()
def write_(encoder: Encoder, found: Solution, output: str, *, needed: bool) -> None:
    """The solution as weights of adapters and of the backbone's linear path."""
    missing = sorted(key for key in found.maps if not encoder.adapter(key).takes_map)
    if needed and missing:
        raise checks.ConfigError(
            f"fit='closed_form' needs adapters that are a linear map, those of {missing} are not; use linear."
        )
    encoder.start_from_rows_(found.maps, found.basis, found.mean, output)


def _is_small(data: SubjectSet, output: str) -> bool:
    """Whether a plain ridge holds it in memory."""
    n_features, n_targets = (int(np.prod(v.shape[1:])) for v in (data.signals, data.targets[output]))
    enough = fitting.MAX_RIDGE_VALUES // n_features >= len(data.averaged().stimuli)
    return enough and n_features * n_targets <= fitting.MAX_RIDGE_WEIGHTS


def _factorised(data: SubjectSet, output: str, seed: int, key: str) -> _Subject:
    """Spectrum of the signals, and penalties chosen on folds of whole units."""
    n_rows, n_features = len(data.stimuli), int(np.prod(data.signals.shape[1:]))
    most = MAX_SIDE if n_features > MAX_SIDE else MAX_SCORES // n_features
    if n_rows > most:
        generator = seeding.torch_generator(seed, "ridge rows", key)
        data = data.take(torch.randperm(n_rows, generator=generator)[:most].sort().values)
    targets = data.targets[output]
    blocks = _blocks(tuple(targets.shape[1:]))
    spectrum = _spectrum(data.signals)
    sketch, columns = _sketched(targets, blocks, seeding.torch_generator(seed, "sketch", key))
    folds = group_folds(data.units, N_FOLDS, seeding.torch_generator(seed, "ridge", key))
    score = identification_score if len(blocks) == 1 else _closeness
    grid = torch.tensor(ALPHAS)
    scores = torch.zeros(len(grid), len(blocks))
    for row, alpha in enumerate(ALPHAS):
        predicted = left_out(spectrum, sketch, alpha, folds)
        for fold in folds:
            test = parts_of(len(sketch), fold)[0]
            for block, some in enumerate(columns):
                scores[row, block] += score(predicted[test, some], sketch[test, some])
    return _Subject(data.signals, targets, spectrum, blocks, choose_alpha(grid, scores, per_target=True))


def _closeness(prediction: Tensor, truth: Tensor) -> Tensor:
    """Negative squared error: unlike a cosine it silences blocks of which signals tell nothing."""
    return -(prediction - truth).square().mean()


def _blocks(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Columns of the flattened target that have a penalty of their own: tokens, or neighbouring tokens."""
    n_tokens, n_dims = shape
    edges = np.linspace(0, n_tokens, min(n_tokens, MAX_BLOCKS) + 1).astype(int) * n_dims
    return tuple(slice(a, b) for a, b in pairwise(edges.tolist()))


def _flat(values: Rows) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows, flattened: (which, (n, n_values))."""
    step = max(1, BLOCK_BYTES // (4 * int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), step):
        some = slice(start, min(start + step, len(values)))
        yield some, values[some].flatten(1)


def _mean(values: Rows) -> Tensor:
    total = sum(rows.double().sum(0) for _, rows in _flat(values))
    return (torch.as_tensor(total) / len(values)).float()


def _spectrum(signals: Rows) -> Spectrum:
    """Through the smaller of the two inner-product matrices, in float64; rows of it in float32."""
    n_rows, n_features = len(signals), int(np.prod(signals.shape[1:]))
    if n_features > n_rows:
        found = spectrum_of_kernel(_kernel(signals))
        return Spectrum(found.values, found.rows.float())
    gram, mean = torch.zeros(n_features, n_features, dtype=torch.float64), _mean(signals).double()
    for _, wide in _centred(signals, mean):
        gram.addmm_(wide.T, wide)
    values, vectors = positive_eigh_(gram, max(n_rows, n_features))
    vectors.div_(values.sqrt())
    scores = torch.empty(n_rows, len(values))
    for some, wide in _centred(signals, mean):
        scores[some] = wide @ vectors
    return Spectrum(values, scores)


def _centred(signals: Rows, mean: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows about their mean in float64, few at a time: (which, (n, n_values))."""
    for some, rows in _flat(signals):
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            first = some.start + start
            yield slice(first, first + len(part)), part.double().sub_(mean)


def _kernel(signals: Rows) -> Tensor:
    """Inner products of rows in float64, tile by tile: never more than two blocks of the signals are there."""
    kernel = torch.zeros(len(signals), len(signals), dtype=torch.float64)
    for some, rows in _flat(signals):
        for other, others in _flat(signals):
            if other.start > some.start:
                break
            tile = kernel[some, other]
            for left, right in zip(
                rows.split(COLUMNS_AT_ONCE, 1), others.split(COLUMNS_AT_ONCE, 1), strict=True
            ):
                tile.addmm_(left.double(), right.double().T)
            if other != some:
                kernel[other, some] = tile.T
    return kernel


def _sketched(
    targets: Rows, blocks: tuple[slice, ...], generator: torch.Generator
) -> tuple[Tensor, list[slice]]:
    """Every block's values, or random projections of them (n, at most `SKETCHED`), and each block's columns there."""
    width = max(1, min(SKETCHED, MAX_SKETCH // len(targets)) // len(blocks))
    planes = []
    for block in blocks:
        size = block.stop - block.start
        random = torch.randn(size, width, generator=generator) / width**0.5 if size > width else None
        planes.append(random)
    ends = np.cumsum(
        [0] + [b.stop - b.start if p is None else width for b, p in zip(blocks, planes, strict=True)]
    )
    columns = [slice(a, b) for a, b in pairwise(ends.tolist())]
    made = torch.empty(len(targets), columns[-1].stop)
    for some, rows in _flat(targets):
        for own, block, plane in zip(columns, blocks, planes, strict=True):
            made[some, own] = rows[:, block] if plane is None else mm(rows[:, block], plane)
    return made, columns


def _along(subject: _Subject, directions: Tensor) -> list[Tensor]:
    """By distinct penalty, the targets of its blocks along directions (n_targets, k), through the spectrum: (r, k)."""
    penalties = subject.penalties()
    seen = [torch.zeros(len(subject.targets), directions.shape[1]) for _ in penalties]
    for some, rows in _flat(subject.targets):
        for values, (_, blocks) in zip(seen, penalties, strict=True):
            for block in blocks:
                values[some] += mm(rows[:, block], directions[block])
    return [mm(subject.spectrum.rows.T, values) for values in seen]


def _add_fitted_(out: Tensor, subject: _Subject, directions: Tensor) -> None:
    """Adds the covariance of the subject's augmented fit, applied to directions (n_targets, k)."""
    values, rows = subject.spectrum.values, subject.spectrum.rows
    kept = [(values / (values + a)).sqrt().float()[:, None] for a, _ in subject.penalties()]
    total = torch.stack([k * t for k, t in zip(kept, _along(subject, directions), strict=True)]).sum(0)
    back = [mm(rows, k * total) for k in kept]
    for some, targets in _flat(subject.targets):
        for values_back, (_, blocks) in zip(back, subject.penalties(), strict=True):
            for block in blocks:
                out[block] += mm(targets[:, block].T, values_back[some])


def _weights(subject: _Subject, basis: Tensor) -> Tensor:
    """Ridge weights of the coordinates along the basis: (rank, n_signal_values)."""
    values, rows = subject.spectrum.values, subject.spectrum.rows
    seen = _along(subject, basis)
    dual = mm(
        rows,
        torch.stack([
            t / (values + a).float()[:, None] for t, (a, _) in zip(seen, subject.penalties(), strict=True)
        ]).sum(0),
    )  # fmt: skip
    weight = torch.zeros(basis.shape[1], int(np.prod(subject.signals.shape[1:])))
    for some, signals in _flat(subject.signals):
        weight += mm(dual[some].T, signals)
    return weight
