"""A small U-Net over the time of an epoch: channels in, channels out, told a noise level and conditions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindec.priors._denoiser import time_features

FOLDED = 4  # samples of time that become features of one place: what is done then costs a quarter
KERNEL = 3  # places
FAINT = 1e-6  # mean square, of a channel that is silent


class EpochUNet(nn.Module):
    """What is left to learn of noisy epochs, (n, n_channels, n_times), once linear guesses are taken away.

    Its output begins at zero.

    Parameters
    ----------
    n_channels : int
    sizes : tuple of int
        Values of each factor.
    width : int
        Features of a place, a multiple of 8; twice as many at half the resolution.
    dropout : float
    """

    def __init__(self, n_channels: int, sizes: tuple[int, ...], width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        told = 2 * width
        self.time_in = nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told))
        self.factors = nn.ModuleList(nn.Embedding(size, told) for size in sizes)
        self.loud = nn.Linear(n_channels, told)  # normalised features forget how large an epoch is
        self.hidden = nn.Parameter(torch.zeros(told))  # instead of the factors, where they are hidden
        self.enter = nn.Conv1d(n_channels * FOLDED, width, KERNEL, padding=1)
        self.down = _Stage(width, width, told, dropout)
        self.middle = nn.ModuleList(
            [_Stage(width, 2 * width, told, dropout), _Stage(2 * width, 2 * width, told, dropout)]
        )
        self.up = _Stage(3 * width, width, told, dropout)
        self.leave = nn.Conv1d(width, n_channels * FOLDED, KERNEL, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]  # a bias is None in other convolutions alone

    def forward(self, noisy: Tensor, step: Tensor, codes: Tensor, keep: Tensor) -> Tensor:
        """(n, n_channels, n_times).

        Parameters
        ----------
        noisy : Tensor, shape (n, n_channels, n_times)
        step : int tensor, shape (n,)
            Noise level.
        codes : int tensor, shape (n, n_factors)
        keep : bool tensor, shape (n,)
            False where conditions are hidden.
        """
        factors = torch.stack([layer(codes[:, i]) for i, layer in enumerate(self.factors)]).sum(0)
        told = self.time_in(time_features(step, self.width).to(noisy))
        told = told + torch.where(keep[:, None], factors, self.hidden)
        told = told + self.loud(noisy.square().mean(2).clamp_min(FAINT).log())
        x = beside = self.down(self.enter(_folded(noisy)), told)
        x = functional.avg_pool1d(x, 2, ceil_mode=True)
        for stage in self.middle:
            x = stage(x, told)
        x = functional.interpolate(x, beside.shape[2], mode="linear", align_corners=False)
        x = self.up(torch.cat([x, beside], 1), told)
        x = self.leave(functional.silu(x))
        return x.unflatten(1, (-1, FOLDED)).transpose(2, 3).flatten(2)[:, :, : noisy.shape[2]]


def _folded(epochs: Tensor) -> Tensor:
    """(n, n_channels, n_times) to (n, n_channels * FOLDED, places), the end filled with zeros."""
    filled = functional.pad(epochs, (0, -epochs.shape[2] % FOLDED))
    return filled.unflatten(2, (-1, FOLDED)).transpose(2, 3).flatten(1, 2)


class _Stage(nn.Module):
    """Two convolutions over time, between them what is told as a gain and a shift of every feature."""

    def __init__(self, before: int, after: int, told: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(8, before), nn.SiLU(), nn.Conv1d(before, after, KERNEL, padding=1)
        )
        self.norm = nn.GroupNorm(8, after)
        self.told = nn.Linear(told, 2 * after)
        self.second = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), nn.Conv1d(after, after, KERNEL, padding=1)
        )
        self.beside = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        gain, shift = self.told(functional.silu(told))[:, :, None].chunk(2, 1)
        found: Tensor = self.beside(x) + self.second(self.norm(self.first(x)) * (1 + gain) + shift)
        return found
