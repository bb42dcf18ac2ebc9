"""Experts that a router weighs for each trial, beside a linear path: one backbone for EEG, MEG and fMRI."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._heads import Heads

MEMBER = "experts"
BALANCE = "expert_balance"  # what `forward` calls the weights that the router gives in training
# Small enough that the linear path decides at first, large enough that a gradient reaches every layer at once.
CURVED_START = 0.01


@dataclass(frozen=True)
class Config:
    """Settings; number of experts and of the router's values are BrainFLORA's.

    Parameters
    ----------
    n_experts : int
    width : int
        Values that an expert gives, and its hidden values.
    router_width : int
        Hidden values of the router.
    dropout : float
        Share of the experts' mixture that is dropped in training, in [0, 1).
    balance : float
        Weight of a loss that asks for experts which are used alike over a batch, >= 0; 0 for none.
    variant : {"ours", "published"}
        ``"ours"``: experts of one hidden layer, weighed by a softmax, behind a norm and beside a linear path from the
        shared values. ``"published"``: linear experts weighed by sigmoids that are divided by their sum, and nothing
        beside them; the linear heads behind stand for its projections.

    Notes
    -----
    BrainFLORA, Li et al. 2025, arXiv:2507.09747: subjects' adapters end in one vector whatever the modality, and a
    router that sees this vector alone decides. The balance is that of Fedus et al. 2022, arXiv:2101.03961, with weights
    for counts: 1 where all experts are used alike over the batch, `n_experts` where one is used alone.
    """

    n_experts: int = 5
    width: int = 256
    router_width: int = 128
    dropout: float = 0.0
    balance: float = 0.0
    variant: str = "ours"

    def __post_init__(self) -> None:
        checks.at_least("n_experts", self.n_experts, 2)
        checks.at_least("width", self.width, 1)
        checks.at_least("router_width", self.router_width, 1)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.at_least("balance", self.balance, 0.0)
        checks.one_of("variant", self.variant, ("ours", "published"))


class Router(nn.Module):
    """Weights of the experts, each >= 0 and summing to 1."""

    def __init__(self, n_in: int, config: Config):
        super().__init__()
        self.sigmoids = config.variant == "published"
        self.layers = nn.Sequential(
            nn.Linear(n_in, config.router_width), nn.ReLU(), nn.Linear(config.router_width, config.n_experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in) to (n_trials, n_experts)."""
        scores: Tensor = self.layers(x)
        if not self.sigmoids:
            return scores.softmax(1)
        weights = scores.sigmoid()
        return weights / weights.sum(1, keepdim=True)


class Experts(Backbone):
    """The router's mixture of what all experts make of a trial, a linear head an output; ours adds a linear path."""

    first_layers = ("norm.", "router.", "first.")

    def __init__(self, shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_in, ours = math.prod(shared_shape), config.variant == "ours"
        self.n_experts = config.n_experts
        self.norm = nn.LayerNorm(n_in) if ours else None
        self.router = Router(n_in, config)
        # All experts are one product; hidden values of one expert lie side by side.
        self.first = nn.Linear(n_in, config.n_experts * config.width)
        self.second = (
            nn.Parameter(_drawn(config.n_experts, config.width, config.width)) if ours else None
        )  # (expert, hidden, value)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = Heads(config.width, outputs)
        self.linear = Heads(n_in, outputs) if ours else None
        self.balances = config.balance > 0
        if self.balances:
            self.auxiliary = {BALANCE: partial(_weighted_balance, config.balance)}
        if ours:
            self._start_curved_part_small_()

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}."""
        flat = shared.flatten(1)  # (trial, shared value)
        x = flat if self.norm is None else self.norm(flat)
        weights = self.router(x)
        made: dict[str, Tensor] = self.heads(self.dropout(self._mixed(x, weights)))
        if self.linear is not None:
            straight = self.linear(flat)
            made = {name: straight[name] + values for name, values in made.items()}
        return made | {BALANCE: weights} if self.balances and self.training else made

    def weights(self, shared: Tensor) -> Tensor:
        """What the router gives each expert: (n_trials, *shared_shape) to (n_trials, n_experts), rows summing to 1."""
        flat = shared.flatten(1)
        found: Tensor = self.router(flat if self.norm is None else self.norm(flat))
        return found

    def _mixed(self, x: Tensor, weights: Tensor) -> Tensor:
        """(n_trials, n_in) and (n_trials, n_experts) to (n_trials, width)."""
        made = self.first(x).unflatten(1, (self.n_experts, -1))  # (trial, expert, value)
        if self.second is None:
            return torch.einsum("ne,nev->nv", weights, made)
        # Weights before the second product: summing over experts is then part of it.
        hidden = weights.unsqueeze(2) * nn.functional.gelu(made)
        return hidden.flatten(1) @ self.second.flatten(0, 1)

    def linear_path(self, output: str) -> nn.Linear | None:
        """The layer of the linear path; the published variant has none."""
        if self.linear is None:
            checks.known_key("output", output, self.heads.outputs)
            return None
        return self.linear.of(output)

    @torch.no_grad()
    def _start_curved_part_small_(self) -> None:
        for parameter in self.heads.parameters():
            parameter.mul_(CURVED_START)


def balance(weights: Tensor) -> Tensor:
    """How unevenly experts are used over a batch: 1 if alike, n_experts if one alone.

    Parameters
    ----------
    weights : Tensor, shape (n_trials, n_experts)
        >= 0, rows summing to 1.
    """
    return weights.shape[1] * weights.mean(0).square().sum()


def _weighted_balance(weight: float, weights: Tensor) -> Tensor:
    return weight * balance(weights)


def _drawn(n_experts: int, n_in: int, n_out: int) -> Tensor:
    """Uniform as `nn.Linear` draws its weights."""
    return (2 * torch.rand(n_experts, n_in, n_out) - 1) / math.sqrt(n_in)


def build(shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config) -> Experts:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If an output has the name of the router's weights.
    """
    if BALANCE in outputs:
        raise ValueError(f"{MEMBER} calls the router's weights {BALANCE!r}; give the output another name.")
    return Experts(shared_shape, outputs, config)
