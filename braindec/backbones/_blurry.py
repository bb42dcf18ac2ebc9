"""From one vector a trial to a small picture in an autoencoder's latent space, and to maps of a vision network."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6  # of every group norm inside the decoder: Rombach et al. 2022, arXiv:2112.10752


class Residual(nn.Module):
    """Two 3 x 3 convolutions, each behind a group norm and SiLU, added to what came in.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    n_groups : int
        Groups of a norm at most; fewer where they do not divide the channels.
    """

    def __init__(self, n_in: int, n_out: int, n_groups: int):
        super().__init__()
        self.norm1 = _norm(n_in, n_groups)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm2 = _norm(n_out, n_groups)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.shortcut = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in, height, width) to (n_trials, n_out, height, width)."""
        hidden = self.conv1(functional.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(functional.silu(self.norm2(hidden)))


class PixelAttention(nn.Module):
    """Every pixel looks at every other one, with one head; added to what came in."""

    def __init__(self, n_channels: int, n_groups: int, *, key_bias: bool):
        super().__init__()
        self.norm = _norm(n_channels, n_groups)
        self.query = nn.Linear(n_channels, n_channels)
        # What is added to every key moves all scores of a query alike, and softmax does not see it.
        self.key = nn.Linear(n_channels, n_channels, bias=key_bias)
        self.value = nn.Linear(n_channels, n_channels)
        self.out = nn.Linear(n_channels, n_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_channels, height, width), the same shape out."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # (trial, pixel, channel)
        seen = functional.scaled_dot_product_attention(
            self.query(pixels).unsqueeze(1), self.key(pixels).unsqueeze(1), self.value(pixels).unsqueeze(1)
        )
        return x + self.out(seen.squeeze(1)).transpose(1, 2).unflatten(2, x.shape[2:])


class Up(nn.Module):
    """Two residual blocks, then (but for the last) twice the height and width."""

    def __init__(self, n_in: int, n_out: int, n_groups: int, *, grow: bool):
        super().__init__()
        self.blocks = nn.ModuleList([Residual(n_in, n_out, n_groups), Residual(n_out, n_out, n_groups)])
        self.grow = nn.Conv2d(n_out, n_out, 3, padding=1) if grow else None

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in, height, width) to (n_trials, n_out, height or twice, width or twice)."""
        for block in self.blocks:
            x = block(x)
        if self.grow is None:
            return x
        return self.grow(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class Decoder(nn.Module):
    """The upper half of Stable Diffusion's autoencoder, small: doubles height and width once less than it has blocks.

    Parameters
    ----------
    n_in, n_out : int
        Channels of the maps that come in and go out.
    channels : tuple of int
        Of the blocks, the last block's first, as the published settings name them.
    n_groups : int
        Groups of a norm at most.
    key_bias : bool
        Give keys a bias that nothing can see, as published.

    Notes
    -----
    Rombach et al. 2022, arXiv:2112.10752; the numbers are those of diffusers' class ``Decoder`` with a mid block and
    one layer a block.
    """

    def __init__(self, n_in: int, n_out: int, channels: tuple[int, ...], n_groups: int, *, key_bias: bool):
        super().__init__()
        widths = channels[::-1]
        self.conv_in = nn.Conv2d(n_in, widths[0], 3, padding=1)
        self.before = Residual(widths[0], widths[0], n_groups)
        self.attention = PixelAttention(widths[0], n_groups, key_bias=key_bias)
        self.after = Residual(widths[0], widths[0], n_groups)
        self.up = nn.ModuleList(
            [
                Up(n, m, n_groups, grow=i < len(widths) - 1)
                for i, (n, m) in enumerate(zip((widths[0], *widths[:-1]), widths, strict=True))
            ]
        )
        self.norm = _norm(widths[-1], n_groups)
        self.conv_out = nn.Conv2d(widths[-1], n_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in, side, side) to (n_trials, n_out, side * 2^k, side * 2^k), k = blocks - 1."""
        x = self.after(self.attention(self.before(self.conv_in(x))))
        for block in self.up:
            x = block(x)
        return self.conv_out(functional.silu(self.norm(x)))

    def inert(self) -> set[str]:
        """Names of the parameters that reach nothing.

        A norm with a group a channel takes every constant of a channel away, so biases before it are lost: that of a
        block's first convolution, and of all that add to the last stream, which such a norm ends.
        """
        names = {"attention.key.bias"} if self.attention.key.bias is not None else set()
        for place, module in self.named_modules():
            if isinstance(module, Residual) and _takes_constants(module.norm2):
                names.add(f"{place}.conv1.bias")
        if _takes_constants(self.norm):
            last = f"up.{len(self.up) - 1}.blocks."
            lost = tuple(f"{name}.bias" for name in ("conv2", "shortcut"))
            names |= {n for n, _ in self.named_parameters() if n.startswith(last) and n.endswith(lost)}
        return names


def project_maps(n_in: int, n_out: int) -> nn.Sequential:
    """1 x 1 convolutions from the decoder's first maps to those of a vision network, (n_trials, n_out, side, side)."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 1, bias=False),
        nn.GroupNorm(1, n_out),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 1, bias=False),
        nn.GroupNorm(1, n_out),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 1),
    )


def _takes_constants(norm: nn.GroupNorm) -> bool:
    return norm.num_groups == norm.num_channels


def _norm(n_channels: int, n_groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(n_groups, n_channels), n_channels, eps=EPS)
