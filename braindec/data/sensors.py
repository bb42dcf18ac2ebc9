"""Sensors and where they sit on the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from braindec.types import SensorSpace, Space

RENAMED = {"standard_1005": "colin27_1005", "standard_1020": "colin27_1020"}  # new names since mne 1.13
DEVICE_FRAME = 1  # FIFFV_COORD_DEVICE
KEPT_KINDS = ("eeg", "mag", "grad", "seeg", "ecog")


def sensor_space(
    names: Sequence[str], kinds: Sequence[str] | str = "eeg", montage: str | None = None
) -> SensorSpace:
    """Sensors by name, at the positions of a standard montage.

    Parameters
    ----------
    names : sequence of str
        Channel names.
    kinds : sequence of str, or one str for all
    montage : str, optional
        Name of an mne montage (e.g. ``"standard_1005"``); channels that it lacks, or all without one, get NaN.
    """
    positions = np.full((len(names), 3), np.nan)
    if montage is not None:
        import mne

        there = mne.channels.get_builtin_montages()
        renamed = RENAMED.get(montage, montage)
        info = mne.create_info(list(names), 1.0, "eeg")
        info.set_montage(renamed if renamed in there else montage, match_case=False, on_missing="ignore")
        positions = positions_of(info)
    all_kinds = (kinds,) * len(names) if isinstance(kinds, str) else tuple(kinds)
    return SensorSpace(tuple(names), positions, all_kinds)


def positions_of(info: Any) -> np.ndarray:
    """Metres in the head frame, (n_channels, 3); NaN where mne knows none (it writes zeros or NaN).

    MEG sensors are stored in the frame of the helmet and are moved to where the head was in it, if that was recorded.
    """
    positions = np.array([channel["loc"][:3] for channel in info["chs"]], dtype=np.float64)
    positions = np.where((positions == 0).all(1, keepdims=True), np.nan, positions)
    if info["dev_head_t"] is not None:
        in_device = np.array([channel["coord_frame"] == DEVICE_FRAME for channel in info["chs"]])
        to_head = np.asarray(info["dev_head_t"]["trans"])
        positions[in_device] = positions[in_device] @ to_head[:3, :3].T + to_head[:3, 3]
    return positions


def same_channels(first: Space, second: Space) -> bool:
    """Whether two recordings have the same channels in the same order; channels without names: as many."""
    if isinstance(first, SensorSpace) and isinstance(second, SensorSpace):
        return first.names == second.names
    return first.n_features == second.n_features
