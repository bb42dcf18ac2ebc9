"""One continuous run as recorded, and continuous runs beside the features of what was played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec.types.space import Space
from braindec.types.table import Table


@dataclass(frozen=True, eq=False)
class Recording:
    """One run, immutable.

    Parameters
    ----------
    signal : array, shape (n_channels, n_times) or (n_voxels, n_times)
    sfreq : float
        Samples a second, Hz (1 / t_r for fMRI).
    units : str
    events : Table
        onset_s (s from the first sample), duration_s (s), trial_type or stimulus_id, and any further columns.
    space : Space
    subject : int
    session, run : str
    modality : str
    confounds : Table or None
        A row a time sample (motion, ...).
    """

    signal: Any
    sfreq: float
    units: str
    events: Table
    space: Space
    subject: int
    session: str
    run: str
    modality: str
    confounds: Table | None = None

    @property
    def duration_s(self) -> float:
        """Seconds from the first sample to the end of the last."""
        return self.signal.shape[1] / self.sfreq


@dataclass(frozen=True, eq=False)
class Continuous:
    """Runs of (n_times, n_voxels or n_channels) beside stimulus features at their own rate.

    Parameters
    ----------
    runs : mapping of str to array, shape (n_times, n_features)
        By run name; delays never cross runs.
    features : mapping of str to array, shape (n_feature_times, n_dims)
        By run name.
    sfreq, feature_sfreq : float
        Hz.
    offset_s : mapping of str to float
        Seconds from the run's first sample to its first feature sample.
    space : Space
    """

    runs: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]
    sfreq: float
    feature_sfreq: float
    offset_s: Mapping[str, float]
    space: Space
