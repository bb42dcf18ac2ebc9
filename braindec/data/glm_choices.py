"""What a single-trial model leaves open (HRF, noise components, ridge), chosen on training runs alone.

The steps are those of GLMsingle (Prince et al. 2022, doi:10.7554/eLife.77599), but nothing is chosen on runs that are
later tested: `choose` sees training runs, `estimate` applies what was chosen to any run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from braindec import checks
from braindec.data import glm
from braindec.data.glm_design import LIBRARY, responses

FRACTIONS = tuple(round(0.1 * i, 1) for i in range(1, 11))
BLOCK = 4096  # voxels at a time
MIN_POOL = 20  # voxels without reliable responses from which noise components may be made
N_JUDGES = 2000  # reliable voxels by which their number is chosen


@dataclass(frozen=True)
class GlmConfig:
    """How a run's trials are estimated.

    Parameters
    ----------
    method : str
        ``"lss"`` or ``"lsa"``; see `glm.single_trials`.
    noise : str
        ``"ar1"`` or ``"ols"``.
    hrf : str
        ``"canonical"``, or ``"library"``: each voxel has that of 19 shapes which explains training runs best.
    max_components : int
        Up to this many time courses of voxels without reliable responses enter the model; the number is chosen by how
        well training runs predict each other. 0: none.
    ridge : bool
        ``"lsa"`` only: each voxel's betas are shrunk to the share of their length that predicts training runs best.
    """

    method: Literal["lss", "lsa"] = "lss"
    noise: Literal["ar1", "ols"] = "ar1"
    hrf: Literal["canonical", "library"] = "canonical"
    max_components: int = 0
    ridge: bool = False

    def __post_init__(self) -> None:
        checks.in_range("max_components", self.max_components, 0, 50)
        if self.ridge and self.method != "lsa":
            raise checks.ConfigError(f"ridge needs method 'lsa', got {self.method!r}.")

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen on data."""
        return self.hrf == "library" or self.max_components > 0 or self.ridge


@dataclass(frozen=True, eq=False)
class Run:
    """A run as the model sees it.

    Parameters
    ----------
    signal : array, shape (n_voxels, n_times)
        Percent of the voxel's mean; may be a memory map.
    onsets_s, durations_s : array, shape (n_trials,)
    stimulus_id : text array, shape (n_trials,)
        What makes two trials repeats of each other.
    times_s : array, shape (n_times,)
        When each volume was taken, on the clock of the onsets.
    nuisance : array, shape (n_times, n_columns)
    """

    signal: Any
    onsets_s: np.ndarray
    durations_s: np.ndarray
    stimulus_id: np.ndarray
    times_s: np.ndarray
    nuisance: np.ndarray

    def trials(self, hrf: int) -> np.ndarray:
        """Expected responses (n_times, n_trials) under one shape of the library."""
        return responses(self.onsets_s, self.durations_s, self.times_s, LIBRARY[hrf])

    def block(self, voxels: np.ndarray) -> np.ndarray:
        """float64 (n_times, n_chosen)."""
        return np.asarray(self.signal[voxels], dtype=np.float64).T


@dataclass(frozen=True, eq=False)
class Choices:
    """What was chosen on the training runs.

    Parameters
    ----------
    hrf : int array, shape (n_voxels,)
        Index into `glm_design.LIBRARY`; 0 is the canonical shape.
    fraction : float32 array, shape (n_voxels,)
        Ridge fraction; 1 where nothing is shrunk.
    pool : bool array, shape (n_voxels,)
        Voxels whose time courses make noise components.
    n_components : int
    reliability : float32 array, shape (n_voxels,)
        Cross-validated R^2 of training runs' betas predicted from other training runs; NaN where it was not needed.
    """

    hrf: np.ndarray
    fraction: np.ndarray
    pool: np.ndarray
    n_components: int
    reliability: np.ndarray

    @classmethod
    def none(cls, n_voxels: int) -> Choices:
        """The canonical shape, no components, nothing shrunk."""
        return cls(
            np.zeros(n_voxels, dtype=np.int64), np.ones(n_voxels, dtype=np.float32), np.zeros(n_voxels, dtype=bool),
            0, np.full(n_voxels, np.nan, dtype=np.float32),
        )  # fmt: skip

    def of(self, voxels: np.ndarray) -> Choices:
        """Those of some voxels, bool (n_voxels,)."""
        hrf, fraction, pool, reliability = (
            v[voxels] for v in (self.hrf, self.fraction, self.pool, self.reliability)
        )
        return Choices(hrf, fraction, pool, self.n_components, reliability)


def choose(runs: Sequence[Run], config: GlmConfig) -> Choices:
    """The choices that explain (HRF) and cross-validate (components, ridge) these training runs best.

    Raises
    ------
    ConfigError
        If components or ridge are asked for but no stimulus repeats in two training runs.
    """
    n_voxels = runs[0].signal.shape[0]
    chosen = Choices.none(n_voxels)
    hrf = best_hrf(runs) if config.hrf == "library" else chosen.hrf
    if config.max_components == 0 and not config.ridge:
        return Choices(hrf, chosen.fraction, chosen.pool, 0, chosen.reliability)
    across = _across_runs(runs)
    fraction, reliability = _cross_validated(runs, hrf, across)
    pool, n_components = chosen.pool, 0
    if config.max_components:
        pool = reliability < 0
        n_components = _count_components(runs, hrf, pool, reliability, across, config.max_components)
    kept = fraction if config.ridge else chosen.fraction
    return Choices(hrf, kept, pool, n_components, reliability)


def estimate(run: Run, choices: Choices, config: GlmConfig) -> glm.Estimates:
    """Betas and t values of a run under what was chosen; see `glm.single_trials`."""
    n_voxels = run.signal.shape[0]
    beta, t = np.empty((2, len(run.onsets_s), n_voxels), dtype=np.float32)
    rho, dof = np.empty(n_voxels, dtype=np.float32), 0
    nuisance = np.concatenate([run.nuisance, components(run, choices.pool, choices.n_components)], axis=1)
    for hrf in np.unique(choices.hrf).tolist():
        voxels = np.flatnonzero(choices.hrf == hrf)
        trials = run.trials(hrf)
        for start in range(0, len(voxels), 4 * BLOCK):
            part = voxels[start : start + 4 * BLOCK]
            fraction = choices.fraction[part] if config.ridge else None
            found = glm.single_trials(
                run.block(part), trials, nuisance, method=config.method, noise=config.noise, fraction=fraction
            )
            beta[:, part], t[:, part], rho[part], dof = found.beta, found.t, found.autocorrelation, found.dof
    return glm.Estimates(beta, t, dof, rho)


def best_hrf(runs: Sequence[Run]) -> np.ndarray:
    """For each voxel the shape whose model (a regressor a trial) explains most of all runs, int (n_voxels,)."""
    n_voxels = runs[0].signal.shape[0]
    explained = np.zeros((len(LIBRARY), n_voxels))
    for run in runs:
        base = glm.basis(run.nuisance)
        spaces = [glm.basis(_without(run.trials(h), base)) for h in range(len(LIBRARY))]
        for voxels in _blocks(np.arange(n_voxels)):
            y = run.block(voxels)
            for h, space in enumerate(spaces):
                explained[h, voxels] += ((space.T @ y) ** 2).sum(0)
    return explained.argmax(0)


def components(run: Run, pool: np.ndarray, n_components: int) -> np.ndarray:
    """Leading time courses of the pool's voxels beside the run's own nuisance, float64 (n_times, n_components)."""
    n_times = run.signal.shape[1]
    if n_components == 0:
        return np.empty((n_times, 0))
    base = glm.basis(run.nuisance)
    gram = np.zeros((n_times, n_times))
    for voxels in _blocks(np.flatnonzero(pool)):
        y = _without(run.block(voxels), base)
        y /= np.maximum(np.linalg.norm(y, axis=0), 1e-300)
        gram += y @ y.T
    _, vectors = np.linalg.eigh(gram)
    return np.asarray(vectors[:, ::-1][:, :n_components])


def _across_runs(runs: Sequence[Run]) -> tuple[sparse.csr_matrix, np.ndarray]:
    """(matrix that averages each trial's repeats in other runs, rows of the trials that have some)."""
    stimulus = np.concatenate([r.stimulus_id for r in runs])
    run = np.repeat(np.arange(len(runs)), [len(r.stimulus_id) for r in runs])
    _, code = np.unique(stimulus, return_inverse=True)
    same = sparse.csr_matrix((np.ones(len(code)), (np.arange(len(code)), code)))
    pairs = (same @ same.T).tocoo()
    apart = run[pairs.row] != run[pairs.col]
    of, other = pairs.row[apart], pairs.col[apart]
    counts = np.bincount(of, minlength=len(code))
    rows = np.flatnonzero(counts)
    if not len(rows):
        raise checks.ConfigError(
            "noise components and ridge are chosen by how well training runs predict each other, but no stimulus is "
            "shown in two training runs: use max_components=0 and ridge=false."
        )
    return sparse.csr_matrix((1 / counts[of], (of, other)), shape=(len(code), len(code)))[rows], rows


def _cross_validated(
    runs: Sequence[Run], hrf: np.ndarray, across: tuple[sparse.csr_matrix, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Best ridge fraction and plain R^2 of each voxel: shrunk betas of other runs predict a run's plain betas."""
    average, rows = across
    fraction = np.ones(len(hrf), dtype=np.float32)
    reliability = np.zeros(len(hrf), dtype=np.float32)
    for h in np.unique(hrf).tolist():
        bases = [glm.basis(run.nuisance) for run in runs]
        svds = [
            np.linalg.svd(_without(run.trials(h), base), full_matrices=False)
            for run, base in zip(runs, bases, strict=True)
        ]
        for voxels in _blocks(np.flatnonzero(hrf == h)):
            ys = [_without(run.block(voxels), base) for run, base in zip(runs, bases, strict=True)]
            unshrunken = _shrunken(svds, ys, FRACTIONS[-1])
            plain = unshrunken[rows]
            errors = [_misses(plain, average @ unshrunken)]
            del unshrunken  # of all trials of a person: those of all fractions at once would not fit
            errors += [_misses(plain, average @ _shrunken(svds, ys, f)) for f in FRACTIONS[-2::-1]]
            total = ((plain - plain.mean(0)) ** 2).sum(0)
            reliability[voxels] = 1 - errors[0] / np.maximum(total, 1e-300)
            fraction[voxels] = np.array(FRACTIONS[::-1])[np.argmin(errors, axis=0)]
    return fraction, reliability


def _misses(values: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Squared error of each column, (n_voxels,)."""
    predictions -= values
    error: np.ndarray = np.einsum("ij,ij->j", predictions, predictions)
    return error


def _shrunken(
    svds: Sequence[tuple[np.ndarray, ...]], ys: Sequence[np.ndarray], fraction: float
) -> np.ndarray:
    """Betas of all runs (n_trials, n_voxels) at one ridge fraction."""
    share = np.full(ys[0].shape[1], fraction)
    return np.concatenate(
        [glm.shrunken((u, s, vt), y, share) for (u, s, vt), y in zip(svds, ys, strict=True)]
    )


def _count_components(
    runs: Sequence[Run],
    hrf: np.ndarray,
    pool: np.ndarray,
    reliability: np.ndarray,
    across: tuple[sparse.csr_matrix, np.ndarray],
    most: int,
) -> int:
    """The smallest number of components whose error over reliable voxels is within a standard error of the smallest.

    The error of a trial is the squared difference between its betas and the mean of its repeats in other runs, as a
    share of the voxels' variance; the standard error is that of the difference over trials.
    """
    judges = np.argsort(-reliability)[:N_JUDGES]
    judges = np.sort(judges[reliability[judges] > 0])
    if int(pool.sum()) < MIN_POOL or not len(judges):
        return 0
    average, rows = across
    courses = [components(run, pool, most) for run in runs]
    errors: list[np.ndarray] = []
    for k in range(most + 1):
        betas = np.concatenate(
            [_betas_of(run, hrf, judges, course[:, :k]) for run, course in zip(runs, courses, strict=True)]
        )
        share = (betas[rows] - average @ betas) ** 2 / np.maximum(betas[rows].var(0), 1e-300)
        errors.append(share.mean(1))  # (trial,)
    worse = np.stack(errors) - errors[int(np.argmin([e.mean() for e in errors]))]
    return int(np.flatnonzero(worse.mean(1) <= worse.std(1) / np.sqrt(len(rows)))[0])


def _betas_of(run: Run, hrf: np.ndarray, voxels: np.ndarray, course: np.ndarray) -> np.ndarray:
    """Least-squares betas (n_trials, n_chosen) of one model of all trials."""
    base = glm.basis(np.concatenate([run.nuisance, course], axis=1))
    out = np.empty((len(run.onsets_s), len(voxels)))
    for h in np.unique(hrf[voxels]).tolist():
        part = np.flatnonzero(hrf[voxels] == h)
        x = _without(run.trials(h), base)
        out[:, part] = np.linalg.lstsq(x, run.block(voxels[part]), rcond=None)[0]
    return out


def _without(x: np.ndarray, base: np.ndarray) -> np.ndarray:
    return x - base @ (base.T @ x)


def _blocks(voxels: np.ndarray) -> list[np.ndarray]:
    return [voxels[start : start + BLOCK] for start in range(0, len(voxels), BLOCK)]
