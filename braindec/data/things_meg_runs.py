"""THINGS-MEG's continuous runs (CTF, or the same as FIF) to Trials at the onsets of the trigger channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from braindec import checks
from braindec.data import bids, things
from braindec.data.ctf import CtfFile, channel, open_ctf
from braindec.data.damage import finite
from braindec.data.tables import complete_table
from braindec.data.things_meg import PICTURE_ON, STIM, read_attributes, stim_onsets, trial_columns
from braindec.types import SensorSpace, Table, Trials

WINDOW_S = (-0.1, 1.3)
BROKEN = ("MRO11",)  # left out by the authors too
FILTER_CYCLES = 3.3  # length of mne's filter in cycles of the high-pass
AT_ONCE = 32  # sensors that are filtered at once


@dataclass(frozen=True)
class RunSettings:
    """How continuous runs become epochs; by default as the authors' epochs were made.

    Parameters
    ----------
    high_pass_hz : float or None
        At most 0.1: above it a zero-phase filter shows a response before its cause.
    low_pass_hz : float
    decimate : int
        Keeps every n-th sample of 1,200 Hz.
    delay_s : float
        Seconds from the trigger to the picture on the screen, as a photodiode says.
    """

    high_pass_hz: float | None = 0.1
    low_pass_hz: float = 40.0
    decimate: int = 6
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        checks.in_range("high_pass_hz", self.high_pass_hz or 0.0, 0.0, 0.1, unit="Hz")
        checks.at_least("decimate", self.decimate, 1)
        checks.in_range("delay_s", self.delay_s, 0.0, 0.5, unit="s")


@dataclass(frozen=True)
class Choice(things.Choice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    images : bool
        False leaves the pictures out: concepts and names alone.
    recordings : str
        ``"epochs"``: the authors' epochs. ``"runs"``: continuous runs, cut at the onsets of the trigger channel.
    runs : RunSettings
        How runs are filtered and cut.
    """

    recordings: Literal["epochs", "runs"] = "epochs"
    runs: RunSettings = field(default_factory=RunSettings)


@dataclass(frozen=True, eq=False)
class Run:
    """One run: its recording, and the samples at which the pictures that are trials came on."""

    header: CtfFile
    sensors: np.ndarray
    onsets: np.ndarray


class RunEpochs:
    """Epochs of several runs by row, float32 (n_epochs, n_sensors, n_times), in units of their baselines' SD.

    A run is read, filtered and cut when one of its rows is asked for; the last one stays in memory.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, runs: Sequence[Run], settings: RunSettings):
        self._runs, self._settings = tuple(runs), settings
        self._first = np.cumsum([0, *(len(run.onsets) for run in runs)])
        window = _window(runs[0].header.sfreq, settings)
        self.shape = (int(self._first[-1]), len(runs[0].sensors), len(window))
        self._held: tuple[int, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": None}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask, position or positions."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        wanted = np.arange(len(self))[rows]
        number = np.searchsorted(self._first, wanted, side="right") - 1
        out = np.empty((len(wanted), *self.shape[1:]), np.float32)
        for n in np.unique(number).tolist():
            out[number == n] = self._run(n)[wanted[number == n] - self._first[n]]
        return out

    def _run(self, n: int) -> np.ndarray:
        if self._held is None or self._held[0] != n:
            self._held = (n, _epochs(self._runs[n], self._settings))
        return self._held[1]


def run_files(raw: Path, subject: int) -> dict[tuple[int, int], Path]:
    """The runs of a subject by session and run: ``sub-BIGMEG1/ses-01/meg/*_run-01_meg.ds`` (or ``.fif``).

    Raises
    ------
    DataFileError
        If a name has no session or run, or two have the same.
    """
    found: dict[tuple[int, int], Path] = {}
    for path in sorted(raw.glob(f"sub-BIGMEG{subject}/ses-*/meg/*_meg.*")):
        file = bids.parsed(path)
        if file is None or file.extension not in (".ds", ".fif") or file.entities.get("task") == "rest":
            continue
        named = (file.entities.get("ses", ""), file.entities.get("run", ""))
        if not all(n.isdecimal() for n in named) or (int(named[0]), int(named[1])) in found:
            raise checks.DataFileError(
                path, "names no session and run of its own", "Keep the names as they come."
            )
        found[int(named[0]), int(named[1])] = path
    return found


def raw_files(path: Path) -> list[Path]:
    """The files of a run: those in a folder ``.ds``, or one."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def read_things_meg_runs(
    files: Mapping[tuple[int, int], Path],
    attributes: str | Path,
    *,
    subject: int,
    settings: RunSettings | None = None,
) -> Trials:
    """A subject's trials from continuous runs, without the catch trials; runs are read when rows are asked for.

    Parameters
    ----------
    files : mapping of (session, run) to path
    attributes : path
        ``sample_attributes_P<n>.csv``: what was shown, in the order of the triggers of each run.
    subject : int
    settings : RunSettings, optional

    Returns
    -------
    Trials
        As `things_meg.read_things_meg`, but `onset_s` is that of the trigger (and `delay_s`) in its run.

    Raises
    ------
    DataFileError
        If a run has another number of triggers than the table has rows, other sensors than the first, or does not hold
        the window of a picture.
    """
    settings = settings or RunSettings()
    table = read_attributes(attributes)
    runs: list[Run] = []
    rows: list[np.ndarray] = []
    for (session, number), path in sorted(files.items()):
        own = np.flatnonzero((table["session_nr"] == session) & (table["run_nr"] == number))
        run = _open(path, own, table, settings)
        if runs and run.header.space.names != runs[0].header.space.names:
            raise checks.DataFileError(
                path, f"has other sensors than {runs[0].header.path.name}", "Leave it out."
            )
        runs.append(run)
        rows.append(own[table["trial_type"][own] != "catch"])
    if not runs:
        raise FileNotFoundError(f"no run of subject {subject}. Get sub-BIGMEG{subject}/ses-*/meg/*.ds.")
    chosen = np.concatenate(rows)
    onset = np.concatenate([run.onsets / run.header.sfreq for run in runs])
    columns = trial_columns(table.take(chosen)) | {"onset_s": onset, "acquisition_order": chosen}
    first, kept = runs[0].header, runs[0].sensors
    space = SensorSpace(
        tuple(first.space.names[i] for i in kept),
        first.space.positions[kept],
        tuple(first.space.kinds[i] for i in kept),
    )
    return Trials(
        RunEpochs(runs, settings), complete_table(columns, "1"), space, "baseline SD", subject, "meg",
        first.sfreq / settings.decimate, WINDOW_S[0],
    )  # fmt: skip


def _open(path: Path, own: np.ndarray, table: Table, settings: RunSettings) -> Run:
    """A run whose triggers are as many as the table's rows."""
    header = open_ctf(path)
    onsets = stim_onsets(channel(path, STIM))
    if len(onsets) != len(own):
        found = (
            f"has {len(onsets)} triggers {PICTURE_ON} on {STIM}, the table {len(own)} pictures of this run"
        )
        raise checks.DataFileError(path, found, "Check that recording and table are of one subject and run.")
    onsets = (onsets + round(settings.delay_s * header.sfreq))[table["trial_type"][own] != "catch"]
    window = _window(header.sfreq, settings)
    if header.n_times < FILTER_CYCLES * header.sfreq / (settings.high_pass_hz or np.inf):
        raise checks.DataFileError(
            path, f"lasts {header.n_times / header.sfreq:.1f} s, less than the filter", "Get the run again."
        )
    if len(onsets) and (onsets[0] + window[0] < 0 or onsets[-1] + window[-1] >= header.n_times):
        raise checks.DataFileError(
            path, "begins or ends within the window of a picture", "Get the run again."
        )
    sensors = np.array([i for i, name in enumerate(header.space.names) if name not in BROKEN])
    return Run(header, sensors, onsets)


def _window(sfreq: float, settings: RunSettings) -> np.ndarray:
    """Samples of an epoch, from its picture."""
    start, stop = (round(s * sfreq) for s in WINDOW_S)
    return np.arange(start, stop + 1, settings.decimate)


def _epochs(run: Run, settings: RunSettings) -> np.ndarray:
    """float32 (n_epochs, n_sensors, n_times), each sensor of each epoch in units of its baseline."""
    import mne

    window = _window(run.header.sfreq, settings)
    before = np.arange(round(WINDOW_S[0] * run.header.sfreq), 1)
    out = np.empty((len(run.onsets), len(run.sensors), len(window)), np.float32)
    for start in range(0, len(run.sensors), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        values = finite(run.header.path, run.header.load(run.sensors[some]))
        signal = mne.filter.filter_data(
            values, run.header.sfreq, settings.high_pass_hz, settings.low_pass_hz, copy=False, verbose="error"
        )
        baseline = signal[:, run.onsets[:, None] + before]  # (sensor, epoch, time)
        mean, sd = baseline.mean(2, keepdims=True), baseline.std(2, keepdims=True)
        flat = int((sd == 0).any((1, 2)).sum())
        if flat:
            raise checks.DataFileError(
                run.header.path, f"has {flat} sensors without a signal", "Get the run again."
            )
        out[:, some] = np.moveaxis((signal[:, run.onsets[:, None] + window] - mean) / sd, 0, 1)
    return out
