"""Single-trial betas and t values of one run: every trial's model from one shared projection, with AR(1) noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from braindec import checks

METHODS = ("lss", "lsa")
NOISE_MODELS = ("ols", "ar1")
BINS = 100  # autocorrelations are rounded to 1 / BINS, as nilearn does: voxels of one bin share a projection
GRID = 95  # the largest autocorrelation, in bins
BLOCK_BYTES = 64 << 20
RANK = 1e-9  # columns with less than this share of the largest singular value add nothing
APART = 1e-6  # a trial whose regressor keeps a smaller share of the usual energy beside the others is not estimated
FULL = 0.9  # a model of more than this share of the volumes leaves too little noise to estimate it from


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a run says of each of its trials.

    Parameters
    ----------
    beta : float32 array, shape (n_trials, n_voxels)
        In the units of the signal over the units of the regressors.
    t : float32 array, shape (n_trials, n_voxels)
        Beta over its standard error.
    dof : int
        Degrees of freedom of each t.
    autocorrelation : float32 array, shape (n_voxels,)
        Of neighbouring volumes' noise, rounded; 0 for white noise.
    """

    beta: np.ndarray
    t: np.ndarray
    dof: int
    autocorrelation: np.ndarray


def single_trials(
    signal: np.ndarray,
    trials: np.ndarray,
    nuisance: np.ndarray,
    *,
    method: str = "lss",
    noise: str = "ar1",
    bias_corrected: bool = True,
    fraction: np.ndarray | None = None,
) -> Estimates:
    """A beta and a t value of each trial of a run.

    Parameters
    ----------
    signal : array, shape (n_times, n_voxels)
        As recorded: nothing filtered, regressed out or cut, so that everything is estimated in one model.
    trials : array, shape (n_times, n_trials)
        The expected response to each trial.
    nuisance : array, shape (n_times, n_columns)
        All else that moves the signal: constant, drift, motion, physiology, one column for each censored volume,
        events that are no trials. Columns may depend on each other.
    method : str
        ``"lsa"``: one model with a regressor for each trial. ``"lss"``: a model for each trial with a regressor for it
        and one for all others, steadier for close trials (Mumford et al. 2012, doi:10.1016/j.neuroimage.2011.08.076).
    noise : str
        ``"ols"``: white. ``"ar1"``: each voxel's signal and model are whitened by its own autocorrelation.
    bias_corrected : bool
        Whether the autocorrelation is the one under which a model of this kind leaves residuals like these: with many
        trials that of the residuals themselves is far too low. (As Worsley et al. 2002, doi:10.1006/nimg.2001.0933, but
        for all lags.) False is nilearn's estimate, which is also rounded towards 0.
    fraction : array, shape (n_voxels,), optional
        ``"lsa"`` only: betas are shrunk by ridge regression to this share of their length, in (0, 1] (`shrunken`). The
        t values stay those before it.

    Returns
    -------
    Estimates

    Raises
    ------
    ValueError
        If a trial cannot be told from the others, or no degree of freedom is left.
    """
    checks.one_of("method", method, METHODS)
    checks.one_of("noise", noise, NOISE_MODELS)
    if fraction is not None and method != "lsa":
        raise checks.ConfigError(
            "a ridge fraction needs method 'lsa': lss is another way to steady its betas."
        )
    checks.same_length("time", signal=signal, trials=trials, nuisance=nuisance)
    trials, nuisance = trials.astype(np.float64), nuisance.astype(np.float64)
    rho = (
        autocorrelation(signal, trials, nuisance, bias_corrected=bias_corrected)
        if noise == "ar1"
        else np.zeros(signal.shape[1])
    )
    beta = np.empty((trials.shape[1], signal.shape[1]), dtype=np.float32)
    t = np.empty_like(beta)
    fit, dof = (_lsa if method == "lsa" and trials.shape[1] > 1 else _lss), 0
    for value in np.unique(rho):
        base = basis(_whitened(nuisance, value))
        expected = _whitened(trials, value)
        x = _residual(expected, base)
        usual = float(np.median((expected**2).sum(0)))
        voxels = np.flatnonzero(rho == value)
        for block in _blocks(voxels, len(signal)):
            y = _residual(_whitened(signal[:, block].astype(np.float64), value), base)
            beta[:, block], t[:, block], dof = fit(x, y, usual, len(signal) - base.shape[1])
            if fraction is not None:
                beta[:, block] = shrunken(np.linalg.svd(x, full_matrices=False), y, fraction[block])
    return Estimates(beta, t, dof, rho.astype(np.float32))


def autocorrelation(
    signal: np.ndarray, trials: np.ndarray, nuisance: np.ndarray, *, bias_corrected: bool = True
) -> np.ndarray:
    """Correlation of neighbouring volumes' noise, float64 (n_voxels,), rounded to 1 / 100; see `single_trials`.

    It is that of the residuals of one model with a regressor for each trial; where that model is nearly as large as the
    run is long, of the model with one regressor for all trials.
    """
    full = basis(np.concatenate([nuisance, trials], axis=1))
    if full.shape[1] > FULL * len(signal):
        full = basis(np.concatenate([nuisance, trials.sum(1, keepdims=True)], axis=1))
    n = len(signal)
    lag0, lag1 = np.empty(signal.shape[1]), np.empty(signal.shape[1])
    for block in _blocks(np.arange(signal.shape[1]), n):
        e = _residual(signal[:, block].astype(np.float64), full)
        lag0[block], lag1[block] = (e**2).sum(0), (e[1:] * e[:-1]).sum(0)
    if bias_corrected:
        grid = np.arange(-GRID, GRID + 1) / BINS
        ratio = _expected_ratio(full, grid)
        rho = np.interp(np.divide(lag1, lag0, out=np.zeros_like(lag0), where=lag0 > 0), ratio, grid)
        return np.rint(rho * BINS) / BINS
    plain = (lag1 / (n - 1)) / np.where(
        lag0 > 0, lag0 / n, 1.0
    )  # Yule-Walker with unbiased counts, as nilearn
    return np.trunc(plain.clip(-GRID / BINS, GRID / BINS) * BINS) / BINS


def basis(columns: np.ndarray) -> np.ndarray:
    """Orthonormal columns, (n_times, rank), that span the given ones whatever their scale."""
    length = np.linalg.norm(columns, axis=0)
    u, s, _ = np.linalg.svd(columns[:, length > 0] / length[length > 0], full_matrices=False)
    return np.ascontiguousarray(u[:, s > RANK * s.max(initial=0.0)])


def shrunken(
    svd: tuple[np.ndarray, np.ndarray, np.ndarray], y: np.ndarray, fraction: np.ndarray
) -> np.ndarray:
    """Ridge betas whose length is a given share of that of the least-squares ones.

    Parameters
    ----------
    svd : arrays (n_times, n_trials), (n_trials,), (n_trials, n_trials)
        Of the regressors, nuisance removed.
    y : array, shape (n_times, n_voxels)
    fraction : array, shape (n_voxels,)
        In (0, 1].

    Returns
    -------
    float64 array, shape (n_trials, n_voxels)

    Notes
    -----
    Rokem & Kay 2020, doi:10.1093/gigascience/giaa133. The penalty is read off a grid of 8 values a factor of 10, so the
    share is met to about 0.2 %.
    """
    u, s, vt = svd
    plain = (u.T @ y) / s[:, None]  # least-squares betas along the singular vectors
    penalties = np.concatenate(
        [[0.0], s[-1] ** 2 * np.logspace(-3, 0, 25), s[0] ** 2 * np.logspace(-6, 4, 81)]
    )
    penalties = np.unique(penalties)
    kept = s**2 / (s**2 + penalties[:, None])  # (penalty, trial)
    length = np.sqrt((kept**2 @ plain**2) / np.maximum((plain**2).sum(0), 1e-300))  # falls along axis 0
    log = np.log1p(penalties / s[0] ** 2 * 1e6)
    chosen = np.array([np.interp(-f, -length[:, v], log) for v, f in enumerate(fraction)])
    penalty = np.expm1(chosen) * s[0] ** 2 / 1e6
    return vt.T @ (plain * s[:, None] ** 2 / (s[:, None] ** 2 + penalty))


def _lsa(x: np.ndarray, y: np.ndarray, usual: float, dof: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Betas, t values and degrees of freedom of one model of all trials; x and y are residuals of the nuisance."""
    n_trials = x.shape[1]
    dof = _positive(dof - n_trials, n_trials)
    q, r = np.linalg.qr(x)
    _check_apart(np.diag(r) ** 2, usual)
    inverse = np.linalg.inv(r)
    rotated = q.T @ y
    beta = inverse @ rotated
    variance = np.maximum((y**2).sum(0) - (rotated**2).sum(0), 0.0) / dof
    return beta, _over(beta, np.sqrt((inverse**2).sum(1)[:, None] * variance)), dof


def _lss(x: np.ndarray, y: np.ndarray, usual: float, dof: int) -> tuple[np.ndarray, np.ndarray, int]:
    """As `_lsa` for a model of each trial and the sum of the others: two normal equations, solved for all at once."""
    others = x.sum(1, keepdims=True) - x
    a, b, c = (x**2).sum(0), (x * others).sum(0), (others**2).sum(0)
    own = x.T @ y
    if x.shape[1] == 1:
        _check_apart(a, usual)
        dof, beta, rest = _positive(dof - 1, 1), own / a[:, None], 0.0
        scale = 1 / a[:, None]
        fitted = beta * own
    else:
        dof = _positive(dof - 2, 2)
        _check_apart(a - b**2 / np.maximum(c, 1e-300), usual)
        other = y.T @ x.sum(1) - own  # (trial, voxel): the others' regressor with the signal
        determinant = (a * c - b**2)[:, None]
        beta = (c[:, None] * own - b[:, None] * other) / determinant
        rest = (a[:, None] * other - b[:, None] * own) / determinant
        scale, fitted = c[:, None] / determinant, beta * own + rest * other
    variance = np.maximum((y**2).sum(0) - fitted, 0.0) / dof
    return beta, _over(beta, np.sqrt(scale * variance)), dof


def _expected_ratio(full: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Neighbours' products over squares that the residuals of a model have for each autocorrelation, increasing.

    With residuals R e and cov(e)_ij = rho^|i-j| these are tr(R D R V) and tr(R V): sums over diagonals of R D R and R.
    """
    n = len(full)
    r = np.eye(n) - full @ full.T
    neighbours = r[:, 1:] @ r[:-1]  # R D R with D_(t, t+1) = 1
    powers = grid[:, None] ** np.arange(n)[None]
    squares, products = (
        powers @ np.array([np.trace(m, k) + (np.trace(m, -k) if k else 0.0) for k in range(n)])
        for m in (r, neighbours)
    )
    return np.maximum.accumulate(products / squares)


def _whitened(x: np.ndarray, rho: float) -> np.ndarray:
    """x_t - rho x_{t-1}; the first row stays (as nilearn)."""
    if rho == 0:
        return x
    out = x.copy()
    out[1:] -= rho * x[:-1]
    return out


def _residual(x: np.ndarray, base: np.ndarray) -> np.ndarray:
    return x - base @ (base.T @ x)


def _blocks(voxels: np.ndarray, n_times: int) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // (8 * n_times))
    for start in range(0, len(voxels), step):
        yield voxels[start : start + step]


def _over(beta: np.ndarray, error: np.ndarray) -> np.ndarray:
    return np.divide(beta, error, out=np.zeros_like(beta), where=error > 0)


def _positive(dof: int, n_columns: int) -> int:
    if dof < 1:
        raise ValueError(
            f"the model leaves {dof} degrees of freedom for the noise; use fewer confounds, censor fewer volumes"
            f"{', or method lss' if n_columns > 2 else ''}."
        )
    return dof


def _check_apart(energy: np.ndarray, usual: float) -> None:
    """Refuses trials whose regressor keeps nothing beside those of others and the nuisance."""
    lost = np.flatnonzero(~(energy > APART * usual))
    if len(lost):
        raise ValueError(
            f"{len(lost)} of {len(energy)} trials cannot be told from the rest of the model, first trial {lost[0]} "
            "(counted from 0): they coincide with others, or lie where volumes were censored or after the last one."
        )
