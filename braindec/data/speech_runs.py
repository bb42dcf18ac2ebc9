"""Recordings of people who listened: read run by run, resampled whole, and cut into windows as rows are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from braindec import checks
from braindec.data.joined import JoinedRows
from braindec.data.speech import Segments, Windows, segment_id
from braindec.data.tables import complete_table
from braindec.types import SensorSpace, Table, Trials

POLICIES = ("refuse", "drop")
GROUP_BYTES = 256 << 20  # of one group of channels in double precision, read at a time
OWN = ("onset_s", "wav", "wav_onset_s", "duration_s")


@dataclass(frozen=True, eq=False)
class Run:
    """One recording before its samples are read.

    Parameters
    ----------
    path : Path
        The recording, which errors name.
    files : tuple of Path
        All raw files that it is made from.
    session, run : str
    sfreq : float
        Hz.
    n_times : int
    space : SensorSpace
    words : Table
        onset_s (in the recording), wav (sound file), wav_onset_s (in it), word, duration_s, and any further columns.
    load : callable (positions of channels) -> array (n, n_times)
        In the units of the trials; called for a group of channels at a time.
    """

    path: Path
    files: tuple[Path, ...]
    session: str
    run: str
    sfreq: float
    n_times: int
    space: SensorSpace
    words: Table
    load: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Cut:
    """Which windows of one run are trials.

    Parameters
    ----------
    ids : text array, shape (n_trials,)
    table : Table
        The words that the windows are anchored at.
    n_outside : int
        Windows left out as they reach beyond the recording.
    """

    ids: np.ndarray
    table: Table
    n_outside: int


def cut(run: Run, segments: Segments, windows: Windows) -> Cut:
    """The segments that were heard in this run, in order of time."""
    words = run.words
    ids = np.array(
        [segment_id(w, t) for w, t in zip(words["wav"].tolist(), words["wav_onset_s"].tolist(), strict=True)],
        dtype=str,
    )
    known = np.flatnonzero(np.isin(ids, np.array(segments.ids, dtype=str)))
    _, first = np.unique(ids[known], return_index=True)
    rows = known[first]
    rows = rows[np.argsort(words["onset_s"][rows], kind="stable")]
    start = words["onset_s"][rows] + windows.tmin
    sfreq = windows.sfreq or run.sfreq
    slack = 0.5 / sfreq  # positions are rounded to a sample
    fits = (start >= -slack) & (start + windows.length_s <= run.n_times / run.sfreq + slack)
    return Cut(ids[rows[fits]], words.take(rows[fits]), int((~fits).sum()))


def trials(
    runs: Sequence[Run],
    segments: Segments,
    windows: Windows,
    *,
    subject: int,
    modality: str,
    units: str,
    bad_channels: str = "refuse",
) -> Trials:
    """All segments that one subject heard; samples are read when rows are, one run at a time.

    Parameters
    ----------
    runs : sequence of Run
        In order of acquisition, of equal channels and rate.
    segments : Segments
    windows : Windows
    subject : int
    modality, units : str
    bad_channels : str
        ``"drop"`` reads every run beforehand and leaves out channels that hold NaN or never vary in any of them.

    Raises
    ------
    DataFileError
        If runs have other channels or rates, no segment lies in one, or (reading rows) samples are bad.
    """
    checks.one_of("bad_channels", bad_channels, POLICIES)
    first = runs[0]
    for run in runs:
        if run.space.names != first.space.names or run.sfreq != first.sfreq:
            found = (
                f"has {len(run.space.names)} channels at {run.sfreq:g} Hz, {first.path.name} has "
                f"{len(first.space.names)} at {first.sfreq:g} Hz; they must be the same"
            )
            raise checks.DataFileError(run.path, found, "Get both files again, or prepare them separately.")
    if bad_channels == "drop":
        runs = _without_bad(runs)
    held = _Held(windows)
    cuts = [cut(run, segments, windows) for run in runs]
    for run, c in zip(runs, cuts, strict=True):
        if not len(c.ids):
            found = f"holds no whole segment of {windows.length_s:g} s in its {run.n_times / run.sfreq:.1f} s"
            raise checks.DataFileError(
                run.path, found, "Check that the recording and its words belong together."
            )
    rows = JoinedRows([_Rows(run, c.table["onset_s"], held) for run, c in zip(runs, cuts, strict=True)])
    table = _table(runs, cuts)
    sfreq = windows.sfreq or first.sfreq
    tmin = round(windows.tmin * sfreq) / sfreq
    return Trials(rows, table, runs[0].space, units, subject, modality, sfreq, tmin)


def _table(runs: Sequence[Run], cuts: Sequence[Cut]) -> Table:
    names = [n for n in cuts[0].table if n not in OWN]
    columns = {n: np.concatenate([c.table[n] for c in cuts]) for n in ("onset_s", *names)}
    columns["word_duration_s"] = np.concatenate([c.table["duration_s"] for c in cuts])
    columns["stimulus_id"] = np.concatenate([c.ids for c in cuts])
    sizes = [len(c.ids) for c in cuts]
    columns["session"] = np.repeat([run.session for run in runs], sizes)
    columns["run"] = np.repeat([run.run for run in runs], sizes)
    return complete_table(columns, runs[0].session)


def bad_channels_of(run: Run) -> dict[str, str]:
    """What is wrong with which channel: ``"NaN"`` or ``"never varies"``, by name."""
    found = {}
    for group, x in _groups(run):
        for i, values in zip(group.tolist(), x, strict=True):
            if not np.isfinite(values).all():
                found[run.space.names[i]] = "NaN"
            elif np.ptp(values) == 0:
                found[run.space.names[i]] = "never varies"
    return found


def _without_bad(runs: Sequence[Run]) -> list[Run]:
    bad = {name for run in runs for name in bad_channels_of(run)}
    kept = np.array([name not in bad for name in runs[0].space.names])
    if not kept.any():
        raise checks.DataFileError(runs[0].path, "has no usable channel", "Get the file again.")
    return [_restricted(run, np.flatnonzero(kept)) for run in runs] if bad else list(runs)


def _restricted(run: Run, kept: np.ndarray) -> Run:
    space = SensorSpace(
        tuple(run.space.names[i] for i in kept.tolist()), run.space.positions[kept],
        tuple(run.space.kinds[i] for i in kept.tolist()),
    )  # fmt: skip
    load = run.load
    return replace(run, space=space, load=lambda positions: load(kept[positions]))


class _Held:
    """The resampled signal of the run that was read last."""

    def __init__(self, windows: Windows):
        self.windows = windows
        self._run: Run | None = None
        self._signal = np.empty((0, 0), dtype=np.float32)

    def of(self, run: Run) -> np.ndarray:
        """float32 (n_channels, n_times) of this run."""
        if self._run is not run:
            self._signal = np.empty((0, 0), dtype=np.float32)  # let go before the next is read
            self._signal, self._run = signal(run, self.windows.sfreq), run
        return self._signal


class _Rows:
    """The windows of one run by row, float32 (n_trials, n_channels, n_times)."""

    dtype = np.dtype(np.float32)

    def __init__(self, run: Run, onset_s: np.ndarray, held: _Held):
        sfreq = held.windows.sfreq or run.sfreq
        self._run, self._held = run, held
        self._start = np.round(onset_s * sfreq).astype(int) + round(held.windows.tmin * sfreq)
        self._n_times = held.windows.n_times(sfreq)
        self.shape = (len(onset_s), run.space.n_features, self._n_times)

    def __getitem__(self, rows: Any) -> np.ndarray:
        x = self._held.of(self._run)
        start = np.clip(self._start[np.arange(len(self._start))[rows]], 0, x.shape[1] - self._n_times)
        return x[:, start[:, None] + np.arange(self._n_times)].swapaxes(0, 1)


def signal(run: Run, sfreq: float | None) -> np.ndarray:
    """A whole run, float32 (n_channels, n_times), low-passed and resampled without a shift in time.

    Raises
    ------
    DataFileError
        If channels hold NaN or never vary; counts them.
    """
    up, down = _ratio(run, sfreq)
    out = np.empty((run.space.n_features, -(-run.n_times * up // down)), dtype=np.float32)
    bad: dict[str, str] = {}
    for group, x in _groups(run):
        finite, flat = np.isfinite(x).all(1), np.ptp(x, axis=1) == 0
        bad |= {run.space.names[i]: "NaN" for i in group[~finite].tolist()}
        bad |= {run.space.names[i]: "never varies" for i in group[finite & flat].tolist()}
        out[group] = x if up == down else resample_poly(x, up, down, axis=1, padtype="line")
        beyond = finite & ~np.isfinite(out[group]).all(1)  # more than single precision holds
        bad |= {run.space.names[i]: "NaN" for i in group[beyond].tolist()}
    if bad:
        n = sum(why == "NaN" for why in bad.values())
        found = (
            f"holds {n} channels with NaN or infinities and {len(bad) - n} that never vary, of "
            f"{len(run.space.names)}, first {next(iter(bad))!r}"
        )
        way_out = "Get the file again, or leave such channels out: --set bad_channels=drop."
        raise checks.DataFileError(run.path, found, way_out)
    return out


def _groups(run: Run) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(positions, float64 samples) of some channels at a time."""
    step = max(1, GROUP_BYTES // (8 * max(1, run.n_times)))
    for start in range(0, run.space.n_features, step):
        group = np.arange(start, min(start + step, run.space.n_features))
        yield group, np.asarray(run.load(group), dtype=np.float64)


def _ratio(run: Run, sfreq: float | None) -> tuple[int, int]:
    if sfreq is None:
        return 1, 1
    ratio = Fraction(sfreq / run.sfreq).limit_denominator(10_000)
    if abs(float(ratio) * run.sfreq - sfreq) > 1e-6 * sfreq or ratio == 0:
        raise checks.ConfigError(f"{run.sfreq:g} Hz cannot be resampled to {sfreq:g} Hz by whole numbers.")
    return ratio.numerator, ratio.denominator
