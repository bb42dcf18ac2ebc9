"""Sliding windows of fMRI: each trial with the volumes before and after it in its run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from braindec import checks
from braindec.data.cifti import runs_of
from braindec.data.dataset import NeuralDataset
from braindec.types import ArraySpace, Trials


def windowed(dataset: NeuralDataset, offsets: Iterable[int]) -> NeuralDataset:
    """The dataset with windows of volumes in place of single ones.

    Trials must be the volumes of a run that follow each other, as clips of films are. At the ends of a run its first or
    last volume stands for those beyond, so that no trial is lost and no window reaches into another run.

    Parameters
    ----------
    dataset : NeuralDataset
        Of fMRI.
    offsets : iterable of int
        Volumes of a window, from the trial's own (0): ``(-1, 0, 1)``.

    Returns
    -------
    NeuralDataset
        Features are those of each volume, one volume after the other, in a plain array; each volume is a region
        ``"volume +0"``, and each region of the space one for each volume, ``"V1 +0"``. Read on demand.
    """
    chosen = checks.unique("offsets", [int(o) for o in offsets])
    checks.at_least("number of offsets", len(chosen), 1)
    return replace(dataset, trials={key: _windows(t, chosen) for key, t in dataset.trials.items()})


class WindowRows:
    """Rows of several volumes each, (n_trials, n_offsets * n_features), read on demand.

    Parameters
    ----------
    rows : array-like with ``shape`` and ``[positions]``, shape (n_volumes, n_features)
    index : int array, shape (n_trials, n_offsets)
        Volumes of each window.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, rows: Any, index: np.ndarray):
        self._rows, self._index = rows, index
        self.shape: tuple[int, ...] = (len(index), index.shape[1] * rows.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Windows by slice, mask, position or positions, float32."""
        wanted = self._index[rows]
        volumes, back = np.unique(wanted, return_inverse=True)
        found = np.asarray(self._rows[volumes], dtype=np.float32)[back.reshape(wanted.shape)]
        return found.reshape(*wanted.shape[:-1], self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def _windows(trials: Trials, offsets: tuple[int, ...] | list[int]) -> Trials:
    checks.n_axes("responses", np.empty((0,) * len(trials.responses.shape)), ("trial", "voxel"))
    index = np.empty((trials.n_trials, len(offsets)), dtype=np.int64)
    for own in runs_of(trials).values():
        place = np.arange(len(own))[:, None] + np.array(offsets)
        index[own] = own[place.clip(0, len(own) - 1)]
    n, k = trials.space.n_features, len(offsets)
    regions = {}
    for i, offset in enumerate(offsets):
        whole = {"volume": np.ones(n, dtype=bool)} | dict(trials.space.regions)
        for name, members in whole.items():
            rows = np.zeros((k, n), dtype=bool)
            rows[i] = members
            regions[f"{name} {offset:+d}"] = rows.ravel()
    return replace(trials, responses=WindowRows(trials.responses, index), space=ArraySpace(n * k, regions))
