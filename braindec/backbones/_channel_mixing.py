"""Channels that see each other before the convolutions: NICE's self-attention and graph attention.

Mended; faults of the published code, kept where `published` is true:

- Self-attention: the weights are summed over the channels that are attended to, instead of weighting them. They sum to
  one, so the signal passes unchanged; query and key never learn (`inert`). What remains is a map of the channels.
- Graph attention: the edges join the nodes of the first trial of a batch. All other trials only see themselves.

Source: Song et al. 2024, arXiv:2308.13234, and its code's `spatial_modules.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from braindec.backbones._dropout import Dropout

DROPOUT = 0.3  # of both modules, as published
SLOPE = 0.2  # of graph attention's leaky rectifier; Velickovic et al. 2018, arXiv:1710.10903
INTERVAL = 30  # published self-attention scales by the number of such intervals in an epoch


class SelfAttention(nn.Module):
    """Adds to (n_trials, n_channels, n_times) what each channel takes from the others like it.

    Parameters
    ----------
    n_channels, n_times : int
    published : bool
        With the fault told above.
    """

    def __init__(self, n_channels: int, n_times: int, *, published: bool = False):
        super().__init__()
        self.published = published
        self.norm = nn.LayerNorm(n_times)
        self.query = _mapped(n_channels)
        self.key = _mapped(n_channels)
        self.projection = _mapped(n_channels)
        self.dropout = Dropout(DROPOUT)
        self.scale = 1 / math.sqrt(n_times)
        dead = [f"{part}.{name}" for part in ("query", "key") for name, _ in self.query.named_parameters()]
        self.inert = tuple(dead) if published else ()

    def forward(self, signal: Tensor) -> Tensor:
        """The same shape."""
        x = self.norm(signal)
        if not self.published:
            x = self.weights(x) @ x
        return signal + self.dropout(self.projection(x.transpose(1, 2)).transpose(1, 2))

    def weights(self, x: Tensor) -> Tensor:
        """Share of each channel in each channel, (n_trials, n_channels, n_channels); rows sum to 1."""
        over_time = x.transpose(1, 2)  # (trial, time, channel)
        scores = self.query(over_time).transpose(1, 2) @ self.key(over_time)
        return (scores * self.scale).softmax(2)


class GraphAttention(nn.Module):
    """Adds a one-head graph attention over the complete graph of channels.

    Parameters
    ----------
    n_channels, n_times : int
    published : bool
        With the fault told above.
    """

    inert: tuple[str, ...] = ()

    def __init__(self, n_channels: int, n_times: int, *, published: bool = False):
        super().__init__()
        self.published = published
        self.map = nn.Linear(n_times, n_times, bias=False)
        self.source = nn.Parameter(torch.empty(n_times))
        self.target = nn.Parameter(torch.empty(n_times))
        self.bias = nn.Parameter(torch.zeros(n_times))
        self.dropout = Dropout(DROPOUT)
        for weight in (self.source.unsqueeze(0), self.target.unsqueeze(0)):
            nn.init.xavier_uniform_(weight)

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times), the same shape."""
        x = self.map(signal)
        if self.published:
            x = torch.cat([self.weights(x[:1]) @ x[:1], x[1:]])
        else:
            x = self.weights(x) @ x
        return signal + self.dropout(x + self.bias)

    def weights(self, x: Tensor) -> Tensor:
        """Share of each channel in each channel, itself included, (n_trials, n_channels, n_channels)."""
        scores = (x @ self.target).unsqueeze(2) + (x @ self.source).unsqueeze(1)
        return nn.functional.leaky_relu(scores, SLOPE).softmax(2)


def _mapped(n_channels: int) -> nn.Sequential:
    # Before a norm over channels a bias is no constant of one channel: it stays.
    return nn.Sequential(nn.Linear(n_channels, n_channels), nn.LayerNorm(n_channels), Dropout(DROPOUT))
