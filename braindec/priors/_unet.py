"""ATM's prior network: fully connected layers from wide to narrow and back, told time and condition at each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.priors._conditions import Conditions, Shapes

SLOWEST = 1e4  # longest period of the time features


class UNet(nn.Module):
    """A noisy embedding, flattened, to one of the same shape: the noise in it, as published, or the clean embedding.

    Parameters
    ----------
    shape : (n_tokens, n_dims)
    widths : sequence of int
        Values of each layer on the way down; at least two.
    time_width : int
        Sines and cosines that tell the step, even.
    dropout : float
    told : mapping of str to (n_tokens, n_dims), optional
        Further outputs, flattened behind the brain embedding; ATM has none.

    Notes
    -----
    Li et al. 2024, arXiv:2403.07721 (ATM): widths 1024, 512, 256, 128, 64, 512 time features, dropout 0.1. A layer's
    output on the way down is added to that of the same width on the way up (Ronneberger et al. 2015,
    arXiv:1505.04597, concatenates). A hidden condition is all zeros.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        widths: Sequence[int],
        time_width: int,
        dropout: float,
        told: Shapes | None = None,
    ):
        super().__init__()
        checks.at_least("number of widths", len(widths), 2)
        n_values = math.prod(shape)
        n_known = n_values + Conditions(told).n_values
        self.names = tuple(told or ())
        self.time_width = time_width
        self.enter = nn.Sequential(nn.Linear(n_values, widths[0]), nn.LayerNorm(widths[0]), nn.SiLU())
        steps = [*pairwise(widths), *pairwise(reversed(widths))]
        self.stages = nn.ModuleList([Stage(a, b, time_width, n_known, dropout) for a, b in steps])
        self.leave = nn.Linear(widths[0], n_values)

    def forward(
        self,
        noisy: Tensor,
        step: Tensor,
        brain: Tensor,
        keep: Tensor,
        told: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """What is predicted, (n_trials, n_tokens, n_dims).

        Parameters
        ----------
        noisy, brain : Tensor, shape (n_trials, n_tokens, n_dims)
        step : int tensor, shape (n_trials,)
        keep : bool tensor, shape (n_trials,)
            False where brain and whatever is told beside it are hidden.
        told : mapping of str to Tensor, shapes (n_trials, n_tokens, n_dims)
        """
        known = torch.cat([part.flatten(1) for part in (brain, *((told or {})[n] for n in self.names))], 1)
        known = known * keep[:, None].to(known)
        time = step_features(step, self.time_width).to(noisy)
        x = self.enter(noisy.flatten(1))
        passed: list[Tensor] = []
        half = len(self.stages) // 2
        for stage in self.stages[:half]:
            passed.append(x)
            x = stage(x, time, known)
        for stage in self.stages[half:]:
            x = stage(x, time, known) + passed.pop()
        found: Tensor = self.leave(x).unflatten(1, noisy.shape[1:])
        return found


class Stage(nn.Module):
    """From one width to the next, after time and condition are added."""

    def __init__(self, width: int, following: int, time_width: int, n_known: int, dropout: float):
        super().__init__()
        self.time_in = nn.Sequential(nn.Linear(time_width, width), nn.SiLU(), nn.Linear(width, width))
        self.known_in = nn.Linear(n_known, width)
        self.layers = nn.Sequential(
            nn.Linear(width, following), nn.LayerNorm(following), nn.SiLU(), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, time: Tensor, known: Tensor) -> Tensor:
        """(n_trials, width) to (n_trials, following)."""
        found: Tensor = self.layers(x + self.time_in(time) + self.known_in(known))
        return found


def step_features(step: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of a step at geometrically spaced rates: (n_trials,) to (n_trials, width), float32."""
    half = width // 2
    rate = torch.exp(-math.log(SLOWEST) * torch.arange(half, device=step.device) / half)
    angle = step[:, None] * rate
    return torch.cat([angle.cos(), angle.sin()], dim=1)
