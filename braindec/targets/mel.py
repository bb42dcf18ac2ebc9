"""How loud a sound is in each band of the mel scale, over time: a target of speech that needs no network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from braindec import checks
from braindec.targets import AudioTarget, _layers, _sound


@dataclass(frozen=True)
class Config:
    """Settings of a logarithmic mel spectrogram.

    Parameters
    ----------
    n_bands : int
        Bands, equally wide on the mel scale, from 0 Hz to half of `sfreq`.
    rate : float
        Time steps per second, in Hz: the rate of the brain signal.
    n_times : int
        Time steps of one embedding: sounds must last `n_times` / `rate` seconds.
    window_s : float
        Of sound that goes into one step, around its middle; a step longer than it hears only a part of the sound.
    sfreq : float
        Hz that sounds are resampled to.
    floor : float
        Added to power before the logarithm: what is softer counts as silence.

    Notes
    -----
    Beside wav2vec 2.0 the features that Défossez et al. 2023 (doi:10.1038/s42256-023-00714-5) decode into, with 120
    bands, some of which no frequency of a window lies in; here that is refused. Windows of 512 samples at 16 kHz, and
    the floor, are theirs. The scale is 2595 log10(1 + f / 700 Hz).
    """

    n_bands: int = 40
    rate: float = 120.0
    n_times: int = 360
    window_s: float = 0.032
    sfreq: float = 16_000.0
    floor: float = 1e-5

    def __post_init__(self) -> None:
        checks.at_least("n_bands", self.n_bands, 1)
        checks.at_least("n_times", self.n_times, 1)
        for name in ("rate", "window_s", "sfreq", "floor"):
            if not getattr(self, name) > 0:
                raise checks.ConfigError(f"{name} must be above 0, got {getattr(self, name)}.")
        checks.at_least("samples of a window", round(self.window_s * self.sfreq), 8)


def build(config: Config) -> Mel:
    """The target of a config.

    Raises
    ------
    ConfigError
        If a band is narrower than the window resolves.
    """
    return Mel(config)


class Mel(AudioTarget):
    """Logarithms of power in bands, a token a time step."""

    name = "mel"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.shape = (config.n_times, config.n_bands)
        self.space = (
            f"mel/{config.n_bands}/{config.n_times}at{config.rate:g}Hz/{1000 * config.window_s:g}ms"
            f"of{config.sfreq:g}Hz/{config.floor:g}"
        )
        self._n_window = round(config.window_s * config.sfreq)
        self._bands = bands(self._n_window, config.sfreq, config.n_bands)

    def identity(self) -> dict[str, Any]:
        """All settings."""
        return {"target": self.name} | asdict(self.config)

    def embed_audio(
        self,
        sounds: Iterable[tuple[np.ndarray, float]],
        *,
        batch_size: int = 8,
        device: str = "cpu",
        progress: bool = False,
    ) -> np.ndarray:
        """float32 (n, n_times, n_bands); see `AudioTarget.embed_audio`. It runs where numpy does, whatever `device`.

        Raises
        ------
        ValueError
            If a sound does not last `n_times` / `rate` seconds, to one time step.
        """
        checks.at_least("batch_size", batch_size, 1)
        parts = [np.empty((0, *self.shape), np.float32)]
        for batch in _layers.batches(sounds, batch_size, f"embed {self.name}", progress):
            parts.append(np.stack([self._one(samples, sfreq) for samples, sfreq in batch]))
        return np.concatenate(parts)

    def _one(self, samples: np.ndarray, sfreq: float) -> np.ndarray:
        told = self.config
        _sound.check_length(samples, sfreq, told.n_times, told.rate)
        sound = _sound.resampled(samples, sfreq, told.sfreq).astype(np.float64)
        middle = (np.arange(told.n_times) + 0.5) / told.rate * told.sfreq
        half = self._n_window // 2
        first = np.round(middle).astype(int)  # of the padded sound: half a window of silence lies before it
        padded = np.pad(sound, (half, half + int(np.ceil(told.sfreq / told.rate))))
        pieces = padded[first[:, None] + np.arange(self._n_window)] * np.hanning(self._n_window)
        power = np.abs(np.fft.rfft(pieces, axis=1)) ** 2
        return np.asarray(np.log(told.floor + power @ self._bands), dtype=np.float32)


def bands(n_window: int, sfreq: float, n_bands: int) -> np.ndarray:
    """Weights of frequencies in triangles that are equally wide on the mel scale, (n_window // 2 + 1, n_bands).

    Parameters
    ----------
    n_window : int
        Samples of a window.
    sfreq : float
        Hz.
    n_bands : int

    Raises
    ------
    ConfigError
        If no frequency of the window lies in a band.
    """
    hz = np.arange(n_window // 2 + 1) * sfreq / n_window
    edges = 700 * (10 ** (np.linspace(0, np.log10(1 + sfreq / 1400), n_bands + 2)) - 1)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hz[:, None] - low) / (peak - low), (high - hz[:, None]) / (high - peak)
    weights = np.clip(np.minimum(rising, falling), 0, None)
    if not weights.any(0).all():
        raise checks.ConfigError(
            f"{n_bands} bands are too narrow for windows of {n_window} samples at {sfreq:g} Hz; take fewer bands or a "
            "longer window."
        )
    return np.asarray(weights)
