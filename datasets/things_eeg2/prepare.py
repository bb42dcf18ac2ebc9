"""THINGS-EEG2: preprocessed or raw EEG dictionaries and the picture folders to trials of ten subjects."""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import NeuralDataset, Split, image_files, large, public, spaces
from braindec.data.catalogue import Truth
from braindec.data.joined import JoinedRows
from braindec.data.sensors import sensor_space
from braindec.data.tables import complete_table, repeats
from braindec.data.things_eeg2 import PARTS, read_image_metadata, read_things_eeg2
from braindec.data.things_eeg2_raw import Clock, Raw, RawEpochs
from braindec.types import Table, Trials

HERE = Path(__file__).resolve().parent
SUBJECTS = tuple(range(1, 11))
IMAGE_SETS = ("image_set", "images_set", "Image_set", ".")
WHOLE = {"training": (16_540, 4), "test": (200, 80)}  # conditions and repeats of each; Gifford et al. 2022
SIDE = 224  # px of the stored pictures
CLOCK = Clock(
    250.0, -50, 300
)  # of epochs cut from raw recordings: -0.2 to 0.996 s, as the 250 Hz files begin
SOURCES = {
    "OSF": "https://osf.io/3jk45 (raw_data, preprocessed_data, image_set); 250 Hz files: https://osf.io/anp5v",
}


@dataclass(frozen=True)
class Kind:
    """One of the forms in which the recordings are distributed."""

    folder: str
    files: tuple[str, str]  # of the training and the test part
    whitened_on: str  # see braindec.data.leakage.provenance
    said: str


@dataclass(frozen=True)
class Choice:
    """What `prepare` can be asked for.

    Parameters
    ----------
    files : str, optional
        ``"250hz"``, ``"250hz_pt"``, ``"17_channels"`` or ``"raw"``; None takes the one that is there.
    images : bool
        False leaves the pictures out: concepts and names alone.
    """

    files: str | None = None
    images: bool = True


KINDS = {
    "250hz": Kind(
        "Preprocessed_data_250Hz", ("preprocessed_eeg_training.npy", "preprocessed_eeg_test.npy"), "train",
        "63 channels at 250 Hz, noise-normalised by covariances of the training images",
    ),
    "250hz_pt": Kind(
        "Preprocessed_data_250Hz_whiten", ("train.pt", "test.pt"), "unknown",
        "63 channels at 250 Hz as another group saved them; on what they were whitened is not said",
    ),
    "17_channels": Kind(
        "Preprocessed_data", ("preprocessed_eeg_training.npy", "preprocessed_eeg_test.npy"), "all",
        "17 channels at 100 Hz, noise-normalised by covariances of training and test images together",
    ),
    "raw": Kind(
        "Raw_data", ("raw_eeg_training.npy", "raw_eeg_test.npy"), "none",
        "63 channels, raw, cut to epochs at 250 Hz without baseline; not whitened",
    ),
}  # fmt: skip


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The paths that preparing the 250 Hz files reads; OSF gives no fixed addresses, so missing ones are named."""
    kind = KINDS["250hz"]
    paths = [raw / "image_set" / name for name in ("image_metadata.npy", "training_images", "test_images")]
    paths += [raw / kind.folder / f"sub-{s:02d}" / name for s in subjects for name in kind.files]
    where = f"Download them in a browser from {SOURCES['OSF']}, unpack the archives, and keep these folders."
    return paths, where


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads one form of the recordings, and the pictures; those that contradict each other are refused."""
    return _whole(raw, _kind(raw, choice.files), subjects, choice.images)


def _kind(raw: Path, files: str | None) -> str:
    if files is not None:
        checks.one_of("files", files, list(KINDS))
        checks.existing_folder(raw / KINDS[files].folder, "Point --raw at the folder that holds it.")
        return files
    there = [name for name, kind in KINDS.items() if (raw / kind.folder).is_dir()]
    if not there:
        folders = [kind.folder for kind in KINDS.values()]
        raise FileNotFoundError(
            f"{raw} holds none of {folders}. Point --raw at the folder that holds one of them."
        )
    if len(there) > 1:
        raise checks.ConfigError(f"{raw} holds the files of {there}; say which: --set files={there[0]}.")
    return there[0]


def _whole(raw: Path, name: str, subjects: Iterable[int] | None, images: bool) -> large.Whole:
    kind = KINDS[name]
    set_folder = public.first_with(raw, IMAGE_SETS, "image_metadata.npy")
    metadata = read_image_metadata(set_folder / "image_metadata.npy")
    found = [s for s in SUBJECTS if (raw / kind.folder / f"sub-{s:02d}").is_dir()]
    chosen, missing = large.subjects_there(subjects, SUBJECTS, found, raw / kind.folder, "folder sub-{}")
    make = _raw_source if name == "raw" else _preprocessed_source
    made = [make(raw / kind.folder / f"sub-{s:02d}", s, kind, metadata) for s in chosen]
    counts = [len(metadata[part]["stem"]) for part in PARTS]
    if counts != [WHOLE[part][0] for part in PARTS]:
        missing += (
            f"image_metadata.npy lists {counts[0]} training and {counts[1]} test images of 16540 and 200.",
        )
    missing += tuple(sentence for _, said in made for sentence in said)
    return large.Whole(
        name="things_eeg2",
        licence="CC BY 4.0 (recordings); the pictures have their own terms",
        source="Gifford et al. 2022, doi:10.1016/j.neuroimage.2022.119754; " + SOURCES["OSF"],
        raw=raw,
        sources=tuple(source for source, _ in made),
        pictures=_pictures(set_folder, metadata, images),
        splits=_splits,
        notes={
            "label": "concept",
            "files": name,
            "transductive": f"{kind.said}; as the files say, no step uses labels of test trials but the whitening of "
            "the 17-channel files",
            "epochs": {"whitened_on": kind.whitened_on, "ica_fitted_on": "none", "z_scored_on": "none"},
            "features": {"selected_on": "none", "aligned_on": "none"},  # channels chosen by their place
        },
        settings={
            "files": name,
            "images": images,
            "side": SIDE,
            "clock": [CLOCK.sfreq, CLOCK.first, CLOCK.n_times],
        },
        missing=missing,
    )


def _pictures(folder: Path, metadata: Mapping[str, Mapping[str, np.ndarray]], images: bool) -> large.Pictures:
    both = {
        name: np.concatenate([metadata[p][name] for p in PARTS]) for name in ("stem", "concept", "things")
    }
    kinds = np.repeat(["train", "test"], [len(metadata[p]["stem"]) for p in PARTS])
    table = Table({"concept": both["concept"], "things_concept": both["things"], "trial_type": kinds})
    ids = tuple(both["stem"].tolist())
    if not images:
        return large.Pictures(ids, table)
    paths = [
        folder / f"{part}_images" / c / f
        for part in PARTS
        for c, f in zip(metadata[part]["folder"].tolist(), metadata[part]["file"].tolist(), strict=True)
    ]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} pictures are not there, first {missing[0]}. Unpack training_images.zip "
            "and test_images.zip there, or leave pictures out: --set images=false."
        )
    return large.Pictures(ids, table, partial(image_files.batches, paths, SIDE), tuple(paths), (SIDE, SIDE))


def _preprocessed_source(
    folder: Path, subject: int, kind: Kind, metadata: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[large.Source, tuple[str, ...]]:
    paths = tuple(checks.existing_file(folder / f, "Both parts of a subject are needed.") for f in kind.files)
    read = partial(_read_preprocessed, paths, subject, metadata)
    trials = read()  # checks both headers before anything is written
    kinds, counts = np.unique(trials.table["trial_type"], return_counts=True)
    per = {
        k: n // len(metadata["training" if k == "train" else "test"]["stem"])
        for k, n in zip(kinds, counts, strict=True)
    }
    usual = {"train": WHOLE["training"][1], "test": WHOLE["test"][1]}
    said = (
        ()
        if per == usual
        else (f"sub-{subject:02d}: {per['train']} training and {per['test']} test repeats, not 4 and 80.",)
    )
    return large.Source(f"sub-{subject:02d}_eeg", paths, read), said


def _read_preprocessed(
    paths: tuple[Path, ...], subject: int, metadata: Mapping[str, Mapping[str, np.ndarray]]
) -> Trials:
    parts = []
    for path, part, kind in zip(paths, PARTS, ("train", "test"), strict=True):
        about = metadata[part]
        extra = {"concept": about["concept"].tolist(), "trial_type": [kind] * len(about["stem"])}
        parts.append(read_things_eeg2(path, about["stem"].tolist(), subject=subject, extra=extra))
    first, second = parts
    if (
        not spaces.same(first.space, second.space)
        or first.signal.shape != second.signal.shape
        or first.tmin != second.tmin
    ):
        found = f"has the channels and times {second.signal.shape}, the training part {first.signal.shape}"
        raise checks.DataFileError(paths[1], found, "Get both parts of one form of the data.")
    table = Table({name: np.concatenate([p.table[name] for p in parts]) for name in first.table})
    return Trials(
        JoinedRows([p.responses for p in parts]),
        table,
        first.space,
        "noise SD",
        subject,
        "eeg",
        first.sfreq,
        first.tmin,
    )


def _raw_source(
    folder: Path, subject: int, kind: Kind, metadata: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[large.Source, tuple[str, ...]]:
    sessions = sorted(folder.glob("ses-*"))
    if not sessions:
        raise FileNotFoundError(f"{folder} holds no folder ses-01. Unpack the raw data there.")
    paths = tuple(
        checks.existing_file(s / name, "Both parts of a session are needed.")
        for s in sessions
        for name in kind.files
    )
    read = partial(_read_raw, paths, subject, metadata)
    _, n_cut = _raw_parts(paths, metadata)
    said: tuple[str, ...] = (
        () if len(sessions) == 4 else (f"sub-{subject:02d}: {len(sessions)} of 4 sessions.",)
    )
    if n_cut:
        said += (f"sub-{subject:02d}: {n_cut} trials at the edge of a recording left out.",)
    return large.Source(f"sub-{subject:02d}_eeg", paths, read, by_session=True), said


def _raw_parts(
    paths: tuple[Path, ...], metadata: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[list[Any], int]:
    """(raw, onsets, conditions, part, session) of each file but for windows that reach beyond it; how many do."""
    found, n_cut = [], 0
    for path in paths:
        part = "training" if "training" in path.name else "test"
        raw = Raw(path)
        onsets, codes = raw.events(len(metadata[part]["stem"]))
        inside = RawEpochs(raw, onsets, CLOCK).inside
        n_cut += int((~inside).sum())
        session = str(int(path.parent.name.removeprefix("ses-")))
        found.append((raw, onsets[inside], codes[inside] - 1, part, session))
    return found, n_cut


def _read_raw(
    paths: tuple[Path, ...], subject: int, metadata: Mapping[str, Mapping[str, np.ndarray]]
) -> Trials:
    parts, _ = _raw_parts(paths, metadata)
    columns: dict[str, list[np.ndarray]] = {
        n: [] for n in ("stimulus_id", "concept", "trial_type", "session", "run", "onset_s")
    }
    for raw, onsets, conditions, part, session in parts:
        n = len(onsets)
        columns["stimulus_id"].append(metadata[part]["stem"][conditions])
        columns["concept"].append(metadata[part]["concept"][conditions])
        columns["trial_type"].append(np.full(n, "train" if part == "training" else "test"))
        columns["session"].append(np.full(n, session))
        columns["run"].append(np.full(n, f"{session}-{part}"))
        columns["onset_s"].append(onsets / raw.sfreq)
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    joined["repeat"] = repeats(joined["stimulus_id"].tolist())
    first = parts[0][0]
    for raw, *_ in parts:
        if raw.names != first.names:
            raise checks.DataFileError(
                raw.path, "has other channels than the first session", "Download it again."
            )
    rows = JoinedRows([RawEpochs(raw, onsets, CLOCK) for raw, onsets, *_ in parts])
    space = sensor_space(first.names, first.kinds, "standard_1005")
    return Trials(rows, complete_table(joined, "1"), space, "V", subject, "eeg", CLOCK.sfreq, CLOCK.tmin)


def _splits(dataset: NeuralDataset) -> list[Split]:
    """Concepts of test images are tested, all others train; they are disjoint by design."""
    table = checks.of_type("table", dataset.stimuli.table, Table)
    parts = {
        p: tuple(sorted(set(table["concept"][table["trial_type"] == p].tolist()))) for p in ("train", "test")
    }
    return [Split("default", "concept", parts)]


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    files: str = "250hz",
    subjects: Iterable[int] = (1,),
    n_concepts: tuple[int, int] = (10, 20),
    n_repeats: tuple[int, int] = (4, 8),
    noise: float = 1.0,
) -> Truth:
    """A small dataset in one of the distributed forms: drawn pictures, and responses planted from their blocks.

    Parameters
    ----------
    raw : path
    seed : int
    files : str
        As in `prepare`.
    subjects : iterable of int
    n_concepts : (int, int)
        Of training (ten pictures each) and of test (one each).
    n_repeats : (int, int)
        Of training and test pictures.
    noise : float
        SD of the noise over that of the planted responses.

    Returns
    -------
    Truth
        Responses as written; of raw recordings those planted, without noise. `details` holds the pictures.
    """
    checks.one_of("files", files, list(KINDS))
    make = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"]
    made: Truth = make(
        raw,
        seed=seed,
        files=files,
        subjects=subjects,
        n_concepts=n_concepts,
        n_repeats=n_repeats,
        noise=noise,
    )
    return made
