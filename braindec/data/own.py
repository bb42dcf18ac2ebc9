"""One's own data in one call: trials and stimuli from arrays, from maps in NIfTI files and from FIF epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import meeg, nifti
from braindec.data.sensors import same_channels
from braindec.data.tables import complete_table
from braindec.types import (
    ArraySpace,
    SensorSpace,
    Space,
    StimulusSet,
    Table,
    Trials,
    VoxelSpace,
    signal_key,
)
from braindec.types.table import as_text, refuse_missing, texts

KNOWN = (
    "run",
    "session",
    "onset_s",
    "acquisition_order",
    "exchangeability_block",
)  # columns that mean something here
SHOWN = 5  # of many positions
LEFT_OUT = "Name it, or leave that trial out of every array."


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
        way_out = " Numbers kept as objects become numbers: responses.astype(float)." * (
            values.dtype == object
        )
        raise ValueError(
            f"responses must be numbers (trial, voxel) or (trial, channel, time), got {values.dtype} {values.shape}."
            + way_out
        )
    ids = texts("stimulus_ids", stimulus_ids, LEFT_OUT)
    if len(ids) != len(values):
        turned = " It may have to be transposed: trials come first." if len(ids) in values.shape else ""
        raise ValueError(
            f"stimulus_ids has {len(ids)} along axis 'trial' but responses has {len(values)}; they must match.{turned}"
        )
    if not np.isfinite(values).all():
        checks.finite("responses", values, way_out=_without_bad(values))
    with np.errstate(over="ignore"):
        kept = values.astype(np.float32, copy=False)
    if kept is not values:
        checks.finite("responses", kept, way_out="float32 ends at 3e38: divide by a constant first.")
    table = trial_table(ids, columns)
    place = ArraySpace(values.shape[1]) if space is None else space
    return Trials(kept, table, place, units, subject, modality, sfreq, tmin)


def _without_bad(values: np.ndarray) -> str:
    """The way out of NaN: which voxels, channels or trials to leave out, where these hold nothing else."""
    bad = ~np.isfinite(values)
    axis, others = ("voxel", "0") if values.ndim == 2 else ("channel", "(0, 2)")
    rows = bad.reshape(len(bad), -1).all(1)
    columns = bad.all(0) if values.ndim == 2 else bad.all((0, 2))
    if not bad[:, ~columns].any():
        return (
            f"All of them lie in {int(columns.sum())} {axis}(s) without a number in any trial, {_few(columns)}: leave "
            f"these out, responses[:, np.isfinite(responses).all({others})]."
        )
    if not bad[~rows].any():
        return f"All of them lie in {int(rows.sum())} trial(s) without any number, {_few(rows)}: leave these out."
    return f"Leave out such trials or {axis}s, in every array alike."


def _few(which: np.ndarray) -> str:
    found = np.flatnonzero(which)
    return f"{found[:SHOWN].tolist()}{', ...' if len(found) > SHOWN else ''} (counted from 0)"


def trial_table(ids: np.ndarray, columns: Mapping[str, Any]) -> Table:
    """The trial table of these stimuli: onsets of zero and orders of -1 where no column tells them.

    Raises
    ------
    ValueError
        If a column has another length, is named like one that is counted here, or lacks a value and means something.
    ConfigError
        If a column is the plural of one that means something, or in other letters: ``runs`` or ``Run`` for ``run``.
    """
    known: dict[str, np.ndarray] = {"stimulus_id": ids}
    for name, values in columns.items():
        if name in ("stimulus_id", "repeat"):
            raise ValueError(f"column {name!r} is made of stimulus_ids; leave it out.")
        if name in KNOWN:
            refuse_missing(f"column {name!r}", values, LEFT_OUT)
        column = np.asarray(values)
        if column.shape != ids.shape:
            raise ValueError(
                f"column {name!r} has shape {column.shape}, expected one value a trial: {ids.shape}."
            )
        known[name] = np.array([as_text(v) for v in column.tolist()]) if column.dtype == object else column
    for name in columns:
        meant = name.lower().removesuffix("s")
        if name not in KNOWN and meant in KNOWN and meant not in columns:
            raise checks.ConfigError(f"column {name!r} is not known; did you mean {meant!r}?")
    known.setdefault("onset_s", np.zeros(len(ids)))
    known.setdefault("acquisition_order", np.full(len(ids), -1))
    return complete_table(known, "1")


def told(about: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is told of how responses were made; a key that is nearly one that the audit reads is refused.

    Raises
    ------
    ConfigError
        If a block or an entry of one is named like a known one in other letters, or a block holds no entries.
    """
    from braindec.data.leakage.provenance import BLOCKS, DECLARED  # which know datasets

    blocks = {block: {"overlap"} if block == "betas" else set() for block in sum(BLOCKS.values(), ())}
    for name in (entry for entries in DECLARED.values() for entry in entries):
        blocks[name.partition(".")[0]].add(name.partition(".")[2])
    found = dict(about or {})
    _nearly("about", found, blocks)
    for block in found.keys() & blocks:
        if not isinstance(found[block], Mapping):
            raise checks.ConfigError(
                f"about[{block!r}] must say which entry it is of {sorted(blocks[block])}, got {found[block]!r}: "
                f"about={{{block!r}: {{{sorted(blocks[block])[0]!r}: ...}}}}."
            )
        _nearly(f"about[{block!r}]", found[block], blocks[block])
    return found


def _nearly(name: str, keys: Iterable[str], known: Iterable[str]) -> None:
    meant = {_plain(key): key for key in known}
    for key in keys:
        if key not in meant.values() and _plain(str(key)) in meant:
            raise checks.ConfigError(
                f"{name} has {key!r}, which is not read; did you mean {meant[_plain(str(key))]!r}?"
            )


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").removesuffix("s")


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


def fif_trials(
    epochs: str | Path | Sequence[str | Path],
    *,
    stimulus_column: str | None,
    subject: int,
    modality: str,
    runs: Sequence[Any] | None,
    sessions: Sequence[Any] | None,
) -> Trials:
    """Epochs saved by mne, a file a session; see `NeuralDataset.from_fif`."""
    signal_key(subject, modality)  # refused before anything is read
    paths = [epochs] if isinstance(epochs, str | Path) else list(epochs)
    checks.at_least("number of files", len(paths), 1)
    told = {n: v for n, v in (("run", runs), ("session", sessions)) if v is not None}
    checks.same_length("file", epochs=paths, **{f"{name}s": v for name, v in told.items()})
    numbered = ["1"] * len(paths) if runs is not None else [str(n + 1) for n in range(len(paths))]
    found = [
        _told(p, meeg.read_epochs_fif(p, subject=subject, modality=modality, session=session), n, told)
        for n, (p, session) in enumerate(zip(paths, numbered, strict=True))
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
        named = checks.known_key("stimulus_column", stimulus_column, columns)
        way_out = meeg.WITHOUT_NAME.format(stimulus_column)
        told_of = [None if v == "nan" else v for v in named.tolist()]  # as metadata without a value are read
        columns["stimulus_id"] = texts(f"stimulus_column {stimulus_column!r}", told_of, way_out)
    columns["acquisition_order"] = np.arange(len(columns["stimulus_id"]))
    table = complete_table(columns, "1")
    values = np.concatenate([np.asarray(t.responses) for t in found])
    return Trials(values, table, first.space, first.units, subject, modality, first.sfreq, first.tmin)


def _told(path: str | Path, trials: Trials, number: int, told: Mapping[str, Sequence[Any]]) -> Trials:
    """A file's trials with the run and session that were told of it; metadata that name several are not overruled."""
    if not told:
        return trials
    columns = dict(trials.table.items())
    by_run = np.char.add(np.char.add(columns["session"], "/"), columns["run"])
    if np.array_equal(columns["exchangeability_block"], by_run):
        del columns["exchangeability_block"]  # made again below
    for name, values in told.items():
        own = np.unique(columns[name]).tolist()
        if len(own) > 1:
            raise checks.ConfigError(
                f"the metadata of {path} name the {name}s {own[:SHOWN]} themselves; leave {name}s out."
            )
        columns[name] = np.full(trials.n_trials, str(values[number]))
    return replace(trials, table=complete_table(columns, "1"))


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
