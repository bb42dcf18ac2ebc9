"""Sherlock (Chen et al. 2017): 17 people watch the same 50 minutes; NIfTI or MATLAB files to a trial a volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, mat5, nifti, played, public
from braindec.data.assembly import Assembly
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.region_files import VolumeRows, region_space
from braindec.types import ArraySpace, Space, Table, VoxelSpace

SUBJECTS = tuple(range(1, 18))
SCANS = {"scan1": 946, "scan2": 1030}  # volumes, one file after the other
N_VOLUMES = sum(SCANS.values())
ENDS_EARLY = {5: N_VOLUMES - 51}  # the last volume that was measured is repeated to the end
T_R, SHIFTED_S = 1.5, 4.5  # the authors moved responses three volumes back
VOLUMES, REGIONS = "sherlock_movie_s{}.nii", "*_sherlock_movie_s{}.mat"
MASK = "MNI152_T1_3mm_brain_mask.nii*"
URL = "http://arks.princeton.edu/ark:/88435/dsp01nz8062179"


@dataclass(frozen=True)
class Choice(public.VoxelChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        What is done about voxels with NaN or without variance: ``"drop"`` or ``"refuse"``.
    release : str, optional
        ``"volumes"`` (NIfTI) or ``"regions"`` (a MATLAB file a region); None: volumes where they are there.
    mask : str, optional
        Path of a mask for volumes; None: the brain mask of the tutorial where it is below the raw folder, or else each
        subject's voxels that are not 0 in the first volume.
    """

    release: str | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("release", self.release, (None, "volumes", "regions"))


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The films' responses; they are to be got from Princeton's repository by hand."""
    paths = [_volumes(raw, s) or raw / VOLUMES.format(s) for s in subjects]
    return paths, (
        f"Get the movie files from {URL} and unpack them below {raw}, {MASK[:-1]}.gz of the tutorial beside them."
    )


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> Assembly:
    """Reads the film's responses."""
    kind = choice.release or ("volumes" if any(_volumes(raw, s) for s in SUBJECTS) else "regions")
    files = {s: _files(raw, s, kind) for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, raw, VOLUMES if kind == "volumes" else REGIONS)
    return _content(raw, chosen, kind, _mask(raw, choice.mask) if kind == "volumes" else None, missing)


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 5),
    release: str = "volumes",
    mask: bool = True,
) -> Truth:
    """All 1976 volumes of a few voxels; those of subject 5 end with copies of the last measured one.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    release : str
        Whose files are written, see `prepare`.
    mask : bool
        Whether the brain mask is there.
    """
    raw = Path(raw)
    responses, tables = {}, {}
    for s in subjects:
        rng = seeding.numpy_generator(seed, "sherlock", s)
        x = rng.normal(0, 1, (N_VOLUMES, 24)).astype(np.float32)
        n = ENDS_EARLY.get(s, N_VOLUMES)
        x[n:] = x[n - 1]
        write = _write_volumes if release == "volumes" else _write_regions
        write(raw, s, x, mask)
        key = f"sub-{s:02d}_fmri"
        responses[key] = x[:n]
        ids = [played.stretch_id(scan, i) for scan, length in SCANS.items() for i in range(length)][:n]
        tables[key] = Table({"stimulus_id": np.array(ids)})
    return Truth(responses, tables, {})


class _Regions:
    """Variables ``rdata`` (voxel, volume) of several MATLAB files side by side, float32 (volume, voxel) by row."""

    dtype = np.dtype(np.float32)

    def __init__(self, paths: Mapping[str, Path]):
        self.paths = dict(paths)
        self.sizes = {name: _n_voxels(path) for name, path in self.paths.items()}
        self.shape = (N_VOLUMES, sum(self.sizes.values()))
        self._held: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if self._held is None:
            parts = [
                mat5.numbers(
                    path, "rdata", mat5.load(path, ("rdata",))["rdata"], (self.sizes[name], N_VOLUMES)
                )
                for name, path in self.paths.items()
            ]
            self._held = np.concatenate(parts).T.astype(np.float32)
        return self._held[rows]


def _content(
    raw: Path,
    files: Mapping[int, Mapping[str, Path]],
    kind: str,
    mask: VoxelSpace | None,
    missing: tuple[str, ...],
) -> Assembly:
    signals, runs = [], []
    for s, paths in files.items():
        first = next(iter(paths.values()))
        space, read = _space(first, mask) if kind == "volumes" else _regions(paths)
        start = 0
        own = []
        for scan, n in SCANS.items():
            volumes = np.arange(start, min(start + n, ENDS_EARLY.get(s, N_VOLUMES)))
            settings = {"kind": kind, "n_features": space.n_features}
            own.append(played.Run(scan, scan, first, read, volumes, settings=settings))
            start += n
        signals.append(played.signal(s, own, space, "authors' units", T_R))
        runs += own
    ids, table = played.stretches(runs, T_R)
    further = {path for paths in files.values() for path in paths.values()}
    return Assembly(
        name="sherlock",
        licence="as Princeton's repository states; the film is the BBC's",
        source=f"{URL}; doi:10.1038/nn.4450",
        signals=tuple(signals),
        ids=ids,
        table=table,
        splits=_splits,
        files=tuple(sorted(further)),
        missing=missing,
        notes={
            "hrf_lag_s": SHIFTED_S,
            "t_r": T_R,
            "release": kind,
            "transductive": "preprocessed by the authors, without labels",
            **played.SINGLE_VOLUMES,
            "betas": {**played.SINGLE_VOLUMES["betas"], "z_scored_on": "unknown"},
            "media": "scan1 and scan2 are the two halves of the film; the first 20 volumes of each scan are not there",
        },
    )


def _space(path: Path, mask: VoxelSpace | None) -> tuple[Space, Any]:
    """Space of a subject's volumes, and what reads them."""
    image = nifti.load(path)
    if len(image.shape) != 4 or image.shape[3] != N_VOLUMES:
        raise checks.DataFileError(path, f"has shape {image.shape}, expected {N_VOLUMES} volumes", COPY_AGAIN)
    if mask is None:
        with reading(path):
            first = np.asarray(image.dataobj[..., 0])
        mask = VoxelSpace(first != 0, np.asarray(image.affine, dtype=np.float64))
        if not mask.n_features:
            raise checks.DataFileError(
                path, "holds nothing but 0 in its first volume", "Give a mask: --set mask=PATH."
            )
    nifti.same_grid(path, image, mask)
    return mask, partial(VolumeRows, path, mask.mask, N_VOLUMES)


def _regions(paths: Mapping[str, Path]) -> tuple[ArraySpace, Any]:
    return region_space(_Regions(paths).sizes), partial(_Regions, paths)


def _n_voxels(path: Path) -> int:
    shapes = mat5.shapes(path)
    shape = shapes.get("rdata", ())
    if len(shape) != 2 or shape[1] != N_VOLUMES:
        found = f"holds {shapes}, expected 'rdata' of (voxel, {N_VOLUMES})"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return int(shape[0])


def _mask(raw: Path, path: str | None) -> VoxelSpace | None:
    found = sorted(raw.glob(f"**/{MASK}")) if path is None else [Path(path)]
    return nifti.read_mask(found[0]) if found else None


def _splits(dataset: NeuralDataset) -> list[Split]:
    """The first scan against the second one, which shows what follows."""
    ids = dataset.stimuli.ids
    parts = {
        part: tuple(i for i in ids if i.startswith(scan))
        for part, scan in (("train", "scan1"), ("test", "scan2"))
    }
    return [Split("default", "stimulus", parts)]


def _volumes(raw: Path, s: int) -> Path | None:
    return next((p for end in ("", ".gz") for p in sorted(raw.glob(f"**/{VOLUMES.format(s)}{end}"))), None)


def _files(raw: Path, s: int, kind: str) -> dict[str, Path]:
    """The files of a subject: the volumes, or a file for each region by its name."""
    if kind == "volumes":
        path = _volumes(raw, s)
        return {} if path is None else {"brain": path}
    found = sorted(raw.glob(f"**/{REGIONS.format(s)}"))
    checks.unique(f"regions of subject {s}", [p.name for p in found])
    return {p.name.removesuffix(f"_sherlock_movie_s{s}.mat"): p for p in found}


def _write_volumes(raw: Path, s: int, x: np.ndarray, mask: bool) -> None:
    """A NIfTI file of 3 mm voxels in MNI space, 0 outside of the brain; and the brain's mask."""
    import nibabel

    inside = np.zeros((4, 5, 3), dtype=bool)
    inside[1:3, 1:5] = True  # 24 voxels
    volumes = np.zeros((*inside.shape, N_VOLUMES), dtype=np.float32)
    volumes[inside] = x.T
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    folder = raw / "sherlock_nifti_kit_v1"
    for name in ("sherlock_nifti_data", "standard"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(volumes, affine)
    image.header.set_zooms((3, 3, 3, T_R))
    nibabel.save(image, folder / "sherlock_nifti_data" / VOLUMES.format(s))
    if mask:
        nibabel.save(
            nibabel.Nifti1Image(inside.astype(np.uint8), affine), folder / "standard" / f"{MASK[:-1]}.gz"
        )


def _write_regions(raw: Path, s: int, x: np.ndarray, mask: bool) -> None:
    """A MATLAB file a region, as the tutorial writes them."""
    folder = raw / "subjects" / f"s{s}" / "sherlock_movie"
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("aud_early", slice(0, 10)), ("pmc_nn", slice(10, 24))):
        savemat(folder / f"{name}_sherlock_movie_s{s}.mat", {"rdata": x[:, part].T.astype(np.float64)})
