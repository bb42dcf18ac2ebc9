"""From trials to RDMs: one call for every measure, over all times at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm import distances as measures
from braindec.rdm import noise as noises
from braindec.rdm.left_out import left_out_distances
from braindec.rdm.matrix import RDM
from braindec.rdm.noise import Noise
from braindec.rdm.patterns import Patterns, average, labelled
from braindec.rdm.trial_products import crossnobis_by_products

MEASURES = ("crossnobis", "euclidean", "correlation", "cosine", "mahalanobis", "poisson", "poisson_cross")
CROSS_RUN = ("crossnobis", "poisson_cross")
NoiseChoice = str | Noise | Array | Sequence[Noise] | Sequence[Array] | None


def dissimilarity(
    x: Array,
    condition: Any,
    *,
    measure: str = "crossnobis",
    run: Any | None = None,
    noise: NoiseChoice = "shrinkage",
    conditions: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
) -> RDM:
    """Distances between the mean patterns of all pairs of conditions.

    Parameters
    ----------
    x : Tensor or array, shape (trial, channel) or (trial, channel, time)
        Floating; a time axis gives an RDM at each time.
    condition : sequence, length n_trials
        What was shown; any number of trials each.
    measure : str
        ``"crossnobis"`` (default; patterns of one run share noise, which biases every distance within a run),
        ``"euclidean"`` and ``"mahalanobis"`` (squared), ``"correlation"``, ``"cosine"``, ``"poisson"``,
        ``"poisson_cross"``. All but correlation and cosine are divided by the number of channels.
    run : sequence, length n_trials
        Needed by the cross-run measures: only trials of different runs are multiplied.
    noise : str, Noise, Tensor or array, sequence of these or None
        For crossnobis and mahalanobis. ``"shrinkage"`` (Schaefer-Strimmer), ``"ledoit_wolf"`` or ``"diagonal"``
        estimate it from repeats, at each time anew: from those within runs where all conditions have some, else for
        each pair from other conditions than the two compared, because a covariance that knows their residuals makes
        crossnobis of pure noise positive (`left_out`). A `Noise` (see `estimate`) or a precision matrix
        (channel, channel) is used as given; a list of them is one a run; None is the identity.
    conditions : sequence of str, optional
        Order of the conditions; sorted by default.
    times : sequence of float, optional
        Seconds, kept as coordinates of the axis ``"time"``.

    Returns
    -------
    RDM
        Axes () or ("time",).
    """
    values = as_tensor("x", x, floating=True)
    checks.one_of("measure", measure, MEASURES)
    if measure in CROSS_RUN and run is None:
        raise checks.ConfigError(
            f"measure {measure!r} compares patterns across runs: give run=, the run of each trial. Without runs, "
            "'mahalanobis' is its biased counterpart."
        )
    if (
        measure == "crossnobis"
        and isinstance(noise, str)
        and noise == "shrinkage"
        and values.ndim == 2
        and values.shape[1] > len(values)
        and _complete(condition, run)
    ):
        found = crossnobis_by_products(values, condition, run, conditions)
        return _as_rdm(found.distances, found.conditions, measure, times)
    patterns = average(values, condition, run=run if measure in CROSS_RUN else None, conditions=conditions)
    if measure == "crossnobis" and isinstance(noise, str):
        found_distances = _under_own_noise(values, patterns, condition, run, noise)
    else:
        used = _noise(values, condition, noise) if measure in ("crossnobis", "mahalanobis") else None
        found_distances = _distances(patterns, measure, used)
    return _as_rdm(found_distances, patterns.conditions, measure, times)


def _distances(patterns: Patterns, measure: str, noise: Any) -> Tensor:
    if measure == "crossnobis":
        return _crossnobis(patterns, noise)
    _refuse_missing(patterns)
    if measure == "poisson_cross":
        return measures.poisson_cross(patterns.values)
    values = patterns.values.squeeze(-3)
    if measure == "mahalanobis":
        if isinstance(noise, list):
            raise checks.ConfigError("a list of noises is one a run; only crossnobis keeps runs apart.")
        return measures.mahalanobis(values, noise)
    plain = {"euclidean": measures.euclidean, "correlation": measures.correlation, "cosine": measures.cosine}
    return measures.poisson(values) if measure == "poisson" else plain[measure](values)


def _under_own_noise(x: Tensor, patterns: Patterns, condition: Any, run: Any, kind: str) -> Tensor:
    """Crossnobis under the noise of the same trials, kept from knowing the residuals of the conditions compared."""
    rows = _rows(x)
    if bool((patterns.counts > 1).all()):
        return _crossnobis(patterns, noises.estimate(noises.residuals(rows, condition, run), kind))
    found = noises.estimate(noises.residuals(rows, condition), kind)
    number = torch.from_numpy(labelled(condition, patterns.conditions)[0]).to(x.device)

    def distances(members: Tensor, noise: Noise) -> Tensor:
        part = replace(
            patterns,
            values=patterns.values.index_select(-2, members),
            counts=patterns.counts.index_select(1, members.cpu()),
        )
        return _crossnobis(part, noise)

    return left_out_distances(distances, found, number, patterns.counts.sum(0).numpy(), patterns.values)


def _crossnobis(patterns: Patterns, noise: Any) -> Tensor:
    if isinstance(noise, list):
        _refuse_missing(patterns)
        return measures.crossnobis_by_run_noise(patterns.values, noise)
    if patterns.complete:
        return measures.crossnobis(patterns.values, noise)
    return measures.crossnobis_of_incomplete(
        patterns.values, (patterns.counts > 0).to(patterns.values.device), noise
    )


def _noise(x: Tensor, condition: Any, noise: NoiseChoice) -> Any:
    if noise is None or isinstance(noise, Noise):
        return noise
    if isinstance(noise, str):
        return noises.estimate(noises.residuals(_rows(x), condition), noise)
    if isinstance(noise, Tensor):
        return noise
    if isinstance(noise, np.ndarray):
        return as_tensor("noise", noise).to(x)
    return [
        one if isinstance(one, Noise | Tensor) else as_tensor("noise of a run", one).to(x) for one in noise
    ]


def _complete(condition: Any, run: Any) -> bool:
    """Whether every run has every condition."""
    (number, names), (of_run, runs) = labelled(condition), labelled(run)
    checks.same_length("trial", condition=number, run=of_run)
    return len(np.unique(of_run * len(names) + number)) == len(names) * len(runs)


def _rows(x: Tensor) -> Tensor:
    """(trial, channel, time) -> (time, trial, channel): a covariance a time."""
    return x if x.ndim == 2 else x.movedim(2, 0).contiguous()


def _refuse_missing(patterns: Patterns) -> None:
    if not patterns.complete:
        run, condition = (int(i) for i in torch.nonzero(patterns.counts == 0)[0])
        raise ValueError(
            f"run {patterns.runs[run]!r} has no trial of condition {patterns.conditions[condition]!r}; leave it out."
        )


def _as_rdm(found: Tensor, conditions: tuple[str, ...], measure: str, times: Sequence[float] | None) -> RDM:
    if found.ndim == 1:
        return RDM(found, conditions, measure)
    known = {} if times is None else {"time": tuple(float(t) for t in times)}
    return RDM(found, conditions, measure, ("time",), known)
