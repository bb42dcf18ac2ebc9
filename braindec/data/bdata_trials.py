"""BData files of one subject as the trials of several experiments; and files of the same containers, written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks
from braindec.data import bdata, image_files, public, spaces, staging
from braindec.data.assembly import Assembly, Signal
from braindec.data.bdata import BData
from braindec.data.dataset import NeuralDataset
from braindec.data.splits import Split
from braindec.data.tables import repeats
from braindec.types import Table

CONTAINERS = ("h5", "h5_old", "mat5", "mat73")
DESIGN = {"session": ("Session", "session"), "run": ("Run", "run"), "block": ("Block", "block")}
# What dataset.json says of samples that are volumes shifted by 4 s, averaged over the stimulus block and scaled by the
# run's mean, with regions from localisers of their own.
BLOCK_AVERAGES = {
    "label": "concept",
    "transductive": "voxels were detrended and scaled by their mean within each run by the authors, without labels",
    "betas": {
        "hrf_chosen_on": "none", "noise_regressors_on": "none", "ridge_chosen_on": "none", "z_scored_on": "each_run",
        "overlap": "kept",
    },
    "features": {"selected_on": "none", "aligned_on": "none"},
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Experiment:
    """Some samples of one file.

    Parameters
    ----------
    name : str
        E.g. ``"training"``: column ``experiment`` of the trials.
    data : BData
    rows : int array, shape (n_trials,)
        Samples of the file, in order.
    stimulus_id, concept : text array, shape (n_trials,)
    """

    name: str
    data: BData
    rows: np.ndarray
    stimulus_id: np.ndarray
    concept: np.ndarray


def signal(subject: int, experiments: Sequence[Experiment], units: str) -> Signal:
    """The trials of one subject's experiments, one after the other, before their responses are read.

    Raises
    ------
    DataFileError
        If two files hold other voxels: they are not of one subject and release.
    """
    columns, space = bdata.voxels(experiments[0].data)
    jobs = []
    for e in experiments:
        own_columns, own = bdata.voxels(e.data)
        if not spaces.same(own, space) or set(own.regions) != set(space.regions):
            found = (
                f"holds {own.n_features} voxels that are not the {space.n_features} of "
                f"{experiments[0].data.path.name}"
            )
            raise checks.DataFileError(
                e.data.path, found, "Check that all files are of one subject and release."
            )
        name = f"sub-{subject:02d}_{e.name}"
        read = partial(bdata.BDataRows, e.data, own_columns)
        jobs.append(
            staging.Job(name, (e.data.path,), {"rows": len(e.rows), "columns": len(columns)}, read, e.rows)
        )
    columns_of = [_columns(e) for e in experiments]
    table = Table({k: np.concatenate([c[k] for c in columns_of]) for k in columns_of[0]})
    order = np.arange(table.n_rows)
    return Signal(subject, table.replace(acquisition_order=order), space, units, tuple(jobs))


def assembled(
    name: str,
    source: str,
    openneuro: str,
    signals: Sequence[Signal],
    concept: Mapping[str, str],
    raw: Path,
    side: int,
    splits: Callable[[NeuralDataset], Iterable[Split]],
    missing: Sequence[str],
    visual: Mapping[int, int],
    named: Callable[[tuple[str, ...], dict[str, Path], Path], Sequence[str]] = lambda ids, *_: ids,
) -> Assembly:
    """A dataset of such files, its pictures in ``images/`` beside them.

    Parameters
    ----------
    name, source : str
        As dataset.json names them.
    openneuro : str
        Where the scans are, e.g. ``"ds001246"``.
    signals : sequence of Signal
    concept : mapping of str to str
        Of each stimulus.
    raw : Path
    side : int
        Pixels of the stored pictures.
    splits : callable (NeuralDataset) -> iterable of Split
    missing : sequence of str
        What the complete dataset holds and the files do not.
    visual : mapping of int to int
        Voxels of visual cortex that others counted, by subject.
    named : callable (ids, pictures by name, their folder) -> names
        The picture's name of each stimulus; its id by default.
    """
    ids, folder = tuple(sorted(concept)), raw / "images"
    there = image_files.by_stem([folder])
    pictures, absent = public.pictures(named(ids, there, folder), there, folder, side)
    counted = public.counted_elsewhere(signals, visual, "VC", "voxels of visual cortex")
    return Assembly(
        name=name,
        licence=f"CC0 (fMRI data, OpenNeuro {openneuro} and figshare); pictures: ImageNet's terms",
        source=source,
        signals=tuple(signals),
        ids=ids,
        table=Table({"concept": np.array([concept[i] for i in ids])}),
        splits=splits,
        pictures=pictures,
        missing=(*missing, *absent, *counted),
        notes=BLOCK_AVERAGES | {"pictures": f"central square, {side} x {side}, bicubic"},
    )


def _columns(e: Experiment) -> dict[str, np.ndarray]:
    n = len(e.rows)
    session, run = (_design(e, what) for what in ("session", "run"))
    name = np.full(n, e.name)
    sessions = np.array([f"{e.name}-{s}" for s in session])
    runs = np.array([f"{s}-{r}" for s, r in zip(sessions, run, strict=True)])
    return {
        "stimulus_id": e.stimulus_id.astype(str),
        "session": sessions,
        "run": runs,
        "repeat": repeats(e.stimulus_id.tolist()),
        "onset_s": np.zeros(n),  # not in the file
        "exchangeability_block": runs,
        "run_position": repeats(runs.tolist()),
        "concept": e.concept.astype(str),
        "experiment": name,
    }


def _design(e: Experiment, what: str) -> list[int]:
    """Session or run number of each trial; 1 where the file does not say."""
    keys = [k for k in DESIGN[what] if e.data.has(k)]
    return e.data.column(*keys)[e.rows].astype(int).tolist() if keys else [1] * len(e.rows)


def write_bdata(
    path: str | Path,
    samples: np.ndarray,
    keys: Mapping[str, np.ndarray],
    *,
    labels: Mapping[str, Mapping[float, str]] | None = None,
    container: str = "h5",
) -> Path:
    """Writes a BData file, for miniatures of datasets that are distributed so.

    Parameters
    ----------
    path : path
    samples : float64 array, shape (n_samples, n_columns)
    keys : mapping of str to float array, shape (n_columns,)
        Metadata; NaN where a key says nothing.
    labels : mapping, optional
        ``vmap``; ``"h5"`` alone can hold it.
    container : str
        ``"h5"`` (bdpy now), ``"h5_old"`` (its first key names), ``"mat5"`` or ``"mat73"``.
    """
    checks.one_of("container", container, CONTAINERS)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    value = np.stack([np.asarray(v, dtype=np.float64) for v in keys.values()])
    names, said = list(keys), [f"1: {k}" for k in keys]
    if container == "mat5":
        from scipy.io import savemat

        cells = [np.array([text], dtype=object) for text in (names, said)]
        meta = {"key": cells[0], "description": cells[1], "value": value}
        savemat(path, {"dataSet": samples, "metaData": meta}, do_compression=True)
    elif container == "mat73":
        _write_mat73(path, samples, value, names, said)
    else:
        data, meta_name = ("dataset", "metadata") if container == "h5" else ("dataSet", "metaData")
        with h5py.File(path, "w") as file:
            file[data] = samples
            file[f"{meta_name}/key"] = [k.encode() for k in names]
            file[f"{meta_name}/description"] = [d.encode() for d in said]
            file[f"{meta_name}/value"] = value
            if container == "h5":
                file["header/ctime"] = b"2020-01-01 00:00:00"
                file.create_group("vmap")
            for key, group in (labels or {}).items():
                for number, text in group.items():
                    file[f"vmap/{key}/{float(number)}"] = text.encode()
    return path


def _write_mat73(
    path: Path, samples: np.ndarray, value: np.ndarray, keys: list[str], said: list[str]
) -> None:
    """MATLAB's HDF5: axes reversed, cell arrays as references into ``#refs#``, 512 bytes of its own before."""
    with h5py.File(path, "w", userblock_size=512) as file:
        _matlab(file.create_dataset("dataSet", data=samples.T, chunks=True, compression="gzip"), "double")
        meta = file.create_group("metaData")
        _matlab(meta, "struct")
        _matlab(meta.create_dataset("value", data=value.T), "double")
        refs = file.create_group("#refs#")
        for field, texts in (("key", keys), ("description", said)):
            cells = meta.create_dataset(field, (len(texts), 1), dtype=h5py.ref_dtype)
            for i, text in enumerate(texts):
                codes = np.array([[ord(c)] for c in text], dtype=np.uint16)
                cell = refs.create_dataset(f"{field}{i}", data=codes)
                _matlab(cell, "char")
                cells[i, 0] = cell.ref
            _matlab(cells, "cell")
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(head)


def _matlab(item: Any, kind: str) -> None:
    item.attrs["MATLAB_class"] = np.bytes_(kind)
