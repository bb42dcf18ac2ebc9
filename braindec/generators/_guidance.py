"""Pictures that raise a score: the steps of a diffusion model, bent by the gradient of what is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from braindec import checks

PictureScore = Callable[[Tensor], Tensor]  # pictures (n, 3, height, width) in [0, 1] -> (n,), differentiable


class Synthesiser(Protocol):
    """What makes pictures for a score."""

    def identity(self) -> dict[str, Any]:
        """What makes the pictures, as JSON values."""

    def synthesise(
        self,
        score: PictureScore,
        n: int,
        *,
        generator: torch.Generator,
        strength: float = 1.0,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures that raise a score, see `guided`: ndarray of uint8, shape (n, height, width, 3)."""


class Denoiser(Protocol):
    """A diffusion model from noise to pictures that gradients flow through."""

    scheduler: Any  # of diffusers, its steps set, with a deterministic `step`

    def output(self, latents: Tensor, level: int) -> Tensor:
        """What the network says of noisy latents: noise, clean latents or velocity, as its scheduler is told."""

    def pictures(self, clean: Tensor) -> Tensor:
        """Pictures (n, 3, height, width) of clean latents, in [0, 1]."""


def guided(
    model: Denoiser,
    noise: Tensor,
    score: PictureScore,
    strength: float,
    progress: bool = False,
    *,
    share: float = 1.0,
    through: bool = True,
) -> Tensor:
    """Clean latents whose pictures score high.

    Parameters
    ----------
    model : Denoiser
    noise : Tensor, shape (n, channel, height, width)
        Standard normal.
    score : callable
        ``score(pictures) -> (n,)``: pictures (n, 3, height, width) in [0, 1]; higher is better. Its scale does not
        matter.
    strength : float
        >= 0. Standard deviations by which the clean latents of a step move along the gradient where all is noise; less
        where little noise is left. 0: the model's own pictures of this noise, and the score is not asked.
    progress : bool
    share : float
        In [0, 1]: of the steps, the last ones, that are bent; the others are the model's own and cost no gradient.
    through : bool
        Whether the gradient is that by the noisy latents, through decoder and network, or that by the expected clean
        latents alone, which costs half.

    Returns
    -------
    Tensor, shape (n, channel, height, width)

    Raises
    ------
    ValueError
        If the score is not finite, has another shape, or does not depend on the pictures.

    Notes
    -----
    At each step the score of the expected clean picture is differentiated by the noisy latents, through decoder and
    network: Dhariwal and Nichol 2021, arXiv:2105.05233, algorithm 2; for brains Luo et al. 2023, "BrainDiVE",
    arXiv:2306.03089. There the gradient's length is the score's; here it is brought to unit mean square, so that one
    strength means the same for all networks, subjects and regions: noise' = noise - strength sqrt(a (1 - a)) u.
    That the network may be left out of the gradient: Yu et al. 2023, "FreeDoM", arXiv:2303.09833, section 3.
    """
    checks.at_least("strength", strength, 0.0)
    checks.in_range("share", share, 0.0, 1.0)
    latents, levels = noise, model.scheduler.timesteps
    own = len(levels) if strength == 0 else len(levels) - round(share * len(levels))
    for number, level in enumerate(tqdm(levels, desc="synthesise", disable=not progress)):
        if number < own:
            with torch.no_grad():
                said = model.output(latents, int(level))
        else:
            said = _bent(model, latents, int(level), score, strength, through)
        latents = model.scheduler.step(said, level, latents).prev_sample
    return latents


def _bent(
    model: Denoiser, latents: Tensor, level: int, score: PictureScore, strength: float, through: bool = True
) -> Tensor:
    """The network's output for this level, moved along the gradient of the score."""
    kind = model.scheduler.config.prediction_type
    share = model.scheduler.alphas_cumprod[level].to(latents)
    a, b = share.sqrt(), (1 - share).sqrt()
    with torch.set_grad_enabled(through):
        x = latents.detach().clone().requires_grad_(through)
        said = model.output(x, level)
        expected, _ = _parts(kind, said, x, a, b)
    with torch.enable_grad():
        by = x if through else expected.requires_grad_(True)
        gradient = _gradient(score(model.pictures(expected)), by)
    said = said.detach()
    clean, noise = _parts(kind, said, latents, a, b)
    unit = gradient / gradient.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-20)
    noise, clean = noise - strength * a * b * unit, clean + strength * b.square() * unit
    return {"epsilon": noise, "sample": clean, "v_prediction": a * noise - b * clean}[kind].to(said)


def _parts(kind: str, said: Tensor, x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Clean latents and noise that a network's output means; x = a clean + b noise."""
    checks.one_of("prediction_type", kind, ("epsilon", "sample", "v_prediction"))
    if kind == "epsilon":
        return (x - b * said) / a, said
    if kind == "sample":
        return said, (x - a * said) / b
    return a * x - b * said, a * said + b * x


def _gradient(value: Tensor, x: Tensor) -> Tensor:
    if value.shape != (len(x),):
        raise ValueError(
            f"score must give one number a picture, shape ({len(x)},), got {tuple(value.shape)}."
        )
    checks.finite("score", value, way_out="Give a score that is finite for every picture in [0, 1].")
    if not value.requires_grad:
        raise ValueError(
            "score does not depend on the pictures by anything that torch can differentiate; compute it from the "
            "pictures with torch alone, and without no_grad or inference_mode."
        )
    return torch.autograd.grad(value.sum(), x)[0]
