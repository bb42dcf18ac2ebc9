"""Noise of simulated fMRI: shared low-rank, locally smooth, slowly drifting (1/f over trials) and white, by session.

Voxels of similar tuning also share noise, which limits what any number of voxels can tell (Moreno-Bote et al. 2014,
doi:10.1038/nn.3807).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from braindec import checks


@dataclass(frozen=True)
class NoiseConfig:
    """Composition of one trial's noise; the five shares are shares of its variance and sum to 1.

    Parameters
    ----------
    tuned, shared, local, drift, white : float
        Shared by voxels of similar tuning, as variability of what is perceived would be (averaging voxels does not
        remove it); shared over the whole brain in few patterns; smooth over neighbouring voxels; 1/f over the
        trials of a session (and smooth over neighbours); independent.
    rank : int
        Number of patterns shared over the whole brain.
    session_change : float
        Share of the variance of those patterns that is new in every session, in [0, 1].
    session_spread : float
        SD of the logarithm of a session's noise SD.
    length_mm : float
        Standard deviation of the spatial kernel.
    exponent : float
        Power falls with frequency to the minus this.
    """

    tuned: float = 0.3
    shared: float = 0.15
    local: float = 0.2
    drift: float = 0.15
    white: float = 0.2
    rank: int = 8
    session_change: float = 0.3
    session_spread: float = 0.1
    length_mm: float = 2.5
    exponent: float = 1.0

    def __post_init__(self) -> None:
        shares = (self.tuned, self.shared, self.local, self.drift, self.white)
        if abs(sum(shares) - 1) > 1e-9 or min(shares) < 0:
            raise checks.ConfigError(
                f"tuned, shared, local, drift, white must be >= 0 and sum to 1, got {shares}."
            )
        checks.in_range("session_change", self.session_change, 0.0, 1.0)
        checks.at_least("rank", self.rank, 1)


def spatial_kernel(positions_mm: np.ndarray, length_mm: float) -> np.ndarray:
    """Covariance exp(-d^2 / (2 length^2)) of a smooth field of unit variance.

    Parameters
    ----------
    positions_mm : ndarray, shape (n_voxels, 3)
    length_mm : float
        > 0.

    Returns
    -------
    ndarray of float64, shape (n_voxels, n_voxels)
    """
    squares = (positions_mm**2).sum(1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * positions_mm @ positions_mm.T, 0)
    return np.exp(-distances / (2 * length_mm**2))


def root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def pink_spectrum(n: int, exponent: float) -> np.ndarray:
    """Variance at each frequency of `numpy.fft.rfft`, (n // 2 + 1,), for a series of mean zero and unit variance."""
    frequency = np.arange(n // 2 + 1, dtype=np.float64)
    power = np.zeros_like(frequency)
    power[1:] = frequency[1:] ** -exponent
    return power / _two_sided(power, n).sum()


def pink_autocovariance(n: int, exponent: float) -> np.ndarray:
    """Covariance of `pink_series` at each lag 0..n-1 (circular), shape (n,); 1 at lag 0."""
    return np.fft.irfft(pink_spectrum(n, exponent), n) * n


def pink_series(n: int, n_series: int, exponent: float, generator: np.random.Generator) -> np.ndarray:
    """Independent Gaussian series whose power falls as frequency to the minus `exponent`.

    Parameters
    ----------
    n : int
        Length, >= 2.
    n_series : int
    exponent : float
        0 is white, 1 pink.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n, n_series)
        Mean zero over time, unit variance in expectation.
    """
    checks.at_least("n", n, 2)
    spectrum = np.fft.rfft(generator.standard_normal((n, n_series)), axis=0)
    return np.fft.irfft(spectrum * np.sqrt(pink_spectrum(n, exponent) * n)[:, None], n, axis=0)


def _two_sided(power: np.ndarray, n: int) -> np.ndarray:
    """Each one-sided entry counted as often as it occurs in the full spectrum."""
    weight = np.full(len(power), 2.0)
    weight[0] = 1
    if n % 2 == 0:
        weight[-1] = 1
    return power * weight


@dataclass(frozen=True, eq=False)
class Redraw:
    """Trials that are drawn again from a generator of their own, while all other trials stay what they are.

    Parameters
    ----------
    rows : ndarray of bool, shape (n_trials,)
        Which.
    generator : numpy.random.Generator
    """

    rows: np.ndarray
    generator: np.random.Generator

    def among(self, trials: np.ndarray) -> Redraw:
        """The same for some of the trials."""
        return Redraw(self.rows[trials], self.generator)


def draw_attention(
    n: int, lapse: float, gain_sd: float, generator: np.random.Generator, redraw: Redraw | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each of n trials is seen, bool (n,), and its gain, float64 (n,)."""
    seen = generator.random(n) >= lapse
    gain = 1 + gain_sd * generator.standard_normal(n)
    if redraw is not None:
        others = draw_attention(n, lapse, gain_sd, redraw.generator)
        seen, gain = np.where(redraw.rows, others[0], seen), np.where(redraw.rows, others[1], gain)
    return seen, gain


def redraw_pink(series: np.ndarray, other: np.ndarray, rows: np.ndarray, exponent: float) -> np.ndarray:
    """Some samples of `pink_series` drawn again given all others, so that the whole is such a series still.

    Parameters
    ----------
    series, other : ndarray, shape (n, n_series)
        Two independent draws of `pink_series`.
    rows : ndarray of bool, shape (n,)
        Which samples are drawn again.
    exponent : float

    Returns
    -------
    ndarray of float64, shape (n, n_series)

    Notes
    -----
    Conditional draw by correcting an unconditional one (Matheron's rule): the same joint distribution as `series`.
    """
    index = np.arange(len(series))
    covariance = pink_autocovariance(len(series), exponent)[np.abs(index[:, None] - index)]
    gain = np.linalg.solve(covariance[np.ix_(~rows, ~rows)], covariance[np.ix_(~rows, rows)])
    drawn = series.copy()
    drawn[rows] = other[rows] + gain.T @ (series - other)[~rows]
    return drawn


@dataclass(frozen=True, eq=False)
class FmriNoise:
    """Noise of one brain in all its sessions.

    Parameters
    ----------
    sd : ndarray, shape (n_voxels,)
        SD of one trial's noise, averaged (as variance) over sessions; units of the responses.
    tuning : ndarray, shape (n_voxels, n_tuned)
        Patterns of the tuned part; each voxel's squares sum to 1.
    loadings : ndarray, shape (n_sessions, n_voxels, rank)
        Patterns of the shared part; each voxel's squares sum to 1.
    kernel : ndarray, shape (n_voxels, n_voxels)
        Covariance of the smooth parts, 1 on the diagonal.
    session_scale : ndarray, shape (n_sessions,)
        Noise SD of a session over `sd`; squares average 1.
    config : NoiseConfig
    """

    sd: np.ndarray
    tuning: np.ndarray
    loadings: np.ndarray
    kernel: np.ndarray
    session_scale: np.ndarray
    config: NoiseConfig

    def sample(
        self, session: np.ndarray, generator: np.random.Generator, redraw: Redraw | None = None
    ) -> np.ndarray:
        """Noise of consecutive trials.

        Parameters
        ----------
        session : ndarray of int, shape (n_trials,)
            Session of each trial, 0-based; trials of one session stand in their order of acquisition.
        generator : numpy.random.Generator
        redraw : Redraw, optional
            Trials whose noise comes from another generator; their drift continues that of their neighbours.

        Returns
        -------
        ndarray of float64, shape (n_trials, n_voxels)
        """
        smooth = root(self.kernel)
        noise = np.empty((len(session), len(self.sd)))
        for s in np.unique(session):
            rows = np.flatnonzero(session == s)
            drawn = self._draw(len(rows), generator)
            if redraw is not None:
                drawn = self._exchange(drawn, redraw.among(rows))
            noise[rows] = self.session_scale[s] * self._mix(drawn, s, smooth)
        return noise * self.sd

    def _draw(self, n: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """What the parts of n consecutive trials' noise are made of, before patterns and shares."""
        n_voxels = len(self.sd)
        return {
            "tuned": generator.standard_normal((n, self.tuning.shape[1])),
            "shared": generator.standard_normal((n, self.config.rank)),
            "local": generator.standard_normal((n, n_voxels)),
            "drift": pink_series(n, n_voxels, self.config.exponent, generator),
            "white": generator.standard_normal((n, n_voxels)),
        }

    def _exchange(self, drawn: dict[str, np.ndarray], redraw: Redraw) -> dict[str, np.ndarray]:
        other = self._draw(len(redraw.rows), redraw.generator)
        drift = redraw_pink(drawn["drift"], other["drift"], redraw.rows, self.config.exponent)
        return {
            name: drift if name == "drift" else np.where(redraw.rows[:, None], other[name], values)
            for name, values in drawn.items()
        }

    def _mix(self, drawn: dict[str, np.ndarray], s: int, smooth: np.ndarray) -> np.ndarray:
        c = self.config
        tuned, shared = drawn["tuned"] @ self.tuning.T, drawn["shared"] @ self.loadings[s].T
        smoothed = (np.sqrt(c.local) * drawn["local"] + np.sqrt(c.drift) * drawn["drift"]) @ smooth
        white = np.sqrt(c.white) * drawn["white"]
        return np.sqrt(c.tuned) * tuned + np.sqrt(c.shared) * shared + smoothed + white

    @cached_property
    def _alike(self) -> np.ndarray:
        """Correlation of the tuned part between voxels."""
        return self.tuning @ self.tuning.T

    def covariance_of_mean(
        self, session: np.ndarray, position: np.ndarray, n_in_session: np.ndarray
    ) -> np.ndarray:
        """Covariance of the average of some trials, with the drift that trials of one session have in common.

        Parameters
        ----------
        session : ndarray of int, shape (n_repeats,)
            Session of each averaged trial, 0-based.
        position : ndarray of int, shape (n_repeats,)
            Place of each trial in its session, 0-based.
        n_in_session : ndarray of int, shape (n_repeats,)
            Trials of that session.

        Returns
        -------
        ndarray of float64, shape (n_voxels, n_voxels)
        """
        c, m = self.config, len(session)
        variance = self.session_scale[session] ** 2
        alone = variance.sum() / m**2
        drift = 0.0
        for s in np.unique(session):
            here = session == s
            lags = np.abs(position[here][:, None] - position[here][None])
            n = int(n_in_session[here][0])
            drift += self.session_scale[s] ** 2 * pink_autocovariance(n, c.exponent)[lags].sum() / m**2
        matrix = (c.local * alone + c.drift * drift) * self.kernel + c.tuned * alone * self._alike
        for s, count in zip(*np.unique(session, return_counts=True), strict=True):
            weight = c.shared * count * self.session_scale[s] ** 2 / m**2
            matrix += weight * (self.loadings[s] @ self.loadings[s].T)
        matrix[np.diag_indices_from(matrix)] += c.white * alone
        return matrix * self.sd[:, None] * self.sd


def draw_noise(
    positions_mm: np.ndarray,
    tuning: np.ndarray,
    n_sessions: int,
    config: NoiseConfig,
    generator: np.random.Generator,
) -> FmriNoise:
    """Noise of unit SD in every voxel with random shared patterns and session scales.

    Parameters
    ----------
    positions_mm : ndarray, shape (n_voxels, 3)
    tuning : ndarray, shape (n_voxels, n_tuned)
        What each voxel responds to; voxels whose rows point the same way share the tuned noise. A voxel whose row is
        zero has that share as independent noise.
    n_sessions : int
    config : NoiseConfig
    generator : numpy.random.Generator
    """
    n_voxels = len(positions_mm)
    broad = root(spatial_kernel(positions_mm, 4 * config.length_mm))
    fields = broad @ generator.standard_normal((n_sessions + 1, n_voxels, config.rank))
    mixed = np.sqrt(1 - config.session_change) * fields[:1] + np.sqrt(config.session_change) * fields[1:]
    loadings = mixed / np.linalg.norm(mixed, axis=2, keepdims=True)
    blind = np.flatnonzero(~tuning.any(1))
    own = np.zeros((n_voxels, len(blind)))
    own[blind, np.arange(len(blind))] = 1
    patterns = np.concatenate([tuning, own], 1)
    patterns /= np.linalg.norm(patterns, axis=1, keepdims=True)
    scale = np.exp(config.session_spread * generator.standard_normal(n_sessions))
    scale /= np.sqrt((scale**2).mean())
    kernel = spatial_kernel(positions_mm, config.length_mm)
    return FmriNoise(np.ones(n_voxels), patterns, loadings, kernel, scale, config)
