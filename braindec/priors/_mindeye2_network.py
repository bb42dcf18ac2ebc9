"""MindEye2's prior network: attention with cosine scores, rotary and relative positions, one key for all heads."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindec.maths.dense import Dense
from braindec.priors._conditions import Shapes

N_BUCKETS = 32  # relative positions are told apart exactly up to 16 tokens back, then ever more coarsely
FARTHEST = 128  # tokens back; farther ones share the last bucket
N_ROTARY = 32  # at most so many values of a head are turned by their token's place
SLOWEST = 1e4  # longest period of rotary and time features
SHARPNESS = 16.0  # multiplies the cosine of query and key
FEEDFORWARD = 4  # hidden values of a token over its width
TIME_HIDDEN = 2


class MindEye2Network(nn.Module):
    """Clean image tokens from noisy ones, a step and brain tokens; tokens are as wide as the embeddings.

    Tokens are the brain's, one of the step and the noisy image's with a learned position; the last ones are read.

    Parameters
    ----------
    shape : (n_tokens, n_dims)
        n_dims even.
    width : int
        Of all heads' queries together, an even multiple of `heads`.
    depth, heads : int
    dropout : float
        Of attention and hidden values; MindEye2 has none.
    image_dropout : bool
        Whether noisy images may be hidden, so that a token stands for them.
    n_steps : int
        0: a step is told by sines and cosines; else by a token of its own, of so many.
    told : mapping of str to (n_tokens, n_dims), optional
        Further outputs, a linear layer each, whose tokens stand before the brain's; MindEye2 has none.

    Notes
    -----
    Scotti et al. 2024, arXiv:2403.11207: their `PriorNetwork`, after that of the public DALL-E 2 reimplementation
    (Ramesh et al. 2022, arXiv:2204.06125). Cosine attention: Henry et al. 2020, arXiv:2010.04245; one key and value
    for all heads: Shazeer 2019, arXiv:1911.02150; rotary: Su et al. 2021, arXiv:2104.09864; position bias: Raffel et
    al. 2020, arXiv:1910.10683, with all later tokens in the bucket of the token itself; SwiGLU: arXiv:2002.05202.
    """

    frequency: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        image_dropout: bool,
        n_steps: int = 0,
        told: Shapes | None = None,
    ):
        super().__init__()
        n_tokens, n_dims = shape
        if n_dims % 2:
            raise ValueError(
                f"network 'mindeye2' needs embeddings of an even number of dims, got {n_dims}; take network 'residual'."
            )
        self.n_tokens = n_tokens
        told = dict(told or {})
        self.no_brain = nn.Parameter(torch.randn(n_tokens + sum(n for n, _ in told.values()), n_dims))
        if image_dropout:
            self.no_image = nn.Parameter(torch.randn(n_tokens, n_dims))
        self.position = nn.Parameter(torch.randn(n_tokens, n_dims) / math.sqrt(n_dims))
        self.time_in = nn.Embedding(n_steps, n_dims) if n_steps else _time_layers(n_dims)
        self.bias = nn.Parameter(torch.randn(N_BUCKETS, heads))
        n_turned = min(N_ROTARY, width // heads)
        self.register_buffer("frequency", SLOWEST ** (-torch.arange(0, n_turned, 2) / n_turned))
        self.blocks = nn.ModuleList([Block(n_dims, width, heads, dropout) for _ in range(depth)])
        self.norm = GainNorm(n_dims)
        self.out = Dense(n_dims, n_dims, bias=False)
        self.told_in = nn.ModuleDict({name: Dense(d, n_dims, bias=False) for name, (_, d) in told.items()})

    def forward(
        self,
        noisy: Tensor,
        step: Tensor,
        brain: Tensor,
        keep: Tensor,
        keep_image: Tensor | None = None,
        told: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The clean tokens.

        Parameters
        ----------
        noisy, brain : Tensor, shape (n_trials, n_tokens, n_dims)
        step : int tensor, shape (n_trials,)
        keep, keep_image : bool tensor, shape (n_trials,)
            False where the brain or the noisy image is hidden from the network; None hides no image.
        told : mapping of str to Tensor, shapes (n_trials, n_tokens, n_dims)
            Hidden with the brain.

        Returns
        -------
        Tensor, shape (n_trials, n_tokens, n_dims)
        """
        known = told or {}
        parts = [layer(known[name]) for name, layer in self.told_in.items()]
        brain = torch.cat([*parts, brain], dim=1)
        brain = torch.where(keep[:, None, None], brain, self.no_brain)
        if keep_image is not None:
            noisy = torch.where(keep_image[:, None, None], noisy, self.no_image)
        moment = (
            step if isinstance(self.time_in, nn.Embedding) else _time_features(step, noisy.shape[2]).to(noisy)
        )
        time = self.time_in(moment).to(noisy).unsqueeze(1)
        x = torch.cat([brain, time, noisy + self.position], dim=1)  # (trial, 2 * token + 1, dim)
        bias = self.bias[_buckets(x.shape[1], x.device)].permute(2, 0, 1)  # (head, query, 1 + key)
        turns = torch.arange(x.shape[1], device=x.device)[:, None] * self.frequency
        for block in self.blocks[:-1]:
            x = block(x, bias, turns)
        x = self.blocks[-1](
            x, bias, turns, self.n_tokens
        )  # nobody reads what the last block makes of the others
        # As published: dividing by the largest value keeps half precision in range, and turns the sign of a token
        # whose values are all negative.
        x = self.norm(x / x.amax(2, keepdim=True).detach())
        return self.out(x)


class Block(nn.Module):
    """Attention among tokens, then a gated hidden layer on each; both added to the tokens."""

    def __init__(self, n_dims: int, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = GainNorm(n_dims)
        self.query = Dense(n_dims, width, bias=False)
        self.key_value = Dense(n_dims, 2 * (width // heads), bias=False)
        self.nowhere = nn.Parameter(torch.randn(2, width // heads))  # a key and value that no token has
        self.merge = nn.Sequential(Dense(width, n_dims, bias=False), GainNorm(n_dims))
        self.norm_hidden = GainNorm(n_dims)
        self.hidden_in = Dense(n_dims, 2 * FEEDFORWARD * n_dims, bias=False)
        self.hidden_out = Dense(FEEDFORWARD * n_dims, n_dims, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor, turns: Tensor, n_last: int | None = None) -> Tensor:
        """Tokens (n_trials, n_tokens, n_dims) to the last `n_last` of them, or all, that have looked at all.

        bias: (head, token, 1 + token); turns: (token, pair), in radians.
        """
        n = x.shape[1] if n_last is None else n_last
        x = x[:, -n:] + self._attend(self.norm(x), bias, turns, n)
        value, gate = self.hidden_in(self.norm_hidden(x)).chunk(2, dim=2)
        return x + self.hidden_out(self.dropout(value * functional.silu(gate)))

    def _attend(self, x: Tensor, bias: Tensor, turns: Tensor, n: int) -> Tensor:
        """What the last n tokens take from all."""
        query = _turned(self.query(x[:, -n:]).unflatten(2, (self.heads, -1)).transpose(1, 2), turns[-n:])
        key, value = self.key_value(x).unsqueeze(1).chunk(2, dim=3)  # (trial, 1, token, head width)
        none = self.nowhere.to(key)[:, None, None, None].expand(2, len(x), 1, 1, -1)
        key, value = torch.cat([none[0], _turned(key, turns)], dim=2), torch.cat([none[1], value], dim=2)
        query, key = functional.normalize(query, dim=3), functional.normalize(key, dim=3)
        width, device = query.shape[3], query.device.type
        query, key, value = (_widened(part, device) for part in (query, key, value))
        mixed = functional.scaled_dot_product_attention(
            query, key.expand(-1, self.heads, -1, -1), value.expand(-1, self.heads, -1, -1),
            attn_mask=bias[:, -n:].to(query).expand(len(x), -1, -1, -1), scale=SHARPNESS,
            dropout_p=self.dropout.p if self.training else 0.0,
        )[..., :width]  # fmt: skip
        merged: Tensor = self.merge(mixed.transpose(1, 2).flatten(2))
        return merged


class GainNorm(nn.Module):
    """Layer norm with a gain and no bias."""

    def __init__(self, n_dims: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape (..., n_dims) to the same."""
        eps = 1e-3 if x.dtype in (torch.float16, torch.bfloat16) else 1e-5  # as published
        return functional.layer_norm(x, self.gain.shape, self.gain.to(x), None, eps)


def _widened(x: Tensor, device: str) -> Tensor:
    """On a GPU, zeros behind each head's values: its kernels of fused attention take widths of whole eights alone."""
    return functional.pad(x, (0, -x.shape[-1] % 8)) if device == "cuda" else x


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """The first values of each head, in pairs, turned by (n_tokens, n_pairs) radians; the others as they were."""
    n_turned = 2 * turns.shape[1]
    even, odd = x[..., :n_turned].unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turns.cos().to(x), turns.sin().to(x)
    pairs = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1)
    return torch.cat([pairs.flatten(-2), x[..., n_turned:]], dim=-1)


def _buckets(n_tokens: int, device: torch.device) -> Tensor:
    """How far back each key lies, as a bucket: (n_tokens, 1 + n_tokens).

    Columns are counted from the key that no token has, so that a query's own token is one ahead of it, as published.
    """
    place = torch.arange(n_tokens + 1, device=device)
    back = (place[:n_tokens, None] - place).clamp_min(0)
    exact = N_BUCKETS // 2
    ratio = (back.clamp_min(1).float() / exact).log() / math.log(FARTHEST / exact)
    coarse = (exact + (ratio * (N_BUCKETS - exact)).long()).clamp_max(N_BUCKETS - 1)
    return torch.where(back < exact, back, coarse)


def _time_layers(n_dims: int) -> nn.Sequential:
    hidden = TIME_HIDDEN * n_dims
    layers = [
        Dense(n_dims, hidden),
        nn.SiLU(),
        Dense(hidden, hidden),
        nn.SiLU(),
        Dense(hidden, n_dims),
    ]
    return nn.Sequential(*layers)


def _time_features(step: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of a step at geometrically spaced rates from 1 to 1 / 10,000: (n_trials, width), float32."""
    half = width // 2
    rate = torch.exp(-math.log(SLOWEST) / max(1, half - 1) * torch.arange(half, device=step.device))
    angle = step[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)
