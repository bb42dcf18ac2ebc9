"""A subject's signal cut into tokens, which learned queries that all subjects share read by cross-attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from braindec import checks
from braindec.adapters import SharedPart, SubjectAdapter
from braindec.types import SubjectSignal


@dataclass(frozen=True)
class Config:
    """Settings; the published perceiver has 256 tokens of 1024, 256 latents, depth 6 and 16 heads of 96.

    Parameters
    ----------
    n_tokens, dim : int
        Tokens that a signal is cut into, and values of each.
    token_rank : int
        Projections of the signal that each token has of its own, for ``variant="fixed"``.
    n_latents : int
        Learned queries, which are what comes out: the shared shape is (n_latents, dim).
    depth, n_heads, head_dim, widening : int
        Layers, attention heads, values of a head, and how much wider than `dim` the feed-forward layers are.
    dropout : float
        Share of the signal's values that is dropped in training, in [0, 1).
    variant : {"fixed", "published"}
        ``"fixed"``: every token sees projections of its own. ``"published"``: a linear layer from one value to
        `n_tokens`, then one from all voxels to `dim`; all tokens are then scaled and shifted copies of one projection,
        so what the queries can tell apart has rank 2.

    Notes
    -----
    UMBRAE, Xia et al. 2024, arXiv:2404.07202; the resampler is that of Flamingo, Alayrac et al. 2022, arXiv:2204.14198.
    The published tokenizer's two layers are one product here: n_tokens times cheaper, equal up to rounding.
    """

    n_tokens: int = 32
    dim: int = 128
    token_rank: int = 16
    n_latents: int = 16
    depth: int = 2
    n_heads: int = 4
    head_dim: int = 32
    widening: int = 4
    dropout: float = 0.0
    variant: Literal["fixed", "published"] = "fixed"

    def __post_init__(self) -> None:
        for name in ("n_tokens", "token_rank", "n_latents", "depth", "n_heads", "head_dim", "widening"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("dim", self.dim, 2)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.one_of("variant", self.variant, ["fixed", "published"])


class Tokenizer(nn.Module):
    """Token k is its own few projections of the signal, brought to `dim` by a matrix of its own, and a vector."""

    def __init__(self, n_values: int, config: Config):
        super().__init__()
        self.n_tokens = config.n_tokens
        self.project = nn.Linear(n_values, config.n_tokens * config.token_rank, bias=False)
        self.lift = nn.Parameter(
            torch.randn(config.n_tokens, config.token_rank, config.dim) / math.sqrt(config.token_rank)
        )
        self.place = nn.Parameter(torch.randn(config.n_tokens, config.dim))

    def forward(self, flat: Tensor) -> Tensor:
        """(n_trials, n_values) to (n_trials, n_tokens, dim)."""
        own = self.project(flat).unflatten(1, (self.n_tokens, -1))  # (trial, token, projection)
        return torch.einsum("ntr,trd->ntd", own, self.lift) + self.place


class PublishedTokenizer(nn.Module):
    """One value to `n_tokens` at every voxel, then all voxels to `dim`: the same projection in every token."""

    def __init__(self, n_values: int, config: Config):
        super().__init__()
        self.lift = nn.Linear(1, config.n_tokens)
        self.project = nn.Linear(n_values, config.dim)

    def forward(self, flat: Tensor) -> Tensor:
        """(n_trials, n_values) to (n_trials, n_tokens, dim)."""
        one = flat @ self.project.weight.T  # (trial, dim)
        constant = torch.outer(self.lift.bias, self.project.weight.sum(1)) + self.project.bias  # (token, dim)
        return self.lift.weight * one.unsqueeze(1) + constant


class Layer(nn.Module):
    """Queries attend to the tokens and to each other, then a feed-forward layer; both are added."""

    def __init__(self, config: Config):
        super().__init__()
        dim, inner = config.dim, config.n_heads * config.head_dim
        self.n_heads = config.n_heads
        self.norm_queries, self.norm_tokens = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.out = nn.Linear(inner, dim, bias=False)
        self.norm = nn.LayerNorm(dim)
        self.wide = nn.Linear(dim, config.widening * dim, bias=False)
        self.narrow = nn.Linear(config.widening * dim, dim, bias=False)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """(n_trials, n_latents, dim) and (n_trials, n_tokens, dim) to (n_trials, n_latents, dim)."""
        own = self.norm_queries(queries)
        seen = torch.cat([self.norm_tokens(tokens), own], dim=1)
        q, (k, v) = self._heads(self.to_q(own)), map(self._heads, self.to_kv(seen).chunk(2, dim=2))
        queries = queries + self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        added: Tensor = self.narrow(gelu(self.wide(self.norm(queries))))
        return queries + added

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)  # (trial, head, token, dim of the head)


class Resampler(SharedPart):
    """The learned queries and the layers by which they read tokens."""

    def __init__(self, config: Config):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.n_latents, config.dim))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n_trials, n_tokens, dim) to (n_trials, n_latents, dim)."""
        queries = self.queries.expand(len(tokens), -1, -1)
        for layer in self.layers:
            queries = layer(queries, tokens)
        read: Tensor = self.norm(queries)
        return read


class PerceiverAdapter(SubjectAdapter):
    """The subject's tokenizer, then the common resampler."""

    takes_map = False

    def __init__(self, signal_shape: tuple[int, ...], config: Config):
        super().__init__()
        self.signal_shape = tuple(signal_shape)
        self.shared_shape = (config.n_latents, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        kind = PublishedTokenizer if config.variant == "published" else Tokenizer
        self.tokenizer = kind(math.prod(signal_shape), config)

    def tokens(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, n_tokens, dim)."""
        cut: Tensor = self.tokenizer(self.dropout(signal.flatten(1)))
        return cut

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, n_latents, dim)."""
        read: Tensor = self.shared(self.tokens(signal))
        return read

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: nothing leads straight from signal to shared values."""
        return False


def build_shared(signals: Sequence[SubjectSignal], config: Config) -> Resampler:
    """Queries and layers of all subjects, drawn from torch's global generator (`seeding.seeded`)."""
    return Resampler(config)


def build(signal: SubjectSignal, config: Config) -> PerceiverAdapter:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`)."""
    return PerceiverAdapter(signal.shape, config)
