"""Features of continuous stimuli for responses that lag behind: delayed copies, or convolved with a response function.

Nothing crosses from one run into the next: what happened before a run began is not known, and counts as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks
from braindec.maths.tensors import Array, as_tensor

RESPONSE_LENGTH_S = 32.0  # after which the canonical response is over


def delayed(features: Array, delays: Sequence[int], runs: Any | None = None) -> Tensor:
    """Copies of the features at several delays side by side: a finite impulse response model.

    Parameters
    ----------
    features : Tensor or array, shape (n_samples, n_features)
        In the order of time within each run; centred beforehand, so that zero before a run means "as on average".
    delays : sequence of int
        Samples by which the response lags; negative ones look into the future.
    runs : sequence, length n_samples, or None
        Run of each sample; None: one run.

    Returns
    -------
    Tensor, shape (n_samples, n_delays * n_features)
        All features at the first delay, then at the second, ...
    """
    features = as_tensor("features", features)
    n, p = checks.n_axes("features", features, ("sample", "feature")).shape
    checks.unique("delays", [int(d) for d in delays])
    out = features.new_zeros(n, len(delays), p)
    for rows in _runs(runs, n):
        part = features[rows]
        for column, delay in enumerate(int(d) for d in delays):
            kept = len(rows) - abs(delay)
            if kept > 0:
                to, source = (delay, 0) if delay >= 0 else (0, -delay)
                out[rows[to : to + kept], column] = part[source : source + kept]
    return out.flatten(1)


def undelayed(weights: Array, n_delays: int) -> Tensor:
    """Weights of `delayed` features (n_delays * n_features, n_voxels) as (n_delays, n_features, n_voxels)."""
    weights = as_tensor("weights", weights)
    if weights.shape[0] % n_delays:
        raise ValueError(
            f"weights has {weights.shape[0]} along axis 'feature', no multiple of {n_delays} delays."
        )
    return weights.unflatten(0, (n_delays, -1))


def canonical_response(sfreq: float, length_s: float = RESPONSE_LENGTH_S) -> Tensor:
    """The canonical haemodynamic response to an impulse, float64 (n_samples,), with sum 1.

    Parameters
    ----------
    sfreq : float
        Hz.
    length_s : float
        Seconds.

    Notes
    -----
    Difference of gamma densities of shape 6 and 16 (the second a sixth of the first) and scale 1 s, as in SPM; Friston
    et al. 1998, doi:10.1006/nimg.1997.0306.
    """
    from scipy.stats import gamma

    checks.at_least("sfreq", sfreq, 1e-6, unit="Hz")
    times = np.arange(round(length_s * sfreq) + 1) / sfreq
    shape = gamma.pdf(times, 6) - gamma.pdf(times, 16) / 6
    return torch.from_numpy(shape / shape.sum())


def convolved(features: Array, response: Array, runs: Any | None = None) -> Tensor:
    """Features convolved with a response function, run by run.

    Parameters
    ----------
    features : Tensor or array, shape (n_samples, n_features)
    response : Tensor or array, shape (n_taps,)
        Response to an impulse at the features' sampling rate, e.g. `canonical_response`.
    runs : sequence, length n_samples, or None

    Returns
    -------
    Tensor, shape (n_samples, n_features)
    """
    features, response = as_tensor("features", features), as_tensor("response", response)
    n, _ = checks.n_axes("features", features, ("sample", "feature")).shape
    taps = checks.n_axes("response", response, ("tap",)).to(features).flip(0)[None, None]
    out = torch.empty_like(features)
    for rows in _runs(runs, n):
        before = functional.pad(features[rows].T[:, None], (taps.shape[-1] - 1, 0))  # (feature, 1, sample)
        out[rows] = functional.conv1d(before, taps)[:, 0].T
    return out


def at_scans(features: Array, sfreq: float, scan_times: Sequence[Array], runs: Any | None = None) -> Tensor:
    """Features at the times of scans, linearly interpolated within each run.

    Parameters
    ----------
    features : Tensor or array, shape (n_samples, n_features)
        Convolved at their own rate first.
    sfreq : float
        Hz of the features; a run's first sample is at 0 s.
    scan_times : sequence of Tensor or array, one a run
        Seconds from the start of the run; a time outside of it takes the first or last sample.
    runs : sequence, length n_samples, or None

    Returns
    -------
    Tensor, shape (sum of the numbers of scans, n_features)
    """
    features = as_tensor("features", features)
    parts = _runs(runs, len(features))
    if len(parts) != len(scan_times):
        raise ValueError(
            f"scan_times has {len(scan_times)} runs but runs names {len(parts)}; they must match."
        )
    out = []
    for rows, times in zip(parts, scan_times):
        # In float64: thousands of seconds at a thousand Hz leave float32 no fraction of a sample.
        place = (as_tensor("scan_times", times).to(features.device).double() * sfreq).clamp(0, len(rows) - 1)
        low = place.floor().long()
        share = (place - low).to(features)[:, None]
        part = features[rows]
        out.append(part[low] * (1 - share) + part[(low + 1).clamp_max(len(rows) - 1)] * share)
    return torch.cat(out)


def _runs(runs: Any | None, n: int) -> list[Tensor]:
    """Rows of each run, runs in the order in which they begin."""
    if runs is None:
        return [torch.arange(n)]
    if len(runs) != n:
        raise ValueError(f"runs has {len(runs)} along axis 'sample' but features has {n}; they must match.")
    _, first, member = np.unique(np.asarray(runs), return_index=True, return_inverse=True)
    return [torch.from_numpy(np.flatnonzero(member == i)) for i in np.argsort(first)]
