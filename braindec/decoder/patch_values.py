"""What adapters that stay as drawn make of signals, cut into patches: what masked modelling has to say."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from braindec.backbones._patches import PatchBackbone
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.rows import Rows, parts
from braindec.encoder import Encoder


def patch_backbone(encoder: Encoder) -> PatchBackbone:
    """The encoder's backbone, refused where it has no patches to mask."""
    if not isinstance(encoder.backbone, PatchBackbone):
        raise ValueError(
            f"{type(encoder.backbone).__name__} has no patches to mask; take the backbone masked_transformer."
        )
    return encoder.backbone


def only_trunk_learns_(encoder: Encoder) -> None:
    """Freezes adapters and heads: what the trunk has to say of patches cannot be made easy."""
    encoder.requires_grad_(False)
    backbone = patch_backbone(encoder)
    learnt = backbone.trunk()
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in learnt)


def moments_of(encoder: Encoder, sets: Mapping[str, SubjectSet]) -> nn.ParameterDict:
    """By signal key (2, n_patches, size): mean of each value over trials, and one SD about these for all values."""
    found = nn.ParameterDict()
    for key, data in sets.items():
        found[key] = nn.Parameter(_moments(encoder, key, data.signals), requires_grad=False)
    return found


def in_sds(encoder: Encoder, moments: nn.ParameterDict, key: str, signals: Tensor) -> tuple[Tensor, Tensor]:
    """What a subject's adapter makes of its signals, and its patches (n_trials, n_patches, size) in SDs."""
    encoder.eval()  # no dropout in what is to be filled in
    shared = encoder.adapter(key)(signals)
    mean, sd = moments[key]
    return shared, (patch_backbone(encoder).patches.cut(shared) - mean) / sd


@torch.no_grad()
def _moments(encoder: Encoder, key: str, signals: Rows) -> Tensor:
    adapter, patches = encoder.adapter(key).eval(), patch_backbone(encoder).patches
    total, squares, n = torch.zeros(patches.n, patches.size).double(), 0.0, len(signals)
    for some in parts(signals):
        total += patches.cut(adapter(signals[some])).double().sum(0)
    mean = total / n
    for some in parts(signals):
        squares += float((patches.cut(adapter(signals[some])) - mean).square()[:, patches.filled()].sum())
    sd = (squares / (n * int(patches.filled().sum()))) ** 0.5
    return torch.stack([mean, torch.full_like(mean, sd if sd > 0 else 1.0)]).float()
