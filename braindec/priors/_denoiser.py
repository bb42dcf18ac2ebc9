"""The network of the diffusion prior: a transformer over brain tokens, a time token and noisy image tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

START = 0.02  # SD of learned positions, as in most transformers since GPT-2
FAINT = 0.1  # the output layer begins small, so that the linear part decides at first
SLOWEST = 1e4  # longest period of the time features, Vaswani et al. 2017, arXiv:1706.03762, section 3.5


class Denoiser(nn.Module):
    """Clean image tokens (standardised) from noisy ones, a step, and brain tokens (standardised).

    Output = sqrt(left) * noisy + sqrt(1 - left) * network: the first term is the best linear guess from the noisy
    tokens alone, so the network has only the rest to learn (Karras et al. 2022, arXiv:2206.00364, section 5).
    The network = transformer + a linear path from the brain tokens.
    """

    def __init__(self, shape: tuple[int, int], width: int, depth: int, heads: int, dropout: float):
        super().__init__()
        n_tokens, n_dims = shape
        self.n_tokens = n_tokens
        self.brain_in = nn.Linear(n_dims, width)
        self.noisy_in = nn.Linear(n_dims, width)
        self.time_in = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.no_brain = nn.Parameter(START * torch.randn(n_tokens, width))
        self.position = nn.Parameter(START * torch.randn(2 * n_tokens + 1, width))
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, n_dims)
        self.linear = nn.Linear(n_dims, n_dims, bias=False)
        with torch.no_grad():
            self.out.weight.mul_(FAINT)

    def forward(self, noisy: Tensor, step: Tensor, left: Tensor, brain: Tensor, keep: Tensor) -> Tensor:
        """The clean tokens.

        Parameters
        ----------
        noisy, brain : Tensor, shape (n_trials, n_tokens, n_dims)
        step : int tensor, shape (n_trials,)
        left : Tensor, shape (n_trials, 1, 1)
            Share of the data's variance left at that step, in [0, 1].
        keep : bool tensor, shape (n_trials,)
            False where the brain is hidden from the network.

        Returns
        -------
        Tensor, shape (n_trials, n_tokens, n_dims)
        """
        seen = keep[:, None, None]
        condition = torch.where(seen, self.brain_in(brain), self.no_brain)
        time = self.time_in(time_features(step, self.position.shape[1]).to(noisy)).unsqueeze(1)
        x = (
            torch.cat([condition, time, self.noisy_in(noisy)], dim=1) + self.position
        )  # (trial, 2 * token + 1, width)
        for block in self.blocks:
            x = block(x)
        learned = self.out(self.norm(x[:, -self.n_tokens :])) + self.linear(brain) * seen.to(brain)
        return left.sqrt() * noisy + (1 - left).sqrt() * learned


class Block(nn.Module):
    """Attention among tokens, then a hidden layer on each; both on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        # A bias on keys would move all scores of a query equally, so it could never learn anything.
        self.query_value = nn.Linear(width, 2 * width)
        self.key = nn.Linear(width, width, bias=False)
        self.merge = nn.Linear(width, width)
        self.hidden = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_tokens, width) to the same shape."""
        y = self.norm_attention(x)
        query, value = self.query_value(y).chunk(2, dim=2)
        split = [t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (query, self.key(y), value)]
        mixed = functional.scaled_dot_product_attention(*split)  # (trial, head, token, width / heads)
        x = x + self.dropout(self.merge(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.hidden(x))


def time_features(step: Tensor, width: int) -> Tensor:
    """Sines and cosines of a step number at geometrically spaced periods: (n_trials,) to (n_trials, width), float32."""
    n_periods = width // 2
    rate = torch.exp(-math.log(SLOWEST) * torch.arange(n_periods, device=step.device) / n_periods)
    angle = step[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)
