"""Miniatures of THINGS-fMRI: drawn pictures, and planted betas in the layout that pandas and PyTables give a frame."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import seeding
from braindec.data import miniature
from braindec.data.catalogue import Truth
from braindec.types import Table

N_IMAGES, N_REPEATS, N_SESSIONS, N_RUNS = 4, 12, 2, 3
GRID = (7, 8, 6)
REGIONS = (
    "V1",
    "V2",
    "V3",
    "hV4",
    "LO1 (prf)",
    "lEBA",
    "rEBA",
    "lFFA",
    "rFFA",
    "lPPA",
    "rPPA",
    "lLOC",
    "rLOC",
    "IT",
)


def synthetic(
    raw: str | Path,
    *,
    seed: int,
    subjects: Iterable[int],
    n_concepts: tuple[int, int],
    noise: float,
    brain_mask: bool,
) -> Truth:
    """See prepare.py."""
    raw = Path(raw)
    generator = seeding.numpy_generator(seed, "things_fmri", "pictures")
    names = miniature.concept_names(n_concepts[0])
    tested = sorted(generator.permutation(names)[: n_concepts[1]].tolist())
    shown = miniature.draw(names, N_IMAGES, generator)
    probes = miniature.draw(tested, 1, generator, first=14)
    for picture in [*shown, *probes]:
        miniature.save(picture, raw / "images" / picture.concept)
    responses, tables, ceilings = {}, {}, {}
    for subject in subjects:
        own = seeding.numpy_generator(seed, "things_fmri", subject)
        key = f"sub-{subject:02d}_fmri"
        found = _write_subject(raw, subject, shown, probes, noise, own, brain_mask)
        responses[key], tables[key], ceilings[key] = found
    return Truth(responses, tables, {"pictures": [*shown, *probes], "nc_testset": ceilings})


def _write_subject(
    raw: Path,
    subject: int,
    shown: list[miniature.Picture],
    probes: list[miniature.Picture],
    noise: float,
    generator: np.random.Generator,
    brain_mask: bool,
) -> tuple[np.ndarray, Table, np.ndarray]:
    import pandas as pd

    pictures, kinds = [*shown, *probes], ["train"] * len(shown) + ["test"] * len(probes)
    rows = generator.permutation(
        np.concatenate([np.arange(len(shown)), np.repeat(len(shown) + np.arange(len(probes)), N_REPEATS)])
    )
    mask = generator.random(GRID) < 0.6
    place = np.argwhere(mask)
    n_voxels = len(place)
    map_ = generator.standard_normal((n_voxels, miniature.N_FEATURES))
    planted = miniature.features(pictures) @ map_.T
    betas = 0.1 * (planted[rows] / planted.std() + noise * generator.standard_normal((len(rows), n_voxels)))
    shuffled = generator.permutation(
        n_voxels
    )  # the file's voxels are in no order of the grid that a reader may assume
    folder = raw / "betas_csv"
    folder.mkdir(parents=True, exist_ok=True)
    write_frame(folder / f"sub-{subject:02d}_ResponseData.h5", betas[:, shuffled].T.astype(np.float64))
    part = np.arange(len(rows)) * N_SESSIONS * N_RUNS // len(rows)
    stems = [pictures[i].stem for i in rows.tolist()]
    types = [kinds[i] for i in rows.tolist()]
    stimuli = {
        "trial_type": types, "session": part // N_RUNS + 1, "run": part % N_RUNS + 1, "subject_id": subject,
        "trial_id": np.arange(len(rows)), "stimulus": [f"{s}.jpg" for s in stems],
        "concept": [pictures[i].concept for i in rows.tolist()],
    }  # fmt: skip
    pd.DataFrame(stimuli).to_csv(folder / f"sub-{subject:02d}_StimulusMetadata.csv", index=False)
    ceiling = 100 * generator.random(n_voxels)
    voxels = {"voxel_id": np.arange(n_voxels), "subject_id": subject}
    voxels |= {f"voxel_{axis}": place[shuffled, i] for i, axis in enumerate("xyz")}
    voxels |= {"nc_singletrial": ceiling[shuffled] / 3, "nc_testset": ceiling[shuffled]}
    voxels |= {name: generator.random(n_voxels) for name in ("splithalf_uncorrected", "splithalf_corrected")}
    voxels |= {
        f"prf-{name}": generator.random(n_voxels)
        for name in ("eccentricity", "polarangle", "rsquared", "size")
    }
    voxels |= {name: (place[shuffled, 0] % len(REGIONS) == i).astype(int) for i, name in enumerate(REGIONS)}
    pd.DataFrame(voxels).to_csv(folder / f"sub-{subject:02d}_VoxelMetadata.csv", index=False)
    if brain_mask:
        _write_mask(raw / "brainmasks" / f"sub-{subject:02d}_space-T1w_brainmask.nii.gz", mask)
    table = Table({"stimulus_id": stems, "trial_type": types, "acquisition_order": np.arange(len(rows))})
    return betas.astype(np.float32), table, ceiling


def _write_mask(path: Path, mask: np.ndarray) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    grown = mask.copy()
    grown[0, 0, 0] = True  # a voxel of the brain that the table leaves out
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(grown.astype(np.uint8), affine), path)


def write_frame(path: Path, betas: np.ndarray) -> None:
    """``DataFrame.to_hdf(path, key="ResponseData")`` of the columns voxel_id, 0, 1, ..., in pandas' fixed format.

    Parameters
    ----------
    path : Path
    betas : float array, shape (n_voxels, n_trials)
    """
    n_voxels, n_trials = betas.shape
    labels = np.array(["voxel_id", *range(n_trials)], dtype=object)
    with h5py.File(path, "w") as file:
        _mark(file, CLASS="GROUP", PYTABLES_FORMAT_VERSION="2.1", TITLE="", VERSION="1.0")
        group = file.create_group("ResponseData")
        _mark(
            group,
            CLASS="GROUP",
            TITLE="",
            VERSION="1.0",
            pandas_type="frame",
            encoding="UTF-8",
            errors="strict",
        )
        _mark(
            group,
            axis0_variety="regular",
            axis1_variety="regular",
            block0_items_variety="regular",
            block1_items_variety="regular",
        )
        group.attrs["ndim"], group.attrs["nblocks"] = np.int64(2), np.int64(2)
        _labels(group, "axis0", labels)
        _array(group, "axis1", np.arange(n_voxels), kind="integer")
        _labels(group, "block0_items", labels[1:])
        _array(group, "block0_values", betas)
        _array(group, "block1_items", np.array([b"voxel_id"]), kind="string")
        _array(group, "block1_values", np.arange(n_voxels)[:, None])


def _array(group: h5py.Group, name: str, values: np.ndarray, **said: str) -> None:
    data = group.create_dataset(name, data=values)
    _mark(data, CLASS="ARRAY", FLAVOR="numpy", TITLE="", VERSION="2.4", **said)
    data.attrs["transposed"] = np.uint8(1)
    if said:
        data.attrs["name"] = np.bytes_(b"N.")


def _labels(group: h5py.Group, name: str, labels: np.ndarray) -> None:
    """Names of columns of several kinds, which PyTables pickles."""
    data = group.create_dataset(name, (1,), dtype=h5py.vlen_dtype(np.uint8), maxshape=(None,))
    data[0] = np.frombuffer(pickle.dumps(labels, protocol=4), dtype=np.uint8)
    _mark(data, CLASS="VLARRAY", PSEUDOATOM="object", TITLE="", VERSION="1.4", kind="object")
    data.attrs["name"] = np.bytes_(b"N.")
    data.attrs["transposed"] = np.uint8(1)


def _mark(node: Any, **attributes: str) -> None:
    for name, value in attributes.items():
        text = h5py.string_dtype("utf-8", max(1, len(value)))
        node.attrs.create(
            name, value.encode() if value else h5py.Empty(text), dtype=None if not value else text
        )
