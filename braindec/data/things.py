"""What recordings with THINGS images share: names of images and concepts, where pictures lie, what is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import image_files
from braindec.data.dataset import NeuralDataset
from braindec.data.large import Pictures
from braindec.data.splits import Split
from braindec.types import Table, Trials

FOLDERS = ("images", "object_images", "images_THINGS/object_images", "THINGS-images", "THINGS/Images")
WHERE = (
    "Download images_THINGS.zip from https://osf.io/jum2f (its password is in password_images.txt, with the terms), "
    "unpack it beside the recordings, or leave pictures out: --set images=false."
)


def stem_of(path: str) -> str:
    """``"aardvark_01b"`` of ``"images_meg/aardvark/aardvark_01b.jpg"``."""
    return path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or path


def concept_of(stem: str) -> str:
    """``"aircraft_carrier"`` of ``"aircraft_carrier_06s"``."""
    return stem.rpartition("_")[0] or stem


def pictures_of(raw: Path, ids: Sequence[str], tested: Sequence[str], side: int, *, images: bool) -> Pictures:
    """The pictures of these images, ``<folder>/<concept>/<stem>.jpg`` in one of `FOLDERS` below `raw`.

    Parameters
    ----------
    raw : Path
    ids : sequence of str
        Stems, unique.
    tested : sequence of str
        Those of the test images; the table's `trial_type` is ``"test"`` for them and ``"train"`` for others.
    side : int
        Pixels.
    images : bool
        False: names and concepts alone.

    Raises
    ------
    FileNotFoundError
        If pictures are missing; says how many and where to get them.
    """
    concepts = [concept_of(i) for i in ids]
    kinds = np.where(np.isin(np.array(ids, dtype=str), np.array(tested, dtype=str)), "test", "train")
    table = Table({"concept": np.array(concepts, dtype=str), "trial_type": kinds})
    if not images:
        return Pictures(tuple(ids), table)
    folder = next((raw / f for f in FOLDERS if (raw / f).is_dir()), raw / FOLDERS[0])
    paths = [folder / concept / f"{stem}.jpg" for concept, stem in zip(concepts, ids, strict=True)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} pictures are not there, first {missing[0]}. {WHERE}"
        )
    return Pictures(tuple(ids), table, partial(image_files.batches, paths, side), tuple(paths), (side, side))


@dataclass(frozen=True)
class Choice:
    """What `prepare` can be asked for.

    Parameters
    ----------
    images : bool
        False leaves the pictures out: concepts and names alone.
    """

    images: bool = True


@dataclass
class Seen:
    """The images that the subjects read so far have seen, and those of them that are tested."""

    ids: set[str] = field(default_factory=set)
    tested: set[str] = field(default_factory=set)

    def of(
        self, trials: Trials, whole: Mapping[str, int], what: str, n_repeats: int, **further: int
    ) -> tuple[str, ...]:
        """Notes a subject's images, and says what it lacks, a sentence each.

        Parameters
        ----------
        trials : Trials
            Column `trial_type` is ``"test"`` for those of test images.
        whole : mapping of str to int
            Trials of each type in the complete dataset.
        what : str
            What a trial is called.
        n_repeats : int
            Of each test image in the complete dataset.
        **further : int
            Trials of types that `trials` leaves out.
        """
        kinds, stimuli = trials.table["trial_type"], trials.table["stimulus_id"]
        self.ids |= set(stimuli.tolist())
        self.tested |= set(stimuli[kinds == "test"].tolist())
        counts = {kind: further.get(kind, int((kinds == kind).sum())) for kind in whole}
        said = tuple(
            f"{trials.key}: {counts[kind]} of {n} {what} of the type {kind}."
            for kind, n in whole.items()
            if counts[kind] != n
        )
        odd = int((np.unique(stimuli[kinds == "test"], return_counts=True)[1] != n_repeats).sum())
        return said + ((f"{trials.key}: {odd} test images were not shown {n_repeats} times.",) if odd else ())

    def pictures(self, raw: Path, side: int, *, images: bool) -> Pictures:
        """Of all of them; see `pictures_of`."""
        return pictures_of(raw, sorted(self.ids), sorted(self.tested), side, images=images)


def splits(dataset: NeuralDataset) -> list[Split]:
    """``default`` holds out the test images and all images of their concepts, ``stimuli`` the test images alone.

    The trials of the test concepts' other images lie in neither part of ``default``.
    """
    table = checks.of_type("table", dataset.stimuli.table, Table)
    is_test = table["trial_type"] == "test"
    tested = set(table["concept"][is_test].tolist())
    others = tuple(sorted(set(table["concept"].tolist()) - tested))
    ids = np.array(dataset.stimuli.ids)
    by_concept = {"train": others, "test": tuple(sorted(tested))}
    by_stimulus = {"train": tuple(ids[~is_test].tolist()), "test": tuple(ids[is_test].tolist())}
    return [
        Split("default", "concept", by_concept, {"test": {"trial_type": ("test",)}}),
        Split("stimuli", "stimulus", by_stimulus),
    ]
