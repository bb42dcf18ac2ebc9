"""The embedded decoder's network: a latent UNet told an image embedding, and the noise it is trained against."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from braindec import _compat

Residuals = Callable[[Tensor, Tensor, dict[str, Any]], dict[str, Any]]
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

    A hidden layer reads the embedding and makes a coarse map of what is where, from which convolutions draw a sketch:
    the latents to be expected, and further channels. The UNet sees the sketch beside the noisy latents, the coarse map
    as tokens of the cross-attention in its middle, and the hidden layer as a class embedding beside the time embedding.

    Parameters
    ----------
    config : dict
        "unet": keywords of diffusers' UNet2DConditionModel; "embedding_dim"; "hidden_dim".
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        _compat.ensure_torchvision()
        from diffusers import UNet2DConditionModel

        unet, hidden_dim = config["unet"], config["hidden_dim"]
        self.n_channels, self.size = unet["out_channels"], unet["sample_size"]
        self.embedding_dim = config["embedding_dim"]
        n_map = unet["cross_attention_dim"]
        self.hidden = nn.Linear(self.embedding_dim, hidden_dim)
        self.to_class = nn.Linear(hidden_dim, unet["projection_class_embeddings_input_dim"])
        self.to_map = nn.Sequential(nn.Linear(hidden_dim, n_map * 16), nn.Unflatten(1, (n_map, 4, 4)))
        self.sketch = _sketch(n_map, unet["in_channels"] - self.n_channels)
        self.unet = UNet2DConditionModel(**unet)
        self.unconditional = nn.Parameter(torch.zeros(hidden_dim))
        self.register_buffer("latent_mean", torch.zeros(self.n_channels))
        self.register_buffer("latent_std", torch.ones(self.n_channels))

    def forward(
        self,
        noisy: Tensor,
        level: Tensor,
        embedding: Tensor,
        dropped: Tensor,
        residuals: Residuals | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predicted velocity, and the latents expected from the embedding alone.

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
        residuals : callable, optional
            ``residuals(x, level, told)`` gives further keywords for the UNet, of what it sees and is told.

        Returns
        -------
        velocity, expected : Tensor, shape (n, channel, size, size)
        """
        hidden, where = self.read(embedding, dropped)
        sketch = self.sketch(where)
        x = torch.cat([noisy.to(sketch.dtype), sketch], 1)
        tokens = where.flatten(2).transpose(1, 2)  # (n, 16, channel)
        told = {"encoder_hidden_states": tokens, "class_labels": self.to_class(hidden)}
        more = {} if residuals is None else residuals(x, level, told)
        velocity = self.unet(x, level, **told, **more).sample
        return velocity, sketch[:, : self.n_channels]

    def read(self, embedding: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden layer (n, hidden_dim) and coarse map (n, channel, 4, 4) of embeddings; see `forward`."""
        hidden = nn.functional.silu(
            self.hidden(embedding * math.sqrt(self.embedding_dim))
        )  # entries of unit variance
        hidden = torch.where(dropped[:, None], self.unconditional.to(hidden.dtype), hidden)
        return hidden, self.to_map(hidden)

    def from_autoencoder(self, latents: Tensor) -> Tensor:
        """Latents (n, channel, size, size) with zero mean and unit variance per channel."""
        return (latents - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def to_autoencoder(self, x: Tensor) -> Tensor:
        """The inverse of `from_autoencoder`."""
        return x * self.latent_std[:, None, None] + self.latent_mean[:, None, None]


def _sketch(n_in: int, n_out: int) -> nn.Sequential:
    """Convolutions from a 4x4 map to a 16x16 one."""

    def active(n: int) -> tuple[nn.Module, nn.Module]:
        return nn.GroupNorm(8, n), nn.SiLU()

    return nn.Sequential(
        *active(n_in), nn.ConvTranspose2d(n_in, 64, 4, stride=2, padding=1),
        *active(64), nn.Conv2d(64, 64, 3, padding=1),
        *active(64), nn.ConvTranspose2d(64, 48, 4, stride=2, padding=1),
        *active(48), nn.Conv2d(48, 48, 3, padding=1),
        *active(48), nn.Conv2d(48, n_out, 3, padding=1),
    )  # fmt: skip
