"""Trials that already are arrays: a folder with the array, events.csv and about.json, or one such folder a subject."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.data import bids, plain_arrays
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.sensors import sensor_space
from braindec.data.tables import complete_table
from braindec.types import ArraySpace, Space, Trials, VertexSpace

MOST_VOLTS = 0.1  # median size of what electrodes measure, with their offsets
EVENTS, ABOUT = "events.csv", "about.json"
KEYS = ("modality", "units", "sfreq", "tmin", "channels", "montage", "mesh")


def folders(root: Path) -> dict[int, Path]:
    """The folder of each subject: `root` itself (subject 1), or its folders sub-*; empty where there are no arrays."""
    if plain_arrays.files(root):
        return {1: root}
    found = [p.name.removeprefix("sub-") for p in root.glob("sub-*") if p.is_dir() and plain_arrays.files(p)]
    return (
        {n: root / f"sub-{label}" for n, label in bids.numbered(sorted(found, key=bids.natural)).items()}
        if found
        else {}
    )


def read_trials(folder: Path, subject: int) -> Trials:
    """The trials of one folder; the array stays on disk.

    Parameters
    ----------
    folder : Path
        With ``arrays.npy`` (or ``.npz``), float or int, (trial, feature) or (trial, channel, time), or maps of a
        surface, one a trial, ``lh.arrays.func.gii`` and ``rh.arrays.func.gii`` (or ``.mgh``, ``.mgz``); ``events.csv``,
        a row a trial in the same order with a column `stimulus_id` and, where known, session, run, onset_s and any
        further ones; and ``about.json``, optional for betas: modality, units, sfreq (Hz), tmin (s), channels (names),
        montage, and of surfaces the mesh (``"fsaverage5"``).
    subject : int

    Raises
    ------
    DataFileError
        If rows do not match, a value is NaN, or epochs come without sfreq and tmin.
    """
    held = plain_arrays.load(folder)
    path, responses = held.files[0], held.responses
    if responses.ndim not in (2, 3) or responses.dtype.kind not in "fiu":
        found = f"has shape {responses.shape} of {responses.dtype}, expected numbers (trial, feature[, time])"
        raise checks.DataFileError(path, found, plain_arrays.AGAIN)
    for start in range(0, len(responses), 1024):
        finite(path, responses[start : start + 1024])
    columns = _events(folder / EVENTS)
    if len(columns["stimulus_id"]) != len(responses):
        found = f"has {len(columns['stimulus_id'])} rows but {path.name} has {len(responses)}"
        way_out = "Write a row for each trial, in the order of the array."
        if responses.shape[-1] == len(columns["stimulus_id"]) and responses.ndim == 2:
            way_out = "The array seems to be transposed, a column a trial: save array.T."
        raise checks.DataFileError(folder / EVENTS, found, way_out)
    about = _about(folder, responses)
    session = "1"
    return Trials(
        responses, complete_table(columns, session), _space(about, held), str(about.get("units", "a.u.")), subject,
        about["modality"], about.get("sfreq"), about.get("tmin"),
    )  # fmt: skip


def files(folder: Path) -> list[Path]:
    """The raw files of one folder."""
    return [*plain_arrays.files(folder), *(folder / n for n in (EVENTS, ABOUT) if (folder / n).is_file())]


def _events(path: Path) -> dict[str, np.ndarray]:
    checks.existing_file(path, "It holds a row for each trial of the array.")
    with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
        names, *rows = [row for row in csv.reader(file) if row]
    if any(len(row) != len(names) for row in rows):
        raise checks.DataFileError(
            path, "has rows with other numbers of cells than columns", "Write it again."
        )
    table = {n: np.array([row[i] for row in rows], dtype=str) for i, n in enumerate(names)}
    bids.column(table, "stimulus_id", path)
    known: dict[str, np.ndarray] = {
        n: c for n, c in table.items() if n not in ("onset_s", "acquisition_order")
    }
    known["onset_s"] = (
        bids.numbers(table, "onset_s", path) if "onset_s" in table else np.arange(float(len(rows)))
    )
    return known


def _about(folder: Path, responses: np.ndarray) -> dict[str, Any]:
    path = folder / ABOUT
    about = store.read_json(path) if path.is_file() else {}
    unknown = sorted(set(about) - set(KEYS))
    if unknown:
        raise checks.DataFileError(path, f"holds {unknown}", f"It may hold {list(KEYS)}.")
    about.setdefault("modality", "fmri" if responses.ndim == 2 else "eeg")
    checks.one_of(f"modality in {path}", about["modality"], ("fmri", "eeg", "meg", "ieeg", "array"))
    if responses.ndim == 3 and not {"sfreq", "tmin"} <= set(about):
        raise checks.DataFileError(
            path, f"says {sorted(about)}, epochs need sfreq and tmin", "Add them (Hz and s)."
        )
    n_channels = len(about.get("channels", range(responses.shape[1])))
    if n_channels != responses.shape[1]:
        raise checks.DataFileError(path, f"names {n_channels} channels of {responses.shape[1]}", COPY_AGAIN)
    _check_units(path, about, responses)
    return about


def _check_units(path: Path, about: dict[str, Any], responses: np.ndarray) -> None:
    """Refuses potentials of a tenth of a volt, which no electrode measures: they are in other units than they say."""
    if about["modality"] not in ("eeg", "ieeg") or about.get("units") != "V":
        return
    size = float(np.median(np.abs(np.asarray(responses[:20], dtype=np.float64))))
    if size > MOST_VOLTS:
        found = f"says units V, but the values are about {size:.3g}; electrodes measure some 0.00001 V"
        raise checks.DataFileError(
            path, found, 'Scale the array to volts, or say which units it has: "units": "uV".'
        )


def _space(about: dict[str, Any], held: plain_arrays.Found) -> Space:
    if held.vertices is not None:
        return VertexSpace(str(about.get("mesh", "unknown")), *held.vertices)
    channels: Iterable[str] | None = about.get("channels")
    if channels is None:
        return ArraySpace(int(held.responses.shape[1]))
    kind = "mag" if about["modality"] == "meg" else "seeg" if about["modality"] == "ieeg" else "eeg"
    return sensor_space(tuple(channels), kind, about.get("montage"))
