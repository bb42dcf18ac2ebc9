"""Dense CIFTI time series (``.dtseries.nii``) as rows of cortical vertices, volume by volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import xml_inside
from braindec.data.damage import COPY_AGAIN, reading
from braindec.types import Trials, VertexSpace

CORTEX = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")
MESHES = {32492: "fs_LR_32k", 59292: "fs_LR_59k", 163842: "fs_LR_164k"}  # vertices a hemisphere


class DenseSeries:
    """Cortical vertices of one run by volume, float32 (n_times, n_vertices), left hemisphere first; may be pickled.

    Parameters
    ----------
    path : path
        Grayordinates below the cortex are left out.

    Raises
    ------
    DataFileError
        If the file is damaged, no dense time series, or holds no cortex.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: str | Path):
        self.path = Path(path)
        image = _load(self.path)
        with reading(self.path):
            series, models = image.header.get_axis(0), image.header.get_axis(1)
            self.t_r = float(series.step) * {"SECOND": 1.0}.get(series.unit, np.nan)
            found = {name: (part, model) for name, part, model in models.iter_structures() if name in CORTEX}
            if len(found) != 2:
                raise checks.DataFileError(
                    self.path, f"holds the cortex {sorted(found)}, expected {CORTEX}", COPY_AGAIN
                )
            n_mesh = {models.nvertices[name] for name in found}
            left, right = (np.asarray(found[name][1].vertex, dtype=np.int64) for name in CORTEX)
            self._columns = np.concatenate([np.arange(len(models))[found[name][0]] for name in CORTEX])
            shape = tuple(image.shape)
        mesh = MESHES.get(n_mesh.pop() if len(n_mesh) == 1 else 0)
        if mesh is None:
            raise checks.DataFileError(
                self.path, f"is on no mesh of {sorted(MESHES)} vertices a side", COPY_AGAIN
            )
        self.space = VertexSpace(mesh, left, right)
        self.shape = (int(shape[0]), len(self._columns))
        self._held: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": None}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Volumes by slice, mask or positions; the run is read when first asked for, NaN stay."""
        if self._held is None:
            image = _load(self.path)
            with (
                reading(self.path),
                np.errstate(over="ignore", invalid="ignore"),
            ):  # infinities are counted later
                self._held = np.asarray(image.dataobj, dtype=np.float32)[:, self._columns]
        return self._held[rows]


def _load(path: Path) -> Any:
    """The image, whose file holds what its header asks for."""
    from xml.parsers.expat import ExpatError

    import nibabel
    from nibabel.cifti2 import Cifti2HeaderError
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    path = checks.existing_file(path, "Check the path.")
    xml_inside.check_cifti(path)
    with reading(path, ImageFileError, HeaderDataError, Cifti2HeaderError, ExpatError):
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Cifti2Image) or len(image.shape) != 2:
            raise checks.DataFileError(
                path, "is no CIFTI-2 file (time, grayordinate)", "Choose a .dtseries.nii."
            )
        if not isinstance(image.header.get_axis(0), nibabel.cifti2.SeriesAxis):
            raise checks.DataFileError(path, "holds no time series", "Choose a .dtseries.nii.")
        proxy: Any = image.dataobj
        expected = int(proxy.offset) + int(np.prod(image.shape, dtype=np.int64)) * proxy.dtype.itemsize
    if path.stat().st_size != expected:
        found = f"holds {path.stat().st_size} bytes but its header asks for {expected}"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return image


def runs_of(trials: Trials) -> dict[str, np.ndarray]:
    """Positions of each run's trials in the order of their onsets: what a continuous run is made of.

    A run has its own name where no other session has one of that name, and else ``"<session>/<run>"``.
    """
    session, run = (trials.table[column].astype(str) for column in ("session", "run"))
    onset = trials.table["onset_s"]
    found: dict[str, np.ndarray] = {}
    for name in np.unique(run).tolist():
        sessions = np.unique(session[run == name]).tolist()
        for one in sessions:
            rows = np.flatnonzero((run == name) & (session == one))
            rows = rows[np.argsort(onset[rows], kind="stable")]
            found[name if len(sessions) == 1 else f"{one}/{name}"] = rows
    return found
