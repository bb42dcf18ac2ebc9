"""The staged sessions of a subject put together: its recording, the maps of its voxels, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.data import bids_bold, bids_fmri, bids_meeg, layout
from braindec.data.bids_jobs import Staged, unit_of
from braindec.data.bids_plan import Job
from braindec.data.bids_sessions import Estimated, joined_epochs, read_choices
from braindec.data.bids_settings import BidsSettings
from braindec.data.glm_choices import Choices
from braindec.data.glm_design import LIBRARY
from braindec.data.leakage.provenance import rows_record
from braindec.data.rows import view
from braindec.types import Trials


@dataclass(frozen=True, eq=False)
class Made:
    """What a subject's recordings in one modality came to, and what is to be said of it in dataset.json."""

    path: Path
    about: dict[str, Any]
    chosen_on: dict[str, Any] | None = None
    maps: Path | None = None


def join(
    job: Job, raw: Path, folder: Path, settings: BidsSettings, train: frozenset[str] | None, staged: Staged
) -> Made:
    """Writes a subject's recording of its staged sessions into `folder`."""
    if job.modality == "fmri":
        return _fmri(job, raw, folder, settings, train, staged)
    paths = staged.sessions
    trials, dropped = joined_epochs(paths, [files[0] for files in job.sessions.values()])
    bad = bids_meeg.bad_channels(raw, job.files, settings)
    about = bids_meeg.said_of(trials, bad, dropped, settings.meeg)
    return Made(layout.write_trials(folder, trials), about)


def _fmri(
    job: Job, raw: Path, folder: Path, settings: BidsSettings, train: frozenset[str] | None, staged: Staged
) -> Made:
    runs = bids_fmri.read_runs(raw, job.files, settings)
    space, found = bids_bold.space_of(raw, job.files, settings.fmri), Estimated(staged.sessions)
    if not found.good.any():
        raise checks.DataFileError(
            runs[0].file.path.parent, "has no voxel that is good in all runs", "Check the mask."
        )
    every = Choices.none(space.n_features) if staged.choices is None else read_choices(staged.choices)
    space = space if found.good.all() else bids_bold.without(space, ~found.good)
    choices, tsnr = every.of(found.good), found.tsnr
    names, units = (
        (("beta", "t"), "percent signal change") if settings.fmri.values == "beta" else (("t", "beta"), "t")
    )
    table = bids_fmri.trial_table(runs, tsnr)
    trials = Trials(found.rows(names[0]), table, space, units, job.subject, "fmri")
    path = layout.write_trials(folder, trials)
    maps = _write_maps(folder, trials, found.rows(names[1]), choices, tsnr, settings.fmri.values)
    about, chosen_on = bids_fmri.said_of(runs, tsnr, found.noise, settings.fmri.high_pass_hz), None
    if staged.choices is not None:
        units_of = [unit_of(run.file, settings.split) for run in runs for _ in run.events.onset_s]
        kept = np.array([train is None or u in train for u in units_of])
        chosen_on = rows_record(view(layout.read_trials(path), kept))
        about["chosen"] = _chosen_words(choices)
    return Made(path, about, chosen_on, maps)


def _write_maps(
    folder: Path, trials: Trials, other: Any, choices: Choices, tsnr: np.ndarray, values: str
) -> Path:
    """What is known of each voxel, and the values that are not the responses."""
    path = folder / f"{trials.key}_maps.h5"
    with store.writer(path) as out:
        bulk = out.bulk("t" if values == "beta" else "beta", other.shape, np.float32)
        for start in range(0, len(other), 64):
            bulk.append(other[start : start + 64])
        out.array("tsnr", tsnr)
        out.array("hrf_index", choices.hrf)
        out.array("ridge_fraction", choices.fraction)
        out.array("noise_pool", choices.pool)
        out.array("hrf_library", np.array([[h.peak_s, h.dispersion] for h in LIBRARY]))
        out.attributes(
            {
                "content": "maps",
                "rows": "runs (tsnr), trials (t or beta)",
                "columns": "voxels or vertices of the space",
            }
        )
    return path


def _chosen_words(choices: Choices) -> dict[str, Any]:
    return {
        "noise_components": choices.n_components,
        "noise_pool_voxels": int(choices.pool.sum()),
        "hrf_voxels": np.bincount(choices.hrf, minlength=len(LIBRARY)).tolist(),
        "ridge_fraction_median": round(float(np.median(choices.fraction)), 2),
    }
