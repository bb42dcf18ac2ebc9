"""One's own data in one call: trials and stimuli from arrays, from NIfTI files and from FIF epochs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import fmri, meeg, nifti
from braindec.data.sensors import same_channels
from braindec.data.tables import complete_table
from braindec.types import ArraySpace, SensorSpace, Space, StimulusSet, Table, Trials, VoxelSpace

KNOWN = (
    "run",
    "session",
    "onset_s",
    "acquisition_order",
    "exchangeability_block",
)  # columns that mean something here
SWAPPED = 4  # so many times more channels than samples are taken for samples
NO_STIMULUS = ("n/a", "")  # of a column of events: modelled, and no trial


def array_trials(
    responses: Any,
    stimulus_ids: Sequence[Any] | np.ndarray,
    columns: Mapping[str, Any],
    *,
    subject: int,
    modality: str,
    units: str,
    sfreq: float | None,
    tmin: float | None,
    space: Space | None,
) -> Trials:
    """Trials of arrays; what `columns` do not tell of run, session, time and order is marked as not known.

    Parameters
    ----------
    responses : array, shape (n_trials, n_features) or (n_trials, n_channels, n_times)
    stimulus_ids : sequence, shape (n_trials,)
        Text, or whole numbers that become their digits.
    columns : mapping of str to array, shape (n_trials,)
    subject, modality, units, sfreq, tmin
        As in `Trials`.
    space : Space or None
        None: places are not known.

    Raises
    ------
    ValueError
        If the array has no trial axis first, rows do not match, or a value is NaN or infinite.
    """
    values = np.asarray(responses)
    if values.ndim not in (2, 3) or values.dtype.kind not in "fiu":
        raise ValueError(
            f"responses must be numbers (trial, voxel) or (trial, channel, time), got {values.dtype} {values.shape}."
        )
    ids = texts("stimulus_ids", stimulus_ids)
    if len(ids) != len(values):
        turned = " It may have to be transposed: trials come first." if len(ids) in values.shape else ""
        raise ValueError(
            f"stimulus_ids has {len(ids)} along axis 'trial' but responses has {len(values)}; they must match.{turned}"
        )
    checks.finite("responses", values, way_out="Leave out such trials or channels, in every array alike.")
    table = trial_table(ids, columns)
    place = ArraySpace(values.shape[1]) if space is None else space
    return Trials(values.astype(np.float32, copy=False), table, place, units, subject, modality, sfreq, tmin)


def warned_of(trials: Trials) -> Trials:
    """The trials; EEG or MEG with far more channels than samples is warned of, at the line that gave it."""
    shape = trials.responses.shape
    if trials.modality in ("eeg", "meg") and len(shape) == 3 and shape[1] >= SWAPPED * shape[2]:
        warnings.warn(
            f"responses have {shape[1]} channels and {shape[2]} samples: expected are (trial, channel, time), and "
            "these look like (trial, time, channel); if so, give responses.transpose(0, 2, 1).",
            stacklevel=3,
        )
    return trials


def trial_table(ids: np.ndarray, columns: Mapping[str, Any]) -> Table:
    """The trial table of these stimuli: onsets of zero and orders of -1 where no column tells them.

    Raises
    ------
    ValueError
        If a column has another length, or is named like one that is counted here.
    ConfigError
        If a column is the plural of one that means something, or in other letters: ``runs`` or ``Run`` for ``run``.
    """
    known: dict[str, np.ndarray] = {"stimulus_id": ids}
    for name, values in columns.items():
        if name in ("stimulus_id", "repeat"):
            raise ValueError(f"column {name!r} is made of stimulus_ids; leave it out.")
        column = np.asarray(values)
        if column.shape != ids.shape:
            raise ValueError(
                f"column {name!r} has shape {column.shape}, expected one value a trial: {ids.shape}."
            )
        known[name] = column.astype(str) if column.dtype == object else column
    for name in columns:
        meant = name.lower().removesuffix("s")
        if name not in KNOWN and meant in KNOWN and meant not in columns:
            raise checks.ConfigError(f"column {name!r} is not known; did you mean {meant!r}?")
    known.setdefault("onset_s", np.zeros(len(ids)))
    known.setdefault("acquisition_order", np.full(len(ids), -1))
    return complete_table(known, "1")


def texts(name: str, values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Names as text, shape (n,): text as it is, whole numbers as their digits; anything else is refused."""
    found = np.asarray(values)
    if found.dtype == object:
        found = np.array([str(v) for v in found.tolist()]) if found.ndim == 1 else found
    if found.ndim != 1 or found.dtype.kind not in "iuUS":
        raise ValueError(
            f"{name} must be names or whole numbers along one axis, got {found.dtype} {found.shape}."
        )
    return found.astype(str)


def stimulus_set(
    trials: Trials, images: Mapping[str, np.ndarray] | None, captions: Mapping[str, str] | None
) -> StimulusSet:
    """The stimuli of these trials; their images and captions where they are given.

    Parameters
    ----------
    images : mapping of str to uint8 array, shape (height, width, 3), optional
        By stimulus id, all of one size.
    captions : mapping of str to str, optional
        By stimulus id.
    """
    ids = tuple(np.unique(trials.table["stimulus_id"]).tolist())
    if images is None:
        return StimulusSet(ids, "none", captions=dict(captions or {}))
    held = {i: np.asarray(checks.known_key("image", i, images)) for i in ids}
    shapes = {(v.dtype.name, v.shape) for v in held.values()}
    if len(shapes) != 1 or next(iter(shapes))[0] != "uint8" or len(next(iter(shapes))[1]) != 3:
        raise ValueError(f"images must be uint8 (height, width, 3) of one size, got {sorted(shapes)[:3]}.")
    return StimulusSet(ids, "image", lambda wanted: np.stack([held[i] for i in wanted]), dict(captions or {}))


def nifti_trials(
    maps: str | Path | Sequence[str | Path],
    mask: str | Path,
    stimulus_ids: Sequence[Any] | np.ndarray,
    columns: Mapping[str, Any],
    *,
    subject: int,
    units: str,
) -> Trials:
    """Trials of volumes: one volume a trial, the voxels of a mask.

    Parameters
    ----------
    maps : path or sequence of paths
        NIfTI, (x, y, z, trial) or a file a trial; several are joined in this order.
    mask : path
        NIfTI (x, y, z) on the same grid; voxels above zero are kept.
    stimulus_ids : sequence, shape (n_trials,)
    columns : mapping of str to array, shape (n_trials,)
    subject : int
    units : str

    Raises
    ------
    DataFileError
        If a file is damaged, lies on another grid than the mask, or holds NaN inside of the mask.
    """
    space = nifti.read_mask(mask)
    paths = [maps] if isinstance(maps, str | Path) else list(maps)
    checks.at_least("number of files", len(paths), 1)
    found = np.concatenate([_masked(path, space) for path in paths])
    return array_trials(found, stimulus_ids, columns, subject=subject, modality="fmri", units=units,
                        sfreq=None, tmin=None, space=space)  # fmt: skip


def _masked(path: str | Path, space: VoxelSpace) -> np.ndarray:
    """float32 (n_volumes, n_voxels) of a NIfTI file inside of the mask."""
    image = nifti.load(path)
    nifti.same_grid(path, image, space)
    data = nifti.values(image, path).reshape(*image.shape[:3], -1)
    return np.ascontiguousarray(data[space.mask].T)


def bold_trials(
    bold: Sequence[str | Path],
    events: Sequence[str | Path],
    mask: str | Path,
    *,
    stimulus_column: str,
    subject: int,
    method: str,
    t_r: float | None,
    confounds: Sequence[Mapping[str, Any]] | None,
    sessions: Sequence[str] | None,
) -> Trials:
    """A beta for each event of each run; see `NeuralDataset.from_bold`."""
    checks.at_least("number of runs", len(bold), 1)
    told: dict[str, Sequence[Any]] = {"bold": bold, "events": events}
    told |= {"confounds": confounds} if confounds is not None else {}
    told |= {"sessions": sessions} if sessions is not None else {}
    checks.same_length("run", **told)
    space = nifti.read_mask(mask)
    runs = []
    for number, (image, table) in enumerate(zip(bold, events, strict=True)):
        shown = fmri.read_events(table)
        named = shown.replace(stimulus_id=_column(shown, stimulus_column, table))
        runs.append(
            fmri.read_run(
                image, space, named, subject=subject, run=str(number + 1), t_r=t_r,
                session="1" if sessions is None else str(sessions[number]),
                confounds=None if confounds is None else confounds[number],
            )
        )  # fmt: skip
    found = fmri.glm_betas(runs, method=method)
    return found.take(~np.isin(found.table["stimulus_id"], NO_STIMULUS))


def _column(table: Table, name: str, path: str | Path) -> np.ndarray:
    if name not in table:
        raise checks.DataFileError(
            path, f"has no column {name!r}, it has {list(table)}", "Choose stimulus_column among them."
        )
    return texts(f"column {name!r}", table[name])


def fif_trials(
    epochs: str | Path | Sequence[str | Path], *, stimulus_column: str | None, subject: int, modality: str
) -> Trials:
    """Epochs saved by mne, a file a session; see `NeuralDataset.from_fif`."""
    paths = [epochs] if isinstance(epochs, str | Path) else list(epochs)
    checks.at_least("number of files", len(paths), 1)
    found = [
        meeg.read_epochs_fif(p, subject=subject, modality=modality, session=str(n + 1))
        for n, p in enumerate(paths)
    ]
    first = found[0]
    for path, trials in zip(paths, found, strict=True):
        if _clock(trials) != _clock(first) or not same_channels(trials.space, first.space):
            raise checks.DataFileError(
                path,
                f"has {_said(trials)}, the first file {_said(first)}",
                "Join epochs of the same channels and times only: drop or interpolate bad channels in all files alike.",
            )
    shared = [c for c in first.table if all(c in t.table for t in found) and c != "repeat"]
    columns = {c: np.concatenate([t.table[c] for t in found]) for c in shared}
    if stimulus_column is not None:
        columns["stimulus_id"] = texts(
            "stimulus_column", checks.known_key("stimulus_column", stimulus_column, columns)
        )
    columns["acquisition_order"] = np.arange(len(columns["stimulus_id"]))
    table = complete_table(columns, "1")
    values = np.concatenate([np.asarray(t.responses) for t in found])
    return Trials(values, table, first.space, first.units, subject, modality, first.sfreq, first.tmin)


def _clock(trials: Trials) -> tuple[Any, ...]:
    """Samples, Hz, and samples from the event to the first one."""
    sfreq, tmin = trials.sfreq or 0.0, trials.tmin or 0.0
    return (trials.responses.shape[2:], sfreq, round(tmin * sfreq))


def _said(trials: Trials) -> str:
    """Channels and times in words."""
    names = checks.of_type("space", trials.space, SensorSpace).names
    few = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    n_times, tmin = trials.responses.shape[2], trials.tmin or 0.0
    return f"{len(names)} channels ({few}) and {n_times} samples from {tmin:g} s on at {trials.sfreq:g} Hz"
