"""Simulated fMRI written as the Natural Scenes Dataset is distributed: same containers, names, types and axis order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks
from braindec.data.simulated.design import Schedule, draw_motion
from braindec.stats.ceilings import estimate_ncsnr
from braindec.types import VoxelSpace

GRID, BETAS = "func1pt8mm", "betas_fithrf_GLMdenoise_RR"
SCALE = 300.0  # int16 betas are 300 times the percent signal change
SHARED = 1000  # entries of a subject's image list that are reserved for shared images
DAY_S = 86_400.0
START_DAY = 738_000.0  # day number of the first session, in MATLAB's count
COLUMNS = (
    "SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID", "TIME", "ISOLD", "ISCORRECT", "RT", "CHANGEMIND",
    "MEMORYRECENT", "MEMORYFIRST", "ISOLDCURRENT", "ISCORRECTCURRENT", "TOTAL1", "TOTAL2", "BUTTON", "MISSINGDATA",
)  # fmt: skip


def write_study(raw: Path, schedules: Mapping[int, Schedule], n_gallery: int) -> None:
    """The design that the subjects of one study share.

    Parameters
    ----------
    raw : Path
        Root of the NSD-like tree.
    schedules : mapping of int to Schedule
        By subject; all in the same order of presentation.
    n_gallery : int
        Pictures 0..n_gallery-1 are shared.
    """
    lists = {subject: image_list(schedule, n_gallery) for subject, schedule in schedules.items()}
    orders = [positions_of(schedule, lists[subject]) for subject, schedule in schedules.items()]
    if any(not np.array_equal(order, orders[0]) for order in orders):
        raise ValueError("subjects of one study must share the order of presentation, as in NSD.")
    subjectim = np.zeros((max(schedules), max(map(len, lists.values()))), np.float64)
    for subject, ids in lists.items():
        subjectim[subject - 1, : len(ids)] = ids
    _write_design(raw / "nsddata" / "experiments" / "nsd", orders[0], subjectim, n_gallery)


def write_pictures(raw: Path, images: np.ndarray) -> None:
    """All pictures, uint8 (n_stimuli, height, width, 3); 0-based picture ids are rows."""
    path = raw / "nsddata_stimuli" / "stimuli" / "nsd" / "nsd_stimuli.hdf5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("imgBrick", data=images)


def image_list(schedule: Schedule, n_gallery: int) -> np.ndarray:
    """1-based ids that a subject sees: shared ones first, its own from place 1001 on; 0 where there is none."""
    own = np.unique(schedule.stimulus[schedule.stimulus >= n_gallery])
    ids = np.zeros(SHARED + len(own), np.int64)
    ids[: checks.in_range("n_gallery", n_gallery, 1, SHARED)] = np.arange(n_gallery) + 1
    ids[SHARED:] = own + 1
    return ids


def positions_of(schedule: Schedule, ids: np.ndarray) -> np.ndarray:
    """1-based place of each trial's picture in the subject's list."""
    place = {int(value): i + 1 for i, value in enumerate(ids) if value}
    return np.array([place[i + 1] for i in schedule.stimulus.tolist()])


def _write_design(folder: Path, order: np.ndarray, subjectim: np.ndarray, n_gallery: int) -> None:
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    shared = np.arange(1, n_gallery + 1, dtype=np.float64)[None]
    content = {"masterordering": order[None].astype(np.float64), "subjectim": subjectim, "sharedix": shared}
    savemat(folder / "nsd_expdesign.mat", content)


def write_subject(
    raw: Path,
    subject: int,
    space: VoxelSpace,
    responses: np.ndarray,
    schedule: Schedule,
    n_gallery: int,
    t_r: float,
    generator: np.random.Generator,
) -> None:
    """One subject's betas, regions, noise ceiling, behaviour and head motion.

    Parameters
    ----------
    raw : Path
    subject : int
    space : VoxelSpace
        Each of its regions becomes an image of zeros and ones.
    responses : ndarray, shape (n_trials, n_voxels)
        Percent signal change, within +-109; rounded to 1/300.
    schedule : Schedule
    n_gallery : int
    t_r : float
        Seconds a volume.
    generator : numpy.random.Generator
        Draws head motion and reaction times.
    """
    person = raw / "nsddata" / "ppdata" / f"subj{subject:02d}"
    betas = raw / "nsddata_betas" / "ppdata" / f"subj{subject:02d}" / GRID / BETAS
    for folder in (person / GRID / "roi", person / "behav", betas):
        folder.mkdir(parents=True, exist_ok=True)
    _write_volume(person / GRID / "roi" / "nsdgeneral.nii.gz", space, np.ones(space.n_features), np.int16)
    for name, members in space.regions.items():
        _write_volume(person / GRID / "roi" / f"{name}.nii.gz", space, members, np.int16)
    stored = np.rint(responses * SCALE)
    checks.in_range(
        "largest response", float(np.abs(stored).max()) / SCALE, 0.0, 32_767 / SCALE, unit="percent"
    )
    _write_betas(betas, space, stored.astype(np.int16), schedule.session)
    _write_volume(betas / "ncsnr.nii.gz", space, measured_ncsnr(stored / SCALE, schedule), np.float32)
    ids = image_list(schedule, n_gallery)
    _write_behaviour(
        person / "behav" / "responses.tsv", subject, schedule, positions_of(schedule, ids), generator
    )
    motion = raw / "nsddata_timeseries" / "ppdata" / f"subj{subject:02d}" / GRID / "motion"
    motion.mkdir(parents=True, exist_ok=True)
    for session, run in np.unique(np.stack([schedule.session, schedule.run], 1), axis=0).tolist():
        rows = (schedule.session == session) & (schedule.run == run)
        n_volumes = int(np.ceil((schedule.onset_s[rows].max() + 16) / t_r))
        path = motion / f"motion_session{session + 1:02d}_run{run + 1:02d}.tsv"
        np.savetxt(path, draw_motion(n_volumes, generator), fmt="%.5f", delimiter="\t")


def measured_ncsnr(responses: np.ndarray, schedule: Schedule) -> np.ndarray:
    """NSD's noise-ceiling SNR from the repeats, after z-scoring every session: (n_voxels,)."""
    import torch

    scored = np.empty(responses.shape)
    for s in np.unique(schedule.session):
        rows = schedule.session == s
        scored[rows] = (responses[rows] - responses[rows].mean(0)) / responses[rows].std(0)
    return estimate_ncsnr(torch.from_numpy(scored), schedule.stimulus, total_variance=1.0).numpy()


def _write_volume(path: Path, space: VoxelSpace, values: np.ndarray, dtype: Any) -> None:
    import nibabel

    volume = np.zeros(space.mask.shape, dtype)
    volume[space.mask] = values
    nibabel.save(nibabel.Nifti1Image(volume, space.affine), path)


def _write_betas(folder: Path, space: VoxelSpace, stored: np.ndarray, session: np.ndarray) -> None:
    for s in np.unique(session):
        rows = np.flatnonzero(session == s)
        volume = np.zeros((len(rows), *space.mask.shape), np.int16)
        volume[:, space.mask] = stored[rows]
        with h5py.File(folder / f"betas_session{s + 1:02d}.hdf5", "w") as file:
            file.create_dataset("betas", data=volume.transpose(0, 3, 2, 1))  # reverse of NIfTI's axes


def _write_behaviour(
    path: Path, subject: int, schedule: Schedule, order: np.ndarray, generator: np.random.Generator
) -> None:
    old = schedule.repeat > 0
    correct = generator.random(schedule.n_trials) < 0.85
    reaction_ms = generator.uniform(600, 1800, schedule.n_trials).round(1)
    days = START_DAY + 7 * schedule.session + (schedule.run * 300 + schedule.onset_s) / DAY_S
    values: Sequence[Any] = (
        np.full(schedule.n_trials, subject), schedule.session + 1, schedule.run + 1, schedule.trial + 1,
        schedule.stimulus + 1, order, days, old, correct, reaction_ms, np.zeros_like(order), np.zeros_like(order),
        np.zeros_like(order), old, correct, np.ones_like(order), np.zeros_like(order),
        np.where(old == correct, 2, 1), np.zeros_like(order),
    )  # fmt: skip
    lines = ["\t".join(COLUMNS)]
    for row in zip(*(np.asarray(v).tolist() for v in values), strict=True):
        lines.append(
            "\t".join(
                f"{v:.9f}" if i == 6 else str(int(v) if isinstance(v, bool) else v) for i, v in enumerate(row)
            )
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_motion(raw: Path, subject: int, session: int, run: int) -> np.ndarray:
    """Head motion of one run, float64 (n_volumes, 6): mm and rad; session and run from 1."""
    folder = raw / "nsddata_timeseries" / "ppdata" / f"subj{subject:02d}" / GRID / "motion"
    path = checks.existing_file(
        folder / f"motion_session{session:02d}_run{run:02d}.tsv", "Run synthetic() again."
    )
    return np.loadtxt(path, delimiter="\t", ndmin=2)
