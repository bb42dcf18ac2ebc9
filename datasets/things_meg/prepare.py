"""THINGS-MEG: preprocessed epochs in FIF, or continuous CTF runs, and their table to trials of four subjects."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from braindec.data import large, public, things
from braindec.data.catalogue import Truth
from braindec.data.things_meg import read_attributes, read_things_meg
from braindec.data.things_meg_runs import Choice, RunSettings, raw_files, read_things_meg_runs, run_files
from braindec.types import Trials

HERE = Path(__file__).resolve().parent
SUBJECTS = (1, 2, 3, 4)
EPOCHS = ("derivatives/preprocessed", "preprocessed", ".")
TABLES = ("sourcedata", ".")
WHOLE = {"exp": 22_248, "test": 2_400, "catch": 2_400}  # epochs of a subject; Hebart et al. 2023
N_REPEATS = 12
SIDE = 224  # px of the stored pictures
ADDRESS = "s3://openneuro.org/ds004212"


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The paths that preparing reads; what is missing is named with the command that gets it."""
    paths = [raw / EPOCHS[0] / f"preprocessed_P{s}-epo.fif" for s in subjects]
    paths += [raw / TABLES[0] / f"sample_attributes_P{s}.csv" for s in subjects]
    return [*paths, raw / things.FOLDERS[0]], (
        f"Get the recordings with: aws s3 sync --no-sign-request {ADDRESS} {raw} --exclude '*' --include "
        f"'derivatives/preprocessed/*' --include 'sourcedata/*'. Pictures: {things.WHERE}"
    )


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads epochs or runs, tables and pictures; catch trials are left out and counted."""
    if choice.recordings == "runs":
        sources, missing = _of_runs(raw, subjects, choice.runs)
        filtered = "each run filtered by itself as `settings` say, each epoch in units of its own baseline"
    else:
        sources, missing = _of_epochs(raw, subjects)
        filtered = "filtered 0.1-40 Hz over each run, each epoch in units of its own baseline"
    seen, catch, opened = things.Seen(), {}, []
    for subject, files, read in sources:
        trials = read()  # checks headers and table before anything is written
        kinds = read_attributes(_table(raw, subject))["trial_type"]
        catch[trials.key] = int((kinds == "catch").sum())
        missing += seen.of(trials, WHOLE, "epochs", N_REPEATS, catch=catch[trials.key])
        opened.append(large.Source(trials.key, files, read, by_session=choice.recordings == "runs"))
    return large.Whole(
        name="things_meg",
        licence="CC0 (recordings); the pictures have their own terms",
        source="OpenNeuro ds004212; Hebart et al. 2023, doi:10.7554/eLife.82580",
        raw=raw,
        sources=tuple(opened),
        pictures=seen.pictures(raw, SIDE, images=choice.images),
        splits=things.splits,
        notes={
            "label": "concept",
            "catch_trials_left_out": catch,
            "transductive": f"no: {filtered}",
            "epochs": {"whitened_on": "none", "ica_fitted_on": "none", "z_scored_on": "none"},
            "features": {"selected_on": "none", "aligned_on": "none"},
        },
        settings={
            "images": choice.images,
            "side": SIDE,
            **({"runs": asdict(choice.runs)} if choice.recordings == "runs" else {}),
        },
        missing=missing,
    )


Sources = list[tuple[int, tuple[Path, ...], Callable[[], Trials]]]


def _of_epochs(raw: Path, subjects: public.Subjects) -> tuple[Sources, tuple[str, ...]]:
    """Subject, files and reader of each subject's preprocessed epochs, and what is missing."""
    folder = public.first_with(raw, EPOCHS, "preprocessed_P*-epo.fif")
    found = [s for s in SUBJECTS if (folder / f"preprocessed_P{s}-epo.fif").is_file()]
    chosen, missing = large.subjects_there(subjects, SUBJECTS, found, folder, "preprocessed_P{}-epo.fif")
    sources: Sources = []
    for subject in chosen:
        first, table = folder / f"preprocessed_P{subject}-epo.fif", _table(raw, subject)
        further = sorted(folder.glob(f"preprocessed_P{subject}-epo-*.fif"))
        read = partial(read_things_meg, first, table, subject=subject)
        sources.append((subject, (first, *further, table), read))
    return sources, missing


def _of_runs(raw: Path, subjects: public.Subjects, settings: RunSettings) -> tuple[Sources, tuple[str, ...]]:
    """The same of continuous runs."""
    runs = {s: run_files(raw, s) for s in SUBJECTS}
    found = [s for s in SUBJECTS if runs[s]]
    chosen, missing = large.subjects_there(subjects, SUBJECTS, found, raw, "sub-BIGMEG{}/ses-*/meg/*.ds")
    sources: Sources = []
    for subject in chosen:
        table = _table(raw, subject)
        files = [path for run in runs[subject].values() for path in raw_files(run)]
        read = partial(read_things_meg_runs, runs[subject], table, subject=subject, settings=settings)
        sources.append((subject, (*files, table), read))
    return sources, missing


def _table(raw: Path, subject: int) -> Path:
    name = f"sample_attributes_P{subject}.csv"
    return public.first_with(raw, TABLES, name) / name


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1,),
    n_concepts: tuple[int, int] = (12, 4),
    n_channels: int = 40,
    noise: float = 1.0,
    runs: bool = False,
) -> Truth:
    """A small dataset in the distributed files: drawn pictures, and responses planted from their blocks.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    n_concepts : (int, int)
        All of them (three pictures each), and how many of these have a further picture that is tested (12 times).
    n_channels : int
    noise : float
        SD of the noise over that of the planted responses.
    runs : bool
        Also continuous runs with a trigger channel, as FIF (not .ds, which nothing at hand writes).

    Returns
    -------
    Truth
        Responses as written. `details` holds the pictures.
    """
    make = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"]
    made: Truth = make(
        raw,
        seed=seed,
        subjects=subjects,
        n_concepts=n_concepts,
        n_channels=n_channels,
        noise=noise,
        runs=runs,
    )
    return made
