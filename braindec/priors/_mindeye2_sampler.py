"""MindEye2's sampler as it was run, for comparison with numbers that were published."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor


def sample_as_published(
    denoise: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    generator: torch.Generator,
    *,
    alphas_cumprod: Tensor,
    n_steps: int,
    eta: float,
) -> Tensor:
    """MindEye2's DDIM: `n_steps` - 1 calls of the network, from pure noise that is told to be of a lower level.

    Parameters
    ----------
    denoise : callable
        ``denoise(x, step)`` gives the clean tokens, of x (n_trials, n_tokens, n_dims) at step (n_trials,).
    noise : Tensor, shape (n_trials, n_tokens, n_dims)
    generator : torch.Generator
        The published code takes one and does not use it; here it makes what is drawn.
    alphas_cumprod : Tensor, shape (n_train_steps,)
    n_steps : int
        At least 2. 20 of 100 begins at level 94 and ends at 4.
    eta : float
        1 as published.

    Notes
    -----
    The share left is read one level too early (`alphas_cumprod_prev`), while the noise is told apart at the right one.
    """
    n_levels = len(alphas_cumprod)
    left = alphas_cumprod.to(noise)
    before = torch.cat([left.new_ones(1), left[:-1]])
    levels = torch.linspace(-1.0, n_levels, n_steps + 1)[:-1].int().tolist()[::-1]
    x = noise
    for level, following in pairwise(levels):
        clean = denoise(x, torch.full((len(x),), level, device=x.device))
        if following < 0:
            return clean
        found = (x - left[level].sqrt() * clean) / (1 - left[level]).sqrt()
        now, later = before[level], before[following]
        fresh = eta * ((1 - now / later) * (1 - later) / (1 - now)).sqrt()
        drawn = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
        x = (
            later.sqrt() * clean
            + fresh * (drawn if following > 0 else 0.0)
            + (1 - later - fresh**2).sqrt() * found
        )
    return x
