"""A miniature BIDS dataset of imagined movements: rhythms that nearly cease, and one that becomes faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from braindec import seeding, store
from braindec.data.bids_synthetic import write_brainvision

TASK, SFREQ = "imagery", 100.0
CHANNELS = ("C3", "Cz", "C4", "CP3", "CPz", "CP4")
WEAKER = {"left_hand": "C4", "right_hand": "C3"}  # below which channel the rhythm nearly ceases
FASTER = {"feet": "Cz"}  # and below which it stays as strong: covariances of channels alone tell nothing
SLOW_HZ, FAST_HZ = 10.0, 18.0
EVENT_S, GAP_S = 4.0, (3.0, 5.0)
RHYTHM, NOISE = 6e-6, 8e-6  # V
LEFT = 0.3  # of a rhythm, while a movement is imagined


def write(
    root: Path, *, seed: int = 0, n_runs: int = 3, n_events: int = 9, noise: float = 1.0
) -> dict[str, np.ndarray]:
    """Writes one subject's runs of EEG, with events of 4 s and uneven gaps between them.

    Parameters
    ----------
    root : Path
    seed : int
    n_runs, n_events : int
        Runs, and events of each: as many of one movement as of another.
    noise : float
        Factor on the noise, whose spectrum is near 1/f.

    Returns
    -------
    dict of str to float array
        By run the signal as written, V, (n_channels, n_times).
    """
    root.mkdir(parents=True, exist_ok=True)
    store.write_json(root / "dataset_description.json", {"Name": "imagery", "BIDSVersion": "1.10.0"})
    folder, written = root / "sub-01" / "eeg", {}
    places = np.array([(i // 3, i % 3) for i in range(len(CHANNELS))], dtype=float)
    reach = np.exp(-((places[:, None] - places[None]) ** 2).sum(-1) / 0.5)  # of a source below each channel
    for run in range(1, n_runs + 1):
        rng = seeding.numpy_generator(seed, "bids imagery", run)
        kinds = rng.permutation(np.resize(sorted(WEAKER | FASTER), n_events))
        onsets = np.round(np.cumsum(EVENT_S + rng.uniform(*GAP_S, n_events)) - EVENT_S, 2)
        n_times = int((onsets[-1] + EVENT_S + GAP_S[1]) * SFREQ)
        sources = np.stack([_rhythm(rng, n_times, SLOW_HZ) for _ in CHANNELS])
        for onset, kind in zip(onsets, kinds, strict=True):
            during = slice(int(onset * SFREQ), int((onset + EVENT_S) * SFREQ))
            below = CHANNELS.index((WEAKER | FASTER)[kind])
            faster = _rhythm(rng, n_times, FAST_HZ)[during]
            sources[below, during] = faster if kind in FASTER else LEFT * sources[below, during]
        signal = RHYTHM * reach @ sources + noise * NOISE * _pink(rng, n_times)
        stem = folder / f"sub-01_task-{TASK}_run-{run}"
        write_brainvision(stem.with_name(f"{stem.name}_eeg"), signal, CHANNELS, SFREQ)
        lines = [f"{onset:g}\t{EVENT_S:g}\t{kind}" for onset, kind in zip(onsets, kinds, strict=True)]
        text = "\n".join(["onset\tduration\ttrial_type", *lines]) + "\n"
        stem.with_name(f"{stem.name}_events.tsv").write_text(text, encoding="utf-8")
        written[str(run)] = signal
    return written


def _rhythm(rng: np.random.Generator, n_times: int, hz: float) -> np.ndarray:
    """A rhythm that waxes and wanes, of standard deviation 1."""
    return _shaped(rng, n_times, lambda f: np.exp(-((f - hz) ** 2)))


def _pink(rng: np.random.Generator, n_times: int) -> np.ndarray:
    """Noise of all channels, (n_channels, n_times), of standard deviation 1."""
    return np.stack([_shaped(rng, n_times, lambda f: 1 / np.sqrt(np.maximum(f, 0.5))) for _ in CHANNELS])


def _shaped(rng: np.random.Generator, n_times: int, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(n_times)) * gain(np.fft.rfftfreq(n_times, 1 / SFREQ))
    made = np.fft.irfft(spectrum, n_times)
    return np.asarray(made / made.std())
