"""MindEye2's encoder and optimiser as its code computes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from braindec.encoder import Encoder

NSD_VOXELS = (15724, 14278, 15226, 13153, 13039, 17907, 12682, 14386)  # nsdgeneral of subjects 1 to 8


class Published(nn.Module):
    """MindEye2's encoder as its code computes it, at one token and without the blurry head."""

    def __init__(self, size: dict):
        super().__init__()
        hidden, dims = size["hidden"], size["dims"]
        self.size = size
        self.ridges = nn.ModuleList([nn.Linear(n, hidden) for n in size["voxels"]])
        self.blocks1 = nn.ModuleList([block(hidden) for _ in range(4)])
        self.blocks2 = nn.ModuleList([block(1) for _ in range(4)])
        self.backbone_linear = nn.Linear(hidden, size["tokens"] * dims)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.LayerNorm(dims), nn.GELU(), nn.Linear(dims, dims)]
        self.clip_proj = nn.Sequential(*layers)

    def forward(self, voxels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Voxels of every subject to tokens and projected tokens, each (n_trials, n_tokens, n_dims)."""
        return self.read(self.mixed(voxels))

    def mixed(self, voxels: list[Tensor]) -> Tensor:
        """What the ridge layers and the mixer blocks make of them, (n_trials, 1, n_hidden)."""
        x = torch.cat([ridge(v) for ridge, v in zip(self.ridges, voxels, strict=True)])[:, None]
        residual1, residual2 = x, x.permute(0, 2, 1)
        for first, second in zip(self.blocks1, self.blocks2, strict=True):
            x = first(x) + residual1
            residual1 = x
            x = second(x.permute(0, 2, 1)) + residual2
            residual2 = x
            x = x.permute(0, 2, 1)
        return x

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and projected tokens."""
        tokens = self.backbone_linear(x.flatten(1)).reshape(len(x), self.size["tokens"], self.size["dims"])
        return tokens, self.clip_proj(tokens)


def block(n: int) -> nn.Sequential:
    """One of the mixer's; dropout off, so that both systems compute the same."""
    return nn.Sequential(nn.LayerNorm(n), nn.Linear(n, n), nn.GELU(), nn.Dropout(0.0), nn.Linear(n, n))


def decay_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Which parameters decay: its code looks for these words in their names."""
    no_decay = ("bias", "LayerNorm.bias", "LayerNorm.weight")
    named = list(model.named_parameters())
    return [
        {"params": [p for n, p in named if not any(w in n for w in no_decay)], "weight_decay": decay},
        {"params": [p for n, p in named if any(w in n for w in no_decay)], "weight_decay": 0.0},
    ]


@torch.no_grad()
def copy_(encoder: Encoder, published: Published) -> None:
    """The published form's weights, where they reach anything."""
    for key, ridge in zip(encoder.keys, published.ridges, strict=True):
        encoder.adapter(key).load_state_dict({f"linear.{k}": v for k, v in ridge.state_dict().items()})
    backbone = encoder.backbone
    backbone.heads.of("tokens").load_state_dict(published.backbone_linear.state_dict())
    backbone.projectors["to_clip"].load_state_dict(published.clip_proj.state_dict())
    for mine, blocks in (
        (backbone.mixing.dims, published.blocks1),
        (backbone.mixing.tokens, published.blocks2),
    ):
        for one, other in zip(mine, blocks, strict=True):
            for layer, number in (("norm", 0), ("inner", 1), ("outer", 4)):
                getattr(one, layer).load_state_dict(other[number].state_dict())
