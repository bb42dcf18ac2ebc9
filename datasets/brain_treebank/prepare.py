"""Brain Treebank: HDF5 sEEG of ten people who watched films, with word times, to segments of speech."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks
from braindec.data import hdf5, large, public, text_tables
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.speech import Windows
from braindec.data.speech_dataset import ResampledChoice, whole
from braindec.data.speech_runs import Run
from braindec.store import open_readonly
from braindec.types import SensorSpace, Table

HERE = Path(__file__).resolve().parent
SUBJECTS = tuple(range(1, 11))
N_RECORDINGS = 26  # of all subjects; the benchmark Neuroprobe lists them
RECORDED_HZ, SFREQ = 2048.0, 256.0
FILE = re.compile(r"sub_(?P<subject>\d+)_trial(?P<trial>\d{3})\.h5")
PLACES = (".", "all_subject_data")
NO_ELECTRODE = ("DC", "TRIG")  # how the names of trigger channels begin
LOCATED = ("L", "P", "I")
REGION = "DesikanKilliany"
PAUSE_S = 0.05  # by which film and recording may part within a window
SAMPLE_SLACK = 2
WHERE = "Download the zip files of https://braintreebank.dev and unpack them into one folder."


@dataclass(frozen=True)
class Choice(ResampledChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    sfreq : float or None
        Hz after resampling; None keeps 2048, which takes 12 GB of memory for a film of two hours and 200 electrodes.
    every_word : bool
        See `braindec.data.speech.Windows`.
    bad_channels : str
        ``"refuse"`` or ``"drop"``, of electrodes that are not on the authors' list of corrupted ones.
    keep_sound : bool
        Of the films, which you have to own: a WAV file each, called what the column wav says.
    """

    sfreq: float | None = SFREQ


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The tables that every subject needs; how many recordings each has, prepare finds."""
    tables = [raw / folder for folder in ("subject_timings", "subject_metadata", "transcripts")]
    return [*tables, *(raw / file(s) for s in subjects for file in (_labels_file, _located_file))], WHERE


@public.preparing(Choice, "subject_timings", "braintreebank")
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads recordings, word times and electrodes, and cuts 3 s segments of the films' speech."""
    windows = Windows(sfreq=choice.sfreq, every_word=choice.every_word)
    recordings = _recordings(raw)
    files = {s: recordings.get(s, []) for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, raw, "recording sub_{}_trial*.h5")
    n_there = sum(map(len, recordings.values()))
    said = [*missing, *([f"{n_there} of {N_RECORDINGS} recordings."] if n_there < N_RECORDINGS else [])]
    films: dict[str, Table] = {}
    runs: dict[int, list[Run]] = {}
    located: dict[str, Any] = {}
    for s, own in chosen.items():
        space, keys, where = _electrodes(raw, s)
        located[f"sub-{s:02d}"] = where
        runs[s] = []
        for trial, path in own:
            film = _film(raw, s, trial)
            if film not in films:
                films[film], n_untimed = _transcript(_transcript_file(raw, film))
                said += [f"{film}: {n_untimed} words without a time."] if n_untimed else []
            run, n_paused = _run(raw, s, trial, path, film, films[film], windows, space, keys)
            said += [f"{path.name}: {n_paused} words near a pause left out."] if n_paused else []
            runs[s].append(run)
    return whole(
        "brain_treebank", "CC BY 4.0", "https://braintreebank.dev; arXiv:2411.08343", raw, runs, windows,
        modality="ieeg", units="as distributed", missing=said, scripts=films,
        script_files=[_transcript_file(raw, film) for film in films], bad_channels=choice.bad_channels,
        keep_sound=choice.keep_sound,
        notes={
            "transductive": "nothing; recordings were only low-passed and resampled",
            "localisation": {"axes": list(LOCATED), "unit": "mm", **located},
        },
    )  # fmt: skip


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 3),
    n_electrodes: int = 5,
    seconds: float = 70.0,
) -> Truth:
    """Recordings of one film with a pause, its word times, triggers, and electrodes with places.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
        Each pauses the film at a time of their own.
    n_electrodes : int
        That are sound; one corrupted and one trigger channel are added.
    seconds : float
        Of the film.

    Returns
    -------
    Truth
        `details["signal"]` by subject: (n_electrodes, n_times) as written; `details["onset_s"]` by subject: seconds of
        each word in the recording by its place in the transcript.
    """
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"](
        Path(raw), seed, tuple(subjects), n_electrodes, seconds
    )
    return made


def _labels_file(subject: int) -> Path:
    return Path("electrode_labels") / f"sub_{subject}" / "electrode_labels.json"


def _located_file(subject: int) -> Path:
    return Path("localization") / f"sub_{subject}" / "depth-wm.csv"


def _transcript_file(raw: Path, film: str) -> Path:
    return raw / "transcripts" / film / "features.csv"


def _recordings(raw: Path) -> dict[int, list[tuple[int, Path]]]:
    """(number, file) of each subject's recordings."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for place in PLACES:
        for path in sorted((raw / place).glob("sub_*_trial*.h5")):
            match = FILE.fullmatch(path.name)
            if match and int(match["subject"]) in SUBJECTS:
                found.setdefault(int(match["subject"]), []).append((int(match["trial"]), path))
    return found


def _json(path: Path) -> Any:
    with reading(checks.existing_file(path, WHERE)):
        return json.loads(path.read_text(encoding="utf-8"))


def _numbers(path: Path, rows: list[dict[str, str]], column: str) -> np.ndarray:
    """A column as float64; empty cells are NaN."""
    with reading(path):
        return np.array([float(row[column]) if row[column] else np.nan for row in rows])


def _clean(label: str) -> str:
    return label.replace("*", "").replace("#", "").replace("_", "")


def _electrodes(raw: Path, subject: int) -> tuple[SensorSpace, list[str], dict[str, list[float]]]:
    """Electrodes that are neither corrupted nor triggers, their HDF5 keys, and where they are known to be (mm)."""
    path = raw / _labels_file(subject)
    labels = _json(path)
    if not isinstance(labels, list) or not all(isinstance(x, str) for x in labels):
        raise checks.DataFileError(path, "holds no list of names", COPY_AGAIN)
    names = [_clean(label) for label in labels]
    corrupted = raw / "corrupted_elec.json"
    bad = _json(corrupted).get(f"sub_{subject}", []) if corrupted.is_file() else []
    left_out = {_clean(str(name)) for name in bad}
    kept = [i for i, n in enumerate(names) if n not in left_out and not n.upper().startswith(NO_ELECTRODE)]
    chosen = [names[i] for i in kept]
    if not chosen or len(set(chosen)) != len(chosen):
        raise checks.DataFileError(path, "names no electrode, or one twice", COPY_AGAIN)
    table = raw / _located_file(subject)
    rows = {_clean(row["Electrode"]): row for row in text_tables.rows(table, ("Electrode", *LOCATED))}
    with reading(table):
        where = {n: [float(rows[n][axis]) for axis in LOCATED] for n in chosen if n in rows}
    areas = [rows[n].get(REGION, "") if n in rows else "" for n in chosen]
    regions = {area: np.array([a == area for a in areas]) for area in sorted(set(areas)) if area}
    unplaced = np.full(
        (len(chosen), 3), np.nan
    )  # L, P, I are of the subject's own scan, not of the head frame
    return (
        SensorSpace(tuple(chosen), unplaced, ("seeg",) * len(chosen), regions),
        [f"data/electrode_{i}" for i in kept],
        where,
    )


def _film(raw: Path, subject: int, trial: int) -> str:
    path = raw / "subject_metadata" / f"sub_{subject}_trial{trial:03d}_metadata.json"
    about = _json(path)
    if not isinstance(about, dict) or not isinstance(about.get("filename"), str):
        raise checks.DataFileError(path, "names no 'filename' of a film", COPY_AGAIN)
    return str(about["filename"])


def _transcript(path: Path) -> tuple[Table, int]:
    """Words with their times in the film, in order, and how many have none."""
    rows = text_tables.rows(path, ("text", "start", "end"))
    start, end = (_numbers(path, rows, c) for c in ("start", "end"))
    timed = np.flatnonzero(np.isfinite(start) & np.isfinite(end))
    timed = timed[np.argsort(start[timed], kind="stable")]
    if not len(timed):
        raise checks.DataFileError(path, "times no word", COPY_AGAIN)
    text = np.array([row["text"] for row in rows], dtype=str)
    table = Table({"word": text[timed], "onset_s": start[timed], "duration_s": (end - start)[timed]})
    return table, len(rows) - len(timed)


def _run(
    raw: Path,
    subject: int,
    trial: int,
    path: Path,
    film: str,
    words: Table,
    windows: Windows,
    space: SensorSpace,
    keys: list[str],
) -> tuple[Run, int]:
    """A recording by its headers, and how many words were left out as the film paused near them."""
    timings = raw / "subject_timings" / f"sub_{subject}_trial{trial:03d}_timings.csv"
    rows = text_tables.rows(timings, ("movie_time", "index"))
    clock, sample = (_numbers(timings, rows, c) for c in ("movie_time", "index"))
    known = np.isfinite(clock) & np.isfinite(sample)
    clock, sample = clock[known], sample[known]
    if len(clock) < 2 or (np.diff(clock) < 0).any() or (np.diff(sample) < 0).any():
        raise checks.DataFileError(timings, "holds no triggers in order of time", COPY_AGAIN)
    n_times = _n_times(path, keys)
    if sample[-1] > n_times + SAMPLE_SLACK:
        found = f"has a trigger at sample {sample[-1]:.0f} but {path.name} has {n_times}"
        raise checks.DataFileError(timings, found, "Get recording and timings of one download.")
    onset, paused = _onsets(words["onset_s"], clock, sample, windows)
    shown = (words["onset_s"] >= clock[0]) & (words["onset_s"] < clock[-1])
    kept = shown & ~paused
    heard = words.take(kept)
    table = heard.replace(onset_s=onset[kept], wav=np.full(heard.n_rows, film), wav_onset_s=heard["onset_s"])
    files = (path, timings, raw / _labels_file(subject), raw / _located_file(subject))
    load = partial(_load, path, keys)
    made = Run(path, files, "1", f"{trial}", RECORDED_HZ, n_times, space, table, load)
    return made, int((shown & paused).sum())


def _onsets(
    at: np.ndarray, clock: np.ndarray, sample: np.ndarray, windows: Windows
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds in the recording at which film times lie, by the trigger before each; and whether the film paused near.

    Film and recording run alike between triggers; a pause moves the recording on.
    """

    def seconds(times: np.ndarray) -> np.ndarray:
        last = np.clip(np.searchsorted(clock, times, side="right") - 1, 0, len(clock) - 1)
        return np.asarray(sample[last] / RECORDED_HZ + times - clock[last])

    first, stop = (seconds(at + t) - seconds(at) - t for t in (windows.tmin, windows.tmin + windows.length_s))
    return seconds(at), (np.abs(first) > PAUSE_S) | (np.abs(stop) > PAUSE_S)


def _n_times(path: Path, keys: list[str]) -> int:
    lengths: Mapping[int, str] = {
        hdf5.require(path, key, shape=(None,), axes="time")[0][0]: key for key in keys
    }
    if len(lengths) != 1:
        raise checks.DataFileError(path, f"has electrodes of {sorted(lengths)} samples", COPY_AGAIN)
    return int(next(iter(lengths)))


def _load(path: Path, keys: list[str], positions: np.ndarray) -> np.ndarray:
    with reading(path), open_readonly(path) as file:
        read: list[h5py.Dataset] = [file[keys[i]] for i in positions.tolist()]
        return np.stack([dataset[()] for dataset in read])
