"""Noising of a diffusion: how much of the data is left after each step, and data at a given step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from braindec import checks

OFFSET = 0.008  # Nichol & Dhariwal 2021, arXiv:2102.09672, section 3.2: no vanishing noise at the first steps
LINEAR, N_LINEAR = (1e-4, 0.02), 1000
LARGEST = 0.999  # same place: keeps the last step from a singularity


def cosine_alphas_cumprod(n_steps: int) -> Tensor:
    """Share of the data's variance that is left after each noising step.

    Parameters
    ----------
    n_steps : int
        At least 1.

    Returns
    -------
    Tensor, shape (n_steps,), float64
        In (0, 1), falling.

    Notes
    -----
    Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17.
    """
    checks.at_least("n_steps", n_steps, 1)
    share = torch.linspace(0, 1, n_steps + 1, dtype=torch.float64)
    curve = torch.cos((share + OFFSET) / (1 + OFFSET) * math.pi / 2).square()
    noise_added = (1 - curve[1:] / curve[:-1]).clamp(0, LARGEST)
    return (1 - noise_added).cumprod(0)


def linear_alphas_cumprod(n_steps: int) -> Tensor:
    """As `cosine_alphas_cumprod`, of a schedule whose added noise grows linearly.

    Notes
    -----
    Ho et al. 2020, arXiv:2006.11239, section 4: from 1e-4 to 0.02 at 1,000 steps; for fewer steps as many times more.
    """
    checks.at_least("n_steps", n_steps, 1)
    most = N_LINEAR / n_steps
    added = torch.linspace(LINEAR[0] * most, LINEAR[1] * most, n_steps, dtype=torch.float64)
    return (1 - added.clamp(0, LARGEST)).cumprod(0)


def noise_added(alphas_cumprod: Tensor) -> Tensor:
    """Variance that each step adds, (n_steps,): the diffusion's betas."""
    return 1 - alphas_cumprod / torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])


def q_sample(x: Tensor, step: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Data at noising steps.

    Parameters
    ----------
    x, noise : Tensor, shape (n_trials, ...)
    step : int tensor, shape (n_trials,)
        In [0, len(alphas_cumprod) - 1].
    alphas_cumprod : Tensor, shape (n_steps,)
    """
    left = share_left(step, alphas_cumprod, x)
    return left.sqrt() * x + (1 - left).sqrt() * noise


def share_left(step: Tensor, alphas_cumprod: Tensor, like: Tensor) -> Tensor:
    """alphas_cumprod at each trial's step, in the shape (n_trials, 1, ...) that multiplies `like`."""
    return alphas_cumprod[step].to(like).reshape(-1, *[1] * (like.ndim - 1))
