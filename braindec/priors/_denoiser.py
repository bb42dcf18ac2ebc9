"""Networks of priors: a transformer over tokens of what is told, of the brain, of the time and of a noisy image."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindec.priors._conditions import Shapes

START = 0.02  # SD of learned positions, as in most transformers since GPT-2
FAINT = 0.1  # the output layer begins small, so that the linear part decides at first
TIME_SCALE = 100.0  # a flow's time in [0, 1] is told like a step of as many noise levels
SLOWEST = 1e4  # longest period of the time features, Vaswani et al. 2017, arXiv:1706.03762, section 3.5


class Tokens(nn.Module):
    """What a transformer makes of noisy image tokens, a time and brain tokens, beside a linear path from the brain.

    Parameters
    ----------
    shape : (n_tokens, n_dims)
    width, depth, heads : int
    dropout : float
    told : mapping of str to (n_tokens, n_dims), optional
        Further outputs whose tokens stand before the brain's.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        told: Shapes | None = None,
    ):
        super().__init__()
        n_tokens, n_dims = shape
        told = dict(told or {})
        n_told = sum(n for n, _ in told.values())
        self.n_tokens = n_tokens
        self.brain_in = nn.Linear(n_dims, width)
        self.noisy_in = nn.Linear(n_dims, width)
        self.time_in = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.no_brain = nn.Parameter(START * torch.randn(n_told + n_tokens, width))
        self.position = nn.Parameter(START * torch.randn(n_told + 2 * n_tokens + 1, width))
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, n_dims)
        self.linear: nn.Module = nn.Linear(n_dims, n_dims, bias=False)
        self.told_in = nn.ModuleDict({name: nn.Linear(d, width) for name, (_, d) in told.items()})
        self.told_linear = nn.ModuleDict({n: nn.Linear(d, n_dims, bias=False) for n, (_, d) in told.items()})
        with torch.no_grad():
            self.out.weight.mul_(FAINT)

    def look(
        self, noisy: Tensor, step: Tensor, brain: Tensor, keep: Tensor, told: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(what the transformer makes, what the linear path makes), each (n_trials, n_tokens, n_dims).

        Parameters
        ----------
        noisy, brain : Tensor, shape (n_trials, n_tokens, n_dims)
        step : Tensor, shape (n_trials,)
            Told by sines of periods up to 60,000.
        keep : bool tensor, shape (n_trials,)
            False where brain and all that is told beside it are hidden.
        told : mapping of str to Tensor, shapes (n_trials, n_tokens, n_dims)
        """
        seen = keep[:, None, None]
        parts = [layer(told[name]) for name, layer in self.told_in.items()]
        condition = torch.where(seen, torch.cat([*parts, self.brain_in(brain)], dim=1), self.no_brain)
        time = self.time_in(time_features(step, self.position.shape[1]).to(noisy)).unsqueeze(1)
        x = torch.cat([condition, time, self.noisy_in(noisy)], dim=1)  # (trial, told + 2 * token + 1, width)
        x = x + self.position
        for block in self.blocks:
            x = block(x)
        linear = self.linear(brain)
        for name, layer in self.told_linear.items():
            linear = linear + layer(told[name].mean(1, keepdim=True))
        return self.out(self.norm(x[:, -self.n_tokens :])), linear * seen.to(brain)


class Denoiser(Tokens):
    """Clean image tokens (standardised) from noisy ones, a step, and brain tokens (standardised).

    Output = sqrt(left) * noisy + sqrt(1 - left) * network: the first term is the best linear guess from the noisy
    tokens alone, so the network has only the rest to learn (Karras et al. 2022, arXiv:2206.00364, section 5).
    The network = transformer + a linear path from the brain tokens.
    """

    def forward(
        self,
        noisy: Tensor,
        step: Tensor,
        left: Tensor,
        brain: Tensor,
        keep: Tensor,
        told: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The clean tokens (n_trials, n_tokens, n_dims).

        Parameters
        ----------
        noisy, step, brain, keep, told
            See `Tokens.look`.
        left : Tensor, shape (n_trials, 1, 1)
            Share of the data's variance left at that step, in [0, 1].
        """
        learned, linear = self.look(noisy, step, brain, keep, told or {})
        return left.sqrt() * noisy + (1 - left).sqrt() * (learned + linear)


class Velocity(Tokens):
    """Where a point on the way from noise to an image moves, per unit of time: what linear guesses leave.

    Images and noise have variance one along the way, so that without a brain the best linear guess is to stay
    (see `flow`); the transformer learns the rest.

    Parameters
    ----------
    linear : bool
        Whether there is a linear path from the brain; a flow that starts at a linear guess has no use for it.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        told: Shapes | None = None,
        linear: bool = True,
    ):
        super().__init__(shape, width, depth, heads, dropout, told)
        self.with_linear = linear
        if not linear:
            self.linear, self.told_linear = nn.Identity(), nn.ModuleDict()
            with (
                torch.no_grad()
            ):  # nothing flows at first, so that training begins at the linear guess itself
                self.out.weight.zero_()
                self.out.bias.zero_()

    def forward(
        self,
        at: Tensor,
        time: Tensor,
        brain: Tensor,
        keep: Tensor,
        told: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """(n_trials, n_tokens, n_dims); `time` (n_trials,) in [0, 1], from noise to image."""
        learned, linear = self.look(at, TIME_SCALE * time, brain, keep, told or {})
        if not self.with_linear:
            return learned
        # The brain says where the image lies, and the way there is straight at first and none at the end.
        return learned + torch.cos(0.5 * math.pi * time)[:, None, None] * linear


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
