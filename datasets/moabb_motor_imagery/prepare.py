"""Motor imagery through MOABB: any of its imagery datasets (BNCI2014_001 unless asked otherwise) to a trial a cue."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, continuous, large, meeg, public, spaces
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.sensors import positions_of
from braindec.types import Recording, SensorSpace, Table, Trials

DEFAULT = "BNCI2014_001"
NEEDED = "reading motor imagery datasets"
PROVIDER = "MOABB_DOWNLOAD_PROVIDER"
# What `synthetic` writes: the files of BNCI2014_001 as MOABB keeps them.
STORED = Path("MNE-bnci-data") / "~bci" / "database" / "001-2014"
CHANNELS = (
    "Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP3", "CP1", "CPz", "CP2",
    "CP4", "P1", "Pz", "P2", "POz", "EOG1", "EOG2", "EOG3",
)  # fmt: skip
CLASSES = ("left hand", "right hand", "feet", "tongue")
SFREQ, INTERVAL = 250.0, (2.0, 6.0)
SESSIONS = {"0train": "T", "1test": "E"}


@dataclass(frozen=True)
class Choice:
    """What `prepare` can be asked for.

    Parameters
    ----------
    dataset : str
        Name of the class in moabb.datasets, e.g. ``"BNCI2014_001"``, ``"PhysionetMI"``, ``"Cho2017"``.
    tmin, tmax : float, optional
        Seconds from the cue; None takes the dataset's interval of imagery.
    l_freq, h_freq : float, optional
        Pass-band (Hz) of a zero-phase FIR over the whole recording; None leaves that side as it is.
    whole_runs : bool
        Whole runs in stretches of a second (`braindec.data.continuous`), for decoders that answer all the time; an
        event then lasts from `tmin` to `tmax` after its cue.
    """

    dataset: str = DEFAULT
    tmin: float | None = None
    tmax: float | None = None
    l_freq: float | None = None
    h_freq: float | None = None
    whole_runs: bool = False


def fetch(
    raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False, dataset: str = DEFAULT
) -> list[Path]:
    """Has MOABB download a dataset's files into `raw`; MOABB knows where they are served and under which terms.

    Raises
    ------
    MissingPackageError
        If MOABB is not installed (not in a dry run).
    """
    if dry_run:
        return [Path(raw)]
    Path(raw).mkdir(parents=True, exist_ok=True)
    found = _dataset(dataset)
    chosen, _ = large.subjects_there(
        subjects, found.subject_list, found.subject_list, Path(raw), "subject {}"
    )
    with _stored_in(Path(raw)):
        return [path for s in chosen for path in _paths(found, s)]


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads the recordings of MOABB, which downloads those that are not there, and cuts a window after each cue.

    Raises
    ------
    MissingPackageError
        If MOABB is not installed.
    """
    raw = raw.resolve()
    found = _dataset(choice.dataset)
    chosen, _ = large.subjects_there(subjects, found.subject_list, found.subject_list, raw, "subject {}")
    return _whole(raw, found, choice, _window(found, choice), chosen)


def synthetic(
    raw: str | Path, *, seed: int = 0, subjects: Iterable[int] = (1,), n_runs: int = 2, n_trials: int = 4
) -> Truth:
    """Files of BNCI2014_001 (A01T.mat, A01E.mat, ..) where MOABB looks for them.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    n_runs : int
        Of each session, beside a run without trials that the first session begins with.
    n_trials : int
        Of each run.

    Returns
    -------
    Truth
        V, (trial, 22, 1000) from 2 s to 6 s after each cue.
    """
    folder = Path(raw) / STORED
    folder.mkdir(parents=True, exist_ok=True)
    responses, tables = {}, {}
    for s in subjects:
        rng = seeding.numpy_generator(seed, "moabb_motor_imagery", s)
        parts, ids, runs = [], [], []
        for session, letter in SESSIONS.items():
            held = [_run(rng, 0)] if letter == "T" else []
            for _ in range(n_runs):
                own = _run(rng, n_trials)
                held.append(own)
                start = own["trial"] - 1 + round(INTERVAL[0] * SFREQ)
                n = round((INTERVAL[1] - INTERVAL[0]) * SFREQ)
                parts += [1e-6 * own["X"][a : a + n, :22].T for a in start.tolist()]
                ids += [CLASSES[y - 1].replace(" ", "_") for y in own["y"].tolist()]
                runs += [session] * n_trials
            cells = np.empty((1, len(held)), dtype=object)
            cells[0] = held
            savemat(folder / f"A{s:02d}{letter}.mat", {"data": cells})
        key = f"sub-{s:02d}_eeg"
        responses[key] = np.array(parts)
        tables[key] = Table({"stimulus_id": np.array(ids), "session": np.array(runs)})
    return Truth(responses, tables, {})


def _dataset(name: str) -> Any:
    """An imagery dataset of MOABB by the name of its class."""
    try:
        from moabb import datasets
    except ImportError as error:
        raise checks.needs_package("moabb", "moabb", NEEDED) from error
    kind = getattr(datasets, name, None)
    if not isinstance(kind, type):
        there = sorted(n for n in dir(datasets) if isinstance(getattr(datasets, n), type))
        raise checks.ConfigError(
            f"dataset must be one of MOABB's, got {name!r}.{checks.suggest(name, there)}"
        )
    found = kind()
    if getattr(found, "paradigm", None) != "imagery":
        raise checks.ConfigError(f"dataset must be one of imagery, but {name} is of {found.paradigm!r}.")
    return found


@contextlib.contextmanager
def _stored_in(raw: Path) -> Iterator[None]:
    """MOABB looks for files in `raw`, whatever mne's configuration says, and at their first source."""
    import mne

    names = {
        "MNE_DATA",
        *(n for n in mne.get_config() if n.startswith("MNE_DATASETS_") and n.endswith("_PATH")),
    }
    wanted = dict.fromkeys(names, str(raw)) | {PROVIDER: os.environ.get(PROVIDER, "upstream")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _paths(dataset: Any, subject: int) -> list[Path]:
    """The files of a subject, where MOABB names any."""
    named = dataset.data_path(subject)
    flat = [named] if isinstance(named, str | Path) else list(_leaves(named))
    return [path for path in map(Path, flat) if path.is_file()]


def _leaves(named: Any) -> Iterator[str]:
    for item in named or ():
        if isinstance(item, str | Path):
            yield str(item)
        else:
            yield from _leaves(item)


def _window(dataset: Any, choice: Choice) -> tuple[float, float]:
    """Seconds from the cue."""
    first, last = (float(t) for t in dataset.interval)
    window = (first if choice.tmin is None else choice.tmin, last if choice.tmax is None else choice.tmax)
    if not window[0] < window[1]:
        raise checks.ConfigError(f"tmin must be before tmax, got {window[0]} and {window[1]} s.")
    return window


def _whole(
    raw: Path, dataset: Any, choice: Choice, window: tuple[float, float], subjects: tuple[int, ...]
) -> large.Whole:
    import moabb

    sources = []
    for s in subjects:
        with _stored_in(raw), reading(raw):
            files = tuple(p for p in (p.resolve() for p in _paths(dataset, s)) if p.is_relative_to(raw))
        sources.append(large.Source(f"sub-{s:02d}_eeg", files, partial(_trials, raw, choice, window, s)))
    events = tuple(sorted(dataset.event_id))
    settings = {
        "dataset": choice.dataset, "window_s": list(window), "l_freq": choice.l_freq, "h_freq": choice.h_freq,
        "whole_runs": choice.whole_runs, "moabb": str(moabb.__version__),
    }  # fmt: skip
    return large.Whole(
        name="moabb_motor_imagery",
        licence=f"that of {choice.dataset}; see MOABB's page of it",
        source=f"moabb.datasets.{choice.dataset}; doi:{getattr(dataset, 'doi', None) or 'not given'}",
        raw=raw,
        sources=tuple(sources),
        pictures=large.Pictures(events, Table({"category": np.array(events)})),
        splits=_splits,
        notes={
            "label": "category",
            "transductive": "nothing here; a filter, if asked for, knows no labels",
            "epochs": {"whitened_on": "none", "ica_fitted_on": "none", "z_scored_on": "none"},
            "features": {"selected_on": "none", "aligned_on": "none"},
            **settings,
        },
        settings=settings,
    )


def _trials(raw: Path, choice: Choice, window: tuple[float, float], subject: int) -> Trials:
    """All cues of a subject, session by session and run by run, as MOABB gives them."""
    dataset = _dataset(choice.dataset)
    with (
        _stored_in(raw),
        reading(raw, way_out="See what MOABB says of this dataset, or get its files again."),
    ):
        sessions = dataset.get_data(subjects=[subject])[subject]
    recordings = [
        _recording(raw, opened, dataset, choice, (subject, str(session), str(run)))
        for session, runs in sessions.items()
        for run, opened in runs.items()
    ]
    recordings = [r for r in recordings if r.events.n_rows]
    where = f"{choice.dataset} of subject {subject}"
    if not recordings:
        raise checks.DataFileError(raw, f"holds no cue ({where})", COPY_AGAIN)
    for r in recordings:
        if not spaces.same(r.space, recordings[0].space) or r.sfreq != recordings[0].sfreq:
            found = f"has other channels or another rate in run {r.run} than in {recordings[0].run} ({where})"
            raise checks.DataFileError(raw, found, "Prepare another dataset.")
    if choice.whole_runs:
        return continuous.tiled([_lasting(r, window) for r in recordings])
    last = window[1] - 1 / recordings[0].sfreq  # the end is not a sample
    with reading(raw, way_out="Choose a shorter window: --set tmax=SECONDS."):
        return meeg.cut_epochs(recordings, window[0], last)


def _lasting(recording: Recording, window: tuple[float, float]) -> Recording:
    """The run with events that begin and end where the window after their cue does."""
    events = recording.events
    lasting = {
        "onset_s": events["onset_s"] + window[0],
        "duration_s": np.full(events.n_rows, window[1] - window[0]),
    }
    return replace(recording, events=Table({"stimulus_id": events["stimulus_id"]} | lasting))


def _recording(raw: Path, opened: Any, dataset: Any, choice: Choice, of: tuple[int, str, str]) -> Recording:
    """A run's EEG channels in V, and its cues: MOABB annotates the begin of the interval after each."""
    import mne

    subject, session, run = of
    names = {str(name): i + 1 for i, name in enumerate(dataset.event_id)}
    with reading(raw):
        events, _ = mne.events_from_annotations(opened, event_id=lambda d: names.get(str(d)), verbose="error")
        sfreq = float(opened.info["sfreq"])
        picked = opened.copy().pick("eeg", exclude=()).load_data(verbose="error")
        signal, kinds = picked.get_data(), tuple(picked.get_channel_types())
        positions, channels = positions_of(picked.info), tuple(picked.ch_names)
    bad = ~np.isfinite(signal).all(1)
    if bad.any():
        found = f"holds {int(bad.sum())} channels with NaN in run {session}-{run} of subject {subject}"
        raise checks.DataFileError(raw, found, COPY_AGAIN)
    onset = (events[:, 0] - opened.first_samp) / sfreq - float(dataset.interval[0])
    cue = np.array(list(names))[events[:, 2] - 1] if len(events) else np.zeros(0, dtype=str)
    table = Table({"onset_s": onset, "duration_s": np.zeros(len(onset)), "stimulus_id": cue})
    space = SensorSpace(channels, positions, kinds)
    made = Recording(
        signal.astype(np.float32), sfreq, "V", table, space, subject, session, f"{session}-{run}", "eeg"
    )
    if choice.l_freq is None and choice.h_freq is None:
        return made
    return meeg.filtered(made, choice.l_freq, choice.h_freq)


def _splits(dataset: NeuralDataset) -> list[Split]:
    """The last session of each dataset is tested; or the last run, where there is one session."""
    for unit in ("session", "run"):
        values = sorted({str(v) for t in dataset.trials.values() for v in t.table[unit].tolist()})
        if len(values) > 1:
            return [Split("default", unit, {"train": tuple(values[:-1]), "test": (values[-1],)})]
    return []


def _run(rng: np.random.Generator, n_trials: int) -> dict[str, Any]:
    """The struct of a run: X in uV (time, channel), cues counted from 1, labels 1 to 4."""
    step = round(7.5 * SFREQ)
    n_times = step * max(1, n_trials) + round(SFREQ)
    trial = np.arange(n_trials) * step + round(0.5 * SFREQ) + 1
    names = np.empty((1, 4), dtype=object)
    names[0] = CLASSES
    return {
        "X": np.round(10 * rng.standard_normal((n_times, len(CHANNELS))), 2),
        "trial": trial.astype(np.uint32), "y": rng.permutation(np.arange(n_trials) % 4 + 1).astype(np.uint8),
        "fs": SFREQ, "classes": names, "artifacts": np.zeros(n_trials, dtype=np.uint8), "gender": "male", "age": 22.0,
    }  # fmt: skip
