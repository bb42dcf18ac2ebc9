"""A temporal convolution and the batch norm behind it as one set of filters, without computing what lies between."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones._filter_bank import n_steps, window_moments


def normed_filters(
    signal: Tensor, temporal: nn.Conv2d, norm: nn.BatchNorm2d, *, pool: int, stride: int
) -> tuple[Tensor, Tensor]:
    """Filters and shifts whose output is that of the convolution, a mean over time and the batch norm.

    Parameters
    ----------
    signal : Tensor, shape (n_trials, n_channels, n_times)
        Gives the batch's statistics in training, which also move the norm's running ones.
    temporal : nn.Conv2d
        Of weight (n_filters, 1, 1, kernel).
    norm : nn.BatchNorm2d
        In training or evaluation.
    pool, stride : int
        Length and step of the mean, samples.

    Returns
    -------
    filters : Tensor, shape (n_filters, kernel)
    shift : Tensor, shape (n_filters,)
        Both of the signal's type.
    """
    weight, bias = temporal.weight.flatten(1), temporal.bias
    offset = torch.zeros_like(weight[:, 0]) if bias is None else bias
    if norm.training:
        mean, covariance = window_moments(signal, weight.shape[1], pool, stride)
        weight = weight.to(mean.dtype)
        centre = weight @ mean + offset
        variance = ((weight @ covariance) * weight).sum(1).clamp_min(0)
        n = len(signal) * signal.shape[1] * n_steps(signal.shape[2], weight.shape[1], pool, stride)
        _remember_(norm, centre.detach(), variance.detach(), n)
    else:
        centre, variance = _running(norm)
    scale = norm.weight / (variance + norm.eps).sqrt()
    shift = norm.bias + (offset - centre) * scale
    return (weight * scale.unsqueeze(1)).to(signal.dtype), shift.to(signal.dtype)


@torch.no_grad()
def _remember_(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, n: int) -> None:
    """Moves the running statistics as batch norms do, by the variance of the population."""
    if n < 2:
        raise ValueError(
            f"a batch norm needs 2 values a filter at least to train on, got {n}; take more trials."
        )
    kept_mean, kept_variance = _running(norm)
    momentum = checks.of_type("momentum", norm.momentum, float)
    kept_mean.lerp_(mean.to(kept_mean), momentum)
    kept_variance.lerp_((variance * (n / (n - 1))).to(kept_variance), momentum)
    checks.of_type("number of batches", norm.num_batches_tracked, Tensor).add_(1)


def _running(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance, which only a norm that keeps none lacks."""
    mean = checks.of_type("running mean", norm.running_mean, Tensor)
    return mean, checks.of_type("running variance", norm.running_var, Tensor)
