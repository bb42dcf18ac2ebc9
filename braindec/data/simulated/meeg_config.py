"""How simulated EEG and MEG brains are drawn: sampling, tuning, sizes of signal and noise."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from braindec import checks

MICROVOLT, FEMTOTESLA = 1e-6, 1e-15


@dataclass(frozen=True)
class Amplitudes:
    """Sizes of signal and noise, in microvolts (EEG) or femtotesla (MEG).

    Parameters
    ----------
    signal : float
        SD over pictures of the response, averaged (as variance) over sensors and times, at noise level 1.
    pink, alpha, sensor : float
        SD of the background activity, alpha waves and sensor noise.
    blink, muscle, heart : float
        SD of a blink at the frontal sensors, of a muscle burst at the temporal ones, of a heartbeat where it is
        largest; 0 leaves it out.
    """

    signal: float = 0.15
    pink: float = 4.0
    alpha: float = 3.0
    sensor: float = 1.0
    blink: float = 80.0
    muscle: float = 6.0
    heart: float = 0.0


MEG_AMPLITUDES = Amplitudes(
    signal=8.0, pink=200.0, alpha=150.0, sensor=25.0, blink=1500.0, muscle=300.0, heart=600.0
)


@dataclass(frozen=True)
class MeegConfig:
    """How EEG and MEG brains are drawn.

    Parameters
    ----------
    sfreq, tmin, n_times
        Hz; seconds from picture to first sample; samples of a trial.
    n_sources : int
        Of each level.
    spectrum, saturation, baseline, gain_sd, lapse
        As in `brains.BrainConfig`.
    eeg, meg : Amplitudes
        Microvolts; femtotesla.
    blink_rate, muscle_rate, heart_rate : float
        Share of trials with a blink, with a muscle burst, with a heartbeat.
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
    eeg: Amplitudes = field(default_factory=Amplitudes)
    meg: Amplitudes = field(default_factory=lambda: MEG_AMPLITUDES)
    blink_rate: float = 0.06
    muscle_rate: float = 0.08
    heart_rate: float = 0.7
    session_spread: float = 0.1

    def __post_init__(self) -> None:
        checks.at_least("n_times", self.n_times, 2)
        checks.in_range("lapse", self.lapse, 0.0, 0.5)

    @property
    def times(self) -> np.ndarray:
        """Seconds from the picture, shape (n_times,)."""
        return self.tmin + np.arange(self.n_times) / self.sfreq

    def amplitudes(self, modality: str) -> tuple[Amplitudes, float]:
        """Sizes for ``"eeg"`` or ``"meg"``, and their unit in volts or tesla."""
        return (self.eeg, MICROVOLT) if modality == "eeg" else (self.meg, FEMTOTESLA)
