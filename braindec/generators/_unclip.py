"""The embedded decoder's network: a latent UNet told an image embedding, and the noise it is trained against."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from braindec import _compat

N_NOISE_LEVELS = 1000
COSINE_OFFSET = 0.008  # Nichol and Dhariwal 2021, equation 17


def cosine_alphas_cumprod(n_levels: int = N_NOISE_LEVELS) -> Tensor:
    """Share of signal variance left at each noise level, falling along a squared cosine.

    Parameters
    ----------
    n_levels : int
        Number of noise levels, >= 1.

    Returns
    -------
    Tensor of float64, shape (n_levels,)
        In (0, 1), decreasing; each level keeps at least 0.1 % of the level before, so that it can be inverted.

    Notes
    -----
    Nichol and Dhariwal 2021, "Improved denoising diffusion probabilistic models", equation 17, arXiv:2102.09672.
    """
    t = torch.arange(n_levels + 1, dtype=torch.float64) / n_levels
    f = torch.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
    return torch.cumprod(torch.clamp(f[1:] / f[:-1], min=0.001), 0)


def add_noise(clean: Tensor, noise: Tensor, level: Tensor, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
    """Noisy latents and the velocity that a network has to predict from them.

    Parameters
    ----------
    clean, noise : Tensor, shape (n, channel, height, width)
        Latents of unit variance, and standard normal noise.
    level : Tensor of int64, shape (n,)
        Noise level of each sample.
    alphas_cumprod : Tensor, shape (n_levels,)
        From `cosine_alphas_cumprod`.

    Returns
    -------
    noisy, velocity : Tensor, shape (n, channel, height, width)
        sqrt(a) clean + sqrt(1 - a) noise, and sqrt(a) noise - sqrt(1 - a) clean.

    Notes
    -----
    Velocity: Salimans and Ho 2022, arXiv:2202.00512, appendix D.
    """
    a = alphas_cumprod[level].to(clean)[:, None, None, None]
    return a.sqrt() * clean + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * clean


class UnclipDecoder(nn.Module):
    """Predicts the velocity of noisy latents from the image embedding they belong to.

    The embedding reaches the UNet three ways: as a class embedding added to the time embedding, as tokens for the
    cross-attention in its middle, and as a map of the latents' size beside the noisy latents, which says where.

    Parameters
    ----------
    config : dict
        "unet": keywords of diffusers' UNet2DConditionModel; "embedding_dim"; "hidden_dim"; "n_tokens";
        "folded": side of the square of latents that are seen as one.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        _compat.ensure_torchvision()
        from diffusers import UNet2DConditionModel

        unet, hidden_dim = config["unet"], config["hidden_dim"]
        self.n_channels, self.size = unet["out_channels"], unet["sample_size"]
        self.embedding_dim, self.n_tokens, self.folded = (
            config["embedding_dim"],
            config["n_tokens"],
            config["folded"],
        )
        n_map = unet["in_channels"] - self.n_channels
        self.unet = UNet2DConditionModel(**unet)
        self.hidden = nn.Sequential(nn.Linear(self.embedding_dim, hidden_dim), nn.SiLU())
        self.to_class = nn.Linear(hidden_dim, unet["projection_class_embeddings_input_dim"])
        self.to_tokens = nn.Linear(hidden_dim, self.n_tokens * unet["cross_attention_dim"])
        self.to_map = nn.Linear(hidden_dim, n_map * self.size**2)
        self.unconditional = nn.Parameter(torch.zeros(hidden_dim))
        self.register_buffer("latent_mean", torch.zeros(self.n_channels))
        self.register_buffer("latent_std", torch.ones(self.n_channels))

    def forward(self, noisy: Tensor, level: Tensor, embedding: Tensor, dropped: Tensor) -> Tensor:
        """Predicted velocity.

        Parameters
        ----------
        noisy : Tensor, shape (n, channel, size, size)
            Noisy latents of unit variance.
        level : Tensor of int64, shape (n,)
            Noise level of each.
        embedding : Tensor, shape (n, embedding_dim)
            Image embeddings of unit length.
        dropped : Tensor of bool, shape (n,)
            Where True the embedding is not looked at.

        Returns
        -------
        Tensor, shape (n, channel, size, size)
        """
        hidden = self.hidden(embedding * math.sqrt(self.embedding_dim))  # entries of unit variance
        hidden = torch.where(dropped[:, None], self.unconditional.to(hidden.dtype), hidden)
        where = self.to_map(hidden).unflatten(1, (-1, self.size, self.size))
        tokens = self.to_tokens(hidden).unflatten(1, (self.n_tokens, -1))
        x = torch.cat([noisy.to(where.dtype), where], 1)
        return self.unet(x, level, tokens, class_labels=self.to_class(hidden)).sample

    def from_autoencoder(self, latents: Tensor) -> Tensor:
        """The autoencoder's latents as this network sees them.

        Parameters
        ----------
        latents : Tensor, shape (n, channel / folded^2, size * folded, size * folded)
            Means of the autoencoder's posterior.

        Returns
        -------
        Tensor, shape (n, channel, size, size)
            Neighbours folded into channels (a coarser map costs the UNet less), zero mean and unit variance.
        """
        x = nn.functional.pixel_unshuffle(latents, self.folded)
        return (x - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def to_autoencoder(self, x: Tensor) -> Tensor:
        """The inverse of `from_autoencoder`."""
        latents = x * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
        return nn.functional.pixel_shuffle(latents, self.folded)
