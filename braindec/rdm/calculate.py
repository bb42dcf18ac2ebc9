"""From trials to RDMs: one call for every measure, over all times at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.rdm import distances as measures
from braindec.rdm import noise as noises
from braindec.rdm.matrix import RDM
from braindec.rdm.noise import Noise
from braindec.rdm.patterns import Patterns, average
from braindec.rdm.trial_products import crossnobis_by_products

MEASURES = ("crossnobis", "euclidean", "correlation", "cosine", "mahalanobis", "poisson", "poisson_cross")
CROSS_RUN = ("crossnobis", "poisson_cross")
NoiseChoice = str | Noise | Tensor | Sequence[Noise] | Sequence[Tensor] | None


def dissimilarity(
    x: Tensor | np.ndarray,
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
    noise : str, Noise, Tensor, sequence of these or None
        For crossnobis and mahalanobis. ``"shrinkage"`` (Schaefer-Strimmer), ``"ledoit_wolf"`` or ``"diagonal"``
        estimate it from what repeats of a condition leave, at each time anew; a `Noise` or a precision matrix
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
    values = _tensor(x)
    checks.one_of("measure", measure, MEASURES)
    if measure in CROSS_RUN and run is None:
        raise checks.ConfigError(
            f"measure {measure!r} compares patterns across runs: give run=, the run of each trial. Without runs, "
            "'mahalanobis' is its biased counterpart."
        )
    if measure == "crossnobis" and noise == "shrinkage" and _wide(values):
        found = crossnobis_by_products(values, condition, run, conditions)
        return _as_rdm(found.distances, found.conditions, measure, times)
    patterns = average(values, condition, run=run if measure in CROSS_RUN else None, conditions=conditions)
    used = _noise(values, condition, noise) if measure in ("crossnobis", "mahalanobis") else None
    return _as_rdm(_distances(patterns, measure, used), patterns.conditions, measure, times)


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
    if noise is None or isinstance(noise, Noise | Tensor):
        return noise
    if isinstance(noise, str):
        # (trial, channel, time) -> (time, trial, channel): a covariance a time
        rows = x if x.ndim == 2 else x.movedim(2, 0).contiguous()
        return noises.estimate(noises.residuals(rows, condition), noise)
    return list(noise)


def _refuse_missing(patterns: Patterns) -> None:
    if not patterns.complete:
        run, condition = (int(i) for i in torch.nonzero(patterns.counts == 0)[0])
        raise ValueError(
            f"run {patterns.runs[run]!r} has no trial of condition {patterns.conditions[condition]!r}; leave it out."
        )


def _wide(x: Tensor) -> bool:
    return x.ndim == 2 and x.shape[1] > x.shape[0]


def _tensor(x: Tensor | np.ndarray) -> Tensor:
    values = x if isinstance(x, Tensor) else torch.from_numpy(np.ascontiguousarray(x))
    if not values.is_floating_point():
        raise TypeError(f"x must be floating, got {values.dtype}.")
    return values


def _as_rdm(found: Tensor, conditions: tuple[str, ...], measure: str, times: Sequence[float] | None) -> RDM:
    if found.ndim == 1:
        return RDM(found, conditions, measure)
    known = {} if times is None else {"time": tuple(float(t) for t in times)}
    return RDM(found, conditions, measure, ("time",), known)
