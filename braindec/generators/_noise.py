"""Noise with a source for each row, so that a row's picture depends on no other row."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import _compat

SEEDS = 2**62


def own_sources(n: int, generator: torch.Generator) -> list[torch.Generator]:
    """A source of noise for each row, seeded by the given one for all rows at once."""
    seeds = torch.randint(SEEDS, (n,), generator=generator, device=generator.device).tolist()
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noise(sources: list[torch.Generator], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (n, *shape) in float32, each row from its own source."""
    _compat.ensure_torchvision()
    from diffusers.utils.torch_utils import randn_tensor

    return randn_tensor((len(sources), *shape), generator=sources, device=torch.device("cpu"))
