"""Sessions of single-trial betas by row: HDF5 chunked by voxel, compressed NIfTI, and MGH surfaces."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from braindec import checks
from braindec.data import hdf5, mgh
from braindec.data.damage import COPY_AGAIN, reading
from braindec.store import open_readonly

OTHER_SUBJECT = "Check that betas, mask and responses are of one subject, grid and session."


class Session(Protocol):
    """One session's file or files."""

    count: int
    n_features: int
    scale: float

    def read(self, rows: slice) -> np.ndarray:
        """Stored values (n, n_features) of a range of trials."""
        ...


@dataclass(frozen=True, eq=False)
class VoxelSession:
    """Betas of the voxels of a mask in one session, as stored: int16.

    Parameters
    ----------
    path : Path
        ``.hdf5`` (``betas``, (trial, z, y, x)) or ``.nii.gz`` ((x, y, z, trial)).
    count : int
        Trials that the session must have.
    mask : bool array, shape (x, y, z)
    scale : float
        Stored values are so many times the response.
    """

    path: Path
    count: int
    mask: np.ndarray
    scale: float

    @property
    def n_features(self) -> int:
        """Voxels inside the mask."""
        return int(self.mask.sum())

    def check(self) -> None:
        """Refuses a file of another type, grid or number of trials."""
        if self.path.suffix == ".hdf5":
            expected = (self.count, *self.mask.shape[::-1])
            hdf5.require(
                self.path,
                "betas",
                dtype=np.int16,
                shape=expected,
                axes="trial, z, y, x",
                way_out=OTHER_SUBJECT,
            )
            return
        _, shape, dtype = _nifti_header(self.path)
        expected = (*self.mask.shape, self.count)
        if shape != expected or dtype != np.int16:
            found = f"holds {dtype} {shape}, expected int16 {expected} (x, y, z, trial)"
            raise checks.DataFileError(self.path, found, OTHER_SUBJECT)

    def read(self, rows: slice) -> np.ndarray:
        """Stored values, int16 (n, n_voxels); voxels in the order of ``np.nonzero(mask)``."""
        whole = self._hdf5() if self.path.suffix == ".hdf5" else self._nifti()
        return whole[rows]

    def _hdf5(self) -> np.ndarray:
        """Run by run along x: chunks hold one voxel's trials, so reading whole trials would read the whole file."""
        x, y, z = np.nonzero(self.mask)
        out = np.empty((self.count, len(x)), dtype=np.int16)
        order = np.lexsort((x, y, z))  # neighbours along x are neighbours in the file
        breaks = np.flatnonzero(
            (np.diff(x[order]) != 1) | np.diff(y[order]).astype(bool) | np.diff(z[order]).astype(bool)
        )
        with reading(self.path), open_readonly(self.path) as file:
            data = file["betas"]
            for run in np.split(order, breaks + 1):
                first, last = run[0], run[-1]
                out[:, run] = data[:, z[first], y[first], x[first] : x[last] + 1]
        return out

    def _nifti(self) -> np.ndarray:
        """Volume by volume through the compressed stream, to its end, so that its checksum is verified."""
        offset, shape, dtype = _nifti_header(self.path)
        voxels = np.ravel_multi_index(np.nonzero(self.mask), shape[:3], order="F")
        n_bytes = int(np.prod(shape[:3])) * dtype.itemsize
        out = np.empty((self.count, len(voxels)), dtype=np.int16)
        with reading(self.path), gzip.open(self.path, "rb") as file:
            file.read(offset)
            for trial in range(self.count):
                out[trial] = np.frombuffer(file.read(n_bytes), dtype=dtype)[voxels]
            if file.read(1):
                raise checks.DataFileError(self.path, "is longer than its header says", COPY_AGAIN)
        return out


@dataclass(frozen=True, eq=False)
class SurfaceSession:
    """Betas of the vertices of both hemispheres in one session, float32 percent signal change as stored.

    Parameters
    ----------
    left, right : Path
        MGH files of shape (vertex, 1, 1, trial), big-endian float32.
    count : int
    left_vertices, right_vertices : int array
        Vertices kept.
    mesh_size : int
        Vertices a hemisphere.
    """

    left: Path
    right: Path
    count: int
    left_vertices: np.ndarray
    right_vertices: np.ndarray
    mesh_size: int
    scale: float = 1.0

    @property
    def n_features(self) -> int:
        """Vertices of both hemispheres."""
        return len(self.left_vertices) + len(self.right_vertices)

    def check(self) -> None:
        """Refuses files of another type, mesh or number of trials."""
        for path in (self.left, self.right):
            _mgh(path, self.mesh_size, self.count)

    def read(self, rows: slice) -> np.ndarray:
        """Float32 (n, n_vertices), left hemisphere first; only these trials are read."""
        left = _mgh(self.left, self.mesh_size, self.count)[rows]
        right = _mgh(self.right, self.mesh_size, self.count)[rows]
        return np.concatenate([left[:, self.left_vertices], right[:, self.right_vertices]], axis=1).astype(
            np.float32
        )


class SessionRows:
    """Sessions one after the other, by row: float32 (n, n_features); one session of voxels is kept.

    Parameters
    ----------
    sessions : sequence of Session
        Each is checked at once.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, sessions: Sequence[VoxelSession | SurfaceSession]):
        for session in sessions:
            session.check()
        self._sessions = list(sessions)
        self._first = np.concatenate([[0], np.cumsum([s.count for s in sessions])])
        self._kept: tuple[int, np.ndarray] | None = None
        self.shape = (int(self._first[-1]), sessions[0].n_features)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": None}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions (any order, repeats allowed)."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        wanted = np.arange(self.shape[0])[rows]
        out = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        of = np.searchsorted(self._first, wanted, side="right") - 1
        for s in np.unique(of).tolist():
            places = np.flatnonzero(of == s)
            out[places] = self._read(s, wanted[places] - self._first[s])
        return out

    def _read(self, s: int, trials: np.ndarray) -> np.ndarray:
        session = self._sessions[s]
        if isinstance(session, SurfaceSession):
            low = int(trials.min())
            return session.read(slice(low, int(trials.max()) + 1))[trials - low]
        if self._kept is None or self._kept[0] != s:
            self._kept = (s, session.read(slice(None)))
        return self._kept[1][trials].astype(np.float32) / np.float32(session.scale)


def chunked_by_voxel(path: Path) -> bool:
    """Whether a session's HDF5 file keeps each voxel's trials together, as NSD's do (chunks of 1 x 1 x 1 x 750)."""
    with reading(path), open_readonly(path) as file:
        data = file.get("betas")
        chunks = data.chunks if isinstance(data, h5py.Dataset) else None
    return bool(chunks and chunks[0] > 1)


def read_mgh(path: str | Path) -> np.ndarray:
    """The values of one surface map, (n_vertices,); ``.mgh`` or ``.mgz``, whose checksum is verified."""
    return mgh.values(checks.existing_file(path, "Check the path.")).reshape(-1)


def _mgh(path: Path, mesh_size: int, count: int) -> np.ndarray:
    """A memory map (trial, vertex) of a session's surface file."""
    path = checks.existing_file(path, "Get the betas of both hemispheres.")
    with mgh.opened(path) as image:
        shape, dtype = tuple(image.shape), image.header.get_data_dtype()
        offset = int(image.dataobj.offset)
    expected = (mesh_size, 1, 1, count)
    if shape != expected or dtype != np.dtype(">f4"):
        found = f"holds {dtype} {shape}, expected >f4 {expected} (vertex, 1, 1, trial)"
        raise checks.DataFileError(path, found, OTHER_SUBJECT)
    needed = offset + 4 * mesh_size * count
    if path.stat().st_size < needed:
        found = f"holds {path.stat().st_size} bytes but its header asks for {needed}"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return np.memmap(path, dtype=">f4", mode="r", offset=offset, shape=(count, mesh_size))


def _nifti_header(path: Path) -> tuple[int, tuple[int, ...], np.dtype]:
    """Offset of the data in bytes, shape, and type on disk; a scaled image is refused."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    path = checks.existing_file(path, "Get the betas of this session.")
    with reading(path, ImageFileError, HeaderDataError):
        image: Any = nibabel.load(path)
        slope, inter = image.header.get_slope_inter()
        offset, shape, dtype = int(image.dataobj.offset), tuple(image.shape), image.header.get_data_dtype()
    if slope not in (None, 1.0) or inter not in (None, 0.0):
        raise checks.DataFileError(
            path, f"scales its values by {slope} and {inter}, expected 1 and 0", COPY_AGAIN
        )
    return offset, shape, dtype
