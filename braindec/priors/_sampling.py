"""Samplers of a diffusion prior: diffusers' schedulers over our noise schedules, from noise to clean embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from braindec import checks
from braindec._compat import ensure_torchvision
from braindec.priors._noising import noise_added

SAMPLERS = ("ddim", "ddpm", "dpm", "as_published")


def check_steps(name: str, n_steps: int, n_train_steps: int, sampler: str = "ddim") -> int:
    """The number of denoising steps when the sampler can take it.

    DDIM and DDPM take a divisor of the number of noise levels: otherwise diffusers' strides miss the levels that the
    network is told, and may stop before the last. DPM-solver takes any number; the published sampler any above 1, one
    call fewer than it says.
    """
    if checks.one_of("sampler", sampler, SAMPLERS) == "as_published":
        return int(checks.in_range(name, n_steps, 2, n_train_steps))
    if sampler == "dpm":
        return int(checks.in_range(name, n_steps, 1, n_train_steps))
    return checks.one_of(name, n_steps, [n for n in range(1, n_train_steps + 1) if n_train_steps % n == 0])


def sample(
    denoise: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    generator: torch.Generator,
    *,
    sampler: str,
    alphas_cumprod: Tensor,
    n_steps: int,
    eta: float,
) -> Tensor:
    """Clean embeddings that pure noise becomes.

    Parameters
    ----------
    denoise : callable
        ``denoise(x, step)`` gives the clean embeddings expected behind x (n_trials, n_tokens, n_dims) at step
        (n_trials,).
    noise : Tensor, shape (n_trials, n_tokens, n_dims)
    generator : torch.Generator
        Makes what is drawn on the way: by DDPM, and by DDIM above eta 0.
    sampler : ``"ddim"``, ``"ddpm"`` or ``"dpm"``
    alphas_cumprod : Tensor, shape (n_train_steps,)
    n_steps : int
    eta : float
        Of DDIM.

    Notes
    -----
    DDIM: Song et al. 2021, arXiv:2010.02502; DDPM: Ho et al. 2020, arXiv:2006.11239; DPM-solver++ of second order,
    multistep: Lu et al. 2022, arXiv:2211.01095.
    """
    scheduler = _scheduler(sampler, alphas_cumprod)
    scheduler.set_timesteps(n_steps)
    # Solvers of the second order remember the last step; DPM-solver draws nothing.
    more: dict[str, Any] = {} if sampler == "dpm" else {"generator": generator}
    if sampler == "ddim":
        more["eta"] = eta
    x = noise
    for step in scheduler.timesteps:
        clean = denoise(x, step.to(x.device).expand(len(x)))
        x = scheduler.step(clean, step, x, **more).prev_sample
    return x


def _scheduler(sampler: str, alphas_cumprod: Tensor) -> Any:
    ensure_torchvision()
    import diffusers  # here, so that retrieval needs no diffusion package

    common = {
        "num_train_timesteps": len(alphas_cumprod),
        "trained_betas": noise_added(alphas_cumprod.double()).tolist(),
        "prediction_type": "sample",
        "timestep_spacing": "trailing",  # begins at the last level, whose input is pure noise, and ends at the first
    }
    if sampler == "dpm":
        return diffusers.DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", solver_order=2, **common)
    kind = diffusers.DDIMScheduler if sampler == "ddim" else diffusers.DDPMScheduler
    return kind(clip_sample=False, **common)  # embeddings have no range
