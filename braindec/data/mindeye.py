"""NSD as MindEye2 distributes it: behaviour in webdataset tars, standardised betas, float16 pictures."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks
from braindec.data import hdf5, tars
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.tables import repeats
from braindec.store import open_readonly
from braindec.types import ArraySpace, Table

BETAS = "betas_all_subj{subject:02d}_fp32_renorm.hdf5"
IMAGES = "coco_images_224_float16.hdf5"
INDICES = "COCO_73k_subj_indices.hdf5"
REGIONS = "brain_region_masks.hdf5"
N_IMAGES, SIDE = 73_000, 224
MEMBER = re.compile(r"sample\d{9}\.behav\.npy")
MEMBER_BYTES = 1 << 16  # a row of behaviour has 264; a larger member is none
COLUMNS = 17
NSD_ID, SUBJECT, SESSION, RUN, TRIAL, GLOBAL_TRIAL, TIME, SHARED = 0, 1, 2, 3, 4, 5, 6, 16


def subjects_of(raw: str | Path) -> list[int]:
    """Subjects whose betas lie in a folder of this layout; none where it is another layout."""
    found = [
        re.fullmatch(r"betas_all_subj(\d\d)_fp32_renorm\.hdf5", path.name)
        for path in Path(raw).glob("betas_all_*")
    ]
    return sorted(int(m[1]) for m in found if m)


def read_behaviour(raw: str | Path, subject: int) -> Table:
    """The trials of every tar of a subject, in the order of acquisition, each once.

    Parameters
    ----------
    raw : path
        Holds ``wds/subj01/train/*.tar`` and ``wds/subj01/new_test/*.tar``.
    subject : int

    Returns
    -------
    Table
        As `braindec.data.nsd.read_nsd`'s, and `beta_row`: the row of the betas.

    Raises
    ------
    DataFileError
        If a tar is damaged, holds another subject's trials, or training tars hold shared images.
    """
    folder = Path(raw) / "wds" / f"subj{subject:02d}"
    rows = []
    for part, shared in (("train", 0), ("new_test", 1)):
        paths = sorted(
            checks.existing_folder(folder / part, "Get wds/subjXX/train and new_test.").glob("*.tar")
        )
        for path in paths:
            held = _tar(path)
            _check(path, held, subject, shared)
            rows.append(held)
        if not paths:
            raise FileNotFoundError(f"{folder / part} holds no tar. Get wds/subjXX/train and new_test.")
    behaviour = np.concatenate(rows)
    behaviour = behaviour[np.argsort(behaviour[:, GLOBAL_TRIAL], kind="stable")]
    twice = np.flatnonzero(np.diff(behaviour[:, GLOBAL_TRIAL]) == 0)
    if len(twice):
        found = f"hold {len(twice)} trials twice, first {int(behaviour[twice[0], GLOBAL_TRIAL])}"
        raise checks.DataFileError(folder, found, "Get train and new_test of one release again.")
    return _table(behaviour)


def read_betas(raw: str | Path, subject: int, table: Table) -> Rows:
    """The betas of these trials by row, float32; they are refused when they have too few rows or name other images."""
    path = Path(raw) / BETAS.format(subject=subject)
    shape, _ = hdf5.require(path, "betas", dtype=np.float32, shape=(None, None), axes="trial, voxel")
    last = int(table["beta_row"].max())
    if last >= shape[0]:
        found = f"holds 'betas' {shape} but the tars name row {last}"
        raise checks.DataFileError(path, found, "Get betas and tars of one subject and release.")
    _check_indices(Path(raw) / INDICES, subject, table)
    return Rows(path, table["beta_row"], shape[1])


def read_space(raw: str | Path, subject: int, n_voxels: int) -> ArraySpace:
    """Voxels whose place is not distributed, with the regions of brain_region_masks.hdf5 where that is there."""
    path = Path(raw) / REGIONS
    if not path.is_file():
        return ArraySpace(n_voxels)
    regions = {}
    with reading(path), open_readonly(path) as file:
        for name, values in file[f"subj{subject:02d}"].items():
            regions[name] = np.asarray(values).astype(bool).ravel()
            if len(regions[name]) != n_voxels:
                found = (
                    f"holds 'subj{subject:02d}/{name}' of {len(regions[name])} voxels, expected {n_voxels}"
                )
                raise checks.DataFileError(path, found, "Get masks and betas of one release.")
    return ArraySpace(n_voxels, regions)


def images(raw: str | Path, ids: Sequence[int], batch: int = 64) -> Iterator[np.ndarray]:
    """Batches of uint8 (n, 224, 224, 3) of the images with these 0-based ids, which must ascend."""
    path = Path(raw) / IMAGES
    hdf5.require(
        path, "images", dtype=np.float16, shape=(N_IMAGES, 3, None, None), axes="image, channel, y, x"
    )
    with reading(path), open_readonly(path) as file:
        for start in range(0, len(ids), batch):
            held = np.asarray(file["images"][list(ids[start : start + batch])], dtype=np.float32)
            if not (np.isfinite(held).all() and held.min() >= 0 and held.max() <= 1):
                raise checks.DataFileError(path, "holds 'images' outside of [0, 1]", COPY_AGAIN)
            yield np.rint(255 * held).astype(np.uint8).transpose(0, 2, 3, 1)


class Rows:
    """Some rows of a matrix in an HDF5 file, read on demand.

    Parameters
    ----------
    path : Path
    index : int array, shape (n_rows,)
    n_features : int
    key : str
    """

    def __init__(self, path: Path, index: np.ndarray, n_features: int, key: str = "betas"):
        self._path, self._index, self._key = path, np.asarray(index), key
        self.shape = (len(self._index), n_features)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions, float32."""
        unique, back = np.unique(self._index[rows], return_inverse=True)
        with reading(self._path), open_readonly(self._path) as file:
            data: h5py.Dataset = file[self._key]
            return np.asarray(data[unique], dtype=np.float32)[back]


def _tar(path: Path) -> np.ndarray:
    """Rows of behaviour, float64 (n_trials, 17): members are read in memory and never unpacked."""
    rows = []
    for tar, member in tars.members(path):
        if not MEMBER.fullmatch(Path(member.name).name):
            continue
        with reading(path, tarfile.TarError):
            file = tar.extractfile(member)
            content = file.read(MEMBER_BYTES) if file else b""
            if len(content) != member.size:
                raise checks.DataFileError(path, f"holds {member.name!r} of {member.size} bytes", COPY_AGAIN)
            values = np.load(io.BytesIO(content), allow_pickle=False)
        if values.shape != (1, COLUMNS):
            found = f"holds {member.name!r} of shape {values.shape}, expected (1, {COLUMNS})"
            raise checks.DataFileError(path, found, COPY_AGAIN)
        rows.append(np.asarray(values, dtype=np.float64))
    if not rows:
        raise checks.DataFileError(path, "holds no member 'sampleNNNNNNNNN.behav.npy'", COPY_AGAIN)
    return np.concatenate(rows)


def _check(path: Path, held: np.ndarray, subject: int, shared: int) -> None:
    used = held[:, [NSD_ID, SUBJECT, SESSION, RUN, TRIAL, GLOBAL_TRIAL, SHARED]]
    if not (np.isfinite(used).all() and (used == np.rint(used)).all()):
        raise checks.DataFileError(path, "holds 'behav' that are no whole numbers", COPY_AGAIN)
    if set(held[:, SUBJECT].tolist()) != {subject}:
        found = f"holds trials of subjects {sorted(set(held[:, SUBJECT].astype(int).tolist()))}, expected {subject}"
        raise checks.DataFileError(path, found, "Get this subject's own tars.")
    wrong = int((held[:, SHARED] != shared).sum())
    outside = int(((held[:, NSD_ID] < 0) | (held[:, NSD_ID] >= N_IMAGES) | (held[:, GLOBAL_TRIAL] < 0)).sum())
    if wrong or outside:
        found = f"holds {wrong} trials whose 'shared1000' is not {shared}, and {outside} with numbers out of range"
        raise checks.DataFileError(path, found, "Get train and new_test of one release again.")


def _table(behaviour: np.ndarray) -> Table:
    number = {
        name: behaviour[:, i].astype(np.int64)
        for i, name in enumerate(("nsd", "", "session", "run", "trial"))
    }
    row = behaviour[:, GLOBAL_TRIAL].astype(np.int64)
    ids = [f"nsd-{i:05d}" for i in number["nsd"].tolist()]
    pairs = zip(number["session"].tolist(), number["run"].tolist(), strict=True)
    run = np.array([f"{s}-{r}" for s, r in pairs])
    onset = np.empty(len(row))
    for name in np.unique(run):
        of = run == name
        onset[of] = (behaviour[of, TIME] - behaviour[of, TIME].min()) * 86_400.0  # days, as in responses.tsv
    return Table(
        {
            "stimulus_id": np.array(ids),
            "session": number["session"].astype(str),
            "run": run,
            "repeat": repeats(ids),
            "onset_s": np.round(onset, 3),
            "acquisition_order": row,
            "exchangeability_block": number["session"].astype(str),
            "run_position": number["trial"],
            "shared": behaviour[:, SHARED] == 1,
            "beta_row": row,
        }
    )


def _check_indices(path: Path, subject: int, table: Table) -> None:
    """Refuses tars that name other images than the list of every trial's image, where that is there."""
    if not path.is_file():
        return
    hdf5.require(path, f"subj{subject:02d}", shape=(None,), axes="trial")
    with reading(path), open_readonly(path) as file:
        listed = np.asarray(file[f"subj{subject:02d}"], dtype=np.int64)
    named = np.array([int(i.removeprefix("nsd-")) for i in table["stimulus_id"].tolist()])
    row = table["beta_row"]
    if row.max() >= len(listed) or (listed[row] != named).any():
        found = f"names other images in 'subj{subject:02d}' than the tars do"
        raise checks.DataFileError(path, found, "Get both of one release again.")
