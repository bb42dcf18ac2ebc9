"""Latents of an autoencoder (AutoencoderKL, AutoencoderTiny, TAESD-type): what diffusion models paint from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from braindec import autoencoders, checks, tiny_autoencoder
from braindec.autoencoders import Autoencoder
from braindec.targets import _pretrained
from braindec.targets._pictures import PictureNetwork
from braindec.targets._views import View

VIEW = View()


@dataclass(frozen=True)
class Config:
    """Settings of a VAE target.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` of AutoencoderKL or AutoencoderTiny (for a whole pipeline: its ``vae``
        folder); one with the two files of a TAESD-type autoencoder (``*_encoder.pth`` and ``*_decoder.pth``, or
        .safetensors); ``owner/name`` of a model downloaded before, see docs/targets.md; or ``"shipped"``, the
        autoencoder of 64 x 64 pictures that comes with braindec.
    size : int
        Pixels a side to which pictures are resized (bicubic, antialiased, not cropped).
    layout : {"positions", "flat"}
        A token a position (rows * columns, channels), or everything as one token (1, channels * rows * columns).
    view : View
        Blur or low-pass of the pictures, before they are resized.
    aligned : str or None
        safetensors file of a linear map, see `_views.LinearMap`.
    """

    model: str = "stabilityai/sd-vae-ft-mse"
    size: int = 512
    layout: Literal["positions", "flat"] = "positions"
    view: View = VIEW
    aligned: str | None = None

    def __post_init__(self) -> None:
        checks.at_least("size", self.size, 8, unit="pixels")
        checks.one_of("layout", self.layout, ("positions", "flat"))


def build(config: Config) -> Vae:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    MissingPackageError
        If diffusers is not installed.
    DownloadError
        If the model is not on this machine; it says how to get it.
    ConfigError
        If the folder holds another class of model.
    """
    here = config.model == autoencoders.SHIPPED or tiny_autoencoder.files(Path(config.model)) is not None
    model = config.model if here else _pretrained.folder_of(config.model, "vae")
    return Vae(config, autoencoders.opened(model))


class Vae(PictureNetwork):
    """Mode latents, scaled as the diffusion model of the VAE takes them: ``(mode - shift) * scale``.

    Parameters
    ----------
    config : Config
    autoencoder : Autoencoder
    """

    def __init__(self, config: Config, autoencoder: Autoencoder) -> None:
        self.config, self.autoencoder = config, autoencoder
        self.latent_shape: tuple[int, ...] = ()  # (channel, row, column), set by the first picture
        identity = autoencoder.identity() | {
            "layer": "mode of the latents", "pooling": config.layout,
            "transform": {"size": config.size, "resize": "bicubic, antialiased, no crop", "mean": 0.5, "std": 0.5},
        }  # fmt: skip
        super().__init__(
            "vae", autoencoder.space(config.size, config.layout), autoencoder.network, identity,
            view=config.view, aligned=config.aligned, normalised=False,
        )  # fmt: skip

    def latents(self, values: np.ndarray) -> Tensor:
        """Embeddings back in the network's own layout and scale, for its `decode`.

        Parameters
        ----------
        values : float array, shape (n, n_tokens, dim)

        Returns
        -------
        Tensor, shape (n, channel, row, column)
        """
        scaled = autoencoders.from_tokens(values, self.config.layout, self.latent_shape)
        return scaled / self.autoencoder.scale + self.autoencoder.shift

    def _prepared(self, pictures: list[np.ndarray]) -> Tensor:
        return torch.cat([self._one(picture) for picture in pictures]) * 2 - 1

    def _one(self, picture: np.ndarray) -> Tensor:
        x = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
        size = (self.config.size, self.config.size)
        if x.shape[-2:] == size:
            return x
        return nn.functional.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(
            0, 1
        )

    def _tokens(self, x: Tensor) -> Tensor:
        scaled = self.autoencoder.encode(x)
        self.latent_shape = tuple(scaled.shape[1:])
        return autoencoders.to_tokens(scaled, self.config.layout)
