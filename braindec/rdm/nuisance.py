"""RDMs of what is not representation: how far apart in order, time and runs the trials of two conditions were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from braindec import checks
from braindec.rdm import pairs
from braindec.rdm.matrix import RDM
from braindec.rdm.patterns import labelled


def nuisances(
    condition: Any,
    *,
    order: Any | None = None,
    time_s: Any | None = None,
    run: Any | None = None,
    conditions: Sequence[str] | None = None,
) -> RDM:
    """Distances that noise alone can bring about; give them to `compare.partial` or show them beside the models.

    Parameters
    ----------
    condition : sequence, length n_trials
    order : sequence of int, optional
        Position of each trial in the experiment.
    time_s : sequence of float, optional
        Onset in seconds, within its run where `run` is given: trials of different runs count as far apart as the two
        furthest of one run.
    run : sequence, optional
    conditions : sequence of str, optional
        Their order; sorted by default.

    Returns
    -------
    RDM
        Axis ``"nuisance"`` with coordinates out of ``"order"``, ``"time"`` (mean distances over the pairs of trials of
        the two conditions) and ``"run"`` (share of their pairs that lie in different runs), for what was given and
        differs between pairs of conditions.

    Raises
    ------
    ValueError
        If nothing is given, or nothing of it differs between pairs of conditions.
    """
    number, names = labelled(condition, conditions)
    n = len(number)
    averages = np.zeros((len(names), n))
    averages[number, np.arange(n)] = 1.0
    averages /= averages.sum(1, keepdims=True)
    found: dict[str, np.ndarray] = {}
    apart = None
    if run is not None:
        of_run, _ = labelled(run)
        checks.same_length("trial", condition=number, run=of_run)
        apart = of_run[:, None] != of_run[None, :]
    if order is not None:
        found["order"] = _differences("order", order, n)
    if time_s is not None:
        found["time"] = _differences("time_s", time_s, n)
        if apart is not None:
            found["time"] = np.where(apart, found["time"][~apart].max(), found["time"])
    if apart is not None:
        found["run"] = apart.astype(np.float64)
    kept = {}
    for name, table in found.items():
        distances = pairs.condensed(torch.from_numpy(averages @ table @ averages.T))
        if float(distances.max() - distances.min()) > 1e-9 * max(1.0, float(distances.abs().max())):
            kept[name] = distances
    if not kept:
        raise ValueError("no nuisance differs between pairs of conditions; there is nothing to take out.")
    return RDM(torch.stack(list(kept.values())), names, "nuisance", ("nuisance",), {"nuisance": tuple(kept)})


def _differences(name: str, values: Any, n: int) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    checks.same_length("trial", condition=range(n), **{name: array})
    return np.abs(array[:, None] - checks.finite(name, array)[None, :])
