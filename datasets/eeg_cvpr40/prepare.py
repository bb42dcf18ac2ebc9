"""EEG-CVPR40: torch files of six people's EEG to 40 classes of pictures, each shown in one block, to trials."""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import NeuralDataset, Split, image_files, large, public, safe_npy, safe_pt
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, finite
from braindec.data.sensors import sensor_space
from braindec.data.splits import leave_one_out
from braindec.data.tables import complete_table
from braindec.types import Table, Trials

HERE = Path(__file__).resolve().parent
SUBJECTS = tuple(range(1, 7))
FILES = {
    "5_95": "eeg_5_95_std.pth", "14_70": "eeg_14_70_std.pth", "55_95": "eeg_55_95_std.pth",
    "raw": "eeg_signals_raw_with_mean_std.pth",
}  # fmt: skip
SPLITS = "block_splits_by_image_all.pth"
PARTS = ("train", "val", "test")
IMAGES = "imageNet_images"
N_SEGMENTS, N_CLASSES, N_CHANNELS = 11_964, 40, 128  # the authors' README
LENGTHS, KEPT, SFREQ = (450, 600), (20, 460), 1000.0  # samples; the authors' loader
SIDE = 224  # px of the stored pictures
WHERE = "Get them from https://tinyurl.com/eeg-visual-classification in a browser."
VERDICT = (
    "block design: class = block in time. Each class was shown in one block, and the published split deals the trials "
    "of every block to training and test; slow drift alone tells the class. Scores on it are no evidence of visual "
    "decoding"
)


@dataclass(frozen=True)
class Choice:
    """What `prepare` can be asked for.

    Parameters
    ----------
    files : str, optional
        ``"5_95"``, ``"14_70"``, ``"55_95"`` or ``"raw"``; None takes the one that is there.
    """

    files: str | None = None


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The paths that preparing the 5 to 95 Hz file reads; they are had through a browser alone."""
    return [raw / FILES["5_95"], raw / SPLITS], WHERE


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads one of the torch files and the published split; those that contradict each other are refused."""
    return _whole(raw, _file(raw, choice.files), subjects)


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 2, 3),
    files: str = "5_95",
    n_classes: int = 6,
    n_images: int = 10,
    before_1_6: bool = True,
) -> Truth:
    """A small file with the block design: slow drift of each subject's own, in blocks of their own order, and no class.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    files : str
        As in `prepare`.
    n_classes, n_images : int
        Classes, and images of each.
    before_1_6 : bool
        The torch format in which the files were probably saved, or else the zip format.

    Returns
    -------
    Truth
        Responses as written and kept; `details["place"]` by key: each trial's place in time.
    """
    checks.one_of("files", files, list(FILES))
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"](
        Path(raw), FILES[files], SPLITS, seed, tuple(subjects), n_classes, n_images, before_1_6
    )
    return made


def _file(raw: Path, files: str | None) -> str:
    if files is not None:
        return str(checks.one_of("files", files, list(FILES)))
    there = [name for name, file in FILES.items() if (raw / file).is_file()]
    if not there:
        raise FileNotFoundError(f"{raw} holds none of {list(FILES.values())}. {WHERE}")
    if len(there) > 1:
        raise checks.ConfigError(f"{raw} holds the files of {there}; say which: --set files={there[0]}.")
    return there[0]


def _whole(raw: Path, name: str, subjects: Iterable[int] | None) -> large.Whole:
    path = checks.existing_file(raw / FILES[name], WHERE)
    held = _held(path)
    found = sorted({entry["subject"] for entry in held["dataset"]})
    chosen, missing = large.subjects_there(subjects, SUBJECTS, found, path, "segment of subject {}")
    parts = _published(checks.existing_file(raw / SPLITS, WHERE), held)
    return large.Whole(
        name="eeg_cvpr40",
        licence="not stated; ImageNet's pictures have their own terms",
        source="Spampinato et al. 2017, arXiv:1609.00344; https://tinyurl.com/eeg-visual-classification",
        raw=raw,
        sources=tuple(
            large.Source(f"sub-{s:02d}_eeg", (path, raw / SPLITS), partial(_trials, path, s)) for s in chosen
        ),
        pictures=_pictures(raw, held),
        splits=partial(_splits, parts=parts),
        notes={
            "label": "category",
            "verdict": VERDICT,
            "files": name,
            "transductive": "the files are standardised by their authors; on which trials is not said",
            "epochs": {
                "whitened_on": "none", "ica_fitted_on": "none",
                "z_scored_on": "none" if name == "raw" else "unknown",
            },
            "features": {"selected_on": "none", "aligned_on": "none"},
        },
        settings={"files": name, "kept": list(KEPT), "lengths": list(LENGTHS), "side": SIDE},
        missing=(*missing, *_said(held)),
    )  # fmt: skip


def _held(path: Path) -> dict[str, Any]:
    """The file's dictionary, every segment checked; values stay in the file."""
    held = safe_npy.dictionary(path, ("dataset", "labels", "images"), safe_pt.load(path))
    segments, labels, images = held["dataset"], held["labels"], held["images"]
    if not all(isinstance(x, list) and x for x in (segments, labels, images)):
        raise checks.DataFileError(path, "holds no lists of segments, labels and images", COPY_AGAIN)
    for i, entry in enumerate(segments):
        fault = _fault(entry, labels, images)
        if fault:
            raise checks.DataFileError(path, f"holds a segment {i} that {fault}", COPY_AGAIN)
    return held


def _fault(entry: Any, labels: list[Any], images: list[Any]) -> str:
    """What is wrong with a segment; empty if nothing is."""
    keys = ("eeg", "image", "label", "subject")
    if not isinstance(entry, dict) or not all(k in entry for k in keys):
        return f"lacks one of {list(keys)}"
    eeg, image, label = entry["eeg"], entry["image"], entry["label"]
    if not isinstance(eeg, np.ndarray) or eeg.ndim != 2 or len(eeg) != N_CHANNELS or eeg.dtype.kind != "f":
        return f"is {getattr(eeg, 'dtype', type(eeg).__name__)} {getattr(eeg, 'shape', '')}, expected floats (128, any)"
    if not (0 <= image < len(images) and 0 <= label < len(labels) and entry["subject"] in SUBJECTS):
        return (
            f"has image {image} of {len(images)}, label {label} of {len(labels)}, subject {entry['subject']}"
        )
    if not str(images[image]).startswith(f"{labels[label]}_"):
        return f"shows {images[image]!r} under the class {labels[label]!r}"
    return ""


def _long_enough(entry: Mapping[str, Any]) -> bool:
    return LENGTHS[0] <= entry["eeg"].shape[1] <= LENGTHS[1]


def _said(held: Mapping[str, Any]) -> list[str]:
    n, n_short = len(held["dataset"]), sum(not _long_enough(e) for e in held["dataset"])
    said = [f"The file holds {n} of {N_SEGMENTS} segments."] if n != N_SEGMENTS else []
    said += [f"{n_short} segments are not 450 to 600 samples long and are left out."] if n_short else []
    n_labels = len(held["labels"])
    return said + ([f"The file names {n_labels} of {N_CLASSES} classes."] if n_labels != N_CLASSES else [])


def _pictures(raw: Path, held: Mapping[str, Any]) -> large.Pictures:
    ids = tuple(map(str, held["images"]))
    table = Table({"category": [i.split("_")[0] for i in ids]})
    paths = image_files.of(ids, image_files.by_stem([raw / IMAGES]), raw / IMAGES)
    if paths is None:
        return large.Pictures(ids, table)
    return large.Pictures(ids, table, partial(image_files.batches, paths, SIDE), tuple(paths), (SIDE, SIDE))


def _published(path: Path, held: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Images of each part of the first published split."""
    splits = safe_npy.dictionary(path, ("splits",), safe_pt.load(path))["splits"]
    if not isinstance(splits, list) or not splits:
        raise checks.DataFileError(path, "holds no list of splits", COPY_AGAIN)
    first = safe_npy.dictionary(path, PARTS, splits[0])
    segments, images = held["dataset"], held["images"]
    parts: dict[str, tuple[str, ...]] = {}
    for part in PARTS:
        rows = np.asarray(first[part], dtype=np.int64)
        if len(rows) and not (0 <= rows.min() and rows.max() < len(segments)):
            found = f"names segment {rows.max()} of {len(segments)}"
            raise checks.DataFileError(path, found, "Get recordings and splits of one download.")
        parts[part] = tuple(dict.fromkeys(str(images[segments[r]["image"]]) for r in rows.tolist()))
    every = [image for images in parts.values() for image in images]
    if len(set(every)) != len(every):
        raise checks.DataFileError(path, "has an image in two parts", COPY_AGAIN)
    return parts


def _splits(dataset: NeuralDataset, parts: Mapping[str, tuple[str, ...]]) -> list[Split]:
    """The published one by image; and each subject held out, whose blocks training has not seen."""
    seen = {i for t in dataset.trials.values() for i in t.table["stimulus_id"].tolist()}
    kept = {part: tuple(i for i in images if i in seen) for part, images in parts.items()}
    folds = leave_one_out(dataset, "subject") if len(dataset.trials) > 1 else []
    return [Split("default", "stimulus", {p: images for p, images in kept.items() if images}), *folds]


def _trials(path: Path, subject: int) -> Trials:
    held = _held(path)
    mine = [e for e in held["dataset"] if e["subject"] == subject and _long_enough(e)]
    n = len(mine)
    category = np.array([held["labels"][e["label"]] for e in mine])
    table = complete_table(
        {
            "stimulus_id": np.array([held["images"][e["image"]] for e in mine]), "category": category,
            "run": category,  # a block shows a class, a class has one block
            "onset_s": np.zeros(n), "acquisition_order": np.full(n, -1),
        },
        "1",
    )  # fmt: skip
    space = sensor_space([f"E{i + 1}" for i in range(N_CHANNELS)], "eeg")
    rows = _Segments(path, [e["eeg"] for e in mine])
    return Trials(rows, table, space, "as distributed", subject, "eeg", SFREQ, KEPT[0] / SFREQ)


class _Segments:
    """The kept samples of segments by row, float32 (n, 128, 440)."""

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, eeg: list[np.ndarray]):
        self._path, self._eeg = path, eeg
        self.shape = (len(eeg), N_CHANNELS, KEPT[1] - KEPT[0])

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self._eeg))[rows]
        out = np.stack([self._eeg[i][:, slice(*KEPT)] for i in wanted.tolist()]).astype(np.float32)
        return finite(self._path, out)
