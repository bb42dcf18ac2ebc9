"""The Natural Scenes Dataset's files (int16 betas, design, responses, regions) to Trials in bounded memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks
from braindec.data import hdf5, mat5_walk, nifti
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.nsd_rows import (
    OTHER_SUBJECT,
    SessionRows,
    SurfaceSession,
    VoxelSession,
    chunked_by_voxel,
    read_mgh,
)
from braindec.data.nsd_space import mesh_size, read_space
from braindec.data.tables import repeats
from braindec.store import open_readonly
from braindec.types import Table, Trials, VertexSpace, VoxelSpace

SCALE = 300.0  # betas are stored as int16 of 300 times the percent signal change; NSD data manual, "Betas"
BLOCK_BYTES = 64 << 20
BETAS = "betas_fithrf_GLMdenoise_RR"
DESIGN = Path("nsddata/experiments/nsd/nsd_expdesign.mat")
SHARED = 1000  # the first thousand of each subject's 10,000 images are shared; NSD data manual, "nsd_expdesign.mat"


def read_nsd(
    raw: str | Path,
    subject: int,
    *,
    betas: str = BETAS,
    grid: str = "func1pt8mm",
    mask: str = "nsdgeneral",
    regions: Iterable[str] | None = None,
    sessions: Iterable[int] | None = None,
) -> Trials:
    """One subject's single-trial betas, in NSD's own layout below `raw`; responses are read on demand.

    Parameters
    ----------
    raw : path
        Holds nsddata/ and nsddata_betas/.
    subject : int
        1 is subj01.
    betas, grid : str
        Folder names of the preparation, e.g. ``"betas_assumehrf"`` and ``"func1pt8mm"`` (or ``"fsaverage"``).
    mask : str
        Name of the ROI image whose voxels (or vertices) > 0 are read; ``"all"`` reads the brain mask (all vertices).
    regions : iterable of str, optional
        Names of further ROI images; None takes all in the folder. An image with several labels gives a region
        ``<name>-<label>`` for each, one with a single label gives ``<name>``.
    sessions : iterable of int, optional
        From 1; None takes every session that has a file.

    Returns
    -------
    Trials
        In percent signal change. `stimulus_id` is ``nsd-<0-based id, 5 digits>``; `shared` marks the 1,000 shared
        images; runs are named ``<session>-<run>``; trials of one session may be permuted among each other.

    Raises
    ------
    DataFileError
        If a file is damaged, or betas, responses and design contradict each other.
    """
    raw = Path(raw)
    space = read_space(raw, subject, grid=grid, mask=mask, regions=regions)
    folder = betas_folder(raw, subject, grid, betas)
    there = session_files(folder)
    if not there:
        raise FileNotFoundError(f"{folder} holds no betas of a session. Get the betas of this subject first.")
    wanted = (
        sorted(there)
        if sessions is None
        else sorted({checks.one_of("session", s, sorted(there)) for s in sessions})
    )
    table = read_table(raw, subject, wanted)
    counts = [int((table["session"] == str(s)).sum()) for s in wanted]
    size = mesh_size(raw, grid) if isinstance(space, VertexSpace) else 0
    rows = session_rows([there[s] for s in wanted], counts, space, size)
    return Trials(rows, table, space, "percent signal change", subject, "fmri")


def betas_folder(raw: str | Path, subject: int, grid: str, betas: str) -> Path:
    """Where a subject's betas of one preparation lie; an absent folder is refused."""
    folder = Path(raw) / "nsddata_betas" / "ppdata" / f"subj{subject:02d}" / grid / betas
    return checks.existing_folder(
        folder, "Get the betas of this subject, or choose a preparation that is there."
    )


def session_files(folder: Path, name: str = "session") -> dict[int, tuple[Path, ...]]:
    """Files of every session by its number: one HDF5 or NIfTI file (HDF5 where there are both), or two hemispheres.

    Parameters
    ----------
    folder : Path
        From `betas_folder`.
    name : str
        ``"session"``; or ``"nsdimagery"`` and ``"nsdsynthetic"``, whose one session is number 0.
    """
    found: dict[int, tuple[Path, ...]] = {}
    for suffix in (".nii.gz", ".hdf5", ".mgh"):
        for path in sorted(folder.glob(f"*betas_{name}*{suffix}")):
            matched = re.fullmatch(rf"((?:lh|rh)\.)?betas_{name}(\d*){re.escape(suffix)}", path.name)
            if matched and matched[1] != "rh.":
                other = (path.with_name(path.name.replace("lh.", "rh.", 1)),) if matched[1] else ()
                found[int(matched[2] or 0)] = (path, *other)
    return found


def session_rows(
    files: list[tuple[Path, ...]], counts: list[int], space: VoxelSpace | VertexSpace, size: int = 0
) -> Any:
    """The betas of sessions by row, read on demand.

    Parameters
    ----------
    files : list of tuple of Path
        From `session_files`.
    counts : list of int
        Trials that each must have.
    space : VoxelSpace or VertexSpace
    size : int
        Vertices of a hemisphere, where `space` is one of vertices.
    """
    if isinstance(space, VertexSpace):
        return SessionRows(
            [
                SurfaceSession(f[0], f[1], n, space.left, space.right, size)
                for f, n in zip(files, counts, strict=True)
            ]
        )
    paths = [f[0] for f in files]
    if all(path.suffix == ".hdf5" for path in paths) and not any(chunked_by_voxel(path) for path in paths):
        return NsdBetas(paths, counts, space.mask)
    return SessionRows([VoxelSession(p, n, space.mask, SCALE) for p, n in zip(paths, counts, strict=True)])


def read_nsd_ncsnr(
    raw: str | Path, subject: int, *, betas: str = BETAS, grid: str = "func1pt8mm", mask: str = "nsdgeneral"
) -> np.ndarray:
    """NSD's own noise-ceiling SNR of each voxel (vertex) inside the mask, float32 (n_voxels,)."""
    space = read_space(raw, subject, grid=grid, mask=mask, regions=())
    folder = betas_folder(raw, subject, grid, betas)
    if isinstance(space, VertexSpace):
        sides = (("lh", space.left), ("rh", space.right))
        return np.concatenate([read_mgh(folder / f"{h}.ncsnr.mgh")[kept] for h, kept in sides]).astype(
            np.float32
        )
    values, _ = nifti.read_volume(folder / "ncsnr.nii.gz")
    return values[space.mask]


class NsdBetas:
    """Betas of all sessions by row, float32 (n, n_voxels) in percent signal change; one block of trials in memory.

    Parameters
    ----------
    files : sequence of path
        One HDF5 file a session: ``betas``, int16 (n_trials, z, y, x), 300 times the percent signal change.
    counts : sequence of int
        Trials that each session must have.
    mask : bool array, shape (x, y, z)
    """

    dtype = np.dtype(np.float32)

    def __init__(self, files: list[Path], counts: list[int], mask: np.ndarray):
        x, y, z = np.nonzero(mask)
        self._grid = mask.shape[::-1]
        self._voxels = np.ravel_multi_index((z, y, x), self._grid)  # the voxels, in the file's order of axes
        self._files = list(files)
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._open: dict[tuple[int, int], h5py.File] = {}
        for path, count in zip(files, counts, strict=True):
            _check_session(path, count, self._grid)
        self.shape = (int(self._first[-1]), len(self._voxels))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions (any order, repeats allowed)."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        wanted = np.arange(self.shape[0])[rows]
        out = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        step = max(1, BLOCK_BYTES // (2 * int(np.prod(self._grid))))
        session = np.searchsorted(self._first, wanted, side="right") - 1
        for s in np.unique(session):
            places = np.flatnonzero(session == s)
            places = places[np.argsort(wanted[places], kind="stable")]
            for start in range(0, len(places), step):
                part = places[start : start + step]
                out[part] = self._read(int(s), wanted[part] - self._first[s])
        return out

    def _read(self, s: int, trials: np.ndarray) -> np.ndarray:
        unique, back = np.unique(trials, return_inverse=True)
        with reading(self._files[s]):
            data = self._file(s)["betas"]
            runs = np.split(unique, np.flatnonzero(np.diff(unique) != 1) + 1)
            stored = np.concatenate(
                [data[r[0] : r[-1] + 1].reshape(len(r), -1)[:, self._voxels] for r in runs]
            )
        return (stored.astype(np.float32) / np.float32(SCALE))[back]

    def _file(self, s: int) -> h5py.File:
        key = (os.getpid(), s)  # each process opens for itself: HDF5 handles do not survive a fork
        if key not in self._open:
            self._open = {key: open_readonly(self._files[s])}
        return self._open[key]


def _check_session(path: Path, count: int, grid: tuple[int, ...]) -> None:
    hdf5.require(
        path, "betas", dtype=np.int16, shape=(count, *grid), axes="trial, z, y, x", way_out=OTHER_SUBJECT
    )


def read_table(raw: str | Path, subject: int, sessions: list[int]) -> Table:
    """The trials of these sessions, without their responses; see `read_nsd`."""
    raw = Path(raw)
    responses = raw / "nsddata" / "ppdata" / f"subj{subject:02d}" / "behav" / "responses.tsv"
    design = _design(raw, subject)
    session, run, trial, nsd_id, onset = _responses(responses, subject)
    kept = np.isin(session, sessions)
    missing = sorted(set(sessions) - set(session.tolist()))
    if missing:
        raise checks.DataFileError(responses, f"has no rows for sessions {missing}", COPY_AGAIN)
    if design is not None:
        expected, shared = design
        if len(expected) < len(nsd_id) or not np.array_equal(expected[: len(nsd_id)], nsd_id):
            raise checks.DataFileError(
                responses, "names other images than nsd_expdesign.mat", "Get both files of one release again."
            )
        shared = shared[: len(nsd_id)]
    order = np.flatnonzero(kept)
    ids = np.array([f"nsd-{i:05d}" for i in nsd_id[order]])
    columns = {
        "stimulus_id": ids,
        "session": session[order].astype(str),
        "run": np.array([f"{s}-{r}" for s, r in zip(session[order], run[order], strict=True)]),
        "repeat": repeats([f"nsd-{i:05d}" for i in nsd_id])[order],
        "onset_s": onset[order],
        "acquisition_order": order,
        "exchangeability_block": session[order].astype(str),
        "run_position": trial[order],
    }
    if design is not None:
        columns["shared"] = shared[order]
    return Table(columns)


def _responses(path: Path, subject: int) -> tuple[np.ndarray, ...]:
    """Session, run, trial (1-based), 0-based image id and onset in the run (s) of every trial in order."""
    import pandas as pd

    path = checks.existing_file(path, "It is nsddata/ppdata/subjXX/behav/responses.tsv of NSD.")
    with reading(path):
        frame = pd.read_csv(path, sep="\t")
        session, run, trial, image = (
            frame[n].to_numpy(dtype=np.int64) for n in ("SESSION", "RUN", "TRIAL", "73KID")
        )
        of = sorted(set(frame["SUBJECT"].tolist())) if "SUBJECT" in frame else [subject]
    if of != [subject]:
        raise checks.DataFileError(
            path, f"holds 'SUBJECT' {of}, expected [{subject}]", "Get this subject's own file."
        )
    if not len(session) or (image < 1).any() or (np.diff(session) < 0).any():
        raise checks.DataFileError(
            path, "is not a list of trials in order with 1-based image ids", COPY_AGAIN
        )
    return session, run, trial, image - 1, _onset(frame, session, run, path)


def _onset(frame: Any, session: np.ndarray, run: np.ndarray, path: Path) -> np.ndarray:
    """Seconds since the first trial of the same run, from TIME (days); 4 s a trial in files without that column."""
    if "TIME" not in frame:
        trial = frame["TRIAL"].to_numpy(dtype=np.float64)
        return 4.0 * (trial - 1)
    with reading(path):
        days = frame["TIME"].to_numpy(dtype=np.float64)
    onset = np.empty(len(days))
    for key in np.unique(np.stack([session, run], axis=1), axis=0):
        rows = (session == key[0]) & (run == key[1])
        onset[rows] = (days[rows] - days[rows].min()) * 86_400.0
    return np.round(onset, 3)


def _design(raw: Path, subject: int) -> tuple[np.ndarray, np.ndarray] | None:
    """0-based image id and whether it is shared, for every trial in order; None where the design file is absent."""
    path = raw / DESIGN
    if not path.is_file():
        return None
    held = read_mat(path, ("masterordering", "subjectim"))
    order, images = held["masterordering"].ravel(), held["subjectim"]
    if not 1 <= subject <= len(images) or order.min() < 1 or order.max() > images.shape[1]:
        found = f"holds 'subjectim' {images.shape} and 'masterordering' {order.min()}..{order.max()}"
        raise checks.DataFileError(
            path, f"{found}, expected a row for subject {subject} and 1-based places", COPY_AGAIN
        )
    return images[subject - 1][order - 1] - 1, order <= SHARED


def read_mat(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Whole-number matrices of a MATLAB file (before 7.3) by name; a missing one is refused."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = checks.existing_file(path, "Get the experiment's design file.")
    mat5_walk.check(path)
    with reading(path, MatReadError):
        held = loadmat(path)
        missing = [key for key in keys if key not in held]
        if missing:
            there = sorted(key for key in held if not key.startswith("__"))
            raise checks.DataFileError(path, f"lacks {missing}; it has {there}", COPY_AGAIN)
        return {key: np.asarray(held[key], dtype=np.int64) for key in keys}
