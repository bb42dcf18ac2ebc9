"""Structural optimisation: pixels or latents moved until a network says of them what was decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides, accepted
from braindec.generators._noise import noise, own_sources
from braindec.generators._pipeline import as_bytes

Network = Callable[
    [Tensor], Tensor
]  # pictures (n, 3, height, width) in [0, 1] -> (n, n_tokens, dim), differentiable


@dataclass(frozen=True)
class Config:
    """Settings of the search.

    Parameters
    ----------
    n_steps : int
        Steps of Adam.
    lr : float
        Its rate: about how far a pixel (of a range of 1) or a latent may move in a step.
    smoothness : float
        Weight of the mean square between neighbours, which keeps pixels from growing grain that only the network sees.
    spread : float
        Standard deviation of the noise around grey, or around zero for latents, that is started from.
    likeness : {"cosine", "squares"}
        How what the network says is compared with what was decoded; squares also want the length.
    batch_size : int
        Pictures searched for together.
    """

    n_steps: int = 200
    lr: float = 0.05
    smoothness: float = 0.1
    spread: float = 0.05
    likeness: Literal["cosine", "squares"] = "cosine"
    batch_size: int = 32

    def __post_init__(self) -> None:
        checks.at_least("n_steps", self.n_steps, 1)
        checks.at_least("lr", self.lr, 0)
        checks.at_least("smoothness", self.smoothness, 0)
        checks.at_least("spread", self.spread, 0)
        checks.one_of("likeness", self.likeness, ("cosine", "squares"))
        checks.at_least("batch_size", self.batch_size, 1)


@dataclass(frozen=True, eq=False)
class Latents:
    """An autoencoder whose latents are moved in place of pixels.

    Parameters
    ----------
    shape : tuple of int
        Of one picture's latents (channel, height, width).
    decode : callable
        Latents to pictures (n, 3, height, width) in [0, 1], differentiable.
    encode : callable
        Such pictures to latents.
    """

    shape: tuple[int, int, int]
    decode: Network
    encode: Network


def build(
    config: Config,
    network: Network,
    space: str,
    item: tuple[int, int],
    size: tuple[int, int],
    *,
    mean: np.ndarray | None = None,
    latents: Latents | None = None,
    about: dict[str, Any] | None = None,
) -> Optimised:
    """A generator without a model of pictures: what it knows of them is the network's, and the autoencoder's.

    Parameters
    ----------
    config : Config
    network : callable
        Pictures (n, 3, height, width) in [0, 1] to what was decoded (n, n_tokens, dim), differentiable.
    space : str
        The space of what was decoded.
    item : tuple of int
        Its n_tokens and dim.
    size : tuple of int
        Height and width of the pictures.
    mean : ndarray of float, shape (n_tokens, dim), optional
        Of the training embeddings: likeness is about it.
    latents : Latents, optional
        Moved in place of pixels.
    about : dict, optional
        JSON values that name the network, for provenance.
    """
    return Optimised(config, network, space, item, size, mean, latents, about or {})


class Optimised(Generator):
    """Pictures of which a network says what was decoded.

    Notes
    -----
    Shen et al. 2019, doi:10.1371/journal.pcbi.1006633; as the structural input of a latent diffusion (give the
    pictures as `Guides.low_level`) Takagi and Nishimoto 2023, arXiv:2306.11536.
    """

    name = "optimised"
    takes = frozenset({"low_level"})

    def __init__(
        self, config: Config, network: Network, space: str, item: tuple[int, int], size: tuple[int, int],
        mean: np.ndarray | None, latents: Latents | None, about: dict[str, Any],
    ) -> None:  # fmt: skip
        self.config, self.network, self.space, self.item, self.size = config, network, space, item, size
        self.mean = torch.zeros(item) if mean is None else torch.as_tensor(np.asarray(mean, np.float32))
        self.latents, self.about = latents, about

    def identity(self) -> dict[str, Any]:
        """Settings, and what names the network."""
        return {
            "generator": self.name, "space": self.space, "network": self.about, "of": "latents" if self.latents else
            "pixels", "n_steps": self.config.n_steps, "lr": self.config.lr, "smoothness": self.config.smoothness,
            "spread": self.config.spread, "likeness": self.config.likeness,
        }  # fmt: skip

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures for decoded embeddings; see `Generator.generate`. A low-level picture is started from."""
        checks.n_axes("image_embeddings", image_embeddings, ("stimulus", "token", "dim"))
        if tuple(image_embeddings.shape[1:]) != tuple(self.item):
            raise checks.SpaceMismatchError(
                f"image_embeddings have shape {tuple(image_embeddings.shape[1:])} per stimulus, but the network says "
                f"{tuple(self.item)}; embed with the target of {self.space}."
            )
        checks.finite("image_embeddings", image_embeddings)
        accepted(self, guides, len(image_embeddings))
        steps = self.config.n_steps if n_steps is None else n_steps
        checks.at_least("n_steps", steps, 1)
        sources = own_sources(len(image_embeddings), generator)
        wanted = torch.as_tensor(np.asarray(image_embeddings, np.float32)) - self.mean
        made = [np.empty((0, *self.size, 3), np.uint8)]
        for start in range(0, len(wanted), self.config.batch_size):
            rows = slice(start, start + self.config.batch_size)
            first = self._first(sources[rows], guides.rows(rows).low_level)
            made.append(as_bytes(self._searched(first, wanted[rows], steps, progress)))
        return np.concatenate(made)

    def _first(self, sources: list[torch.Generator], low_level: np.ndarray | None) -> Tensor:
        """What is moved, at first: pixels or latents."""
        shape = (3, *self.size) if self.latents is None else self.latents.shape
        drawn = self.config.spread * noise(sources, shape)
        if low_level is None:
            return drawn + 0.5 if self.latents is None else drawn
        pictures = torch.as_tensor(low_level).permute(0, 3, 1, 2).float() / 255
        pictures = nn.functional.interpolate(pictures, self.size, mode="bilinear", antialias=True)
        if self.latents is None:
            return pictures
        with torch.no_grad():
            return self.latents.encode(pictures)

    def _searched(self, first: Tensor, wanted: Tensor, n_steps: int, progress: bool) -> Tensor:
        moved = first.detach().clone().requires_grad_(True)
        adam = torch.optim.Adam([moved], lr=self.config.lr)
        with torch.enable_grad():
            for _ in tqdm(range(n_steps), desc="optimise", disable=not progress):
                adam.zero_grad()
                pictures = self._pictures(moved)
                # A sum over rows, and Adam looks at each value alone: rows do not know of each other.
                loss = self._unlike(self.network(pictures) - self.mean, wanted).sum()
                (loss + self.config.smoothness * _roughness(pictures).sum()).backward()
                adam.step()
                if self.latents is None:
                    moved.data.clamp_(0, 1)
        with torch.no_grad():
            return self._pictures(moved).clamp(0, 1)

    def _pictures(self, moved: Tensor) -> Tensor:
        return moved if self.latents is None else self.latents.decode(moved)

    def _unlike(self, said: Tensor, wanted: Tensor) -> Tensor:
        """How far what is said lies from what was decoded, (n,)."""
        if self.config.likeness == "cosine":
            return 1 - nn.functional.cosine_similarity(said.flatten(1), wanted.flatten(1))
        return (said - wanted).square().flatten(1).mean(1)


def _roughness(pictures: Tensor) -> Tensor:
    """Mean square between neighbouring pixels, (n,)."""
    return pictures.diff(dim=2).square().mean((1, 2, 3)) + pictures.diff(dim=3).square().mean((1, 2, 3))
