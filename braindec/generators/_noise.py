"""Noise with a source for each row, so that a row's picture depends on no other row; and noises that share a part."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from braindec import _compat, checks
from braindec.generators import Generator, Guides

SEEDS = 2**62


@runtime_checkable
class FromNoise(Protocol):
    """A generator that can be told the noise that its pictures begin as: `embedded_unclip`."""

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """What `n` pictures begin as: standard normal, (n, channel, height, width)."""

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides,
        n_steps: int | None,
        noise: Tensor,
    ) -> np.ndarray:
        """See `Generator.generate`; what pictures begin as is `noise`, and not drawn from `generator`."""


def own_sources(n: int, generator: torch.Generator) -> list[torch.Generator]:
    """A source of noise for each row, seeded by the given one for all rows at once."""
    seeds = torch.randint(SEEDS, (n,), generator=generator, device=generator.device).tolist()
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noise(sources: list[torch.Generator], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (n, *shape) in float32, each row from its own source."""
    _compat.ensure_torchvision()
    from diffusers.utils.torch_utils import randn_tensor

    return randn_tensor((len(sources), *shape), generator=sources, device=torch.device("cpu"))


def from_noise(member: Generator) -> FromNoise:
    """The generator, when it can be told its noise.

    Raises
    ------
    ConfigError
        If it cannot.
    """
    told: object = member
    if not isinstance(told, FromNoise):
        raise checks.ConfigError(
            f"generator {member.name} cannot be told its noise, so all frames of a clip have one; set shared_noise=1, "
            "or take the generator embedded_unclip."
        )
    return told


def dependent(common: Tensor, own: Tensor, shared: float) -> Tensor:
    """Noise that has a share of its variance in common with others: standard normal where both parts are.

    Two noises of one common part correlate by `shared` at every place.

    Parameters
    ----------
    common, own : Tensor, equal shapes
        Independent standard normal.
    shared : float
        In [0, 1].

    Notes
    -----
    Luo et al. 2023 (VideoFusion), arXiv:2303.08320, equation 5; the mixed noise of Ge et al. 2023, arXiv:2305.10474,
    with alpha is that of ``shared = alpha^2 / (1 + alpha^2)``.
    """
    checks.in_range("shared", shared, 0.0, 1.0)
    return shared**0.5 * common + (1 - shared) ** 0.5 * own
