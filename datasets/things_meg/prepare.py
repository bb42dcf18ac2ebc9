"""THINGS-MEG: preprocessed epochs in FIF and their table to trials of four subjects."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from braindec.data import large, public, things
from braindec.data.catalogue import Truth
from braindec.data.things_meg import read_attributes, read_things_meg
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


@public.preparing(things.Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: things.Choice) -> large.Whole:
    """Reads epochs, tables and pictures; catch trials are left out and counted."""
    folder = next(
        (raw / f for f in EPOCHS if any((raw / f).glob("preprocessed_P*-epo.fif"))), raw / EPOCHS[0]
    )
    found = [s for s in SUBJECTS if (folder / f"preprocessed_P{s}-epo.fif").is_file()]
    chosen, missing = large.subjects_there(subjects, SUBJECTS, found, folder, "preprocessed_P{}-epo.fif")
    sources, seen = [], things.Seen()
    catch: dict[str, int] = {}
    for subject in chosen:
        source, trials, n_catch = _source(raw, folder, subject)
        sources.append(source)
        catch[source.key] = n_catch
        missing += seen.of(trials, WHOLE, "epochs", N_REPEATS, catch=n_catch)
    return large.Whole(
        name="things_meg",
        licence="CC0 (recordings); the pictures have their own terms",
        source="OpenNeuro ds004212; Hebart et al. 2023, doi:10.7554/eLife.82580",
        raw=raw,
        sources=tuple(sources),
        pictures=seen.pictures(raw, SIDE, images=choice.images),
        splits=things.splits,
        notes={
            "label": "concept",
            "catch_trials_left_out": catch,
            "transductive": "no: filtered 0.1-40 Hz over each run, each epoch in units of its own baseline",
            "epochs": {"whitened_on": "none", "ica_fitted_on": "none", "z_scored_on": "none"},
            "features": {"selected_on": "none", "aligned_on": "none"},
        },
        settings={"images": choice.images, "side": SIDE},
        missing=missing,
    )


def _source(raw: Path, folder: Path, subject: int) -> tuple[large.Source, Trials, int]:
    """A subject's files, its trials (unread), and the number of its catch trials."""
    name = f"sample_attributes_P{subject}.csv"
    table = next((raw / f / name for f in TABLES if (raw / f / name).is_file()), raw / TABLES[0] / name)
    first = folder / f"preprocessed_P{subject}-epo.fif"
    read = partial(read_things_meg, first, table, subject=subject)
    trials = read()  # checks headers and table before anything is written
    further = sorted(folder.glob(f"preprocessed_P{subject}-epo-*.fif"))
    n_catch = int((read_attributes(table)["trial_type"] == "catch").sum())
    return large.Source(trials.key, (first, *further, table), read), trials, n_catch


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1,),
    n_concepts: tuple[int, int] = (12, 4),
    n_channels: int = 40,
    noise: float = 1.0,
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

    Returns
    -------
    Truth
        Responses as written. `details` holds the pictures.
    """
    make = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"]
    made: Truth = make(
        raw, seed=seed, subjects=subjects, n_concepts=n_concepts, n_channels=n_channels, noise=noise
    )
    return made
