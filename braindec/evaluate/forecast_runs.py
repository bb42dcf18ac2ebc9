"""Runs of EEG to be foretold: planted or one's own, filtered by what looks back alone, and parted with a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset, continuous
from braindec.data.causal import CausalFilter
from braindec.data.simulated.oscillators import Oscillators, oscillators
from braindec.types import Recording, SensorSpace, Table

if TYPE_CHECKING:
    from braindec.evaluate.forecasts import Settings

NO_DATA = "none"  # as recipes say it


@dataclass(frozen=True)
class Planted:
    """A generated recording (`data.simulated.oscillators`).

    Parameters
    ----------
    n_runs, n_channels : int
    run_s : float
        Length of a run, seconds.
    sfreq : float
        Hz.
    sensor_noise : float
        SD, beside rhythms of about 1.
    """

    n_runs: int = 12
    n_channels: int = 6
    run_s: float = 40.0
    sfreq: float = 100.0
    sensor_noise: float = 0.2


@dataclass(frozen=True, eq=False)
class Parts:
    """Runs (n_channels, n_times) to learn from and to be tested by, and how they came about.

    Parameters
    ----------
    train, test : list of Tensor
    names : list of str
        Of the test runs.
    sfreq : float
        Hz.
    channels : tuple of str
    unit : str
        Of the values.
    subject : int
    modality : str
    apart : str
        What lies between both parts, in words.
    """

    train: list[Tensor]
    test: list[Tensor]
    names: list[str]
    sfreq: float
    channels: tuple[str, ...]
    unit: str
    subject: int
    modality: str
    apart: str


def runs_of(
    data: Any, folder: str | Path, planted: Planted, seed: int = 0
) -> tuple[list[Recording], Oscillators | None]:
    """A recipe's whole runs, or planted ones and what made them where it reads no dataset.

    Parameters
    ----------
    data : recipe.NeuralData
    folder : path
        Of the prepared dataset, whole runs cut into stretches (`data.continuous`).
    planted : Planted
    seed : int

    Raises
    ------
    ValueError
        If there are several subjects.
    """
    if data.dataset != NO_DATA:
        dataset: NeuralDataset = data.read(folder)
        if len(dataset.trials) != 1:
            raise ValueError(
                f"one subject and modality is foretold at a time, got {sorted(dataset.trials)}; name one with "
                "--set data.subjects=[1] (and data.modalities)."
            )
        return continuous.runs(next(iter(dataset.trials.values()))), None
    draw = seeding.numpy_generator(seed, "planted oscillators")
    process = oscillators(planted.n_channels, planted.sfreq, draw, sensor_noise=planted.sensor_noise)
    names = tuple(f"E{i + 1}" for i in range(planted.n_channels))
    space = SensorSpace(names, np.full((len(names), 3), np.nan), ("eeg",) * len(names))
    nothing = Table({"onset_s": np.zeros(0), "duration_s": np.zeros(0), "trial_type": np.zeros(0, str)})
    n = round(planted.run_s * planted.sfreq)
    return [
        Recording(process.draw(n, draw), planted.sfreq, "a.u.", nothing, space, 1, "1", str(i + 1), "eeg")
        for i in range(planted.n_runs)
    ], process


def parted(recordings: Sequence[Recording], settings: Settings) -> Parts:
    """The last runs are tested; of a single run its last part, some seconds apart, in stretches.

    Every run is filtered from its first sample on by a filter that looks back alone: one that looks both ways would
    put the future into the past that is looked at. What comes before `settings.settle_s` is left out.

    Raises
    ------
    LeakageError
        If a stretch of a second occurs in both parts.
    ValueError
        If runs differ in subject, channels or sfreq, or are too short.
    """
    checks.at_least("number of runs", len(recordings), 1)
    first = recordings[0]
    for one in recordings:
        if (one.subject, one.sfreq, one.signal.shape[0]) != (
            first.subject,
            first.sfreq,
            first.signal.shape[0],
        ):
            raise ValueError(
                f"run {one.run!r} has another subject, sfreq or other channels than run {first.run!r}."
            )
    scale = 1e6 if first.units == "V" else 1.0
    runs = [scale * _filtered(one, settings) for one in recordings]
    sfreq = first.sfreq / _every(first.sfreq, settings)
    names = [f"session {one.session} run {one.run}" for one in recordings]
    if len(runs) > 2:
        n = max(2, round(settings.share * len(runs)))
        train, test, told, apart = runs[:-n], runs[-n:], names[-n:], "other runs"
    else:
        train, test, told = [], [], []
        for run, name in zip(runs, names, strict=True):
            begin = round((1 - settings.share) * run.shape[1])
            train.append(run[:, : begin - round(settings.gap_s * sfreq)])
            test += list(run[:, begin:].tensor_split(settings.n_stretches, 1))
            told += [f"{name}, stretch {i + 1}" for i in range(settings.n_stretches)]
        apart = f"{settings.gap_s:g} s of each run"
    _refuse_copies(train, test, sfreq)
    channels = tuple(getattr(first.space, "names", ())) or tuple(f"{i + 1}" for i in range(len(runs[0])))
    unit = "µV" if first.units == "V" else first.units
    return Parts(train, test, told, sfreq, channels, unit, first.subject, first.modality, apart)


def _every(sfreq: float, settings: Settings) -> int:
    """Of so many samples one is kept."""
    return (
        1 if settings.band_hz is None else max(1, int(sfreq // (settings.oversampling * settings.band_hz[1])))
    )


def _filtered(recording: Recording, settings: Settings) -> Tensor:
    low, high = settings.band_hz or (None, None)
    made = CausalFilter(recording.sfreq, low, high)(np.asarray(recording.signal))
    settled = made[:, round(settings.settle_s * recording.sfreq) :: _every(recording.sfreq, settings)]
    return torch.from_numpy(np.ascontiguousarray(settled)).float()


def _refuse_copies(train: Sequence[Tensor], test: Sequence[Tensor], sfreq: float) -> None:
    """No second of a test run is a training run's, too."""
    n = max(2, round(sfreq))
    seen = {hash(part.numpy().tobytes()) for run in train for part in run[0].unfold(0, n, 1)}
    for run in test:
        if any(hash(part.numpy().tobytes()) in seen for part in run[0].split(n) if len(part) == n):
            raise checks.LeakageError(
                "a second of a test run is in a training run, too; leave one of both out."
            )
