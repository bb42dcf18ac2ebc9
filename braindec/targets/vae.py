"""Latents of a VAE of diffusers (AutoencoderKL, AutoencoderTiny): what diffusion models paint from, as a target."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from braindec import _compat, checks, store
from braindec.targets import _pretrained
from braindec.targets._pictures import PictureNetwork
from braindec.targets._views import View

VIEW = View()
CLASSES = ("AutoencoderKL", "AutoencoderTiny")


@dataclass(frozen=True)
class Config:
    """Settings of a VAE target.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` of AutoencoderKL or AutoencoderTiny (for a whole pipeline: its ``vae``
        folder), or ``owner/name`` of a model downloaded before; see docs/targets.md.
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
    if util.find_spec("diffusers") is None:
        raise checks.needs_package("diffusers", None, "latents of a VAE")
    folder = _pretrained.folder_of(config.model, "vae")
    described = store.read_json(folder / "config.json", "Copy the model's folder whole.")
    return Vae(config, folder, _network(folder, str(described.get("_class_name"))))


class Vae(PictureNetwork):
    """Mode latents, scaled as the diffusion model of the VAE takes them: ``(mode - shift) * scale``.

    Parameters
    ----------
    config : Config
    folder : Path
        For provenance.
    network : AutoencoderKL or AutoencoderTiny
    """

    def __init__(self, config: Config, folder: Path, network: nn.Module) -> None:
        self.config, known = config, getattr(network, "config", {})
        self.scale = float(known.get("scaling_factor") or 1.0)
        self.shift = float(known.get("shift_factor") or 0.0)
        digest, kind = _pretrained.weights_digest(folder), type(network).__name__
        self.latent_shape: tuple[int, ...] = ()  # (channel, row, column), set by the first picture
        identity = {
            "model": kind, "weights_sha256": digest, "config_sha256": _pretrained.config_digest(folder),
            "layer": "mode of the latents", "pooling": config.layout, "scaling_factor": self.scale,
            "shift_factor": self.shift,
            "transform": {"size": config.size, "resize": "bicubic, antialiased, no crop", "mean": 0.5, "std": 0.5},
        }  # fmt: skip
        super().__init__(
            "vae", f"vae/{kind}/{digest[:12]}/{config.size}/{config.layout}", network, identity,
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
        channels, rows, columns = self.latent_shape
        x = torch.as_tensor(np.asarray(values), dtype=torch.float32)
        if self.config.layout == "positions":
            x = x.transpose(1, 2)
        return x.reshape(-1, channels, rows, columns) / self.scale + self.shift

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
        network: Any = self.network
        encoded = network.encode(x)
        mode = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        self.latent_shape = tuple(mode.shape[1:])
        scaled = (mode - self.shift) * self.scale
        return (
            scaled.flatten(2).transpose(1, 2)
            if self.config.layout == "positions"
            else scaled.flatten(1)[:, None]
        )


def _network(folder: Path, kind: str) -> nn.Module:
    checks.one_of(f"class of the model in {folder}", kind, CLASSES)
    _compat.ensure_torchvision()
    import diffusers

    safe = any(folder.glob("*.safetensors"))
    if not safe:
        raise checks.DataFileError(folder, "holds no .safetensors file", "Save the VAE with save_pretrained.")
    with torch.random.fork_rng(devices=[]):
        network, info = getattr(diffusers, kind).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    missing = [*info["missing_keys"], *info["unexpected_keys"]]
    if missing:
        found = f"does not hold a whole {kind}: {', '.join(missing[:3])}"
        raise checks.DataFileError(
            folder, found, "They would be drawn at random. Copy the model's folder whole."
        )
    return network.float()
