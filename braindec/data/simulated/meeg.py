"""Simulated EEG: sources at three levels of vision with their own latencies, seen by sensors through a sphere.

Forward model of one trial with picture x, features f(x), sensor c and time t:

    drive    d[j] = baseline + saturate(sum over k of w[j, k] f[k](x))   for source j of a level, w as in `brains`
    signal   s[c, t] = sum over j of topography[c, j] waveform[j, t] d[j]
    trial    y = average reference of (seen * gain * s + noise)

Noise is pink and shared by neighbouring sensors, alpha waves of random phase, blinks, muscle bursts, and sensor noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec import checks
from braindec.data.simulated.brains import prior_variance, saturate, saturation_moments, trial_variance
from braindec.data.simulated.features import FeatureMap
from braindec.data.simulated.noise import (
    Redraw,
    draw_attention,
    pink_autocovariance,
    root,
    spatial_kernel,
)
from braindec.types import SensorSpace

# Inclination from the vertex (negative on the left) and azimuth of the international 10-20 places on a sphere, degrees.
PLACES_DEG = {
    "Fp1": (-92, -72), "Fp2": (92, 72), "F7": (-92, -36), "F3": (-60, -51), "Fz": (46, 90), "F4": (60, 51),
    "F8": (92, 36), "FC5": (-72, -21), "FC1": (-32, -45), "FC2": (32, 45), "FC6": (72, 21), "T7": (-92, 0),
    "C3": (-46, 0), "Cz": (0, 0), "C4": (46, 0), "T8": (92, 0), "CP5": (-72, 21), "CP1": (-32, 45),
    "CP2": (32, -45), "CP6": (72, -21), "P7": (-92, 36), "P3": (-60, 51), "Pz": (46, -90), "P4": (60, -51),
    "P8": (92, -36), "PO7": (-92, 54), "PO3": (-74, 65), "POz": (69, -90), "PO4": (74, -65), "PO8": (92, -54),
    "O1": (-92, 72), "O2": (92, -72),
}  # fmt: skip
SENSORS = tuple(PLACES_DEG)
HEAD_M = 0.095
LATENCY_S = {"early": 0.10, "intermediate": 0.16, "high": 0.25}
WIDTH_S = {"early": 0.025, "intermediate": 0.040, "high": 0.070}
# Directions from the middle of the head (right, front, up): occipital; lateral occipital; temporal and parietal.
SOURCE_PLACES = {
    "early": ((0.15, -0.95, 0.15), (-0.15, -0.95, 0.15)),
    "intermediate": ((0.55, -0.8, 0.1), (-0.55, -0.8, 0.1)),
    "high": ((0.85, -0.4, -0.05), (-0.85, -0.4, -0.05), (0.0, -0.6, 0.75)),
}
EYES = (0.0, 0.92, -0.25)
BLINK_S = 0.08


@dataclass(frozen=True)
class MeegConfig:
    """How EEG brains are drawn.

    Parameters
    ----------
    sfreq, tmin, n_times
        Hz; seconds from picture to first sample; samples of a trial.
    n_sources : int
        Of each level.
    spectrum, saturation, baseline, gain_sd, lapse
        As in `brains.BrainConfig`.
    signal_uv : float
        SD over pictures of the response, averaged (as variance) over sensors and times, at noise level 1.
    pink_uv, alpha_uv, sensor_uv : float
        SD of the background activity, alpha waves and sensor noise.
    blink_uv, blink_rate : float
        Height of a blink at the frontal sensors; share of trials with one.
    muscle_uv, muscle_rate : float
        SD of a burst at the temporal sensors; share of trials with one.
    session_spread : float
        SD of the logarithm of a session's noise SD.
    """

    sfreq: float = 100.0
    tmin: float = -0.1
    n_times: int = 60
    n_sources: int = 20
    spectrum: float = 0.5
    saturation: float = 2.0
    baseline: float = 0.5
    gain_sd: float = 0.1
    lapse: float = 0.02
    signal_uv: float = 0.15
    pink_uv: float = 4.0
    alpha_uv: float = 3.0
    sensor_uv: float = 1.0
    blink_uv: float = 80.0
    blink_rate: float = 0.06
    muscle_uv: float = 6.0
    muscle_rate: float = 0.08
    session_spread: float = 0.1

    def __post_init__(self) -> None:
        checks.at_least("n_times", self.n_times, 2)
        checks.in_range("lapse", self.lapse, 0.0, 0.5)

    @property
    def times(self) -> np.ndarray:
        """Seconds from the picture, shape (n_times,)."""
        return self.tmin + np.arange(self.n_times) / self.sfreq


@dataclass(frozen=True, eq=False)
class NoisePart:
    """Gaussian noise whose covariance is (spatial spatial') x (temporal temporal'), in a share of the trials.

    Parameters
    ----------
    name : str
    spatial : ndarray, shape (n_sensors, rank)
        Volts.
    temporal : ndarray, shape (n_times, rank)
    rate : float
        Share of trials that have it, independently of each other.
    """

    name: str
    spatial: np.ndarray
    temporal: np.ndarray
    rate: float = 1.0

    def sample(self, n_trials: int, generator: np.random.Generator) -> np.ndarray:
        """float32 (n_trials, n_sensors, n_times)."""
        shape = (n_trials, self.spatial.shape[1], self.temporal.shape[1])
        drawn = generator.standard_normal(shape, dtype=np.float32)
        if self.rate < 1:
            drawn *= (generator.random(n_trials) < self.rate)[:, None, None]
        return self.spatial.astype(np.float32) @ drawn @ self.temporal.T.astype(np.float32)


@dataclass(frozen=True, eq=False)
class MeegBrain:
    """One subject's sources, sensors and noise.

    Parameters
    ----------
    space : SensorSpace
    weights : ndarray, shape (n_features, n_sources)
        Unit variance of the drive on the reference sample.
    level : ndarray of str, shape (n_sources,)
        early, intermediate or high.
    topography : ndarray, shape (n_sensors, n_sources)
        Volts, average reference.
    waveform : ndarray, shape (n_times, n_sources)
    parts : tuple of NoisePart
        Average reference.
    session_scale : ndarray, shape (n_sessions,)
        Noise SD of a session over that of `parts`; squares average 1.
    config : MeegConfig
    """

    space: SensorSpace
    weights: np.ndarray
    level: np.ndarray
    topography: np.ndarray
    waveform: np.ndarray
    parts: tuple[NoisePart, ...]
    session_scale: np.ndarray
    config: MeegConfig

    @property
    def mixing(self) -> np.ndarray:
        """What one unit of each source gives: float64 (n_sensors * n_times, n_sources)."""
        return np.einsum("cj,tj->ctj", self.topography, self.waveform).reshape(-1, self.weights.shape[1])

    def respond(self, features: np.ndarray) -> np.ndarray:
        """Activity of every source: float64 (n, n_sources) for features (n, n_features)."""
        sd, _ = saturation_moments(self.config.saturation)
        return self.config.baseline + saturate(features @ self.weights, self.config.saturation) / sd

    def measure(
        self,
        sources: np.ndarray,
        session: np.ndarray,
        generator: np.random.Generator,
        redraw: Redraw | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Single trials.

        Parameters
        ----------
        sources : ndarray, shape (n_trials, n_sources)
            `respond` of what each trial showed.
        session : ndarray of int, shape (n_trials,)
            0-based.
        generator : numpy.random.Generator
        redraw : Redraw, optional
            Trials whose gain, lapses and noise come from another generator.

        Returns
        -------
        epochs : ndarray of float32, shape (n_trials, n_sensors, n_times)
            Volts, average reference.
        seen : ndarray of bool, shape (n_trials,)
            False where attention lapsed.
        """
        n = checks.same_length("trial", sources=sources, session=session)
        seen, gain = draw_attention(n, self.config.lapse, self.config.gain_sd, generator, redraw)
        epochs = self._noise(n, generator)
        if redraw is not None:
            epochs[redraw.rows] = self._noise(int(redraw.rows.sum()), redraw.generator)
        epochs *= self.session_scale[session, None, None].astype(np.float32)
        signal = (sources * (seen * gain)[:, None]).astype(np.float32) @ self.mixing.T.astype(np.float32)
        return epochs + signal.reshape(epochs.shape), seen

    def _noise(self, n: int, generator: np.random.Generator) -> np.ndarray:
        return np.asarray(sum((part.sample(n, generator) for part in self.parts), np.float32(0)))

    def noise_covariance(self) -> np.ndarray:
        """Covariance of one trial's noise, averaged over sessions: square, of size n_sensors * n_times."""
        n = len(self.space.names) * self.config.n_times
        total = np.zeros((n, n))
        for part in self.parts:
            total += part.rate * np.kron(part.spatial @ part.spatial.T, part.temporal @ part.temporal.T)
        return total

    def ncsnr(self, noise_free: np.ndarray) -> np.ndarray:
        """SD over pictures of the expected response, over the SD of a trial around it: (n_sensors, n_times).

        Parameters
        ----------
        noise_free : ndarray, shape (n, n_sources)
            `respond` of a large sample of pictures.
        """
        c, mixing = self.config, self.mixing
        signal = (1 - c.lapse) ** 2 * _quadratic(mixing, np.cov(noise_free.T, bias=True))
        power = noise_free.T @ noise_free / len(noise_free)
        noise = trial_variance(c.lapse, c.gain_sd) * _quadratic(mixing, power)
        for part in self.parts:
            noise += part.rate * np.kron((part.spatial**2).sum(1), (part.temporal**2).sum(1))
        return np.sqrt(signal / noise).reshape(len(self.space.names), c.n_times)

    def unmixing(self) -> tuple[np.ndarray, np.ndarray]:
        """Best linear unbiased estimator of the sources, and the covariance of its error in one trial.

        Returns
        -------
        filters : ndarray, shape (n_sources, n_sensors * n_times)
        covariance : ndarray, shape (n_sources, n_sources)
            Nothing that a trial tells of its picture is lost: the estimate is a sufficient statistic of Gaussian noise.
        """
        n_times = self.config.n_times
        basis = np.kron(
            _reference_basis(len(self.space.names)), np.eye(n_times)
        )  # the reference removes one dimension
        mixing = basis.T @ self.mixing
        solved = np.linalg.solve(basis.T @ self.noise_covariance() @ basis, mixing)
        covariance = np.linalg.inv(mixing.T @ solved)
        return covariance @ solved.T @ basis.T, covariance


def _quadratic(mixing: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Diagonal of mixing @ matrix @ mixing'."""
    return np.einsum("ij,ij->i", mixing @ matrix, mixing)


def _reference_basis(n: int) -> np.ndarray:
    """Orthonormal basis (n, n - 1) of what an average reference keeps."""
    return np.linalg.svd(np.eye(n) - 1 / n)[0][:, : n - 1]


def sensor_space() -> SensorSpace:
    """32 electrodes of the international 10-20 system on a sphere around the origin; x right, y front, z up."""
    incline, azimuth = np.deg2rad(np.array(list(PLACES_DEG.values()), dtype=np.float64)).T
    unit = np.stack(
        [np.sin(incline) * np.cos(azimuth), np.sin(incline) * np.sin(azimuth), np.cos(incline)], 1
    )
    return SensorSpace(SENSORS, HEAD_M * unit, ("eeg",) * len(SENSORS))


def dipole_topography(sensors_m: np.ndarray, place_m: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Potential of a dipole in an unbounded conductor, up to a factor: moment . r / |r|^3, shape (n_sensors,)."""
    r = sensors_m - place_m
    return (r @ moment) / np.linalg.norm(r, axis=1) ** 3


def draw_meeg(
    space: SensorSpace,
    features: FeatureMap,
    reference: np.ndarray,
    *,
    n_sessions: int,
    noise_level: float,
    config: MeegConfig,
    generator: np.random.Generator,
) -> MeegBrain:
    """A random EEG subject.

    Parameters
    ----------
    space : SensorSpace
    features : FeatureMap
        Names the bank of each feature.
    reference : ndarray, shape (n, n_features)
        Features of the reference scenes.
    n_sessions : int
    noise_level : float
        Multiplies all noise, > 0.
    config : MeegConfig
    generator : numpy.random.Generator
    """
    where = space.positions
    n, levels = config.n_sources, tuple(LATENCY_S)
    weights = np.concatenate(
        [_weights(features, level, n, config.spectrum, generator) for level in levels], 1
    )
    weights /= (reference @ weights).std(0)
    topography = np.concatenate([_topographies(where, level, n, generator) for level in levels], 1)
    waveform = np.concatenate([_waveforms(config.times, level, n, generator) for level in levels], 1)
    topography *= config.signal_uv * 1e-6 / np.sqrt(((topography**2) @ (waveform**2).T).mean())
    scale = np.exp(config.session_spread * generator.standard_normal(n_sessions))
    return MeegBrain(
        space=space,
        weights=weights,
        level=np.repeat(levels, n),
        topography=topography,
        waveform=waveform,
        parts=_noise_parts(where, config, noise_level),
        session_scale=scale / np.sqrt((scale**2).mean()),
        config=config,
    )


def _weights(
    features: FeatureMap, level: str, n: int, spectrum: float, generator: np.random.Generator
) -> np.ndarray:
    variance = prior_variance(features.banks, features.ranks, level, spectrum)
    return np.sqrt(variance)[:, None] * generator.standard_normal((len(variance), n))


def _topographies(where: np.ndarray, level: str, n: int, generator: np.random.Generator) -> np.ndarray:
    """Average-referenced patterns (n_sensors, n) of dipoles scattered around the level's places, at unit norm."""
    places = np.asarray(SOURCE_PLACES[level])[generator.integers(len(SOURCE_PLACES[level]), size=n)]
    places = places + 0.15 * generator.standard_normal((n, 3))
    places = 0.75 * HEAD_M * places / np.linalg.norm(places, axis=1, keepdims=True)
    moments = generator.standard_normal((n, 3)) + 1.5 * places / np.linalg.norm(places, axis=1, keepdims=True)
    maps = np.stack([dipole_topography(where, p, m) for p, m in zip(places, moments, strict=True)], 1)
    maps -= maps.mean(0)
    return maps / np.linalg.norm(maps, axis=0)


def _waveforms(times: np.ndarray, level: str, n: int, generator: np.random.Generator) -> np.ndarray:
    """Wavelets (n_times, n) around the level's latency; zero before the picture."""
    latency = LATENCY_S[level] * (1 + 0.15 * generator.standard_normal(n))
    width = WIDTH_S[level] * np.exp(0.2 * generator.standard_normal(n))
    phase = generator.uniform(-np.pi, np.pi, n)
    lag = (times[:, None] - latency) / width
    waves = np.exp(-(lag**2) / 2) * np.cos(1.5 * lag + phase)
    return waves * (times[:, None] > 0)


def _noise_parts(where: np.ndarray, config: MeegConfig, level: float) -> tuple[NoisePart, ...]:
    volts = level * 1e-6
    times, n = config.times, len(where)
    eye = np.eye(n) - 1 / n  # average reference
    lags = np.abs(times[:, None] - times[None])
    long = pink_autocovariance(8 * len(times), 1.0)  # a stretch of a much longer pink series
    pink = long[np.abs(np.subtract.outer(np.arange(len(times)), np.arange(len(times))))]
    alpha = np.exp(-((lags / 0.25) ** 2) / 2) * np.cos(2 * np.pi * 10.0 * lags)
    back = [
        dipole_topography(where, 0.6 * HEAD_M * np.array(p), np.array(p))
        for p in ((0.4, -0.9, 0.3), (-0.4, -0.9, 0.3), (0, -0.7, 0.7))
    ]
    alpha_maps = np.stack([m / np.abs(m).max() for m in back], 1)
    blink_map = dipole_topography(where, HEAD_M * np.array(EYES), np.array([0.0, 0.3, 1.0]))
    onsets = np.linspace(times[0] - 2 * BLINK_S, times[-1] + 2 * BLINK_S, 400)
    blinks = np.exp(-(((times[:, None] - onsets) / BLINK_S) ** 2) / 2)  # anywhere in the trial
    muscle_maps = np.stack([np.exp(-(((where[:, 0] - s * HEAD_M) / 0.04) ** 2)) for s in (-1, 1)], 1)
    burst = np.exp(-(((times - times.mean()) / 0.25) ** 2) / 2)
    return (
        NoisePart("pink", volts * config.pink_uv * eye @ root(spatial_kernel(where, 0.05)), root(pink)),
        NoisePart("alpha", volts * config.alpha_uv * eye @ alpha_maps, root(alpha)),
        NoisePart("blink", volts * config.blink_uv * eye @ (blink_map / np.abs(blink_map).max())[:, None],
                  root(blinks @ blinks.T / len(onsets)), config.blink_rate),
        NoisePart("muscle", volts * config.muscle_uv * eye @ muscle_maps, np.diag(burst), config.muscle_rate),
        NoisePart("sensor", volts * config.sensor_uv * eye, np.eye(len(times))),
    )  # fmt: skip
