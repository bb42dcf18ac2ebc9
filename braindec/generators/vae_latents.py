"""Decoded latents of an autoencoder shown as the picture that it makes of them: the low-level path's own generator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from braindec import autoencoders, checks
from braindec.generators import NOTHING, Generator, Guides, accepted

SPACE = re.compile(r"vae/\w+/[0-9a-f]{12}/([0-9]+)/(positions|flat)")


@dataclass(frozen=True)
class Config:
    """Settings of pictures from latents.

    Parameters
    ----------
    model : str
        Folder of an AutoencoderKL, AutoencoderTiny or TAESD-type autoencoder, see `autoencoders.opened`; or
        ``"shipped"``, the one that comes with braindec.
    size : int
        Pixels a side of the pictures, as of the target `vae` that the latents are of.
    layout : {"positions", "flat"}
        As of that target.
    batch_size : int
        Pictures made together.
    device : str
        Where the network runs.
    """

    model: str = autoencoders.SHIPPED
    size: int = 64
    layout: Literal["positions", "flat"] = "flat"
    batch_size: int = 64
    device: str = "cpu"

    def __post_init__(self) -> None:
        checks.at_least("size", self.size, 8, unit="pixels")
        checks.at_least("batch_size", self.batch_size, 1)
        checks.one_of("layout", self.layout, autoencoders.LAYOUTS)


def build(config: Config) -> VaeLatents:
    """The generator of a config, its weights loaded strictly; see `autoencoders.opened`."""
    return VaeLatents(config)


class VaeLatents(Generator):
    """The decoder half of an autoencoder."""

    name = "vae_latents"

    def __init__(self, config: Config) -> None:
        self.config, self.autoencoder = config, autoencoders.opened(config.model)
        self.autoencoder.network.requires_grad_(False)
        self.space = self.autoencoder.space(config.size, config.layout)
        self.latent_shape = self.autoencoder.latent_shape(config.size)
        channels, rows, columns = self.latent_shape
        whole = (1, channels * rows * columns)
        self.shape = (rows * columns, channels) if config.layout == "positions" else whole
        self.autoencoder.network.to(config.device)

    def identity(self) -> dict[str, Any]:
        """Class and weights of the autoencoder, size and layout."""
        about = {"generator": self.name, "size": self.config.size, "layout": self.config.layout}
        return about | self.autoencoder.identity()

    @torch.inference_mode()
    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures of latents; see `Generator.generate`. Nothing is drawn and there are no steps."""
        checks.n_axes("image_embeddings", image_embeddings, ("stimulus", "token", "dim"))
        if tuple(image_embeddings.shape[1:]) != self.shape:
            raise checks.SpaceMismatchError(
                f"image_embeddings have shape {tuple(image_embeddings.shape[1:])} per stimulus, but {self.space} has "
                f"{self.shape}; embed with the target of this space."
            )
        checks.finite("image_embeddings", image_embeddings)
        accepted(self, guides, len(image_embeddings))
        size = self.config.size
        latents = autoencoders.from_tokens(image_embeddings, self.config.layout, self.latent_shape)
        made = [np.empty((0, size, size, 3), np.uint8)]
        parts = latents.split(self.config.batch_size) if len(latents) else ()
        for part in tqdm(parts, desc="decode latents", disable=not progress):
            drawn = (
                self.autoencoder.decode(part.to(self.config.device)).add(1).mul(127.5).round().clamp(0, 255)
            )
            made.append(drawn.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        return np.concatenate(made)


def of_space(space: str, model: str = autoencoders.SHIPPED) -> VaeLatents:
    """The generator for a decoder's output of latents.

    Parameters
    ----------
    space : str
        Of the output, ``"vae/<class>/<weights>/<size>/<layout>"``.
    model : str
        Where its autoencoder is.

    Raises
    ------
    SpaceMismatchError
        If the output is of another autoencoder.
    """
    found = SPACE.fullmatch(space)
    if found is None:
        raise checks.ConfigError(
            f"space must be that of a VAE target, e.g. 'vae/.../64/flat', got {space!r}."
        )
    layout: Any = found[2]
    made = build(Config(model, int(found[1]), layout))
    checks.same_space(
        "output", space, made.space, "Give the folder of the autoencoder that the target was built of."
    )
    return made
