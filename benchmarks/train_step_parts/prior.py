"""MindEye2's diffusion prior and the image tower it embeds with, operation by operation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindec.priors._mindeye2_network import _buckets, _time_features

SCALE = 4.0  # multiplies unit queries, and unit keys


class PlainNorm(nn.Module):
    """Layer norm with a gain alone, as the public DALL-E 2 code writes it."""

    def __init__(self, n_dims: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape (..., n_dims) to the same."""
        eps = 1e-5 if x.dtype == torch.float32 else 1e-3
        variance = torch.var(x, dim=-1, unbiased=False, keepdim=True)
        return (x - torch.mean(x, dim=-1, keepdim=True)) * (variance + eps).rsqrt() * self.gain


class PlainBlock(nn.Module):
    """Attention with one key and value for all heads, then SwiGLU; scores are a tensor of their own."""

    def __init__(self, n_dims: int, width: int, heads: int):
        super().__init__()
        self.heads, head = heads, width // heads
        self.norm = PlainNorm(n_dims)
        self.query = nn.Linear(n_dims, width, bias=False)
        self.key_value = nn.Linear(n_dims, 2 * head, bias=False)
        self.nowhere = nn.Parameter(torch.randn(2, head))
        self.merge = nn.Sequential(nn.Linear(width, n_dims, bias=False), PlainNorm(n_dims))
        self.norm_hidden = PlainNorm(n_dims)
        self.hidden_in = nn.Linear(n_dims, 8 * n_dims, bias=False)
        self.hidden_out = nn.Linear(4 * n_dims, n_dims, bias=False)

    def forward(self, x: Tensor, bias: Tensor, turns: Tensor) -> Tensor:
        """(n_trials, n_tokens, n_dims), the same shape out."""
        x = self.attention(x, bias, turns) + x
        value, gate = self.hidden_in(self.norm_hidden(x)).chunk(2, dim=-1)
        return self.hidden_out(value * functional.silu(gate)) + x

    def attention(self, x: Tensor, bias: Tensor, turns: Tensor) -> Tensor:
        """The same shape."""
        x = self.norm(x)
        query = self.query(x).unflatten(-1, (self.heads, -1)).permute(0, 2, 1, 3)
        key, value = self.key_value(x).chunk(2, dim=-1)
        query, key = turned(query, turns), turned(key, turns)
        none_key, none_value = (none.expand(len(x), 1, -1) for none in self.nowhere)
        key, value = torch.cat((none_key, key), dim=-2), torch.cat((none_value, value), dim=-2)
        query, key = (functional.normalize(part, dim=-1) * SCALE for part in (query, key))
        scores = torch.einsum("bhid,bjd->bhij", query, key) + bias
        weights = scores.softmax(dim=-1, dtype=torch.float32).type(scores.dtype)
        mixed = torch.einsum("bhij,bjd->bhid", weights, value)
        return self.merge(mixed.permute(0, 2, 1, 3).flatten(2))


class PlainPrior(nn.Module):
    """The network and the loss; its parameters are named as those of `braindec.priors`."""

    frequency: Tensor

    def __init__(self, shape: tuple[int, int], width: int, depth: int, heads: int):
        super().__init__()
        n_tokens, n_dims = shape
        self.n_tokens = n_tokens
        self.no_brain, self.no_image, self.position = (nn.Parameter(torch.randn(shape)) for _ in range(3))
        hidden = 2 * n_dims
        self.time_in = nn.Sequential(
            nn.Linear(n_dims, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, n_dims),
        )
        self.bias = nn.Parameter(torch.randn(32, heads))
        n_turned = min(32, width // heads)
        self.register_buffer("frequency", 1e4 ** (-torch.arange(0, n_turned, 2) / n_turned))
        self.blocks = nn.ModuleList([PlainBlock(n_dims, width, heads) for _ in range(depth)])
        self.norm = PlainNorm(n_dims)
        self.out = nn.Linear(n_dims, n_dims, bias=False)

    def forward(self, noisy: Tensor, step: Tensor, brain: Tensor, keep: Tensor, keep_image: Tensor) -> Tensor:
        """The clean tokens."""
        brain = torch.where(keep[:, None, None], brain, self.no_brain.to(brain.dtype))
        noisy = torch.where(keep_image[:, None, None], noisy, self.no_image.to(noisy.dtype))
        time = self.time_in(_time_features(step, noisy.shape[-1])).unsqueeze(1)
        x = torch.cat((brain, time, noisy + self.position), dim=-2)
        bias = self.bias[_buckets(x.shape[1], x.device)].permute(2, 0, 1)
        turns = torch.arange(x.shape[1], device=x.device)[:, None] * self.frequency
        for block in self.blocks:
            x = block(x, bias, turns)
        x = x / x.amax(dim=-1, keepdim=True).detach()
        return self.out(self.norm(x))[..., -self.n_tokens :, :]

    def loss(self, brain: Tensor, image: Tensor, alphas: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the clean tokens at a random step; draws as `DiffusionPrior.objective` draws."""
        n, device = len(image), image.device
        step = torch.randint(len(alphas), (n,), generator=generator, device=device)
        noise = torch.randn(image.shape, generator=generator, device=device)
        keep, shown = (torch.rand(n, generator=generator, device=device) >= 0.2 for _ in range(2))
        left = alphas[step][:, None, None]
        noisy = left.sqrt() * image + (1 - left).sqrt() * noise
        return functional.mse_loss(self(noisy, step, brain, keep, shown), image)


class Tower(nn.Module):
    """A vision transformer with random weights: what embedding an image costs, not what it tells."""

    def __init__(self, n_dims: int, *, layers: int, heads: int, hidden: int, side: int, patch: int):
        super().__init__()
        self.patches = nn.Conv2d(3, n_dims, patch, stride=patch, bias=False)
        self.places = nn.Parameter(torch.randn((side // patch) ** 2 + 1, n_dims) / math.sqrt(n_dims))
        layer = nn.TransformerEncoderLayer(
            n_dims, heads, hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(n_dims)

    def forward(self, images: Tensor) -> Tensor:
        """(n_images, 3, height, width) to patch tokens (n_images, n_tokens, n_dims)."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([torch.zeros_like(x[:, :1]), x], dim=1) + self.places
        return self.norm(self.layers(x))[:, 1:]


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """The first values of each head, in pairs, turned by (n_tokens, n_pairs) radians."""
    angles = turns.repeat_interleave(2, dim=-1)
    first, rest = x[..., : angles.shape[-1]], x[..., angles.shape[-1] :]
    across = torch.stack((-first[..., 1::2], first[..., 0::2]), dim=-1).flatten(-2)
    return torch.cat((first * angles.cos() + across * angles.sin(), rest), dim=-1)
