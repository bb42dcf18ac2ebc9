"""Haxby 2001, subject 1, one slice: runs in OpenfMRI layout to one mean volume a block."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, fmri, nifti, splits
from braindec.data.catalogue import Counts, Truth
from braindec.data.preparation import Content, Preparation
from braindec.types import Recording, Table

HERE = Path(__file__).resolve().parent
CATEGORIES = ("bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe")
RUNS = "haxby2001/sub001/BOLD/task001_run*"
MOTION = tuple(
    f"motion_{kind}_{axis}" for kind in ("rot", "trans") for axis in "xyz"
)  # MCFLIRT's order: rad, then mm
HELD_OUT = ("11", "12")
ONSETS = (15.0, 52.5, 87.5, 122.5, 157.5, 195.0, 230.0, 265.0)  # s, the same in every run
BLOCK_S, T_R, N_VOLUMES, N_RUNS = 22.5, 2.5, 121, 12


def synthetic(raw: str | Path, *, seed: int = 0) -> Truth:
    """A miniature of the same files: 12 runs of 96 voxels with a planted pattern for each category.

    Returns
    -------
    Truth
        Responses: the mean of each block's volumes as written, computed volume by volume.
    """
    raw = Path(raw)
    rng = seeding.numpy_generator(seed, "haxby2001", "synthetic")
    mask = np.zeros((16, 10, 1), dtype=bool)
    mask[2:14, 1:9] = True
    affine = np.array([[-3.1, 0, 0, 20], [0, 3.75, 0, -15], [0, 0, 3.75, 0], [0, 0, 0, 1]])
    _write(raw / "mask.nii.gz", mask.astype(np.uint8), affine)
    patterns = 25.0 * rng.standard_normal((len(CATEGORIES), int(mask.sum())))
    level = rng.uniform(600, 1400, int(mask.sum()))
    responses, labels, runs = [], [], []
    for run in range(1, N_RUNS + 1):
        order = rng.permutation(len(CATEGORIES))
        volumes, means = _run_volumes(rng, level, patterns, order)
        folder = raw / f"haxby2001/sub001/BOLD/task001_run{run:03d}"
        _write_run(folder, rng, volumes, mask, affine, [CATEGORIES[c] for c in order])
        responses.append(means)
        labels += [CATEGORIES[c] for c in order]
        runs += [str(run)] * len(order)
    table = Table({"stimulus_id": np.array(labels), "run": np.array(runs)})
    return Truth({"sub-01_fmri": np.concatenate(responses)}, {"sub-01_fmri": table}, {"patterns": patterns})


def _count(raw: Path, subjects: tuple[int, ...]) -> Counts:
    n_blocks = sum(fmri.read_events(folder / "bold_events.tsv").n_rows for folder in raw.glob(RUNS))
    return Counts({"sub-01_fmri": n_blocks}, len(CATEGORIES))


def _read(raw: Path, subjects: tuple[int, ...]) -> Content:
    """Block means of every run, with motion and position as columns."""
    folders = sorted(raw.glob(RUNS))
    space = nifti.read_mask(raw / "mask.nii.gz")
    trials = fmri.block_means([_read_run(folder, i + 1, space) for i, folder in enumerate(folders)])
    files = (raw / "mask.nii.gz", *(path for folder in folders for path in folder.iterdir()))
    return Content((trials,), CATEGORIES, Table({"category": np.array(CATEGORIES)}), files)


def _read_run(folder: Path, run: int, space: nifti.VoxelSpace) -> Recording:
    events = fmri.read_events(folder / "bold_events.tsv")
    for name in np.unique(events["trial_type"]).tolist():
        checks.one_of(f"trial_type of {folder.name}", name, CATEGORIES)
    motion = _read_motion(folder / "bold_moest.txt")
    return fmri.read_run(
        folder / "bold_1slice.nii.gz", space, events, subject=1, run=str(run), t_r=T_R, confounds=motion
    )


def _read_motion(path: Path) -> dict[str, np.ndarray]:
    checks.existing_file(path, "It holds the motion estimates of the run.")
    try:
        values = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise checks.DataFileError(path, f"is no table of numbers ({error})", "Fetch it again.") from error
    if values.shape[1] != len(MOTION) or not np.isfinite(values).all():
        raise checks.DataFileError(
            path, f"has {values.shape[1]} columns, expected {len(MOTION)}", "Fetch it again."
        )
    return dict(zip(MOTION, values.T, strict=True))


def _splits(dataset: NeuralDataset) -> list[Split]:
    runs = dataset.unit_values("run")
    test = tuple(r for r in HELD_OUT if r in runs) or runs[-1:]
    first = Split("default", "run", {"train": tuple(r for r in runs if r not in test), "test": test})
    return [first, *splits.leave_one_out(dataset, "run")]


def _run_volumes(
    rng: np.random.Generator, level: np.ndarray, patterns: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """int16 volumes (n_volumes, n_voxels) of one run, and the mean (8, n_voxels) of each block's volumes."""
    drift = rng.normal(0, 15, (1, len(level))) * np.linspace(-1, 1, N_VOLUMES)[:, None]
    signal = level * rng.uniform(0.97, 1.03) + drift + rng.normal(0, 12, (N_VOLUMES, len(level)))
    starts = [round(onset / T_R) for onset in ONSETS]
    length = round(BLOCK_S / T_R)
    for start, category in zip(starts, order, strict=True):
        signal[start : start + length] += patterns[category]
    volumes = np.round(signal).astype(np.int16)
    return volumes, np.stack([volumes[s : s + length].astype(np.float64).mean(0) for s in starts])


def _write_run(
    folder: Path,
    rng: np.random.Generator,
    volumes: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    names: list[str],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = np.zeros((*mask.shape, len(volumes)), dtype=np.int16)
    data[mask] = volumes.T
    _write(folder / "bold_1slice.nii.gz", data, affine)
    rows = [f"{onset}\t{BLOCK_S}\t{name}" for onset, name in zip(ONSETS, names, strict=True)]
    (folder / "bold_events.tsv").write_text("\n".join(["onset\tduration\ttrial_type", *rows]) + "\n")
    np.savetxt(folder / "bold_moest.txt", 0.01 * rng.standard_normal((len(volumes), 6)).cumsum(0), fmt="%.6g")


def _write(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(data, affine)
    if data.ndim == 4:
        image.header.set_zooms((3.1, 3.75, 3.75, T_R))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


HAXBY = Preparation(
    folder=HERE,
    expected=RUNS,
    nested="fmri_haxby2001_slice",
    licence="CC BY-SA 3.0",
    source="PyMVPA, mvpa2/data/haxby2001; doi:10.1126/science.1063736",
    read=_read,
    splits=_splits,
    count=_count,
    notes={
        "label": "category",
        "transductive": "nothing here; runs differ in level, so recipes centre each run without its labels",
        "betas": {  # plain means of volumes
            "hrf_chosen_on": "none", "noise_regressors_on": "none", "ridge_chosen_on": "none", "z_scored_on": "none",
            "overlap": "kept",
        },
        "features": {"selected_on": "unknown", "aligned_on": "none"},  # how the mask was drawn is not documented
    },
)  # fmt: skip
fetch, prepare = HAXBY.fetch, HAXBY.prepare
