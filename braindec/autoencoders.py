"""Autoencoders of pictures, opened once for the target that encodes and the generator that decodes."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import _compat, checks, pretrained, store, tiny_autoencoder, weights

SHIPPED = "shipped"  # in place of a folder: the autoencoder that comes with braindec
CLASSES = ("AutoencoderKL", "AutoencoderTiny")
LAYOUTS = ("positions", "flat")


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """A network with `encode` and `decode`, and how its latents are scaled.

    Parameters
    ----------
    network : nn.Module
    kind : str
        Its class.
    weights_sha256, config_sha256 : str
    scale, shift : float
        Diffusion models see ``(latents - shift) * scale``.
    fold : int
        The network sees every block of so many pixels a side as channels.
    """

    network: Any
    kind: str
    weights_sha256: str
    config_sha256: str
    scale: float = 1.0
    shift: float = 0.0
    fold: int = 1

    def space(self, size: int, layout: str) -> str:
        """Name of the space of latents of pictures of `size` pixels a side."""
        return f"vae/{self.kind}/{self.weights_sha256[:12]}/{size}/{layout}"

    def identity(self) -> dict[str, Any]:
        """Class, weights and scale, as JSON values."""
        return {
            "model": self.kind, "weights_sha256": self.weights_sha256, "config_sha256": self.config_sha256,
            "scaling_factor": self.scale, "shift_factor": self.shift,
        }  # fmt: skip

    def encode(self, x: Tensor) -> Tensor:
        """Scaled mode latents (n, channel, row, column) of pictures (n, 3, height, width) in [-1, 1]."""
        encoded = self.network.encode(nn.functional.pixel_unshuffle(x, self.fold) if self.fold > 1 else x)
        mode = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        return (mode - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (n, 3, height, width), about in [-1, 1], of scaled latents."""
        drawn = self.network.decode(latents / self.scale + self.shift).sample
        return nn.functional.pixel_shuffle(drawn, self.fold) if self.fold > 1 else drawn

    @torch.no_grad()
    def latent_shape(self, size: int) -> tuple[int, int, int]:
        """(channel, row, column) of the latents of pictures of `size` pixels a side."""
        at = next(self.network.parameters())
        channels, rows, columns = self.encode(torch.zeros(1, 3, size, size).to(at)).shape[1:]
        return channels, rows, columns


def opened(model: Path | str) -> Autoencoder:
    """The autoencoder of a folder, or `SHIPPED`.

    Parameters
    ----------
    model : path or str
        As ``save_pretrained`` of AutoencoderKL or AutoencoderTiny of diffusers writes it; or with the two files of a
        TAESD-type autoencoder, ``*_encoder`` and ``*_decoder`` (.safetensors or .pth); or ``"shipped"``.

    Raises
    ------
    MissingPackageError
        If diffusers is not installed.
    ConfigError
        If the folder holds another class of model.
    DataFileError
        If weights are missing.
    """
    if model == SHIPPED:
        return _shipped()
    folder = Path(model)
    pair = tiny_autoencoder.files(folder)
    if pair is not None:
        sums = [weights.sha256(file) for file in pair]
        both = hashlib.sha256(json.dumps(sums).encode()).hexdigest()
        return Autoencoder(tiny_autoencoder.load(*pair), "TinyAutoencoder", both, both)
    described = store.read_json(folder / "config.json", "Copy the model's folder whole.")
    kind = checks.one_of(f"class of the model in {folder}", str(described.get("_class_name")), CLASSES)
    digests = pretrained.weights_digest(folder), pretrained.config_digest(folder)
    return _of(_from_folder(folder, kind), kind, *digests)


def to_tokens(latents: Tensor, layout: str) -> Tensor:
    """Latents (n, channel, row, column) as embeddings: a token a position, or everything as one."""
    checks.one_of("layout", layout, LAYOUTS)
    return latents.flatten(2).transpose(1, 2) if layout == "positions" else latents.flatten(1)[:, None]


def from_tokens(values: np.ndarray, layout: str, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `to_tokens`: embeddings (n, n_tokens, dim) as float32 latents (n, *shape)."""
    x = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return (x.transpose(1, 2) if layout == "positions" else x).reshape(-1, *shape)


def _of(network: nn.Module, kind: str, weights_sha256: str, config_sha256: str) -> Autoencoder:
    known: Any = getattr(network, "config", {})
    fold = math.isqrt(int(known.get("in_channels") or 3) // 3)
    scale, shift = float(known.get("scaling_factor") or 1.0), float(known.get("shift_factor") or 0.0)
    return Autoencoder(network.float().eval(), kind, weights_sha256, config_sha256, scale, shift, fold)


def _shipped() -> Autoencoder:
    _needs_diffusers()
    from diffusers import AutoencoderKL

    described, file = weights.verified("vae.json"), weights.verified("vae.safetensors")
    network = AutoencoderKL(**json.loads(described.read_text()))
    network.load_state_dict(weights.tensors(file), strict=True)
    return _of(network, "AutoencoderKL", weights.sha256(file), weights.sha256(described))


def _needs_diffusers() -> None:
    if util.find_spec("diffusers") is None:
        raise checks.needs_package("diffusers", None, "latents of a VAE")
    _compat.ensure_torchvision()


def _from_folder(folder: Path, kind: str) -> nn.Module:
    _needs_diffusers()
    import diffusers

    if not any(folder.glob("*.safetensors")):
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
    return network
