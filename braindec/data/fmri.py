"""fMRI files to Recording and Trials: runs with events, block means, single-trial GLM betas."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import glm, glm_design, nifti
from braindec.data.damage import reading
from braindec.data.nsd import read_nsd, read_nsd_ncsnr
from braindec.data.tables import repeats
from braindec.types import Recording, Table, Trials, VoxelSpace

__all__ = ["block_means", "glm_betas", "read_events", "read_nsd", "read_nsd_ncsnr", "read_run"]

ABSURD = 1000.0  # percent signal change of the median voxel: BOLD changes by 1 to 10
SEEN = 0.01  # of its peak: what a run must have recorded of the response to an event


def read_run(
    bold: str | Path,
    space: VoxelSpace,
    events: Table,
    *,
    subject: int,
    run: str,
    session: str = "1",
    t_r: float | None = None,
    confounds: Mapping[str, Any] | Table | None = None,
) -> Recording:
    """One BOLD run inside a mask.

    Parameters
    ----------
    bold : path
        Four-dimensional NIfTI, (x, y, z, time).
    space : VoxelSpace
        The mask (`nifti.read_mask`); its grid must be the image's.
    events : Table
        As `read_events` gives.
    subject : int
    run, session : str
    t_r : float, optional
        Seconds a volume; None takes the header's.
    confounds : mapping or Table, optional
        Columns of one value a volume (motion, ...).

    Returns
    -------
    Recording
        signal float32 (n_voxels, n_volumes) in scanner units.

    Raises
    ------
    DataFileError
        If the image is damaged, on another grid, or holds NaN.
    """
    image = nifti.load(bold)
    if len(image.shape) < 4:
        raise checks.DataFileError(
            bold, f"has shape {image.shape}, expected (x, y, z, time)", "Choose the BOLD image."
        )
    nifti.same_grid(bold, image, space)
    seconds = nifti.repetition_time(image, bold) if t_r is None else t_r
    data = nifti.values(image, bold).reshape(*image.shape[:3], -1)
    table = None if confounds is None else Table(confounds)
    if table is not None and table.n_rows != data.shape[3]:
        raise ValueError(
            f"confounds has {table.n_rows} along axis 'time' but {bold} has {data.shape[3]}; they must match."
        )
    signal = np.ascontiguousarray(data[space.mask])  # (voxel, time)
    return Recording(
        signal, 1.0 / seconds, "scanner units", events, space, subject, session, run, "fmri", table
    )


def read_events(path: str | Path) -> Table:
    """A BIDS events file as a table with onset_s, duration_s and its further columns.

    Raises
    ------
    DataFileError
        If it lacks onset or duration, or they are no numbers.
    """
    import pandas as pd

    path = checks.existing_file(path, "Check the path.")
    with reading(path):
        frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        columns: dict[str, np.ndarray] = {}
        for name in ("onset", "duration"):
            columns[f"{name}_s"] = frame[name].to_numpy().astype(np.float64)
        columns |= {
            str(n): frame[n].to_numpy().astype(str) for n in frame.columns if n not in ("onset", "duration")
        }
    if not all(np.isfinite(columns[n]).all() for n in ("onset_s", "duration_s")):
        raise checks.DataFileError(
            path, "holds an onset or duration that is no number", "Correct the events file."
        )
    return Table(columns)


def block_means(recordings: Sequence[Recording], *, delay_s: float = 0.0) -> Trials:
    """The mean volume of each event: volumes that start in [onset + delay, onset + duration + delay).

    Parameters
    ----------
    recordings : sequence of Recording
        Runs of one subject in one space, in the order of acquisition.
    delay_s : float
        Seconds by which the response is taken to follow the event.

    Returns
    -------
    Trials
        In the units of the recordings. Beside the events' columns: `run_position` (the event's index in its run) and
        the mean of each confound over the same volumes. Trials of one run form an exchangeability block.

    Raises
    ------
    ValueError
        If an event covers no volume.
    """
    responses, rows = [], []
    for recording in recordings:
        t_r = 1.0 / recording.sfreq
        starts = np.arange(recording.signal.shape[1]) * t_r
        for position, event in enumerate(_events(recording)):
            first = event["onset_s"] + delay_s
            inside = (starts >= first - 1e-6) & (starts < first + event["duration_s"] - 1e-6)
            if not inside.any():
                raise ValueError(f"event at {event['onset_s']} s of run {recording.run!r} covers no volume.")
            responses.append(recording.signal[:, inside].mean(1))
            rows.append(event | {"run_position": position} | _means(recording.confounds, inside))
    return _trials(np.stack(responses), rows, recordings)


def _means(confounds: Table | None, rows: np.ndarray) -> dict[str, float]:
    return (
        {} if confounds is None else {name: float(column[rows].mean()) for name, column in confounds.items()}
    )


def glm_betas(
    recordings: Sequence[Recording],
    *,
    method: str = "lss",
    hrf_model: str = "spm",
    drift_model: str | None = "cosine",
    high_pass: float = 0.01,
    noise_model: str = "ols",
) -> Trials:
    """A beta for each event, in percent signal change, by a GLM of each run.

    Parameters
    ----------
    recordings : sequence of Recording
        Runs of one subject in one space, in the order of acquisition. Their confounds enter the design.
    method : str
        ``"lsa"``: one model with a regressor for each event. ``"lss"``: a model for each event with a regressor
        for it and one for all others, steadier for close events (Mumford et al. 2012,
        doi:10.1016/j.neuroimage.2011.08.076).
    hrf_model, drift_model, high_pass
        As in nilearn's `make_first_level_design_matrix` (high_pass in Hz).
    noise_model : str
        ``"ols"`` or ``"ar1"``, as nilearn's `run_glm`.

    Returns
    -------
    Trials
        As in `block_means`, without means of confounds.

    Raises
    ------
    ValueError
        If a voxel's mean over a run is not positive (percent signal change has no meaning there), or a trial cannot be
        told from the others, the run recorded none of its response, or betas are absurdly large.
    """
    responses, rows = [], []
    for recording in recordings:
        events = list(_events(recording))
        if (missed := unseen(recording)).any():
            raise ValueError(
                f"{int(missed.sum())} of {len(missed)} events of run {recording.run!r} have no response in its "
                f"{recording.duration_s:g} s, first onset {recording.events['onset_s'][missed][0]:g} s; onsets are in "
                "seconds from the first volume."
            )
        design = _design(recording, len(events), hrf_model, drift_model, high_pass)
        signal = _percent_change(recording)
        n = len(events)
        found = glm.single_trials(
            signal, design[:, :n], design[:, n:], method=method, noise=noise_model, bias_corrected=False
        )
        _refuse_absurd(found.beta, design[:, :n], recording.run)
        responses.append(found.beta)
        rows += [event | {"run_position": i} for i, event in enumerate(events)]
    return _trials(np.concatenate(responses), rows, recordings, units="percent signal change")


def unseen(recording: Recording) -> np.ndarray:
    """Which events left less than 1 % of their response's peak in the run's volumes, bool (n_events,)."""
    return np.asarray(_expected(recording).max(0) < SEEN)


def drift_share(recording: Recording, high_pass_hz: float) -> np.ndarray:
    """How much of each event's expected response the drift explains, (n_events,) in [0, 1]: a share of its variance."""
    expected = _expected(recording)
    times = np.arange(len(expected)) / recording.sfreq
    return glm_design.drift_share(expected, glm_design.drift(times, high_pass_hz))


def _expected(recording: Recording) -> np.ndarray:
    """Responses (n_times, n_events) to the events in the order of their table; each peaks at 1."""
    times, events = np.arange(recording.signal.shape[1]) / recording.sfreq, recording.events
    return glm_design.responses(events["onset_s"], events["duration_s"], times)


def _events(recording: Recording) -> list[dict[str, Any]]:
    """The events of a run in time order, as dictionaries with what a trial table needs."""
    order = np.argsort(recording.events["onset_s"], kind="stable")
    found = []
    for i in order:
        event = {name: column[i].item() for name, column in recording.events.items()}
        event.setdefault("stimulus_id", event.get("trial_type", "unknown"))
        found.append(event | {"session": recording.session, "run": recording.run})
    if not found:
        raise ValueError(f"run {recording.run!r} has no events.")
    return found


def _trials(
    responses: np.ndarray,
    rows: list[dict[str, Any]],
    recordings: Sequence[Recording],
    units: str | None = None,
) -> Trials:
    first = recordings[0]
    names = [name for name in rows[0] if all(name in row for row in rows)]  # others are of some runs alone
    columns = {name: np.array([row[name] for row in rows]) for name in names}
    columns["repeat"] = repeats(columns["stimulus_id"])
    columns["acquisition_order"] = np.arange(len(rows))
    columns["exchangeability_block"] = np.array([f"{row['session']}/{row['run']}" for row in rows])
    return Trials(
        np.ascontiguousarray(responses, dtype=np.float32),
        Table(columns),
        first.space,
        units or first.units,
        first.subject,
        "fmri",
    )


def _percent_change(recording: Recording) -> np.ndarray:
    """float64 (n_times, n_voxels): 100 * (signal / mean - 1)."""
    signal = np.asarray(recording.signal, dtype=np.float64)
    mean = signal.mean(1, keepdims=True)
    bad = int((mean <= 0).sum())
    if bad:
        raise ValueError(
            f"{bad} of {len(mean)} voxels of run {recording.run!r} have no positive mean; use a tighter mask."
        )
    return (100.0 * (signal / mean - 1.0)).T


def _refuse_absurd(beta: np.ndarray, regressors: np.ndarray, run: str) -> None:
    """Refuses betas that say that most voxels changed by many times their mean."""
    change = np.median(np.abs(beta), axis=1) * np.abs(regressors).max(0)
    odd = np.flatnonzero(~(change <= ABSURD))
    if len(odd):
        raise ValueError(
            f"{len(odd)} of {len(change)} events of run {run!r}, first {odd[0]} (counted from 0), would change the "
            f"median voxel by {change[odd[0]]:.3g} % of its mean. The signal must keep its mean (nothing subtracted), "
            "and an event differ from the others and from all confounds."
        )


def _design(
    recording: Recording, n_events: int, hrf_model: str, drift_model: str | None, high_pass: float
) -> np.ndarray:
    """Design (n_times, n_columns) with one column for each event first, in time order."""
    import pandas as pd
    from nilearn.glm.first_level import make_first_level_design_matrix

    order = np.argsort(recording.events["onset_s"], kind="stable")
    trial_names = [f"event_{i:05d}" for i in range(n_events)]
    events = pd.DataFrame(
        {
            "onset": recording.events["onset_s"][order],
            "duration": recording.events["duration_s"][order],
            "trial_type": trial_names,
        }
    )
    confounds = recording.confounds
    with warnings.catch_warnings():  # a button press lasts no time
        warnings.filterwarnings("ignore", "The following conditions contain events with null duration")
        frame = make_first_level_design_matrix(
            np.arange(recording.signal.shape[1]) / recording.sfreq,
            events,
            hrf_model=hrf_model,
            drift_model=drift_model,
            high_pass=high_pass,
            add_regs=None if confounds is None else np.stack(list(confounds.values()), axis=1),
            add_reg_names=None if confounds is None else list(confounds),
        )
    names = [n for n in frame.columns if n in set(trial_names)] + [
        n for n in frame.columns if n not in set(trial_names)
    ]
    return frame[names].to_numpy(dtype=np.float64)
