"""Faces and houses in four-channel EEG: CSV recordings to epochs, every trial kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset, Split, meeg, splits
from braindec.data.catalogue import Counts, Truth
from braindec.data.preparation import Content, Preparation
from braindec.types import Recording, Table

HERE = Path(__file__).resolve().parent
FILES = "data_2017-09-13-*.csv"  # their names sort in the order of acquisition
CHANNELS = ("TP9", "AF7", "AF8", "TP10")
CODES = {1: "house", 2: "face"}  # the recording script's codes
SFREQ = 256.0
TMIN, TMAX = -0.1, 0.5  # s; the first marker of run 2 comes 0.109 s after the recording's start
L_FREQ, H_FREQ = 1.0, 30.0  # Hz


def synthetic(raw: str | Path, *, seed: int = 0, noise: float = 1.0) -> Truth:
    """Six CSV files of 40 markers each: an N170-like difference between the classes, noise and blinks.

    Parameters
    ----------
    noise : float
        Factor on noise and blinks; 0 leaves the planted responses alone.

    Returns
    -------
    Truth
        Responses: the planted signal in V, without noise and before the filter, cut like the epochs.
    """
    raw = Path(raw)
    raw.mkdir(parents=True, exist_ok=True)
    rng = seeding.numpy_generator(seed, "faces_houses_eeg", "synthetic")
    names = ("15.30.01", "15.32.50", "15.35.26", "15.40.17", "15.42.33", "15.45.08")
    responses, kinds, runs = [], [], []
    for run, name in enumerate(names, start=1):
        onsets = 64 + np.cumsum(rng.integers(128, 184, 40))  # samples; 0.50-0.72 s apart
        codes = rng.permutation(np.repeat([1, 2], 20))
        signal = _planted(onsets, codes, int(onsets[-1]) + 512)
        recorded = signal + noise * _disturbance(rng, signal.shape)
        _write_csv(raw / f"data_2017-09-13-{name}.csv", recorded, onsets, codes)
        start, stop = round(TMIN * SFREQ), round(TMAX * SFREQ) + 1
        responses.append(np.stack([signal[:, s + start : s + stop] for s in onsets]) * 1e-6)
        kinds += [CODES[c] for c in codes.tolist()]
        runs += [str(run)] * len(codes)
    table = Table({"trial_type": np.array(kinds), "run": np.array(runs)})
    return Truth({"sub-01_eeg": np.concatenate(responses)}, {"sub-01_eeg": table}, {"noise": noise})


def _count(raw: Path, subjects: tuple[int, ...]) -> Counts:
    n = sum(_read_run(path, 1).events.n_rows for path in raw.glob(FILES))
    return Counts({"sub-01_eeg": n}, n)


def _read(raw: Path, subjects: tuple[int, ...]) -> Content:
    """Filtered epochs of every marker of every run."""
    paths = sorted(raw.glob(FILES))
    recordings = [_read_run(path, i + 1) for i, path in enumerate(paths)]
    trials = meeg.cut_epochs([meeg.filtered(r, L_FREQ, H_FREQ) for r in recordings], TMIN, TMAX)
    ids = tuple(trials.table["stimulus_id"].tolist())
    return Content((trials,), ids, Table({"category": trials.table["trial_type"]}), tuple(paths))


def _read_run(path: Path, run: int) -> Recording:
    recording = meeg.read_csv(
        path, channels=CHANNELS, marker="Marker0", codes=CODES, sfreq=SFREQ, subject=1, run=str(run)
    )
    ids = np.array([f"run-{run}_picture-{i:03d}" for i in range(recording.events.n_rows)])
    return replace(recording, events=recording.events.replace(stimulus_id=ids))


def _splits(dataset: NeuralDataset) -> list[Split]:
    runs = dataset.unit_values("run")
    first = Split("default", "run", {"train": runs[:-1], "test": runs[-1:]})
    return [first, *splits.leave_one_out(dataset, "run")]


def _planted(onsets: np.ndarray, codes: np.ndarray, n_times: int) -> np.ndarray:
    """Microvolts (4, n_times): every picture evokes a wave; faces evoke a larger one behind the ears at 0.17-0.25 s."""
    time = np.arange(0, 0.5, 1 / SFREQ)
    common = 3.0 * np.sin(2 * np.pi * 8 * time) * np.exp(-(((time - 0.15) / 0.06) ** 2))
    face = -6.0 * np.exp(-(((time - 0.21) / 0.03) ** 2)) + 6.0 * np.exp(-(((time - 0.30) / 0.03) ** 2))
    gain = {"TP9": 1.0, "AF7": -0.4, "AF8": -0.4, "TP10": 1.0}
    signal = np.zeros((len(CHANNELS), n_times))
    for onset, code in zip(onsets, codes, strict=True):
        wave = common + (face if CODES[int(code)] == "face" else 0.0)
        signal[:, onset : onset + len(time)] += np.array([gain[c] for c in CHANNELS])[:, None] * wave
    return signal


def _disturbance(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Microvolts: a slow wander, white noise of 4 uV, and blinks of 150 uV at the front every few seconds."""
    wander = 0.5 * np.cumsum(rng.standard_normal(shape), axis=1)
    out = wander - wander.mean(1, keepdims=True) + 4.0 * rng.standard_normal(shape)
    bump = 150.0 * np.hanning(96)
    for start in np.arange(200, shape[1] - 200, 1100) + rng.integers(0, 100):
        out[1:3, start : start + len(bump)] += bump
    return out


def _write_csv(path: Path, signal: np.ndarray, onsets: np.ndarray, codes: np.ndarray) -> None:
    markers = np.zeros(signal.shape[1], dtype=int)
    markers[onsets] = codes
    stamps = 149958.124 + np.arange(signal.shape[1]) / SFREQ
    rows = [
        f"{stamp:.3f},{','.join(f'{v:.3f}' for v in sample)},0.000,{marker}"
        for stamp, sample, marker in zip(stamps, signal.T, markers, strict=True)
    ]
    path.write_text("\n".join([f"timestamps,{','.join(CHANNELS)},Right AUX,Marker0", *rows]) + "\n")


FACES_HOUSES = Preparation(
    folder=HERE,
    expected=FILES,
    nested="eeg_faces_houses",
    licence="BSD-3-Clause",
    source="alexandrebarachant/muse-lsl, data/visual/N170/subject1/session1",
    read=_read,
    splits=_splits,
    count=_count,
    notes={
        "label": "category",
        "filter": f"zero-phase FIR {L_FREQ:g}-{H_FREQ:g} Hz over each run (mne, firwin, Hamming)",
        "transductive": "no: filters act within a run and limits are learnt later, on training runs",
        "fraction_kept": 1.0,
        "epochs": {"whitened_on": "none", "ica_fitted_on": "none", "z_scored_on": "none"},
        "features": {"selected_on": "none", "aligned_on": "none"},  # all four electrodes
    },
)
fetch, prepare = FACES_HOUSES.fetch, FACES_HOUSES.prepare
