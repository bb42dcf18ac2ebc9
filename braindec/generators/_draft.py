"""The network that drafts: latents to be expected of an image embedding, in one pass and without noise."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate, silu


class Draft(nn.Module):
    """Latents of unit variance (n, channel, 16, 16) of image embeddings of unit length (n, embedding_dim).

    Two hidden layers read the embedding; a map of 4x4 places is made of them and drawn out twice by residual blocks.

    Parameters
    ----------
    config : dict
        "embedding_dim"; "hidden_dim"; "widths": channels at 4x4, 8x8 and 16x16 places; "n_channels" of the latents.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.embedding_dim, self.widths = config["embedding_dim"], tuple(config["widths"])
        hidden, (four, eight, sixteen) = config["hidden_dim"], self.widths
        self.read, self.again = nn.Linear(self.embedding_dim, hidden), nn.Linear(hidden, hidden)
        self.to_map = nn.Linear(hidden, four * 16)
        self.four = nn.Sequential(Residual(four), Residual(four))
        self.to_eight = nn.Conv2d(four, eight, 3, padding=1)
        self.eight = nn.Sequential(Residual(eight), Residual(eight))
        self.to_sixteen = nn.Conv2d(eight, sixteen, 3, padding=1)
        self.sixteen = nn.Sequential(Residual(sixteen), Residual(sixteen))
        self.out = nn.Sequential(
            nn.GroupNorm(8, sixteen), nn.SiLU(), nn.Conv2d(sixteen, config["n_channels"], 3, padding=1)
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """Latents of embeddings; see the class."""
        hidden = silu(self.read(embedding * math.sqrt(self.embedding_dim)))  # entries of unit variance
        hidden = hidden + silu(self.again(hidden))
        x = self.four(self.to_map(hidden).unflatten(1, (self.widths[0], 4, 4)))
        x = self.eight(self.to_eight(interpolate(x, scale_factor=2)))
        x = self.sixteen(self.to_sixteen(interpolate(x, scale_factor=2)))
        drawn: Tensor = self.out(x)
        return drawn


class Residual(nn.Module):
    """Two normed convolutions beside the identity; the second begins as zero.

    Parameters
    ----------
    n : int
        Channels, a multiple of 8.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, n), nn.SiLU(), nn.Conv2d(n, n, 3, padding=1),
            nn.GroupNorm(8, n), nn.SiLU(), nn.Conv2d(n, n, 3, padding=1),
        )  # fmt: skip
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]  # Sequential forgets the class

    def forward(self, x: Tensor) -> Tensor:
        """(n, channel, height, width), the same shape."""
        changed: Tensor = x + self.layers(x)
        return changed
