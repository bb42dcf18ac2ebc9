"""A miniature BIDS dataset of an oddball task: subjects, sessions and classes that differ in what was planted.

Every event evokes an N170 at the sides of the head; targets evoke a P300 in its middle, later in one subject than in
the other and weaker in the second session. Trials differ by noise, an alpha rhythm, when their P300 comes, and blinks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding, store
from braindec.data.bids_synthetic import write_brainvision

TASK, SFREQ = "oddball", 100.0
CHANNELS = ("Fz", "Cz", "Pz", "P7", "P8", "Oz")
P300, N170 = (
    (0.3, 0.7, 1.0, 0.4, 0.4, 0.3),
    (0.2, 0.3, 0.0, -1.0, -1.0, -0.5),
)  # how strong below each channel
ALPHA, BLINK = (0.1, 0.2, 0.6, 0.7, 0.7, 1.0), (1.0, 0.4, 0.1, 0.05, 0.05, 0.0)
PLACES = (
    (0, 2),
    (0, 1),
    (0, -1),
    (-1.5, -1.2),
    (1.5, -1.2),
    (0, -2.2),
)  # on the head, for noise that neighbours share
LATENCY_S = (0.32, 0.42)  # of the P300 of the first, second, third ... subject, in turn
N170_S, WIDTH_S, JITTER_S, N170_WIDTH_S, BLINK_S = 0.17, 0.055, 0.02, 0.02, 0.3
P300_V, N170_V, ALPHA_V, BLINK_V, NOISE_V = 8e-6, 6e-6, (1.5e-6, 4e-6), 2.5e-5, 2.5e-6
SECOND_SESSION = 0.6  # of the P300's height
STANDARD = 0.1
BLINKS = 0.1  # share of events near one
GAP_S = (0.9, 1.2)


def write(
    root: Path,
    *,
    seed: int = 0,
    n_subjects: int = 2,
    n_sessions: int = 2,
    n_runs: int = 3,
    n_events: int = 24,
    noise: float = 1.0,
) -> dict[str, Any]:
    """Writes every subject's runs of EEG, BrainVision files with events ``target`` and ``standard``, as many of each.

    Parameters
    ----------
    root : Path
    seed : int
    n_subjects, n_sessions, n_runs, n_events : int
        Runs of each session, and events of each run (even).
    noise : float
        Factor on noise, alpha rhythm, blinks and the jitter of latencies.

    Returns
    -------
    dict
        ``latency_s``: by subject when the P300 peaks; ``height_v``: by (subject, session, class) its height at Pz, V.
    """
    checks.one_of("n_events % 2", n_events % 2, (0,))
    root.mkdir(parents=True, exist_ok=True)
    store.write_json(root / "dataset_description.json", {"Name": "oddball", "BIDSVersion": "1.10.0"})
    latency = {s: LATENCY_S[(s - 1) % len(LATENCY_S)] for s in range(1, n_subjects + 1)}
    height = {
        (subject, session, kind): P300_V
        * (1.0 if session == 1 else SECOND_SESSION)
        * (1.0 if kind == "target" else STANDARD)
        for subject in latency
        for session in range(1, n_sessions + 1)
        for kind in ("target", "standard")
    }
    for subject in latency:
        for session in range(1, n_sessions + 1):
            for run in range(1, n_runs + 1):
                rng = seeding.numpy_generator(seed, "bids erp", subject, session, run)
                kinds = rng.permutation(np.repeat(["target", "standard"], n_events // 2))
                onsets = np.round(0.5 + np.cumsum(rng.uniform(*GAP_S, n_events)), 2)
                heights = np.array([height[subject, session, str(kind)] for kind in kinds])
                signal = _recording(rng, onsets, heights, latency[subject], ALPHA_V[(subject - 1) % 2], noise)
                _write_run(root, subject, session, run, signal, onsets, kinds)
    return {"latency_s": latency, "height_v": height}


def _recording(
    rng: np.random.Generator,
    onsets: np.ndarray,
    heights: np.ndarray,
    latency_s: float,
    alpha_v: float,
    noise: float,
) -> np.ndarray:
    """The signal of one run, V, (n_channels, n_times)."""
    n_times = int((onsets[-1] + 2.0) * SFREQ)
    times = np.arange(n_times) / SFREQ
    places = np.array(PLACES, dtype=float)
    shared = np.linalg.cholesky(np.exp(-np.linalg.norm(places[:, None] - places[None], axis=-1) / 2))
    frequency = np.fft.rfftfreq(n_times, 1 / SFREQ)
    pink = _shaped(rng, (len(CHANNELS), n_times), 1 / np.sqrt(np.maximum(frequency, 1.0)))
    rhythm = _shaped(rng, (1, n_times), np.exp(-(((frequency - 10.0) / 1.0) ** 2)))
    signal = noise * (NOISE_V * shared @ pink + alpha_v * np.outer(ALPHA, rhythm[0]))
    for onset, height in zip(onsets, heights, strict=True):
        late = latency_s + noise * JITTER_S * rng.standard_normal()
        signal += height * np.outer(P300, _bump(times - onset - late, WIDTH_S))
        signal += N170_V * np.outer(N170, _bump(times - onset - N170_S, N170_WIDTH_S))
        if rng.random() < BLINKS:
            signal += (
                noise * BLINK_V * np.outer(BLINK, _bump(times - onset - rng.uniform(0, 0.6), BLINK_S / 4))
            )
    return np.asarray(signal)


def _bump(times_s: np.ndarray, width_s: float) -> np.ndarray:
    return np.asarray(np.exp(-0.5 * (times_s / width_s) ** 2))


def _shaped(rng: np.random.Generator, shape: tuple[int, int], gain: np.ndarray) -> np.ndarray:
    """Noise with this spectrum, of standard deviation 1."""
    made = np.fft.irfft(np.fft.rfft(rng.standard_normal(shape)) * gain, shape[1])
    return np.asarray(made / made.std(1, keepdims=True))


def _write_run(
    root: Path,
    subject: int,
    session: int,
    run: int,
    signal: np.ndarray,
    onsets: np.ndarray,
    kinds: np.ndarray,
) -> None:
    place = root / f"sub-{subject:02d}" / f"ses-{session:02d}" / "eeg"
    name = f"sub-{subject:02d}_ses-{session:02d}_task-{TASK}_run-{run}"
    write_brainvision(place / f"{name}_eeg", signal, CHANNELS, SFREQ)
    lines = [f"{onset:g}\t0.1\t{kind}" for onset, kind in zip(onsets, kinds, strict=True)]
    text = "\n".join(["onset\tduration\ttrial_type", *lines]) + "\n"
    (place / f"{name}_events.tsv").write_text(text, encoding="utf-8")
