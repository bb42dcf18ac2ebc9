"""Simulated EEG and MEG: sources at three levels of vision with their own latencies, seen by sensors outside a sphere.

Forward model of one trial with picture x, features f(x), sensor c and time t:

    drive    d[j] = baseline + saturate(sum over k of w[j, k] f[k](x))   for source j of a level, w as in `brains`
    signal   s[c, t] = sum over j of topography[c, j] waveform[j, t] d[j]
    trial    y = seen * gain * s + noise, for EEG in the average reference

The same kinds of dipoles stand behind both; what magnetometers see of one is the field of a current dipole in a
conducting sphere, so that its radial part is silent. Noise is described in `meeg_noise`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from braindec import checks
from braindec.data.simulated.brains import prior_variance, saturate, saturation_moments, trial_variance
from braindec.data.simulated.features import FeatureMap
from braindec.data.simulated.meeg_config import MeegConfig
from braindec.data.simulated.meeg_noise import NoisePart, noise_parts
from braindec.data.simulated.noise import Redraw, draw_attention
from braindec.data.simulated.sensors import HEAD_M, Sensors
from braindec.types import SensorSpace

LATENCY_S = {"early": 0.10, "intermediate": 0.16, "high": 0.25}
WIDTH_S = {"early": 0.025, "intermediate": 0.040, "high": 0.070}
# Directions from the middle of the head (right, front, up): occipital; lateral occipital; temporal and parietal.
SOURCE_PLACES = {
    "early": ((0.15, -0.95, 0.15), (-0.15, -0.95, 0.15)),
    "intermediate": ((0.55, -0.8, 0.1), (-0.55, -0.8, 0.1)),
    "high": ((0.85, -0.4, -0.05), (-0.85, -0.4, -0.05), (0.0, -0.6, 0.75)),
}


@dataclass(frozen=True, eq=False)
class MeegBrain:
    """One subject's sources, sensors and noise.

    Parameters
    ----------
    sensors : Sensors
    weights : ndarray, shape (n_features, n_sources)
        Unit variance of the drive on the reference sample.
    level : ndarray of str, shape (n_sources,)
        early, intermediate or high.
    topography : ndarray, shape (n_sensors, n_sources)
        Volts in the average reference, or tesla.
    waveform : ndarray, shape (n_times, n_sources)
    parts : tuple of NoisePart
        In the same units and reference.
    session_scale : ndarray, shape (n_sessions,)
        Noise SD of a session over that of `parts`; squares average 1.
    config : MeegConfig
    """

    sensors: Sensors
    weights: np.ndarray
    level: np.ndarray
    topography: np.ndarray
    waveform: np.ndarray
    parts: tuple[NoisePart, ...]
    session_scale: np.ndarray
    config: MeegConfig

    @property
    def space(self) -> SensorSpace:
        """Where the sensors are."""
        return self.sensors.space

    @property
    def units(self) -> str:
        """``"V"`` or ``"T"``."""
        return "V" if self.sensors.modality == "eeg" else "T"

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
            Volts in the average reference, or tesla.
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
        kept = (
            self.sensors.kept
        )  # the average reference removes one dimension, in which noise has no variance
        mixing = _over_sensors(kept.T, self.mixing)
        noise = _over_sensors(kept.T, _over_sensors(kept.T, self.noise_covariance()).T)
        solved = cho_solve(cho_factor(noise), mixing)
        covariance = np.linalg.inv(mixing.T @ solved)
        return covariance @ _over_sensors(kept, solved).T, covariance


def _over_sensors(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The matrix times the sensors of x (n_sensors * n_times, n), at every time: what kron(matrix, 1) @ x gives."""
    return (matrix @ x.reshape(matrix.shape[1], -1)).reshape(-1, x.shape[1])


def _quadratic(mixing: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Diagonal of mixing @ matrix @ mixing'."""
    return np.einsum("ij,ij->i", mixing @ matrix, mixing)


def draw_meeg(
    sensors: Sensors,
    features: FeatureMap,
    reference: np.ndarray,
    *,
    n_sessions: int,
    noise_level: float,
    config: MeegConfig,
    generator: np.random.Generator,
) -> MeegBrain:
    """A random EEG or MEG subject.

    Parameters
    ----------
    sensors : Sensors
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
    size, unit = config.amplitudes(sensors.modality)
    n, levels = config.n_sources, tuple(LATENCY_S)
    weights = np.concatenate(
        [_weights(features, level, n, config.spectrum, generator) for level in levels], 1
    )
    weights /= (reference @ weights).std(0)
    topography = np.concatenate([_topographies(sensors, level, n, generator) for level in levels], 1)
    waveform = np.concatenate([_waveforms(config.times, level, n, generator) for level in levels], 1)
    topography *= size.signal * unit / np.sqrt(((topography**2) @ (waveform**2).T).mean())
    scale = np.exp(config.session_spread * generator.standard_normal(n_sessions))
    return MeegBrain(
        sensors=sensors,
        weights=weights,
        level=np.repeat(levels, n),
        topography=topography,
        waveform=waveform,
        parts=noise_parts(sensors, config, noise_level),
        session_scale=scale / np.sqrt((scale**2).mean()),
        config=config,
    )


def _weights(
    features: FeatureMap, level: str, n: int, spectrum: float, generator: np.random.Generator
) -> np.ndarray:
    variance = prior_variance(features.banks, features.ranks, level, spectrum)
    return np.sqrt(variance)[:, None] * generator.standard_normal((len(variance), n))


def _topographies(sensors: Sensors, level: str, n: int, generator: np.random.Generator) -> np.ndarray:
    """Patterns (n_sensors, n) of dipoles scattered around the level's places; those of EEG have unit norm."""
    places = np.asarray(SOURCE_PLACES[level])[generator.integers(len(SOURCE_PLACES[level]), size=n)]
    places = places + 0.15 * generator.standard_normal((n, 3))
    places = 0.75 * HEAD_M * places / np.linalg.norm(places, axis=1, keepdims=True)
    moments = generator.standard_normal((n, 3)) + 1.5 * places / np.linalg.norm(places, axis=1, keepdims=True)
    maps = np.stack([sensors.of_dipole(p, m) for p, m in zip(places, moments, strict=True)], 1)
    if sensors.modality == "meg":
        return maps  # a dipole that points outwards is weak
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
