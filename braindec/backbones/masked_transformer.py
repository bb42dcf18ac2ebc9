"""A transformer over patches of voxels, or of channels and times, that can be pretrained on masked patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones._heads import Heads
from braindec.backbones._patches import PatchBackbone, Patches, Positions
from braindec.backbones._token_layer import TokenLayer

MEMBER = "masked_transformer"


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    patch : int
        Neighbouring values of a vector, or time samples, in one patch.
    rows : int, optional
        Channels (rows of the shared values) in one patch; None takes all, so that a patch is a segment of time.
    width : int
        Values a token; a multiple of `n_heads`.
    n_layers, n_heads : int
    dropout : float
        Share dropped of attention weights and after both parts of a layer, in [0, 1).
    pool : {"mean", "class", "all"}
        What the heads see: the mean token, a learned class token, or the tokens of all patches, which says where.

    Notes
    -----
    Masked autoencoders, He et al. 2022, arXiv:2111.06377; patches of 16 voxels as in MinD-Vis, Chen et al. 2023,
    arXiv:2211.06956 (24 layers of 1,024 values there); segments of EEG (``rows=None``) as in Neuro-GPT, Cui et al.
    2024, arXiv:2311.03764, which are foreseen from earlier ones alone. Pretrain with `BrainDecoder.pretrain`
    (``shown="earlier"`` for the latter).
    The adapter `region_patches` orders voxels so that no patch crosses the border of a region; `volume_patches` cuts
    volumes into cubes and has no weights of a subject's own.
    """

    patch: int = 16
    rows: int | None = 1
    width: int = 64
    n_layers: int = 4
    n_heads: int = 4
    dropout: float = 0.0
    pool: Literal["mean", "class", "all"] = "mean"

    def __post_init__(self) -> None:
        for name in ("patch", "width", "n_layers", "n_heads"):
            checks.at_least(name, getattr(self, name), 1)
        if self.rows is not None:
            checks.at_least("rows", self.rows, 1)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.one_of("pool", self.pool, ("mean", "class", "all"))
        if self.width % self.n_heads:
            raise checks.ConfigError(
                f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}."
            )


class MaskedTransformer(PatchBackbone):
    """Patches embedded, their places added, pre-norm layers, a norm, and a linear head an output."""

    first_layers = ("embed.", "positions.", "layers.0.")

    def __init__(self, patches: Patches, outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        self.patches, self.width, self.pool = patches, config.width, config.pool
        # No bias: the places' vectors already add one to each patch.
        self.embed = nn.Linear(patches.size, config.width, bias=False)
        self.positions = Positions(patches.grid, config.width)
        self.class_token = nn.Parameter(0.02 * torch.randn(config.width)) if config.pool == "class" else None
        self.layers = nn.Sequential(
            *[TokenLayer(config.width, config.n_heads, config.dropout) for _ in range(config.n_layers)]
        )
        self.norm = nn.LayerNorm(config.width)
        self.heads = Heads(config.width * (patches.n if config.pool == "all" else 1), outputs)

    def tokens(self, shared: Tensor, kept: Tensor | None = None) -> Tensor:
        """See `PatchBackbone.tokens`; only patches that are shown cost anything."""
        x = self.embed(self.patches.cut(shared)) + self.positions()
        if kept is not None:
            x = x.gather(1, kept.unsqueeze(2).expand(-1, -1, self.width))
        if self.class_token is not None:
            x = torch.cat([self.class_token.to(x).expand(len(x), 1, -1), x], 1)
        made: Tensor = self.norm(self.layers(x))
        return made

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}."""
        tokens = self.tokens(shared)
        if self.pool == "all":
            vector = tokens.flatten(1)
        else:
            vector = tokens[:, 0] if self.pool == "class" else tokens.mean(1)
        made: dict[str, Tensor] = self.heads(vector)
        return made

    def trunk(self) -> dict[str, Tensor]:
        """Everything but the heads."""
        return {name: v for name, v in self.state_dict().items() if not name.startswith("heads.")}

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> MaskedTransformer:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has more than two axes, or makes a single patch: attention would have nothing to compare.
    """
    if len(shared_shape) > 2:
        raise ValueError(
            f"{MEMBER} takes (n_values,) or (n_rows, n_columns), got shared shape {shared_shape}."
        )
    rows, columns = (1, *shared_shape) if len(shared_shape) == 1 else shared_shape
    patches = Patches((rows, columns), min(config.rows or rows, rows), config.patch)
    if patches.n < 2:
        raise ValueError(f"{MEMBER} makes one patch of shared shape {shared_shape}; lower patch or rows.")
    return MaskedTransformer(patches, outputs, config)
