"""THINGS-fMRI: tables of single-trial betas, trials and voxels to trials of three subjects."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import large, public, things, things_fmri
from braindec.data.catalogue import Truth
from braindec.types import Trials

HERE = Path(__file__).resolve().parent
SUBJECTS = (1, 2, 3)
TABLES = ("betas_csv", "derivatives/betas_csv", ".")
MASKS = ("brainmasks", "brain_masks", "derivatives/brainmasks", ".")
FILES = ("sub-{:02d}_ResponseData.h5", "sub-{:02d}_StimulusMetadata.csv", "sub-{:02d}_VoxelMetadata.csv")
WHOLE = {"train": 8_640, "test": 1_200}  # trials of a subject; Hebart et al. 2023
N_REPEATS = 12
SIDE = 224  # px of the stored pictures
ADDRESS = "https://doi.org/10.25452/figshare.plus.c.6161151 (single-trial responses as tables, brain masks)"


@dataclass(frozen=True)
class Choice(public.VoxelChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        What is done about voxels with NaN or without variance: ``"refuse"`` or ``"drop"``.
    images : bool
        False leaves the pictures out: concepts and names alone.
    """

    invalid: str = "refuse"
    images: bool = True


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The paths that preparing reads; what is missing is named with its address."""
    paths = [raw / TABLES[0] / name.format(s) for s in subjects for name in FILES]
    paths += [raw / MASKS[0] / f"sub-{s:02d}_space-T1w_brainmask.nii.gz" for s in subjects]
    where = f"Download betas and masks in a browser from {ADDRESS} and unpack them. Pictures: {things.WHERE}"
    return [*paths, raw / things.FOLDERS[0]], where


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice, *, dry_run: bool) -> large.Whole:
    """Reads betas, tables, brain masks and pictures; files that contradict each other are refused."""
    folder = public.first_with(raw, TABLES, "sub-*_ResponseData.h5")
    files = {s: (folder / FILES[0].format(s)).is_file() for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, folder, "sub-0{}_ResponseData.h5")
    sources, seen, dropped = [], things.Seen(), {}
    for subject in chosen:
        source, trials, said, n_dropped = _source(raw, folder, subject, choice, dry_run=dry_run)
        sources.append(source)
        missing += (*seen.of(trials, WHOLE, "trials", N_REPEATS), *said)
        dropped[source.key] = n_dropped
    return large.Whole(
        name="things_fmri",
        licence="CC0 (recordings); the pictures have their own terms",
        source=f"OpenNeuro ds004192; {ADDRESS}; Hebart et al. 2023, doi:10.7554/eLife.82580",
        raw=raw,
        sources=tuple(sources),
        pictures=seen.pictures(raw, SIDE, images=choice.images),
        splits=things.splits,
        notes=NOTES | ({"voxels_left_out": dropped} if choice.invalid == "drop" else {}),
        settings={"images": choice.images, "invalid": choice.invalid, "side": SIDE},
        missing=missing,
    )


NOTES = {
    "label": "concept",
    "transductive": "each run's signal was z-scored without labels; the shrinkage of the betas was chosen by the "
    "repeats of the test images",
    "betas": {
        "hrf_chosen_on": "all_unlabelled",  # one of a library, by a model of picture against none over all runs
        "noise_regressors_on": "each_run",  # independent components rated as noise
        "ridge_chosen_on": "all",
        "z_scored_on": "each_run",
        "overlap": "modelled",
    },
    "features": {"selected_on": "none", "aligned_on": "none"},
}


def _source(
    raw: Path, folder: Path, subject: int, choice: Choice, *, dry_run: bool
) -> tuple[large.Source, Trials, tuple[str, ...], int]:
    """A subject's files, its trials (unread), what is missing of them, and how many voxels are left out."""
    betas, stimuli, voxels = (folder / name.format(subject) for name in FILES)
    name = f"sub-{subject:02d}_space-T1w_brainmask.nii.gz"
    place = public.first_with(raw, MASKS, name) / name
    mask = place if place.is_file() else None
    key = f"sub-{subject:02d}_fmri"
    read = partial(things_fmri.read_things_fmri, betas, stimuli, voxels, subject=subject, brain_mask=mask)
    trials = read()  # checks headers and tables before anything is written
    keep = None
    if choice.invalid == "drop" and not dry_run:
        keep = ~trials.responses.bad()
        if not keep.any():
            raise checks.DataFileError(betas, "holds no usable voxel", "Get the file again.")
        read = partial(read, keep=keep)
    n_in_file = trials.responses.shape[1]
    kept = np.ones(n_in_file, dtype=bool) if keep is None else keep
    further = partial(_write_maps, key=key, voxels=voxels, kept=kept, mask=mask)
    files = (betas, stimuli, voxels) if mask is None else (betas, stimuli, voxels, mask)
    without = f"{key}: {name}; without it voxels have regions but no place in the head."
    said = () if mask is not None else (without,)
    return large.Source(key, files, read, further), trials, said, int((~kept).sum())


def _write_maps(folder: Path, *, key: str, voxels: Path, kept: np.ndarray, mask: Path | None) -> None:
    things_fmri.write_voxel_maps(folder, key, voxels, kept, mask)


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1,),
    n_concepts: tuple[int, int] = (10, 4),
    noise: float = 1.0,
    brain_mask: bool = True,
) -> Truth:
    """A small dataset in the distributed files: drawn pictures, and betas planted from their blocks.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    n_concepts : (int, int)
        All of them (four pictures each), and how many of these have a further picture that is tested (12 times).
    noise : float
        SD of the noise over that of the planted betas.
    brain_mask : bool
        Whether the brain masks are there.

    Returns
    -------
    Truth
        Betas as written, voxels in the order of the grid. `details` holds the pictures and, by key, the noise ceilings.
    """
    make = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"]
    made: Truth = make(
        raw, seed=seed, subjects=subjects, n_concepts=n_concepts, noise=noise, brain_mask=brain_mask
    )
    return made
