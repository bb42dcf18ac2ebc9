"""Structure from decoded features: latents moved until what is drawn of them has the features that the brain tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import autoencoders, checks
from braindec.autoencoders import Autoencoder

Features = Callable[[Tensor], Tensor]  # pictures (n, 3, height, width) in [0, 1] -> (n, n_features)


@dataclass(frozen=True)
class Settings:
    """How latents are moved.

    Parameters
    ----------
    n_steps : int
        Of Adam; 0 leaves latents as they are.
    lr : float
        In standard deviations of the training latents.
    pull : float
        How much a latent's distance to what was decoded counts beside the features' error, each in variances of its
        training values.
    """

    n_steps: int = 40
    lr: float = 0.05
    pull: float = 0.5

    def __post_init__(self) -> None:
        checks.at_least("n_steps", self.n_steps, 0)
        checks.at_least("lr", self.lr, 0.0)
        checks.at_least("pull", self.pull, 0.0)


@torch.enable_grad()
def optimised_latents(
    latents: np.ndarray,
    features: np.ndarray,
    autoencoder: Autoencoder,
    layout: str,
    size: int,
    of_pictures: Features,
    spreads: tuple[np.ndarray, np.ndarray],
    settings: Settings,
) -> np.ndarray:
    """Latents near the decoded ones whose pictures have the decoded features.

    Parameters
    ----------
    latents : ndarray, shape (n, n_tokens, dim)
        Decoded, where the search begins.
    features : ndarray, shape (n, ...)
        Decoded features of the same stimuli.
    autoencoder : Autoencoder
        Whose latents they are.
    layout, size : str, int
        As of the target `vae`.
    of_pictures : callable
        Differentiable features of pictures, e.g. `targets.differentiable` of their target.
    spreads : (ndarray, ndarray)
        Standard deviations over training stimuli of latents (n_tokens, dim) and of features.
    settings : Settings

    Returns
    -------
    ndarray of float32, shape (n, n_tokens, dim)

    Notes
    -----
    Takagi and Nishimoto 2023, "Improving visual image reconstruction from human brain activity using latent diffusion
    models via multiple decoded inputs", arXiv:2306.11536, search pictures with the decoded features of VGG19; the
    search here stays among what the autoencoder draws, and near what was decoded of it.
    """
    checks.same_length("stimulus", latents=latents, features=features)
    shape = autoencoder.latent_shape(size)
    start, scale = (autoencoders.from_tokens(v, layout, shape) for v in (latents, spreads[0][None]))
    scale = scale.clamp_min(1e-6)
    wanted = torch.from_numpy(np.asarray(features, np.float32)).flatten(1)
    weight = 1 / torch.from_numpy(np.asarray(spreads[1], np.float32)).flatten().square().clamp_min(1e-6)
    moved = torch.zeros_like(start, requires_grad=True)  # in standard deviations
    optimiser = torch.optim.Adam([moved], lr=settings.lr)
    for _ in range(settings.n_steps):
        drawn = autoencoder.decode(start + moved * scale).add(1).div(2).clamp(0, 1)
        error = ((of_pictures(drawn) - wanted).square() * weight).mean(1)
        loss = (error + settings.pull * moved.square().flatten(1).mean(1)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return autoencoders.to_tokens((start + moved * scale).detach(), layout).numpy()
