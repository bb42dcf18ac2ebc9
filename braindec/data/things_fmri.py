"""THINGS-fMRI's table of single-trial betas (a pandas HDF5 file, read by h5py alone) to Trials by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks, store
from braindec.data import nifti
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.tables import complete_table, repeats
from braindec.data.things import concept_of, stem_of
from braindec.store import open_readonly
from braindec.types import ArraySpace, Space, Trials, VoxelSpace

SLAB_BYTES = 512 << 20  # float32 betas of some trials and all voxels that are kept in memory
PIECE_BYTES = 64 << 20  # values read at once
TRIAL_COLUMNS = ("trial_type", "session", "run", "stimulus")
PLACE = ("voxel_id", "voxel_x", "voxel_y", "voxel_z")
# Maps that are no regions; `nc_*` are noise ceilings in percent of variance of one trial and of the mean of 12.
MAPS = (
    "subject_id", "nc_singletrial", "nc_testset", "splithalf_uncorrected", "splithalf_corrected", "prf-eccentricity",
    "prf-polarangle", "prf-rsquared", "prf-size",
)  # fmt: skip
ONE_SUBJECT = "Check that the three files are of one subject and release."


def read_things_fmri(
    responses: str | Path,
    stimuli: str | Path,
    voxels: str | Path,
    *,
    subject: int,
    brain_mask: str | Path | None = None,
    keep: np.ndarray | None = None,
) -> Trials:
    """One subject's single-trial betas; responses are read by rows, some hundred trials at a time.

    Parameters
    ----------
    responses : path
        ``sub-0X_ResponseData.h5``: a row a voxel, a column ``voxel_id`` and one a trial.
    stimuli : path
        ``sub-0X_StimulusMetadata.csv``: a row a trial, in the order of the columns.
    voxels : path
        ``sub-0X_VoxelMetadata.csv``: a row a voxel: id, place, noise ceilings and, 0 or 1, regions.
    subject : int
    brain_mask : path, optional
        NIfTI of the grid that the places count in (``sub-0X_space-T1w_brainmask.nii.gz``); without it the voxels have
        regions but no place.
    keep : bool array, shape (n_voxels,), optional
        Voxels of the file to keep.

    Returns
    -------
    Trials
        Voxels in the order of ``np.nonzero(mask)`` where they have a place. `stimulus_id` is the image's name;
        `trial_type` is ``"train"`` or ``"test"``. Onsets are not in the files (0).

    Raises
    ------
    DataFileError
        If a file is damaged, or the three contradict each other.
    """
    trials, about = _csv(stimuli, TRIAL_COLUMNS), _csv(voxels, PLACE)
    n_trials, n_voxels = len(trials["stimulus"]), len(about["voxel_id"])
    kept = np.ones(n_voxels, dtype=bool) if keep is None else keep
    order, space = _space(Path(voxels), about, kept, brain_mask)
    rows = BetaRows(responses, n_trials, about["voxel_id"].astype(np.int64), order)
    ids = np.array([stem_of(s) for s in trials["stimulus"].astype(str).tolist()])
    kinds = trials["trial_type"].astype(str)
    unknown = sorted(set(kinds.tolist()) - {"train", "test"})
    if unknown:
        raise checks.DataFileError(
            stimuli, f"has trials of the type {unknown}, known are train and test", COPY_AGAIN
        )
    session, run = (trials[c].astype(np.int64).astype(str) for c in ("session", "run"))
    columns = {
        "stimulus_id": ids,
        "concept": np.array([concept_of(i) for i in ids.tolist()]),
        "trial_type": kinds,
        "session": session,
        "run": np.char.add(np.char.add(session, "-"), run),
        "repeat": repeats(ids.tolist()),
        "onset_s": np.zeros(n_trials),
        "acquisition_order": np.arange(n_trials),
    }
    return Trials(rows, complete_table(columns, "1"), space, "z (of the run's signal)", subject, "fmri")


class BetaRows:
    """Betas by trial, float32 (n_trials, n_voxels), of a file that keeps each voxel's trials together.

    Parameters
    ----------
    path : path
        Written by pandas (``to_hdf``, fixed format): one block of floats (n_voxels, n_trials) and one of voxel ids.
    n_trials : int
    voxel_ids : int array, shape (n_in_file,)
        What the voxel ids must be.
    order : int array, shape (n_voxels,)
        Rows of the file in the order of the features.

    Raises
    ------
    DataFileError
        If the file is not of that form and size, or is of other voxels; when rows are read, if a voxel holds NaN or
        infinities or never varies.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: str | Path, n_trials: int, voxel_ids: np.ndarray, order: np.ndarray):
        self.path = checks.existing_file(path, "Get betas_csv/sub-0X_ResponseData.h5.")
        self._name, self._first = _block(self.path, n_trials, voxel_ids)
        self._order, self._n_in_file = order, len(voxel_ids)
        self._slab: tuple[int, np.ndarray] | None = None
        self._checked = False
        self.shape = (n_trials, len(order))
        self._per_slab = max(1, SLAB_BYTES // (4 * max(1, len(order))))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_slab": None}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask, position or positions."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        self._check()
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        of = wanted // self._per_slab
        for slab in np.unique(of).tolist():
            places = np.flatnonzero(of == slab)
            out[places] = self._read(slab)[wanted[places] - slab * self._per_slab]
        return out

    def bad(self) -> np.ndarray:
        """Voxels of the file that hold NaN or infinities, or never vary, bool (n_in_file,); reads the whole file."""
        found = np.zeros(self._n_in_file, dtype=bool)
        for rows, values in self._voxels(slice(0, self.shape[0])):
            with np.errstate(invalid="ignore"):
                found[rows] = ~np.isfinite(values).all(1) | (values == values[:, :1]).all(1)
        return found

    def _check(self) -> None:
        if self._checked:
            return
        bad = self.bad()[self._order]
        if bad.any():
            found = f"holds {int(bad.sum())} of {len(bad)} voxels with NaN or infinities, or that never vary"
            raise checks.DataFileError(
                self.path,
                found,
                "Get the file again, or leave such voxels out: --set invalid=drop.",
            )
        self._checked = True

    def _read(self, slab: int) -> np.ndarray:
        if self._slab is None or self._slab[0] != slab:
            self._slab = None  # not two at a time
            start = slab * self._per_slab
            stop = min(start + self._per_slab, len(self))
            whole = np.empty((stop - start, self._n_in_file), dtype=np.float32)
            for rows, values in self._voxels(slice(start, stop)):
                whole[:, rows] = values.T
            self._slab = (slab, whole[:, self._order])
        return self._slab[1]

    def _voxels(self, trials: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Some voxels after others: their rows in the file and float32 (n, n_trials)."""
        n = trials.stop - trials.start
        step = max(1, PIECE_BYTES // (8 * n))
        columns = slice(self._first + trials.start, self._first + trials.stop)
        with reading(self.path), open_readonly(self.path) as file:
            data = file[self._name]
            for start in range(0, self._n_in_file, step):
                rows = slice(start, min(start + step, self._n_in_file))
                yield rows, np.asarray(data[rows, columns], dtype=np.float32)


def write_voxel_maps(
    folder: Path, key: str, voxels: str | Path, trials_keep: np.ndarray, brain_mask: Path | None
) -> None:
    """Writes ``voxels_<key>.h5``: ids, places, noise ceilings and pRF maps in the order of the prepared voxels."""
    about = _csv(voxels, PLACE)
    order, _ = _space(Path(voxels), about, trials_keep, brain_mask)
    with store.writer(folder / f"voxels_{key}.h5") as out:
        for name in (*PLACE, *(m for m in MAPS if m in about and m != "subject_id")):
            out.array(name, about[name][order])


def read_voxel_maps(folder: str | Path, key: str) -> dict[str, np.ndarray]:
    """What `write_voxel_maps` wrote, e.g. ``nc_testset``, the noise ceiling in percent of variance of means of 12."""
    stored = store.Stored(Path(folder) / f"voxels_{key}.h5")
    return {name: stored.array(name) for name in stored.names}


def _csv(path: str | Path, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    import pandas as pd

    path = checks.existing_file(path, "Get the three files of a subject: betas_csv/sub-0X_*.")
    with reading(path, pd.errors.ParserError):
        frame = pd.read_csv(path)
        missing = [c for c in needed if c not in frame]
        if missing:
            raise checks.DataFileError(
                path, f"has no column {missing}; it has {list(frame)[:12]}", COPY_AGAIN
            )
        if frame[list(needed)].isna().to_numpy().any():
            raise checks.DataFileError(path, f"has empty cells in {list(needed)}", COPY_AGAIN)
        return {
            str(n): c.to_numpy() if c.dtype.kind in "biuf" else c.astype(str).to_numpy().astype(str)
            for n, c in frame.items()
        }


def _space(
    path: Path, about: dict[str, np.ndarray], kept: np.ndarray, brain_mask: str | Path | None
) -> tuple[np.ndarray, Space]:
    """Rows of the table in the order of the features, and where these are."""
    regions = {n: c for n, c in about.items() if n not in PLACE + MAPS and c.dtype.kind in "biuf"}
    for name, column in regions.items():
        if not np.isin(column, (0, 1)).all():
            raise checks.DataFileError(
                path, f"holds other values than 0 and 1 in the region {name!r}", COPY_AGAIN
            )
    order = np.flatnonzero(kept)
    if brain_mask is None:
        return order, ArraySpace(len(order), {n: c[order] == 1 for n, c in regions.items()})
    whole = nifti.read_mask(brain_mask)
    grid = whole.mask.shape
    place = np.stack([about[c].astype(np.int64) for c in PLACE[1:]], axis=1)
    if (place < 0).any() or (place >= grid).any() or not whole.mask[tuple(place.T)].all():
        raise checks.DataFileError(path, f"names voxels outside of the brain mask {grid}", ONE_SUBJECT)
    flat = np.ravel_multi_index(tuple(place.T), grid)
    if len(np.unique(flat)) != len(flat):
        raise checks.DataFileError(path, "names a voxel twice", COPY_AGAIN)
    order = order[np.argsort(flat[order])]
    mask = np.zeros(grid, dtype=bool)
    mask.ravel()[flat[order]] = True
    return order, VoxelSpace(mask, whole.affine, {n: c[order] == 1 for n, c in regions.items()})


def _block(path: Path, n_trials: int, voxel_ids: np.ndarray) -> tuple[str, int]:
    """Name of the block of betas and its first column of a trial, after everything was found to fit."""
    with reading(path), open_readonly(path) as file:
        frames = [g for g in file.values() if isinstance(g, h5py.Group) and "pandas_type" in g.attrs]
        kind = bytes(frames[0].attrs["pandas_type"]).decode() if len(frames) == 1 else f"{len(frames)} frames"
        if kind != "frame":
            way_out = "Write it anew with pandas: read_hdf(path).to_hdf(new_path, key='ResponseData')."
            raise checks.DataFileError(
                path, f"holds {kind!r}, expected one pandas frame in fixed format", way_out
            )
        blocks = [frames[0][f"block{i}_values"] for i in range(int(frames[0].attrs["nblocks"]))]
        floats = [b for b in blocks if b.dtype.kind == "f"]
        whole = [b for b in blocks if b.dtype.kind in "iu"]
        expected = (len(voxel_ids), n_trials)
        # voxel_id is the first column: of the block of floats, where it was saved as such
        first = 0 if whole else 1
        good = len(floats) == 1 and len(whole) <= 1 and floats[0].shape == (expected[0], expected[1] + first)
        if not good:
            shapes = [f"{b.dtype} {b.shape}" for b in blocks]
            found = (
                f"holds {shapes}, expected floats {expected} (voxel, trial) and voxel ids {(expected[0], 1)}"
            )
            raise checks.DataFileError(path, found, ONE_SUBJECT)
        ids = (whole[0] if whole else floats[0])[:, 0]
        name = str(floats[0].name)
    if not np.array_equal(ids, voxel_ids):
        raise checks.DataFileError(path, "holds other voxel ids than the table of voxels", ONE_SUBJECT)
    return name, first
