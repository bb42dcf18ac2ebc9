"""Splits of the Natural Scenes Dataset by name, and what its preparations of betas were chosen on."""

from __future__ import annotations

from typing import Any

import numpy as np

from braindec.data import nsd
from braindec.data.splits import Split
from braindec.types import Table

N_REPEATS, LAST_OF_982, LAST = 3, 37, 40


def splits_of(tables: list[Table]) -> dict[str, Split]:
    """Test images by rule; training images are those that are not shared, in every split.

    Parameters
    ----------
    tables : list of Table
        Trials of each subject.
    """
    ids = np.concatenate([t["stimulus_id"] for t in tables])
    shared = np.concatenate([t["shared"] for t in tables])
    train = tuple(np.unique(ids[np.char.startswith(ids, "nsd-") & ~shared]).tolist())
    tests = {
        "shared1000": set(ids[shared].tolist()),
        "shared982": set.intersection(*(_three_times(t, LAST_OF_982) for t in tables)),
        "shared_three_times": set.intersection(*(_three_times(t, LAST) for t in tables)),
        "imagined": {i for i in ids.tolist() if i.startswith("nsdimagery-imagined-")},
        "seen_in_imagery_session": {i for i in ids.tolist() if i.startswith("nsdimagery-seen-")},
        "nsdsynthetic": {i for i in ids.tolist() if i.startswith("nsdsynthetic-")},
    }
    return {
        name: Split(name, "stimulus", {"train": train, "test": tuple(sorted(test))})
        for name, test in tests.items()
        if test and train
    }


def provenance_of(betas: str, roi: str, *, packed: bool, synthetic: bool) -> dict[str, Any]:
    """Entries of dataset.json (`braindec.data.leakage.provenance`): on which trials earlier choices were made.

    Parameters
    ----------
    betas, roi : str
    packed : bool
        MindEye's files: standardised within each session.
    synthetic : bool
        A miniature, whose responses were drawn and not estimated.
    """
    if synthetic:
        drawn = dict.fromkeys(
            ("hrf_chosen_on", "noise_regressors_on", "ridge_chosen_on", "z_scored_on"), "none"
        )
        features = {"selected_on": "none", "aligned_on": "none"}
        return {"synthetic": True, "betas": drawn | {"overlap": "none"}, "features": features}
    # GLMdenoise and ridge are chosen by how well repeats of an image agree within a session, shared images among them.
    denoised = "all" if betas == nsd.BETAS else "none"
    made = {
        "hrf_chosen_on": "none" if betas == "betas_assumehrf" else "each_session",  # by fit to single trials
        "noise_regressors_on": denoised,
        "ridge_chosen_on": denoised,
        "z_scored_on": "each_session" if packed else "none",
        "overlap": "modelled",
    }
    selected = (
        "all_unlabelled" if roi == "nsdgeneral" else "none"
    )  # drawn by hand where the task explains variance
    return {"betas": made, "features": {"selected_on": selected, "aligned_on": "none"}}


def _three_times(table: Table, last: int) -> set[str]:
    """Shared images with all three repeats in sessions up to `last`."""
    rows = table["shared"]
    session = table["session"][rows].astype(int)
    ids, n = np.unique(table["stimulus_id"][rows][session <= last], return_counts=True)
    return set(ids[n == N_REPEATS].tolist())
